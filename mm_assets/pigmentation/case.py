"""The question and the answer of a skin reading: what a caller may send and what comes back.

Belongs here: the typed boundary between the predictor and everything that shows or sends its answers.
Does not belong here: how an answer is computed (`predictor.py`, `explain.py`) or drawn (`ui`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, Field

from mm_assets.learning.provenance import Provenance
from mm_assets.pigmentation.schema import MODALITIES, REQUIRED_MODALITY, Severity
from mm_assets.records.unusable import UnusableCase

MODALITY_NAMES: dict[str, str] = {
    "clinical": "clinical photograph",
    "dermoscopy": "dermoscopy image",
    "multispectral": "multispectral image",
}


# Of an image that is good in itself, sent to a model of other modalities.
NOT_READ = "modality_not_read"


@dataclass(frozen=True)
class SkinCase:
    """One lesion at one visit: the files as they were sent. The clinical photograph is required, the others are not.

    clinical, dermoscopy: JPEG, PNG or BMP. multispectral: a cube as .npz (``cube`` [H, W, B], ``wavelengths_nm`` [B])
    or, for a model that reads pseudo-multispectral channels, a picture.
    """

    clinical: bytes
    dermoscopy: bytes | None = None
    multispectral: bytes | None = None

    def images(self) -> dict[str, bytes]:
        """Modality -> file, of those that were sent, in the order of the schema."""
        given = {name: getattr(self, name) for name in MODALITIES}
        return {name: data for name, data in given.items() if data is not None}

    def without(self, modalities: Collection[str]) -> "SkinCase":
        """The same case as if these had not been sent. Raises ClinicalRequired."""
        if REQUIRED_MODALITY in modalities:
            raise ClinicalRequired
        gone: dict[str, Any] = dict.fromkeys(modalities)
        return replace(self, **gone)


class CaseWarning(BaseModel):
    """A reason to trust this answer less."""

    code: Literal[
        "synthetic_model", "derived_labels", "left_out", "colour_profile", "blurred", "too_dark", "too_bright",
        "no_skin",
    ]  # fmt: skip
    message: str


class SkinPrediction(BaseModel):
    """The whole answer to one case; the severity is that of the score shown."""

    wing: Literal["pigmentation"] = "pigmentation"
    score: float = Field(ge=0, le=1, description="Pigmentation severity, three digits")
    severity: Severity = Field(description="Class of the score as shown: Mild, Moderate or Severe")
    thresholds: dict[str, float] = Field(description="Highest score of Mild and of Moderate")
    interval_low: float | None = Field(description="Lower end of the interval; null: not measured for these images")
    interval_high: float | None = Field(description="Upper end of the interval")
    interval: str = Field(description="What kind of interval low and high are")
    modalities: list[str] = Field(description="What was read")
    missing: list[str] = Field(description="What the model could read and was not given")
    attention_mass: dict[str, float] = Field(
        description="Share per modality of what the query was given (norm-weighted attention); none: of the null "
        "token. Not a share of the score"
    )
    attention: dict[str, list[list[float]]] | None = Field(
        default=None,
        description="Where asked for: by modality, rows from the top, each part's share of norm-weighted attention",
    )
    without: dict[str, float] = Field(description="The score if this modality had not been sent")
    warnings: list[CaseWarning]
    model_version: str
    provenance: Provenance


@dataclass(frozen=True, eq=False)
class Picture:
    """One image as the model read it, and where the model looked.

    ``jpeg`` is the stored square (of a cube: its red, green and blue bands); ``width`` and ``height`` are those of the
    original in pixels. ``attention`` is float32 [rows, columns], each part's share of all
    norm-weighted attention (`fusion.attention_shares`).
    """

    modality: str
    jpeg: bytes
    width: int
    height: int
    attention: np.ndarray | None


@dataclass(frozen=True)
class SkinExplanation:
    """The pictures of a case with their attention, and one scale for all of them, so that colours compare: ``even`` is
    the share of every part if all had the same, drawn as nothing; ``full`` is the share that is drawn opaque."""

    pictures: tuple[Picture, ...]
    even: float
    full: float


@dataclass(frozen=True)
class ExampleCase:
    """A case ready to click."""

    title: str
    case: SkinCase


class SkinReader(Protocol):
    """What the server and the page need from a released model."""

    provenance: Provenance
    examples: tuple[ExampleCase, ...]
    # What whoever runs the server should know, e.g. that a faster runtime is not installed.
    notes: tuple[str, ...]

    def prepare(self, case: SkinCase, *, explain: bool = False) -> Any:
        """Decode the images of a case; what comes back goes to `answer`, which adds the maps of attention where
        ``explain`` asks for them. Raises `UnusableImage`."""
        ...

    def answer(self, prepared: Sequence[Any]) -> list[SkinPrediction]:
        """Answer several cases, of whatever modalities, in one pass of the model."""
        ...

    def predict(self, case: SkinCase, leave_out: Collection[str] = ()) -> SkinPrediction:
        """Answer one case, as if the modalities of ``leave_out`` had not been sent. Raises `UnusableImage`."""
        ...

    def explained(self, case: SkinCase, leave_out: Collection[str] = ()) -> tuple[SkinPrediction, SkinExplanation]:
        """As `predict`, and where in the images the answer comes from. Raises `UnusableImage`."""
        ...

    def picture(self, modality: str, data: bytes) -> Picture:
        """One file as the model would read it. Raises `UnusableImage`, also where it reads no such modality."""
        ...

    def try_once(self) -> None:
        """Answer a case of its own; raises when this model cannot."""
        ...


class ClinicalRequired(UnusableCase):
    """The one image that cannot be left out."""

    code = "clinical_image_required"

    def __init__(self) -> None:
        super().__init__("The clinical photograph cannot be left out: the model asks the other images about it.")


class UnusableImage(UnusableCase):
    """An image of a case that cannot be read; ``code`` is a reason of `records.unreadable`, or `NOT_READ`."""

    def __init__(self, modality: str, reason_code: str, sentence: str) -> None:
        super().__init__(f"{MODALITY_NAMES.get(modality, modality).capitalize()}: {sentence}")
        self.modality, self.code = modality, reason_code
