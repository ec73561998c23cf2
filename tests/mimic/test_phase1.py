import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mm_assets.mimic import phase1
from mm_assets.mimic.phase1 import (
    PHASE1_SCHEMA,
    QUARANTINE_SCHEMA,
    TABLE_COLUMNS,
    FilmsOutOfReach,
    Phase1Config,
    Phase1Tables,
    Rejection,
    build_records,
    rejection_table,
    small_sample,
)
from mm_assets.mimic.published import phase1_tables
from mm_assets.mimic.schema import LABELS, PHASE1_COLUMNS, QUARANTINE_COLUMNS, VITALS
from mm_assets.records.images import encode_jpeg
from resources.artifacts import ArtifactStore

CONFIG = Phase1Config(image_size=64, batch_rows=4, workers=2)
INTIME = pd.Timestamp("2150-03-01 10:00:00")


def study_links(count: int) -> pa.Table:
    """Links of `count` studies in falling order of study_id, so that sorting shows."""
    number = np.arange(count)[::-1]
    frame = pd.DataFrame(
        {
            "subject_id": 10_000_000 + number,
            "study_id": 50_000_000 + number,
            "dicom_id": [f"dicom-{n}" for n in number],
            "stay_id": 30_000_000 + number,
            "study_dt": INTIME + pd.Timedelta(hours=2, microseconds=875_400),
            "intime": INTIME,
            "view": "PA",
            "split": [("train", "validate", "test")[n % 3] for n in number],
            "image_path": [f"files/p10/{n}.jpg" for n in number],
            "gender": "F",
            "race": ["WHITE" if n else None for n in number],
            "age": 64.0,
        }
    )
    return pa.Table.from_pandas(frame, preserve_index=False)


def raw_tables(count: int) -> Phase1Tables:
    stays = [30_000_000 + n for n in range(count + 2)]
    triage = {"stay_id": stays, **{vital: [90.0] * len(stays) for vital in VITALS}}
    times = pa.array([INTIME + pd.Timedelta(hours=1)] * len(stays), pa.timestamp("us"))
    labels = {"study_id": [50_000_000 + n for n in range(count)]}
    values: dict[str, list[float | None]] = {name: [None] * count for name in LABELS}
    values["Edema"] = [float(n % 3 - 1) for n in range(count)]
    return Phase1Tables(
        edstays=pa.table({"stay_id": stays, "arrival_transport": ["WALK IN"] * len(stays)}),
        triage=pa.table(
            triage
            | {
                "pain": ["5-7"] * len(stays),
                "acuity": [2.0] * len(stays),
                "chiefcomplaint": ["Cough "] * len(stays),
            }
        ),
        vitalsign=pa.table(
            {"stay_id": stays, "charttime": times, **{vital: [None] * len(stays) for vital in VITALS}}
            | {"temperature": [37.0] * len(stays), "pain": pa.nulls(len(stays), pa.string())}
        ),
        medrecon=pa.table(
            {
                "stay_id": stays,
                "charttime": times,
                "name": ["aspirin"] * len(stays),
                "etc_rn": [1] * len(stays),
            }
            | {"etcdescription": ["Salicylates"] * len(stays)}
        ),
        labels=pa.table(
            labels | values,
            schema=pa.schema([("study_id", pa.int64()), *((n, pa.float32()) for n in LABELS)]),
        ),
    )


def film(path: str) -> bytes:
    seed = int(path.split("/")[-1].removesuffix(".jpg"))
    noise = np.random.default_rng([seed, 4]).integers(0, 255, (90, 70)).astype(np.uint8)
    return encode_jpeg(noise)


def collected(
    links: pa.Table, tables: Phase1Tables, read: Callable[[str], bytes] = film, config: Phase1Config = CONFIG
) -> tuple[pa.Table, list[Rejection], list[int]]:
    rejected: list[Rejection] = []
    batches = list(build_records(links, tables, read, config, rejected.append))
    return pa.Table.from_batches(batches, PHASE1_SCHEMA), rejected, [batch.num_rows for batch in batches]


