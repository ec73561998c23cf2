"""Metrics against scikit-learn, and their behaviour where a number is not defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from mm_assets.learning import metrics

LABELS = ("a", "b", "c")


@st.composite
def scored_labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    # Few distinct values, so that ties are common.
    scores = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=n, max_size=n))
    targets = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda y: 0 < sum(y) < len(y)))
    return np.array(scores), np.array(targets)


@given(scored_labels())
@settings(max_examples=50, deadline=None)
def test_ranking_metrics_equal_sklearn_with_ties(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = case
    assert metrics.auroc(scores, targets) == pytest.approx(roc_auc_score(targets, scores), abs=1e-12)
    assert metrics.average_precision(scores, targets) == pytest.approx(
        average_precision_score(targets, scores), abs=1e-12
    )


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1]])
def test_one_class_has_no_ranking_metric_and_no_threshold(targets: list[int]) -> None:
    scores, column = np.array([0.1, 0.2, 0.3]), np.array(targets)[:, None]
    assert np.isnan(metrics.auroc(scores, np.array(targets)))
    assert np.isnan(metrics.average_precision(scores, np.array(targets)))
    assert np.isnan(metrics.threshold_by_f1(scores[:, None], column, np.ones((3, 1), bool))).all()


def test_masked_rows_do_not_count_whatever_they_hold() -> None:
    scores = np.array([[0.9], [0.8], [0.1], [np.nan]])
    targets = np.array([[1.0], [0.0], [0.0], [-1.0]])
    mask = np.array([[True], [True], [True], [False]])
    assert metrics.per_label(metrics.auroc, scores, targets, mask).tolist() == [1.0]
    assert metrics.confusion_counts(scores, targets, mask, [0.5]).tolist() == [[1, 1, 0, 1]]


def test_inputs_that_cannot_be_ranked_are_refused() -> None:
    y, known = np.array([[0.0], [1.0]]), np.ones((2, 1), bool)
    with pytest.raises(metrics.MetricInputError, match="NaN"):
        metrics.per_label(metrics.auroc, [[np.nan], [0.2]], y, known)
    with pytest.raises(metrics.MetricInputError, match="other than 0 and 1"):
        metrics.per_label(metrics.auroc, [[0.1], [0.2]], [[-1.0], [1.0]], known)
    with pytest.raises(metrics.MetricInputError, match="shape"):
        metrics.per_label(metrics.auroc, [[0.1]], y, known)


def test_macro_names_the_labels_it_leaves_out() -> None:
    result = metrics.macro([0.8, np.nan, 0.6], LABELS)
    assert result.value == pytest.approx(0.7)
    assert (result.labels, result.left_out) == (("a", "c"), ("b",))
    without = metrics.macro([0.8, np.nan, 0.6], LABELS, leave_out=("c",))
    assert (without.value, without.left_out) == (0.8, ("b", "c"))
    assert np.isnan(metrics.macro([np.nan] * 3, LABELS).value)


def test_threshold_maximises_f1_over_every_cut() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((300, 1)) < 0.3).astype(float)
    probabilities = metrics.sigmoid(rng.normal(size=(300, 1)) + 1.5 * targets - 1)
    known = np.ones_like(targets, bool)
    chosen = metrics.threshold_by_f1(probabilities, targets, known)
    best = max(f1_score(targets, probabilities >= cut) for cut in np.unique(probabilities))
    counts = metrics.confusion_counts(probabilities, targets, known, chosen)
    found = metrics.rates(counts)
    assert found["f1"][0] == pytest.approx(best)
    tp, fp, fn, tn = counts[0]
    assert found["sensitivity"][0] == tp / (tp + fn)
    assert found["specificity"][0] == tn / (tn + fp)


def test_rates_without_denominator_are_nan() -> None:
    found = metrics.rates([[0, 3, 0, 7], [2, 0, 1, 0]])
    assert np.isnan(found["sensitivity"][0]) and np.isnan(found["f1"][0])
    assert np.isnan(found["specificity"][1])
    assert found["f1"][1] == pytest.approx(0.8)


def test_calibration_error_counts_probability_zero_and_is_order_free() -> None:
    # Half of the studies get probability 0 although every second of them is positive.
    probabilities = np.array([0.0] * 50 + [1.0] * 50)
    targets = np.array([0, 1] * 25 + [1] * 50, dtype=float)
    assert metrics.expected_calibration_error(probabilities, targets) == pytest.approx(0.25)
    shuffled = np.random.default_rng(1).permutation(100)
    assert metrics.expected_calibration_error(probabilities[shuffled], targets[shuffled]) == pytest.approx(0.25)


def test_reliability_bins_have_equal_mass_and_cover_all_rows() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.beta(0.5, 5, size=1000)
    targets = (rng.random(1000) < probabilities).astype(float)
    bins = metrics.reliability_bins(probabilities, targets, 10)
    assert bins.n.tolist() == [100] * 10
    assert np.all(np.diff(bins.upper) > 0) and bins.upper[-1] == 1
    assert bins.positives.sum() == targets.sum()
    assert metrics.expected_calibration_error(probabilities, targets) < 0.05


def test_brier_is_mean_squared_error() -> None:
    assert metrics.brier([0.5, 1.0], [0, 1]) == pytest.approx(0.125)
    assert np.isnan(metrics.brier([], []))


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert metrics.sigmoid([-1e4, 0.0, 1e4]).tolist() == [0.0, 0.5, 1.0]
