"""How well predicted scores agree with measured ones: errors, agreement of two raters, and patient bootstrap of both.

Belongs here: numbers of a truth [N] and a prediction [N], over all rows and over weighted rows.
Does not belong here: the choice of what to compare (a wing's evaluation), intervals that a prediction carries
(conformal.py).

All but the rank correlation are functions of a few sums over rows. A replicate of the patient bootstrap weighs
those sums, so one formula serves the estimate and every replicate, and a replicate costs a matrix product.
A number that the data does not define is NaN, never 0.

Sources: Shrout & Fleiss 1979 (ICC(2,1): two-way random effects, absolute agreement, single rater), Bland & Altman
1986 (bias and limits of agreement), Cohen 1968 (weighted kappa; here quadratic).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mm_assets.learning.bootstrap import Resamples
from mm_assets.learning.metrics import Array, MetricInputError

# Standard deviations on either side of the bias between which 95 % of differences lie.
LIMITS_SD = 1.96
# Rows times replicates handled together where ranks are needed: working arrays of 1.6 MB stay in the cache.
BLOCK_CELLS = 200_000
# A spread below this share of its terms is rounding, not spread.
ROUNDING = 1e-12

METRICS = (
    "mae", "mse", "rmse", "r2", "icc", "bias", "difference_sd", "limits_low", "limits_high", "kappa", "spearman",
)  # fmt: skip


def spearman(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Rank correlation, ties sharing their mean rank; NaN where either side is constant."""
    y, p = _pairs(truth, predicted)
    return float(_weighted_spearman(y, p, np.ones((y.size, 1)))[0]) if y.size else float("nan")


