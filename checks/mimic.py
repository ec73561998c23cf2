"""What the wing `mimic` promises about each asset: contracts of its tables and bounds of its measured numbers.

Belongs here: expectations and thresholds, with the reason for each bound. Nothing is computed here: a check compares
what an asset published. Critical ones block what is downstream, warnings are shown.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from checks.expectations import CheckOutcome, Expected, expectation_checks, metric_check
from mm_assets.mimic.schema import FRONTAL_VIEWS, KNOWN_VIEWS, LABELS, NO_FINDING, SPLITS
from resources.dagster_resources import House

if TYPE_CHECKING:
    import pandas as pd

# Judged on the planted corpus, where every leak is known.
LEAST_RECALL = 0.98
LEAST_CLEAN_KEPT = 0.98
# A 95 % interval misses the truth once in twenty: of 14 labels one may lie outside by chance, seldom two.
MOST_OUTSIDE_BY_CHANCE = 2
# A note the encoder cannot read to its end loses what only the note says.
MOST_TRUNCATED = 0.05
# A label is worth reporting only above chance; a model below this floor is broken, whatever the data.
LEAST_MACRO_AUROC = 0.6
MOST_ECE_AFTER = 0.15


def table_of(asset: str, file: str, columns: Sequence[str] | None = None) -> Callable[[House], "pd.DataFrame"]:
    """Loads a published table; of a partitioned asset all current partitions."""

    def load(house: House) -> "pd.DataFrame":
        import pandas as pd

        store = house.artifacts()
        artifacts = list(store.partitions("mimic", asset).values()) or [store.current("mimic", asset)]
        wanted = list(columns) if columns is not None else None
        frames = [store.read_table(artifact, file, wanted).to_pandas() for artifact in artifacts]
        return pd.concat(frames, ignore_index=True)

    return load


def unique(column: str) -> Expected:
    return Expected(f"{column}_unique", "ExpectColumnValuesToBeUnique", {"column": column})


def present(column: str, *, mostly: float = 1.0) -> Expected:
    return Expected(f"{column}_present", "ExpectColumnValuesToNotBeNull", {"column": column, "mostly": mostly})


def one_of(column: str, values: Sequence[Any]) -> Expected:
    name = column.lower().replace(" ", "_")
    return Expected(f"{name}_known", "ExpectColumnValuesToBeInSet", {"column": column, "value_set": list(values)})


def mostly_between(column: str, low: float, high: float, mostly: float = 0.95) -> Expected:
    return Expected(
        f"{column}_plausible",
        "ExpectColumnValuesToBeBetween",
        {"column": column, "min_value": low, "max_value": high, "mostly": mostly},
        severity="warning",
    )


not_empty = Expected("not_empty", "ExpectTableRowCountToBeBetween", {"min_value": 1})


def filter_finds_planted_terms(numbers: dict[str, Any]) -> CheckOutcome:
    """The filter removes planted leaks and leaves clean complaints alone."""
    return CheckOutcome(
        numbers["recall"] >= LEAST_RECALL and numbers["clean_kept"] >= LEAST_CLEAN_KEPT,
        f"recall {numbers['recall']:.3f} (at least {LEAST_RECALL}), "
        f"clean texts unchanged {numbers['clean_kept']:.3f} (at least {LEAST_CLEAN_KEPT})",
        {"recall": numbers["recall"], "clean_kept": numbers["clean_kept"]},
    )


def redaction_tells_nothing(numbers: dict[str, Any]) -> CheckOutcome:
    """Where terms were planted without looking at labels, having been redacted predicts no label."""
    return CheckOutcome(
        numbers["flags_excluding_half"] <= MOST_OUTSIDE_BY_CHANCE,
        f"{numbers['flags_excluding_half']} labels' intervals exclude .5 "
        f"(at most {MOST_OUTSIDE_BY_CHANCE} by chance); farthest AUROC {numbers['flag_auroc_worst']:.3f}",
        {"flags_excluding_half": numbers["flags_excluding_half"], "farthest": numbers["flag_auroc_worst"]},
    )


def filtered_text_is_as_good_as_leak_free(numbers: dict[str, Any]) -> CheckOutcome:
    """A bag-of-words probe reads no more from filtered text than from leak-free twins."""
    return CheckOutcome(
        numbers["probes_outside"] <= MOST_OUTSIDE_BY_CHANCE,
        f"{numbers['probes_outside']} of {numbers['probes']} labels outside the twin's interval "
        f"(at most {MOST_OUTSIDE_BY_CHANCE} by chance)",
        {"outside": numbers["probes_outside"], "probed": numbers["probes"]},
    )


def notes_are_read_to_their_end(numbers: dict[str, Any]) -> CheckOutcome:
    """The encoder's token limit cuts few notes."""
    share = numbers["truncated_share"]
    return CheckOutcome(
        share <= MOST_TRUNCATED, f"{share:.1%} truncated (at most {MOST_TRUNCATED:.0%})", {"truncated_share": share}
    )


