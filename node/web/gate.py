"""Lets nobody past who is not logged in, but to what anybody may see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from node.web.access import SAFE_METHODS
from node.web.logins import Logins
from storage.accounts import Login

log = logging.getLogger(__name__)

OPEN = {"/login", "/setup", "/api/alive", "/api/health"}
FOR_ADMINS = ("/audit", "/api/audit")
OF_ONES_OWN = {"/login", "/logout", "/account"}  # what a viewer may change
UNASKED = ("/live", "/health/sign")  # what an open page fetches without anybody there
ONLY_ADMINS = "only an admin may do that"
ASKED_BY = "search"  # the one part of a page whose requests its script makes for a person


class LoginGate:
    """A page is closed unless it is listed here: a new one cannot be forgotten.

    ``refuse``: notes what a viewer may not have, and answers why. ``metrics_open``: whether /metrics asks
    nobody. ``request.state.login`` is who asks.
    """

    def __init__(
        self, app: ASGIApp, logins: Logins, refuse: Callable[[Request, str], Response], metrics_open: bool
    ) -> None:
        self._app = app
        self._logins = logins
        self._refuse = refuse
        self._open = OPEN | ({"/metrics"} if metrics_open else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        is_active = path not in UNASKED and not keeps_itself_up_to_date(headers)
        refusal = None
        try:
            token = token_in(scope)
            login = await run_in_threadpool(self._logins.who_is, token, is_active) if token else None
            scope.setdefault("state", {})["login"] = login
            if login is not None and _is_beyond(login, scope["method"], path):
                refusal = await run_in_threadpool(self._refuse, Request(scope), ONLY_ADMINS)
        except SQLAlchemyError as error:
            log.error("the database does not answer", exc_info=error)
            sentence = "The database does not answer, so nobody can be let in. `overread check` says why.\n"
            await PlainTextResponse(sentence, 503)(scope, receive, send)
            return
        if login is None and path not in self._open and not path.startswith("/static/"):
            refusal = _to_log_in(scope, headers)
        await (refusal or self._app)(scope, receive, send)


def keeps_itself_up_to_date(headers: Headers) -> bool:
    """Whether an open page asks by itself, and nobody is known to sit there."""
    return "hx-request" in headers and headers.get("hx-trigger") != ASKED_BY


def token_in(scope: Scope) -> str:
    """The token that the browser brings, empty if none."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return ""
    kept = cookies.get(cookie_name(scope))
    return kept.value if kept else ""


def cookie_name(scope: Scope) -> str:
    """Over TLS one that no plain page and no other host name can set (RFC 6265bis 4.1.3)."""
    return "__Host-overread" if scope.get("scheme") == "https" else "overread"


def _is_beyond(login: Login, method: str, path: str) -> bool:
    acts = method not in SAFE_METHODS and path not in OF_ONES_OWN
    return login.role != "admin" and (acts or path.startswith(FOR_ADMINS))


def _to_log_in(scope: Scope, headers: Headers) -> Response:
    path = scope["path"]
    if path.startswith("/api/"):
        return JSONResponse({"detail": "Log in first, at /login."}, 401)
    if "hx-request" in headers:
        return Response(status_code=401, headers={"HX-Redirect": _login_before(*_shown(headers))})
    if path in ("/live", "/metrics") or scope["method"] != "GET":
        return PlainTextResponse("Log in first, at /login.\n", 401)
    return RedirectResponse(_login_before(path, scope.get("query_string", b"").decode("latin-1")), 303)


def _shown(headers: Headers) -> tuple[str, str]:
    """Path and query of the open page that asks, empty where it names none."""
    try:
        page = urlsplit(headers.get("hx-current-url", ""))
    except ValueError:
        return "", ""
    return page.path, page.query


def _login_before(path: str, query: str) -> str:
    """The login's address that leads on to a page."""
    wanted = path + (f"?{query}" if query else "")
    return "/login" + (f"?next={quote(wanted, safe='/')}" if wanted not in ("", "/") else "")
