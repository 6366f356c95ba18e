"""The server: real sockets on 127.0.0.1."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from node.security.tls import Files, Identity
from node.settings import Settings
from node.upkeep.probe import Probe
from node.web import deadline, pages
from node.web.app import create_app
from node.web.live import Lasting
from node.web.server import WebServer, WebServerError
from storage.audit import AuditFilter, newest
from storage.database import Database
from tests.certificates import Authority
from tests.node.web import rows
from tests.node.web.conftest import WELL
from tests.waiting import wait_for

MORE_THAN_THREADS = 45  # that starlette answers with: 40


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


def test_probes_that_take_long_keep_nobody_waiting_but_the_first(
    database: Database, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "WORTH_TELLING", 0.0)
    looking, ended = threading.Event(), threading.Event()

    def probes() -> tuple[Probe, ...]:
        looking.set()
        ended.wait(60)
        return tuple(WELL)

    app = create_app(Settings(), database, data_dir, probes)
    app.state.context.health = Lasting(probes, seconds=0.5)
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    with (
        ThreadPoolExecutor(MORE_THAN_THREADS) as pool,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        asking = [pool.submit(client.get, "/api/health") for _ in range(MORE_THAN_THREADS)]
        time.sleep(1)
        for address in ("/api/alive", "/api/studies"):
            assert client.get(address, timeout=30).status_code == 200
        ended.set()
        assert {asked.result().json()["ok"] for asked in asking} == {True}
        ended.clear()
        looking.clear()
        time.sleep(0.6)
        again = pool.submit(client.get, "/api/health")
        assert looking.wait(30)
        time.sleep(0.5)
        told = client.get("/api/health", timeout=30).json()
        assert (told["ok"], told["age_seconds"] > 1) == (True, True)
        assert "the look that is under way takes long" in client.get("/health", timeout=30).text
        ended.set()
        assert again.result().json()["age_seconds"] < 1
    server.stop()


def test_health_is_not_well_while_a_look_does_not_end(database: Database, data_dir: Path) -> None:
    now = 0.0
    looking, ended = threading.Event(), threading.Event()

    def probes() -> tuple[Probe, ...]:
        looking.set()
        ended.wait(60)
        return tuple(WELL)

    app = create_app(Settings(), database, data_dir, probes)
    app.state.context.health = Lasting(probes, seconds=5.0, clock=lambda: now)
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=server.url, timeout=30) as client:
        ended.set()
        assert client.get("/api/health").json()["ok"]
        ended.clear()
        looking.clear()
        now = 1000.0  # nobody asked meanwhile
        hanging = pool.submit(client.get, "/api/health")
        assert looking.wait(30)
        now = 1060.0
        told = client.get("/api/health")
        assert (told.status_code, told.json()["age_seconds"]) == (200, 1060.0)
        now = 1061.0
        told = client.get("/api/health")
        first, *others = told.json()["probes"]
        assert (told.status_code, told.json()["ok"], len(others)) == (503, False, len(WELL))
        assert (first["name"], first["ok"]) == ("health", False)
        assert "the look that is under way takes 61 s" in first["detail"]
        page = client.get("/health")
        assert (page.status_code, "1 part needs attention." in page.text) == (503, True)
        assert "1 problem" in client.get("/health/sign").text
        ended.set()
        assert hanging.result().json()["ok"]
        told = client.get("/api/health")
        assert (told.status_code, told.json()["age_seconds"]) == (200, 0.0)
    server.stop()


def test_beyond_this_machine_patients_are_shown_only_to_who_is_logged_in(
    database: Database, data_dir: Path
) -> None:
    settings = Settings.model_validate({"web": {"host": "0.0.0.0"}})
    server = WebServer(create_app(settings, database, data_dir, lambda: WELL), "0.0.0.0", 0)
    server.start()
    page = f"http://127.0.0.1:{server.port}"
    assert httpx.get(f"{page}/api/studies").status_code == 401
    assert httpx.get(f"{page}/studies").headers["location"].startswith("/login")
    server.stop()


@pytest.mark.parametrize(("version", "status"), [(b"1.1", b"200"), (b"1.0", b"403")])
def test_what_comes_by_http_1_0_was_handed_on_and_sees_nothing_without_a_login(
    address: str, version: bytes, status: bytes
) -> None:
    url = httpx.URL(address)
    with socket.create_connection((url.host, url.port or 80), timeout=20) as proxy:
        host = url.netloc
        proxy.sendall(
            b"GET /studies HTTP/" + version + b"\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        )
        told = b"".join(iter(lambda: proxy.recv(65536), b""))
    assert told.split()[1] == status


def test_the_page_speaks_tls_and_takes_up_a_new_certificate(app: FastAPI, tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "Old CA"), Authority(tmp_path, "New CA")
    pair = old.issue("page")
    server = WebServer(app, "127.0.0.1", 0, Identity(Files(pair.certificate, pair.private_key)))
    server.start()
    assert server.url.startswith("https://")

    def trusted(authority: Authority) -> bool:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        try:
            return httpx.get(f"{server.url}api/alive", verify=context).status_code == 200
        except httpx.ConnectError:
            return False

    assert (trusted(old), trusted(new)) == (True, False)
    renewed = new.issue("renewed")
    pair.private_key.write_bytes(renewed.private_key.read_bytes())
    pair.certificate.write_bytes(renewed.certificate.read_bytes())
    assert (trusted(old), trusted(new)) == (False, True)
    server.stop()


@pytest.mark.parametrize(("proxies", "believed"), [((), "127.0.0.1"), (("127.0.0.1",), "10.9.9.9")])
def test_only_a_proxy_that_is_named_is_believed(
    database: Database, data_dir: Path, proxies: tuple[str, ...], believed: str
) -> None:
    settings = Settings.model_validate({"web": {"login": "always"}})
    app = create_app(settings, database, data_dir, lambda: WELL)
    server = WebServer(app, "127.0.0.1", 0, proxies=proxies)
    server.start()
    forwarded = {"X-Forwarded-For": "10.9.9.9", "X-Forwarded-Proto": "https"}
    form = {"name": "anna", "password": "not her password"}
    assert httpx.post(f"{server.url}login", data=form, headers=forwarded).status_code == 401
    server.stop()
    with database.snapshot() as session:
        assert [entry.address for entry in newest(session, AuditFilter())] == [believed]


@pytest.mark.parametrize("proxies", [["127.0.0.1"], ["::ffff:127.0.0.1"]])
@pytest.mark.parametrize("client", ["10.9.9.9", "::ffff:10.9.9.9"])
def test_a_page_on_every_address_knows_a_proxy_that_comes_by_ipv4(
    database: Database, data_dir: Path, proxies: list[str], client: str
) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    settings = Settings.model_validate({"web": {"login": "always", "names": ["page"]}})
    server = WebServer(create_app(settings, database, data_dir, lambda: WELL), "::", 0, proxies=proxies)
    server.start()
    told = {"X-Forwarded-For": client, "Host": "page"}
    form = {"name": "anna", "password": "not her password"}
    for address in ("127.0.0.1", "[::1]"):
        page = f"http://{address}:{server.port}/login"
        assert httpx.post(page, data=form, headers=told).status_code == 401
    server.stop()
    with database.snapshot() as session:
        assert [entry.address for entry in newest(session, AuditFilter())] == ["::1", "10.9.9.9"]


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


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /api/alive HTTP/1.1\r\nHost: 127", id="half a head"),
        pytest.param(
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\na", id="half a body"
        ),
        pytest.param(b"GET /api/alive HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /", id="half of the next"),
    ],
)
def test_who_does_not_end_a_request_is_hung_up_on(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(deadline, "REQUEST_SECONDS", 0.3)
    _is_hung_up_on(WebServer(app, "127.0.0.1", 0), said)


@pytest.mark.parametrize(
    "said",
    [pytest.param(b"", id="nothing"), pytest.param(b"\x16\x03\x01\x02\x00\x01", id="half a hello")],
)
def test_who_does_not_end_a_handshake_is_hung_up_on(
    app: FastAPI, identity: Identity, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(deadline, "REQUEST_SECONDS", 0.3)
    _is_hung_up_on(WebServer(app, "127.0.0.1", 0, identity), said)


def test_who_does_not_agree_to_the_end_of_tls_is_hung_up_on(
    app: FastAPI, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "CLOSING_SECONDS", 0.3)
    server = WebServer(app, "127.0.0.1", 0, identity)
    server.start()
    wait_for(lambda: _answers(server.url))
    monkeypatch.setattr(deadline, "REQUEST_SECONDS", 0.3)  # of a request alone, now that it listens
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
        connection.dup() as beneath,
        context.wrap_socket(connection),
        suppress(ConnectionError),
    ):
        while beneath.recv(65536):
            pass
    server.stop()


def test_it_serves_as_it_does_here_where_uvicorn_finds_another_loop(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", types.ModuleType("uvloop"))
    monkeypatch.setitem(sys.modules, "httptools", types.ModuleType("httptools"))
    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    wait_for(lambda: _answers(server.url))
    server.stop()


def _is_hung_up_on(server: WebServer, said: bytes) -> None:
    server.start()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent,
        suppress(ConnectionError),  # as where it hung up before all was said
    ):
        silent.sendall(said)
        while silent.recv(65536):
            pass
    server.stop()


def test_a_page_that_listens_is_not_hung_up_on(
    address: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "REQUEST_SECONDS", 3.0)
    with httpx.stream("GET", f"{address}live", timeout=20) as stream:
        lines = stream.iter_lines()
        first = _next_mark(lines)
        time.sleep(4)
        with database.session() as session:
            rows.add_study(session)
        assert _next_mark(lines) != first


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_crowd_is_hung_up_on_and_leaves_room_when_it_goes(
    app: FastAPI, identity: Identity, monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    monkeypatch.setattr(deadline, "MOST_CONNECTIONS", 3)
    server = WebServer(app, "127.0.0.1", 0, identity if secure else None)
    server.start()
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            for _ in range(4)
        ]
        assert crowd[-1].recv(1) == b""
        assert not _answers(server.url)
    wait_for(lambda: _answers(server.url))
    server.stop()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}api/alive", verify=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    pair = Authority(tmp_path).issue("page")
    return Identity(Files(pair.certificate, pair.private_key))
