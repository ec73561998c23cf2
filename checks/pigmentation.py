"""What the wing `pigmentation` promises about each asset: contracts of its tables and judged numbers.

Belongs here: expectations, and where a judge's numbers are read. Nothing is measured here: a check compares what an
asset published. Critical ones block what is downstream, warnings are shown. Does not belong here: the judges and their
bounds (`checks/pigmentation_judges.py`).
"""

from typing import TYPE_CHECKING, Any

from checks.common import mostly_between, not_empty, one_of, present, released_and_current, table_of, unique
from checks.expectations import Expected, expectation_checks, metric_check
from checks.pigmentation_judges import (
    attention_means_something,
    every_run_has_a_score,
    every_split_is_labelled,
    every_tone_is_judged,
    fused_beats_the_melanin_index,
    fused_survives_a_missing_modality,
    intervals_cover,
    labels_are_not_derived,
    model_is_releasable,
    most_images_are_readable,
    release_is_current,
    splits_share_no_patient,
    tones_are_served_alike,
)
from mm_assets.pigmentation.schema import LABEL_SOURCES, MODALITIES, SEVERITIES, TONES, UNKNOWN_TONE
from mm_assets.records.splits import SPLIT_NAMES

if TYPE_CHECKING:
    from resources.artifacts import ArtifactStore

WING = "pigmentation"
TRAPS = "tree/traps.parquet"  # of the source, where it was rendered here


def within_unit_range(column: str) -> Expected:
    """A severity lies between 0 and 1."""
    kwargs = {"column": column, "min_value": 0, "max_value": 1}
    return Expected(f"{column}_in_range", "ExpectColumnValuesToBeBetween", kwargs)


def readable_images(store: "ArtifactStore") -> dict[str, Any]:
    """How many images the manifest lists and how many could not be read. Not counted: good images of a lesion without
    its photograph, and lesions that the renderer spoilt on purpose, which are many in a small set."""
    from mm_assets.pigmentation.lesions import NO_CLINICAL_IMAGE

    origin = store.current(WING, "source")
    spoilt: set[str] = set()
    if TRAPS in {file.path for file in origin.files}:
        spoilt = set(store.read_table(origin, TRAPS, ["lesion_id"])["lesion_id"].to_pylist())
    listed = store.read_table(origin, "manifest.parquet", ["lesion_id"]).to_pylist()
    refused = store.read_table(store.current(WING, "lesions"), "rejected.parquet", ["lesion_id", "reason"]).to_pylist()
    unreadable = [row for row in refused if row["reason"] != NO_CLINICAL_IMAGE]
    counts = {"listed": listed, "rejected": unreadable}
    return {name: sum(row["lesion_id"] not in spoilt for row in rows) for name, rows in counts.items()}


def labels_by_split(store: "ArtifactStore") -> dict[str, Any]:
    """Labelled records in each split, and the sources of their labels."""
    columns = ["record_id", "score", "label_source"]
    records = store.read_table(store.current(WING, "lesions"), "lesions.parquet", columns)
    split = store.read_table(store.current(WING, "split"), "split.parquet", ["record_id", "split"])
    joined = records.join(split, "record_id").to_pandas()
    labelled = joined[joined["score"].notna()]
    return {
        "labelled": {name: int((labelled["split"] == name).sum()) for name in SPLIT_NAMES},
        "sources": {str(name): int(n) for name, n in labelled["label_source"].value_counts().items()},
    }


pigmentation_checks = [
    expectation_checks(
        (WING, "source"),
        [
            not_empty,
            unique("capture_id"),
            present("patient_id"),
            present("lesion_id"),
            present("path"),
            one_of("modality", MODALITIES),
            one_of("label_source", LABEL_SOURCES),
            within_unit_range("label"),
        ],
        table_of(WING, "source", "manifest.parquet"),
    ),
    expectation_checks(
        (WING, "lesions"),
        [
            not_empty,
            unique("record_id"),
            present("patient_id"),
            one_of("severity", SEVERITIES),
            one_of("label_source", LABEL_SOURCES),
            one_of("tone", [*TONES, UNKNOWN_TONE]),
            within_unit_range("score"),
            mostly_between("ita_deg", -90, 90, 1.0),
        ],
        table_of(
            WING, "lesions", "lesions.parquet",
            ["record_id", "patient_id", "severity", "label_source", "tone", "score", "ita_deg"],
        ),
    ),
    metric_check((WING, "lesions"), "most_images_readable", most_images_are_readable, read=readable_images),
    expectation_checks(
        (WING, "split"),
        [not_empty, unique("record_id"), one_of("split", SPLIT_NAMES)],
        table_of(WING, "split", "split.parquet"),
    ),
    metric_check((WING, "split"), "no_patient_in_two_splits", splits_share_no_patient),
    metric_check((WING, "split"), "every_split_labelled", every_split_is_labelled, read=labels_by_split),
    metric_check(
        (WING, "split"), "labels_not_derived", labels_are_not_derived, read=labels_by_split, severity="warning"
    ),
    metric_check((WING, "model"), "every_training_has_a_score", every_run_has_a_score),
    metric_check((WING, "evaluation"), "better_than_the_mean", model_is_releasable),
    metric_check((WING, "evaluation"), "beats_melanin_index", fused_beats_the_melanin_index, severity="warning"),
    metric_check((WING, "evaluation"), "survives_missing", fused_survives_a_missing_modality, severity="warning"),
    metric_check((WING, "evaluation"), "tones_alike", tones_are_served_alike, severity="warning"),
    metric_check((WING, "evaluation"), "every_tone_judged", every_tone_is_judged, severity="warning"),
    metric_check((WING, "evaluation"), "intervals_cover", intervals_cover, severity="warning"),
    metric_check((WING, "evaluation"), "attention_tried", attention_means_something, severity="warning"),
    metric_check(
        (WING, "released_model"), "of_the_current_evaluation", release_is_current,
        read=lambda store: released_and_current(store, WING),
    ),
]  # fmt: skip
