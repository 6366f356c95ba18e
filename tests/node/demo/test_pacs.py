"""The stand-in PACS: what it takes it finds and gives back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt

from node.demo.pacs import STUDY_ROOT_FIND, STUDY_ROOT_MOVE, StandInPacs
from node.peers.sending import DicomDestination
from node.settings import Peer
from training.phantoms.dicom import Patient, Study, write_ct_series
from training.phantoms.fields import Grid

ADA = (Patient("A1", "Amber^Ada"), Study("20240115", accession_number="X1"))
BEN = (Patient("B2", "Birch^Ben"), Study("20250220", accession_number="X2"))


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StandInPacs]:
    with StandInPacs(tmp_path / "pacs") as pacs:
        yield pacs


def written(folder: Path, of: tuple[Patient, Study] = ADA, slices: int = 3) -> list[Path]:
    grid = Grid.centred((slices, 8, 8), (1.0, 1.0, 1.0))
    voxels = (
        grid.axes[0].astype("int16") + 0 * grid.axes[1].astype("int16") + 0 * grid.axes[2].astype("int16")
    )
    return write_ct_series(folder, voxels, grid.affine, patient=of[0], study=of[1])


def send(pacs: StandInPacs, paths: list[Path]) -> None:
    peer = Peer(name="pacs", ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.port)
    assert {receipt.outcome for receipt in DicomDestination(peer, "TEST").send(paths)} == {"sent"}


def find(pacs: StandInPacs, **keys: str) -> list[Dataset]:
    ae = AE("TEST")
    ae.requested_contexts = [build_context(STUDY_ROOT_FIND)]
    association = ae.associate("127.0.0.1", pacs.port)
    identifier = Dataset()
    asked = dict.fromkeys(["PatientID", "StudyInstanceUID", "StudyDate", "ModalitiesInStudy"], "")
    for keyword, value in (asked | keys).items():
        setattr(identifier, keyword, value)
    answers = list(association.send_c_find(identifier, STUDY_ROOT_FIND))
    association.release()
    assert answers[-1][0].Status == 0x0000
    return [answer for _, answer in answers if answer is not None]


def test_what_is_stored_is_found_by_study(pacs: StandInPacs, tmp_path: Path) -> None:
    send(pacs, written(tmp_path / "a"))
    send(pacs, written(tmp_path / "b", BEN))
    everything = find(pacs, QueryRetrieveLevel="STUDY", NumberOfStudyRelatedInstances="")
    assert {(answer.PatientID, answer.NumberOfStudyRelatedInstances) for answer in everything} == {
        ("A1", 3),
        ("B2", 3),
    }
    assert [answer.ModalitiesInStudy for answer in everything] == ["CT", "CT"]


@pytest.mark.parametrize(
    "keys",
    [
        {"PatientID": "A1"},
        {"PatientID": "A*"},
        {"PatientName": "amber*"},
        {"StudyDate": "20240101-20241231"},
        {"StudyDate": "-20240115"},
        {"AccessionNumber": "X1"},
        {"StudyInstanceUID": f"1.2.3\\{ADA[1].uid_for(ADA[0])}"},
    ],
)
def test_each_kind_of_matching_finds_the_one_study(
    pacs: StandInPacs, tmp_path: Path, keys: dict[str, str]
) -> None:
    send(pacs, written(tmp_path / "a") + written(tmp_path / "b", BEN))
    assert [answer.PatientID for answer in find(pacs, QueryRetrieveLevel="STUDY", **keys)] == ["A1"]


def test_an_image_is_found_at_its_level(pacs: StandInPacs, tmp_path: Path) -> None:
    send(pacs, written(tmp_path / "a"))
    assert len(find(pacs, QueryRetrieveLevel="SERIES", SeriesInstanceUID="")) == 1
    assert len(find(pacs, QueryRetrieveLevel="IMAGE", SOPInstanceUID="")) == 3


def move(pacs: StandInPacs, to: str, study_uid: str) -> list[Dataset]:
    ae = AE("TEST")
    ae.requested_contexts = [build_context(STUDY_ROOT_MOVE)]
    association = ae.associate("127.0.0.1", pacs.port)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study_uid
    statuses = [status for status, _ in association.send_c_move(identifier, to, STUDY_ROOT_MOVE)]
    association.release()
    return statuses


def test_a_study_is_moved_to_whom_the_pacs_knows(pacs: StandInPacs, tmp_path: Path) -> None:
    paths = written(tmp_path / "a")
    send(pacs, paths + written(tmp_path / "b", BEN))
    came: list[str] = []

    def store(event: evt.Event) -> int:
        came.append(str(event.dataset.SOPInstanceUID))
        return 0x0000

    ae = AE("US")
    ae.supported_contexts = AllStoragePresentationContexts
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    try:
        pacs.destinations["US"] = ("127.0.0.1", server.server_address[1])
        statuses = move(pacs, "US", ADA[1].uid_for(ADA[0]))
    finally:
        server.shutdown()
    assert statuses[-1].Status == 0x0000
    assert statuses[-1].NumberOfCompletedSuboperations == 3
    assert sorted(came) == sorted(str(dcmread(path).SOPInstanceUID) for path in paths)


def test_a_move_to_a_stranger_is_refused(pacs: StandInPacs, tmp_path: Path) -> None:
    send(pacs, written(tmp_path / "a"))
    assert move(pacs, "STRANGER", ADA[1].uid_for(ADA[0]))[-1].Status == 0xA801


def test_it_keeps_the_bytes_it_was_sent_and_serves_them_after_a_restart(tmp_path: Path) -> None:
    paths = written(tmp_path / "a")
    with StandInPacs(tmp_path / "pacs") as pacs:
        send(pacs, paths)
    with StandInPacs(tmp_path / "pacs") as pacs:
        for path in paths:
            sent = dcmread(path)
            kept = dcmread(pacs.path_of(str(sent.SOPInstanceUID)))
            assert kept == sent
        assert len(pacs.objects()) == 3
