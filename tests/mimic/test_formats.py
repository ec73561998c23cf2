import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.mimic.formats import (
    FormatError,
    as_standard,
    attention_segments,
    detect_format,
    enhanced_from_standard,
    standard_from_enhanced,
)
from mm_assets.mimic.pt_export import export_phase3_pt
from mm_assets.mimic.schema import CLINICAL_FEATURES, LABELS

_TEXT = st.text("abc 98.6\n", max_size=30)


@st.composite
def standard_records(draw: st.DrawFn) -> dict[str, Any]:
    side, n = draw(st.integers(1, 4)), draw(st.integers(0, 5))
    number = st.just(math.nan) | st.floats(-500, 500, width=32)
    clinical = torch.tensor(draw(st.lists(number, min_size=12, max_size=12)), dtype=torch.float32)
    record: dict[str, Any] = {
        "format": "standard",
        "format_version": 1,
        "subject_id": draw(st.integers(10_000_000, 19_999_999)),
        "study_id": draw(st.integers(50_000_000, 59_999_999)),
        "dicom_id": "d",
        "image": torch.rand(3, side, side),
        "attention_regions": {"edge_energy": torch.randint(0, 256, (16, 16), dtype=torch.uint8)},
        "text_input_ids": torch.arange(n),
        "text_attention_mask": torch.ones(n, dtype=torch.int64),
        "pseudo_note": draw(_TEXT),
        "enhanced_note": draw(_TEXT),
        "retrieved_knowledge": draw(st.lists(_TEXT, max_size=2)),
        "clinical_features": clinical,
        "clinical_missing": torch.isnan(clinical),
        "labels": {name: draw(st.sampled_from([1.0, 0.0, -1.0, None])) for name in LABELS},
        "view_position": "AP",
        "phase3_integrated": True,
    }
    if draw(st.booleans()):
        record["_enhanced"] = {"bbox_coordinates": [[1.0, 2.0, 3.0, 4.0]], "severity_scores": [0.5]}
    return record


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and torch.equal(torch.nan_to_num(a, nan=-9e9), torch.nan_to_num(b, nan=-9e9))
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


@settings(max_examples=50, deadline=None)
@given(standard_records())
def test_round_trips_lose_nothing(record: dict[str, Any]) -> None:
    enhanced = enhanced_from_standard(record)
    assert detect_format(record) == "standard" and detect_format(enhanced) == "enhanced_rag"
    assert same(standard_from_enhanced(enhanced), record)
    assert same(enhanced_from_standard(standard_from_enhanced(enhanced)), enhanced)


@settings(max_examples=20, deadline=None)
@given(standard_records())
def test_formats_are_told_apart_by_their_keys_alone(record: dict[str, Any]) -> None:
    enhanced = enhanced_from_standard(record)
    for r, name in ((record, "standard"), (enhanced, "enhanced_rag")):
        assert detect_format({key: value for key, value in r.items() if key != "format"}) == name
    assert same(as_standard(enhanced), as_standard(record))


@settings(max_examples=20, deadline=None)
@given(standard_records())
def test_no_identifier_is_a_feature_and_gaps_stay_gaps(record: dict[str, Any]) -> None:
    enhanced = enhanced_from_standard(record)
    data = json.loads(enhanced["clinical_data"])
    assert tuple(data) == CLINICAL_FEATURES
    assert [value is None for value in data.values()] == record["clinical_missing"].tolist()
    enhanced["clinical_data"] = json.dumps(data | {"subject_id": 10_000_032})
    assert same(standard_from_enhanced(enhanced), record)


def earlier_record(**fields: Any) -> dict[str, Any]:
    """As the earlier pipeline wrote it: empty labels, full-size mask, no dicom_id."""
    return {
        "image_tensor": torch.rand(3, 8, 8),
        "attention_mask": torch.rand(20, 30),
        "text_input_ids": torch.arange(6)[None],
        "text_attention_mask": torch.ones(1, 6, dtype=torch.int64),
        "enhanced_note": "HR 85.\n[Clinical Context]\n- Fluid sinks.",
        "attention_segments": {"clinical_data": "HR 85", "knowledge_context": "", "diagnostic_hints": ""},
        "clinical_data": json.dumps({"heartrate": 85, "gender": "F", "age": None}),
        "labels": {"disease_labels": [], "bbox_coordinates": [], "severity_scores": []},
        "subject_id": 10_000_032,
        "study_id": 50_414_267,
    } | fields


def test_a_record_of_the_earlier_pipeline_is_read_without_inventing_negatives() -> None:
    record = standard_from_enhanced(earlier_record())
    assert set(record["labels"].values()) == {None}
    values = dict(zip(CLINICAL_FEATURES, record["clinical_features"].tolist(), strict=True))
    assert values["heartrate"] == 85 and values["sex_female"] == 1 and math.isnan(values["age"])
    assert record["pseudo_note"] == "HR 85." and record["retrieved_knowledge"] == ["Fluid sinks."]
    assert record["text_input_ids"].shape == (6,)
    back = enhanced_from_standard(record)
    assert torch.equal(back["attention_mask"], earlier_record(attention_mask=back["attention_mask"])["attention_mask"])
    assert back["attention_mask"].shape == (20, 30) and back["attention_segments"]["clinical_data"] == "HR 85"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": {"disease_labels": [0, 1, 0]}}, "order no one can know"),
        ({"labels": {"disease_labels": {"Flu": 1}}}, "unknown labels"),
        ({"labels": {"disease_labels": {"Edema": 2}}}, "none of 1, 0, -1"),
        ({"clinical_data": "{heart"}, "not JSON"),
    ],
)
def test_ambiguous_or_foreign_values_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        standard_from_enhanced(earlier_record(**fields))


