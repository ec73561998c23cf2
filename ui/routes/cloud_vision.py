"""``POST /predict/cloud_vision``: one record of two organisations in a multipart form, one answer with its provenance.

Belongs here: the HTTP form of `SplitCase` and the headers of its answer.
Does not belong here: the answer itself (`mm_assets.cloud_vision`), errors (`ui.problems`).
"""

from typing import Annotated

from fastapi import APIRouter, File, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from mm_assets.cloud_vision.case import SplitCase, SplitPrediction, SplitReader
from mm_assets.cloud_vision.schema import ORG2_FEATURES, ORG3_FEATURES
from ui.released import ReleasedModel
from ui.routes.shared import documented_problems, provenance_headers, release_of

_PROBLEMS = documented_problems(
    unsupported="The X-ray is not JPEG, PNG or DICOM",
    unusable="The X-ray is missing or damaged, or a feature is no finite number",
)

Org2Value = Annotated[float | None, Field(allow_inf_nan=False, description="Organisation 2's; left out: missing")]
Org3Value = Annotated[float | None, Field(allow_inf_nan=False, description="Organisation 3's; left out: missing")]


class SplitForm(BaseModel):
    """What both organisations hold of one record; leave out what is not known."""

    model_config = ConfigDict(extra="forbid", title="SplitForm")

    xray: UploadFile = Field(description="Frontal chest X-ray: JPEG, PNG or DICOM")
    f0: Org2Value = None
    f1: Org2Value = None
    f2: Org2Value = None
    f3: Org2Value = None
    f4: Org2Value = None
    f5: Org3Value = None
    f6: Org3Value = None
    f7: Org3Value = None
    f8: Org3Value = None
    f9: Org3Value = None
    explain: bool = Field(default=False, description="Send the map of Grad-CAM as well")

    def case(self) -> SplitCase:
        org2, org3 = ({name: getattr(self, name) for name in names} for names in (ORG2_FEATURES, ORG3_FEATURES))
        return SplitCase(self.xray.file.read(), org2, org3)


def router(released: ReleasedModel[SplitReader]) -> APIRouter:
    """The wing's routes, answering with whatever `released` holds at the time."""
    routes = APIRouter(tags=["cloud_vision"])

    # A plain function: decoding and the model run in the thread pool, not on the event loop.
    @routes.post("/predict/cloud_vision", responses=_PROBLEMS, summary="Answer a record of two organisations")
    def predict_cloud_vision(form: Annotated[SplitForm, File()], response: Response) -> SplitPrediction:
        """Probabilities of the classes, each organisation's own answer beside them, what was missing and what
        crossed; with provenance."""
        prediction = release_of(released).predictor.predict(form.case(), explain=form.explain)
        response.headers.update(provenance_headers(prediction.provenance))
        return prediction

    return routes
