"""Who may see the status page beyond this machine, for how long, and what becomes of those who guess."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from node.settings import Settings
from node.web import api, login, pages
from node.web.app import create_app
from node.web.attempts import BY_ADDRESS, BY_NAME, BY_PERSON, WINDOW, Attempts
from node.web.waiting import WaitingRoom
from storage import accounts
from storage.database import Database, now
from storage.tables import WebSession
from tests.node.web import rows
from tests.node.web.conftest import WELL, page_for_a_hospital
from tests.node.web.visitors import PASSWORD, REFRESHING, SEARCHING, Browse, log_in, trail


def test_every_address_is_closed_but_those_that_say_nothing(browse: Browse) -> None:
    browser = browse()
    routes = [route for part in (pages, api, login) for route in part.router.routes]
    assert all(isinstance(route, APIRoute) for route in routes)
    addresses = {"/nowhere", "/api/nowhere", "/api/openapi.json"} | {
        re.sub(r"{[^}]*}", "1", str(getattr(route, "path", ""))) for route in routes
    }
    assert len(addresses) > 15
    for address in addresses - {"/login", "/setup", "/api/alive", "/api/health"}:
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
            answer = browser.request(method, address)
            assert answer.status_code in (303, 401), (method, address)
            assert answer.headers.get("location", "/login").startswith("/login")
    assert browser.get("/api/alive").json() == {"alive": True}
    told = browser.get("/api/health").json()
    assert set(told) == {"ok", "age_seconds", "probes"}
    assert (told["ok"], told["probes"]) == (True, [])
    assert browser.get("/static/overread.css").status_code == 200


def test_on_this_machine_alone_nobody_is_asked(client: TestClient) -> None:
    assert client.get("/studies").status_code == 200
    assert client.get("/login").status_code == 404


@pytest.mark.parametrize(
    ("web", "asks"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "overread.hospital.example"}, True),
        ({"host": "127.0.0.1", "login": "always"}, True),
        ({"host": "127.0.0.1", "proxies": ["127.0.0.1"]}, True),
        ({"host": "127.0.0.1", "names": ["overread.hospital.example"]}, True),
        ({"host": "0.0.0.0", "behind_login": True}, False),
    ],
)
def test_a_login_is_asked_for_where_others_could_see_the_page(web: dict[str, object], asks: bool) -> None:
    assert Settings.model_validate({"web": web}).web.asks_login is asks


def test_the_first_admin_is_made_with_the_code_from_the_log_and_only_once(
    guarded: FastAPI, browse: Browse, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        guarded.state.context.logins.invite("http://node:8080/")
    code = re.findall(r"[A-Z0-9]{4}(?:-[A-Z0-9]{4}){3}", caplog.text)[0]
    browser = browse()
    assert browser.get("/login").headers["location"] == "/setup"
    form = {"code": "AAAA-BBBB-CCCC-DDDD", "name": "anna", "password": PASSWORD, "again": PASSWORD}
    assert browser.post("/setup", data=form).status_code == 401
    assert "differ" in browser.post("/setup", data=form | {"code": code, "again": "x"}).text
    assert browser.post("/setup", data=form | {"code": code, "password": "short", "again": "short"}).is_error
    made = browser.post("/setup", data=form | {"code": code.lower()})
    assert (made.status_code, made.headers["location"]) == (303, "/studies")
    assert "anna" in browser.get("/studies").text
    stranger = browse("10.0.0.2")
    assert stranger.get("/setup").headers["location"] == "/login"
    assert stranger.post("/setup", data=form | {"code": code, "name": "eve"}).status_code == 401
    with database.snapshot() as session:
        assert [(a.name, a.role) for a in accounts.accounts(session)] == [("anna", "admin")]


@pytest.mark.usefixtures("people")
def test_a_login_leads_to_where_one_wanted_and_a_logout_ends_it(browse: Browse, database: Database) -> None:
    browser = browse()
    sent_away = browser.get("/studies?state=failed")
    assert sent_away.headers["location"] == "/login?next=/studies%3Fstate%3Dfailed"
    answer = browser.post(
        "/login", data={"name": "anna", "password": PASSWORD, "next": "/studies?state=failed"}
    )
    assert answer.headers["location"] == "/studies?state=failed"
    token = browser.cookies["overread"]
    assert browser.get("/studies").status_code == 200
    assert browser.post("/logout").status_code == 303
    browser.cookies.set("overread", token)
    assert browser.get("/api/studies").status_code == 401
    assert [entry.kind for entry in trail(database)] == ["logout", "viewed", "login"]


@pytest.mark.usefixtures("people")
def test_the_cookie_stays_with_the_browser_and_with_this_page(browse: Browse) -> None:
    for scheme, name in (("http", "overread"), ("https", "__Host-overread")):
        browser = browse(scheme=scheme)
        cookie = browser.post("/login", data={"name": "anna", "password": PASSWORD}).headers["set-cookie"]
        assert cookie.startswith(f"{name}=")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert ("Secure" in cookie) is (scheme == "https")
        assert "Domain" not in cookie


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb", ""]
)
def test_a_link_to_the_login_leads_nowhere_else(browse: Browse, wanted: str) -> None:
    answer = browse().post("/login", data={"name": "anna", "password": PASSWORD, "next": wanted})
    assert answer.headers["location"] == "/studies"


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("columns", [{"seen_at": now() - timedelta(hours=2)}, {"ends_at": now()}])
def test_a_login_ends_by_itself(browse: Browse, database: Database, columns: dict[str, object]) -> None:
    browser = browse()
    log_in(browser)
    assert browser.get("/studies").status_code == 200
    with database.session() as session:
        session.execute(update(WebSession).values(**columns))
    assert browser.get("/studies").status_code == 303
    part = browser.get("/studies", headers={"hx-request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login")
    shown = {"hx-request": "true", "hx-current-url": "http://127.0.0.1:8080/studies?state=failed"}
    part = browser.get("/studies", headers=shown)
    assert part.headers["hx-redirect"] == "/login?next=/studies%3Fstate%3Dfailed"


def test_a_page_that_says_no_address_is_led_to_the_login(browse: Browse) -> None:
    for address in ("", "http://[x/", "http://127.0.0.1:8080"):
        part = browse().get("/studies", headers={"hx-request": "true", "hx-current-url": address})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login")


@pytest.mark.usefixtures("people")
def test_a_page_that_only_keeps_itself_up_to_date_keeps_nobody_logged_in(
    browse: Browse, database: Database
) -> None:
    browser, long_ago = browse(), now() - timedelta(minutes=30)
    log_in(browser)
    with database.session() as session:
        session.execute(update(WebSession).values(seen_at=long_ago))
    browser.get("/studies", headers={"hx-request": "true"})
    browser.get("/studies?q=doe", headers=REFRESHING)
    browser.get("/health/sign")
    with database.snapshot() as session:
        assert session.scalars(select(WebSession.seen_at)).one() == long_ago
    browser.get("/studies")
    with database.snapshot() as session:
        assert session.scalars(select(WebSession.seen_at)).one() > long_ago


@pytest.mark.usefixtures("people")
def test_who_searches_is_there(browse: Browse, database: Database) -> None:
    browser, long_ago = browse(), now() - timedelta(minutes=30)
    log_in(browser)
    with database.session() as session:
        session.execute(update(WebSession).values(seen_at=long_ago))
    browser.get("/studies?q=doe", headers=SEARCHING)
    with database.snapshot() as session:
        assert session.scalars(select(WebSession.seen_at)).one() > long_ago


@pytest.mark.usefixtures("people")
@pytest.mark.slow
def test_a_thousand_wrong_passwords_are_refused_recorded_and_nobody_elses_trouble(
    browse: Browse, database: Database
) -> None:
    guesser = browse("10.0.0.66")
    answers = [
        guesser.post("/login", data={"name": f"user{i % 50}", "password": f"guess {i}"}) for i in range(1000)
    ]
    assert [answer.status_code for answer in answers].count(401) == BY_ADDRESS
    assert {answer.status_code for answer in answers[BY_ADDRESS:]} == {429}
    assert int(answers[-1].headers["retry-after"]) > 0
    assert log_in(guesser) == 429  # the right one comes too late
    assert log_in(browse("10.0.0.1")) == 303
    refused = trail(database, "login-refused")
    assert len(refused) == BY_ADDRESS + 1
    assert {entry.address for entry in refused} == {"10.0.0.66"}
    assert "too many attempts" in refused[0].text


@pytest.mark.usefixtures("people")
def test_who_was_told_to_wait_is_answered_plainly_and_nothing_is_looked_at(
    browse: Browse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    guesser = browse("10.0.0.66")
    refused = [log_in(guesser, password=f"guess {i}") for i in range(BY_PERSON + 1)]
    assert refused == [401] * BY_PERSON + [429]
    monkeypatch.setattr(login, "run_in_threadpool", None)
    monkeypatch.setattr(login, "show", None)
    answer = guesser.post("/login", data={"name": "anna", "password": PASSWORD})
    assert (answer.status_code, answer.text) == (429, "Too many attempts. Try again in 10 minutes.\n")
    assert 0 < int(answer.headers["retry-after"]) <= WINDOW
    assert len(trail(database, "login-refused")) == BY_PERSON + 1


@pytest.mark.usefixtures("people")
def test_only_who_tries_too_often_waits_for_an_answer(
    browse: Browse, database: Database, data_dir: Path
) -> None:
    waited: list[int] = []

    class Room(WaitingRoom):
        async def wait(self) -> None:
            waited.append(1)

    page = page_for_a_hospital(database, data_dir, Room())
    guesser = browse("10.0.0.66", page)
    assert [log_in(guesser, password=f"guess {i}") for i in range(BY_PERSON)] == [401] * BY_PERSON
    assert log_in(browse("10.0.0.1", page)) == 303
    assert not waited
    assert [log_in(guesser, password=f"guess {i}") for i in range(3)] == [429] * 3
    assert len(waited) == 3
    assert log_in(guesser, name="berta") == 303
    assert log_in(browse("10.0.0.2", page)) == 303
    assert len(waited) == 3


def test_who_has_an_account_guesses_others_no_longer_for_it() -> None:
    attempts, waits = Attempts(lambda: 0.0), []
    for number in range(2 * BY_ADDRESS):
        waits.append(attempts.begin("10.0.0.66", f"user{number}"))
        if attempts.begin("10.0.0.66", "eve") == 0.0:
            attempts.succeeded("10.0.0.66", "eve")
    assert [wait > 0 for wait in waits].count(False) == BY_ADDRESS


def test_a_whole_hospital_logs_in_from_one_address() -> None:
    attempts = Attempts(lambda: 0.0)
    for number in range(3 * BY_ADDRESS):
        assert attempts.begin("10.0.0.1", f"user{number}") == 0.0
        attempts.succeeded("10.0.0.1", f"user{number}")


def test_attempts_on_one_account_are_counted_wherever_they_come_from() -> None:
    clock = [0.0]
    attempts = Attempts(lambda: clock[0])
    waits = [attempts.begin(f"10.0.{i}.1", "anna") for i in range(BY_NAME + 1)]
    assert waits == [0.0] * BY_NAME + [WINDOW]
    assert attempts.begin("10.1.0.1", "berta") == 0.0
    clock[0] = WINDOW
    assert attempts.begin("10.2.0.1", "anna") == 0.0
    for i in range(25_000):
        attempts.begin(f"10.{i}", f"name{i}")
    assert len(attempts._made) <= 10_003


def test_a_crowd_of_addresses_has_no_account_under_attack_forgotten() -> None:
    attempts = Attempts(lambda: 0.0)
    for i in range(BY_NAME):
        assert attempts.begin(f"10.0.{i}.1", "anna") == 0.0
    for i in range(25_000):
        attempts.begin(f"10.{i}", f"name{i}")
    assert attempts.begin("10.9.9.9", "anna") == WINDOW


@pytest.mark.usefixtures("people")
def test_an_unknown_name_is_answered_like_a_wrong_password(browse: Browse) -> None:
    known, unknown = (
        browse().post("/login", data={"name": name, "password": "x" * 20}) for name in ("anna", "nobody")
    )
    assert known.status_code == unknown.status_code == 401
    assert known.text.replace("anna", "nobody") == unknown.text


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": ""}, {"sec-fetch-site": "same-site"}],
)
def test_another_site_acts_in_nobodys_name(
    browse: Browse, database: Database, headers: dict[str, str]
) -> None:
    browser = browse()
    log_in(browser)
    with database.session() as session:
        study = rows.add_study(session)
    if not headers.get("origin", "x"):
        del browser.headers["origin"]  # and no Sec-Fetch-Site either: an old browser, or none
        headers = {}
    for address in (f"/studies/{study.uid}/read-now", f"/api/studies/{study.uid}/read-now", "/logout"):
        refused = browser.post(address, headers=headers)
        assert refused.status_code == 403
        assert ("no Origin header such as http://" in refused.text) == (not headers)
        assert ("Another site sent" in refused.text) == bool(headers)
    assert browser.get("/studies").status_code == 200


@pytest.mark.usefixtures("people")
def test_who_is_logged_in_may_log_in_anew_whatever_their_role(browse: Browse, database: Database) -> None:
    """As in a second window that still shows the login."""
    viewer = browse()
    log_in(viewer, "berta")
    assert viewer.get("/login?next=/health").headers["location"] == "/health"
    assert log_in(viewer, "berta") == 303
    assert log_in(viewer) == 303
    assert [entry.who for entry in trail(database, "login")] == ["anna", "berta", "berta"]


@pytest.mark.usefixtures("people")
def test_a_new_password_needs_the_old_one_and_ends_every_other_login(browse: Browse) -> None:
    here, there = browse(), browse("10.0.0.2")
    log_in(here)
    log_in(there)
    new = {"password": "another long password", "again": "another long password"}
    assert here.post("/account", data={"old": "wrong", **new}).status_code == 401
    assert here.post("/account", data={"old": PASSWORD, "password": "anna", "again": "anna"}).is_error
    assert here.post("/account", data={"old": PASSWORD, **new}).status_code == 303
    assert here.get("/studies").status_code == 200
    assert there.get("/studies").status_code == 303
    assert log_in(there) == 401
    assert log_in(there, password=new["password"]) == 303


def test_metrics_are_open_only_where_that_is_set(browse: Browse, database: Database, data_dir: Path) -> None:
    assert browse().get("/metrics").status_code == 401
    settings = Settings.model_validate({"web": {"host": "0.0.0.0", "metrics": "open"}})
    scraped = browse(app=create_app(settings, database, data_dir, lambda: WELL)).get("/metrics")
    assert "overread_studies" in scraped.text


def test_a_proxys_name_is_known(database: Database, data_dir: Path) -> None:
    settings = Settings.model_validate({"web": {"host": "0.0.0.0", "names": ["Overread.hospital.example"]}})
    with TestClient(create_app(settings, database, data_dir, lambda: WELL)) as browser:
        for host, status in (("overread.hospital.example", 200), ("evil.example", 421)):
            assert browser.get("/api/alive", headers={"host": host}).status_code == status


@pytest.mark.usefixtures("people")
def test_a_form_of_ill_will_is_a_wrong_password(browse: Browse) -> None:
    for body in (b"\xff\xfe=%ZZ&name=anna", b"name=anna&password=" + b"x" * 100_000, b"&" * 15_000, b"{}"):
        answer = browse().post("/login", content=body)
        assert answer.status_code in (401, 429), body[:30]
