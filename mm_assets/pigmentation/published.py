"""What the wing's assets have published, opened for the next one.

Belongs here: from artifacts to the plain values and local files that the pure modules take.
Does not belong here: computing anything from them, and publishing.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mm_assets.pigmentation.manifest import SYNTHETIC_SOURCE
from mm_assets.pigmentation.schema import MODALITIES, REQUIRED_MODALITY
from mm_assets.records.staleness import require_made_from
from resources.artifact_record import Artifact, ArtifactMissing
from resources.artifacts import ArtifactStore
from resources.objects import ObjectStore
from resources.settings import Settings

if TYPE_CHECKING:
    from mm_assets.pigmentation.datasets import TrainingFiles
    from mm_assets.pigmentation.deletion import DeletionCurves
    from mm_assets.pigmentation.model_card import CardFacts
    from mm_assets.pigmentation.predictions import EvaluationInputs
    from mm_assets.pigmentation.release import ReleaseInputs
    from mm_assets.pigmentation.severity import Thresholds

TREE = "tree"  # folder of the rendered images inside the source artifact


def image_root(url: str, settings: Settings) -> ObjectStore:
    """The store of an image set, with the user's requester-pays project."""
    return ObjectStore.at(url, gcs_user_project=settings.gcs_user_project)


def synthetic_manifest(folder: Path) -> pa.Table:
    """The manifest that the renderer wrote beside its images."""
    import pyarrow.parquet as pq

    return pq.read_table(folder / "manifest.parquet")


def current_source(store: ArtifactStore, settings: Settings) -> tuple[ObjectStore, Artifact]:
    """Where the images of the current manifest lie: as noted when it was materialised, not today's settings."""
    artifact = store.current("pigmentation", "source")
    noted = store.read_json(artifact, "source.json")
    if "tree" in noted:
        return ObjectStore.at(f"{store.objects.url}/{artifact.folder}/{TREE}"), artifact
    return image_root(noted["url"], settings), artifact


def set_of_same_settings(store: ArtifactStore, noted: dict[str, Any]) -> Artifact | None:
    """The current source artifact when it is the rendered set of exactly these settings, else None."""
    try:
        artifact = store.current("pigmentation", "source")
    except ArtifactMissing:
        return None
    same = artifact.synthetic and store.read_json(artifact, "source.json") == noted
    return artifact if same else None


def some_photographs(store: ArtifactStore, artifact: Artifact, count: int) -> list[tuple[bytes, str]]:
    """(JPEG, caption) of the first clinical photographs; only those with a rendered label leave the store."""
    if not artifact.synthetic:
        return []
    columns = [REQUIRED_MODALITY, "tone", "score", "severity", "label_source"]
    shown: list[tuple[bytes, str]] = []
    for batch in store.iter_batches(artifact, "lesions.parquet", columns, batch_rows=count):
        rendered = batch.filter(pc.equal(batch["label_source"], SYNTHETIC_SOURCE))
        for row in rendered.slice(0, count - len(shown)).to_pylist():
            shown.append((row[REQUIRED_MODALITY], f"{row['tone']}: {row['score']:.2f} {row['severity']}"))
        if len(shown) == count:
            break
    return shown


def lesion_counts(store: ArtifactStore, artifact: Artifact) -> dict[str, dict[str, int]]:
    """Records by tone, severity, label source and modalities taken."""
    columns = ["tone", "severity", "label_source", "dermoscopy", "multispectral"]
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("tone", "severity", "label_source", "modality")}
    for batch in store.iter_batches(artifact, "lesions.parquet", columns, batch_rows=256):
        for name in ("tone", "severity", "label_source"):
            counts[name].update(str(value) for value in batch[name].to_pylist())
        for name in ("dermoscopy", "multispectral"):
            counts["modality"][name] += len(batch) - batch[name].null_count
    return {name: dict(sorted(counter.items())) for name, counter in counts.items()}


def severity_thresholds(store: ArtifactStore) -> "Thresholds":
    """The bounds that the labels of the current lesions were named by."""
    from mm_assets.pigmentation.severity import Thresholds

    return Thresholds.from_json(store.read_json(store.current("pigmentation", "lesions"), "severity.json"))


def current_split(store: ArtifactStore) -> Artifact:
    """The split of the current lesions. Raises StaleInputs."""
    artifact = store.current("pigmentation", "split")
    require_made_from(store, artifact, "pigmentation/lesions")
    return artifact


