import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.pigmentation.lesion_split import SplitError, patients_in_two_splits, split_counts, split_lesions
from mm_assets.pigmentation.schema import SEVERITIES, SPLIT_SCHEMA, TONES


def lesions(patients: int, seed: int = 0, official: list[str | None] | None = None) -> pa.Table:
    """Patients with one to three records of random severity and one tone each."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        tone = TONES[rng.integers(len(TONES))]
        for lesion in range(rng.integers(1, 4)):
            severity = (*SEVERITIES, None)[rng.integers(4)]
            rows.append({"record_id": f"{patient}-{lesion}@1", "patient_id": f"p{patient}", "severity": severity})
            rows[-1] |= {"tone": tone, "official_split": official[patient] if official else None}
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    return pa.Table.from_pylist(rows, schema=schema)


@settings(max_examples=25, deadline=None)
@given(patients=st.integers(30, 120), seed=st.integers(0, 1000))
def test_no_patient_is_in_two_splits_and_order_does_not_matter(patients: int, seed: int) -> None:
    table = lesions(patients, seed)
    split = split_lesions(table, seed=seed)
    assert split.schema == SPLIT_SCHEMA and patients_in_two_splits(split) == 0
    assert sorted(split["record_id"].to_pylist()) == sorted(table["record_id"].to_pylist())
    shuffled = table.take(np.random.default_rng(seed).permutation(table.num_rows))
    assert split_lesions(shuffled, seed=seed).equals(split)


def test_severities_and_tones_are_spread_over_all_splits() -> None:
    table = lesions(2000)
    split = split_lesions(table, seed=0, fractions=(0.6, 0.12, 0.28))
    counts = split_counts(table, split)
    total = table.num_rows
    assert counts["test"]["records"] / total == pytest.approx(0.28, abs=0.01)
    for name in (*SEVERITIES, *TONES, "no label"):
        everywhere = sum(counts[part][name] for part in counts)
        assert counts["test"][name] / everywhere == pytest.approx(0.28, abs=0.06), name


def test_another_seed_is_another_split() -> None:
    assert not split_lesions(lesions(100), seed=0).equals(split_lesions(lesions(100), seed=1))


def test_a_complete_official_split_is_kept() -> None:
    official = ["train", "validate", "test"] * 10
    table = lesions(30, official=official)
    split = split_lesions(table, seed=0)
    by_patient = dict(zip(split["patient_id"].to_pylist(), split["split"].to_pylist(), strict=True))
    assert by_patient == {f"p{n}": name for n, name in enumerate(official)}


@pytest.mark.parametrize(
    ("official", "match"),
    [
        (["train", "validate", None] * 10, "name one for all"),
        (["train", "test", "test"] * 10, "no record is in validate"),
    ],
)
def test_an_official_split_with_holes_is_refused(official: list[str | None], match: str) -> None:
    with pytest.raises(SplitError, match=match):
        split_lesions(lesions(30, official=official), seed=0)


def test_an_official_split_that_tears_a_patient_apart_is_refused() -> None:
    table = pa.table(
        {
            "record_id": ["a@1", "b@1", "c@1", "d@1"],
            "patient_id": ["p1", "p1", "p2", "p3"],
            "severity": ["Mild"] * 4,
            "tone": ["tan"] * 4,
            "official_split": ["train", "test", "validate", "test"],
        }
    )
    with pytest.raises(SplitError, match="1 patients"):
        split_lesions(table, seed=0)
    torn = pa.Table.from_arrays([table["record_id"], table["patient_id"], table["official_split"]], schema=SPLIT_SCHEMA)
    assert patients_in_two_splits(torn) == 1


def test_too_few_patients_and_no_records_say_so() -> None:
    with pytest.raises(SplitError, match="add patients"):
        split_lesions(lesions(2), seed=0)
    with pytest.raises(SplitError, match="no record to divide"):
        split_lesions(lesions(2).slice(0, 0), seed=0)
