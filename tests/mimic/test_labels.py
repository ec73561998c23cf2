import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mm_assets.mimic.labels import (
    LabelError,
    LabelPolicy,
    label_counts,
    raw_labels,
    targets_and_mask,
)
from mm_assets.mimic.schema import LABELS

ROW = np.full((1, len(LABELS)), np.nan, dtype=np.float32)
ROW[0, :3] = [1, 0, -1]  # positive, negative, uncertain; the rest is blank


@pytest.mark.parametrize(
    ("policy", "targets", "mask"),
    [
        (LabelPolicy(), [1, 0, 0, 0], [True, True, False, True]),
        (LabelPolicy(uncertain="zero"), [1, 0, 0, 0], [True, True, True, True]),
        (LabelPolicy(uncertain="one"), [1, 0, 1, 0], [True, True, True, True]),
        (LabelPolicy(blank="mask"), [1, 0, 0, 0], [True, True, False, False]),
        (LabelPolicy(blank="mask", uncertain="one"), [1, 0, 1, 0], [True, True, True, False]),
    ],
)
def test_policies(policy: LabelPolicy, targets: list[int], mask: list[bool]) -> None:
    got_targets, got_mask = targets_and_mask(ROW, policy)
    assert got_targets[0, :4].tolist() == targets and got_mask[0, :4].tolist() == mask
    assert got_targets.dtype == np.float32 and got_mask.dtype == bool


def test_an_unknown_policy_names_the_known_ones() -> None:
    with pytest.raises(LabelError, match=r"uncertain mask\|zero\|one"):
        LabelPolicy(uncertain="ignore")  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 6), st.just(14)),
        elements=st.sampled_from([1.0, 0.0, -1.0, np.nan]),
    ),
    st.sampled_from(["zero", "mask"]),
    st.sampled_from(["mask", "zero", "one"]),
)
def test_certain_values_are_never_changed_or_masked(raw: np.ndarray, blank: str, uncertain: str) -> None:
    targets, mask = targets_and_mask(raw, LabelPolicy(blank, uncertain))  # type: ignore[arg-type]
    certain = (raw == 0) | (raw == 1)
    assert mask[certain].all()
    assert np.array_equal(targets[certain], raw[certain])
    assert np.isin(targets, (0, 1)).all() and (targets[~mask] == 0).all()


def test_labels_are_read_by_name_and_blank_is_nan() -> None:
    columns = {name: pa.array([float(number % 3 - 1)], pa.float32()) for number, name in enumerate(LABELS)}
    columns["Edema"] = pa.array([None], pa.float32())
    table = pa.table(dict(reversed(columns.items())))
    raw = raw_labels(table)
    assert raw.shape == (1, 14) and raw.dtype == np.float32
    assert np.isnan(raw[0, LABELS.index("Edema")])
    assert raw[0, LABELS.index("Consolidation")] == 1
    assert np.array_equal(raw_labels(table.to_batches()[0]), raw, equal_nan=True)


def test_a_missing_column_and_a_strange_value_are_errors() -> None:
    with pytest.raises(LabelError, match="Edema"):
        raw_labels(pa.table({name: [1.0] for name in LABELS if name != "Edema"}))
    with pytest.raises(LabelError, match="none of 1, 0, -1"):
        targets_and_mask(np.full((1, 14), 0.5, dtype=np.float32))


def test_counts_and_prevalence() -> None:
    raw = np.full((4, 14), np.nan, dtype=np.float32)
    raw[:, 0] = [1, 0, -1, np.nan]
    raw[:, 1] = -1
    rows = label_counts(raw).to_pylist()
    assert rows[0] == {
        "label": LABELS[0], "positive": 1, "negative": 1, "uncertain": 1, "blank": 1, "prevalence": 1 / 3,
    }  # fmt: skip
    assert rows[1]["prevalence"] is None
    assert rows[2]["prevalence"] == 0
