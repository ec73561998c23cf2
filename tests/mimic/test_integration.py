import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from mm_assets.learning.transforms import transform_spec
from mm_assets.mimic.integration import PHASE3_COLUMNS, PROBLEMS, IntegrationError, integrate, read_record
from mm_assets.mimic.knowledge_base import Passage
from mm_assets.mimic.labels import LabelPolicy
from mm_assets.mimic.phase1 import PHASE1_SCHEMA
from mm_assets.mimic.quality import quality_report
from mm_assets.mimic.retrieval import build_index
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS, REPAIRABLE_FEATURES
from mm_assets.mimic.text_stages import StudyMismatch, filtered_table, note_table
from mm_assets.mimic.tokens import tokenize
from mm_assets.records.images import encode_jpeg

FILM = np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (32, 1))
PASSAGES = (
    Passage("cough", "signs", ("Pneumonia",), "Cough comes first.", "see a book", "project"),
    Passage("fall", "signs", ("Fracture",), "Falls break bones.", "see a book", "project"),
)


class WordTokenizer:
    """One id per word between 101 and 102, as the library's tokenizers behave."""

    def num_special_tokens_to_add(self) -> int:
        return 2

    def __call__(self, texts: list[str], truncation: bool, padding: bool, max_length: int = 10**6, **_: Any) -> dict:
        ids = [[len(word) for word in text.split()] for text in texts]
        return {"input_ids": [[101, *(i[: max_length - 2] if truncation else i), 102] for i in ids]}


def embed(texts: Any) -> np.ndarray:
    return np.array([[1.0, 0.0] if "cough" in t.lower() else [0.0, 1.0] for t in texts], np.float32).reshape(-1, 2)


def study(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "subject_id": 10_000_000 + number // 2, "study_id": 50_000_000 + number,
        "dicom_id": f"d{number}", "stay_id": 30_000_000,
        "split": "train", "view": "PA", "study_dt": dt.datetime(2180, 1, 1, 9),
        "image": encode_jpeg(FILM), "width": 64,
        "height": 80, "resize_mode": "squash", **dict.fromkeys(CLINICAL_FEATURES, 1.0),
        **{f"{name}_repaired": False for name in REPAIRABLE_FEATURES},
        "max_feature_time": dt.datetime(2180, 1, 1, 8),
        "gender": "F", "race": "WHITE", "chief_complaint": "Cough, PNA", "history": None,
        "attention_regions": bytes(range(256)), **dict.fromkeys(LABELS, None), "Edema": 1.0,
        "Pneumonia": -1.0,
    }  # fmt: skip
    return row | fields


def phase1(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PHASE1_SCHEMA)


def text_stages(records: pa.Table, cap: int = 64) -> tuple[pa.Table, pa.Table]:
    filtered = filtered_table(records)
    index = build_index(embed([p.text for p in PASSAGES]))
    return filtered, note_table(records, filtered, PASSAGES, index, embed, WordTokenizer(), cap=cap, k=1)


def integrated(*rows: dict[str, Any]) -> pa.Table:
    records = phase1(*rows)
    return integrate({"p10": records}, *text_stages(records), synthetic=True)


def test_text_stages_filter_before_they_retrieve() -> None:
    filtered, notes = text_stages(
        phase1(study(2), study(1, chief_complaint=None), study(3, chief_complaint="CXR, Fall"))
    )
    assert filtered["study_id"].to_pylist() == [50_000_001, 50_000_002, 50_000_003]
    assert filtered["chief_complaint"].to_pylist() == ["", "Cough", "Fall"]
    assert filtered["n_redactions"].to_pylist() == [0, 1, 1]
    assert notes["passage_ids"].to_pylist() == [[], ["cough"], ["fall"]]
    assert notes["enhanced_note"][1].as_py().endswith("[Clinical Context]\n- Cough comes first.")
    assert "PNA" not in str(notes.to_pylist())


def test_tables_do_not_show_how_many_rows_were_worked_on_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    records = phase1(*(study(n, chief_complaint=f"Cough for {n} days, PNA") for n in range(1, 6)))
    whole = text_stages(records)
    monkeypatch.setattr("mm_assets.mimic.text_stages._ROWS_AT_A_TIME", 2)
    parts = text_stages(records)
    for one, other in zip(whole, parts, strict=True):
        assert one.equals(other) and other["study_id"].num_chunks == 1
    assert [table.num_rows for table in text_stages(records.slice(0, 0))] == [0, 0]


def test_notes_need_filtered_text_of_the_same_studies() -> None:
    records = phase1(study(1), study(2))
    filtered, _ = text_stages(records)
    with pytest.raises(StudyMismatch, match="1 records have no filtered text"):
        note_table(
            records,
            filtered.slice(0, 1),
            PASSAGES,
            build_index(embed(["a"])),
            embed,
            WordTokenizer(),
            cap=9,
            k=1,
        )


def test_tokens_are_cut_with_the_end_kept_and_counted() -> None:
    short, long, empty = tokenize(WordTokenizer(), ["a bb", "a bb ccc dddd", ""], cap=4)
    assert (short.input_ids, short.n_tokens, short.truncated) == ((101, 1, 2, 102), 4, False)
    assert (long.input_ids, long.n_tokens, long.truncated) == ((101, 1, 2, 102), 6, True)
    assert (empty.input_ids, empty.n_tokens, empty.truncated) == ((), 0, False)
    with pytest.raises(ValueError, match="leaves no room"):
        tokenize(WordTokenizer(), ["a"], cap=2)


