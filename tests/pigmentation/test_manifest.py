import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.pigmentation.manifest import (
    MANIFEST_REASONS,
    ManifestError,
    ManifestRows,
    check_manifest,
    read_manifest_file,
    says_synthetic,
)
from mm_assets.pigmentation.schema import LABEL_SOURCES, MANIFEST_SCHEMA, MODALITIES, REJECTED_SCHEMA

Row = dict[str, object]


def row(capture: str = "c1", **changes: object) -> Row:
    base: Row = {"patient_id": "p1", "lesion_id": "l1", "capture_id": capture, "modality": "clinical"}
    return base | {"path": f"images/{capture}.jpg", "label": 0.5, "label_source": "rater", "visit": None} | changes


def checked(*rows: Row) -> ManifestRows:
    return check_manifest(pa.Table.from_pylist(list(rows)))


def reasons(*rows: Row) -> dict[str, str]:
    rejected = checked(*rows).rejected
    return dict(zip(rejected["capture_id"].to_pylist(), rejected["reason"].to_pylist(), strict=True))


def test_good_rows_come_back_whole() -> None:
    result = checked(row(), row("d1", modality="dermoscopy"), row("m1", modality="multispectral"))
    assert result.rows.schema == MANIFEST_SCHEMA and result.rejected.schema == REJECTED_SCHEMA
    assert result.rejected.num_rows == 0 and result.rows["capture_id"].to_pylist() == ["c1", "d1", "m1"]
    assert result.rows["visit"].to_pylist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"patient_id": None}, "missing_id"),
        ({"patient_id": "  "}, "missing_id"),
        ({"lesion_id": ""}, "missing_id"),
        ({"path": None}, "missing_id"),
        ({"modality": "ultrasound"}, "unknown_modality"),
        ({"modality": None}, "unknown_modality"),
        ({"path": "../outside.jpg"}, "path_outside_root"),
        ({"path": "/etc/passwd"}, "path_outside_root"),
        ({"path": "a/./b.jpg"}, "path_outside_root"),
        ({"path": "a\\b.jpg"}, "path_outside_root"),
        ({"path": "s3://bucket/b.jpg"}, "path_outside_root"),
        ({"label": 1.5}, "label_out_of_range"),
        ({"label": -0.01}, "label_out_of_range"),
        ({"label": float("inf")}, "label_out_of_range"),
        ({"label_source": None}, "label_without_source"),
        ({"label_source": "guess"}, "unknown_label_source"),
        ({"ita_deg": 120.0}, "ita_out_of_range"),
        ({"skin_tone": "IV"}, "unknown_skin_tone"),
        ({"split": "dev"}, "unknown_split"),
    ],
)
def test_a_row_that_breaks_a_rule_is_rejected_with_its_reason(changes: Row, reason: str) -> None:
    good = row("good", lesion_id="l9", ita_deg=1.0, skin_tone="tan", split="train")
    result = checked(row() | changes, good)
    assert result.rejected["reason"].to_pylist() == [reason]
    assert result.rejected["detail"].to_pylist() == [MANIFEST_REASONS[reason]]
    assert result.rows["capture_id"].to_pylist() == ["good"]


@pytest.mark.parametrize("second", ["rater", "mMASI/24", "derived_delta_melanin"])
def test_rendered_labels_beside_others_are_refused(second: str) -> None:
    rendered, other = row(label_source="synthetic"), row("c2", lesion_id="l2", label_source=second)
    with pytest.raises(ManifestError, match="mixes 1 rows of label_source 'synthetic' with 1 of other"):
        checked(rendered, other)
    unlabelled = other | {"label": None}
    assert says_synthetic(checked(rendered, unlabelled).rows) and not says_synthetic(checked(other).rows)


def test_a_repeated_capture_id_rejects_every_row_that_has_it() -> None:
    assert reasons(row(), row("c1", path="b.jpg", lesion_id="l2"), row("c2", lesion_id="l3")) == {
        "c1": "duplicate_capture_id"
    }


def test_a_lesion_of_two_patients_is_rejected_whole() -> None:
    found = reasons(row(), row("d1", modality="dermoscopy", patient_id="p2"), row("c3", lesion_id="l3"))
    assert found == {"c1": "patient_of_lesion_differs", "d1": "patient_of_lesion_differs"}


@pytest.mark.parametrize("changes", [{"label": 0.6}, {"label_source": "derived_delta_melanin"}])
def test_two_labels_of_one_record_reject_it(changes: Row) -> None:
    found = reasons(row(), row("d1", modality="dermoscopy", **changes), row("c2", visit=2, label=0.9))
    assert found == {"c1": "conflicting_labels", "d1": "conflicting_labels"}


def test_a_label_on_one_image_of_a_record_is_no_conflict() -> None:
    assert reasons(row(), row("d1", modality="dermoscopy", label=None, label_source=None)) == {}


def test_a_record_in_two_splits_is_rejected() -> None:
    found = reasons(row(split="train"), row("d1", modality="dermoscopy", split="test"))
    assert set(found.values()) == {"conflicting_splits"}


