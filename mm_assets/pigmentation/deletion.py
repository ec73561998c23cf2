"""Does the attention map say where the model looks: take places away, most attended first, and watch the score.

Belongs here: the order of deletion, the curves and the gain over a random order. Does not belong here: the model (a
callable here), and drawing.

Attention that adds up to one proves nothing by itself. If it is faithful, hiding the places it points at moves the
score sooner than hiding places at random (after Petsiuk et al. 2018; Samek et al. 2017). A place is a cell of the
encoder's map in one picture; hidden means replaced by what the caller fills in.

Places of all pictures are hidden in one order. The pictures show the same lesion, so a score moves little while one of
them still shows it: that holds back the attended and the random order alike, and a map that finds the lesion in one
picture only is paid for that much. A change counts whether the score falls or rises, since a map may point at what
holds a score down; where hiding means plain skin, nearly all of it is a fall. To pass says that a map points at what
moves the score, not that nothing else does: where the score is about pigment, a map of the darkest places passes too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_assets.learning.bootstrap import draw_patients
from mm_assets.learning.metrics import Array, BoolArray, MetricInputError
from mm_assets.learning.regression_metrics import replicate_mean

# hidden [K, M, rows, columns] of one record -> scores [K] with those cells of its pictures replaced
Score = Callable[[BoolArray], npt.ArrayLike]

STEPS = 10
RANDOM_ORDERS = 5


@dataclass(frozen=True)
class DeletionCurves:
    """Absolute change of the score against the share of places hidden, of N records."""

    shares: Array  # [F] from 0 to 1
    attended: Array  # [N, F], most attended first
    random: Array  # [N, F], the mean of random orders
    patients: npt.NDArray[Any]  # [N]

    @property
    def areas(self) -> tuple[Array, Array]:
        """Area under each record's curves, attended and random, [N] each: the mean change on the way to all hidden."""
        attended, random = (np.trapezoid(y, self.shares, axis=1) for y in (self.attended, self.random))
        return np.asarray(attended), np.asarray(random)

    @property
    def gain(self) -> float:
        """Mean area of attended less random order, in units of the score. Above 0: attention points at what matters."""
        attended, random = self.areas
        return float(np.mean(attended - random))

    def gain_replicates(self, replicates: int, seed: int) -> Array:
        """``gain`` in every replicate of a bootstrap over patients, [R]."""
        attended, random = self.areas
        return replicate_mean(attended - random, draw_patients(self.patients, replicates, seed))


def curves_of_record(
    score: Score,
    attention: npt.ArrayLike,
    present: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    steps: int = STEPS,
    orders: int = RANDOM_ORDERS,
) -> tuple[Array, Array, Array]:
    """Curves of one record: shares [F], attended [F], random [F].

    ``attention`` [M, rows, columns], ``present`` bool [M]: only pictures that are there are hidden. All maskings go
    through ``score`` in one call. Raises MetricInputError where the arrays or the scores do not fit.
    """
    maps, here = np.asarray(attention, dtype=np.float64), np.asarray(present, dtype=bool)
    if maps.ndim != 3 or here.shape != maps.shape[:1] or not here.any():
        raise MetricInputError(
            f"attention {maps.shape} and presence {here.shape} must be [M, rows, columns] and [M], one picture there"
        )
    cells = np.flatnonzero(np.broadcast_to(here[:, None, None], maps.shape))
    # Equal weights (a picture that is hardly attended) are parted at random, not by their position.
    shuffled = rng.permutation(cells)
    ordered = shuffled[np.argsort(-maps.ravel()[shuffled], kind="stable")]
    counts = np.unique(np.round(np.linspace(0, cells.size, steps + 1)).astype(int))
    sequences = [ordered, *(rng.permutation(cells) for _ in range(orders))]
    hidden = np.zeros((len(sequences) * counts.size, maps.size), dtype=bool)
    for k, sequence in enumerate(sequences):
        for j, count in enumerate(counts):
            hidden[k * counts.size + j, sequence[:count]] = True
    scores = np.asarray(score(hidden.reshape(-1, *maps.shape)), dtype=np.float64)
    if scores.shape != (hidden.shape[0],) or not np.isfinite(scores).all():
        raise MetricInputError(f"{hidden.shape[0]} maskings gave scores of shape {scores.shape}, or not finite ones")
    change = np.abs(scores - scores[0]).reshape(len(sequences), counts.size)
    return counts / cells.size, change[0], change[1:].mean(axis=0)


def hide_cells(picture: npt.NDArray[np.float32], hidden: BoolArray) -> npt.NDArray[np.float32]:
    """[K, C, H, W]: a picture [C, H, W] with cells of ``hidden`` [K, rows, columns] replaced by its border's median.

    The border of a centred lesion is the subject's own skin: what is hidden looks like skin without a lesion, where
    a grey or black patch would itself be something to react to. Where a lesion fills a dermoscopy picture the border is
    lesion too, and hiding changes little, in whatever order.
    """
    height, width = picture.shape[1:]
    fill = np.median(
        np.concatenate([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], axis=1), axis=1
    )
    rows = np.arange(height) * hidden.shape[1] // height
    columns = np.arange(width) * hidden.shape[2] // width
    mask = hidden[:, rows][:, :, columns][:, None]
    return np.where(mask, fill[None, :, None, None], picture[None]).astype(np.float32)


def deletion_curves(
    records: Sequence[tuple[Score, npt.ArrayLike, npt.ArrayLike]],
    patients: npt.ArrayLike,
    *,
    seed: int = 0,
    steps: int = STEPS,
    orders: int = RANDOM_ORDERS,
) -> DeletionCurves:
    """Curves of N records, each as ``curves_of_record`` takes it, on common shares of hidden places."""
    owners = np.asarray(patients)
    if not records or owners.shape != (len(records),):
        raise MetricInputError(f"{len(records)} records with {owners.size} patients; pass one each, at least one")
    shares = np.linspace(0, 1, steps + 1)
    attended, random = [], []
    for k, (score, attention, present) in enumerate(records):
        rng = np.random.default_rng([seed, k])
        x, first, second = curves_of_record(score, attention, present, rng, steps=steps, orders=orders)
        attended.append(np.interp(shares, x, first))
        random.append(np.interp(shares, x, second))
    return DeletionCurves(shares, np.stack(attended), np.stack(random), owners)
