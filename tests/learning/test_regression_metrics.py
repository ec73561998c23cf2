"""Agreement of scores against textbook definitions, and weighted replicates against repeating rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, mean_squared_error, r2_score

from mm_assets.learning import bootstrap
from mm_assets.learning import regression_metrics as rm
from mm_assets.learning.metrics import MetricInputError

# Shrout & Fleiss 1979, table 2, judges 1 and 2 of six targets.
JUDGES = np.array([[9, 2], [6, 1], [8, 4], [7, 1], [10, 5], [6, 2]], float)


def example(n: int, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n).round(2)
    predicted = np.clip(truth + rng.normal(0, 0.1, n), 0, 1).round(2)
    return truth, predicted, (truth * 3).astype(int), (predicted * 2.99).astype(int), rng.integers(0, max(2, n // 2), n)


def anova_icc(ratings: np.ndarray) -> float:
    """ICC(2,1) as the analysis of variance defines it, [N, k] ratings."""
    n, k = ratings.shape
    grand = ratings.mean()
    rows = k * ((ratings.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((ratings.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    left = ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0) + grand
    error = (left**2).sum() / ((n - 1) * (k - 1))
    return (rows - error) / (rows + (k - 1) * error + k * (columns - error) / n)


def test_every_metric_agrees_with_its_definition_elsewhere() -> None:
    truth, predicted, true_rank, predicted_rank, _ = example(200, 0)
    found = rm.agreement(truth, predicted, true_rank, predicted_rank)
    assert tuple(found) == rm.METRICS
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, predicted))
    assert found["mse"] == pytest.approx(mean_squared_error(truth, predicted))
    assert found["rmse"] == pytest.approx(mean_squared_error(truth, predicted) ** 0.5)
    assert found["r2"] == pytest.approx(r2_score(truth, predicted))
    assert found["spearman"] == pytest.approx(spearmanr(truth, predicted).statistic) == rm.spearman(truth, predicted)
    kappa = cohen_kappa_score(true_rank, predicted_rank, weights="quadratic")
    assert found["kappa"] == pytest.approx(kappa)
    assert found["icc"] == pytest.approx(anova_icc(np.stack([truth, predicted], axis=1)))
    difference = predicted - truth
    assert found["bias"] == pytest.approx(difference.mean())
    assert (found["limits_high"] - found["limits_low"]) / 2 == pytest.approx(1.96 * difference.std(ddof=1))


def test_icc_of_two_judges_counts_their_difference_in_level() -> None:
    assert rm.agreement(JUDGES[:, 0], JUDGES[:, 1])["icc"] == pytest.approx(anova_icc(JUDGES))
    level = JUDGES[:, 0] + 100
    assert rm.agreement(JUDGES[:, 0], level)["icc"] < 0.01 < 0.99 < rm.spearman(JUDGES[:, 0], level)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), seed=st.integers(0, 10_000))
def test_every_replicate_equals_repeating_rows(n: int, seed: int) -> None:
    truth, predicted, true_rank, predicted_rank, patients = example(n, seed)
    resamples = bootstrap.draw_patients(patients, 8, seed)
    ours = rm.replicate_agreement(truth, predicted, resamples, true_rank, predicted_rank)
    mean = rm.replicate_mean(truth, resamples)
    for r in range(8):
        rows = np.repeat(np.arange(n), resamples.draws[resamples.row_patient, r].astype(int))
        direct = rm.agreement(truth[rows], predicted[rows], true_rank[rows], predicted_rank[rows])
        assert mean[r] == pytest.approx(truth[rows].mean())
        for name, value in direct.items():
            assert ours[name][r] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=2, max_size=40))
def test_rank_correlation_with_ties_is_scipys(pairs: list[tuple[float, float]]) -> None:
    truth, predicted = np.array(pairs).T
    if np.ptp(truth) and np.ptp(predicted):
        assert rm.spearman(truth, predicted) == pytest.approx(spearmanr(truth, predicted).statistic, abs=1e-9)
    else:
        assert np.isnan(rm.spearman(truth, predicted))


def test_a_part_of_the_rows_keeps_the_draws_and_an_empty_replicate_is_not_a_number() -> None:
    truth, predicted, *_, patients = example(30, 3)
    resamples = bootstrap.draw_patients(patients, 200, 0)
    rows = patients == patients[0]
    part = rm.replicate_agreement(truth[rows], predicted[rows], bootstrap.take_rows(resamples, rows))
    drawn = resamples.draws[resamples.row_patient[0]] > 0
    assert 0 < drawn.sum() < 200
    assert (np.isfinite(part["mae"]) == drawn).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3])
def test_what_data_do_not_define_is_not_a_number(constant: float) -> None:
    same = np.full(7, constant)
    found = rm.agreement(same, same, [1] * 7, [1] * 7)
    assert found["mae"] == 0
    assert all(np.isnan(found[name]) for name in ("r2", "icc", "kappa", "spearman"))
    assert np.isnan(rm.agreement([0.2], [0.3])["limits_low"])
    assert all(np.isnan(value) for value in rm.agreement([], []).values())
    assert np.isnan(rm.agreement(same, same)["kappa"])


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MetricInputError, match="same records"):
        rm.agreement([0.1, 0.2], [0.1])
    with pytest.raises(MetricInputError, match="not finite"):
        rm.agreement([0.1], [float("nan")])
    with pytest.raises(MetricInputError, match="ranks have 1"):
        rm.agreement([0.1, 0.2], [0.1, 0.2], [1], [1])
    with pytest.raises(MetricInputError, match="one per row"):
        rm.replicate_mean([0.1, 0.2], bootstrap.draw_patients([1, 2, 3], 5, 0))
