"""What the wing's assets have published, in MM_HOME and in both parties' homes, opened for who may read all three.

Belongs here: from artifacts to the plain values and local files that the pure modules take. Does not belong here:
computing anything from them, publishing, and what a party reads of its own (party_work.py).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mm_assets.cloud_vision.parties import PartyAccess, party_access
from mm_assets.cloud_vision.party_alignment import ALIGNMENT_JSON, COMMON
from mm_assets.cloud_vision.party_work import FEATURES, FEATURES_JSON, PREPROCESSOR, RECORDS, WING
from mm_assets.cloud_vision.schema import FEATURES as FEATURE_NAMES
from mm_assets.cloud_vision.schema import (
    ID_COLUMN,
    IMAGE_COLUMN,
    IMAGE_HOLDER,
    LABEL_HOLDER,
    ORG2_FEATURES,
    ORG3_FEATURES,
    ORGANISATIONS,
    Organisation,
)
from mm_assets.records.staleness import require_versions
from resources.artifact_record import Artifact
from resources.artifacts import ArtifactStore
from resources.settings import Settings

if TYPE_CHECKING:
    from mm_assets.cloud_vision.audit_jobs import AuditedNetwork
    from mm_assets.cloud_vision.evaluation import EvaluationInputs
    from mm_assets.cloud_vision.model_card import CardFacts
    from mm_assets.cloud_vision.release import ReleaseInputs
    from mm_assets.cloud_vision.row_files import RowFiles

_FEATURES = ("org2_features", "org3_features", "alignment")


@dataclass(frozen=True)
class Homes:
    """MM_HOME and both parties' access, as the simulation's auditor has them."""

    shared: ArtifactStore
    org2: PartyAccess
    org3: PartyAccess

    def store_of(self, asset: str) -> ArtifactStore:
        """Where an asset of the wing is published: `org2_...`, `org3_...` and `upload` with their party."""
        if asset == "upload" or asset.startswith(f"{IMAGE_HOLDER}_"):
            return self.org3.artifacts()
        return self.org2.artifacts() if asset.startswith(f"{LABEL_HOLDER}_") else self.shared

    def current(self, asset: str) -> Artifact:
        """Raises ArtifactMissing."""
        return self.store_of(asset).current(WING, asset)

    def json(self, asset: str, name: str) -> Any:
        return self.store_of(asset).read_json(self.current(asset), name)

    def table(self, asset: str, name: str, columns: list[str] | None = None) -> pa.Table:
        return self.store_of(asset).read_table(self.current(asset), name, columns)

    def file(self, asset: str, name: str) -> Path:
        return self.store_of(asset).local_file(self.current(asset), name)


def open_homes(settings: Settings, store: ArtifactStore) -> Homes:
    """Raises SettingsError."""
    return Homes(store, party_access(settings, LABEL_HOLDER), party_access(settings, IMAGE_HOLDER))


def upstream_of(homes: Homes, *assets: str) -> dict[str, str]:
    """`{"cloud_vision/asset": version}` of what is current, each from its own home. Raises ArtifactMissing."""
    return {f"{WING}/{asset}": homes.current(asset).version for asset in assets}


def require_current(homes: Homes, asset: str, *made_from: str) -> None:
    """An asset was made from what is current, each in its own home. Raises StaleInputs."""
    require_versions(homes.current(asset), upstream_of(homes, *made_from))


def features_version(homes: Homes, party: Organisation) -> str:
    return homes.current(f"{party}_features").version


def row_files(homes: Homes) -> "RowFiles":
    """Local files of the rows that both parties hold, all made from the current source, whose answer key and ceilings
    they are judged by. Raises StaleInputs."""
    from mm_assets.cloud_vision.row_files import RowFiles

    for party in ORGANISATIONS:
        require_current(homes, f"{party}_records", "source")
        require_current(homes, "alignment", f"{party}_records")
        require_current(homes, f"{party}_features", f"{party}_records", "alignment")
    return RowFiles(
        org2=homes.file("org2_features", FEATURES),
        org3=homes.file("org3_features", FEATURES),
        common=homes.file("alignment", COMMON),
        digest=str(homes.json("alignment", ALIGNMENT_JSON)["digest"]),
    )


def image_px(homes: Homes) -> int:
    """Side of the X-rays as the networks read them."""
    return int(homes.json("org3_features", FEATURES_JSON)["image_px"])


def is_synthetic(homes: Homes) -> bool:
    """Whether the X-rays were drawn; the tables always were."""
    return homes.current("source").synthetic


def audited_network(homes: Homes, seeds: int) -> "AuditedNetwork":
    """The current model, with at most so many of its seeds, from its first on. Raises StaleInputs, NothingToJudge."""
    from mm_assets.cloud_vision.audit_jobs import AuditedNetwork
    from mm_assets.cloud_vision.evaluation import NothingToJudge
    from mm_assets.cloud_vision.party_steps import SplitKnobs
    from mm_assets.cloud_vision.predictions import split_answers
    from mm_assets.cloud_vision.row_files import open_rows
    from mm_assets.cloud_vision.split_model import SplitConfig

    files = row_files(homes)
    require_current(homes, "model", *_FEATURES)
    trained = homes.json("model", "training.json")
    answers = split_answers(open_rows(files), homes.table("model", "predictions.parquet"))
    if "test" not in answers:
        raise NothingToJudge("the parties have no test records in common: give that split some, then run all again")
    return AuditedNetwork(
        files=files,
        config=SplitConfig.from_dict(trained["architecture"]),
        knobs=SplitKnobs(**trained["knobs"]),
        seeds=tuple(trained["seeds"][:seeds]),
        test=answers["test"],
    )


def evaluation_inputs(homes: Homes) -> "EvaluationInputs":
    """Answers of the current networks beside the labels, the pooled model's, ceilings, and what the audits found.

    Raises StaleInputs.
    """
    from mm_assets.cloud_vision.evaluation import EvaluationInputs
    from mm_assets.cloud_vision.pooled_model import POOLED, pooled_answers
    from mm_assets.cloud_vision.predictions import split_answers
    from mm_assets.cloud_vision.row_files import open_rows

    require_current(homes, "model", *_FEATURES)
    for audit in ("misalignment", "label_leak"):
        require_current(homes, audit, "model", *_FEATURES)
    rows = open_rows(row_files(homes))
    answers = split_answers(rows, homes.table("model", "predictions.parquet"))
    for split, found in pooled_answers(rows).items():
        answers[split].logits[POOLED, 0] = found
    trained = homes.json("model", "training.json")
    return EvaluationInputs(
        answers=answers,
        ceilings=homes.json("source", "ceilings.json"),
        misalignment=homes.table("misalignment", "misalignment.parquet").to_pylist(),
        leak=homes.table("label_leak", "leak.parquet").to_pylist(),
        verdict=homes.json("label_leak", "leak.json"),
        carried=trained["carried"],
        split_minus_central=trained["split_minus_central"],
    )


def card_facts(homes: Homes) -> "CardFacts":
    """What the model card tells beside the evaluation's numbers."""
    from mm_assets.cloud_vision.model_card import CardFacts

    trained, aligned = homes.json("model", "training.json"), homes.json("alignment", ALIGNMENT_JSON)
    split = homes.table("alignment", COMMON, ["split"])["split"].to_pylist()
    return CardFacts(
        synthetic=is_synthetic(homes),
        upstream={f"{WING}/model": homes.current("model").version, **homes.current("model").upstream},
        records=dict(Counter(split)),
        sizes=aligned["sizes"],
        alignment_bytes=sum(count["bytes"] for count in aligned["counts"]),
        architecture=trained["architecture"],
        parameters=trained["parameters"]["joint"],
        epochs=trained["knobs"]["epochs"],
        wire=trained["wire"],
    )


