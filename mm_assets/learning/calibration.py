"""Turn logits into probabilities that mean what they say, and say how sure a single one is.

Belongs here: scaling fitted on the validate split, and the interval of the validation bin a prediction falls
into. Does not belong here: thresholds and calibration error (metrics.py).

A fitted model is a JSON object, so that it can travel inside a model bundle:
``{"method", "labels", "temperature": {label: T}, "shift": {label: s}, "intervals": {...}}``,
probability = sigmoid(logit / T + s).

Source: Guo et al. 2017, On Calibration of Modern Neural Networks (temperature); the shift is Platt's
intercept.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from mm_assets.learning.metrics import (
    Array,
    BoolArray,
    MetricInputError,
    check_inputs,
    reliability_bins,
    sigmoid,
)

Method = Literal["none", "temperature", "temperature_per_label", "temperature_and_shift"]
METHODS: tuple[Method, ...] = get_args(Method)

# ln T is searched in this range: T from 1/20 to 20, beyond which a model is broken rather than miscalibrated.
LOG_TEMPERATURE_BOUNDS = (-3.0, 3.0)
# Prior of the shift, standard deviation in log-odds: keeps a label without validation positives finite.
SHIFT_PRIOR_SD = 3.0

INTERVAL_LEVEL = 0.95
INTERVAL_NAME = "95 % Jeffreys interval of the observed frequency in the validation bin of this probability"
LABEL_BIN_ROWS, LABEL_BINS_AT_MOST = 40, 10
POOLED_BIN_ROWS, POOLED_BINS_AT_MOST = 100, 20
# A label's own bin is used when it holds this many positives, otherwise the bin of all labels together.
BIN_MIN_POSITIVES = 5


def fit_scaling(
    logits: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike, labels: Sequence[str], method: Method
) -> dict[str, Any]:
    """Minimise the masked negative log-likelihood on validate ([N, L] x 3) and return the scaling as JSON.

    ``temperature``: one T for the model. ``temperature_per_label``: one T each. ``temperature_and_shift``:
    one T for the model and a shift per label, which undoes the prior that a weighted loss (pos_weight) builds
    in and a temperature alone cannot. ``none``: T = 1. A label that is masked throughout keeps T = 1 and
    shift 0.
    """
    check_inputs(logits, targets, mask)
    z, y, known = np.asarray(logits, float), np.asarray(targets, float), np.asarray(mask, bool)
    n_labels = z.shape[1]
    if n_labels != len(labels):
        raise MetricInputError(
            f"{n_labels} logits per study but {len(labels)} label names; pass one name per logit"
        )
    temperature, shift = np.ones(n_labels), np.zeros(n_labels)
    if not known.any():
        raise MetricInputError("no known label on validate; calibrate on a split that has labels")
    if method == "temperature":
        temperature[:] = _best_temperature(z[known], y[known])
    elif method == "temperature_per_label":
        for k in np.flatnonzero(known.any(axis=0)):
            temperature[k] = _best_temperature(z[known[:, k], k], y[known[:, k], k])
    elif method == "temperature_and_shift":
        temperature[:], shift = _best_temperature_and_shift(z, y, known)
    elif method != "none":
        raise MetricInputError(f"unknown calibration method {method!r}; choose one of {', '.join(METHODS)}")
    return {
        "method": method,
        "labels": list(labels),
        "temperature": dict(zip(labels, temperature.tolist(), strict=True)),
        "shift": dict(zip(labels, shift.tolist(), strict=True)),
    }


def calibrated(spec: dict[str, Any], logits: npt.ArrayLike) -> Array:
    """Probabilities of logits [..., L], columns in the order of ``spec["labels"]``."""
    temperature = np.array([spec["temperature"][label] for label in spec["labels"]])
    shift = np.array([spec["shift"][label] for label in spec["labels"]])
    return sigmoid(np.asarray(logits, dtype=np.float64) / temperature + shift)


def fit_intervals(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike, labels: Sequence[str]
) -> dict[str, Any]:
    """Bins of calibrated validation probabilities ([N, L] x 3) with the interval of each frequency.

    To be stored as ``spec["intervals"]``. Studies of one patient count as independent here, so the intervals
    are slightly narrow where patients have several studies.
    """
    check_inputs(probabilities, targets, mask)
    p, y, known = np.asarray(probabilities, float), np.asarray(targets, float), np.asarray(mask, bool)
    return {
        "name": INTERVAL_NAME,
        "min_positives": BIN_MIN_POSITIVES,
        "bins": {
            label: _bins(p[known[:, k], k], y[known[:, k], k], LABEL_BIN_ROWS, LABEL_BINS_AT_MOST)
            for k, label in enumerate(labels)
        },
        "pooled": _bins(p[known], y[known], POOLED_BIN_ROWS, POOLED_BINS_AT_MOST),
    }


def bin_for(spec: dict[str, Any], label: str, probability: float) -> dict[str, Any]:
    """The validation bin behind one calibrated probability.

    ``{"upper", "n", "positives", "low", "high", "pooled"}``; ``pooled`` says that the label's own bin had
    fewer than ``min_positives`` positives, so that the bin of all labels together speaks for it.
    """
    intervals = spec["intervals"]
    own = _find(intervals["bins"][label], probability)
    if own is not None and own["positives"] >= intervals["min_positives"]:
        return {**own, "pooled": False}
    pooled = _find(intervals["pooled"], probability)
    if pooled is None:
        raise MetricInputError(
            "the calibration holds no validation bin; fit the intervals on a split with labels"
        )
    return {**pooled, "pooled": True}


def interval_for(spec: dict[str, Any], label: str, probability: float) -> tuple[float, float, int]:
    """(low, high, n): how often the finding was present in the n validation studies of this bin."""
    found = bin_for(spec, label, probability)
    return found["low"], found["high"], found["n"]


def negative_log_likelihood(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean binary cross-entropy of logits, any shape, computed without overflow."""
    z = np.asarray(logits, dtype=np.float64)
    return float(np.mean(np.logaddexp(0.0, z) - np.asarray(targets, dtype=np.float64) * z))


