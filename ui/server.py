"""The server: API routes, the demo page mounted beside them, and the released models behind both.

Belongs here: what is served where, and start-up and shut-down.
Does not belong here: which wings there are (`ui.wings`), a wing's routes (`ui.routes`), pages (`ui.pages`) or predictor
(`mm_assets.<wing>`).
"""

import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi_offline import FastAPIOffline

from resources.artifacts import ArtifactStore
from resources.errors import MendableError
from resources.settings import Settings
from ui.problems import REQUEST_ID, ProblemError, install, problem, request_id_of
from ui.released import ReleasedModel
from ui.routes.shared import PROVENANCE_HEADERS, provenance_headers
from ui.wings import wing_named, wings

log = logging.getLogger(__name__)

Models = Mapping[str, ReleasedModel[Any]]

API_VERSION = "1"
# A lung field in two strokes; served to browsers that ask for an icon.
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="6" fill="#0f3d4c"/>'
    '<path d="M14 7v18c-5 2-9 0-9-5 0-6 4-12 9-13zM18 7v18c5 2 9 0 9-5 0-6-4-12-9-13z" fill="#e8f4f6"/></svg>'
)


class PortInUse(MendableError):
    """The address to serve on is taken."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is in use; stop what listens there or choose another with --port.")


def create_app(settings: Settings) -> FastAPI:
    """The whole application, serving what is released under ``settings.home``."""
    store = ArtifactStore(settings.home, settings.scratch)
    # Uploads are patients' images: they stay in our own scratch and are removed after an hour
    # (`ui.pages.demo`). Gradio reads these when it is imported.
    os.environ.setdefault("GRADIO_TEMP_DIR", str(settings.scratch / "uploads"))
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    models = {name: ReleasedModel(store, name, wing.load) for name, wing in wings().items()}
    return assemble(models, settings.cors_origins)


def assemble(models: Models, cors_origins: Sequence[str] = ()) -> FastAPI:
    """Routes and page around the models by wing; they are watched while the application runs.

    Pages of `cors_origins` may call the API from a browser; without credentials, since there are none.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for released in models.values():
            released.start()
        yield
        for released in models.values():
            released.stop()

    app: FastAPI = FastAPIOffline(
        title="mm-assets",
        summary="Predictions of released models, each with the data and the run it came from",
        version=API_VERSION,
        redoc_url=None,
        favicon_url="/favicon.ico",
        lifespan=lifespan,
    )

    routers = {name: wing_named(name).router(released) for name, released in models.items()}
    behind = {getattr(route, "path", ""): name for name, router in routers.items() for route in router.routes}

    def headers_now(path: str) -> dict[str, str]:
        """Which model is behind a path, and the address it has beside other wings', where the path is another."""
        if path not in behind:
            return {}
        release, canonical = models[behind[path]].current, f"/predict/{behind[path]}"
        link = {} if path == canonical else {"Link": f'<{canonical}>; rel="canonical"'}
        return {**link, **(provenance_headers(release.predictor.provenance) if release else {})}

    install(app, headers_now)
    # Outside of the rest, so that a page of another origin can read why it was refused.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=[REQUEST_ID],
        expose_headers=[REQUEST_ID, "Link", *PROVENANCE_HEADERS],
    )
    _add_service_routes(app, models)
    for router in routers.values():
        app.include_router(router)

    # After the wings' own routes, so that it answers for all other names.
    @app.post("/predict/{wing}", include_in_schema=False)
    def predict_unknown(wing: str) -> None:
        raise ProblemError(404, "unknown_wing", f"No such wing; there is: {', '.join(sorted(models))}.")

    from ui.pages import demo

    return demo.mount(app, models)


def _add_service_routes(app: FastAPI, models: Models) -> None:
    @app.get("/", include_in_schema=False)
    def root(request: Request) -> Response:
        vary = {"Vary": "Accept"}
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/demo/", headers=vary)
        links = {"demo": "/demo/", "docs": "/docs", "openapi": "/openapi.json", "ready": "/readyz"}
        predict = {wing: f"/predict/{wing}" for wing in sorted(models)}
        # Clients of the earlier program look for `message`.
        said = {"message": f"{app.title} API is running", "name": app.title, "version": app.version}
        return JSONResponse({**said, **links, "predict": predict}, headers=vary)

    @app.get("/healthz", tags=["service"], summary="Is the process up")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["service"], summary="Is a model being served, and which")
    def readyz(request: Request) -> Response:
        state = {
            wing: {
                "version": released.current.version if released.current else None,
                "provenance": released.current.predictor.provenance.model_dump() if released.current else None,
                "last_error": released.last_error,
                "loading": released.loading,
            }
            for wing, released in sorted(models.items())
        }
        # One wing is enough: whoever uses one does not wait for the others.
        if all(released.current is None for released in models.values()):
            loading = any(released.loading for released in models.values())
            detail = " ".join(released.absence for _, released in sorted(models.items()))
            code = "release_loading" if loading else "nothing_released"
            return problem(request_id_of(request), 503, code, detail)
        return JSONResponse({"status": "ready", "wings": state})

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> Response:
        return Response(FAVICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until interrupted. Raises `PortInUse` before anything is loaded."""
    import uvicorn

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(host, port) from error
    uvicorn.run(create_app(settings), host=host, port=port, access_log=False, server_header=False)