def release_inputs(homes: Homes) -> "ReleaseInputs":
    """Everything of a release. Raises StaleInputs."""
    from mm_assets.cloud_vision.release import ReleaseInputs
    from mm_assets.cloud_vision.row_files import open_rows
    from mm_assets.cloud_vision.train_job import JOINT, WEIGHTS

    require_current(homes, "evaluation", "model", "misalignment", "label_leak", "source")
    require_current(homes, "model", *_FEATURES)
    result = homes.json("evaluation", "evaluation.json")
    rows, seed = open_rows(row_files(homes)), result["served_seed"]
    synthetic = is_synthetic(homes)
    return ReleaseInputs(
        weights={
            name: homes.file("model", f"runs/{name}-{seed}/{WEIGHTS}") for name in (JOINT, LABEL_HOLDER, IMAGE_HOLDER)
        },
        architecture=homes.json("model", "training.json")["architecture"],
        preprocessors={party: homes.json(f"{party}_features", PREPROCESSOR) for party in ORGANISATIONS},
        image_px=image_px(homes),
        evaluation=result,
        card=homes.file("evaluation", "card.md").read_text(encoding="utf-8"),
        synthetic=synthetic,
        # A patient's X-ray must not leave with the bundle.
        examples=_examples(homes, rows.image_ids[rows.places["test"]]) if synthetic else pa.table({}),
    )


def _examples(homes: Homes, image_ids: np.ndarray) -> pa.Table:
    """Test records to offer, as the parties hold them, with the truth: see release.EXAMPLE_SCHEMA."""
    from mm_assets.cloud_vision.ids import aligned_rows, read_ids
    from mm_assets.cloud_vision.release import EXAMPLE_SCHEMA, choose_examples
    from mm_assets.cloud_vision.source import DATA, TRUTH

    def rows_of(asset: str, name: str, columns: list[str], ids: list[str]) -> pa.Table:
        table = homes.table(asset, name, [ID_COLUMN, *columns])
        found = read_ids(table[ID_COLUMN].to_pylist(), party=asset)
        return table.take(pa.array(aligned_rows(found, ids)))

    truth = rows_of("source", TRUTH, ["label", "pattern", "image"], image_ids.tolist())
    chosen = [image_ids[place] for place in choose_examples(truth["label"].to_pylist(), truth["pattern"].to_pylist())]
    truth = rows_of("source", TRUTH, ["label", "pattern", "mask"], chosen)
    own = rows_of("org2_records", RECORDS, list(ORG2_FEATURES), chosen)
    other = rows_of("org3_records", RECORDS, [*ORG3_FEATURES, IMAGE_COLUMN], chosen)
    films = [
        homes.file("source", f"{DATA}/{IMAGE_HOLDER}/{name}").read_bytes() for name in other[IMAGE_COLUMN].to_pylist()
    ]
    columns = {
        "image_id": pa.array(chosen, pa.string()),
        "xray": pa.array(films, pa.binary()),
        **{name: (own if name in ORG2_FEATURES else other)[name] for name in FEATURE_NAMES},
        **{name: truth[name] for name in ("label", "pattern", "mask")},
    }
    return pa.table([columns[name] for name in EXAMPLE_SCHEMA.names], schema=EXAMPLE_SCHEMA)