def test_records_have_the_columns_order_and_values_of_their_study() -> None:
    records, rejected, sizes = collected(study_links(10), raw_tables(10))
    assert not rejected and sizes == [4, 4, 2]
    assert tuple(records.schema.names) == PHASE1_COLUMNS
    assert records["study_id"].to_pylist() == [50_000_000 + n for n in range(10)]
    row = records.slice(3, 1).to_pylist()[0]
    assert row["image"][:2] == b"\xff\xd8" and (row["width"], row["height"]) == (70, 90)
    assert row["study_dt"] == (INTIME + pd.Timedelta(hours=2, milliseconds=875)).to_pydatetime()
    assert row["max_feature_time"] == (INTIME + pd.Timedelta(hours=1)).to_pydatetime()
    assert row["temperature"] == pytest.approx(98.6) and row["temperature_repaired"]
    assert row["pain"] == 6 and row["pain_repaired"] and row["heartrate"] == 90 and not row["heartrate_repaired"]
    assert row["age"] == 64 and row["sex_female"] == 1 and row["arrived_by_ambulance"] == 0
    assert (row["chief_complaint"], row["history"]) == ("Cough", "Salicylates")
    assert len(row["attention_regions"]) == 256 and max(row["attention_regions"]) == 255
    assert [row["Edema"], row["Pneumonia"]] == [-1, None]


def test_missing_features_are_nan_and_blank_labels_and_races_are_null() -> None:
    links = study_links(2).set_column(11, "age", pa.nulls(2, pa.float64()))
    records, _, _ = collected(links, raw_tables(2))
    assert records["age"].null_count == 0 and np.isnan(records["age"].to_numpy()).all()
    assert records["Fracture"].null_count == 2
    assert records["race"].to_pylist() == [None, "WHITE"]


def test_unreadable_films_are_quarantined_and_nothing_else_is_lost() -> None:
    def read(path: str) -> bytes:
        if path.endswith("/1.jpg"):
            return film(path)[:500]
        if path.endswith("/3.jpg"):
            raise FileNotFoundError("/secret/machine/path/3.jpg")
        return b"" if path.endswith("/5.jpg") else film(path)

    records, rejected, sizes = collected(study_links(8), raw_tables(8), read)
    assert [row.reason for row in rejected] == ["image_truncated", "image_missing", "image_empty"]
    assert [row.study_id - 50_000_000 for row in rejected] == [1, 3, 5]
    assert rejected[1].detail == "no file files/p10/3.jpg" and rejected[1].dicom_id == "dicom-3"
    assert records["study_id"].to_pylist() == [50_000_000 + n for n in (0, 2, 4, 6, 7)]
    assert records["dicom_id"].to_pylist() == [f"dicom-{n}" for n in (0, 2, 4, 6, 7)]
    assert sizes == [4, 1]


def test_a_storage_error_ends_the_run_and_tells_no_path() -> None:
    def read(path: str) -> bytes:
        raise ConnectionError(f"s3://bucket/cxr/{path}: storage is out of reach")

    with pytest.raises(FilmsOutOfReach, match="ConnectionError: s3://bucket/cxr/a film: storage is out") as caught:
        collected(study_links(3), raw_tables(3), read)
    told = "".join(traceback.format_exception(caught.value))
    assert ".jpg" not in told and "files/p10" not in told and "item 1 of 3" in told


def test_studies_without_labels_or_with_two_sets_are_quarantined() -> None:
    tables = raw_tables(3)
    doubled = tables.labels.slice(1, 1)
    changed = doubled.set_column(doubled.schema.get_field_index("Edema"), "Edema", pa.array([1.0], pa.float32()))
    labels = pa.concat_tables([tables.labels.slice(0, 2), tables.labels.slice(0, 1), changed])
    tables = Phase1Tables(tables.edstays, tables.triage, tables.vitalsign, tables.medrecon, labels)
    records, rejected, _ = collected(study_links(3), tables)
    assert records["study_id"].to_pylist() == [50_000_000]
    assert [(row.study_id - 50_000_000, row.reason) for row in rejected] == [
        (1, "labels_conflicting"),
        (2, "labels_missing"),
    ]


