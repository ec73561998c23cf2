"""``POST /predict/pigmentation``: the images of one lesion in a multipart form, one answer; and its older address.

Belongs here: the HTTP form of `SkinCase` and the headers of its answer.
Does not belong here: the answer itself (`mm_assets.pigmentation`), errors (`ui.problems`), batching (`ui.microbatch`).
"""

import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, File, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from mm_assets.pigmentation.case import SkinCase, SkinPrediction, SkinReader
from ui.microbatch import BatcherClosed, MicroBatcher
from ui.problems import ProblemError
from ui.released import ReleasedModel
from ui.routes.shared import documented_problems, provenance_headers, release_of

PATH = "/predict/pigmentation"
# The address and the field names of the clients that were written before there were several wings.
ORIGINAL_PATH, ORIGINAL_TAG = "/predict", "original clients"
# Many times what a queue of full batches takes; whoever waits longer is told instead of held.
ANSWER_S = 120.0

_PROBLEMS = documented_problems(
    unsupported="An image is not JPEG, PNG or BMP",
    unusable="The clinical image is missing, or an image is damaged or has other bands than the model reads",
)


class SkinForm(BaseModel):
    """The images of one lesion at one visit; leave out what was not taken."""

    model_config = ConfigDict(extra="forbid", title="SkinForm")

    clinical_image: UploadFile = Field(description="Clinical photograph: JPEG, PNG or BMP")
    dermoscopy_image: UploadFile | None = Field(default=None, description="Dermoscopy: JPEG, PNG or BMP")
    multispectral_image: UploadFile | None = Field(
        default=None, description="Spectral cube: .npz with cube [H, W, B] and wavelengths_nm [B]"
    )
    explain: bool = Field(default=False, description="Send the maps of attention as well")

    def case(self) -> SkinCase:
        def read(upload: UploadFile | None) -> bytes | None:
            return None if upload is None else upload.file.read()

        return SkinCase(
            self.clinical_image.file.read(), read(self.dermoscopy_image), read(self.multispectral_image)
        )  # fmt: skip


def answer_of(batches: MicroBatcher[Any, SkinPrediction], reader: SkinReader, prepared: Any) -> SkinPrediction:
    """The answer, once its batch is through. Raises ProblemError (503) when it takes too long or the server ends."""
    try:
        answer = batches.submit(reader.answer, prepared)
        try:
            return answer.result(ANSWER_S)
        finally:
            answer.cancel()  # of no effect on an answer; where it took too long, nobody waits any more
    except (BatcherClosed, CancelledError) as error:
        raise ProblemError(503, "shutting_down", "The server is shutting down; ask again in a minute.") from error
    except TimeoutError as error:
        raise ProblemError(503, "busy", f"No answer within {ANSWER_S:g} s; ask again in a minute.") from error


def router(released: ReleasedModel[SkinReader], batcher: MicroBatcher[Any, SkinPrediction] | None = None) -> APIRouter:
    """The wing's routes, answering with whatever `released` holds at the time; batching ends with the application."""
    batches: MicroBatcher[Any, SkinPrediction] = batcher or MicroBatcher()
    # An upload can take a hundred times its bytes while it is read; more at once than cores would not be faster.
    reading = threading.BoundedSemaphore(os.cpu_count() or 1)

    @asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        yield
        batches.close()

    routes = APIRouter(lifespan=closing)

    # A plain function: decoding runs in the thread pool, not on the event loop, while the model is busy with others.
    def predict_pigmentation(form: Annotated[SkinForm, File()], response: Response) -> SkinPrediction:
        """Severity of pigmentation from 0 to 1 with its class and interval, what was missing, and where the model
        looked; with provenance."""
        reader = release_of(released).predictor
        with reading:
            prepared = reader.prepare(form.case(), explain=form.explain)
        prediction = answer_of(batches, reader, prepared)
        response.headers.update(provenance_headers(prediction.provenance))
        return prediction

    routes.post(PATH, tags=["pigmentation"], responses=_PROBLEMS, summary="Read the images of a skin lesion")(
        predict_pigmentation
    )
    routes.post(
        ORIGINAL_PATH,
        tags=[ORIGINAL_TAG],
        responses=_PROBLEMS,
        summary=f"The same as {PATH}, for clients of the earlier service",
    )(predict_pigmentation)
    return routes
