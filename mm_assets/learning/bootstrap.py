"""Patient-cluster bootstrap intervals of AUROC and average precision, for all replicates at once.

Belongs here: drawing patients, weighted metrics per replicate, intervals of what comes out.
Does not belong here: point estimates (metrics.py) and the choice of what to compare (a wing's evaluation).

Studies of one patient resemble each other, so patients are drawn, not studies (Field & Welsh 2007). A
replicate is a weight per patient - how often it was drawn - which leaves the ranking of the scores untouched:
scores are sorted once per label, and every replicate is a weighted cumulative sum along that order. The sums
are sparse matrix products with the [P, R] draws, so time grows with N x R and not with a sort per replicate.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mm_assets.learning.metrics import Array, IntArray, MetricInputError, check_inputs

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Rows times replicates handled together. Long blocks are fast (each sparse entry adds one contiguous run of
# replicates); this bound holds a working array, [positives, replicates] of float64, at 24 MB.
BLOCK_CELLS = 3_000_000


@dataclass(frozen=True)
class Resamples:
    """How often each patient was drawn in each replicate."""

    row_patient: IntArray  # [N] index of the row's patient
    draws: Array  # [P, R] whole numbers; every column sums to P


@dataclass(frozen=True)
class Replicates:
    """Metrics per replicate and label, [R, L]; NaN where a replicate drew one class only."""

    auroc: Array
    average_precision: Array


@dataclass(frozen=True)
class Interval:
    """Percentile interval; ``n_undefined`` replicates had no value and were left out."""

    low: float
    high: float
    n_undefined: int


@dataclass(frozen=True)
class _RankedLabel:
    """One label's rows in order of decreasing score, as sums over patients: U distinct positive scores."""

    column: int
    positives: "csr_array"  # [U, P] positives at each score
    negatives: "csr_array"  # [U, P] negatives first called positive when the threshold reaches each score
    tied: "csr_array"  # [U, P] negatives with exactly that score
    all_negatives: Array  # [P]


def draw_patients(patients: npt.ArrayLike, replicates: int, seed: int) -> Resamples:
    """Draw P patients with replacement, ``replicates`` times, from the P distinct ids in ``patients`` [N].

    Depends on the set of ids, ``replicates`` and ``seed`` only, not on the order of rows.
    """
    distinct, row_patient = np.unique(np.asarray(patients), return_inverse=True)
    n = distinct.size
    if n == 0 or replicates < 1:
        raise MetricInputError("nothing to resample: pass at least one patient and ask for at least one replicate")
    drawn = np.random.default_rng([seed, n]).integers(0, n, size=(replicates, n))
    flat = drawn + np.arange(replicates)[:, None] * n
    draws = np.bincount(flat.ravel(), minlength=replicates * n).reshape(replicates, n).T
    return Resamples(row_patient=row_patient.astype(np.int64), draws=np.ascontiguousarray(draws, dtype=np.float64))


def take_rows(resamples: Resamples, rows: npt.ArrayLike) -> Resamples:
    """The same draws for a part of the rows (boolean [N] or indices), so that a subgroup stays paired."""
    return Resamples(row_patient=resamples.row_patient[np.asarray(rows)], draws=resamples.draws)


