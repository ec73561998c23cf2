"""What the wing's assets have published, opened for the next one.

Belongs here: from artifacts to the plain values and local files that the pure modules take.
Does not belong here: computing anything from them, and publishing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.mimic.schema import DIRECTORIES, LABELS, PHASE1_COLUMNS, SPLITS
from mm_assets.mimic.source import MimicLayout, MimicSource, stamps
from mm_assets.records.staleness import StaleInputs, require_made_from
from resources.artifact_record import Artifact, ArtifactMissing
from resources.artifacts import ArtifactStore
from resources.objects import ObjectMissing, ObjectStore
from resources.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from mm_assets.mimic.model_card import CardFacts
    from mm_assets.mimic.phase1 import Phase1Tables
    from mm_assets.mimic.predictions import SplitPredictions
    from mm_assets.mimic.train_job import TrainingFiles

NO_ROWS = pa.table({})
# Folders of the synthetic tree inside the source artifact.
TREE_CXR, TREE_ED, TREE_IV = "tree/cxr", "tree/ed", "tree/iv"


def store_opener(settings: Settings) -> Callable[[str], ObjectStore]:
    """Opens any of the source's roots with the user's requester-pays project."""
    return partial(ObjectStore.at, gcs_user_project=settings.gcs_user_project)


def synthetic_source(store: ArtifactStore, artifact: Artifact) -> MimicSource:
    """The synthetic tree inside a published source artifact, as a source like any other."""
    root = f"{store.objects.url}/{artifact.folder}"
    return MimicSource(cxr=f"{root}/{TREE_CXR}", ed=f"{root}/{TREE_ED}", iv=f"{root}/{TREE_IV}", synthetic=True)


def current_source(store: ArtifactStore) -> tuple[Artifact, MimicSource]:
    """The source every later asset reads: the roots noted when it was materialised, not today's settings."""
    artifact = store.current("mimic", "source")
    noted = store.read_json(artifact, "source.json")
    if "tree" in noted:
        return artifact, synthetic_source(store, artifact)
    return artifact, MimicSource(**noted)


def require_unchanged(artifact: Artifact, layout: MimicLayout) -> None:
    """Raise StaleInputs when a real table is not the file that was there when the source was materialised."""
    changed = [name for name, stamp in stamps(layout).items() if artifact.metrics.get(name, stamp) != stamp]
    if changed:
        names = ", ".join(name.removeprefix("stamp of ") for name in changed)
        raise StaleInputs(f"{names} changed since mimic/source was materialised: run `mm materialize mimic/source`")


def tree_of_same_settings(store: ArtifactStore, noted: dict[str, Any]) -> Artifact | None:
    """The current source artifact when it is the synthetic tree of exactly these settings, else None."""
    try:
        artifact = store.current("mimic", "source")
    except ArtifactMissing:
        return None
    same = artifact.synthetic and store.read_json(artifact, "source.json") == noted
    return artifact if same else None


def tables_by_name(store: ArtifactStore, artifact: Artifact) -> dict[str, Path]:
    """Local Parquet file of each raw table: {"cxr_metadata": path, ...}."""
    return {
        Path(file.path).stem: store.local_file(artifact, file.path)
        for file in artifact.files
        if file.path.endswith(".parquet")
    }


def phase1_tables(store: ArtifactStore, artifact: Artifact) -> "Phase1Tables":
    """What phase 1 reads of the raw tables, in memory."""
    from mm_assets.mimic.phase1 import TABLE_COLUMNS, Phase1Tables

    files = {name: f"{'cxr_chexpert' if name == 'labels' else name}.parquet" for name in TABLE_COLUMNS}
    return Phase1Tables(**{name: store.read_table(artifact, files[name], list(TABLE_COLUMNS[name])) for name in files})


def film_reader(source: MimicSource, settings: Settings) -> Callable[[str], bytes]:
    """Bytes of a film by its path below the CXR root; FileNotFoundError when there is none."""
    films = store_opener(settings)(source.cxr)

    def read(path: str) -> bytes:
        try:
            return films.get(path)
        except ObjectMissing as error:
            raise FileNotFoundError(path) from error

    return read


