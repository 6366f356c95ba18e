"""A patient comes back: priors are found and fetched, lesions keep their tracking UIDs, growth is told."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom import Dataset

from node.app import Node
from node.reading_room import ReadingRoom
from node.results import identity
from node.settings import (
    ArchiveSettings,
    DatabaseSettings,
    DestinationSettings,
    DicomSettings,
    NodeSettings,
    PriorsSettings,
    Settings,
    WebSettings,
)
from tests.databases import Databases
from tests.growing_patient import study_uid, visit
from tests.orthanc import Orthanc
from tests.test_round_trip import send
from tests.waiting import wait_for
from training.phantoms.dicom import Series

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("Orthanc", "storescu"),
    pytest.mark.timeout(900),
]

BASELINE, FIRST, SECOND = "20230710", "20240115", "20240715"
SECONDS = 600


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Three dates: one nodule grows, one stays."""
    root = tmp_path_factory.mktemp("visits")
    sizes = {BASELINE: (11.0, 10.0), FIRST: (14.0, 10.0), SECOND: (18.0, 10.0)}
    return {
        date: visit(root / date, date, diameters, noise=number)
        for number, (date, diameters) in enumerate(sizes.items())
    }


@pytest.fixture
def settings(tmp_path: Path, database_url: str, orthanc: Orthanc) -> Settings:
    pacs = {"name": "pacs", "ae_title": orthanc.ae_title, "host": orthanc.host, "port": orthanc.dicom_port}
    return Settings(
        node=NodeSettings(data_dir=tmp_path / "data"),
        database=DatabaseSettings(url=database_url),
        dicom=DicomSettings(port=0, quiet_seconds=3),
        web=WebSettings(port=0),
        destinations=(DestinationSettings(**pacs, objects=("seg", "sr", "sc"), retry_seconds=1),),
        archives=(ArchiveSettings(**pacs),),
        priors=PriorsSettings(retry_seconds=1),
    )


@pytest.fixture
def another_database_url(databases: Databases, tmp_path: Path) -> Iterator[str]:
    with databases.new(tmp_path / "another") as url:
        yield url


@pytest.fixture
def node(settings: Settings) -> Iterator[Node]:
    running = Node(settings).start()
    yield running
    running.stop()


def test_priors_are_fetched_as_needed_and_the_report_tells_growth_under_one_tracking_uid(
    node, orthanc, visits, tmp_path
):
    upload(orthanc, visits[BASELINE])
    upload(orthanc, visits[FIRST])
    soft = Series(number=3, description="Chest 2.0 soft", kernel="B30f")
    upload(orthanc, visit(tmp_path / "soft", FIRST, (14.0, 10.0), series=soft))
    upload(
        orthanc, visit(tmp_path / "head", BASELINE, (), time="090000", series=Series(body_part="HEAD"))[:30]
    )
    send(node, visits[SECOND])
    study = finished(node, study_uid(SECOND))

    assert study["state"] == "delivered", study
    fetched = {uid: images_here(node, uid) for uid in (study_uid(FIRST), study_uid(BASELINE))}
    assert fetched == {
        study_uid(FIRST): {uid_of_series(visits[FIRST]): len(visits[FIRST])},
        study_uid(BASELINE): {uid_of_series(visits[BASELINE]): len(visits[BASELINE])},
    }
    assert [line["state"] for line in studies(node) if line["uid"] != study["uid"]] == ["stored", "stored"]
    assert {r["StudyInstanceUID"] for r in orthanc.instances(Modality="SR")} == {study["uid"]}

    (grown,) = (f for f in findings(node, study) if f["change"]["category"] == "increased")
    assert grown["change"]["prior_study_uid"] == study_uid(FIRST)
    assert grown["change"]["days"] == 182
    prior = {f["tracking_uid"]: f for f in findings(node, {"uid": study_uid(FIRST)})}
    baseline = {f["tracking_uid"] for f in findings(node, {"uid": study_uid(BASELINE)})}
    assert grown["tracking_uid"] in prior.keys() & baseline
    change = 100 * (grown["volume_mm3"] / prior[grown["tracking_uid"]]["volume_mm3"] - 1)
    assert grown["change"]["volume_change_percent"] == pytest.approx(change)

    report = volumes_of(orthanc, study["uid"])
    assert numbers(report, grown["tracking_uid"])["Fractional Change"] == pytest.approx(change, abs=0.06)
    doubling = grown["change"]["doubling_time_days"]
    assert numbers(report, grown["tracking_uid"])["Volume doubling time"] == pytest.approx(doubling, abs=0.06)
    (segmentation,) = orthanc.datasets(Modality="SEG", StudyInstanceUID=study["uid"])
    assert grown["tracking_uid"] in {s.TrackingUID for s in segmentation.SegmentSequence}