def replicate_metrics(
    scores: npt.ArrayLike, targets: npt.ArrayLike, mask: npt.ArrayLike, resamples: Resamples
) -> Replicates:
    """AUROC and average precision of every replicate and label: [N, L] x 3 -> [R, L] x 2.

    Equal to resampling rows and recomputing (ties included). Raises MetricInputError on misfit inputs.
    """
    check_inputs(scores, targets, mask)
    s, y, known = np.asarray(scores, float), np.asarray(targets) == 1, np.asarray(mask, bool)
    n_patients, n_replicates = resamples.draws.shape
    if resamples.row_patient.size != s.shape[0]:
        raise MetricInputError(
            f"{s.shape[0]} rows of scores but {resamples.row_patient.size} patient ids; pass one per row"
        )
    ranked = []
    for column in range(s.shape[1]):
        rows = np.flatnonzero(known[:, column])
        positive = y[rows, column]
        if positive.any() and not positive.all():
            ranked.append(_rank(column, s[rows, column], positive, resamples.row_patient[rows], n_patients))
    area = np.full((n_replicates, s.shape[1]), np.nan)
    precision = np.full((n_replicates, s.shape[1]), np.nan)
    length = max(1, BLOCK_CELLS // max(1, s.shape[0]))
    for start in range(0, n_replicates, length):
        block = slice(start, start + length)
        draws = np.ascontiguousarray(resamples.draws[:, block])
        for label in ranked:
            area[block, label.column], precision[block, label.column] = _weighted(label, draws)
    return Replicates(auroc=area, average_precision=precision)


def mean_over_labels(values: Array, use: npt.ArrayLike) -> Array:
    """Macro average per replicate, [R, L] -> [R], over the labels of boolean ``use`` [L].

    A label that a replicate lost (no positive drawn) is left out of that replicate's mean; a replicate
    without any label is NaN.
    """
    chosen = values[:, np.asarray(use, bool)]
    defined = np.isfinite(chosen)
    count = defined.sum(axis=1)
    total = np.where(defined, chosen, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def percentile_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Percentile interval of [R] replicates; NaN bounds when fewer than half of them have a value.

    Below half, the replicates that kept the label are a selected sample, and their spread would mislead.
    """
    array = np.asarray(values, dtype=np.float64)
    defined = array[np.isfinite(array)]
    n_undefined = int(array.size - defined.size)
    if defined.size == 0 or n_undefined > array.size / 2:
        return Interval(float("nan"), float("nan"), n_undefined)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), n_undefined)


def _rank(
    column: int, scores: Array, positive: npt.NDArray[np.bool_], patient: IntArray, n_patients: int
) -> _RankedLabel:
    from scipy.sparse import csr_array

    levels = np.unique(scores[positive])[::-1]
    # Number of positive scores strictly above: the first level whose threshold lets the row in.
    row = levels.size - np.searchsorted(levels[::-1], scores, side="right")
    shape = (levels.size, n_patients)

    def summed(chosen: npt.NDArray[np.bool_]) -> "csr_array":
        ones = np.ones(int(chosen.sum()))
        return csr_array((ones, (row[chosen], patient[chosen])), shape=shape)

    above_lowest = row < levels.size
    tied = ~positive & above_lowest
    tied[tied] = levels[row[tied]] == scores[tied]
    return _RankedLabel(
        column=column,
        # A positive's own level is the first at or below its score.
        positives=summed(positive),
        negatives=summed(~positive & above_lowest),
        tied=summed(tied),
        all_negatives=np.bincount(patient[~positive], minlength=n_patients).astype(np.float64),
    )


def _weighted(label: _RankedLabel, draws: Array) -> tuple[Array, Array]:
    """AUROC and average precision for a block of draws [P, B]: two [B]."""
    positives = label.positives @ draws
    false_pos = label.negatives @ draws
    np.cumsum(false_pos, axis=0, out=false_pos)
    true_pos = np.cumsum(positives, axis=0)
    n_pos, n_neg = true_pos[-1].copy(), label.all_negatives @ draws  # true_pos is reused below
    outranked = n_pos * n_neg - np.einsum("ub,ub->b", positives, false_pos)
    if label.tied.nnz:
        outranked += 0.5 * np.einsum("ub,ub->b", positives, label.tied @ draws)
    called = np.maximum(np.add(false_pos, true_pos, out=false_pos), 1.0)  # 0 only where no positive was drawn either
    precision = np.divide(true_pos, called, out=true_pos)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = np.where(n_pos * n_neg > 0, outranked / (n_pos * n_neg), np.nan)
        average = np.einsum("ub,ub->b", positives, precision) / n_pos
    return area, np.where(n_pos * n_neg > 0, average, np.nan)
