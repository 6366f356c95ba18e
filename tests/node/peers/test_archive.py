"""Asking an archive, and fetching from it, whatever it does."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt
from pynetdicom.association import Association

from node.demo.pacs import StandInPacs
from node.peers import archive, sending
from node.peers.archive import (
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    ArchiveAnswerError,
    DicomArchive,
    FetchedObject,
)
from node.priors.find import same_body_part
from node.priors.search import RemoteStudy, choose, search
from node.priors.study_time import StudyTime, valid_date
from node.settings import ArchiveSettings, PriorsSettings
from node.settings.routes import DEFAULT_ROUTES
from storage.database import now
from storage.priors import PatientIdentity
from tests.orthanc import Orthanc
from tests.waiting import wait_for
from training.phantoms.dicom import Patient, Series, Study, write_ct_series

THIN = Series()
ANN = Patient("ANN-1", "Ann^A", "19500101", "F")
AFFINE = np.array([[0, 0, 2.0, -40], [0, 2.0, 0, -40], [5.0, 0, 0, 0], [0, 0, 0, 1]])


def series_in(folder: Path, *, date: str = "20230101", series: Series = THIN, images: int = 12) -> list[Path]:
    voxels = np.full((images, 40, 40), -800, np.int16)
    return write_ct_series(folder, voxels, AFFINE, patient=ANN, study=Study(date=date), series=series)


def archive_at(port: int, retrieve: Any = "auto", ae_title: str = "PACS") -> DicomArchive:
    peer = ArchiveSettings(name="pacs", ae_title=ae_title, host="127.0.0.1", port=port, retrieve=retrieve)
    return DicomArchive(peer, "OVERREAD")


def soon() -> float:
    return time.monotonic() + 20


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StandInPacs]:
    series_in(tmp_path / "pacs")
    with StandInPacs(tmp_path / "pacs") as running:
        yield running


def test_a_patients_studies_are_found_and_the_series_a_reader_would_read(pacs: StandInPacs) -> None:
    (study,) = search(archive_at(pacs.port), ["ANN-1"], soon())
    assert (study.date, study.patient.patient_id) == ("20230101", "ANN-1")
    chosen = choose(study, "lung-nodules", DEFAULT_ROUTES, ["lung-nodules"], soon())
    assert chosen is not None
    assert (chosen.series.images, chosen.series.plane, chosen.series.coverage_mm) == (12, "axial", 55.0)
    assert choose(study, "polyps", DEFAULT_ROUTES, ["polyps"], soon()) is None


@pytest.mark.needs("Orthanc")
def test_only_the_series_asked_for_comes_by_c_get_as_it_is_kept(orthanc: Orthanc, tmp_path: Path) -> None:
    wanted = series_in(tmp_path / "wanted")
    for path in (*wanted, *series_in(tmp_path / "other", series=Series(number=3))):
        orthanc.upload(path)
    archive = archive_at(orthanc.dicom_port, "get", orthanc.ae_title)
    header = dcmread(wanted[0])
    taken: list[FetchedObject] = []
    archive.fetch(
        header.StudyInstanceUID, [header.SeriesInstanceUID], lambda one: taken.append(one) or 0x0000, 30
    )
    assert {one.uid for one in taken} == {str(dcmread(path).SOPInstanceUID) for path in wanted}
    assert {one.transfer_syntax for one in taken} == {str(header.file_meta.TransferSyntaxUID)}


def test_an_archive_without_c_get_is_asked_to_move(pacs: StandInPacs, tmp_path: Path) -> None:
    header = dcmread(next(pacs.folder.glob("*.dcm")))
    with StandInPacs(tmp_path / "here", ae_title="OVERREAD") as here:
        pacs.destinations["OVERREAD"] = ("127.0.0.1", here.port)
        archive_at(pacs.port).fetch(
            header.StudyInstanceUID, [header.SeriesInstanceUID], lambda one: 0x0000, 30
        )
        assert len(here.objects()) == 12


def test_an_archive_that_does_not_know_us_says_so(pacs: StandInPacs) -> None:
    header = dcmread(next(pacs.folder.glob("*.dcm")))
    with pytest.raises(ArchiveAnswerError, match="does not know 'OVERREAD' as a destination"):
        archive_at(pacs.port).fetch(
            header.StudyInstanceUID, [header.SeriesInstanceUID], lambda one: 0x0000, 30
        )


@pytest.mark.needs("Orthanc")
def test_an_archive_is_asked_by_a_node_with_more_than_1024_files_open(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    files = series_in(tmp_path / "wanted")
    for path in files:
        orthanc.upload(path)
    header = dcmread(files[0])
    archive = archive_at(orthanc.dicom_port, "get", orthanc.ae_title)
    taken: list[FetchedObject] = []
    with many_files_open():
        (study,) = search(archive, ["ANN-1"], soon())
        archive.fetch(
            header.StudyInstanceUID, [header.SeriesInstanceUID], lambda one: taken.append(one) or 0x0000, 30
        )
    assert study.uid == header.StudyInstanceUID
    assert len(taken) == len(files)


@contextmanager
def many_files_open() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this machine grants a process no more than 1024 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1040):
            stack.enter_context(Path("/dev/null").open("rb"))
        yield


def test_an_archive_that_is_down_is_named(free_port: int) -> None:
    with pytest.raises(ArchiveAnswerError, match=f"PACS at 127.0.0.1:{free_port}.* cannot be reached"):
        archive_at(free_port).find("STUDY", Dataset(), 5)


@pytest.mark.parametrize("first", ["refuses", "is silent"])
def test_an_archive_is_asked_at_the_address_at_which_it_answers(
    first: str, pacs: StandInPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a name has an IPv6 and an IPv4 address, and the archive listens on one of them."""
    looked_up = socket.getaddrinfo

    def both(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        hosts = ("127.0.0.2", "127.0.0.1") if host == "pacs.hospital" else (host,)
        return [found for each in hosts for found in looked_up(each, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    peer = ArchiveSettings(name="pacs", ae_title="PACS", host="pacs.hospital", port=pacs.port)
    with ExitStack() as silent:
        if first == "is silent":
            listening = silent.enter_context(socket.create_server(("127.0.0.2", pacs.port), backlog=0))
            silent.enter_context(socket.create_connection(listening.getsockname()))  # nobody else gets in
        began = time.monotonic()
        (study,) = search(DicomArchive(peer, "OVERREAD"), ["ANN-1"], began + 8)
    assert study.patient.patient_id == "ANN-1"
    assert time.monotonic() - began < 8


def test_an_archive_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ArchiveAnswerError):
        archive_at(silent.getsockname()[1]).find("STUDY", Dataset(), 1)


def test_an_archive_that_answers_forever_is_cut_off() -> None:
    stop = threading.Event()

    def dribble(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        while not stop.wait(0.1):
            yield 0xFF00, event.identifier

    ae = AE("PACS")
    ae.add_supported_context(STUDY_ROOT_FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, dribble)])
    try:
        with pytest.raises(ArchiveAnswerError, match="longer than allowed"):
            archive_at(server.server_address[1]).find("STUDY", Dataset(), 3)
    finally:
        stop.set()
        server.shutdown()


def test_an_archive_that_answers_with_all_it_holds_is_not_listened_to_until_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "MOST_ANSWERS", 5)
    told = []

    def everything(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        while not event.is_cancelled and len(told) < 1000:
            told.append(event.identifier)
            yield 0xFF00, event.identifier
        yield 0x0000, None

    flood = "more than 5 answers to one C-FIND"
    with answering(everything) as here, pytest.raises(ArchiveAnswerError, match=flood):
        here.find("STUDY", Dataset(), 20)


@pytest.mark.parametrize("taken", [0x0000, 0xB000, 0xA700])
def test_only_images_that_were_not_taken_are_missing(taken: int, tmp_path: Path) -> None:
    images = [dcmread(path) for path in series_in(tmp_path / "pacs", images=2)]

    def send(_event: evt.Event) -> Iterator[Any]:
        yield len(images)
        for image in images:
            yield 0xFF00, image

    ae = AE("PACS")
    ae.add_supported_context(STUDY_ROOT_GET)
    ae.add_supported_context(CTImageStorage, scu_role=False, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, send)])
    try:
        fetching = archive_at(server.server_address[1], "get")
        if taken == 0xA700:
            with pytest.raises(ArchiveAnswerError, match="answered C-GET with 0xA702"):
                fetching.fetch("1.2", ["1.2.1"], lambda _: taken, 20)
        else:
            fetching.fetch("1.2", ["1.2.1"], lambda _: taken, 20)
    finally:
        server.shutdown()