def test_named_positives_and_unknown_records() -> None:
    labels = standard_from_enhanced(earlier_record(labels={"disease_labels": ["Edema"]}))["labels"]
    assert labels["Edema"] == 1.0 and labels["Fracture"] is None
    with pytest.raises(FormatError, match="neither format"):
        detect_format({"pixels": 1})
    with pytest.raises(FormatError, match="45 clinical features"):
        enhanced_from_standard(standard_from_enhanced(earlier_record()) | {"clinical_features": torch.zeros(45)})


def test_segments_keep_decimals_whole() -> None:
    segments = attention_segments("A man. Vital signs: temperature 98.6 °F.", ["Edema blurs vessels. Bones are white."])
    assert segments["clinical_data"] == ["Vital signs: temperature 98.6 °F."]
    assert segments["diagnostic_hints"] == ["Edema blurs vessels."]


def records(n: int, *, colour: bool = False) -> Iterator[dict[str, Any]]:
    for i in range(n):
        grey = torch.full((1, 4, 4), float(i)) + torch.arange(16).view(1, 4, 4)
        image = torch.cat([grey, grey + 1, grey + 2]) if colour else grey.repeat(3, 1, 1)
        yield {
            "study_id": i,
            "image": image,
            "labels": {"Edema": None, "Fracture": -1.0},
            "text_input_ids": torch.arange(i),
        }


@pytest.mark.parametrize("colour", [False, True])
def test_exported_files_hold_the_records_and_the_earlier_pipelines_metadata(tmp_path: Path, colour: bool) -> None:
    splits = {"train": records(3, colour=colour), "test": records(1, colour=colour)}
    files = export_phase3_pt(splits, tmp_path, config={"image_size": 4}, quality={"all": {}}, stratified=False)
    names = {"train_final.pt", "val_final.pt", "test_final.pt", "metadata.json", "phase3_metadata.json"}
    assert {path.name for path in files} == names == {path.name for path in tmp_path.iterdir()}
    loaded = torch.load(tmp_path / "train_final.pt", weights_only=True)
    assert all(same(got, want) for got, want in zip(loaded, records(3, colour=colour), strict=True))
    assert torch.load(tmp_path / "val_final.pt", weights_only=True) == []
    assert json.loads((tmp_path / "metadata.json").read_text()) == {
        "config": {"image_size": 4}, "n_train": 3, "n_val": 0, "n_test": 1, "total_records": 4,
        "stratified": False,
        "small_samples_created": False, "small_sample_size": None,
    }  # fmt: skip


def test_enhanced_records_are_exported_like_standard_ones(tmp_path: Path) -> None:
    enhanced = [enhanced_from_standard(standard_from_enhanced(earlier_record(study_id=i))) for i in range(2)]
    export_phase3_pt({"test": enhanced}, tmp_path, config={}, quality={}, stratified=False)
    loaded = torch.load(tmp_path / "test_final.pt", weights_only=True)
    assert all(same(got, want) for got, want in zip(loaded, enhanced, strict=True))
    assert [detect_format(record) for record in loaded] == ["enhanced_rag"] * 2
    mixed = [enhanced[0], standard_from_enhanced(enhanced[1])]
    with pytest.raises(FormatError, match="one format"):
        export_phase3_pt({"test": mixed}, tmp_path, config={}, quality={}, stratified=False)


def test_a_large_split_becomes_numbered_files_and_a_rerun_replaces_them(tmp_path: Path) -> None:
    def export(n: int) -> list[str]:
        export_phase3_pt({"train": records(n)}, tmp_path, config={}, quality={}, stratified=True, records_per_file=2)
        return sorted(path.name for path in tmp_path.glob("train*"))

    assert export(5) == [f"train_final_{i:05d}.pt" for i in range(3)]
    ids = [r["study_id"] for i in range(3) for r in torch.load(tmp_path / f"train_final_{i:05d}.pt", weights_only=True)]
    assert ids == [0, 1, 2, 3, 4]
    assert export(2) == ["train_final.pt"]


def test_images_of_two_kinds_in_one_file_are_refused(tmp_path: Path) -> None:
    mixed = [next(records(1)), next(records(1, colour=True))]
    with pytest.raises(FormatError, match="unlike the others"):
        export_phase3_pt({"train": mixed}, tmp_path, config={}, quality={}, stratified=False)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_grey_images_are_stored_once_not_three_times(tmp_path: Path) -> None:
    big = [{"study_id": i, "image": torch.rand(1, 64, 64).repeat(3, 1, 1)} for i in range(8)]
    export_phase3_pt({"train": big}, tmp_path, config={}, quality={}, stratified=False)
    assert (tmp_path / "train_final.pt").stat().st_size < 1.2 * 8 * 64 * 64 * 4