def training_files(store: ArtifactStore) -> "TrainingFiles":
    """Local files of everything the models are trained on. Raises StaleInputs."""
    from mm_assets.pigmentation.datasets import TrainingFiles

    records = store.current("pigmentation", "lesions")
    return TrainingFiles(
        lesions=store.local_file(records, "lesions.parquet"),
        split=store.local_file(current_split(store), "split.parquet"),
        captures=store.local_file(records, "captures.json"),
    )


def current_model(store: ArtifactStore) -> Artifact:
    """The model of the current lesions and split. Raises StaleInputs."""
    artifact = store.current("pigmentation", "model")
    require_made_from(store, artifact, "pigmentation/lesions", "pigmentation/split")
    return artifact


def labelled_split(store: ArtifactStore, columns: Sequence[str]) -> pa.Table:
    """These columns of the divided records, with their `split`, in the order of record_id."""
    wanted = ["record_id", *(name for name in columns if name != "record_id")]
    records = store.read_table(store.current("pigmentation", "lesions"), "lesions.parquet", wanted)
    split = store.read_table(current_split(store), "split.parquet", ["record_id", "split"])
    divided = records.filter(pc.is_in(records["record_id"], split["record_id"])).sort_by("record_id")
    # Both sorted: a join of Arrow's cannot carry binary columns.
    return divided.append_column("split", split.sort_by("record_id")["split"])


def evaluation_inputs(store: ArtifactStore, *, workers: int) -> "EvaluationInputs":
    """Predictions of the current model beside labels, and the baselines, calibrated on train."""
    from mm_assets.pigmentation.baselines import fit_baselines, measured
    from mm_assets.pigmentation.predictions import EvaluationInputs, split_scores

    trained = current_model(store)
    columns = ["record_id", "patient_id", "score", "tone", "label_source", REQUIRED_MODALITY]
    table = labelled_split(store, columns)
    predicted = store.read_table(trained, "predictions.parquet")
    judged = table.filter(pc.is_in(table["split"], pa.array(["train", "test"])))
    measures = measured(judged[REQUIRED_MODALITY].to_pylist(), workers=workers, desc="melanin index of the photographs")
    split = np.array(judged["split"].to_pylist())
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    scores = judged["score"].to_numpy(zero_copy_only=False)
    fitted = fit_baselines([measures[k] for k in train], scores[train])
    names = judged["record_id"].take(pa.array(test)).to_pylist()
    answered = fitted.scores([measures[k] for k in test])
    baselines = {name: dict(zip(names, values.tolist(), strict=True)) for name, values in answered.items()}
    return EvaluationInputs(
        validate=split_scores(table, predicted, "validate"),
        test=split_scores(table, predicted, "test", baselines),
        modalities=trained_modalities(store, trained),
    )


def trained_modalities(store: ArtifactStore, trained: Artifact) -> tuple[str, ...]:
    """The modalities that the model reads, in order."""
    return tuple(name for name, _ in store.read_json(trained, "training.json")["model"]["modalities"])


def attention_curves(store: ArtifactStore, seed: int, *, records: int) -> "DeletionCurves | None":
    """Deletion curves of the fused model of one seed, on the first test records that have every modality.

    None for a model that predicts classes, whose attention belongs to no single score, and where no record has them
    all.
    """
    import torch

    from mm_assets.pigmentation.attention_trial import attention_trial
    from mm_assets.pigmentation.datasets import stored_modalities
    from mm_assets.pigmentation.inputs import to_tensor
    from mm_assets.pigmentation.train_job import load_trained

    model, spec = load_trained(trained_folder(store, "fused", seed))
    if model.config.head != "regression":
        return None
    captures = store.read_json(store.current("pigmentation", "lesions"), "captures.json")
    stored = {modality.name: modality for modality in stored_modalities(captures)}
    table = labelled_split(store, ["record_id", "patient_id", *spec.names])
    whole = pc.equal(table["split"], "test")
    for name in spec.names:
        whole = pc.and_(whole, pc.is_valid(table[name]))
    rows = table.filter(whole).slice(0, records).to_pylist()
    if not rows:
        return None
    batch = {
        name: torch.stack(
            [to_tensor(spec.modality(name), stored[name].pixels(row[name]), spec.image_size) for row in rows]
        )
        for name in spec.names
    }
    batch["present"] = torch.ones(len(rows), len(spec.names), dtype=torch.bool)
    return attention_trial(model, batch, [row["patient_id"] for row in rows])


