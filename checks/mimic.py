"""What the wing `mimic` promises about each asset: contracts of its tables and judged numbers.

Belongs here: expectations, and where a judge's numbers are read. Nothing is measured here: a check compares what an
asset published. Critical ones block what is downstream, warnings are shown. Does not belong here: the judges and their
bounds (`checks/mimic_judges.py`).
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from checks.common import mostly_between, not_empty, one_of, present, released_and_current, rows_of, table_of, unique
from checks.expectations import Expected, expectation_checks, metric_check
from checks.mimic_judges import (
    calibration_holds,
    encoder_is_the_one_asked_for,
    enough_test_studies,
    every_record_has_features,
    every_split_has_records,
    every_training_has_a_score,
    features_fit_their_room,
    films_lie_in_their_stay,
    filter_finds_planted_terms,
    filtered_text_is_as_good_as_leak_free,
    fusion_is_worth_it,
    model_beats_chance,
    notes_are_read_to_their_end,
    redaction_tells_nothing,
    release_is_of_the_current_evaluation,
    required_tables_are_listed,
    splits_share_no_patient,
)
from mm_assets.mimic.schema import FRONTAL_VIEWS, LABELS, NO_FINDING, SPLITS
from mm_assets.mimic.source import TABLES

if TYPE_CHECKING:
    from resources.artifact_record import Artifact
    from resources.artifacts import ArtifactStore

# A row without a key is quarantined by the linking; a column mostly without is another table.
MOSTLY_PRESENT = 0.9


def source_contents(store: "ArtifactStore") -> dict[str, Any]:
    """Names of the required tables that the source does not have, and how many files or tables it lists."""
    artifact = store.current("mimic", "source")
    if any(file.path.startswith("tree/") for file in artifact.files):
        listed = [file.path.rsplit("/", 1)[-1].removesuffix(".gz") for file in artifact.files]
        wanted = {name: table.file for name, table in TABLES.items() if table.without is None}
    else:
        listed = store.read_table(artifact, "manifest.parquet", ["table"])["table"].to_pylist()
        wanted = {name: name for name, table in TABLES.items() if table.without is None}
    return {"absent": [name for name, entry in wanted.items() if entry not in listed], "listed": len(listed)}


def film_features(store: "ArtifactStore") -> dict[str, Any]:
    """Stored films and their features in the directories that were encoded, by their published row counts."""
    films, features = store.partitions("mimic", "phase1"), store.partitions("mimic", "image_features")
    records = {part: rows_of(films[part], "records.parquet") if part in films else 0 for part in features}
    encoded = {part: rows_of(artifact, "index.parquet") for part, artifact in features.items()}
    return {
        "records": sum(records.values()),
        "encoded": sum(encoded.values()),
        "differing": [part for part in features if records[part] != encoded[part]],
        "bytes": sum(shard_bytes(artifact) for artifact in features.values()),
    }


def note_features(store: "ArtifactStore") -> dict[str, Any]:
    """The same of the notes, beside the integrated records."""
    features = store.current("mimic", "text_features")
    records = rows_of(store.current("mimic", "phase3"), "records.parquet")
    encoded = rows_of(features, "index.parquet")
    differing = ["records"] if records != encoded else []
    return {"records": records, "encoded": encoded, "differing": differing, "bytes": shard_bytes(features)}


def shard_bytes(artifact: "Artifact") -> int:
    """Bytes of the records' tokens."""
    return sum(file.bytes for file in artifact.files if file.path.rsplit("/", 1)[-1].startswith("features-"))