def test_every_record_points_at_its_film() -> None:
    first, second = phase1(study(3), study(1)), phase1(study(2))
    filtered, notes = text_stages(pa.concat_tables([first, second]))
    table = integrate({"p11": second, "p10": first}, filtered, notes, synthetic=False)
    assert tuple(table.schema.names) == PHASE3_COLUMNS and "image" not in PHASE3_COLUMNS
    parts = {"p10": first, "p11": second}
    for row in table.to_pylist():
        assert parts[row["directory"]]["study_id"][row["row"]].as_py() == row["study_id"]
        assert row["phase1_processed"] and row["phase2_processed"] and row["phase3_integrated"] and not row["synthetic"]
    assert table["study_id"].to_pylist() == [50_000_001, 50_000_002, 50_000_003]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"dicom_id": None}, "key_missing"),
        ({"split": "val"}, "split_unknown"),
        ({"view": "LATERAL"}, "view_not_frontal"),
        ({"view": None}, "view_not_frontal"),
        ({"width": 0}, "film_size_invalid"),
        ({"max_feature_time": dt.datetime(2180, 1, 1, 9)}, "feature_from_the_future"),
        ({"heartrate": float("inf")}, "clinical_infinite"),
        ({"Edema": 0.5}, "label_invalid"),
    ],
)
def test_a_contradiction_is_named_and_costs_one_record(fields: dict[str, Any], problem: str) -> None:
    rows = integrated(study(1), study(2, **fields)).to_pylist()
    assert [row["problems"] for row in rows] == [[], [problem]]
    assert [row["phase3_integrated"] for row in rows] == [True, False]


def test_missing_text_and_broken_tokens_are_named() -> None:
    records = phase1(study(1), study(2))
    filtered, notes = text_stages(records)
    alone = integrate({"p10": records}, filtered.slice(0, 1), notes.slice(0, 1), synthetic=True).to_pylist()
    assert alone[1]["problems"] == ["filtered_text_missing", "note_missing"] and not alone[1]["phase2_processed"]
    cut = notes.set_column(notes.schema.get_field_index("n_tokens"), "n_tokens", pa.array([99, 99], pa.int32()))
    assert (
        integrate({"p10": records}, filtered, cut, synthetic=True)["problems"].to_pylist()
        == [["tokens_inconsistent"]] * 2
    )


def test_missing_modalities_are_no_problem() -> None:
    nothing = dict.fromkeys(CLINICAL_FEATURES, None) | {
        "gender": None,
        "chief_complaint": None,
        "max_feature_time": None,
    }
    row = integrated(study(1, **nothing)).to_pylist()[0]
    assert row["problems"] == [] and row["pseudo_note"] == "" and row["input_ids"] == []


def test_duplicates_and_absent_partitions_stop_the_join() -> None:
    records = phase1(study(1))
    filtered, notes = text_stages(records)
    with pytest.raises(IntegrationError, match="mimic/phase2 has 2 rows for 1 studies"):
        integrate({"p10": records}, filtered, pa.concat_tables([notes, notes]), synthetic=True)
    with pytest.raises(IntegrationError, match="mimic/phase1"):
        integrate({}, filtered, notes, synthetic=True)


def test_record_has_the_formats_names_shapes_and_explicit_gaps() -> None:
    source = study(1, pain=None, temperature=98.6)
    row = integrated(source).to_pylist()[0]
    record = read_record(source, row, LabelPolicy(), transform_spec(24, 0.0, 1.0))
    assert record["image"].shape == (3, 24, 24) and record["image"].dtype == torch.float32
    assert 0 <= record["image"].min() < 0.1 and 0.9 < record["image"].max() <= 1
    assert record["text_input_ids"].shape == record["text_attention_mask"].shape == (row["n_tokens"],)
    assert record["clinical_missing"].tolist() == [name == "pain" for name in CLINICAL_FEATURES]
    assert torch.isnan(record["clinical_features"]).tolist() == record["clinical_missing"].tolist()
    assert (
        record["labels"]["Edema"] == 1.0
        and record["labels"]["Pneumonia"] == -1.0
        and record["labels"]["Fracture"] is None
    )
    assert not record["label_mask"][LABELS.index("Pneumonia")] and record["label_mask"][LABELS.index("Fracture")]
    assert record["attention_regions"]["edge_energy"].flatten().tolist() == list(range(256))
    assert record["retrieved_knowledge"] == ["Cough comes first."] and record["view_position"] == "PA"
    assert record["phase3_integrated"] is True and record["synthetic"] is True


def test_quality_report_counts_per_split(tmp_path: Path) -> None:
    table = integrated(
        study(1),
        study(2, split="test", pain=None, view="AP"),
        study(3, split="test", view="LATERAL", pain_repaired=True),
    )
    report = quality_report(table)
    assert [report[name]["records"] for name in ("all", "train", "validate", "test")] == [3, 1, 0, 2]
    assert report["test"]["validation_rate"] == 0.5 and report["validate"]["validation_rate"] is None
    assert report["test"]["problems"] == dict.fromkeys(PROBLEMS, 0) | {"view_not_frontal": 1}
    assert report["test"]["missing"]["pain"] == 0.5 and report["test"]["repaired"]["pain"] == 0.5
    assert report["all"]["views"] == {"AP": 1, "LATERAL": 1, "PA": 1}
    assert report["all"]["labels"]["Pneumonia"]["uncertain"] == 3
    assert report["all"]["text"]["truncated"] == 0 and report["validate"]["text"]["note_tokens"] is None
    assert json.loads(json.dumps(report)) == report