def test_a_rerun_writes_the_same_bytes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name, workers in (("a", 1), ("b", 3)):
        records, _, _ = collected(study_links(9), raw_tables(9), config=Phase1Config(64, batch_rows=4, workers=workers))
        pq.write_table(records, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_films_are_read_a_few_ahead_and_not_all_at_once() -> None:
    read: list[str] = []

    def remember(path: str) -> bytes:
        read.append(path)
        return film(path)

    batches = build_records(study_links(60), raw_tables(60), remember, CONFIG, lambda _: None)
    next(batches)
    assert len(read) <= 4 + 2 * CONFIG.workers + 2


def test_records_do_not_depend_on_how_many_studies_are_worked_on_at_a_time(monkeypatch) -> None:
    links, tables = study_links(10), raw_tables(10)
    tables = replace(tables, labels=tables.labels.slice(3))  # a chunk without a single usable study

    def missing_one(path: str) -> bytes:
        if path.endswith("/5.jpg"):
            raise FileNotFoundError
        return film(path)

    found = []
    for size in (512, 3, 1):
        monkeypatch.setattr(phase1, "STUDIES_AT_A_TIME", size)
        records, rejected, _ = collected(links, tables, missing_one)
        found.append((records.combine_chunks(), rejection_table(rejected)))
    assert found[0] == found[1] == found[2]
    assert found[0][0].num_rows == 6 and found[0][1].num_rows == 4


def test_nothing_linked_gives_an_empty_batch() -> None:
    records, rejected, sizes = collected(study_links(2).slice(0, 0), raw_tables(2))
    assert records.num_rows == 0 and not rejected
    assert sizes == [0]  # one batch, which tells the columns


def test_quarantine_table_is_sorted_and_typed() -> None:
    table = rejection_table([Rejection(2, 9, "d", "image_missing", "x"), Rejection(1, 3, "c", "image_empty", "y")])
    assert table.schema == QUARANTINE_SCHEMA and tuple(table.schema.names) == QUARANTINE_COLUMNS
    assert table["study_id"].to_pylist() == [3, 9]
    assert rejection_table([]).schema == QUARANTINE_SCHEMA


def test_tables_are_read_without_the_columns_that_nothing_uses(tmp_path: Path) -> None:
    whole = raw_tables(10)
    store = ArtifactStore(str(tmp_path / "home"), tmp_path / "scratch")
    with store.draft("mimic", "tables") as draft:
        for name in TABLE_COLUMNS:
            table = getattr(whole, name)
            more = table.append_column("subject_id", pa.array(range(table.num_rows))).append_column(
                "ndc", pa.array(["00378-0208-05"] * table.num_rows)
            )
            file = "cxr_chexpert" if name == "labels" else name
            draft.write_table(f"{file}.parquet", more)
        artifact = draft.publish(upstream={}, synthetic=True, run_id=None)
    read = phase1_tables(store, artifact)
    for name, columns in TABLE_COLUMNS.items():
        assert tuple(getattr(read, name).column_names) == columns
    assert collected(study_links(10), read)[0].equals(collected(study_links(10), whole)[0])


def test_small_sample_takes_the_first_of_each_split() -> None:
    batches = build_records(study_links(12), raw_tables(12), film, CONFIG, lambda _: None)
    sample = small_sample(batches, 2)
    assert sample["split"].to_pylist() == ["train"] * 2 + ["validate"] * 2 + ["test"] * 2
    assert [study - 50_000_000 for study in sample["study_id"].to_pylist()] == [0, 3, 1, 4, 2, 5]
