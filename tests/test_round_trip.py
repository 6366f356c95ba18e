"""A study comes in over DICOM, is read, and its results are in the PACS, in the same study."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pydicom
import pytest

from node.app import Node
from node.settings import (
    DatabaseSettings,
    DestinationSettings,
    DicomSettings,
    NodeSettings,
    Settings,
    WebSettings,
)
from tests.orthanc import PATIENCE, Orthanc
from tests.waiting import wait_for
from training.phantoms.chest import chest_phantom
from training.phantoms.dicom import Patient, Series, Study, write_ct_series

pytestmark = pytest.mark.needs("Orthanc", "storescu")

SHAPE, SPACING_MM = (96, 112, 144), (2.0, 2.5, 2.5)
ENDED = ("delivered", "failed", "skipped")


@pytest.fixture
def quiet_seconds() -> int:
    return 4


@pytest.fixture
def node(database_url: str, tmp_path: Path, orthanc: Orthanc, quiet_seconds: int) -> Iterator[Node]:
    settings = Settings(
        node=NodeSettings(data_dir=tmp_path / "data"),
        database=DatabaseSettings(url=database_url),
        dicom=DicomSettings(port=0, quiet_seconds=quiet_seconds, read_ahead_seconds=0.5),
        web=WebSettings(port=0),
        destinations=(
            DestinationSettings(
                name="pacs", ae_title=orthanc.ae_title, host=orthanc.host, port=orthanc.dicom_port
            ),
        ),
    )
    running = Node(settings).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A chest CT with nodules."""
    phantom = chest_phantom(4, SHAPE, SPACING_MM, lesions=3)
    return write_ct_series(tmp_path_factory.mktemp("chest"), phantom.voxels, phantom.affine)


def test_a_study_comes_back_as_segmentation_and_reports_in_the_same_study(node, orthanc, chest):
    send(node, chest)
    study = ended(node)

    assert study["state"] == "delivered", study
    source = pydicom.dcmread(chest[0], stop_before_pixels=True)
    results = orthanc.datasets(StudyInstanceUID=source.StudyInstanceUID)
    assert sorted(r.Modality for r in results) == ["SEG", "SR", "SR"]
    for result in results:
        assert result.StudyInstanceUID == source.StudyInstanceUID
        assert result.AccessionNumber == source.AccessionNumber
        assert result.PatientID == source.PatientID
        assert result.ContentQualification == "RESEARCH"
    found = readings(node, study)[0]["findings"]
    assert len(found) == study["finding_count"] >= 1
    segmentation = next(r for r in results if r.Modality == "SEG")
    assert {s.TrackingUID for s in segmentation.SegmentSequence} == {f["tracking_uid"] for f in found}


def test_late_images_make_a_second_reading_that_names_the_first(node, orthanc, chest):
    late = chest[-8:]
    send(node, chest[:-8])
    first = ended(node)
    before = {r["SOPInstanceUID"] for r in orthanc.instances(Modality="SR")}
    send(node, late)
    second = ended(node, revision=2)

    assert (first["revision"], second["state"]) == (1, "delivered")
    reports = {r.SOPInstanceUID: r for r in orthanc.datasets(Modality="SR")}
    for uid in reports.keys() - before:
        named = {
            reference.ReferencedSOPInstanceUID
            for study in reports[uid].PredecessorDocumentsSequence
            for series in study.ReferencedSeriesSequence
            for reference in series.ReferencedSOPSequence
        }
        assert named & before
    assert reports.keys() - before


def test_a_study_sent_again_is_not_read_again(node, orthanc, chest):
    send(node, chest)
    ended(node)
    results = {r["ID"] for r in orthanc.instances()}
    send(node, chest)
    time.sleep(7)

    assert ended(node)["revision"] == 1
    assert {r["ID"] for r in orthanc.instances()} == results


