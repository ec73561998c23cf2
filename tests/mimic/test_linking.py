import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.mimic.linking import (
    LINK_SCHEMA,
    REASONS,
    REJECTED_SCHEMA,
    LinkConfig,
    LinkResult,
    link_studies,
)
from tests.mimic.tiny_tables import PATIENT, image, labels, split, stay, table

Rows = list[dict[str, Any]]
DAY = [stay(1, "07:00:00", "12:00:00")]


def link(
    images: Rows,
    stays: Rows,
    *,
    label_rows: Rows | None = None,
    splits: Rows | None = None,
    patients: Rows | None = None,
    **config: Any,
) -> LinkResult:
    """Link with labels for every study and a train split for every image, unless given."""
    if label_rows is None:
        keys = {(row["subject_id"], row["study_id"]) for row in images}
        label_rows = [labels(study, subject=subject) for subject, study in sorted(keys, key=str)]
    if splits is None:
        ids = {row["dicom_id"]: row for row in images}
        splits = [{"dicom_id": key, "subject_id": row["subject_id"], "split": "train"} for key, row in ids.items()]
    tables = {
        "cxr_metadata": table("cxr_metadata", images),
        "cxr_chexpert": table("cxr_chexpert", label_rows),
        "cxr_split": table("cxr_split", splits),
        "edstays": table("edstays", stays),
    }
    if patients is not None:
        tables["patients"] = table("patients", patients)
    return link_studies(tables, LinkConfig(**config))


def linked(result: LinkResult) -> list[tuple[str, int]]:
    rows = result.links.to_pylist()
    return [(row["dicom_id"], row["stay_id"] - 30_000_000) for row in rows]


def reasons(result: LinkResult) -> list[tuple[str | None, str]]:
    return [(row["dicom_id"], row["reason"]) for row in result.rejected.to_pylist()]


# The stay of a study


def test_film_in_its_stay() -> None:
    result = link([image(1)], DAY, patients=[{"subject_id": PATIENT, "anchor_age": 52, "anchor_year": 2170}])
    (row,) = result.links.to_pylist()
    assert row == {
        "subject_id": PATIENT,
        "study_id": 50_000_001,
        "dicom_id": "dicom-001",
        "stay_id": 30_000_001,
        "study_dt": datetime.datetime(2180, 5, 6, 8, 5, 56, 875000),
        "intime": datetime.datetime(2180, 5, 6, 7, 0),
        "outtime": datetime.datetime(2180, 5, 6, 12, 0),
        "delta_to_intime_min": pytest.approx(65 + 56.875 / 60),
        "within_stay": True,
        "n_candidates": 1,
        "rule": "within_stay",
        "view": "PA",
        "split": "train",
        "directory": "p10",
        "image_path": "files/p10/p10000032/s50000001/dicom-001.jpg",
        "gender": "F",
        "race": "WHITE",
        "age": 62,
    }
    assert result.rejected.num_rows == 0 and result.split_source == "official"
    assert result.links.schema.equals(LINK_SCHEMA) and result.rejected.schema.equals(REJECTED_SCHEMA)


def test_five_past_midnight_belongs_to_the_night() -> None:
    night = stay(1, "2180-05-05 23:00:00", "03:00:00")
    assert linked(link([image(1, StudyTime="5.0")], [night, stay(2, "04:00:00", "09:00:00")])) == [("dicom-001", 1)]


def test_both_ends_of_the_stay_belong_to_it() -> None:
    films = [
        image(1, study=1, StudyTime="70000.0"),
        image(2, study=2, StudyTime="120000.0"),
        image(3, study=3, StudyTime="120000.001"),
        image(4, study=4, StudyTime="65959.999"),
    ]
    assert linked(link(films, DAY, studies_per_stay="all")) == [("dicom-001", 1), ("dicom-002", 1)]
    wider = link(films, DAY, studies_per_stay="all", pre_hours=0.5, post_hours=0.5)
    assert len(linked(wider)) == 4
    assert [row["within_stay"] for row in wider.links.to_pylist()] == [True, True, False, False]


