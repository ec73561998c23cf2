"""The question and the answer of a chest reading: what a caller may send and what comes back.

Belongs here: the typed boundary between the predictor and everything that shows or sends its answers.
Does not belong here: how an answer is computed (`predictor.py`, `explain.py`) or drawn (`ui`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mm_assets.learning.provenance import Origin
from mm_assets.records.unusable import UnusableCase

Modality = Literal["image", "text", "tabular"]

MODALITY_NAMES: dict[Modality, str] = {
    "image": "chest film",
    "text": "complaint and history",
    "tabular": "vital signs and demographics",
}
FIELD_NAMES: dict[str, str] = {
    "complaint": "chief complaint",
    "history": "history",
    "age": "age",
    "temperature": "temperature",
    "heartrate": "heart rate",
    "resprate": "respiratory rate",
    "o2sat": "oxygen saturation",
    "sbp": "systolic pressure",
    "dbp": "diastolic pressure",
    "pain": "pain",
    "acuity": "acuity",
    "minutes_since_arrival": "minutes since arrival",
}

# Which fields of a case a modality consists of. `view` is not read by the model.
MODALITY_FIELDS: dict[Modality, tuple[str, ...]] = {
    "image": ("image",),
    "text": ("complaint", "history"),
    "tabular": (
        "sex", "age", "temperature", "heartrate", "resprate", "o2sat", "sbp", "dbp", "pain", "acuity",
        "minutes_since_arrival", "arrived_by_ambulance",
    ),
}  # fmt: skip

Fahrenheit = Annotated[float, Field(ge=25, le=115, allow_inf_nan=False)]


class ChestCase(BaseModel):
    """One visit before the film is reported. Everything is optional; what is absent counts as missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: bytes | None = Field(default=None, repr=False, description="Chest film: JPEG, PNG or DICOM")
    complaint: str = Field(default="", max_length=500, description="Chief complaint at triage")
    history: str = Field(default="", max_length=5000, description="Medicines and history known at arrival")
    view: Literal["PA", "AP"] | None = Field(
        default=None, description="Projection of the frontal film; not read by the model"
    )
    sex: Literal["F", "M"] | None = Field(default=None, description="Sex")
    age: float | None = Field(default=None, ge=0, le=120, allow_inf_nan=False, description="Age in years")
    temperature: Fahrenheit | None = Field(
        default=None, description="Degrees Fahrenheit; a value up to 46 is read as Celsius"
    )
    heartrate: float | None = Field(
        default=None, ge=0, le=350, allow_inf_nan=False, description="Heart rate, beats/min"
    )
    resprate: float | None = Field(
        default=None, ge=0, le=300, allow_inf_nan=False, description="Respiratory rate, breaths/min"
    )
    o2sat: float | None = Field(
        default=None, ge=0, le=100, allow_inf_nan=False, description="Oxygen saturation, percent"
    )
    sbp: float | None = Field(default=None, ge=0, le=375, allow_inf_nan=False, description="Systolic pressure, mmHg")
    dbp: float | None = Field(default=None, ge=0, le=375, allow_inf_nan=False, description="Diastolic pressure, mmHg")
    pain: float | None = Field(default=None, ge=0, le=10, allow_inf_nan=False, description="Pain score")
    acuity: int | None = Field(default=None, ge=1, le=5, description="Emergency severity index, 1 is most urgent")
    minutes_since_arrival: float | None = Field(
        default=None, ge=0, le=43_200, allow_inf_nan=False, description="Minutes from arrival to the film"
    )
    arrived_by_ambulance: bool | None = Field(default=None, description="Came by ambulance or helicopter")

    @field_validator("temperature")
    @classmethod
    def _one_of_two_scales(cls, value: float | None) -> float | None:
        """Between 46 and 75 a number is neither a body temperature in Celsius nor one in Fahrenheit."""
        if value is not None and 46 < value < 75:
            raise ValueError("give 25 to 46 (Celsius) or 75 to 115 (Fahrenheit)")
        return value

    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that this case brings, in the order image, text, tabular."""
        brought: list[Modality] = []
        if self.image is not None:
            brought.append("image")
        if self.complaint.strip() or self.history.strip():
            brought.append("text")
        if any(getattr(self, name) is not None for name in MODALITY_FIELDS["tabular"]):
            brought.append("tabular")
        return tuple(brought)

    def without(self, modalities: Collection[Modality]) -> "ChestCase":
        """The same case as if the fields of these modalities had not been sent."""
        gone = {name for modality in modalities for name in MODALITY_FIELDS[modality]}
        return self.model_copy(update={name: type(self).model_fields[name].default for name in gone})


class Finding(BaseModel):
    """One label: a calibrated probability, its interval and the threshold chosen on the validation split."""

    label: str
    probability: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    positive: bool


class Contribution(BaseModel):
    """What one modality did: probability with everything minus probability without it, per label."""

    modality: Modality
    change: dict[str, float]


class Passage(BaseModel):
    """A retrieved text: shown to the reader, and read by the model beside the note."""

    id: str
    text: str
    citation: str
    score: float


class CaseWarning(BaseModel):
    """A reason to trust this answer less."""

    code: Literal[
        "out_of_domain",
        "synthetic_model",
        "missing_modality",
        "left_out",
        "uncommon_value",
        "converted_value",
        "words_removed",
    ]
    message: str


class ChestProvenance(Origin):
    """Where the answer comes from; goes with every answer. Its quality: macro AUROC on the test split."""

    test_auroc: float | None
    test_auroc_low: float | None
    test_auroc_high: float | None


class Prediction(BaseModel):
    """The whole answer to one case; findings are in the label order of the model."""

    findings: list[Finding]
    interval: str = Field(description="What kind of interval low and high are")
    contributions: list[Contribution]
    passages: list[Passage]
    warnings: list[CaseWarning]
    provenance: ChestProvenance


@dataclass(frozen=True)
class Explanation:
    """The film as the model read it and, per label, how much each part of it moved the answer.

    ``film`` is an 8-bit JPEG of the stored square; ``width`` and ``height`` are those of the original in
    pixels. ``maps`` is float32 [labels, rows, columns] in log-odds: positive where the part spoke for the
    label. ``scale`` is one value for all labels of the film, so that colours compare between labels.
    """

    film: bytes
    width: int
    height: int
    resize_mode: str
    labels: tuple[str, ...]
    maps: np.ndarray
    scale: float


@dataclass(frozen=True)
class ExampleCase:
    """A case ready to click."""

    title: str
    case: ChestCase


class Predictor(Protocol):
    """What the server and the page need from a released model."""

    labels: tuple[str, ...]
    provenance: ChestProvenance
    examples: tuple[ExampleCase, ...]

    def predict(self, case: ChestCase, leave_out: Collection[Modality] = ()) -> Prediction:
        """Answer a case, as if the modalities of ``leave_out`` had not been sent.

        Raises `UnreadableImage` when the film cannot be read and `EmptyCase` when nothing is left to read.
        """
        ...

    def explain(self, case: ChestCase, leave_out: Collection[Modality] = ()) -> Explanation | None:
        """Where in the film the answer comes from; None when no film is read. Raises `UnreadableImage`."""
        ...

    def try_once(self) -> None:
        """Answer a case of its own; raises when this model cannot."""
        ...


class EmptyCase(UnusableCase):
    """Nothing to read: neither film, nor text, nor a measurement."""

    code = "case_empty"

    def __init__(self) -> None:
        super().__init__("There is nothing to read: give a film, a complaint, a history or a vital sign.")