def test_answers_without_sense_are_left_out(tmp_path: Path) -> None:
    def nonsense(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for patient, uid in (("ANN-1", ""), ("ANN-1", "no uid"), ("BOB-1", "1.2.3"), ("ANN-1", "1.2.4")):
            answer = Dataset()
            answer.PatientID, answer.StudyDate = patient, "20230101"
            if uid:
                answer.StudyInstanceUID = uid
            yield 0xFF00, answer
        yield 0x0000, None

    ae = AE("PACS")
    ae.add_supported_context(STUDY_ROOT_FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, nonsense)])
    try:
        found = search(archive_at(server.server_address[1]), ["ANN-1"], soon())
    finally:
        server.shutdown()
    assert [study.uid for study in found] == ["1.2.4"]


def test_however_many_ids_a_patient_has_an_archive_has_one_time_limit() -> None:
    ids, asked = ["ANN-1", "ANN-2", "ANN-3", "ANN-4"], set()

    def slowly(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked.add(event.identifier.PatientID)
        time.sleep(1)
        yield 0x0000, None

    with answering(slowly) as archive, pytest.raises(ArchiveAnswerError) as late:
        search(archive, ids, time.monotonic() + 2.5)
    assert late.value.away
    assert len(asked) < len(ids)


def test_an_archive_that_answers_with_an_error_is_not_away(free_port: int) -> None:
    def in_error(_event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        yield 0xC001, None

    with answering(in_error) as archive, pytest.raises(ArchiveAnswerError, match="0xC001") as answered:
        search(archive, ["ANN-1"], soon())
    with pytest.raises(ArchiveAnswerError) as silent:
        search(archive_at(free_port), ["ANN-1"], soon())
    assert (answered.value.away, silent.value.away) == (False, True)


@pytest.mark.parametrize("service", ["find", "fetch"])
def test_an_archive_that_ends_the_association_it_has_just_accepted_is_asked_again_later(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_accepted = threading.Event()

    def think_better_of_it(event: evt.Event) -> None:
        is_accepted.wait(20)
        event.assoc.abort()

    def associate(*given: Any, **named: Any) -> Association:
        association = sending.associate(*given, **named)
        is_accepted.set()
        wait_for(lambda: not association.is_established, 20)
        return association

    monkeypatch.setattr(archive, "associate", associate)
    ae = AE("PACS")
    for sop_class in (STUDY_ROOT_FIND, STUDY_ROOT_GET):
        ae.add_supported_context(sop_class)
    handlers: list[Any] = [(evt.EVT_ESTABLISHED, think_better_of_it)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    asked = archive_at(server.server_address[1])
    try:
        with pytest.raises(ArchiveAnswerError, match="ended the association") as ended:
            if service == "find":
                asked.find("STUDY", Dataset(), 20)
            else:
                asked.fetch("1.2", ["1.2.3"], lambda _: 0, 20)
    finally:
        server.shutdown()
    assert ended.value.away


@contextmanager
def answering(find: Any) -> Iterator[DicomArchive]:
    """An archive that answers C-FIND so."""
    ae = AE("PACS")
    ae.add_supported_context(STUDY_ROOT_FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        yield archive_at(server.server_address[1])
    finally:
        server.shutdown()


def test_a_series_of_which_some_images_tell_no_place_is_placed_by_those_that_do() -> None:
    def answers(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for number in range(81) if event.identifier.QueryRetrieveLevel == "IMAGE" else (1,):
            answer = Dataset()
            answer.StudyInstanceUID, answer.SeriesInstanceUID = "1.2.4", "1.2.4.1"
            answer.SOPClassUID, answer.SOPInstanceUID = CTImageStorage, f"1.2.4.1.{number}"
            answer.Modality, answer.BodyPartExamined = "CT", "CHEST"
            if number != 40:  # the middle one has neither place nor orientation
                answer.ImagePositionPatient = [0, 0, 2.5 * number]
                answer.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            yield 0xFF00, answer
        yield 0x0000, None

    ae = AE("PACS")
    ae.add_supported_context(STUDY_ROOT_FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answers)])
    archive = archive_at(server.server_address[1])
    study = RemoteStudy(archive, "1.2.4", "20230101", "", "", ("CT",), PatientIdentity("ANN-1"))
    try:
        chosen = choose(study, "lung-nodules", DEFAULT_ROUTES, ["lung-nodules"], soon())
    finally:
        server.shutdown()
    assert chosen is not None
    assert (chosen.series.plane, chosen.series.coverage_mm) == ("axial", 200.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CHEST", "THORAX", True),
        ("CHEST", "", True),
        ("CHEST", "ABDOMEN", False),
        ("CHEST", "CHEST_ABDOMEN", True),
        ("HEAD", "CHEST", False),
        ("WHOLEBODY", "PELVIS", True),
        ("KNEE", "KNEE", True),
    ],
)
def test_body_parts_are_the_same_by_region(one: str, other: str, same: bool) -> None:
    assert same_body_part(one, other) is same


def test_dates_that_cannot_be_are_none_and_such_studies_are_placed_by_their_arrival() -> None:
    at = now()
    tomorrow_next_year = f"{at.year + 1}0101"
    for text in ("", "20231345", "2023", "18990101", tomorrow_next_year, "absurd"):
        assert valid_date(text, at) is None
        assert StudyTime.of(text, "101500", "1.2", at).day == at.date()
    assert valid_date("20230228", at) is not None


def test_two_studies_of_one_day_are_ordered_by_time_then_uid() -> None:
    at = now()
    early, late = (StudyTime.of("20230101", time, "1.9", at) for time in ("090000", "100000"))
    assert early < late
    assert StudyTime.of("20230101", "090000", "1.2", at) < early


def test_merged_ids_are_one_person() -> None:
    rules = PriorsSettings(merged=(("ANN-1", "OLD-7"), ("BOB-1", "BOB-2")))
    assert rules.ids_of("OLD-7") == ("OLD-7", "ANN-1")
    assert rules.ids_of("EVE-1") == ("EVE-1",)
