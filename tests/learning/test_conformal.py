"""Conformal intervals keep their finite-sample promise, survive JSON and refuse what they cannot scale."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_assets.learning.conformal import Conformal, fit_conformal
from mm_assets.learning.metrics import MetricInputError

unit = st.floats(0, 1)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(unit, unit, st.floats(0.01, 1)), min_size=2, max_size=30),
    st.sampled_from([0.5, 0.8, 0.9]),
    st.booleans(),
)
def test_leaving_each_record_out_covers_at_least_the_stated_share(rows, level: float, scaled: bool) -> None:
    """Exchangeability makes this the whole promise: every record is equally likely to be the new one."""
    truth, scores, sigmas = np.array(rows).T
    hits = 0
    for k in range(len(rows)):
        others = np.arange(len(rows)) != k
        fitted = fit_conformal(truth[others], scores[others], sigmas[others] if scaled else None, level)
        # A hair wider: the interval adds and subtracts what the error was computed from.
        wide = fitted if fitted.quantile is None else Conformal(level, scaled, fitted.n, fitted.quantile + 1e-9)
        hits += int(wide.covered(truth[k : k + 1], scores[k : k + 1], sigmas[k : k + 1])[0])
    assert hits >= level * len(rows) - 1e-9


def test_fresh_records_are_covered_near_the_level_and_not_far_above() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        sigma = rng.uniform(0.01, 0.1, 1100)
        scores = np.full(1100, 0.5)
        truth = scores + sigma * rng.normal(size=1100)
        fitted = fit_conformal(truth[:100], scores[:100], sigma[:100])
        shares.append(fitted.covered(truth[100:], scores[100:], sigma[100:]).mean())
    assert 0.895 < np.mean(shares) < 0.915


def test_nine_records_reach_ninety_percent_with_their_largest_error_and_eight_do_not() -> None:
    truth = np.linspace(0.5, 0.58, 9)
    assert fit_conformal(truth, np.full(9, 0.5)).quantile == pytest.approx(0.08)
    few = fit_conformal(truth[:8], np.full(8, 0.5))
    assert few.quantile is None
    assert few.interval(0.3) == (0.0, 1.0)
    assert fit_conformal([], []).interval(0.3) == (0.0, 1.0)


@given(unit, st.floats(0, 2), st.floats(0, 1))
def test_an_interval_lies_on_the_scale_and_holds_its_score(score: float, quantile: float, sigma: float) -> None:
    for fitted in (Conformal(0.9, False, 50, quantile), Conformal(0.9, True, 50, quantile)):
        low, high = fitted.interval(score, sigma)
        assert 0 <= low <= score <= high <= 1


def test_json_keeps_everything() -> None:
    for fitted in (fit_conformal(np.linspace(0, 1, 30), np.zeros(30), np.ones(30)), fit_conformal([0.1], [0.2])):
        assert Conformal.from_json(json.loads(json.dumps(fitted.as_json()))) == fitted
    assert "90%" in fitted.name and "predicted spread" not in fitted.name
    with pytest.raises(MetricInputError, match="release the model again"):
        Conformal.from_json({"level": 0.9})


def test_misfits_are_refused() -> None:
    scaled = fit_conformal([0.1, 0.2], [0.1, 0.3], [0.1, 0.1])
    with pytest.raises(MetricInputError, match="pass the spread"):
        scaled.interval(0.5)
    with pytest.raises(MetricInputError, match="pass one each"):
        scaled.bounds([0.5, 0.6], [0.1])
    with pytest.raises(MetricInputError, match="same records"):
        fit_conformal([0.1], [0.1, 0.2])
    with pytest.raises(MetricInputError, match="not finite"):
        fit_conformal([float("nan")], [0.1])
    with pytest.raises(MetricInputError, match="between 0 and 1"):
        fit_conformal([0.1], [0.1], level=1.0)
