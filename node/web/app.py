"""The status page: one page an administrator would want, and the same as JSON."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from node.settings import Settings
from node.upkeep.probe import Probe
from node.web import api, login, pages
from node.web.access import HostGuard, SecurityHeaders, ThisMachineAlone
from node.web.context import Context
from node.web.gate import LoginGate
from node.web.metrics import metrics_registry
from node.web.waiting import WaitingRoom
from storage.database import Database
from storage.figures import Entered

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"


def create_app(
    settings: Settings,
    database: Database,
    data_dir: Path,
    probes: Callable[[], Sequence[Probe]],
    settle: Callable[[], object] = lambda: None,
    wake: Callable[[], object] = lambda: None,
    waiting_room: WaitingRoom | None = None,
    entered: Callable[[], Entered] = Entered,
) -> FastAPI:
    """The status page of a node.

    data_dir: what the paths of key images are relative to; nothing outside it is ever shown.
    probes: looks at every part the node stands on; called again when its last answer is some seconds old.
    settle: waits until what was received has its rows.
    wake: has what a person asked for begun at once.
    waiting_room: holds back the answer to who tries more logins than are looked at.
    entered: what the node has taken in and refused since it started.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        node.stopping.set()
        node.mark.close()

    app = FastAPI(
        title="Overread",
        description="The status page as JSON. Moments are UTC, lengths mm, volumes mm³.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    node = Context(settings, database, data_dir, probes, settle, wake, waiting_room or WaitingRoom())
    app.state.context = node
    app.state.stopping = node.stopping
    app.state.metrics = metrics_registry(database, node.data_dir, entered)
    app.include_router(pages.router)
    app.include_router(api.router)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(SQLAlchemyError, _database_down)
    app.add_exception_handler(DataError, _cannot_be_held)
    if settings.web.asks_login:
        app.include_router(login.router)

        def refuse(request: Request, why: str) -> Response:
            node.looks.refused(request, why)
            return _answer(request, 403, f"{why.capitalize()}; your account is a viewer's.")

        metrics_open = settings.web.metrics == "open"
        app.add_middleware(LoginGate, logins=node.logins, refuse=refuse, metrics_open=metrics_open)
    elif not settings.web.behind_login:
        app.add_middleware(ThisMachineAlone)
    app.add_middleware(HostGuard, host=settings.web.host, names=settings.web.names)
    app.add_middleware(SecurityHeaders)
    return app


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(request, error.status_code, error.detail)


def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = (
        f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}" for fault in error.errors()
    )
    return _answer(request, 422, "; ".join(faults))


def _cannot_be_held(request: Request, _error: Exception) -> Response:
    """A NUL in an address or a form, say, which PostgreSQL refuses."""
    return _answer(request, 422, "What was asked for has a character in it that no name or number has.")


def _database_down(request: Request, error: Exception) -> Response:
    log.error("the database does not answer", exc_info=error)
    kind = type(error).__name__
    return _answer(request, 503, f"The database does not answer ({kind}). `overread check` says why.")


def _answer(request: Request, status: int, sentence: str) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"detail": sentence}, status)
    return pages.problem(request, status, sentence)