def trained_folder(store: ArtifactStore, variant: str, seed: int) -> Path:
    """Local folder of one trained variant and seed."""
    return store.local_folder(current_model(store)) / f"{variant}-{seed}"


def card_facts(store: ArtifactStore) -> "CardFacts":
    """What the model card tells beside the evaluation's numbers."""
    from mm_assets.pigmentation.model_card import CardFacts
    from mm_assets.pigmentation.release import RELEASED_VARIANT
    from mm_assets.pigmentation.train_job import SPEC

    trained = current_model(store)
    noted = store.read_json(trained, "training.json")
    read = store.read_json(trained, f"{RELEASED_VARIANT}-{noted['knobs']['seed'][0]}/{SPEC}")["preprocessing"]
    table = labelled_split(store, ["record_id", "label_source", "tone_source"])
    return CardFacts(
        synthetic=trained.synthetic,
        upstream={"pigmentation/model": trained.version, **trained.upstream},
        records=dict(Counter(table["split"].to_pylist())),
        label_sources=dict(Counter(table["label_source"].to_pylist())),
        tone_sources=dict(Counter(table["tone_source"].to_pylist())),
        inputs={modality["name"]: input_in_words(modality) for modality in read["modalities"]},
        encoder=f"{noted['model']['encoder']}, {'pretrained on ImageNet' if noted['pretrained'] else 'random start'}",
        parameters=noted["parameters"]["fused"],
    )


def input_in_words(modality: dict[str, Any]) -> str:
    """`12 bands from 450 to 950 nm`, `colour photograph`."""
    if modality["kind"] == "rgb":
        return "colour photograph"
    if modality["kind"] == "absorbance":
        return "colour photograph, as absorbance above the skin around"
    if modality["kind"] == "hsl":
        return "hue, saturation and lightness of the photograph: no information beyond it"
    bands = modality["wavelengths_nm"]
    return f"{modality['channels']} bands from {bands[0]:.0f} to {bands[-1]:.0f} nm"


def release_inputs(store: ArtifactStore) -> "ReleaseInputs":
    """Everything of a release. Raises StaleInputs."""
    from mm_assets.pigmentation.release import PARITY_RECORDS, RELEASED_VARIANT, ReleaseInputs, choose_examples

    judged = store.current("pigmentation", "evaluation")
    require_made_from(store, judged, "pigmentation/model", "pigmentation/lesions", "pigmentation/split")
    result = store.read_json(judged, "evaluation.json")
    captures = store.read_json(store.current("pigmentation", "lesions"), "captures.json")
    table = labelled_split(store, ["record_id", "tone", "severity", "label_source", *MODALITIES])
    validate = table.filter(pc.equal(table["split"], "validate")).slice(0, PARITY_RECORDS)
    # The label's own word beside the artifact's: a patient's photograph must not leave with the bundle.
    rendered = pc.and_(pc.equal(table["split"], "test"), pc.equal(table["label_source"], SYNTHETIC_SOURCE))
    test = table.filter(rendered)
    offered = choose_examples(test.select(["record_id", "tone", "severity"]).to_pylist()) if judged.synthetic else []
    examples = {
        row["record_id"]: row
        for row in test.filter(pc.is_in(test["record_id"], pa.array(offered, pa.string()))).to_pylist()
    }
    return ReleaseInputs(
        trained=trained_folder(store, RELEASED_VARIANT, result["released_seed"]),
        captures=captures,
        evaluation=result,
        card=store.local_file(judged, "card.md").read_text(encoding="utf-8"),
        synthetic=judged.synthetic,
        validate=validate.to_pylist(),
        examples=[examples[name] for name in offered],
        runtime_before=runtime_of_release(store),
    )


def runtime_of_release(store: ArtifactStore) -> str | None:
    """The runtime of the current release where it is one of the current model, else None."""
    try:
        released = store.current("pigmentation", "released_model")
    except ArtifactMissing:
        return None
    if released.upstream["pigmentation/model"] != store.version("pigmentation", "model"):
        return None
    return str(store.read_json(released, "model.json")["runtime"]["name"])