def phase1_partitions(store: ArtifactStore) -> dict[str, Artifact]:
    """All ten current partitions of phase 1.

    Raises ArtifactMissing for the first that was never made, and StaleInputs unless all were made from the current
    links, with the same film settings: otherwise patients, or synthetic and real data, could be mixed.
    """
    found = {directory: store.current("mimic", "phase1", directory) for directory in DIRECTORIES}
    links = store.version("mimic", "links")
    old = [part for part, artifact in found.items() if artifact.upstream["mimic/links"] != links]
    if old:
        raise StaleInputs(
            f"mimic/phase1 of {', '.join(old)} was made from other links than the current ones: "
            "run `mm materialize mimic/phase1`"
        )
    if len({artifact.file("films.json").sha256 for artifact in found.values()}) > 1:
        raise StaleInputs("films of phase 1 were stored with different settings: run `mm materialize mimic/phase1`")
    return found


def phase1_is_synthetic(store: ArtifactStore) -> bool:
    """Whether the records were made from synthetic data; all partitions come from the same links, so one tells."""
    return phase1_partitions(store)[DIRECTORIES[0]].synthetic


def phase1_settings(store: ArtifactStore) -> dict[str, Any]:
    """How films are stored (`films.json`), the same for every partition."""
    return store.read_json(phase1_partitions(store)[DIRECTORIES[0]], "films.json")


def image_encoder(store: ArtifactStore) -> dict[str, Any]:
    """`encoder.json` of the image features, the same for every partition. Raises StaleInputs."""
    require_features_of_current_films(store)
    features = store.partitions("mimic", "image_features")
    if len({features[directory].file("encoder.json").sha256 for directory in DIRECTORIES}) > 1:
        raise StaleInputs(
            "image features of different encoders, weights or settings: run `mm materialize mimic/image_features`"
        )
    return store.read_json(features[DIRECTORIES[0]], "encoder.json")


def phase1_columns(store: ArtifactStore, columns: list[str]) -> pa.Table:
    """These columns of every current phase 1 partition, one after the other."""
    parts = phase1_partitions(store).values()
    return pa.concat_tables([store.read_table(artifact, "records.parquet", columns) for artifact in parts])


def phase1_without_films(store: ArtifactStore) -> dict[str, pa.Table]:
    """Directory -> its records in file order, without the two binary columns."""
    columns = [name for name in PHASE1_COLUMNS if name not in ("image", "attention_regions")]
    return {
        directory: store.read_table(artifact, "records.parquet", columns)
        for directory, artifact in phase1_partitions(store).items()
    }


def some_films(store: ArtifactStore, artifacts: list[Artifact], count: int) -> list[tuple[bytes, str]]:
    """(JPEG, caption with the positive labels) of the first films; only synthetic ones leave the store."""
    films: list[tuple[bytes, str]] = []
    for artifact in artifacts:
        if not artifact.synthetic:
            continue
        for row in next(
            store.iter_batches(artifact, "records.parquet", ["image", "view", *LABELS], batch_rows=3), NO_ROWS
        ).to_pylist():
            positive = [label for label in LABELS if row[label] == 1]
            films.append((row["image"], f"{row['view']}: {', '.join(positive) or 'no positive label'}"))
    return films[:count]


def vision_transform(name: str) -> dict[str, Any]:
    """How the named encoder wants its pixels, without loading its weights."""
    from mm_assets.learning.transforms import transform_spec
    from resources.hub import ENCODERS

    card = ENCODERS[name]
    assert card.image_size and card.mean and card.std, f"{name} is not a vision encoder"
    return transform_spec(card.image_size, card.mean, card.std)


def require_features_of_current_films(store: ArtifactStore) -> None:
    """Raise StaleInputs unless every phase 1 partition has features, made from exactly its current version."""
    features = store.partitions("mimic", "image_features")
    stale = [
        directory
        for directory, films in phase1_partitions(store).items()
        if directory not in features or features[directory].upstream[f"mimic/phase1/{directory}"] != films.version
    ]
    if stale:
        raise StaleInputs(
            f"mimic/image_features of {', '.join(stale)} do not belong to the current films: "
            "run `mm materialize mimic/image_features`"
        )


def check_stored_budget(store: ArtifactStore) -> int:
    """Bytes of stored tokens a record, film and note together. Raises FeatureBudgetExceeded above the budget."""
    from mm_assets.mimic.features import check_budget
    from resources.hub import ENCODERS

    image = image_encoder(store)
    text = store.read_json(store.current("mimic", "text_features"), "encoder.json")
    return check_budget(
        image["grid"], ENCODERS[image["encoder"]].token_dim, text["max_tokens"], ENCODERS[text["encoder"]].token_dim
    )


