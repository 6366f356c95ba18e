"""The pages as HTML."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from node.results import codes
from node.settings import Settings
from node.upkeep.probe import Probe
from node.web.app import create_app
from node.web.presentation import clock
from storage import audit
from storage.audit import AuditEntry
from storage.database import Database, now
from storage.tables import Delivery, FindingRow, Study
from tests.node.web import rows

SCRIPT = "<script>alert('in')</script>"


def test_an_empty_node_says_what_to_do(client: TestClient) -> None:
    page = client.get("/").text
    assert "No study yet" in page
    assert "OVERREAD@127.0.0.1:11112" in page
    assert "overread send FOLDER" in page


def test_pages_tell_where_senders_reach_the_node(database: Database, data_dir: Path) -> None:
    settings = Settings.model_validate({"dicom": {"port": 0, "host": "0.0.0.0"}})
    app = create_app(settings, database, data_dir, lambda: ())
    app.state.context.dicom_port = 40111  # the free one that the receiver took
    with TestClient(app, base_url="http://localhost:8080") as client:
        assert "OVERREAD@localhost:40111" in client.get("/").text
        assert "listens at localhost:40111" in client.get("/health").text


def test_a_study_page_says_what_is_stuck_why_and_what_to_press(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        studies = rows.one_in_every_state(session, data_dir)
    stuck = client.get(f"/studies/{studies['delivering'].uid}").text
    assert "1 result waits to be sent to pacs" in stuck
    assert "4 attempts, the last: pacs (PACS at 127.0.0.1:4242) cannot be reached" in stuck
    assert "or at once with “Send again”" in stuck
    failed = client.get(f"/studies/{studies['failed'].uid}").text
    assert "Once that is mended, press “Read again”." in failed
    assert "to be sent to" not in client.get(f"/studies/{studies['delivered'].uid}").text


def test_a_study_page_says_what_guidelines_make_of_findings_and_of_the_examination(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    whole = {
        "guideline": "British Thoracic Society 2015",
        "result": ">= 80 mm3",
        "statement": "Solid, 240 mm3.",
        "recommendation": "At 300 mm3: PET/CT.",
    }
    with database.session() as session:
        study = rows.add_study(session)
        rows.add_reading(session, study, rows.close(session, study), data_dir, assessments=[whole])
    page = client.get(f"/studies/{study.uid}").text
    assert "<b>British Thoracic Society 2015: ≥ 80 mm³</b> Solid, 240 mm³. At 300 mm³: PET/CT.</p>" in page
    assert 'data-label="#" class="number">2</td>' in page
    assert "Solid, 10.3 mm, baseline: category 4A." in page
    assert "CT at low dose in 3 months; PET/CT may be considered." in page


def test_a_study_page_says_what_was_measured_and_how_far_it_is_to_be_believed(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    ratio = {"label": "Cardiothoracic ratio", "value": 0.4738, "unit": "{ratio}", "caveat": "An AP view."}
    width = {"label": "Transverse diameter of the heart", "value": 131.4, "unit": "mm", "caveat": ""}
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        rows.add_reading(session, study, revision, data_dir, 0, measurements=[ratio, width])
    page = client.get(f"/studies/{study.uid}").text
    assert 'Cardiothoracic ratio 0.47 <span class="muted">An AP view.</span>' in page
    assert "Transverse diameter of the heart 131 mm</p>" in page


def test_a_study_page_says_what_was_not_read_and_what_was_made_up(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    unread = {"kind": "unread", "statement": "2 images were not read.", "images": 2}
    with database.session() as session:
        none, study = rows.add_study(session), rows.add_study(session)
        rows.add_reading(session, none, rows.close(session, none), data_dir, 0, caveats=[unread])
        made = rows.add_reading(session, study, rows.close(session, study), data_dir, caveats=[])
        first, *others = made.body["findings"]
        made.body = {**made.body, "findings": [{**first, "interpolated": 0.67, "by_look": True}, *others]}
    page = client.get(f"/studies/{none.uid}").text
    assert "<b>Incomplete:</b> 2 images were not read." in page
    assert "Nothing found in what was read." in page
    assert "Read, and nothing found." not in page
    other = client.get(f"/studies/{study.uid}").text
    assert other.count("67 % of it interpolated") == 1
    assert other.count("found at its place in the prior") == 1
    assert other.count('data-label="Score" class="number">–<') == 1
    assert "Incomplete" not in other


def test_the_list_says_how_long_a_study_has_been_where_it_is(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        rows.begin_reading(session, study, revision)
        revision.started_at = now() - timedelta(minutes=42)
    assert re.search(r"inference, <time [^>]*>42 min</time>", client.get("/studies").text)


def test_where_a_study_is_from_fits_its_column(database: Database, client: TestClient) -> None:
    with database.session() as session:
        rows.add_study(session, source="")
    assert 'title="fetched as a prior">prior</span>' in client.get("/studies").text


def test_a_study_without_result_objects_shows_no_table_of_them(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study, state="stored", image_count=0)
        rows.add_reading(session, study, revision, data_dir, roles=())
    page = client.get(f"/studies/{study.uid}").text
    assert "Results and deliveries" not in page
    assert "0 images" not in page


def test_a_failed_study_shows_its_stage_and_reason_on_the_list(
    client: TestClient, database: Database
) -> None:
    with database.session() as session:
        rows.fail(session, rows.add_study(session), "select", "Two patients share this study.")
    page = client.get("/studies").text
    assert "choosing series:" in page
    assert "Two patients share this study." in page


def test_a_search_without_a_match_offers_a_way_out(client: TestClient, database: Database) -> None:
    with database.session() as session:
        rows.add_study(session)
    page = client.get("/studies", params={"q": "nobody"}).text
    assert "No study matches" in page
    assert 'href="/studies"' in page


def test_tags_are_shown_as_text_wherever_they_come_from(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(
            session, description=SCRIPT, patient_id=SCRIPT, accession_number="<b>&", source="<i>\"'"
        )
        revision = rows.read_and_deliver(session, study, data_dir)
        revision.state, revision.reason = "failed", SCRIPT
        session.scalars(select(FindingRow)).first().label = SCRIPT  # type: ignore[union-attr]
        rows.add_refusal(session, SCRIPT, caller=SCRIPT, study_uid='"><script>')
    for address in ("/studies", f"/studies/{study.uid}", "/refusals", f"/studies?q={SCRIPT}"):
        page = client.get(address).text
        assert "<script>alert" not in page, address
        assert '"><script' not in page, address
        assert "&lt;script&gt;" in page, address


def test_a_study_uid_that_is_no_uid_leads_nowhere_else(client: TestClient, database: Database) -> None:
    with database.session() as session:
        rows.add_refusal(session, study_uid="../../health?x=<y>")
    assert 'href="/studies/..%2F..%2Fhealth%3Fx%3D%3Cy%3E"' in client.get("/refusals").text
    assert client.get("/studies/..%2f..%2fetc%2fpasswd").status_code == 404


def test_a_result_that_was_sent_again_shows_both_moments(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, data_dir)
        first, second = session.scalars(select(Delivery).order_by(Delivery.id))
        first.first_sent_at = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)
        second.state = "waiting"
    page = client.get(f"/studies/{study.uid}").text
    assert clock(first.first_sent_at) in page
    assert page.count("again <time") == 1
    assert page.count("due <time") == 1


def test_a_refusal_says_what_was_answered_and_nothing_where_nothing_was(
    client: TestClient, database: Database
) -> None:
    with database.session() as session:
        rows.add_refusal(session, "the disk is nearly full", status=0xA700)
        rows.add_refusal(session, "CT2@10.0.0.1 is not among dicom.allowed_callers", status=0, uid="")
    page = client.get("/refusals").text
    assert "answered 0xA700: to be sent again later" in page
    assert page.count("answered 0x") == 1


def test_a_study_shows_findings_key_images_and_deliveries(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, data_dir, findings=2)
        keys = session.scalars(select(FindingRow.id)).all()
    page = client.get(f"/studies/{study.uid}").text
    assert "13.1 × 9.4 mm" in page
    assert "increased +142 %" in page
    assert re.findall(r">(Suspicion|Malignancy|Probability)</th>", page) == ["Suspicion"]
    assert codes.SUSPICION.meaning.removeprefix("Suspicion of malignancy, ") in page
    assert "doubling in 143 days" in page
    assert page.count("Forecast from 3 dates, not measured: in 180 days 2900 mm³ (90 % interval") == 1
    assert "suspicion of malignancy 78 % (90 % interval 60 to 90 %)" in page
    assert "Segmentation (SEG)" in page
    assert "series 2 read by lung-nodules: the thinnest axial original" in page
    for key in keys:
        address = f"/studies/{study.uid}/findings/{key}.png"
        assert address in page
        image = client.get(address)
        assert image.headers["content-type"] == "image/png"
        assert image.content.startswith(b"\x89PNG")


def test_reports_are_told_apart_on_the_page_of_their_study(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        revision = rows.close(session, study)
        reading = rows.add_reading(session, study, revision, data_dir, roles=("sr", "sr-changes"))
        rows.deliver(session, study, revision, rows.post(session, revision, reading))
        untold = rows.add_study(session)
        revision = rows.close(session, untold)
        reading = rows.add_reading(session, untold, revision, data_dir, roles=("sr", "sr-of-old"))
        rows.post(session, revision, reading)
    page = client.get(f"/studies/{study.uid}").text
    assert "Measurements (SR)" in page
    assert "Changes (SR)" in page
    assert "SR (changes of lung-nodules) is in pacs" in page
    assert "Structured report (SR)" in client.get(f"/studies/{untold.uid}").text


@pytest.mark.parametrize(
    ("zone", "shown", "named"),
    [("CET-1", "2026-02-01 00:15:00 CET", "CET"), ("<+03>-3", "2026-02-01 02:15:00 UTC+03", "UTC+03")],
)
def test_days_and_moments_are_of_one_zone_which_is_named(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch, zone: str, shown: str, named: str
) -> None:
    moment = datetime(2026, 1, 31, 23, 15, tzinfo=UTC)
    with database.session() as session:
        rows.add_study(session, at=moment)
        audit.enter(session, [AuditEntry(moment, "login", "anna", "", "logged in")])
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        try:
            studies, trail = (
                [
                    client.get(path, params={"from": day, "to": day}).text
                    for day in ("2026-01-31", "2026-02-01")
                ]
                for path in ("/studies", "/audit")
            )
        finally:
            patched.undo()
            time.tzset()
    for eve, day in (studies, trail):
        assert (shown in eve, shown in day) == (False, True)
        assert f"days and times are in {named}." in eve


@pytest.mark.parametrize("written", ["../secret.png", "/etc/hostname", "gone.png", "results/secret.txt"])
def test_no_file_outside_the_data_is_served(
    client: TestClient, database: Database, data_dir: Path, written: str
) -> None:
    (data_dir.parent / "secret.png").write_bytes(b"\x89PNG secret")
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, data_dir, findings=1)
        (data_dir / "results" / "secret.txt").write_text("secret")
        finding = session.scalars(select(FindingRow)).one()
        finding.key_image = written
    answer = client.get(f"/studies/{study.uid}/findings/{finding.id}.png")
    assert answer.status_code == 404
    assert b"secret" not in answer.content


def test_a_link_in_the_data_leads_not_out_of_it(
    client: TestClient, database: Database, data_dir: Path
) -> None:
    (data_dir.parent / "secret.png").write_bytes(b"\x89PNG secret")
    (data_dir / "link.png").symlink_to(data_dir.parent / "secret.png")
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, data_dir, findings=1)
        finding = session.scalars(select(FindingRow)).one()
        finding.key_image = "link.png"
    assert client.get(f"/studies/{study.uid}/findings/{finding.id}.png").status_code == 404


def test_buttons_are_those_that_can_be_used(client: TestClient, database: Database, data_dir: Path) -> None:
    with database.session() as session:
        studies = rows.one_in_every_state(session, data_dir)
    offered = {
        state: {
            action
            for action in ("read-now", "read-again", "send-again")
            if f'id="{action}"' in client.get(f"/studies/{study.uid}").text
        }
        for state, study in studies.items()
    }
    assert offered["receiving"] == {"read-now"}
    assert offered["reading"] == offered["queued"] == set()
    assert offered["delivered"] == {"read-again", "send-again"}
    assert offered["failed"] == offered["skipped"] == {"read-again"}


def test_a_comparison_that_waits_for_all_others_is_hurried_with_a_button(
    client: TestClient, database: Database
) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.close(session, study, compares_again=True)
    assert 'id="read-again"' in client.get(f"/studies/{study.uid}").text
    assert client.post(f"/studies/{study.uid}/read-again", follow_redirects=False).status_code == 303


def test_a_study_asked_for_that_was_never_closed_is_shown_without_a_button(
    client: TestClient, database: Database
) -> None:
    with database.session() as session:
        study = rows.add_study(session, is_open=False, read_now=True)
    page = client.get(f"/studies/{study.uid}")
    assert page.status_code == 200
    assert 'id="read-' not in page.text


def test_pressing_a_button_leads_back_to_the_study(client: TestClient, database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
    answer = client.post(f"/studies/{study.uid}/read-now", headers={"origin": "http://127.0.0.1:8080"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{study.uid}")
    with database.snapshot() as session:
        assert session.scalars(select(Study.read_now)).one() is True


def test_a_button_pressed_too_late_says_why(client: TestClient, database: Database, data_dir: Path) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.read_and_deliver(session, study, data_dir)
    answer = client.post(f"/studies/{study.uid}/read-now")
    assert answer.status_code == 409
    assert "Every image of this study is part of a reading already." in answer.text


def test_health_tells_what_to_do(client: TestClient, probes: list[Probe]) -> None:
    probes.append(Probe("destination pacs", False, "cannot be reached", "Is it running?"))
    page = client.get("/health")
    assert page.status_code == 503
    assert "1 part needs attention." in page.text
    assert "Is it running?" in page.text
    assert "1 problem" in client.get("/health/sign").text


def test_the_script_gets_the_living_part_alone(client: TestClient, database: Database) -> None:
    with database.session() as session:
        rows.add_study(session)
    part = client.get("/studies", headers={"hx-request": "true"}).text
    assert part.lstrip().startswith('<div id="board"')
    whole = client.get("/studies", headers={"hx-request": "true", "hx-history-restore-request": "true"}).text
    assert whole.startswith("<!doctype html>")


def test_a_page_that_is_not_there_is_a_page_all_the_same(client: TestClient) -> None:
    for address in (
        "/nowhere",
        "/studies/1.2.3",
        "/studies/1.2.3/findings/1.png",
        f"/studies/1.2.3/findings/{10**30}.png",
    ):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "Show all studies" in answer.text


def test_five_thousand_studies_take_no_longer_page_than_fifty(client: TestClient, database: Database) -> None:
    moment = now()
    with database.session() as session:
        first = rows.add_study(session, images=1, at=moment)
        session.add_all(
            Study(
                uid=f"2.25.9.{number}",
                patient_pk=first.patient_pk,
                description="CT chest",
                source="CT1",
                first_image_at=moment - timedelta(minutes=number),
                last_image_at=moment - timedelta(minutes=number),
                is_open=False,
            )
            for number in range(1, 5000)
        )
    page = client.get("/studies").text
    assert "All <b>5,000</b>" in page
    assert page.count('role="row" id="s-') == 50
    seen = 50
    while 'id="older"' in page and seen < 1000:
        older = page.split('id="older" href="')[1].split('"')[0].replace("&amp;", "&")
        page = client.get(older).text
        seen += page.count('role="row" id="s-')
    assert seen == 1000


def test_words_of_every_script_and_length_are_shown(client: TestClient, database: Database) -> None:
    description = "胸部CT 造影 " + "Röntgen-" * 25
    with database.session() as session:
        rows.add_study(session, description=description, patient_id="P" * 64)
    page = client.get("/studies").text
    assert description in page
    assert "P" * 64 in page