def agreement(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    true_rank: npt.ArrayLike | None = None,
    predicted_rank: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Every name of METRICS over all rows; kappa is NaN without ranks, everything is NaN without rows.

    Raises MetricInputError on arrays that differ in shape or hold values that are not finite.
    """
    y, p = _pairs(truth, predicted)
    found = _from_sums(_columns(y, p, *_ranks(y, true_rank, predicted_rank)).sum(axis=1))
    return _ordered({**found, "spearman": spearman(y, p)}, ranked=true_rank is not None)


def replicate_agreement(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    resamples: Resamples,
    true_rank: npt.ArrayLike | None = None,
    predicted_rank: npt.ArrayLike | None = None,
) -> dict[str, Array]:
    """``agreement`` of every replicate, each [R]. Equal to repeating rows as often as drawn and recomputing."""
    y, p = _pairs(truth, predicted)
    columns = _columns(y, p, *_ranks(y, true_rank, predicted_rank))
    found = _from_sums(_sums(columns, resamples) @ resamples.draws)
    correlation = _replicate_spearman(y, p, resamples)
    return _ordered({**found, "spearman": correlation}, ranked=true_rank is not None)


def replicate_mean(values: npt.ArrayLike, resamples: Resamples) -> Array:
    """Mean of [N] values in every replicate: [R]; NaN where a replicate drew none of the rows."""
    array = np.asarray(values, dtype=np.float64)
    total, count = _sums(np.stack([array, np.ones_like(array)]), resamples) @ resamples.draws
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _pairs(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Array, Array]:
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape:
        raise MetricInputError(f"truth {y.shape} and prediction {p.shape} must be two [N] arrays of the same records")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise MetricInputError(
            "truth or prediction holds values that are not finite; leave out unlabelled records, and train a model "
            "that diverged again"
        )
    return y, p


def _ranks(truth: Array, true_rank: npt.ArrayLike | None, predicted_rank: npt.ArrayLike | None) -> tuple[Array, Array]:
    if true_rank is None or predicted_rank is None:
        return np.zeros_like(truth), np.zeros_like(truth)
    ranks = np.asarray(true_rank, float), np.asarray(predicted_rank, float)
    if any(r.shape != truth.shape for r in ranks):
        raise MetricInputError(f"ranks have {ranks[0].size} and {ranks[1].size} rows, not {truth.size}")
    return ranks


def _columns(truth: Array, predicted: Array, true_rank: Array, predicted_rank: Array) -> Array:
    """What is summed over rows, [13, N]. Centred once, so that variances are not differences of large numbers."""
    centre = float(np.mean(truth)) if truth.size else 0.0
    y, p, difference = truth - centre, predicted - centre, np.asarray(predicted - truth, float)
    a, b = np.asarray(true_rank, float), np.asarray(predicted_rank, float)
    return np.stack(
        [
            np.ones_like(difference), np.abs(difference), difference, difference**2,
            y, p, y**2, p**2, y * p,
            a, b, a**2 + b**2, (a - b) ** 2,
        ]
    )  # fmt: skip


def _from_sums(sums: Array) -> dict[str, Array]:
    """The metrics from sums over rows ([13] or [13, R])."""
    n, absolute, d, dd, y, p, yy, pp, yp, a, b, rank_squares, rank_differences = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = np.maximum(dd - d * d / n, 0.0) / (n - 1)
        error, columns = residual / 2, (y - p) ** 2 / (2 * n)
        rows = ((yy + 2 * yp + pp) / 2 - (y + p) ** 2 / (2 * n)) / (n - 1)
        bias, sd = d / n, np.sqrt(residual)
        found = {
            "mae": absolute / n,
            "mse": dd / n,
            "rmse": np.sqrt(dd / n),
            "r2": 1 - dd / _spread(yy - y * y / n, yy),
            "icc": (rows - error) / _spread(rows + error + 2 / n * (columns - error), (yy + pp) / n),
            "bias": bias,
            "difference_sd": sd,
            "limits_low": bias - LIMITS_SD * sd,
            "limits_high": bias + LIMITS_SD * sd,
            "kappa": 1 - rank_differences / _spread(rank_squares - 2 * a * b / n, rank_squares),
        }
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in found.items()}


def _spread(value: Array, scale: Array) -> Array:
    """``value`` where it is more than rounding of its terms; NaN where it is not."""
    return np.where(value > ROUNDING * scale, value, np.nan)


def _ordered(found: dict[str, Any], ranked: bool) -> dict[str, Any]:
    """By METRICS, floats for numbers; kappa only where ranks were given."""
    if not ranked:
        found["kappa"] = np.full_like(found["mae"], np.nan)
    return {name: found[name] if np.ndim(found[name]) else float(found[name]) for name in METRICS}


def _sums(columns: Array, resamples: Resamples) -> Array:
    """Columns [K, N] summed over the rows of each patient: [K, P]."""
    patients = resamples.draws.shape[0]
    if resamples.row_patient.size != columns.shape[1]:
        raise MetricInputError(
            f"{columns.shape[1]} rows of scores but {resamples.row_patient.size} patient ids; pass one per row"
        )
    return np.stack([np.bincount(resamples.row_patient, weights=c, minlength=patients) for c in columns])


def _replicate_spearman(truth: Array, predicted: Array, resamples: Resamples) -> Array:
    replicates = resamples.draws.shape[1]
    values = np.full(replicates, np.nan)
    if truth.size == 0:
        return values
    length = max(1, BLOCK_CELLS // truth.size)
    for start in range(0, replicates, length):
        block = slice(start, start + length)
        values[block] = _weighted_spearman(truth, predicted, resamples.draws[resamples.row_patient, block])
    return values


def _weighted_spearman(truth: Array, predicted: Array, weights: Array) -> Array:
    """Rank correlation for every column of ``weights`` [N, R], whole numbers: how often a row counts. [R]."""
    n = weights.sum(axis=0)
    a, b = (_centred_ranks(values, weights, n) for values in (truth, predicted))
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.einsum("nr,nr,nr->r", weights, a, a) * np.einsum("nr,nr,nr->r", weights, b, b)
        return np.where(squares > 0, np.einsum("nr,nr,nr->r", weights, a, b) / np.sqrt(squares), np.nan)


def _centred_ranks(values: Array, weights: Array, n: Array) -> Array:
    """Mean rank of each row among the repeated rows, less the mean of all ranks: [N, R]; exact in halves."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.add.reduceat(weights[order], first, axis=0)
    ranks = np.cumsum(counts, axis=0) - (counts - 1) / 2 - (n + 1) / 2
    group = np.empty(values.size, dtype=np.int64)
    group[order] = np.repeat(np.arange(first.size), np.diff(np.append(first, values.size)))
    return ranks[group]
