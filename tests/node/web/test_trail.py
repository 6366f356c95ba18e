"""What the audit trail tells of who looked, searched, acted and was turned away."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from node.web.looks import Looks
from node.web.presentation import clock
from storage import audit
from storage.database import Database
from tests.node.web import rows
from tests.node.web.visitors import REFRESHING, SEARCHING, Browse, log_in, trail


@pytest.mark.usefixtures("people")
def test_a_viewer_looks_and_an_admin_acts_under_their_names(
    browse: Browse, database: Database, guarded: FastAPI
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
    browse: Browse, database: Database, guarded: FastAPI
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
def test_who_reads_the_trail_is_in_it(browse: Browse, database: Database, guarded: FastAPI) -> None:
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
def test_looking_again_soon_is_the_same_look(browse: Browse, database: Database) -> None:
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
    browse: Browse, database: Database, guarded: FastAPI
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
    browse: Browse, database: Database, guarded: FastAPI
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
def test_each_page_of_the_list_that_is_looked_at_is_noted(browse: Browse, database: Database) -> None:
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
    browse: Browse, database: Database, monkeypatch: pytest.MonkeyPatch, address: str
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
    browse: Browse, database: Database, guarded: FastAPI
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
