"""The JSON API over a real database file."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from node.settings import Settings
from node.upkeep.probe import Probe
from node.web.app import create_app
from storage import audit
from storage.audit import AuditFilter, newest
from storage.database import Database, now
from storage.overview import STATES
from storage.refusals import NO_STATUS
from storage.retention import release
from storage.tables import Series
from tests.node.web import rows
from tests.node.web.conftest import WELL


def test_the_list_has_every_state_and_the_sums(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        rows.one_in_every_state(session, data_dir)
    body = client.get("/api/studies").json()
    assert {study["state"] for study in body["studies"]} == set(STATES) - {"superseded"}
    assert body["counts"]["delivered"] == 2
    assert body["waiting"]["destination"] == "pacs"
    assert body["waiting"]["attempts"] == 4
    assert [source["source"] for source in body["sources"]] == ["CT2", "CT1", "MR1"]


def test_pages_of_the_api_follow_each_other(client: TestClient, database: Database) -> None:
    with database.session() as session:
        wanted = [rows.add_study(session).uid for _ in range(5)]
    first = client.get("/api/studies", params={"limit": 3}).json()
    second = client.get("/api/studies", params={"limit": 3, "older": first["older"]}).json()
    assert second["older"] is None
    shown = [study["uid"] for study in (*first["studies"], *second["studies"])]
    assert shown == list(reversed(wanted))


def test_readings_are_exactly_the_stored_bodies(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        body = rows.add_reading(session, study, revision, data_dir).body
    answer = client.get(f"/api/studies/{study.uid}/readings").json()
    assert answer == {"study_uid": study.uid, "readings": [body]}


def test_the_readings_of_each_revision_can_be_had(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, data_dir, findings=1)
        rows.read_and_deliver(session, study, data_dir, findings=2)
    address = f"/api/studies/{study.uid}/readings"
    told = [client.get(address, params={"revision": number}).json()["readings"] for number in (1, 2)]
    assert [len(reading["findings"]) for (reading,) in told] == [1, 2]
    assert client.get(address).json()["readings"] == told[1]
    gone = client.get(address, params={"revision": 3})
    sentence = f"Study {study.uid} has no revision 3; its newest is 2."
    assert (gone.status_code, gone.json()) == (404, {"detail": sentence})
    for wrong in ("0", "last", str(10**30)):
        assert client.get(address, params={"revision": wrong}).status_code == 422, wrong
    page = client.get(f"/studies/{study.uid}").text
    assert f"{address}?revision=1" in page
    told = client.get("/api/openapi.json").json()["paths"]["/api/studies/{uid}/readings"]["get"]
    assert "revision" in [parameter["name"] for parameter in told["parameters"]]
    assert "404" in told["responses"]


def test_one_study_tells_findings_deliveries_and_timeline(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.one_in_every_state(session, data_dir)["delivered"]
    body = client.get(f"/api/studies/{study.uid}").json()
    (revision,) = body["revisions"]
    assert len(revision["readings"][0]["findings"]) == 3
    assert [delivery["state"] for delivery in revision["deliveries"]] == ["sent", "sent"]
    assert "lung-nodules found 3 in 2.9 s" in [event["text"] for event in revision["events"]]


def test_what_is_not_there_is_said_in_a_sentence(client: TestClient) -> None:
    for address in ("/api/studies/1.2.3", "/api/studies/1.2.3/readings"):
        answer = client.get(address)
        assert (answer.status_code, answer.json()) == (404, {"detail": "No study 1.2.3 has come in."})


def test_a_bad_question_is_answered_with_what_is_allowed(client: TestClient) -> None:
    state = client.get("/api/studies", params={"state": "gone"})
    assert state.status_code == 422
    assert "There are: receiving, queued" in state.json()["detail"]
    day = client.get("/api/studies", params={"from": "yesterday"})
    assert (day.status_code, day.json()["detail"]) == (422, "'yesterday' is no day. Write it as 2026-01-31.")
    for bad in (
        {"older": "x"},
        {"limit": "0"},
        {"to": "9999-12-31"},
        {"older": "0001-01-01T00:00:00+14:00~1"},
        {"older": "0001-01-02T00:00:00+00:00~1"},
        {"older": "1969-12-31T23:59:59+00:00~1"},
        {"older": "9999-12-31T23:59:59+00:00~1"},
        {"older": f"2026-01-01T00:00:00+00:00~{10**30}"},
    ):
        assert client.get("/api/studies", params=bad).status_code == 422, bad


def test_health_is_503_when_a_part_is_down(client: TestClient, probes: list[Probe]) -> None:
    probes.append(Probe("destination pacs", False, "cannot be reached", "Is it running?"))
    answer = client.get("/api/health")
    assert answer.status_code == 503
    assert answer.json()["ok"] is False
    assert {
        "name": "destination pacs",
        "ok": False,
        "detail": "cannot be reached",
        "hint": "Is it running?",
    } in (answer.json()["probes"])


def test_health_is_200_when_all_is_well(client: TestClient) -> None:
    answer = client.get("/api/health")
    assert (answer.status_code, answer.json()["ok"]) == (200, True)


def test_refusals_tell_what_from_whom_and_why(client: TestClient, database: Database) -> None:
    with database.session() as session:
        rows.add_refusal(session, "its pixel data ends early", caller="CT9")
    (refusal,) = client.get("/api/refusals").json()["refusals"]
    assert (refusal["caller"], refusal["status"], refusal["reason"]) == (
        "CT9",
        0xC000,
        "its pixel data ends early",
    )


@pytest.mark.parametrize(("name", "lines"), [("refusals", "refusals"), ("audit", "entries")])
def test_every_refusal_and_line_of_the_trail_can_be_reached(
    client: TestClient, database: Database, name: str, lines: str
) -> None:
    with database.session() as session:
        for number in range(5):
            rows.add_refusal(session, f"number {number}")
            audit.note(session, "login", "anna", f"number {number}")
    told: list[str] = []
    older = None
    for count in (2, 2, 1):
        asked = {"limit": "2", "older": older or "", "kind": "login" if name == "audit" else ""}
        body = client.get(f"/api/{name}", params=asked).json()
        page = client.get(f"/{name}", params=asked).text
        assert len(body[lines]) == count
        told += [line.get("reason") or line["text"] for line in body[lines]]
        assert all(text in page for text in told[-count:])
        assert ("Older →" in page, "← Newest" in page) == (body["older"] is not None, older is not None)
        older = body["older"]
    assert (told, older) == ([f"number {number}" for number in (4, 3, 2, 1, 0)], None)
    assert client.get(f"/api/{name}", params={"older": "x"}).status_code == 422


def test_a_page_keeps_its_length_and_place_when_it_is_fetched_anew(
    client: TestClient, database: Database
) -> None:
    with database.session() as session:
        for number in range(3):
            rows.add_study(session, at=now() - timedelta(days=3, hours=12))  # an age that does not tick
            rows.add_refusal(session)
            audit.note(session, "login", "anna", f"number {number}")
    for name in ("studies", "refusals", "audit"):
        older = client.get(f"/api/{name}", params={"limit": 1}).json()["older"]
        page = client.get(f"/{name}", params={"limit": 1, "older": older}).text
        again = re.findall(r'id="board" hx-get="([^"]*)"', page)[0].replace("&amp;", "&")
        part = client.get(again, headers={"hx-request": "true", "hx-trigger": "board"}).text
        assert part.strip() and part.strip() in page


def test_a_refusal_that_nobody_was_answered_has_no_status(client: TestClient, database: Database) -> None:
    with database.session() as session:
        rows.add_refusal(session, "CT2 is not among dicom.allowed_callers", status=NO_STATUS, uid="")
    (refusal,) = client.get("/api/refusals").json()["refusals"]
    assert refusal["status"] is None


def test_an_action_is_carried_out_once_and_then_refused(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, "infer", "The lamp was out.")
    address = f"/api/studies/{study.uid}/read-again"
    assert client.post(address).status_code == 202
    assert client.get(f"/api/studies/{study.uid}").json()["study"]["state"] == "queued"
    again = client.post(address)
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "A reading of this study is under way already.",
    )
    assert client.post("/api/studies/1.2.3/read-now").status_code == 404
    assert client.post(f"/api/studies/{study.uid}/forget").status_code == 422


def test_where_nobody_logs_in_the_address_says_who_asked(
    app: FastAPI, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.fail(session, study, "infer", "The lamp was out.")
    with TestClient(app, base_url="http://127.0.0.1:8080", client=("10.0.0.7", 50000)) as client:
        assert client.post(f"/api/studies/{study.uid}/read-again").status_code == 202
        told = [event["text"] for event in client.get(f"/api/studies/{study.uid}").json()["events"]]
    assert "Reading again was asked for by somebody at 10.0.0.7." in told
    with database.snapshot() as session:
        (entry,) = newest(session, AuditFilter(kind="action"))
    assert (entry.who, entry.address) == ("somebody at 10.0.0.7", "10.0.0.7")


def test_a_study_is_read_now_with_what_was_received_and_had_no_row_yet(
    database: Database, data_dir: Path
) -> None:
    def settle() -> None:
        with database.session() as session:
            rows.add_study(session, uid="2.25.7")

    begun = []
    app = create_app(Settings(), database, data_dir, lambda: WELL, settle, lambda: begun.append(True))
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        assert client.post("/api/studies/2.25.7/read-now").status_code == 202
    assert begun


def test_the_audit_trail_tells_without_how_many_deleted_images_a_study_was_to_be_read(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session, images=4)
        rows.read_and_deliver(session, study, data_dir)
        release(session, study.uid, "old")
    address = f"/api/studies/{study.uid}/read-again"
    assert client.post(address).status_code == 409
    with database.session() as session:
        series = session.scalars(select(Series).where(Series.uid == f"{study.uid}.2")).one()
        rows.add_image(session, series, 0, now())
    assert client.post(address).status_code == 202
    with database.snapshot() as session:
        (entry,) = newest(session, AuditFilter(kind="action"))
    text = "asked the node to read again, without 2 images that were deleted"
    assert (entry.study_uid, entry.text) == (study.uid, text)


def test_the_description_of_the_api_names_every_address(client: TestClient) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    page = client.get("/api/docs").text
    assert set(paths) >= {"/api/studies", "/api/studies/{uid}/readings", "/api/health", "/api/refusals"}
    for path in paths:
        assert path in page


def test_metrics_count_what_is_there(client: TestClient, database: Database, data_dir: Path) -> None:
    with database.session() as session:
        rows.one_in_every_state(session, data_dir)
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    shown = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert shown['overread_studies{state="failed"}'] == "1.0"
    assert shown["overread_deliveries_waiting"] == "1.0"
    assert shown["overread_turnaround_seconds_count"] == "2.0"
    assert float(shown["overread_disk_free_bytes"]) > 0


@pytest.mark.parametrize(
    "address", ["/studies/a%00b", "/studies?q=a%00b", "/api/studies/a%00b/readings", "/api/audit?q=a%00b"]
)
def test_of_what_no_database_can_hold_the_database_is_not_blamed(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code in (200, 404, 422)  # SQLite looks for it and PostgreSQL will not
    assert "does not answer" not in answer.text
