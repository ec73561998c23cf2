"""Scaling recovers what was planted, survives empty labels, and its intervals hold what they say."""

import json

import numpy as np
import pytest

from mm_assets.learning import calibration
from mm_assets.learning.metrics import MetricInputError, brier, expected_calibration_error, sigmoid

LABELS = ("a", "b", "c")


def planted(n: int, temperature: float, shift: np.ndarray, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Logits whose true probability is sigmoid(logit / temperature + shift)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, shift.size)) * 2 * temperature
    targets = (rng.random(logits.shape) < sigmoid(logits / temperature + shift)).astype(float)
    return logits, targets, rng.random(logits.shape) < 0.9


@pytest.mark.parametrize("method", ["temperature", "temperature_per_label", "temperature_and_shift"])
def test_planted_temperature_is_recovered(method: calibration.Method) -> None:
    logits, targets, mask = planted(4000, 2.5, np.zeros(3))
    spec = calibration.fit_scaling(logits, targets, mask, LABELS, method)
    assert [spec["temperature"][label] for label in LABELS] == pytest.approx([2.5] * 3, rel=0.1)
    assert max(abs(s) for s in spec["shift"].values()) < 0.15


def test_shift_undoes_a_weighted_loss_where_a_temperature_cannot() -> None:
    true_shift = np.array([-2.0, -1.0, 0.0])
    logits, targets, mask = planted(4000, 1.5, true_shift)
    shifted = calibration.fit_scaling(logits, targets, mask, LABELS, "temperature_and_shift")
    assert list(shifted["shift"].values()) == pytest.approx(true_shift.tolist(), abs=0.2)
    plain = calibration.fit_scaling(logits, targets, mask, LABELS, "temperature")
    error = {
        spec["method"]: expected_calibration_error(calibration.calibrated(spec, logits)[:, 0], targets[:, 0])
        for spec in (shifted, plain)
    }
    assert error["temperature_and_shift"] < 0.03 < error["temperature"]


def test_scaling_lowers_the_error_of_an_overconfident_model_out_of_sample() -> None:
    logits, targets, mask = planted(2000, 3.0, np.zeros(3))
    spec = calibration.fit_scaling(logits, targets, mask, LABELS, "temperature")
    fresh, truth, _ = planted(2000, 3.0, np.zeros(3), seed=1)
    before, after = sigmoid(fresh), calibration.calibrated(spec, fresh)
    assert brier(after, truth) < brier(before, truth)
    assert expected_calibration_error(after[:, 0], truth[:, 0]) < expected_calibration_error(before[:, 0], truth[:, 0])


def test_labels_without_positives_or_without_rows_stay_finite() -> None:
    logits, targets, mask = planted(300, 1.0, np.zeros(3))
    targets[:, 0] = 0
    mask[:, 1] = False
    for method in calibration.METHODS:
        spec = calibration.fit_scaling(logits, targets, mask, LABELS, method)
        assert np.isfinite(calibration.calibrated(spec, logits)).all()
        assert spec["shift"]["b"] == 0


def test_spec_is_json_and_bad_requests_are_refused() -> None:
    logits, targets, mask = planted(200, 1.0, np.zeros(3))
    spec = calibration.fit_scaling(logits, targets, mask, LABELS, "temperature")
    spec["intervals"] = calibration.fit_intervals(calibration.calibrated(spec, logits), targets, mask, LABELS)
    again = json.loads(json.dumps(spec, allow_nan=False))
    assert again == spec
    with pytest.raises(MetricInputError, match="choose one of"):
        calibration.fit_scaling(logits, targets, mask, LABELS, "isotonic")  # type: ignore[arg-type]
    with pytest.raises(MetricInputError, match="no known label"):
        calibration.fit_scaling(logits, targets, np.zeros_like(mask), LABELS, "temperature")


def test_interval_is_narrow_where_validation_has_cases_and_wide_where_not() -> None:
    logits, targets, mask = planted(2000, 1.0, np.zeros(3))
    spec = calibration.fit_scaling(logits, targets, mask, LABELS, "none")
    spec["intervals"] = calibration.fit_intervals(calibration.calibrated(spec, logits), targets, mask, LABELS)
    low, high, n = calibration.interval_for(spec, "a", 0.5)
    assert 0.35 < low <= high < 0.65 and n == mask[:, 0].sum()
    few = {"intervals": calibration.fit_intervals(sigmoid(logits[:30]), targets[:30], mask[:30], LABELS)}
    few_low, few_high, _ = calibration.interval_for(few, "a", 0.5)
    assert few_high - few_low > high - low


def test_interval_equals_the_definition_on_a_case_worked_by_hand() -> None:
    validation = {"scores": [0.1, 0.2, 0.8, 0.9], "outcomes": [0, 1, 0, 1]}
    spec = {"intervals": {"name": "", "validation": {"a": validation}}}
    # Added at .85 as 0: outcomes 0 1 0 0 1 pool to 0, 1/3, 1/3, 1/3, 1; as 1: 0 1 0 1 1 pool to 0, 1/2, 1/2, 1, 1.
    low, high, n = calibration.interval_for(spec, "a", 0.85)
    assert (low, high, n) == (pytest.approx(1 / 3), pytest.approx(1.0), 4)


def test_intervals_do_not_decrease_with_the_probability() -> None:
    logits, targets, mask = planted(300, 1.0, np.zeros(3))
    spec = {"intervals": calibration.fit_intervals(sigmoid(logits), targets, mask, LABELS)}
    bounds = np.array([calibration.interval_for(spec, "a", p)[:2] for p in np.linspace(0.01, 0.99, 25)])
    assert (np.diff(bounds, axis=0) >= -1e-12).all() and (bounds[:, 0] <= bounds[:, 1]).all()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_ends_of_the_scale_have_an_interval(probability: float) -> None:
    logits, targets, mask = planted(300, 1.0, np.zeros(3))
    spec = {"intervals": calibration.fit_intervals(sigmoid(logits), targets, mask, LABELS)}
    low, high, n = calibration.interval_for(spec, "a", probability)
    assert 0 <= low < high <= 1 and n > 0