def test_with_the_archive_down_it_is_delivered_and_compared_when_the_archive_returns(node, orthanc, visits):
    upload(orthanc, visits[FIRST])
    orthanc.stop()
    send(node, visits[SECOND])
    uid = study_uid(SECOND)
    alone = wait_for(lambda: in_state(node, uid, ("delivering",)), SECONDS)
    assert "pacs" in timeline(node, uid, "priors")
    assert all(f["change"] is None for f in findings(node, alone))
    orthanc.start()

    compared = wait_for(lambda: finished_now(node, uid, alone["revision"] + 1), SECONDS)
    assert compared["state"] == "delivered"
    assert "answers again" in timeline(node, uid, "priors")
    assert any(f["change"] and f["change"]["category"] == "increased" for f in findings(node, compared))
    assert predecessors(orthanc, uid)
    quiet = studies(node)
    time.sleep(3)
    assert studies(node) == quiet


def test_an_archive_that_dies_amid_the_fetch_is_asked_again_when_it_returns(
    node, orthanc, visits, monkeypatch
):
    upload(orthanc, visits[FIRST])
    fetch, taken = ReadingRoom.fetch, []

    def cut_short(room, archive, study_uid, series, seconds):
        def take(fetched):
            taken.append(fetched.uid)
            if len(taken) == 10:
                orthanc.stop()
            return room.take(fetched)

        fetch(replace(room, take=take), archive, study_uid, series, seconds)

    monkeypatch.setattr(ReadingRoom, "fetch", cut_short)
    send(node, visits[SECOND])
    uid = study_uid(SECOND)
    alone = wait_for(lambda: in_state(node, uid, ("delivering",)), SECONDS)
    assert 10 <= len(taken) < len(visits[FIRST])
    assert "earlier studies in pacs are not compared with" in timeline(node, uid, "priors")
    assert all(f["change"] is None for f in findings(node, alone))
    orthanc.start()

    compared = wait_for(lambda: finished_now(node, uid, alone["revision"] + 1), SECONDS)
    assert compared["state"] == "delivered"
    assert images_here(node, study_uid(FIRST)) == {uid_of_series(visits[FIRST]): len(visits[FIRST])}
    assert any(f["change"] and f["change"]["category"] == "increased" for f in findings(node, compared))


def test_a_prior_is_moved_here_where_the_archive_is_to_be_asked_so(settings, orthanc, visits):
    moving = settings.archives[0].model_copy(update={"retrieve": "move"})
    upload(orthanc, visits[FIRST])
    running = Node(settings.model_copy(update={"archives": (moving,)})).start()
    try:
        orthanc.introduce("OVERREAD", running.dicom_port)
        send(running, visits[SECOND])
        study = finished(running, study_uid(SECOND))
        assert study["state"] == "delivered"
        first = {uid_of_series(visits[FIRST]): len(visits[FIRST])}
        assert images_here(running, study_uid(FIRST)) == first
        assert any(f["change"]["category"] == "increased" for f in findings(running, study))
    finally:
        running.stop()


def test_a_prior_that_comes_after_the_current_study_changes_its_results_once(settings, orthanc, visits):
    running = Node(settings.model_copy(update={"archives": ()})).start()
    try:
        uid = study_uid(SECOND)
        send(running, visits[SECOND])
        assert all(f["change"] is None for f in findings(running, finished(running, uid)))
        send(running, visits[FIRST])
        compared = wait_for(lambda: finished_now(running, uid, 2), SECONDS)
        prior = {f["tracking_uid"] for f in findings(running, {"uid": study_uid(FIRST)})}
        assert {
            f["tracking_uid"] for f in findings(running, compared) if f["change"]["category"] != "new"
        } <= prior
        assert predecessors(orthanc, uid)

        held = {r["ID"] for r in orthanc.instances()}
        origin = {"Origin": running.status_url.rstrip("/")}
        address = f"{running.status_url}studies/{uid}/read-again"
        assert httpx.post(address, headers=origin, timeout=SECONDS).status_code in (200, 303)
        wait_for(lambda: finished_now(running, uid, 3), SECONDS)
        assert {r["ID"] for r in orthanc.instances()} == held
    finally:
        running.stop()


