"""Whether the class of a film can be told from its grey levels alone, without looking at what it shows.

Belongs here: statistics of a whole film, the measured accuracy of guessing the class from them, and how far two sets of
films differ in them. Does not belong here: judging these numbers (the wing's checks), models that see the film.

A generator or a hospital that exposes one class differently teaches a model the exposure instead of the disease. These
statistics are what such a shortcut would feed on; they forget where anything lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
_BINS = 16
STATISTICS: tuple[str, ...] = (
    "mean", "deviation", "skewness", "kurtosis", "entropy",
    *(f"percentile_{share}" for share in _PERCENTILES),
    *(f"share_{number}" for number in range(_BINS)),
)  # fmt: skip


@dataclass(frozen=True)
class StatisticsAudit:
    """Accuracy of guessing a class, each film by a model that has not seen it.

    chance: of always naming the commonest class; standard_error: of an accuracy by chance on so many films.
    """

    films: int
    logistic: float
    boosting: float
    chance: float
    standard_error: float

    @property
    def best(self) -> float:
        """The higher of the two accuracies."""
        return max(self.logistic, self.boosting)

    @property
    def above_chance(self) -> float:
        """How many standard errors the best accuracy lies above chance."""
        return (self.best - self.chance) / self.standard_error


def intensity_statistics(pixels: np.ndarray) -> np.ndarray:
    """STATISTICS of a film, uint8 [H, W]: float32 [30], all from its histogram."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(np.float64)
    shares = counts / counts.sum()
    levels = np.arange(256)
    mean = float((shares * levels).sum())
    deviation = max(float(np.sqrt((shares * (levels - mean) ** 2).sum())), 1e-6)
    scaled = (levels - mean) / deviation
    filled = shares[shares > 0]
    percentiles = np.searchsorted(np.cumsum(shares), np.array(_PERCENTILES) / 100)
    return np.array(
        [
            mean,
            deviation,
            float((shares * scaled**3).sum()),
            float((shares * scaled**4).sum()),
            float(-(filled * np.log2(filled)).sum()),
            *percentiles,
            *shares.reshape(_BINS, -1).sum(axis=1),
        ],
        dtype=np.float32,
    )


def class_from_statistics(
    statistics: np.ndarray, labels: Sequence[int] | np.ndarray, *, folds: int = 5, seed: int = 0
) -> StatisticsAudit:
    """Guess labels [N] from statistics [N, S] by logistic regression and by gradient boosting, cross-validated.

    Raises ValueError when a class has fewer films than there are folds.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    truth = np.asarray(labels)
    counts = np.bincount(truth)
    if counts[counts > 0].min() < folds:
        raise ValueError(f"every class needs at least {folds} films to guess it in {folds} folds")
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    models = (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)),
        HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, learning_rate=0.05, random_state=seed),
    )
    logistic, boosting = (
        float((cross_val_predict(model, statistics, truth, cv=parts) == truth).mean()) for model in models
    )
    chance = float(counts.max() / len(truth))
    return StatisticsAudit(len(truth), logistic, boosting, chance, float(np.sqrt(chance * (1 - chance) / len(truth))))


def exposure_gap(statistics: np.ndarray, others: np.ndarray) -> float:
    """How much darker (above 0) the films with `others` [M, S] are than those with `statistics` [N, S]: the difference
    of their mean grey levels, in standard deviations of films of one set. Both need two films at least."""
    ours, theirs = statistics[:, 0].astype(np.float64), others[:, 0].astype(np.float64)
    spread = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 2)
    return float((ours.mean() - theirs.mean()) / max(spread, 1e-6))