def test_containing_stay_beats_a_nearer_arrival() -> None:
    stays = [stay(1, "2180-05-05 20:00:00", "10:00:00"), stay(2, "08:30:00", "11:00:00")]
    result = link([image(1)], stays, rule="abs24h")
    assert linked(result) == [("dicom-001", 1)]
    assert result.links["n_candidates"].to_pylist() == [2]


def test_of_overlapping_stays_the_later_arrival_then_the_lower_id() -> None:
    stays = [stay(3, "07:30:00", "12:00:00"), *DAY, stay(2, "07:30:00", "13:00:00")]
    result = link([image(1)], stays)
    assert linked(result) == [("dicom-001", 2)]
    assert result.links["n_candidates"].to_pylist() == [3]


def test_rules_differ_for_boarders_and_after_discharge() -> None:
    boarder = stay(1, "2180-05-05 05:00:00", "10:00:00")  # the film comes 27 hours after arrival
    gone = stay(2, "2180-05-05 12:00:00", "2180-05-05 14:00:00", subject=PATIENT + 1)
    films = [image(1), image(2, subject=PATIENT + 1, study=2)]
    strict, loose = link(films, [boarder, gone]), link(films, [boarder, gone], rule="abs24h")
    assert linked(strict) == [("dicom-001", 1)] and linked(loose) == [("dicom-002", 2)]
    assert loose.links["within_stay"].to_pylist() == [False]
    for result in (strict, loose):
        counts = result.rule_counts
        assert counts["within_stay"]["images"] == 1 and counts["within_stay"]["images_outside_stay"] == 0
        assert counts["abs24h"]["images"] == 1 and counts["abs24h"]["images_outside_stay"] == 1
    assert (strict.rule_counts["rule"], loose.rule_counts["rule"]) == ("within_stay", "abs24h")


def test_nearest_arrival_not_the_first_in_the_file() -> None:
    stays = [stay(1, "2180-05-05 10:00:00", "2180-05-05 11:00:00"), stay(2, "06:00:00", "07:00:00")]
    assert linked(link([image(1)], stays, rule="abs24h")) == [("dicom-001", 2)]
    assert linked(link([image(1)], stays[::-1], rule="abs24h")) == [("dicom-001", 2)]


def test_stays_that_make_no_sense_are_quarantined_and_never_linked() -> None:
    stays = [
        stay(1, "12:00:00", "07:00:00"),
        stay(2, "07:00:00", None),
        stay(3, "07:00:00", "09:00:00"),
        stay(3, "07:00:00", "10:00:00"),
        stay(4, "07:30:00", "12:00:00"),
        stay(4, "07:30:00", "12:00:00", hadm_id=20_000_000.0),
    ]
    result = link([image(1)], stays)
    assert linked(result) == [("dicom-001", 4)] and result.links["n_candidates"].to_pylist() == [1]
    assert [row["detail"] for row in result.rejected.to_pylist()] == [
        "stay_id 30000001",
        "stay_id 30000002",
        "stay_id 30000003",
    ]
    assert result.rule_counts["edstays"] == {"rows": 6, "usable": 1, "bad": 4, "duplicates": 1}


# The image of a study, the study of a stay


@pytest.mark.parametrize(
    ("films", "best"),
    [
        ([image(1, ViewPosition="AP"), image(2), image(3, ViewPosition="LATERAL")], "dicom-002"),
        ([image(1, Rows=1000), image(2)], "dicom-002"),
        ([image(1, Rows=None), image(2, Rows=10)], "dicom-002"),
        ([image(2), image(1)], "dicom-001"),
    ],
)
def test_best_frontal_image(films: Rows, best: str) -> None:
    assert linked(link(films, DAY)) == [(best, 1)]


