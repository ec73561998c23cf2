"""Is this film like the films the model was trained on?

Belongs here: a reference fitted on the training films' tokens and the distance of one film to it.
Does not belong here: what is told to the reader (`predictor.py`).

The distance is that of Mahalanobis with a diagonal covariance over the mean token of a film, per dimension:
cheap, stored in a few kilobytes, and enough to tell another kind of picture. It does not find every unusual
film.
"""

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

# A feature that never varies in training would make every other film infinitely far.
LEAST_SPREAD = 1e-3


class FilmReference(BaseModel):
    """Section ``out_of_domain`` of ``model.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: list[float]  # [D]
    spread: list[float]  # [D], standard deviation
    quantile: float  # share of held-out films that lie nearer than `threshold`
    threshold: float


def fit_reference(train: np.ndarray, validate: np.ndarray, quantile: float = 0.99) -> FilmReference:
    """From mean tokens of films: moments of train [N, D], threshold as the quantile of validate [M, D].

    The threshold comes from films the moments have not seen, or about every new film would look unusual.
    """
    mean = train.mean(0, dtype=np.float64)
    spread = np.maximum(train.std(0, dtype=np.float64), LEAST_SPREAD)
    reference: dict[str, Any] = {"mean": mean.tolist(), "spread": spread.tolist(), "quantile": quantile}
    distances = distance(FilmReference(threshold=0.0, **reference), validate)
    return FilmReference(threshold=float(np.quantile(distances, quantile)), **reference)


def distance(reference: FilmReference, films: np.ndarray) -> np.ndarray:
    """Root mean squared deviation in spreads of films [N, D]: [N], about 1 for a film like the training
    films.
    """
    standardised = (films - np.asarray(reference.mean)) / np.asarray(reference.spread)
    return np.sqrt(np.mean(standardised**2, axis=1))
