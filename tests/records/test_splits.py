import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.records.splits import DEFAULT_FRACTIONS, SPLIT_NAMES, grouped_stratified_split


@st.composite
def records(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = rng.integers(0, draw(st.integers(1, 120)), n)
    return groups, rng.integers(0, draw(st.integers(1, 15)), n)


@settings(max_examples=50, deadline=None)
@given(records(), st.integers(0, 100))
def test_groups_stay_whole_and_fractions_hold(data: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    groups, strata = data
    split = grouped_stratified_split(groups, strata, seed=seed)
    for group in np.unique(groups):
        assert len(set(split[groups == group])) == 1
    largest = np.unique(groups, return_counts=True)[1].max()
    for name, fraction in zip(SPLIT_NAMES, DEFAULT_FRACTIONS, strict=True):
        assert abs((split == name).sum() - fraction * len(groups)) <= 4 / 3 * largest + 1e-9


@settings(max_examples=30, deadline=None)
@given(records(), st.integers(0, 100))
def test_order_of_records_does_not_matter(data: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    groups, strata = data
    order = np.random.default_rng(seed).permutation(len(groups))
    expected = grouped_stratified_split(groups, strata, seed=3)[order]
    assert (grouped_stratified_split(groups[order], strata[order], seed=3) == expected).all()


def test_rare_stratum_reaches_every_split() -> None:
    groups = np.arange(1000)
    strata = np.where(groups % 50 == 0, "rare", "common")  # 20 of 1000
    split = grouped_stratified_split(groups, strata, seed=0)
    rare = {name: int((split[strata == "rare"] == name).sum()) for name in SPLIT_NAMES}
    assert rare == {"train": 14, "validate": 3, "test": 3}


def test_seed_changes_the_division() -> None:
    groups = np.arange(200)
    strata = np.zeros(200)
    assert (grouped_stratified_split(groups, strata, seed=1) != grouped_stratified_split(groups, strata, seed=2)).any()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        grouped_stratified_split([1], [1], (0.5, 0.1, 0.1), seed=0)
    with pytest.raises(ValueError, match="one length"):
        grouped_stratified_split([1, 2], [1], seed=0)


def test_no_records_give_no_splits() -> None:
    assert grouped_stratified_split([], [], seed=0).shape == (0,)
