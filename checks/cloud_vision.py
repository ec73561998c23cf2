"""What the wing `cloud_vision` promises about its data assets: contracts of its tables and judged numbers.

Belongs here: expectations, and where a judge's numbers are read. Critical ones block what is downstream, warnings are
shown. Does not belong here: the judges and their bounds (`checks/cloud_vision_judges.py`), models and their evaluation
(`checks/cloud_vision_model.py`).

Checks are the auditor's: they may open both organisations' homes, and count; no result quotes a row.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from checks.cloud_vision_judges import (
    class_hides_from_grey_levels,
    classes_are_balanced,
    every_class_is_everywhere,
    every_xray_is_uploaded,
    features_follow_the_alignment,
    most_xrays_are_readable,
    nothing_of_the_other_party,
    real_class_hides_from_grey_levels,
    records_are_aligned_by_id,
    shifted_films_differ,
)
from checks.common import not_empty, one_of, present, table_of, unique
from checks.expectations import Expected, expectation_checks, house_check, metric_check
from mm_assets.cloud_vision.party_alignment import ALIGNMENT_JSON, COMMON
from mm_assets.cloud_vision.schema import (
    CLASSES,
    IMAGE_HOLDER,
    LABEL_HOLDER,
    ORG2_FEATURES,
    ORG2_SCHEMA,
    ORG3_FEATURES,
    ORG3_SCHEMA,
    ORGANISATIONS,
    SPLITS,
    Organisation,
)
from mm_assets.records.splits import SPLIT_NAMES
from resources.dagster_resources import House

if TYPE_CHECKING:
    import pandas as pd

    from resources.artifact_record import Artifact
    from resources.artifacts import ArtifactStore

WING = "cloud_vision"
TRUTH = "data/truth/records.parquet"
LABELS = range(len(CLASSES))
LARGEST_FLOAT32 = 3.4e38
# Names of tensors and columns that a party's artifacts may hold; anything else is of the other party, or of nobody.
OWN_NAMES: dict[Organisation, frozenset[str]] = {
    LABEL_HOLDER: frozenset([*ORG2_SCHEMA.names, "class_name", "features", "labels"]),
    IMAGE_HOLDER: frozenset([*ORG3_SCHEMA.names, "local", "cloud", "content_type", "features", "pixels"]),
}


def finite(column: str) -> Expected:
    """No infinity; a missing value is allowed, the preprocessor fills it."""
    kwargs = {"column": column, "min_value": -LARGEST_FLOAT32, "max_value": LARGEST_FLOAT32}
    return Expected(f"{column}_finite", "ExpectColumnValuesToBeBetween", kwargs)


def normalised(column: str) -> Expected:
    """Ids in the one spelling that both parties' tables are brought into."""
    return Expected(
        f"{column}_normalised", "ExpectColumnValuesToMatchRegex", {"column": column, "regex": r"^[^\sA-Z.\-]+$"}
    )


def columns_are(names: Sequence[str]) -> Expected:
    """These columns and no others."""
    kwargs = {"column_set": list(names), "exact_match": True}
    return Expected("columns_known", "ExpectTableColumnsToMatchSet", kwargs)


def party_store(house: House, party: Organisation) -> "ArtifactStore":
    """The party's own artifacts."""
    from mm_assets.cloud_vision.parties import party_access

    return party_access(house.settings(), party).artifacts()


def party_records(party: Organisation) -> Callable[[House], "pd.DataFrame"]:
    """Loads a party's published records."""

    def load(house: House) -> "pd.DataFrame":
        store = party_store(house, party)
        return store.read_table(store.current(WING, f"{party}_records"), "records.parquet").to_pandas()

    return load