def test_a_second_image_of_a_modality_at_a_visit_is_rejected() -> None:
    assert reasons(row(visit=1), row("c2", visit=1)) == {"c2": "repeated_modality"}


def test_visits_are_numbered_by_the_order_of_captures() -> None:
    rows = [row("b"), row("a"), row("d", modality="dermoscopy"), row("c", lesion_id="l2"), row("e", visit=2), row("f")]
    result = checked(*rows)
    visits = dict(zip(result.rows["capture_id"].to_pylist(), result.rows["visit"].to_pylist(), strict=True))
    assert visits == {"b": 1, "a": 3, "d": 1, "c": 1, "e": 2, "f": 4}


def test_a_missing_label_stays_empty_with_its_source() -> None:
    result = checked(row(label=float("nan")), row("c2", lesion_id="l2", label=None))
    assert result.rejected.num_rows == 0
    assert result.rows["label"].null_count == result.rows["label_source"].null_count == 2


def test_whole_numbers_serve_as_ids_and_further_columns_are_left_out() -> None:
    result = checked(row(patient_id=17, camera="x"))
    assert result.rows["patient_id"].to_pylist() == ["17"] and "camera" not in result.rows.column_names


def test_a_table_that_cannot_be_used_names_its_columns() -> None:
    with pytest.raises(ManifestError, match="lacks lesion_id, path"):
        check_manifest(pa.table({"patient_id": ["a"], "capture_id": ["b"], "modality": ["clinical"]}))
    with pytest.raises(ManifestError, match="label \\(string instead of float"):
        checked(row(label="severe"))
    with pytest.raises(ManifestError, match="no rows"):
        check_manifest(MANIFEST_SCHEMA.empty_table())
    with pytest.raises(ManifestError, match="path twice"):
        table = pa.Table.from_pylist([row()])
        check_manifest(table.append_column("path", table["path"]))


def test_csv_and_parquet_say_the_same() -> None:
    text = "\ufeffpatient_id,lesion_id,capture_id,modality,path,label,label_source,visit\r\n"
    text += "007,l1,c1,clinical,a.jpg,0.25,rater,\r\n8,l2,c2, clinical ,b.jpg,,,3\r\n"
    from_csv = check_manifest(read_manifest_file("manifest.csv", text.encode())).rows
    buffer = io.BytesIO()
    pq.write_table(from_csv, buffer)
    assert check_manifest(read_manifest_file("manifest.parquet", buffer.getvalue())).rows.equals(from_csv)
    assert from_csv["patient_id"].to_pylist() == ["007", "8"]
    assert from_csv["label"].to_pylist() == [0.25, None] and from_csv["visit"].to_pylist() == [1, 3]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("manifest.csv", b""),
        ("manifest.csv", b"\xff\xfe\x00"),
        ("manifest.csv", b"a,b\nJane Doe\n1,2,3\n"),
        ("manifest.parquet", b"PAR1 Jane Doe"),
    ],
)
def test_a_broken_file_says_so_without_its_content(name: str, data: bytes) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest_file(name, data)
    assert "Jane" not in str(caught.value) and name in str(caught.value)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "patient_id": st.sampled_from(["p1", "p2", None]),
            "lesion_id": st.sampled_from(["l1", "l2", "l3", ""]),
            "capture_id": st.sampled_from([f"c{n}" for n in range(12)]),
            "modality": st.sampled_from([*MODALITIES, "x"]),
            "path": st.sampled_from(["a.jpg", "b/c.png", "../d.jpg", "e//f.jpg"]),
            "visit": st.sampled_from([None, None, 1, 2]),
            "label": st.sampled_from([None, 0.0, 0.5, 1.0, 1.1, float("nan")]),
            "label_source": st.sampled_from([None, "rater", "synthetic", "x"]),
            "split": st.sampled_from([None, "train", "test"]),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_every_row_is_kept_or_rejected_and_kept_rows_keep_every_rule(rows: list[Row]) -> None:
    schema = pa.schema([field for field in MANIFEST_SCHEMA if field.name in rows[0]])
    result = check_manifest(pa.Table.from_pylist(rows, schema=schema))
    assert result.rows.num_rows + result.rejected.num_rows == len(rows)
    assert set(result.rejected["reason"].to_pylist()) <= set(MANIFEST_REASONS)
    kept = result.rows.to_pandas()
    assert kept["capture_id"].is_unique and kept["modality"].isin(MODALITIES).all()
    assert not kept.duplicated(["lesion_id", "visit", "modality"]).any()
    assert (kept.groupby("lesion_id")["patient_id"].nunique() <= 1).all()
    assert (kept.groupby(["lesion_id", "visit"])["label"].nunique() <= 1).all()
    assert kept["label_source"].dropna().isin(LABEL_SOURCES).all()
    assert (kept["label"].isna() == kept["label_source"].isna()).all()
    assert not np.isinf(kept["label"]).any() and kept["visit"].notna().all()
    if result.rows.num_rows:
        again = check_manifest(result.rows)
        assert again.rejected.num_rows == 0 and again.rows.equals(result.rows)