def test_a_node_that_lost_its_memory_finds_the_tracking_uids_in_the_pacs(
    settings, another_database_url, orthanc, visits, monkeypatch
):
    upload(orthanc, visits[FIRST])
    first = Node(settings).start()
    try:
        send(first, visits[FIRST])
        known = findings(first, finished(first, study_uid(FIRST)))
    finally:
        first.stop()
    settings = without_memory(settings, another_database_url)
    monkeypatch.setattr(identity, "SOFTWARE_VERSION", "another")  # makes other UIDs of everything
    second = Node(settings).start()
    try:
        send(second, visits[SECOND])
        study = finished(second, study_uid(SECOND))
        assert "known by its results" in timeline(second, study["uid"], "priors")
        seen_before = [f for f in findings(second, study) if f["change"]["category"] != "new"]
        assert {f["tracking_uid"] for f in seen_before} <= {f["tracking_uid"] for f in known}
        assert any(f["change"]["category"] == "increased" for f in seen_before)
    finally:
        second.stop()


def test_a_study_sent_again_to_a_node_that_lost_its_memory_keeps_its_tracking_uids(
    settings, another_database_url, orthanc, visits, monkeypatch
):
    uid = study_uid(FIRST)
    first = Node(settings).start()
    try:
        send(first, visits[FIRST])
        known = {f["tracking_uid"] for f in findings(first, finished(first, uid))}
    finally:
        first.stop()
    settings = without_memory(settings, another_database_url)
    held = {r["ID"] for r in orthanc.instances()}
    monkeypatch.setattr(identity, "SOFTWARE_VERSION", "another")
    second = Node(settings).start()
    try:
        send(second, visits[FIRST])
        assert {f["tracking_uid"] for f in findings(second, finished(second, uid))} == known
    finally:
        second.stop()
    assert {r["ID"] for r in orthanc.instances()} > held
    assert predecessors(orthanc, uid)


def without_memory(settings: Settings, another_database_url: str) -> Settings:
    """Those of the same node, whose data are lost."""
    shutil.rmtree(settings.node.data_dir)
    return settings.model_copy(update={"database": DatabaseSettings(url=another_database_url)})


def upload(orthanc: Orthanc, paths: list[Path]) -> None:
    for path in paths:
        orthanc.upload(path)


def ask(node: Node, path: str) -> dict:
    return httpx.get(f"{node.status_url}api/{path}", timeout=SECONDS).raise_for_status().json()


def studies(node: Node) -> list[dict]:
    return ask(node, "studies")["studies"]


def in_state(node: Node, uid: str, states: tuple[str, ...]) -> dict | None:
    return next((s for s in studies(node) if s["uid"] == uid and s["state"] in states), None)


def finished_now(node: Node, uid: str, revision: int) -> dict | None:
    study = in_state(node, uid, ("delivered", "failed", "skipped"))
    return study if study and study["revision"] >= revision else None


def finished(node: Node, uid: str) -> dict:
    return wait_for(lambda: finished_now(node, uid, 1), SECONDS)


def findings(node: Node, study: dict) -> list[dict]:
    return ask(node, f"studies/{study['uid']}/readings")["readings"][0]["findings"]


def timeline(node: Node, uid: str, stage: str) -> str:
    body = ask(node, f"studies/{uid}")
    events = [*body["events"], *(event for revision in body["revisions"] for event in revision["events"])]
    return "\n".join(event["text"] for event in events if event["stage"] == stage)


def images_here(node: Node, uid: str) -> dict[str, int]:
    body = ask(node, f"studies/{uid}")
    return {series["uid"]: series["image_count"] for series in body["series"]}


def uid_of_series(paths: list[Path]) -> str:
    return str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)


def volumes_of(orthanc: Orthanc, uid: str) -> Dataset:
    """The report that tells volumes."""
    reports = orthanc.datasets(Modality="SR", StudyInstanceUID=uid)
    return next(r for r in reports if str(r.SeriesDescription).startswith("AI measurements"))


def predecessors(orthanc: Orthanc, uid: str) -> list[Dataset]:
    reports = orthanc.datasets(Modality="SR", StudyInstanceUID=uid)
    return [r for r in reports if "PredecessorDocumentsSequence" in r]


def numbers(report: Dataset, tracking_uid: str) -> dict[str, float]:
    """What the report measures of one lesion, by the concept's meaning."""
    for group in _groups(report):
        if any(str(item.get("UID", "")) == tracking_uid for item in group.ContentSequence):
            return {
                item.ConceptNameCodeSequence[0].CodeMeaning: float(item.MeasuredValueSequence[0].NumericValue)
                for item in group.ContentSequence
                if item.ValueType == "NUM"
            }
    raise AssertionError(f"{tracking_uid} is not in the report")


def _groups(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        if child.get("ConceptNameCodeSequence") and child.ConceptNameCodeSequence[0].CodeValue == "125007":
            yield child
        yield from _groups(child)