def _best_temperature(logits: Array, targets: Array) -> float:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits * np.exp(-log_t), targets),
        bounds=LOG_TEMPERATURE_BOUNDS,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def _best_temperature_and_shift(logits: Array, targets: Array, known: BoolArray) -> tuple[float, Array]:
    from scipy.optimize import minimize

    z, weight = np.where(known, logits, 0.0), known.astype(np.float64)
    y = np.where(known, targets, 0.0)

    def loss_and_gradient(parameters: Array) -> tuple[float, Array]:
        inverse, shift = np.exp(-parameters[0]), parameters[1:]
        scaled = z * inverse + shift
        loss = np.sum(weight * (np.logaddexp(0.0, scaled) - y * scaled)) + 0.5 * np.sum(
            (shift / SHIFT_PRIOR_SD) ** 2
        )
        error = weight * (sigmoid(scaled) - y)
        slope = -inverse * np.sum(error * z)
        return float(loss), np.concatenate([[slope], error.sum(axis=0) + shift / SHIFT_PRIOR_SD**2])

    n_labels = z.shape[1]
    found = minimize(
        loss_and_gradient,
        np.zeros(1 + n_labels),
        jac=True,
        method="L-BFGS-B",
        bounds=[LOG_TEMPERATURE_BOUNDS] + [(None, None)] * n_labels,
    )
    return float(np.exp(found.x[0])), np.asarray(found.x[1:], dtype=np.float64)


def _bins(
    probabilities: Array, targets: Array, rows_per_bin: int, at_most: int
) -> list[dict[str, float | int]]:
    from scipy.stats import beta

    n_bins = int(np.clip(probabilities.size // rows_per_bin, 1, at_most))
    bins = reliability_bins(probabilities, targets, n_bins)
    tail = (1 - INTERVAL_LEVEL) / 2
    rows = []
    for upper, n, positives in zip(
        bins.upper.tolist(), bins.n.tolist(), bins.positives.tolist(), strict=True
    ):
        # Jeffreys: equal-tailed Beta(x + 1/2, n - x + 1/2), with the bound at 0 or 1 when none or all are
        # positive (Brown, Cai & DasGupta 2001).
        low = 0.0 if positives == 0 else float(beta.ppf(tail, positives + 0.5, n - positives + 0.5))
        high = 1.0 if positives == n else float(beta.ppf(1 - tail, positives + 0.5, n - positives + 0.5))
        rows.append({"upper": upper, "n": n, "positives": positives, "low": low, "high": high})
    return rows


def _find(bins: list[dict[str, Any]], probability: float) -> dict[str, Any] | None:
    return next((row for row in bins if probability <= row["upper"]), None)
