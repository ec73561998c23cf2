"""Errors of the API as RFC 9457 problem details, and the middleware that every answer passes.

Belongs here: the shape of an error answer, which expected exception gets which status, request ids, the body
limit and response headers that hold for all routes. Nothing of an unexpected exception reaches the caller.
Does not belong here: what counts as an error of one wing.
"""

import logging
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mm_assets.records.unreadable import UnreadableImage
from mm_assets.records.unusable import UnusableCase

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 25_000_000
REQUEST_ID = "X-Request-ID"

_ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    415: "Format not accepted",
    422: "Input not usable",
    500: "Internal error",
    503: "Not available",
}
# By the codes of `records.unreadable` and of `UnusableCase`; any other is 422.
_IMAGE_STATUS = {"image_format_unsupported": 415, "image_too_large": 413, "cube_too_large": 413}
# For every code of `records.unreadable`. Of the two kinds of image, only films come here without a wing's own sentence.
_IMAGE_SENTENCES = {
    "image_empty": "The film is an empty file.",
    "image_truncated": "The film ends too early: the file was cut off. Send it again.",
    "image_unreadable": "The film cannot be read as JPEG, PNG or DICOM.",
    "image_too_large": "The film has too many pixels to be decoded safely.",
    "image_too_small": "The image is too small: send the original, not a thumbnail.",
    "image_format_unsupported": "The film is not in a format that can be read: send JPEG, PNG or DICOM.",
    "cube_unreadable": "The file is not a spectral cube that can be read: send .npz with cube and wavelengths_nm.",
    "cube_too_large": "The spectral cube is too large to be read safely: scale it down or send fewer bands.",
    "cube_too_small": "The spectral cube is too small: send the original, not a thumbnail.",
    "cube_wrong_bands": "The spectral cube does not cover the wavelengths that the model reads.",
    "cube_without_wavelengths": "The spectral cube does not tell its wavelengths: add one a band, in nanometres.",
    "cube_uncalibrated": "The spectral cube is not calibrated: add the white reference, or send reflectance, 0 to 1.",
}
# The page needs inline scripts and styles, blob workers and data images; nothing needs another host.
CONTENT_SECURITY_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; form-action 'self'"
)


class ProblemError(Exception):
    """Raised by a route to answer with a problem of its own."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def problem(
    request_id: str, status: int, code: str, detail: str, errors: Sequence[dict[str, str]] = ()
) -> JSONResponse:
    """An ``application/problem+json`` answer; ``code`` is stable, ``detail`` is for people."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status, media_type="application/problem+json")


def problem_of(error: Exception) -> tuple[int, str, str]:
    """Status, code and a sentence without paths; an unexpected exception tells nothing of itself."""
    match error:
        case ProblemError():
            return error.status, error.code, error.detail
        case UnreadableImage():
            return _IMAGE_STATUS.get(error.reason_code, 422), error.reason_code, _IMAGE_SENTENCES[error.reason_code]
        case UnusableCase():
            return _IMAGE_STATUS.get(error.code, 422), error.code, str(error)
        case _:
            return 500, "internal_error", "The server failed on this request; its log has the reason."


def request_id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def install(app: FastAPI, headers: Callable[[str], dict[str, str]]) -> None:
    """Give ``app`` the handlers and the middleware; ``headers`` tells which model is behind a path right now."""

    def expected(request: Request, error: Exception) -> JSONResponse:
        return problem(request_id_of(request), *problem_of(error))

    def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = re.sub(r"\W+", "_", _TITLES.get(error.status_code, "error").lower())
        answer = problem(request_id_of(request), error.status_code, code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # Only where and why: the values are a patient's.
        errors = [
            {"field": ".".join(str(part) for part in item["loc"][1:]), "message": str(item["msg"])}
            for item in error.errors()
        ]
        fields = ", ".join(item["field"] for item in errors if item["field"]) or "the form"
        return problem(request_id_of(request), 422, "form_invalid", f"Not accepted: {fields}.", errors)

    for kind in (ProblemError, UnreadableImage, UnusableCase):
        app.add_exception_handler(kind, expected)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    # The last one added is the outermost. The limit is not FastAPI's own `max_body_size`, which stands
    # outside of all of these: its refusals would be plain text without a request id.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES)
    app.add_middleware(_EveryAnswer, headers=headers)


class _EveryAnswer:
    """Request id, provenance and safety headers on every answer, also where a body is too large or a route
    fails.
    """

    def __init__(self, app: ASGIApp, headers: Callable[[str], dict[str, str]]) -> None:
        self.app, self.headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        given = asked.get(REQUEST_ID, "")
        request_id = given if _ACCEPTED_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                answer = MutableHeaders(scope=message)
                answer[REQUEST_ID] = request_id
                answer.setdefault("X-Content-Type-Options", "nosniff")
                answer.setdefault("Referrer-Policy", "no-referrer")
                answer.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
                # A prediction has set its own: the model may have been replaced while it ran.
                for name, value in self.headers(scope["path"]).items():
                    answer.setdefault(name, value)
            await send(message)

        # The limit below counts the bytes that arrive, but answers an announced one in plain text.
        announced = asked.get("content-length", "")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            refusal = problem(request_id, 413, "body_too_large", f"Send at most {MAX_BODY_BYTES // 10**6} MB.")
            await refusal(scope, receive, send_with_headers)
            return
        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            log.exception("request %s failed", request_id)
            if started:
                raise
            await problem(request_id, *problem_of(error))(scope, receive, send_with_headers)
