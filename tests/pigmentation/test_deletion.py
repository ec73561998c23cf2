"""Deletion curves tell a map that points at what matters from one that does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.learning.metrics import MetricInputError
from mm_assets.pigmentation.deletion import DeletionCurves, curves_of_record, deletion_curves, hide_cells

SHAPE = (2, 4, 4)


def planted(importance: np.ndarray):
    """A model whose score is the importance that is still visible."""
    return lambda hidden: (importance[None] * ~hidden).sum(axis=(1, 2, 3))


def importance(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).random(SHAPE) ** 6
    return values / values.sum()


def trial(maps: list[np.ndarray]) -> DeletionCurves:
    records = [(planted(importance(k)), given_map, [True, True]) for k, given_map in enumerate(maps)]
    return deletion_curves(records, np.arange(len(maps)) // 2)


def test_a_faithful_map_gains_and_a_reversed_one_loses() -> None:
    faithful = trial([importance(k) for k in range(12)])
    reversed_map = trial([-importance(k) for k in range(12)])
    blind = trial([np.zeros(SHAPE) for _ in range(12)])
    assert faithful.gain > 0.15 and reversed_map.gain < -0.15
    assert abs(blind.gain) < 0.08
    spread = np.quantile(faithful.gain_replicates(200, 0), [0.025, 0.975])
    assert 0 < spread[0] < faithful.gain < spread[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.lists(st.booleans(), min_size=2, max_size=2).filter(any))
def test_curves_run_from_nothing_to_everything_and_leave_absent_pictures_alone(seed: int, present: list[bool]) -> None:
    values = importance(seed)
    asked = []

    def score(hidden: np.ndarray) -> np.ndarray:
        asked.append(hidden)
        return planted(values)(hidden)

    shares, attended, random = curves_of_record(score, values, present, np.random.default_rng(seed))
    assert shares[0] == 0 and shares[-1] == 1 and (np.diff(shares) > 0).all()
    assert attended[0] == random[0] == 0
    everything = values[np.array(present)].sum()
    assert attended[-1] == pytest.approx(everything) == pytest.approx(random[-1])
    assert (attended >= random - 1e-9).all() and (np.diff(attended) >= -1e-12).all()
    hidden = asked[0]
    assert len(asked) == 1 and not hidden[:, ~np.array(present)].any()
    assert not hidden[0].any() and hidden[len(shares) - 1, np.array(present)].all()


def test_equal_seeds_give_equal_curves() -> None:
    maps = [importance(k) for k in range(3)]
    assert (trial(maps).random == trial(maps).random).all()


def test_hidden_cells_take_the_colour_of_the_border() -> None:
    picture = np.zeros((3, 10, 10), np.float32)
    picture[0] = 0.7
    picture[:, 3:7, 3:7] = 5.0
    hidden = np.zeros((2, 7, 7), bool)
    hidden[1] = True
    shown, gone = hide_cells(picture, hidden)
    assert (shown == picture).all()
    assert (gone[0] == np.float32(0.7)).all() and (gone[1:] == 0).all()
    hidden[0, 3, 3] = True
    part = hide_cells(picture, hidden)[0]
    assert 0 < (part[1] != picture[1]).sum() < 9


def test_misfits_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(MetricInputError, match="one picture there"):
        curves_of_record(lambda hidden: hidden, np.ones(SHAPE), [False, False], rng)
    with pytest.raises(MetricInputError, match="scores of shape"):
        curves_of_record(lambda hidden: np.zeros(3), np.ones(SHAPE), [True, True], rng)
    with pytest.raises(MetricInputError, match="at least one"):
        deletion_curves([], [])