mimic_checks = [
    metric_check(("mimic", "source"), "required_tables", required_tables_are_listed, read=source_contents),
    expectation_checks(
        ("mimic", "tables"),
        [
            not_empty,
            unique("stay_id", severity="warning"),
            present("subject_id", mostly=MOSTLY_PRESENT),
            present("intime", mostly=MOSTLY_PRESENT),
            one_of("gender", ["F", "M"], severity="warning"),
        ],
        table_of("mimic", "tables", "edstays.parquet", ["stay_id", "subject_id", "intime", "gender"]),
        table="edstays",
    ),
    expectation_checks(
        ("mimic", "tables"),
        [not_empty, unique("stay_id", severity="warning")],
        table_of("mimic", "tables", "triage.parquet", ["stay_id"]),
        table="triage",
    ),
    expectation_checks(
        ("mimic", "tables"),
        [not_empty, present("dicom_id", mostly=MOSTLY_PRESENT)],
        table_of("mimic", "tables", "cxr_metadata.parquet", ["dicom_id"]),
        table="cxr_metadata",
    ),
    expectation_checks(
        ("mimic", "tables"),
        [not_empty, *(one_of(label, [1.0, 0.0, -1.0]) for label in LABELS)],
        table_of("mimic", "tables", "cxr_chexpert.parquet", LABELS),
        table="cxr_chexpert",
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
            Expected("mostly_within_stay", "ExpectColumnValuesToBeInSet",
                     {"column": "within_stay", "value_set": [True], "mostly": 0.95}, severity="warning"),
        ],
        table_of("mimic", "links", "links.parquet"),
    ),
    metric_check(("mimic", "links"), "films_lie_in_their_stay", films_lie_in_their_stay),
    metric_check(("mimic", "links"), "no_patient_in_two_splits", splits_share_no_patient),
    expectation_checks(
        ("mimic", "phase1"),
        [
            not_empty,
            unique("study_id"),
            present("dicom_id"),
            one_of("split", SPLITS),
            one_of("view", FRONTAL_VIEWS),
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
            "mimic",
            "phase1",
            "records.parquet",
            ["study_id", "dicom_id", "split", "view", NO_FINDING, "study_dt", "max_feature_time", "temperature",
             "heartrate", "o2sat", "age"],
        ),
    ),
    expectation_checks(
        ("mimic", "filtered_text"),
        [not_empty, unique("study_id"), mostly_between("n_redactions", 0, 0, 0.5)],
        table_of("mimic", "filtered_text", "filtered.parquet", ["study_id", "n_redactions"]),
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
        table_of("mimic", "knowledge_base", "passages.parquet", ["passage_id", "text", "citation", "licence"]),
    ),
    expectation_checks(
        ("mimic", "phase2"),
        [not_empty, unique("study_id"), present("pseudo_note")],
        table_of("mimic", "phase2", "notes.parquet", ["study_id", "pseudo_note"]),
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
        table_of("mimic", "phase3", "records.parquet", ["study_id", "split", "phase3_integrated", *LABELS]),
    ),
    metric_check(("mimic", "phase3"), "no_patient_in_two_splits", splits_share_no_patient),
    metric_check(("mimic", "phase3"), "every_split_has_records", every_split_has_records),
    metric_check(("mimic", "image_features"), "every_film_encoded", every_record_has_features, read=film_features),
    metric_check(("mimic", "image_features"), "fit_their_room", features_fit_their_room, read=film_features),
    metric_check(("mimic", "text_features"), "every_note_encoded", every_record_has_features, read=note_features),
    metric_check(("mimic", "text_features"), "fit_their_room", features_fit_their_room, read=note_features),
    metric_check(("mimic", "model"), "every_training_has_a_score", every_training_has_a_score),
    metric_check(("mimic", "evaluation"), "above_the_floor", model_beats_chance),
    metric_check(("mimic", "evaluation"), "enough_test_studies", enough_test_studies, severity="warning"),
    metric_check(("mimic", "evaluation"), "calibration_holds", calibration_holds, severity="warning"),
    metric_check(("mimic", "evaluation"), "fusion_is_worth_it", fusion_is_worth_it, severity="warning"),
    metric_check(
        ("mimic", "released_model"), "of_the_current_evaluation", release_is_of_the_current_evaluation,
        read=partial(released_and_current, wing="mimic"),
    ),
]  # fmt: skip
