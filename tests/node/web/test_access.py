"""Who may ask, and what a browser may do with the answer."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from node.settings import Settings
from node.web.app import create_app
from storage.database import Database
from tests.node.web import rows
from tests.node.web.conftest import WELL

HERE = ["127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080"]
ELSEWHERE = ["10.1.2.3", "[fe80::1]:8080", "node.hospital.example"]


@pytest.fixture(autouse=True)
def _the_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node.hospital.example")


@pytest.mark.parametrize("host", HERE + ELSEWHERE)
def test_the_machines_own_names_and_addresses_are_answered(
    database: Database, data_dir: Path, host: str
) -> None:
    with TestClient(page(database, data_dir, login="always")) as client:
        assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", HERE)
def test_who_is_at_this_machine_is_asked_for_no_login(client: TestClient, host: str) -> None:
    assert client.get("/studies", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("name", ["origin", "referer"])
@pytest.mark.parametrize("page", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080"])
def test_a_page_that_is_shown_at_this_machine_may_ask_for_another(
    client: TestClient, name: str, page: str
) -> None:
    said = page if name == "origin" else f"{page}/studies?q=a:b"
    assert client.get("/studies", headers={name: said}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "10.9.9.9"},
        {"X-Forwarded-Host": "node.hospital.example"},
        {"x-real-ip": "127.0.0.1"},
        {"Forwarded": "for=10.9.9.9;proto=https"},
        {"Via": "1.1 Caddy"},
        {"referer": "https://overread.hospital.example/studies"},
        {"referer": "https://overread.hospital.example/127.0.0.1"},
        {"referer": "http://[127.0.0.1/"},
        {"origin": "https://overread.hospital.example"},
        {"origin": "null"},
        *({"host": host} for host in ELSEWHERE),
    ],
)
def test_a_proxy_that_the_node_was_not_told_of_lets_nobody_in_without_a_login(
    database: Database, data_dir: Path, headers: dict[str, str]
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    with TestClient(page(database, data_dir), base_url="http://127.0.0.1:8080") as browser:
        for path in ("/studies", f"/api/studies/{study.uid}", "/metrics", "/live"):
            answer = browser.get(path, headers=headers)
            assert answer.status_code == 403
            assert "name the proxy under web.proxies" in answer.text
            assert study.uid not in answer.text
    asking = page(database, data_dir, proxies=["127.0.0.1"])
    relying = page(database, data_dir, behind_login=True)
    for app, status in ((asking, 303), (relying, 200)):
        with TestClient(app, base_url="http://127.0.0.1:8080", follow_redirects=False) as browser:
            assert browser.get("/studies", headers=headers).status_code == status


def page(database: Database, data_dir: Path, **web: object) -> FastAPI:
    return create_app(Settings.model_validate({"web": web}), database, data_dir, lambda: WELL)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost.evil.example:80"]
)
def test_a_rebound_name_is_turned_away(client: TestClient, host: str) -> None:
    answer = client.get("/api/studies", headers={"host": host})
    assert answer.status_code == 421
    assert "127.0.0.1" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": "http://[127.0.0.1:8080"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8080"},
    ],
)
def test_another_site_cannot_press_a_button(
    client: TestClient, database: Database, headers: dict[str, str]
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    for prefix in ("", "/api"):
        answer = client.post(f"{prefix}/studies/{study.uid}/read-now", headers=headers)
        assert answer.status_code == 403
    assert client.get(f"/api/studies/{study.uid}").json()["study"]["state"] == "receiving"


@pytest.mark.parametrize(
    "address", ["/", "/nowhere", "/api/studies", "/api/nowhere", "/static/page.js", "/metrics"]
)
def test_every_answer_keeps_to_itself(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if address.startswith("/static/") else "no-store")


def test_no_page_has_a_script_or_a_style_within(client: TestClient) -> None:
    for address in ("/", "/health", "/refusals", "/api/docs"):
        page = client.get(address).text
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert page.count("<script") == page.count('<script src="/static/')


def test_the_vendored_parts_come_with_their_licences(client: TestClient) -> None:
    for part in ("htmx", "idiomorph"):
        assert "Permission to use, copy, modify" in client.get(f"/static/vendor/{part}-LICENSE.txt").text


def test_a_static_path_leads_not_out_of_the_folder(client: TestClient) -> None:
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/hostname",
    ):
        assert client.get(path).status_code == 404
