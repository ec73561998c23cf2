"""``POST /predict/mimic``: one chest case in a multipart form, one answer with its provenance.

Belongs here: the HTTP form of `ChestCase` and the headers of its answer.
Does not belong here: the answer itself (`mm_assets.mimic`), errors (`ui.problems`).
"""

from typing import Annotated, Any

from fastapi import APIRouter, File, Response, UploadFile
from pydantic import ConfigDict

from mm_assets.mimic.case import ChestCase, Prediction, Provenance
from ui.problems import ProblemError
from ui.released import ReleasedModel

NOT_RELEASED = "No model of wing mimic is released yet. Run `mm demo --wing mimic`, then ask again."

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {**_PROBLEM, "description": "The body is not a readable multipart form"},
    413: {**_PROBLEM, "description": "The upload has too many bytes or pixels"},
    415: {**_PROBLEM, "description": "The film is not JPEG, PNG or DICOM"},
    422: {**_PROBLEM, "description": "A field is out of range, or the film is damaged"},
    503: {**_PROBLEM, "description": "No model is released"},
}


class ChestForm(ChestCase):
    """A chest case as form fields; leave out what is not known."""

    # The model's `image` is bytes; a form sends a file.
    model_config = ConfigDict(frozen=True, extra="forbid", title="ChestForm")

    image: UploadFile | None = None  # type: ignore[assignment]

    def case(self) -> ChestCase:
        film = self.image.file.read() if self.image is not None else None
        return ChestCase(image=film, **self.model_dump(exclude={"image"}))


def provenance_headers(provenance: Provenance) -> dict[str, str]:
    """What every answer says about the model behind it."""
    return {
        "X-Model-Version": provenance.model_version,
        "X-Run-ID": provenance.run_id or "unknown",
        "X-Data-Version": provenance.data_version,
        "X-Synthetic-Data": str(provenance.synthetic).lower(),
    }


def router(released: ReleasedModel) -> APIRouter:
    """The wing's routes, answering with whatever `released` holds at the time."""
    routes = APIRouter(tags=["mimic"])

    # A plain function: decoding and the model run in the thread pool, not on the event loop.
    @routes.post("/predict/mimic", responses=_PROBLEMS, summary="Read a chest film with its visit")
    def predict_mimic(form: Annotated[ChestForm, File()], response: Response) -> Prediction:
        """Fourteen calibrated probabilities with intervals, thresholds, contributions and provenance."""
        release = released.current
        if release is None:
            raise ProblemError(503, "nothing_released", NOT_RELEASED)
        prediction = release.predictor.predict(form.case())
        response.headers.update(provenance_headers(prediction.provenance))
        return prediction

    return routes