def classes_by_split(store: "ArtifactStore") -> dict[str, Any]:
    """Records that both organisations hold: counts of each class, in each split. Only drawn data has shifted ones."""
    artifact = store.current(WING, "source")
    rows = store.read_table(artifact, TRUTH, ["split", "label", "in_org2", "in_org3"]).to_pylist()
    counts = Counter((row["split"], row["label"]) for row in rows if row["in_org2"] and row["in_org3"])
    expected = {*SPLIT_NAMES, *(row["split"] for row in rows)}
    return {"common": {split: [counts[split, label] for label in LABELS] for split in SPLITS if split in expected}}


def names_held(party: Organisation, asset: str) -> Callable[[House], dict[str, Any]]:
    """Reads the columns and tensors of a party's artifact that are not its own, and the width of its features."""

    def read(house: House) -> dict[str, Any]:
        store = party_store(house, party)
        artifact = store.current(WING, asset)
        shapes = _tensor_shapes(store, artifact)
        found = {*(column for columns in artifact.schema.values() for column in columns), *shapes}
        foreign = sorted(found - OWN_NAMES[party])
        width = shapes["features"][1] if "features" in shapes else None
        own_width = len(ORG2_FEATURES if party == LABEL_HOLDER else ORG3_FEATURES)
        return {"foreign": foreign, "width": width, "own_width": own_width}

    return read


