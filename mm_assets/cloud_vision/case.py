"""The question and the answer of a split reading: what a caller may send and what comes back.

Belongs here: the typed boundary between the predictor and everything that shows or sends its answers.
Does not belong here: how an answer is computed (`predictor.py`, `explain.py`) or drawn (`ui`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel, Field

from mm_assets.cloud_vision.schema import ORG2_FEATURES, ORG3_FEATURES, Organisation
from mm_assets.learning.provenance import Provenance
from mm_assets.records.unusable import UnusableCase

EMBEDDING_WAY, GRADIENT_WAY = "org3 -> org2", "org2 -> org3"

Features = Mapping[str, float | None]


@dataclass(frozen=True)
class SplitCase:
    """One record as both organisations hold it, brought together for one answer.

    xray: JPEG, PNG or DICOM; org2: values of f0 to f4; org3: values of f5 to f9; what is absent or None counts as
    missing. mask (PNG of one bit a pixel, where the lesion is) and label (a place in CLASSES) are the truth of a
    synthetic example, shown beside the answer and never read for it. Raises UnusableFeature.
    """

    xray: bytes = field(repr=False)
    org2: Features = field(default_factory=dict)
    org3: Features = field(default_factory=dict)
    mask: bytes | None = field(default=None, repr=False)
    label: int | None = None

    def __post_init__(self) -> None:
        for values, party, known in ((self.org2, "org2", ORG2_FEATURES), (self.org3, "org3", ORG3_FEATURES)):
            for name, value in values.items():
                if name not in known:
                    raise UnusableFeature(
                        "feature_unknown", f"{name} is no feature of {party}: it has {', '.join(known)}."
                    )
                if value is not None and not math.isfinite(value):
                    raise UnusableFeature("feature_not_finite", f"{name} is not a finite number: leave it out instead.")


class SplitProvenance(Provenance):
    """Where an answer comes from. Features are made up in every data set of this wing, also beside real X-rays."""

    @property
    def trained_on(self) -> str:
        return "synthetic data" if self.synthetic else "real X-rays, made-up tables"


class CaseWarning(BaseModel):
    """A reason to trust this answer less."""

    code: Literal["synthetic_model", "synthetic_tables", "uncommon_value"]
    message: str


class SplitPrediction(BaseModel):
    """The whole answer to one case; probabilities by class, in the order of the model's labels."""

    wing: Literal["cloud_vision"] = "cloud_vision"
    label: str = Field(description="The most probable class")
    probabilities: dict[str, float] = Field(description="Of both organisations together, calibrated on validate")
    alone: dict[Organisation, dict[str, float]] = Field(
        description="What each organisation would answer with its own data alone, had it been given the labels; "
        "not calibrated"
    )
    held_out: dict[str, float] = Field(description="Accuracy on the test split: joint, org2, org3")
    missing: list[str] = Field(description="Features that were not sent: the median of the train rows stands in")
    crossed: dict[str, int] = Field(
        description="Bytes of the two messages that this answer takes: org3 -> org2 the embedding, org2 -> org3 the "
        "gradient for Grad-CAM"
    )
    leak: str = Field(description="What the audit found of the labels that leak while training")
    in_lesion: float | None = Field(
        description="Share of Grad-CAM inside the true lesion; null: no truth, no lesion, or an empty map"
    )
    lesion_share: float | None = Field(description="Share of the film that the true lesion covers")
    grad_cam: list[list[float]] | None = Field(
        default=None, description="Where asked for: rows from the top, 0 to 1, for the class that was answered"
    )
    warnings: list[CaseWarning]
    model_version: str
    provenance: SplitProvenance


@dataclass(frozen=True, eq=False)
class SplitExplanation:
    """The film and where the answer comes from.

    ``film`` is an 8-bit JPEG of it, squashed into a square; ``width`` and ``height`` are those of the original in
    pixels. ``grad_cam`` is float32 [rows, columns] from 0 to 1, all 0 where nothing on the film spoke for the class;
    ``mask`` is bool [H, W], where the lesion is, or None where nobody knows.
    """

    film: bytes
    width: int
    height: int
    label: str
    grad_cam: np.ndarray
    mask: np.ndarray | None


@dataclass(frozen=True)
class ExampleCase:
    """A case ready to click."""

    title: str
    case: SplitCase


class SplitReader(Protocol):
    """What the server and the page need from a released model."""

    provenance: SplitProvenance
    examples: tuple[ExampleCase, ...]
    labels: tuple[str, ...]

    def predict(self, case: SplitCase, *, explain: bool = False) -> SplitPrediction:
        """Answer one case; ``explain`` adds the map. Raises UnreadableImage and UnusableFeature."""
        ...

    def explained(self, case: SplitCase) -> tuple[SplitPrediction, SplitExplanation]:
        """The answer, and where on the film it comes from. Raises UnreadableImage and UnusableFeature."""
        ...

    def try_once(self) -> None:
        """Answer a case of its own; raises when this model cannot."""
        ...


class UnusableFeature(UnusableCase):
    """A feature value that no answer can be made of."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
