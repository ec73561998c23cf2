"""The law that records are drawn from: how classes show in features and on films.

Belongs here: the numbers of both designs, and features drawn from them. Does not belong here: who holds which record
(`cohort.py`), what accuracy the law allows (`mm_assets/cloud_vision/ceilings.py`).

Given its class, a record's film pattern is drawn from a row of `patterns`, and its ten features from a normal
distribution around a row of `means`; the two are independent. Two designs:

- `complementary` (the default): the film tells Normal from the two diseases, which look almost alike on it;
  organisation 2's features tell COVID-19 from the other two. So the film separates Normal from viral pneumonia, the
  table COVID-19 from viral pneumonia, and nobody alone can name all three. Organisation 3's features help its film a
  little, and both organisations' features share a nuisance that only the two together can take out.
- `separable`: each class has a pattern and features of its own (COVID-19: strongly positive first three features,
  negative others; Normal: near zero first, positive middle; viral pneumonia: negative first, high last), so that each
  party alone knows the answer.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mm_assets.cloud_vision.schema import CLASSES, FEATURES, PATTERNS

Design = Literal["complementary", "separable"]
DESIGNS: tuple[str, ...] = get_args(Design)
DEFAULT_DIFFICULTY = 0.5

# Rows: classes; columns: patterns.
_FILM = {
    "complementary": ((0.06, 0.49, 0.45), (0.90, 0.05, 0.05), (0.06, 0.45, 0.49)),
    "separable": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
}
# Rows: classes; columns: f0 to f9.
_MEANS = {
    "complementary": (
        (2.2, 1.7, -1.3, 0.0, 0.0, 0.9, 0.6, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.6, 0.0, 0.0, 0.0),
    ),
    "separable": (
        (2.0, 2.0, 2.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0),
        (0.0, 0.0, 0.0, 1.5, 1.5, 1.5, 1.5, 0.0, 0.0, 0.0),
        (-1.5, -1.5, -1.5, 0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0),
    ),
}
# How far each feature follows the shared nuisance, such as a patient's age; f8 follows almost nothing else.
_NUISANCE = {
    "complementary": (0.9, 0.7, -0.5, 0.3, 0.0, 0.5, 0.0, 0.0, 1.5, 0.0),
    "separable": (0.0,) * 10,
}
_PRIOR = (1 / 3, 1 / 3, 1 / 3)
_SHIFTED_PRIOR = (0.15, 0.60, 0.25)


@dataclass(frozen=True, eq=False)
class PlantedLaw:
    """patterns: [classes, patterns], rows add up to 1; means: [classes, features]; covariance: [features, features];
    prior and shifted_prior: [classes]; contrast: of lesions on films, 1 is clear to see."""

    patterns: np.ndarray
    means: np.ndarray
    covariance: np.ndarray
    prior: np.ndarray
    shifted_prior: np.ndarray
    contrast: float

    def __post_init__(self) -> None:
        classes, features = len(CLASSES), len(FEATURES)
        assert self.patterns.shape == (classes, len(PATTERNS)) and self.means.shape == (classes, features)
        assert self.covariance.shape == (features, features)


def planted_law(design: Design = "complementary", difficulty: float = DEFAULT_DIFFICULTY) -> PlantedLaw:
    """The law of a design. difficulty, 0 to 1: noise of the features has standard deviation .6 + .8 x difficulty
    (.5 in `separable` at 0), and lesions on films the contrast 1.3 - .8 x difficulty.

    Raises ValueError for another design, or a difficulty outside 0 to 1.
    """
    if design not in DESIGNS:
        raise ValueError(f"there is no design {design!r}: choose one of {', '.join(DESIGNS)}")
    if not 0.0 <= difficulty <= 1.0:
        raise ValueError(f"difficulty must lie between 0 and 1, not {difficulty}")
    nuisance = np.array(_NUISANCE[design])
    spread = (0.6 if design == "complementary" else 0.5) + 0.8 * difficulty
    return PlantedLaw(
        patterns=np.array(_FILM[design]),
        means=np.array(_MEANS[design]),
        covariance=np.outer(nuisance, nuisance) + spread**2 * np.eye(len(FEATURES)),
        prior=np.array(_PRIOR),
        shifted_prior=np.array(_SHIFTED_PRIOR),
        contrast=1.3 - 0.8 * difficulty,
    )


def draw_features(law: PlantedLaw, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Features [N, 10] of records with labels [N]."""
    # Added up without BLAS, whose last digit depends on the number of threads.
    noise = rng.standard_normal((len(labels), len(FEATURES)))
    lower = np.linalg.cholesky(law.covariance)
    correlated = (noise[:, None, :] * lower[None, :, :]).sum(axis=2)
    features: np.ndarray = law.means[labels] + correlated
    return features


def draw_patterns(law: PlantedLaw, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places in PATTERNS [N] of records with labels [N]."""
    bounds = np.cumsum(law.patterns, axis=1)[labels]
    return np.minimum((rng.random(len(labels))[:, None] >= bounds).sum(axis=1), len(PATTERNS) - 1)
