"""Who may ask, and what a browser may do with the answer."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

ADDED_BY_PROXIES = ("forwarded", "via", "x-forwarded-", "x-real-ip")  # how their headers' names begin

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer" our own forms would come without their origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class HostGuard:
    """Answers only requests for this machine's own names (DNS rebinding) and, where a request changes
    something, only those that come from our own pages (cross-site request forgery).

    An address is never a rebound name, so every IP address is let through.
    """

    def __init__(self, app: ASGIApp, host: str, names: Iterable[str] = ()) -> None:
        self._app = app
        ours = {"localhost", host, socket.gethostname(), socket.getfqdn(), *names}
        self._names = {name.lower() for name in ours}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            names = ", ".join(sorted(self._names))
            refusal = PlainTextResponse(
                f"This node is not {host!r}. Ask for it by its address or one of its names: {names}.\n", 421
            )
            await refusal(scope, receive, send)
        elif scope["method"] not in SAFE_METHODS and (why := _perhaps_anothers(headers, host)):
            await PlainTextResponse(f"{why}; it was not carried out.\n", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = _name_in(host)
        return name in self._names or _is_address(name)


class ThisMachineAlone:
    """Where nobody is asked to log in, refuses what shows that it was asked for elsewhere.

    What listens at this machine alone hears nobody else but a proxy on it. What that hands on for others is
    known by what it adds (RFC 7239, RFC 9110 7.6.3), by its HTTP/1.0, which no browser, curl or Prometheus
    speaks, and by the name or address that the page was asked for by, or has to the page that asks. A proxy
    that shows none of these is taken for a person here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (why := _perhaps_from_elsewhere(scope)):
            refusal = PlainTextResponse(
                f"This request {why}, as through a proxy. The page asks nobody to log in, for it is "
                "shown to this machine alone. To have it ask, name the proxy under web.proxies, and what "
                "browsers call the page under web.names; where the proxy asks for a login itself, set "
                "web.behind_login = true. Then restart the node.\n",
                403,
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class SecurityHeaders:
    """Adds the headers that keep a page to itself; what is not a static file is kept by no cache."""

    def __init__(self, app: ASGIApp, cacheable: Iterable[str] = ("/static/",)) -> None:
        self._app = app
        self._cacheable = tuple(cacheable)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cacheable = scope["path"].startswith(self._cacheable)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers["Cache-Control"] = "no-cache" if cacheable else "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _name_in(host: str) -> str:
    """The name or address in a Host header, empty where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _host_in(page: str) -> str:
    """Name and port in a page's address or origin, empty where there are none."""
    return page.partition("://")[2].partition("/")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_here(name: str) -> bool:
    """Whether nobody but who is at this machine calls it so."""
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _perhaps_from_elsewhere(scope: Scope) -> str:
    """What shows that somebody else's request was handed on, empty where nothing does."""
    headers = Headers(scope=scope)
    added = next((name for name in headers if name.lower().startswith(ADDED_BY_PROXIES)), None)
    if added is not None:
        return f"has a header {added!r}"
    if scope["http_version"] == "1.0":
        return "came by HTTP/1.0"
    if not _is_here(name := _name_in(headers.get("host", ""))):
        return f"asks for {name!r}"
    pages = (headers[kind] for kind in ("origin", "referer") if kind in headers)
    other = next((page for page in pages if not _is_here(_name_in(_host_in(page)))), None)
    return "" if other is None else f"was made by a page of {_host_in(other)!r}"


def _perhaps_anothers(headers: Headers, host: str) -> str:
    """Why a request may have come from another site's page, empty if from ours or from none. What is no
    browser sends neither header; with somebody's login in a cookie it is not believed."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        has_login = "cookie" in headers
        return f"The request has a cookie, but no Origin header such as http://{host}" if has_login else ""
    is_ours = site in (None, "same-origin", "none")
    is_from_here = origin is None or _host_in(origin).lower() == host.lower()
    return "" if is_ours and is_from_here else "Another site sent this request"
