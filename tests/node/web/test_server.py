"""The server: real sockets on 127.0.0.1."""

from __future__ import annotations

import socket

import httpx
import pytest
from fastapi import FastAPI

from node.web.server import WebServer, WebServerError
from storage.database import Database
from tests.node.web import rows


def test_a_free_port_is_taken_named_and_given_back(app: FastAPI) -> None:
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    assert server.port > 0
    assert httpx.get(f"{server.url}api/health").status_code == 200
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):
        pass


def test_a_port_in_use_is_said_at_once(app: FastAPI) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WebServerError, match=f"web.port {port} is taken"):
            WebServer(app, "127.0.0.1", port).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.255.255.1"])
def test_patients_are_not_shown_to_the_network_without_a_login(app: FastAPI, host: str) -> None:
    with pytest.raises(WebServerError, match="no login"):
        WebServer(app, host, 0).start()


def test_a_name_that_is_no_address_of_this_machine_is_refused(app: FastAPI) -> None:
    with pytest.raises(WebServerError, match=r"not a known name.*127\.0\.0\.1"):
        WebServer(app, "no such host", 0).start()


def test_a_change_is_told_to_a_page_that_listens(address: str, database: Database) -> None:
    with httpx.stream("GET", f"{address}live", timeout=20) as stream:
        lines = stream.iter_lines()
        first = _next_mark(lines)
        with database.session() as session:
            rows.add_study(session)
        assert _next_mark(lines) != first


def test_stopping_does_not_wait_for_pages_that_listen(app: FastAPI) -> None:
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    with httpx.stream("GET", f"{server.url}live", timeout=20) as stream:
        _next_mark(stream.iter_lines())
        server.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def _next_mark(lines: object) -> str:
    assert hasattr(lines, "__next__")
    return next(line for line in lines if line.startswith("data: "))  # type: ignore[attr-defined]
