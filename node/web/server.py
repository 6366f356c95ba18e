"""Runs the status page in a thread of its own."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence

import uvicorn
from fastapi import FastAPI

from node.security.tls import Identity
from node.web.deadline import DeadlineServer, Door
from node.wire.listening import listen, page_at, plain_address

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0


class WebServerError(RuntimeError):
    """The status page cannot be served; the message says what to do."""


class WebServer:
    """Serves ``app`` on ``host``:``port``; port 0 takes a free one, which ``port`` then names. ``identity``:
    over TLS, with its certificate. ``proxies``: whose word is taken for where a request comes from."""

    def __init__(
        self,
        app: FastAPI,
        host: str,
        port: int,
        identity: Identity | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        self._app = app
        self.host = host
        self.port = port
        self._identity = identity
        self._proxies = [plain_address(proxy) for proxy in proxies]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return page_at(self.host, self.port, self._identity is not None)

    def start(self) -> None:
        """Listen, and answer from now on.

        Raises:
            WebServerError: the port is taken or not allowed, or the host is not this machine's.
        """
        door = Door(_listen(self.host, self.port))
        self.port = door.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            loop="asyncio",  # uvloop accepts connections without asking the door
            http="h11",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=64 * 1024,
            proxy_headers=bool(self._proxies),
            forwarded_allow_ips=self._proxies,
            ssl_context_factory=_always_current(self._identity) if self._identity else None,
        )
        self._server = DeadlineServer(config, door)
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)
        self._thread.start()
        log.info("status page at %s", self.url)

    def stop(self) -> None:
        """Finish what is being answered, end the live pages, and close the port."""
        if self._server is None or self._thread is None:
            return
        self._app.state.stopping.set()
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._server = self._thread = None


def _always_current(identity: Identity) -> Callable[..., ssl.SSLContext]:
    """A context that hands each connection on to the newest one."""

    def renew(connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = identity.accepting()

    def make(*_: object) -> ssl.SSLContext:
        context = identity.accepting()
        context.sni_callback = renew
        return context

    return make


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port, backlog=128)
    except socket.gaierror as error:
        raise WebServerError(
            f"web.host {host!r} is not a known name; use an address of this machine, such as 127.0.0.1"
        ) from error
    except OSError as error:
        raise WebServerError(_why_not(host, port, error)) from error


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"web.port {port} is taken on {host}; stop what listens there, or choose another port"
    if error.errno == errno.EACCES:
        return f"web.port {port} needs privileges; choose one from 1024 up"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"web.host {host!r} is no address of this machine; 127.0.0.1 is"
    return f"the status page cannot listen on {host}:{port}: {error.strerror}"