@pytest.mark.parametrize(
    ("choice", "studies"),
    [("first", ["dicom-002"]), ("last", ["dicom-001"]), ("all", ["dicom-001", "dicom-002"])],
)
def test_studies_per_stay(choice: str, studies: list[str]) -> None:
    films = [image(1, study=1, StudyTime="110000.0"), image(2, study=2)]
    assert [dicom for dicom, _ in linked(link(films, DAY, studies_per_stay=choice))] == studies


# Rows that cannot take part


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"StudyTime": "250000.0"}, "bad_study_time"),
        ({"StudyTime": None}, "bad_study_time"),
        ({"StudyDate": "21800230"}, "bad_study_date"),
        ({"ViewPosition": None}, "missing_view"),
        ({"ViewPosition": " "}, "missing_view"),
        ({"ViewPosition": "SIDEWAYS"}, "unknown_view"),
        ({"subject_id": None}, "bad_id"),
        ({"subject_id": 20_000_000}, "bad_id"),
        ({"study_id": None}, "bad_id"),
    ],
)
def test_rejected_row_loses_nothing_else(fields: dict[str, Any], reason: str) -> None:
    result = link([{**image(1, study=7), **fields}, image(2)], DAY)
    assert reasons(result) == [("dicom-001", reason)]
    assert linked(result) == [("dicom-002", 1)]


def test_lateral_films_are_counted_but_no_fault() -> None:
    result = link([image(1, ViewPosition="LL"), image(2, ViewPosition="SWIMMERS")], DAY)
    assert result.links.num_rows == 0 and result.rejected.num_rows == 0


def test_copies_of_an_image() -> None:
    same = [image(1), image(1), image(1, Rows=1)]
    contradicting = [
        image(2, study=2),
        image(2, study=3),
        image(3, study=4),
        image(3, study=4, StudyTime="90000.0"),
    ]
    result = link([*same, *contradicting], DAY)
    assert linked(result) == [("dicom-001", 1)]
    expected = ["dicom-001"] * 2 + ["dicom-002"] * 2 + ["dicom-003"] * 2
    assert sorted(reasons(result)) == [(dicom, "duplicate_dicom_id") for dicom in expected]


def test_labels_must_be_there_and_agree() -> None:
    films = [image(n, study=n) for n in (1, 2, 3, 4)]
    rows = [
        labels(1, Edema=1.0),
        labels(1, Edema=1.0),
        labels(2, Edema=1.0),
        labels(2, Edema=0.0),
        labels(3, subject=PATIENT + 1),
    ]
    result = link(films, DAY, label_rows=rows)
    assert linked(result) == [("dicom-001", 1)]
    assert sorted(reasons(result)) == [
        ("dicom-002", "conflicting_labels"),
        ("dicom-003", "no_labels"),
        ("dicom-004", "no_labels"),
    ]


def test_split_must_be_there_and_one_per_patient() -> None:
    films = [image(1), image(2, study=2), image(3, study=3)]
    films += [image(n, study=n, subject=PATIENT + 1) for n in (4, 5)]
    stays = [*DAY, stay(2, "07:00:00", "12:00:00", subject=PATIENT + 1)]
    splits = [split(1, "validate"), split(3, "val"), split(4, "train"), split(5, "test")]
    rows = link(films, stays, splits=[s for s in splits if s["split"] != "val"])
    assert rows.links["split"].to_pylist() == ["validate"]
    assert sorted(reasons(rows)) == [
        ("dicom-002", "missing_split"),
        ("dicom-003", "missing_split"),
        ("dicom-004", "patient_in_two_splits"),
        ("dicom-005", "patient_in_two_splits"),
    ]
    unknown = link([image(3)], DAY, splits=[split(3, "val")])
    assert reasons(unknown) == [("dicom-003", "missing_split")]


def test_every_reason_in_use_is_documented() -> None:
    import inspect

    from mm_assets.mimic import linking

    query = inspect.getsource(linking.prepare_images) + inspect.getsource(linking.link_studies)
    assert all(f"'{reason}'" in query for reason in REASONS)


