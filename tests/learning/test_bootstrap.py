"""The vectorised bootstrap against the obvious loop, and against what an interval promises."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mm_assets.learning import bootstrap
from mm_assets.learning.metrics import MetricInputError


def example(n: int, labels: int, seed: int, ties: bool = True) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, max(2, n * 2 // 3), n) + 10_000_000
    targets = (rng.random((n, labels)) < np.linspace(0.1, 0.6, labels)).astype(float)
    scores = rng.normal(size=(n, labels)) + targets
    return (scores.round(1) if ties else scores), targets, rng.random((n, labels)) < 0.9, patients


@pytest.mark.parametrize("ties", [True, False])
def test_every_replicate_equals_resampling_rows(ties: bool) -> None:
    scores, targets, mask, patients = example(150, 3, seed=0, ties=ties)
    resamples = bootstrap.draw_patients(patients, 20, seed=1)
    ours = bootstrap.replicate_metrics(scores, targets, mask, resamples)
    for r in range(20):
        rows = np.repeat(np.arange(150), resamples.draws[resamples.row_patient, r].astype(int))
        for k in range(3):
            chosen = rows[mask[rows, k]]
            y, s = targets[chosen, k], scores[chosen, k]
            assert ours.auroc[r, k] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
            assert ours.average_precision[r, k] == pytest.approx(average_precision_score(y, s), abs=1e-12)


def test_draws_are_of_patients_and_do_not_depend_on_row_order() -> None:
    patients = np.array([7, 7, 3, 9, 3])
    resamples = bootstrap.draw_patients(patients, 50, seed=4)
    assert resamples.draws.shape == (3, 50)
    assert (resamples.draws.sum(axis=0) == 3).all()
    assert resamples.row_patient.tolist() == [1, 1, 0, 2, 0]
    assert (bootstrap.draw_patients(patients[::-1], 50, seed=4).draws == resamples.draws).all()
    assert (bootstrap.draw_patients(patients, 50, seed=5).draws != resamples.draws).any()


def test_a_part_of_the_rows_keeps_the_draws() -> None:
    scores, targets, mask, patients = example(120, 2, seed=3)
    resamples = bootstrap.draw_patients(patients, 30, seed=0)
    rows = np.arange(120) % 2 == 0
    part = bootstrap.replicate_metrics(scores[rows], targets[rows], mask[rows], bootstrap.take_rows(resamples, rows))
    hidden = bootstrap.replicate_metrics(scores, targets, mask & rows[:, None], resamples)
    np.testing.assert_allclose(part.auroc, hidden.auroc)


def test_replicates_that_lose_a_class_are_nan_and_counted() -> None:
    scores = np.array([[0.1], [0.4], [0.3], [0.8]])
    targets = np.array([[1.0], [0.0], [0.0], [0.0]])
    resamples = bootstrap.draw_patients(np.arange(4), 200, seed=0)
    values = bootstrap.replicate_metrics(scores, targets, np.ones_like(targets, bool), resamples).auroc[:, 0]
    lost = resamples.draws[0] == 0
    assert 0 < lost.sum() < 200
    assert np.isnan(values[lost]).all()
    interval = bootstrap.percentile_interval(values)
    assert interval.n_undefined == np.isnan(values).sum()


def test_interval_is_withheld_when_most_replicates_are_undefined() -> None:
    interval = bootstrap.percentile_interval([np.nan, np.nan, 0.7])
    assert np.isnan(interval.low) and interval.n_undefined == 2


def test_label_with_one_class_has_no_replicates() -> None:
    scores, targets, mask, patients = example(60, 2, seed=1)
    targets[:, 0] = 0
    found = bootstrap.replicate_metrics(scores, targets, mask, bootstrap.draw_patients(patients, 5, 0))
    assert np.isnan(found.auroc[:, 0]).all() and np.isfinite(found.auroc[:, 1]).all()
    np.testing.assert_allclose(bootstrap.mean_over_labels(found.auroc, [True, True]), found.auroc[:, 1])


def test_interval_of_identical_variants_is_zero_and_of_noise_is_not() -> None:
    scores, targets, mask, patients = example(200, 3, seed=5)
    resamples = bootstrap.draw_patients(patients, 100, seed=0)
    use = [True] * 3
    one = bootstrap.mean_over_labels(bootstrap.replicate_metrics(scores, targets, mask, resamples).auroc, use)
    again = bootstrap.mean_over_labels(bootstrap.replicate_metrics(scores, targets, mask, resamples).auroc, use)
    noise = np.random.default_rng(0).normal(size=scores.shape)
    other = bootstrap.mean_over_labels(bootstrap.replicate_metrics(noise, targets, mask, resamples).auroc, use)
    same = bootstrap.percentile_interval(one - again)
    assert (same.low, same.high) == (0.0, 0.0)
    assert bootstrap.percentile_interval(one - other).low > 0


def test_intervals_cover_the_true_auroc_about_as_often_as_promised() -> None:
    # Scores of positives are shifted by 1: the true AUROC is Phi(1 / sqrt 2) = .7602. Two studies per patient
    # share a patient effect, which an interval that ignored clusters would miss.
    rng = np.random.default_rng(11)
    patients = np.repeat(np.arange(80), 2)
    hits = 0
    for trial in range(120):
        y = (np.repeat(rng.random(80) < 0.4, 2)).astype(float)[:, None]
        effect = np.repeat(rng.normal(size=80), 2) * np.sqrt(0.8)
        scores = (effect + rng.normal(size=160) * np.sqrt(0.2))[:, None] + y
        resamples = bootstrap.draw_patients(patients, 200, seed=trial)
        values = bootstrap.replicate_metrics(scores, y, np.ones_like(y, bool), resamples).auroc[:, 0]
        interval = bootstrap.percentile_interval(values)
        hits += interval.low <= 0.7602 <= interval.high
    assert 0.88 <= hits / 120 <= 0.99


def test_misfit_inputs_are_refused() -> None:
    scores, targets, mask, patients = example(20, 2, seed=0)
    resamples = bootstrap.draw_patients(patients[:10], 5, seed=0)
    with pytest.raises(MetricInputError, match="pass one per row"):
        bootstrap.replicate_metrics(scores, targets, mask, resamples)
    with pytest.raises(MetricInputError, match="at least one"):
        bootstrap.draw_patients(np.array([]), 5, seed=0)