def _tensor_shapes(store: "ArtifactStore", artifact: "Artifact") -> dict[str, list[int]]:
    """Name -> shape of every tensor, from the headers of the artifact's safetensors files."""
    from safetensors import safe_open

    shapes: dict[str, list[int]] = {}
    for file in artifact.files:
        if file.path.endswith(".safetensors"):
            with safe_open(store.local_file(artifact, file.path), framework="numpy") as tensors:
                shapes |= {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return shapes


def uploaded_xrays(house: House) -> dict[str, Any]:
    """How many X-rays the mapping has, and how many of them are wrong in the manifest or in the bucket."""
    from mm_assets.cloud_vision.parties import party_access
    from resources.object_uploads import UploadManifest

    access = party_access(house.settings(), IMAGE_HOLDER)
    store, project = access.artifacts(), house.artifacts()
    mapping = store.read_table(store.current(WING, "org3_records"), "mapping.parquet").to_pylist()
    local = {row["cloud"]: row["local"] for row in mapping}
    text = store.local_file(store.current(WING, "upload"), "manifest.json").read_bytes()
    manifest = UploadManifest.from_json(text).objects
    times = Counter(one.key for one in manifest)
    there = {info.path: info.size for info in access.xrays().list()}
    made = {file.path: file.sha256 for file in project.current(WING, "source").files}
    return {
        "mapped": len(mapping),
        "wrong": {
            "not in the manifest": sum(times[name] == 0 for name in local),
            "there more than once": sum(count > 1 for count in times.values()),
            "not mapped": sum(name not in local for name in times),
            "not in the bucket": sum(one.key not in there for one in manifest),
            "of another size": sum(there.get(one.key, one.size) != one.size for one in manifest),
            "of another checksum": sum(
                made.get(f"data/{IMAGE_HOLDER}/{local.get(one.key)}") != one.sha256 for one in manifest
            ),
        },
    }


def alignment_by_id(house: House) -> dict[str, Any]:
    """Ids of the alignment, against those that the auditor finds in both parties' records."""
    from mm_assets.cloud_vision.ids import ids_digest

    splits = [_splits_by_id(house, party) for party in ORGANISATIONS]
    store = house.artifacts()
    aligned = store.current(WING, "alignment")
    rows = store.read_table(aligned, COMMON).to_pylist()
    ids, shared = [row["image_id"] for row in rows], sorted(splits[0].keys() & splits[1].keys())
    return {
        "digests": {
            "noted": store.read_json(aligned, ALIGNMENT_JSON)["digest"],
            "of its rows": ids_digest(ids),
            "of the parties' records": ids_digest(shared),
        },
        "ids": {"common": len(ids), "missing": len({*shared} - {*ids}), "foreign": len({*ids} - {*shared})},
        "splits_apart": sum({party.get(row["image_id"]) for party in splits} != {row["split"]} for row in rows),
    }


def _splits_by_id(house: House, party: Organisation) -> dict[str, str]:
    store = party_store(house, party)
    table = store.read_table(store.current(WING, f"{party}_records"), "records.parquet", ["image_id", "split"])
    return dict(zip(table["image_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def features_of_alignment(party: Organisation) -> Callable[[House], dict[str, Any]]:
    """Reads which ids a party's features stand for, and of how many rows they are, beside the alignment's."""

    def read(house: House) -> dict[str, Any]:
        store, home = house.artifacts(), party_store(house, party)
        aligned, artifact = store.current(WING, "alignment"), home.current(WING, f"{party}_features")
        return {
            "digest": home.read_json(artifact, "features.json")["digest"],
            "digest_aligned": store.read_json(aligned, ALIGNMENT_JSON)["digest"],
            "rows": {name: shape[0] for name, shape in _tensor_shapes(home, artifact).items()},
            "rows_aligned": aligned.file(COMMON).rows,
        }

    return read


cloud_vision_data_checks = [
    expectation_checks(
        (WING, "source"),
        [
            not_empty,
            unique("image_id"),
            one_of("split", SPLITS),
            present("split"),
            one_of("label", LABELS),
            present("label"),
        ],
        table_of(WING, "source", TRUTH, ["image_id", "split", "label"]),
    ),
    metric_check((WING, "source"), "every_class_everywhere", every_class_is_everywhere, read=classes_by_split),
    metric_check(
        (WING, "source"), "classes_balanced", classes_are_balanced, read=classes_by_split, severity="warning"
    ),
    metric_check((WING, "source"), "most_xrays_readable", most_xrays_are_readable),
    metric_check((WING, "source"), "class_hidden_in_grey_levels", class_hides_from_grey_levels),
    metric_check(
        (WING, "source"), "real_class_hidden_in_grey_levels", real_class_hides_from_grey_levels, severity="warning"
    ),
    metric_check((WING, "source"), "shifted_differs", shifted_films_differ, severity="warning"),
    expectation_checks(
        (WING, "org2_records"),
        [
            not_empty,
            columns_are(ORG2_SCHEMA.names),
            unique("image_id"),
            normalised("image_id"),
            present("image_id"),
            one_of("split", SPLITS),
            present("split"),
            one_of("label", LABELS),
            present("label"),
            *(finite(name) for name in ORG2_FEATURES),
        ],
        party_records(LABEL_HOLDER),
    ),
    expectation_checks(
        (WING, "org3_records"),
        [
            not_empty,
            columns_are(ORG3_SCHEMA.names),  # no label among them
            unique("image_id"),
            normalised("image_id"),
            present("image_id"),
            one_of("split", SPLITS),
            present("split"),
            present("image"),
            *(finite(name) for name in ORG3_FEATURES),
        ],
        party_records(IMAGE_HOLDER),
    ),
    *(
        house_check(
            (WING, f"{party}_{what}"), "nothing_of_the_other_party", nothing_of_the_other_party,
            read=names_held(party, f"{party}_{what}"),
        )
        for party in ORGANISATIONS
        for what in ("records", "features")
    ),
    house_check((WING, "upload"), "every_xray_uploaded", every_xray_is_uploaded, read=uploaded_xrays),
    expectation_checks(
        (WING, "alignment"),
        [not_empty, columns_are(["image_id", "split"]), unique("image_id"), one_of("split", SPLITS)],
        table_of(WING, "alignment", COMMON),
    ),
    house_check((WING, "alignment"), "aligned_by_id", records_are_aligned_by_id, read=alignment_by_id),
    *(
        house_check(
            (WING, f"{party}_features"), "of_the_alignment", features_follow_the_alignment,
            read=features_of_alignment(party),
        )
        for party in ORGANISATIONS
    ),
]  # fmt: skip
