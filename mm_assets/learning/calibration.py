"""Turn logits into probabilities that mean what they say, and say how sure a single one is.

Belongs here: scaling fitted on the validate split, and the Venn-Abers interval of a single probability.
Does not belong here: thresholds and calibration error (metrics.py).

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
    sigmoid,
)

Method = Literal["none", "temperature", "temperature_per_label", "temperature_and_shift"]
METHODS: tuple[Method, ...] = get_args(Method)

# ln T is searched in this range: T from 1/20 to 20, beyond which a model is broken rather than miscalibrated.
LOG_TEMPERATURE_BOUNDS = (-3.0, 3.0)
# Prior of the shift, standard deviation in log-odds: keeps a label without validation positives finite.
SHIFT_PRIOR_SD = 3.0

INTERVAL_NAME = "Venn-Abers interval from the validation split (the probability, scaled apart, may lie outside)"


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
        raise MetricInputError(f"{n_labels} logits per study but {len(labels)} label names; pass one name per logit")
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
    """What ``interval_for`` needs: per label the validation probabilities and outcomes ([N, L] x 3), sorted.

    To be stored as ``spec["intervals"]``. Raises MetricInputError when a label has no known outcome.
    """
    check_inputs(probabilities, targets, mask)
    p, y, known = np.asarray(probabilities, float), np.asarray(targets, float), np.asarray(mask, bool)
    stored = {}
    for k, label in enumerate(labels):
        scores, outcomes = p[known[:, k], k].round(6), y[known[:, k], k]
        if not len(scores):
            raise MetricInputError(f"{label} has no known outcome on the validation split; use more studies")
        order = np.lexsort((outcomes, scores))
        stored[label] = {"scores": scores[order].tolist(), "outcomes": outcomes[order].astype(int).tolist()}
    return {"name": INTERVAL_NAME, "validation": stored}


def interval_for(spec: dict[str, Any], label: str, probability: float) -> tuple[float, float, int]:
    """Lower and upper bound for one calibrated probability, and the number of validation studies behind it.

    The two values of an isotonic regression of the validation outcomes to which this case was added once as
    negative and once as positive: wide where validation has few cases like it. It need not contain the
    probability, which the parametric scaling gives; far outside it the scaling is not to be trusted.
    Source: Vovk & Petej 2014, Venn-Abers predictors.
    """
    from sklearn.isotonic import IsotonicRegression

    stored = spec["intervals"]["validation"][label]
    scores, outcomes = [*stored["scores"], float(probability)], stored["outcomes"]
    bounds = [
        float(IsotonicRegression(y_min=0, y_max=1).fit(scores, [*outcomes, added]).predict([probability])[0])
        for added in (0, 1)
    ]
    return bounds[0], bounds[1], len(outcomes)


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
        loss = np.sum(weight * (np.logaddexp(0.0, scaled) - y * scaled)) + 0.5 * np.sum((shift / SHIFT_PRIOR_SD) ** 2)
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