# Age, split of our own, inputs


@pytest.mark.parametrize(("anchor_age", "age"), [(40, 50), (91, 91), (85, 91)])
def test_age_at_the_study_is_capped(anchor_age: int, age: int) -> None:
    patients = [{"subject_id": PATIENT, "anchor_age": anchor_age, "anchor_year": 2170}]
    assert link([image(1)], DAY, patients=patients).links["age"].to_pylist() == [age]


def test_age_is_null_without_mimic_iv() -> None:
    assert link([image(1)], DAY).links["age"].to_pylist() == [None]
    assert link([image(1)], DAY, patients=[]).links["age"].to_pylist() == [None]


def many(n: int = 120, seed: int = 0) -> tuple[Rows, Rows, Rows]:
    rng = np.random.default_rng(seed)
    stays, films, label_rows = [], [], []
    for i in range(n):
        subject = PATIENT + int(rng.integers(0, n // 2))
        hour = int(rng.integers(0, 20))
        stays.append(stay(i, f"{hour:02d}:00:00", f"{hour + 3:02d}:00:00", subject=subject))
        film = image(i, study=i // 2, subject=PATIENT + i // 4, StudyTime=f"{int(rng.integers(0, 23))}3000.0")
        films.append({**film, "ViewPosition": str(rng.choice(["PA", "AP", "LL"]))})
    for subject, study in sorted({(f["subject_id"], f["study_id"]) for f in films}):
        label_rows.append(labels(study, subject=subject, Edema=1.0 if study % 5 == 0 else None))
    return films, stays, label_rows


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["within_stay", "abs24h"]))
def test_result_does_not_depend_on_row_order(seed: int, rule: str) -> None:
    films, stays, label_rows = many()
    films += [image(5, study=2, subject=PATIENT + 1), image(6, subject=PATIENT + 9)]
    rng = np.random.default_rng(seed)

    def run(rows: list[Rows]) -> LinkResult:
        names = ("cxr_metadata", "edstays", "cxr_chexpert")
        tables = {name: table(name, part) for name, part in zip(names, rows, strict=True)}
        return link_studies(tables, LinkConfig(rule=rule))  # type: ignore[arg-type]

    first = run([films, stays, label_rows])
    second = run([[rows[i] for i in rng.permutation(len(rows))] for rows in (films, stays, label_rows)])
    assert first.links.num_rows > 5
    assert first.links.equals(second.links) and first.rejected.equals(second.rejected)
    assert first.flow.equals(second.flow) and first.rule_counts == second.rule_counts


def test_without_split_file_patients_stay_whole() -> None:
    films, stays, label_rows = many(400)
    tables = {
        "cxr_metadata": table("cxr_metadata", films),
        "edstays": table("edstays", stays),
        "cxr_chexpert": table("cxr_chexpert", label_rows),
    }
    result = link_studies(tables)
    assert result.split_source == "patient_grouped"
    of_patient: dict[int, set[str]] = {}
    for row in result.links.to_pylist():
        of_patient.setdefault(row["subject_id"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in of_patient.values())
    assert set().union(*of_patient.values()) == {"train", "validate", "test"}
    assert result.links.equals(link_studies(tables).links)
    assert not result.links.equals(link_studies(tables, LinkConfig(seed=1)).links)


def test_parquet_files_are_read_like_tables(tmp_path: Path) -> None:
    tables: dict[str, pa.Table | Path] = {}
    for name, rows in (
        ("cxr_metadata", [image(1)]),
        ("cxr_chexpert", [labels(50_000_001)]),
        ("edstays", DAY),
    ):
        pq.write_table(table(name, rows), tmp_path / f"{name}.parquet")
        tables[name] = tmp_path / f"{name}.parquet"
    assert linked(link_studies(tables)) == [("dicom-001", 1)]


def test_no_rows_at_all() -> None:
    result = link([], [])
    assert result.links.num_rows == 0 and result.rule_counts["within_stay"]["linked_share"] is None
