"""From a score to the number and the severity that are shown: one rule for labels, evaluation, service and page.

Belongs here: rounding of a score, thresholds, names of severities. Does not belong here: where a score comes from.

The severity is that of the number shown: 0.2504 is shown as 0.25 and is therefore Mild. Both bounds belong to the
class below them (Mild <= mild < Moderate <= moderate < Severe).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mm_assets.pigmentation.schema import SEVERITIES, Severity
from resources.errors import MendableError

SHOWN_DIGITS = 3


class SeverityError(MendableError):
    """Thresholds out of order, or a score that is not a number."""


@dataclass(frozen=True)
class Thresholds:
    """Highest shown score of Mild and of Moderate; raises SeverityError unless 0 < mild < moderate < 1."""

    mild: float = 0.25
    moderate: float = 0.60

    def __post_init__(self) -> None:
        if not 0 < self.mild < self.moderate < 1:
            raise SeverityError(
                f"severity thresholds are mild {self.mild} and moderate {self.moderate}; "
                "set 0 < mild < moderate < 1, for example 0.25 and 0.60"
            )

    def as_json(self) -> dict[str, float]:
        """``{"mild": ..., "moderate": ...}``, as a bundle keeps them."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Thresholds":
        """The reverse of ``as_json``; raises SeverityError where a key is missing or no number."""
        try:
            return cls(mild=float(stored["mild"]), moderate=float(stored["moderate"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SeverityError(
                f"severity thresholds {dict(stored)!r} cannot be read ({error!r}); store numbers as mild and moderate"
            ) from error


DEFAULT_THRESHOLDS = Thresholds()


def shown_score(score: float) -> float:
    """The score as every answer, table and label shows it: the nearest of 0.000, 0.001, ...

    Python's ``round`` looks at the exact binary value; numpy's multiplies by 1000 first and now and then differs.
    Raises SeverityError for a score that is not finite.
    """
    value = float(score)
    if not math.isfinite(value):
        raise SeverityError(f"a score of {value} has no severity; the model diverged: train it again")
    return round(value, SHOWN_DIGITS)


def severity_of(score: float, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Severity:
    """The severity of the number shown for ``score``; raises SeverityError for a score that is not finite."""
    shown = shown_score(score)
    if shown <= thresholds.mild:
        return "Mild"
    return "Moderate" if shown <= thresholds.moderate else "Severe"


def severities(scores: Iterable[float], thresholds: Thresholds = DEFAULT_THRESHOLDS) -> list[Severity]:
    """``severity_of`` of each score, in order. A loop on purpose: 1 microsecond each, and no second rounding rule."""
    return [severity_of(score, thresholds) for score in scores]


def severity_ranks(scores: Iterable[float], thresholds: Thresholds = DEFAULT_THRESHOLDS) -> list[int]:
    """0 Mild, 1 Moderate, 2 Severe for each score, as weighted kappa counts distance."""
    return [SEVERITIES.index(name) for name in severities(scores, thresholds)]
