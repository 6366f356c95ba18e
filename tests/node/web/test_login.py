"""Who may see the status page beyond this machine, for how long, and what becomes of those who guess."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from node.security.passwords import hashed
from node.settings import Settings
from node.web import api, login, pages
from node.web.app import create_app
from node.web.attempts import BY_ADDRESS, BY_NAME, BY_PERSON, WINDOW, Attempts
from node.web.looks import Looks
from node.web.presentation import clock
from node.web.waiting import WaitingRoom
from storage import accounts, audit
from storage.audit import AuditEntry, AuditFilter, newest
from storage.database import Database, now
from storage.tables import WebSession
from tests.node.web import rows
from tests.node.web.conftest import WELL

PASSWORD = "correct horse battery"
OURS = {"origin": "http://127.0.0.1:8080"}
SEARCHING = {"hx-request": "true", "hx-trigger": "search"}
REFRESHING = {"hx-request": "true", "hx-trigger": "board"}

Open = Callable[..., TestClient]


@pytest.fixture(scope="module")
def kept() -> str:
    return hashed("anna", PASSWORD)


@pytest.fixture
def guarded(database: Database, data_dir: Path) -> FastAPI:
    """The page as it listens to a hospital, with nobody who could log in."""
    return page_for_a_hospital(database, data_dir, WaitingRoom(seconds=0))


def page_for_a_hospital(database: Database, data_dir: Path, waiting_room: WaitingRoom) -> FastAPI:
    settings = Settings.model_validate({"web": {"host": "0.0.0.0"}})
    return create_app(settings, database, data_dir, lambda: WELL, waiting_room=waiting_room)


@pytest.fixture
def people(database: Database, kept: str) -> None:
    """An admin, Anna, and a viewer, Berta."""
    with database.session() as session:
        accounts.add(session, "anna", "admin", kept)
        accounts.add(session, "berta", "viewer", kept)


@pytest.fixture
def browse(guarded: FastAPI) -> Iterator[Open]:
    """``browse(address, app)``: a browser of its own at an address."""
    with ExitStack() as stack:

        def open_(address: str = "10.0.0.1", app: FastAPI = guarded, scheme: str = "http") -> TestClient:
            return stack.enter_context(
                TestClient(
                    app,
                    base_url=f"{scheme}://127.0.0.1:8080",
                    headers={"origin": f"{scheme}://127.0.0.1:8080"},
                    follow_redirects=False,
                    client=(address, 50000),
                )
            )

        yield open_


def log_in(browser: TestClient, name: str = "anna", password: str = PASSWORD, **more: str) -> int:
    return browser.post("/login", data={"name": name, "password": password, **more}).status_code


def trail(database: Database, kind: str = "") -> list[AuditEntry]:
    with database.snapshot() as session:
        return [entry for entry in newest(session, AuditFilter()) if not kind or entry.kind == kind]


def test_every_address_is_closed_but_those_that_say_nothing(browse: Open) -> None:
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
    guarded: FastAPI, browse: Open, database: Database, caplog: pytest.LogCaptureFixture
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
def test_a_login_leads_to_where_one_wanted_and_a_logout_ends_it(browse: Open, database: Database) -> None:
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
def test_the_cookie_stays_with_the_browser_and_with_this_page(browse: Open) -> None:
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
def test_a_link_to_the_login_leads_nowhere_else(browse: Open, wanted: str) -> None:
    answer = browse().post("/login", data={"name": "anna", "password": PASSWORD, "next": wanted})
    assert answer.headers["location"] == "/studies"


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("columns", [{"seen_at": now() - timedelta(hours=2)}, {"ends_at": now()}])
def test_a_login_ends_by_itself(browse: Open, database: Database, columns: dict[str, object]) -> None:
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


def test_a_page_that_says_no_address_is_led_to_the_login(browse: Open) -> None:
    for address in ("", "http://[x/", "http://127.0.0.1:8080"):
        part = browse().get("/studies", headers={"hx-request": "true", "hx-current-url": address})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login")


@pytest.mark.usefixtures("people")
def test_a_page_that_only_keeps_itself_up_to_date_keeps_nobody_logged_in(
    browse: Open, database: Database
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
def test_who_searches_is_there(browse: Open, database: Database) -> None:
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
    browse: Open, database: Database
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
    browse: Open, database: Database, monkeypatch: pytest.MonkeyPatch
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
    browse: Open, database: Database, data_dir: Path
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
def test_an_unknown_name_is_answered_like_a_wrong_password(browse: Open) -> None:
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
def test_another_site_acts_in_nobodys_name(browse: Open, database: Database, headers: dict[str, str]) -> None:
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
def test_a_viewer_looks_and_an_admin_acts_under_their_names(
    browse: Open, database: Database, guarded: FastAPI
) -> None:
    guarded.state.context.looks = Looks(database, count(0.0, 61.0).__next__)  # minutes between all they do
    with database.session() as session:
        study = rows.add_study(session)
    viewer, admin = browse("10.0.0.7"), browse("10.0.0.8")
    log_in(viewer, "berta")
    log_in(admin)
    page = viewer.get(f"/studies/{study.uid}")
    assert "read-now" not in page.text
    for prefix in ("", "/api"):
        assert viewer.post(f"{prefix}/studies/{study.uid}/read-now").status_code == 403
        refused = viewer.get(f"{prefix}/audit")
        assert (refused.status_code, "Only an admin may do that" in refused.text) == (403, True)
        assert ("Show all studies" in refused.text) == (not prefix)
    assert admin.post(f"/studies/{study.uid}/read-now").status_code == 303
    assert "asked for by anna" in admin.get(f"/studies/{study.uid}").text
    entries = {(e.kind, e.who, e.address, e.study_uid) for e in trail(database)}
    assert ("viewed", "berta", "10.0.0.7", study.uid) in entries
    assert ("action", "anna", "10.0.0.8", study.uid) in entries
    assert [(entry.who, entry.address, entry.text) for entry in reversed(trail(database, "turned-away"))] == [
        ("berta", "10.0.0.7", f"was refused {what}: only an admin may do that")
        for what in (
            f"POST /studies/{study.uid}/read-now",
            "GET /audit",
            f"POST /api/studies/{study.uid}/read-now",
            "GET /api/audit",
        )
    ]
    listed = admin.get("/api/audit?kind=action").json()["entries"]
    assert [(line["who"], line["text"]) for line in listed] == [("anna", "asked the node to read now")]
    assert "berta" in admin.get("/audit").text


@pytest.mark.usefixtures("people")
def test_whoever_asks_again_and_again_for_what_is_not_theirs_has_one_line_a_minute(
    browse: Open, database: Database, guarded: FastAPI
) -> None:
    now_is = [1000.0]
    guarded.state.context.looks = Looks(database, lambda: now_is[0])
    viewer, elsewhere = browse("10.0.0.7"), browse("10.0.0.8")
    assert [log_in(browser, "berta") for browser in (viewer, elsewhere)] == [303, 303]
    for number in range(20):
        assert viewer.post(f"/nothing/{number}").status_code == 403
    elsewhere.post("/nothing")
    now_is[0] += 61
    for number in (20, 21):
        viewer.post(f"/nothing/{number}")
    now_is[0] += 600
    viewer.post("/nothing/22")
    assert [(entry.address, entry.text) for entry in reversed(trail(database, "turned-away"))] == [
        (address, f"was refused POST /nothing{path}: only an admin may do that{between}")
        for address, path, between in (
            ("10.0.0.7", "/0", ""),
            ("10.0.0.8", "", ""),
            ("10.0.0.7", "/20", " (19 more from there since the last such line)"),
            ("10.0.0.7", "/22", " (1 more from there since the last such line)"),
        )
    ]


@pytest.mark.usefixtures("people")
def test_who_is_logged_in_may_log_in_anew_whatever_their_role(browse: Open, database: Database) -> None:
    """As in a second window that still shows the login."""
    viewer = browse()
    log_in(viewer, "berta")
    assert viewer.get("/login?next=/health").headers["location"] == "/health"
    assert log_in(viewer, "berta") == 303
    assert log_in(viewer) == 303
    assert [entry.who for entry in trail(database, "login")] == ["anna", "berta", "berta"]


@pytest.mark.usefixtures("people")
def test_who_reads_the_trail_is_in_it(browse: Open, database: Database, guarded: FastAPI) -> None:
    guarded.state.context.looks = Looks(database, lambda: 1000.0)
    browser = browse()
    log_in(browser)
    for _ in range(2):
        page = browser.get("/audit")
        assert page.text.count("looked at the audit trail") == 1
        browser.get("/audit", headers=REFRESHING)
    browser.get("/audit?q=ber", headers=SEARCHING)
    browser.get("/audit?q=berta", headers=SEARCHING)
    older = browser.get("/api/audit?limit=1").json()["older"]
    browser.get("/api/audit", params={"kind": "login", "older": older})
    first, *others = [entry.text for entry in trail(database, "viewed")]
    assert first.startswith("looked at the audit trail: login, older than ")
    assert others == [
        "searched the audit trail for berta (typed from ber on)",
        "looked at the audit trail",
    ]


@pytest.mark.usefixtures("people")
def test_looking_again_soon_is_the_same_look(browse: Open, database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    browser = browse()
    log_in(browser)
    for _ in range(3):
        browser.get(f"/studies/{study.uid}")
        browser.get(f"/api/studies/{study.uid}")
        browser.get(f"/api/studies/{study.uid}/readings")
    assert [entry.study_uid for entry in trail(database, "viewed")] == [study.uid]


@pytest.mark.usefixtures("people")
def test_what_is_searched_for_is_noted_in_one_line_and_not_by_the_letter(
    browse: Open, database: Database, guarded: FastAPI
) -> None:
    clock = [1000.0]
    guarded.state.context.looks = Looks(database, lambda: clock[0])
    browser = browse()
    log_in(browser)
    for typed in ("PAT", "PAT-0", "PAT-01", "PAT", "PAT-02"):
        browser.get("/studies", params={"q": typed}, headers=SEARCHING)
        browser.get("/studies", params={"q": typed}, headers=REFRESHING)
        clock[0] += 2
    assert [entry.text for entry in trail(database, "viewed")] == [
        "searched the list of studies for PAT-01 (typed from PAT on); PAT-02"
    ]
    clock[0] += 60
    browser.get("/studies", params={"q": "PAT-03", "from": "2026-01-31"}, headers=SEARCHING)
    browser.get("/api/studies", params={"q": "ACC7"})
    said = trail(database, "viewed")
    assert said[0].text == "searched the list of studies for received from 2026-01-31, PAT-03; ACC7"
    assert (said[0].who, said[0].address) == ("anna", "10.0.0.1")
    assert len(said) == 2


@pytest.mark.usefixtures("people")
def test_what_was_shown_is_not_erased_by_typing_on(
    browse: Open, database: Database, guarded: FastAPI
) -> None:
    guarded.state.context.looks = Looks(database, lambda: 1000.0)
    browser = browse()
    log_in(browser)
    for typed in ("DOE", "DOE, whom nobody is called"):
        browser.get("/studies", params={"q": typed}, headers=SEARCHING)
    browser.get("/studies?state=failed")
    browser.get("/studies?state=failed&q=ROE", headers=SEARCHING)
    assert [entry.text for entry in trail(database, "viewed")] == [
        "searched the list of studies for DOE, whom nobody is called (typed from DOE on); failed; failed, ROE"
    ]


@pytest.mark.usefixtures("people")
def test_each_page_of_the_list_that_is_looked_at_is_noted(browse: Open, database: Database) -> None:
    moment = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)
    with database.session() as session:
        for _ in range(3):
            rows.add_study(session, at=moment)
    browser = browse()
    log_in(browser)
    for search, said in (("", ""), ("PAT", "PAT, ")):
        first = browser.get("/api/studies", params={"q": search, "limit": 2}).json()
        browser.get("/studies", params={"q": search, "older": first["older"]})
        assert trail(database, "viewed")[0].text == (
            f"looked at the list of studies: {said}older than {clock(moment)}"
        )
    assert len(trail(database, "viewed")) == 4


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    "address", ["/studies/{uid}", "/api/studies/{uid}/readings", "/studies", "/studies?q=P"]
)
def test_what_cannot_be_noted_is_not_shown_on_a_second_try_either(
    browse: Open, database: Database, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with database.session() as session:
        address = address.format(uid=rows.add_study(session).uid)
    browser = browse()
    log_in(browser)

    def away(*_: object, **__: object) -> int:
        raise OperationalError("INSERT INTO audit", {}, Exception("the disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(audit, "note", away)
        assert [browser.get(address).status_code for _ in range(2)] == [503, 503]
    assert browser.get(address).status_code == 200
    assert len(trail(database, "viewed")) == 1


@pytest.mark.usefixtures("people")
def test_a_page_that_shows_on_what_was_looked_at_is_no_look_and_another_is(
    browse: Open, database: Database, guarded: FastAPI
) -> None:
    clock = [1000.0]
    guarded.state.context.looks = Looks(database, lambda: clock[0])
    with database.session() as session:
        seen, unseen = rows.add_study(session), rows.add_study(session)
    browser = browse()
    log_in(browser)
    browser.get(f"/studies/{seen.uid}")
    clock[0] += 3600
    browser.get(f"/studies/{seen.uid}", headers=REFRESHING)
    assert len(trail(database, "viewed")) == 1
    browser.get(f"/studies/{unseen.uid}", headers=REFRESHING)
    assert [entry.study_uid for entry in trail(database, "viewed")] == [unseen.uid, seen.uid]


@pytest.mark.usefixtures("people")
def test_a_new_password_needs_the_old_one_and_ends_every_other_login(browse: Open) -> None:
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


def test_metrics_are_open_only_where_that_is_set(browse: Open, database: Database, data_dir: Path) -> None:
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
def test_a_form_of_ill_will_is_a_wrong_password(browse: Open) -> None:
    for body in (b"\xff\xfe=%ZZ&name=anna", b"name=anna&password=" + b"x" * 100_000, b"&" * 15_000, b"{}"):
        answer = browse().post("/login", content=body)
        assert answer.status_code in (401, 429), body[:30]