def test_reading_again_what_did_not_change_sends_nothing_new(node, orthanc, chest):
    send(node, chest)
    study = ended(node)
    results = {r["ID"] for r in orthanc.instances()}
    post(node, f"studies/{study['uid']}/read-again")
    again = ended(node, revision=2)

    assert again["state"] == "delivered"
    assert again["finding_count"] == study["finding_count"]
    assert {r["ID"] for r in orthanc.instances()} == results


@pytest.mark.parametrize("quiet_seconds", [10])
def test_a_study_is_read_while_its_quiet_period_runs(node, chest):
    send(node, chest)
    study = ended(node)
    (revision,) = get(node, f"studies/{study['uid']}")["revisions"]
    assert study["state"] == "delivered"
    assert any("while the study was awaited" in event["text"] for event in revision["events"])


@pytest.mark.parametrize("quiet_seconds", [3600])
def test_a_person_who_will_not_wait_has_all_that_came_read_now(node, chest):
    send(node, chest)
    uid = str(pydicom.dcmread(chest[0], stop_before_pixels=True).StudyInstanceUID)
    wait_for(lambda: [(study["uid"], study["image_count"]) for study in studies(node)] == [(uid, len(chest))])
    post(node, f"studies/{uid}/read-now")
    study = ended(node)
    assert (study["state"], study["image_count"]) == ("delivered", len(chest))


def test_a_study_with_nothing_to_read_ends_skipped_and_says_why(node, orthanc, tmp_path):
    phantom = chest_phantom(4, (1, 64, 64), 5.0)
    scout = Series(number=1, description="Topogram", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    send(node, write_ct_series(tmp_path / "scout", phantom.voxels, phantom.affine, series=scout))
    study = ended(node)

    assert study["state"] == "skipped"
    assert "localizer" in study["reason"].lower()
    assert orthanc.instances() == []


def test_a_study_that_cannot_be_assembled_fails_with_its_reason_and_the_next_is_read(
    node, orthanc, chest, tmp_path
):
    phantom = chest_phantom(5, (24, 64, 64), 5.0)
    paths = write_ct_series(
        tmp_path / "torn",
        phantom.voxels,
        phantom.affine,
        patient=Patient("TORN"),
        study=Study(accession_number="TORN"),
    )
    send(node, [path for number, path in enumerate(paths) if number not in range(4, 16)])
    broken = ended(node)
    send(node, chest)
    whole = ended(node, uid=str(pydicom.dcmread(chest[0], stop_before_pixels=True).StudyInstanceUID))

    assert broken["state"] in ("failed", "skipped")
    assert broken["reason"]
    assert whole["state"] == "delivered"
    assert {r["Modality"] for r in orthanc.instances()} == {"SEG", "SR"}


def send(node: Node, paths: Sequence[Path]) -> None:
    subprocess.run(
        ["storescu", "127.0.0.1", str(node.dicom_port), *map(str, paths)], check=True, capture_output=True
    )


def ended(node: Node, revision: int = 1, uid: str = "") -> dict:
    """The newest study, or the one with this UID, once this revision of it has ended."""

    def look() -> dict | None:
        for study in studies(node):
            is_it = study["uid"] == (uid or study["uid"]) and study["revision"] == revision
            if is_it and study["state"] in ENDED:
                return study
        return None

    return wait_for(look, told=lambda: studies(node))


def studies(node: Node) -> list[dict]:
    return get(node, "studies")["studies"]


def readings(node: Node, study: dict) -> list[dict]:
    return get(node, f"studies/{study['uid']}/readings")["readings"]


def get(node: Node, path: str) -> dict:
    return httpx.get(f"{node.status_url}api/{path}", timeout=PATIENCE).json()


def post(node: Node, path: str, expect: Sequence[int] = (200, 303)) -> None:
    headers = {"Origin": node.status_url.rstrip("/")}
    answer = httpx.post(f"{node.status_url}{path}", headers=headers, timeout=PATIENCE)
    assert answer.status_code in expect, answer.text