def encoder_is_the_one_asked_for(numbers: dict[str, Any]) -> CheckOutcome:
    """No encoder was passed over for another."""
    passed_over = numbers["fell_back"] or ""
    return CheckOutcome(not passed_over, passed_over or f"{numbers['encoder']}, as asked", {})


def model_beats_chance(numbers: dict[str, Any]) -> CheckOutcome:
    """The fused model is not below the floor on the held-out test split, judged by its 95 % interval."""
    low, high = numbers["macro_auroc_ci_low"], numbers["macro_auroc_ci_high"]
    return CheckOutcome(
        high >= LEAST_MACRO_AUROC,
        f"macro AUROC {numbers['macro_auroc']:.3f} ({low:.3f} to {high:.3f}), floor {LEAST_MACRO_AUROC}",
        {"macro_auroc": numbers["macro_auroc"], "low": low, "high": high},
    )


def calibration_holds(numbers: dict[str, Any]) -> CheckOutcome:
    """Calibration fitted on validate holds on test well enough to show probabilities."""
    return CheckOutcome(
        numbers["ece_after"] <= MOST_ECE_AFTER,
        f"ECE {numbers['ece_before']:.3f} before, {numbers['ece_after']:.3f} after (at most {MOST_ECE_AFTER})",
        {"ece_before": numbers["ece_before"], "ece_after": numbers["ece_after"]},
    )


def fusion_is_worth_it(numbers: dict[str, Any]) -> CheckOutcome:
    """The fused model beats the best single modality with an interval that excludes zero."""
    low, high = numbers["gain_ci_low"], numbers["gain_ci_high"]
    return CheckOutcome(
        low > 0,
        f"gain {numbers['gain_over_best_single']:+.3f} ({low:+.3f} to {high:+.3f}) over {numbers['best_single']}",
        {"gain": numbers["gain_over_best_single"], "low": low, "high": high},
    )


def splits_share_no_patient(numbers: dict[str, Any]) -> CheckOutcome:
    """No patient is in two splits."""
    shared = numbers["patients_in_two_splits"]
    return CheckOutcome(shared == 0, f"{shared} patients in more than one split", {"shared": shared})


def every_split_has_records(numbers: dict[str, Any]) -> CheckOutcome:
    """Train, validate and test all have valid records."""
    counts = {split: numbers[f"valid_{split}"] for split in SPLITS}
    return CheckOutcome(all(counts.values()), str(counts), counts)


