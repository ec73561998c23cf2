"""``POST /predict/mimic``: one chest case in a multipart form, one answer with its provenance.

Belongs here: the HTTP form of `ChestCase` and the headers of its answer.
Does not belong here: the answer itself (`mm_assets.mimic`), errors (`ui.problems`).
"""

from typing import Annotated

from fastapi import APIRouter, File, Response, UploadFile
from pydantic import ConfigDict

from mm_assets.mimic.case import ChestCase, Prediction, Predictor
from ui.released import ReleasedModel
from ui.routes.shared import documented_problems, provenance_headers, release_of

_PROBLEMS = documented_problems(
    unsupported="The film is not JPEG, PNG or DICOM", unusable="A field is out of range, or the film is damaged"
)


class ChestForm(ChestCase):
    """A chest case as form fields; leave out what is not known."""

    # The model's `image` is bytes; a form sends a file.
    model_config = ConfigDict(frozen=True, extra="forbid", title="ChestForm")

    image: UploadFile | None = None  # type: ignore[assignment]

    def case(self) -> ChestCase:
        film = self.image.file.read() if self.image is not None else None
        return ChestCase(image=film, **self.model_dump(exclude={"image"}))


def router(released: ReleasedModel[Predictor]) -> APIRouter:
    """The wing's routes, answering with whatever `released` holds at the time."""
    routes = APIRouter(tags=["mimic"])

    # A plain function: decoding and the model run in the thread pool, not on the event loop.
    @routes.post("/predict/mimic", responses=_PROBLEMS, summary="Read a chest film with its visit")
    def predict_mimic(form: Annotated[ChestForm, File()], response: Response) -> Prediction:
        """Fourteen calibrated probabilities with intervals, thresholds, contributions and provenance."""
        prediction = release_of(released).predictor.predict(form.case())
        response.headers.update(provenance_headers(prediction.provenance))
        return prediction

    return routes