def training_files(store: ArtifactStore) -> "TrainingFiles":
    """Local files of everything the models are trained on. Raises StaleInputs."""
    from mm_assets.mimic.train_job import TrainingFiles

    image_encoder(store)  # all partitions present, current and alike
    image = {
        f"{directory}/{file.path}": store.local_file(artifact, file.path)
        for directory, artifact in store.partitions("mimic", "image_features").items()
        for file in artifact.files
    }
    text = store.current("mimic", "text_features")
    require_made_from(store, text, "mimic/phase3")
    return TrainingFiles(
        records=store.local_file(store.current("mimic", "phase3"), "records.parquet"),
        image=image,
        text={file.path: store.local_file(text, file.path) for file in text.files if file.path.startswith("part-")},
        passages=store.local_file(store.current("mimic", "knowledge_base"), "passages.parquet"),
        passage_vectors=store.local_file(text, "passages.safetensors"),
    )


@dataclass(frozen=True)
class EvaluationInputs:
    """What `evaluation.evaluate` takes; subgroup columns are aligned with the test split."""

    validate: "SplitPredictions"
    test: "SplitPredictions"
    dropped: dict[tuple[str, int], np.ndarray]
    subgroups: dict[str, list[str]]


def predictions_by_split(store: ArtifactStore) -> EvaluationInputs:
    """Predictions of the current model beside the targets of phase 3, under the policy the model was trained with."""
    from mm_assets.mimic.evaluation import age_bands
    from mm_assets.mimic.labels import LabelPolicy, raw_labels, targets_and_mask
    from mm_assets.mimic.predictions import SplitPredictions

    trained = store.current("mimic", "model")
    require_made_from(store, trained, "mimic/phase3")
    policy = LabelPolicy(**store.read_json(trained, "training.json")["policy"])
    predicted = store.read_table(trained, "predictions.parquet").to_pandas()
    columns = ["study_id", "subject_id", "split", "view", "gender", "age", "phase3_integrated", *LABELS]
    records = store.read_table(store.current("mimic", "phase3"), "records.parquet", columns)
    records = records.filter(records["phase3_integrated"]).sort_by("study_id")

    def logits_of(rows: "pd.DataFrame", part: pa.Table) -> np.ndarray:
        ordered = rows.set_index("study_id").loc[part["study_id"].to_numpy(), "logits"]
        return np.stack(ordered.to_list()).astype(np.float64)

    splits = {}
    for split in ("validate", "test"):
        part = records.filter(pc.equal(records["split"], split))
        targets, mask = targets_and_mask(raw_labels(part), policy)
        own = predicted[(predicted["split"] == split) & predicted["dropped"].isna()]
        splits[split] = SplitPredictions(
            logits={(str(v), int(s)): logits_of(rows, part) for (v, s), rows in own.groupby(["variant", "seed"])},
            targets=targets.astype(np.float64),
            mask=mask,
            patients=part["subject_id"].to_numpy(),
        )
    test = records.filter(pc.equal(records["split"], "test"))
    hidden = predicted[predicted["dropped"].notna()]
    return EvaluationInputs(
        validate=splits["validate"],
        test=splits["test"],
        dropped={(str(m), int(s)): logits_of(rows, test) for (m, s), rows in hidden.groupby(["dropped", "seed"])},
        subgroups={
            "sex": [sex or "unknown" for sex in test["gender"].to_pylist()],
            "age": age_bands(test["age"].to_pylist()),
            "view": test["view"].to_pylist(),
        },
    )


def card_facts(store: ArtifactStore) -> "CardFacts":
    """What the model card tells beside the evaluation's numbers."""
    from mm_assets.mimic.model_card import CardFacts

    trained = store.current("mimic", "model")
    records = store.current("mimic", "phase3")
    noted = store.read_json(trained, "training.json")
    splits = store.read_table(records, "records.parquet", ["split"])["split"].to_pylist()
    text = store.current("mimic", "text_features")
    policy = noted["policy"]
    return CardFacts(
        synthetic=trained.synthetic,
        upstream={"mimic/model": trained.version, **trained.upstream},
        studies={split: splits.count(split) for split in SPLITS},
        encoders={
            "image": encoder_name(image_encoder(store)),
            "text": encoder_name(store.read_json(text, "encoder.json")),
        },
        n_parameters=noted["parameters"]["fused"],
        label_policy=f"blank is read as {policy['blank']}, uncertain (-1) as {policy['uncertain']}.",
    )


def encoder_name(noted: dict[str, Any]) -> str:
    """`efficientnet-lite0 (timm/tf_efficientnet_lite0.in1k, revision main)`."""
    from resources.hub import ENCODERS

    card = ENCODERS[noted["encoder"]]
    return f"{card.name} ({'embedded copy of ' if card.embedded else ''}{card.hub_id}, revision {noted['revision']})"
