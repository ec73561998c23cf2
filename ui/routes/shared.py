"""What the routes of all wings share: provenance headers, the 503 without a model, documented problems.

Belongs here: parts that a wing's route calls. Does not belong here: a form or an answer (a module per wing), how errors
are answered (`ui.problems`).
"""

from typing import Any

from mm_assets.learning.provenance import Origin
from ui.problems import ProblemError
from ui.released import P, Release, ReleasedModel

PROVENANCE_HEADERS = ("X-Model-Version", "X-Run-ID", "X-Data-Version", "X-Synthetic-Data")

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}


def release_of(released: ReleasedModel[P]) -> Release[P]:
    """The release in use, to be kept for the whole request. Raises ProblemError (503) when there is none."""
    release = released.current
    if release is None:
        raise ProblemError(503, "release_loading" if released.loading else "nothing_released", released.absence)
    return release


def provenance_headers(origin: Origin) -> dict[str, str]:
    """What every answer says about the model behind it."""
    values = (origin.model_version, origin.run_id or "unknown", origin.data_version, str(origin.synthetic).lower())
    return dict(zip(PROVENANCE_HEADERS, values, strict=True))


def documented_problems(*, unsupported: str, unusable: str) -> dict[int | str, dict[str, Any]]:
    """`responses` of a prediction route: the problems it may answer with; 415 and 422 in the wing's words."""
    described = {
        400: "The body is not a readable multipart form",
        413: "The upload has too many bytes or pixels",
        415: unsupported,
        422: unusable,
        503: "No model is released or it is being loaded, or the server is too busy or shutting down",
    }
    return {status: {**_PROBLEM, "description": text} for status, text in described.items()}
