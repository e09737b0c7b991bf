"""The app: pages, their files, and the routes that answer them. Nothing is answered without a login."""

from importlib.resources import files
from mimetypes import guess_type
from typing import Annotated, Final

import psycopg
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Path, status
from starlette.requests import Request
from starlette.responses import Response

from microbatch.errors import MicrobatchError
from microbatch_ui.answers import Answer
from microbatch_ui.routes import ROUTERS

_STATIC: Final = files("microbatch_ui").joinpath("static")
# Scripts, styles and pictures are our own files; nothing is loaded from elsewhere, nothing inline is run.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def make_app() -> FastAPI:
    """The app that Airflow's api-server mounts."""
    app = FastAPI(title="microbatch", dependencies=[Depends(get_user)], openapi_url=None)
    app.add_exception_handler(MicrobatchError, _failed)
    app.add_exception_handler(psycopg.Error, _failed)
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_route("/static/{name:path}", _file, methods=["GET"])
    for page in ("/pipelines", "/topics", "/sql", "/dag"):
        app.add_api_route(page, _page, methods=["GET"])
    return app


def _page() -> Response:
    """The one page there is; its script sees by the address what to show."""
    return _sent("index.html")


def _file(name: Annotated[str, Path(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*\.(js|css|svg)$")]) -> Response:
    return _sent(name)


def _sent(name: str) -> Response:
    file = _STATIC.joinpath(name)
    if not file.is_file():
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"There is no file {name!r}")
    kind, _ = guess_type(name)
    return Response(file.read_bytes(), media_type=kind, headers=_HEADERS)


def _failed(_request: Request, error: Exception) -> Response:
    """What the engine's own errors say is for people; the ledger or Kafka cannot be asked now."""
    return Answer({"detail": str(error)}, status_code=status.HTTP_503_SERVICE_UNAVAILABLE)
