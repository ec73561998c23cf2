"""Split-conformal intervals of a predicted score: how far truth lay from prediction on records held out of training.

Belongs here: fitting on validate, the interval of one prediction, coverage. Does not belong here: what a record is.

The half width is an order statistic of the validate errors with the finite-sample correction, so that a new record
exchangeable with them is covered with at least the stated probability (Papadopoulos et al. 2002; Lei et al. 2018).
Records of one patient, and validate having chosen the checkpoint, make the promise approximate: coverage on test is
reported beside it. Where the model predicts a spread, errors are measured in spreads, and the interval widens with it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_assets.learning.metrics import Array, BoolArray, MetricInputError

LEVEL = 0.9
# A predicted spread below this (on the scale of scores) counts as this: errors are divided by it.
LEAST_SIGMA = 1e-3


@dataclass(frozen=True)
class Conformal:
    """A fitted interval: ``prediction -+ quantile`` or, ``scaled``, ``prediction -+ quantile x sigma``, within [0, 1].

    ``quantile`` is None where too few records were held out for the level: the interval is then the whole scale.
    """

    level: float
    scaled: bool
    n: int  # records it was fitted on
    quantile: float | None

    @property
    def name(self) -> str:
        """How the interval is called beside a number."""
        spread = ", scaled by the predicted spread" if self.scaled else ""
        return f"{self.level:.0%} split-conformal interval from {self.n} validation records{spread}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, as a bundle keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Conformal":
        """The reverse of ``as_json``; raises MetricInputError where a key is missing or of another type."""
        try:
            quantile = stored["quantile"]
            return cls(
                level=float(stored["level"]),
                scaled=bool(stored["scaled"]),
                n=int(stored["n"]),
                quantile=None if quantile is None else float(quantile),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MetricInputError(
                f"the stored interval cannot be read ({error!r}); evaluate and release the model again"
            ) from error

    def bounds(self, scores: npt.ArrayLike, sigmas: npt.ArrayLike | None = None) -> tuple[Array, Array]:
        """Lower and upper bounds of [N] scores, within [0, 1]. Raises MetricInputError where a spread is missing."""
        centre = np.asarray(scores, dtype=np.float64)
        width = np.inf if self.quantile is None else self.quantile
        half = width * _sigma(sigmas, centre) if self.scaled else np.full_like(centre, width)
        return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)

    def interval(self, score: float, sigma: float | None = None) -> tuple[float, float]:
        """The bounds of one score."""
        low, high = self.bounds([score], None if sigma is None else [sigma])
        return float(low[0]), float(high[0])

    def covered(self, truth: npt.ArrayLike, scores: npt.ArrayLike, sigmas: npt.ArrayLike | None = None) -> BoolArray:
        """Which of [N] truths lie within their intervals, bounds included."""
        low, high = self.bounds(scores, sigmas)
        y = np.asarray(truth, dtype=np.float64)
        return (low <= y) & (y <= high)


def fit_conformal(
    truth: npt.ArrayLike, scores: npt.ArrayLike, sigmas: npt.ArrayLike | None = None, level: float = LEVEL
) -> Conformal:
    """Fit on held-out records ([N] each); with ``sigmas`` the interval is scaled by them.

    Raises MetricInputError for shapes that differ, values that are not finite, or a level outside (0, 1).
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if not 0 < level < 1:
        raise MetricInputError(f"a coverage of {level} was asked for; take one between 0 and 1, such as 0.9")
    if y.ndim != 1 or y.shape != p.shape:
        raise MetricInputError(f"truth {y.shape} and prediction {p.shape} must be two [N] arrays of the same records")
    errors = np.abs(y - p)
    if sigmas is not None:
        errors = errors / _sigma(sigmas, p)
    if not np.isfinite(errors).all():
        raise MetricInputError("scores or spreads hold values that are not finite; the model diverged: train it again")
    # The product is rounded, so that (n + 1) x 0.9 = 9.000000000000002 does not ask for the tenth of nine errors.
    rank = math.ceil(round((y.size + 1) * level, 9))
    quantile = float(np.sort(errors)[rank - 1]) if rank <= y.size else None
    return Conformal(level=level, scaled=sigmas is not None, n=int(y.size), quantile=quantile)


def _sigma(sigmas: npt.ArrayLike | None, scores: Array) -> Array:
    if sigmas is None:
        raise MetricInputError("this interval is scaled by the predicted spread; pass the spread of every score")
    sigma = np.asarray(sigmas, dtype=np.float64)
    if sigma.shape != scores.shape:
        raise MetricInputError(f"{sigma.size} spreads for {scores.size} scores; pass one each")
    return np.maximum(sigma, LEAST_SIGMA)
