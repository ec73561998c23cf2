"""Metrics of multi-label probabilities, per label and averaged, with labels that may be unknown.

Belongs here: numbers computed from scores, targets and a label mask.
Does not belong here: intervals (bootstrap.py), fitting of probabilities (calibration.py), drawing (plots.py).

Shapes everywhere: scores, targets, mask are [N, L] (study, label). ``mask`` is True where the target is
known; targets are 0/1 there and may hold anything elsewhere. A number that the data does not define is NaN,
never 0: a label without positives would otherwise drag the average down.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resources.errors import MendableError

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

ECE_BINS = 10


class MetricInputError(MendableError):
    """Scores, targets and mask do not fit together, or hold values a metric cannot rank."""


@dataclass(frozen=True)
class Macro:
    """Unweighted mean over the labels that have a value; the others are named, not averaged in."""

    value: float
    labels: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class ReliabilityBins:
    """Equal-mass bins of predicted probability, in increasing order; every array is [B]."""

    predicted: Array  # mean probability
    observed: Array  # share of positives
    n: IntArray
    positives: IntArray
    upper: Array  # upper edge, half way to the next bin; the last is 1


def check_inputs(scores: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike) -> None:
    """Raise MetricInputError unless shapes agree, known scores are finite and known targets are 0 or 1."""
    scores, targets, mask = np.asarray(scores), np.asarray(targets), np.asarray(mask)
    if not (scores.ndim == 2 and scores.shape == targets.shape == mask.shape):
        raise MetricInputError(
            f"scores {scores.shape}, targets {targets.shape} and mask {mask.shape} differ in shape; "
            "pass three [N, L] arrays of the same studies and labels"
        )
    known = mask.astype(bool)
    if not np.isfinite(scores[known]).all():
        raise MetricInputError("scores hold NaN or infinite values; the model diverged: retrain it before evaluating")
    if not np.isin(targets[known], (0, 1)).all():
        raise MetricInputError("targets hold values other than 0 and 1; mask uncertain and unknown labels first")


def sigmoid(logits: npt.ArrayLike) -> Array:
    """Probabilities of logits, any shape; does not overflow."""
    half = np.asarray(logits, dtype=np.float64) / 2
    return 0.5 * (1.0 + np.tanh(half))


def auroc(scores: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Area under the ROC curve of one label ([N], [N]); ties count one half; NaN for one class."""
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(targets).astype(bool)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    return float((_mid_ranks(values)[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def average_precision(scores: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Average precision of one label ([N], [N]): sum of recall steps times precision; NaN for one class."""
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(targets).astype(bool)
    n_pos = int(positive.sum())
    if n_pos in (0, positive.size):
        return float("nan")
    distinct, group = np.unique(-values, return_inverse=True)  # negated: highest score first
    true_pos = np.cumsum(np.bincount(group, weights=positive, minlength=distinct.size))
    predicted_pos = np.cumsum(np.bincount(group, minlength=distinct.size))
    return float(np.sum(np.diff(true_pos, prepend=0.0) * true_pos / predicted_pos) / n_pos)


def brier(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Mean squared error of one label's probabilities ([N], [N]); NaN without rows."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    return float(np.mean((p - y) ** 2)) if p.size else float("nan")


def expected_calibration_error(probabilities: npt.ArrayLike, targets: npt.ArrayLike, n_bins: int = ECE_BINS) -> float:
    """ECE of one label ([N], [N]) over equal-mass bins; NaN without rows.

    Equal mass, because most chest labels are rare: equal-width bins would hold nearly every study in the
    first.
    """
    bins = reliability_bins(probabilities, targets, n_bins)
    if bins.n.size == 0:
        return float("nan")
    return float(np.sum(bins.n * np.abs(bins.predicted - bins.observed)) / bins.n.sum())


def reliability_bins(probabilities: npt.ArrayLike, targets: npt.ArrayLike, n_bins: int = ECE_BINS) -> ReliabilityBins:
    """Group one label's ([N], [N]) predictions into at most ``n_bins`` bins of equal mass.

    Equal probabilities always share a bin, so the result does not depend on the order of rows.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if p.size == 0:
        empty, none = np.empty(0), np.empty(0, dtype=np.int64)
        return ReliabilityBins(empty, empty, none, none, empty)
    wanted = np.floor((_mid_ranks(p) - 0.5) / p.size * n_bins).astype(np.int64)
    _, index = np.unique(np.minimum(wanted, n_bins - 1), return_inverse=True)
    n = np.bincount(index)
    positives = np.bincount(index, weights=y)
    lowest, highest = np.full(n.size, np.inf), np.full(n.size, -np.inf)
    np.minimum.at(lowest, index, p)
    np.maximum.at(highest, index, p)
    upper = np.append((highest[:-1] + lowest[1:]) / 2, 1.0)
    return ReliabilityBins(
        predicted=np.bincount(index, weights=p) / n,
        observed=positives / n,
        n=n.astype(np.int64),
        positives=np.rint(positives).astype(np.int64),
        upper=upper,
    )


def per_label(
    metric: Callable[[Array, Array], float],
    scores: npt.ArrayLike,
    targets: npt.ArrayLike,
    mask: npt.ArrayLike,
) -> Array:
    """Apply a one-label metric to the known rows of every label: [N, L] x 3 -> [L]."""
    check_inputs(scores, targets, mask)
    s, y, known = np.asarray(scores, float), np.asarray(targets, float), np.asarray(mask, bool)
    return np.array([metric(s[known[:, k], k], y[known[:, k], k]) for k in range(s.shape[1])])


def both_classes(targets: npt.ArrayLike, mask: npt.ArrayLike) -> BoolArray:
    """Which labels have at least one known positive and one known negative: [N, L] x 2 -> [L]."""
    y, known = np.asarray(targets) == 1, np.asarray(mask, bool)
    return (y & known).any(axis=0) & (~y & known).any(axis=0)


def macro(values: npt.ArrayLike, labels: Sequence[str], leave_out: Sequence[str] = ()) -> Macro:
    """Mean of [L] values over labels that have one; ``leave_out`` names labels the average must not contain.

    "No Finding" is a function of the other labels, so the average is shown with and without it.
    """
    array = np.asarray(values, dtype=np.float64)
    used = tuple(name for name, v in zip(labels, array, strict=True) if np.isfinite(v) and name not in leave_out)
    chosen = [v for name, v in zip(labels, array, strict=True) if name in used]
    return Macro(
        value=float(np.mean(chosen)) if chosen else float("nan"),
        labels=used,
        left_out=tuple(name for name in labels if name not in used),
    )


def threshold_by_f1(probabilities: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike) -> Array:
    """Per label the threshold with the highest F1, half way between two neighbouring predictions: -> [L].

    To be called on the validate split. NaN for a label without both classes. A study is positive when its
    probability is at or above the threshold; of equally good thresholds the highest wins.
    """
    return per_label(_best_f1_threshold, probabilities, targets, mask)


def confusion_counts(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike, thresholds: npt.ArrayLike
) -> IntArray:
    """True and false positives, false and true negatives per label at [L] thresholds: -> [L, 4]."""
    check_inputs(probabilities, targets, mask)
    called = np.asarray(probabilities) >= np.asarray(thresholds)
    y, known = np.asarray(targets) == 1, np.asarray(mask, bool)
    cells = (called & y, called & ~y, ~called & y, ~called & ~y)
    return np.stack([(cell & known).sum(axis=0) for cell in cells], axis=1)


def rates(counts: npt.ArrayLike) -> dict[str, Array]:
    """F1, sensitivity and specificity of [L, 4] counts, each [L]; NaN where a rate has no denominator."""
    tp, fp, fn, tn = np.asarray(counts, dtype=np.float64).T
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        return {"f1": f1, "sensitivity": tp / (tp + fn), "specificity": tn / (tn + fp)}


def _mid_ranks(values: Array) -> Array:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]


def _best_f1_threshold(probabilities: Array, targets: Array) -> float:
    n_pos = float(targets.sum())
    if n_pos == 0 or n_pos == targets.size:
        return float("nan")
    distinct, group = np.unique(-probabilities, return_inverse=True)
    levels = -distinct  # decreasing
    true_pos = np.cumsum(np.bincount(group, weights=targets, minlength=levels.size))
    called = np.cumsum(np.bincount(group, minlength=levels.size))
    best = int(np.argmax(2 * true_pos / (called + n_pos)))
    below = levels[best + 1] if best + 1 < levels.size else 0.0
    return float((levels[best] + below) / 2)