mimic_checks = [
    expectation_checks(
        ("mimic", "tables"),
        [
            not_empty,
            unique("stay_id"),
            present("subject_id"),
            present("intime"),
            one_of("gender", ["F", "M"]),
        ],
        table_of("tables", "edstays.parquet"),
    ),
    expectation_checks(
        ("mimic", "links"),
        [
            not_empty,
            unique("dicom_id"),
            unique("study_id"),
            present("stay_id"),
            one_of("split", SPLITS),
            one_of("view", FRONTAL_VIEWS),
            Expected("one_candidate", "ExpectColumnMeanToBeBetween", {"column": "n_candidates", "max_value": 1.2},
                     severity="warning"),
        ],
        table_of("links", "links.parquet"),
    ),
    expectation_checks(
        ("mimic", "phase1"),
        [
            not_empty,
            unique("study_id"),
            present("dicom_id"),
            one_of("split", SPLITS),
            one_of("view", sorted(KNOWN_VIEWS)),
            one_of(NO_FINDING, [1.0]),
            Expected(
                "features_before_film",
                "ExpectColumnPairValuesAToBeGreaterThanB",
                {"column_A": "study_dt", "column_B": "max_feature_time", "ignore_row_if": "either_value_is_missing"},
                description="No clinical feature was charted at or after the film.",
            ),
            mostly_between("temperature", 90, 110),
            mostly_between("heartrate", 30, 220),
            mostly_between("o2sat", 60, 100),
            mostly_between("age", 18, 91),
        ],
        table_of(
            "phase1",
            "records.parquet",
            ["study_id", "dicom_id", "split", "view", NO_FINDING, "study_dt", "max_feature_time", "temperature",
             "heartrate", "o2sat", "age"],
        ),
    ),
    expectation_checks(
        ("mimic", "filtered_text"),
        [not_empty, unique("study_id"), present("chief_complaint"), mostly_between("n_redactions", 0, 0, 0.5)],
        table_of("filtered_text", "filtered.parquet", ["study_id", "chief_complaint", "n_redactions"]),
    ),
    metric_check(("mimic", "leakage_audit"), "planted_terms_removed", filter_finds_planted_terms),
    metric_check(("mimic", "leakage_audit"), "redaction_tells_nothing", redaction_tells_nothing),
    metric_check(("mimic", "leakage_audit"), "as_good_as_leak_free", filtered_text_is_as_good_as_leak_free),
    expectation_checks(
        ("mimic", "knowledge_base"),
        [
            unique("passage_id"),
            Expected("at_least_100", "ExpectTableRowCountToBeBetween", {"min_value": 100}),
            present("citation"),
            present("licence"),
        ],
        table_of("knowledge_base", "passages.parquet", ["passage_id", "text", "citation", "licence"]),
    ),
    expectation_checks(
        ("mimic", "phase2"),
        [not_empty, unique("study_id"), present("pseudo_note")],
        table_of("phase2", "notes.parquet", ["study_id", "pseudo_note"]),
    ),
    metric_check(("mimic", "phase2"), "notes_read_to_their_end", notes_are_read_to_their_end, severity="warning"),
    metric_check(("mimic", "phase2"), "encoder_as_asked", encoder_is_the_one_asked_for, severity="warning"),
    expectation_checks(
        ("mimic", "phase3"),
        [
            not_empty,
            unique("study_id"),
            one_of("split", SPLITS),
            Expected(
                "valid", "ExpectColumnValuesToBeInSet",
                {"column": "phase3_integrated", "value_set": [True], "mostly": 0.99},
                description="At least 99 % of the records pass every rule of phase 3.",
            ),
            *(one_of(label, [1.0, 0.0, -1.0]) for label in LABELS),
        ],
        table_of("phase3", "records.parquet", ["study_id", "split", "phase3_integrated", *LABELS]),
    ),
    metric_check(("mimic", "phase3"), "no_patient_in_two_splits", splits_share_no_patient),
    metric_check(("mimic", "phase3"), "every_split_has_records", every_split_has_records),
    metric_check(("mimic", "evaluation"), "above_the_floor", model_beats_chance),
    metric_check(("mimic", "evaluation"), "calibration_holds", calibration_holds, severity="warning"),
    metric_check(("mimic", "evaluation"), "fusion_is_worth_it", fusion_is_worth_it, severity="warning"),
]  # fmt: skip
