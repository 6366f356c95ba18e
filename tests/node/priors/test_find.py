"""What of an earlier study is here, and what its archive has to be asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pynetdicom import evt
from sqlalchemy import select

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from node.demo.pacs import StandInPacs
from node.intake.files import received_file
from node.offline import enter_study
from node.peers.archive import DicomArchive
from node.priors.find import Search, find_priors
from node.reading_room import ReadingRoom
from node.settings import ArchiveSettings, PriorsSettings, Settings
from storage import fetching, priors
from storage.archive import Archive
from storage.closing import close_quiet
from storage.database import Database, now
from storage.intake import record
from storage.readings import save_reading
from storage.retention import release
from storage.tables import Revision
from tests.node.peers.test_archive import answering
from training.phantoms.dicom import Patient, Series, Study, write_ct_series

READ_BY = {"lung-nodules": "a" * 64, "ct-lesions": "b" * 64}


def series_in(folder: Path, date: str, number: int = 2) -> list[Path]:
    voxels = np.full((3, 8, 8), -800, np.int16)
    series = Series(number=number)
    return write_ct_series(folder / str(number), voxels, np.eye(4), study=Study(date=date), series=series)


@pytest.fixture
def room(database: Database, tmp_path: Path, free_port: int) -> ReadingRoom:
    """One whose archive is away."""
    catalogue = Catalogue()
    away = DicomArchive(ArchiveSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port), "ME")
    archive = Archive(tmp_path / "data", durable=False)
    engine = EmbeddedEngine(catalogue)
    return ReadingRoom(Settings(), database, archive, catalogue, engine, archives=(away,))


def test_of_two_series_that_were_deleted_the_one_that_is_back_is_compared_with(
    room: ReadingRoom, tmp_path: Path
) -> None:
    back, gone = (series_in(tmp_path / "prior", "20230101", number) for number in (2, 3))
    images = [received_file(path, now()) for path in back]
    absent = received_file(gone[0], now()).series_uid
    current = enter_study(room.database, series_in(tmp_path / "current", "20240101")[0].parent)
    with room.database.snapshot() as session:
        (series_uid,) = priors.images_of(session, current)
    prior = enter_study(room.database, tmp_path / "prior")
    of_series = zip(READ_BY.items(), (images[0].series_uid, absent), strict=True)
    with room.database.session() as session:
        for (reader, identity), uid in of_series:
            body = {"reader": reader, "series_uid": uid}
            save_reading(session, prior, 1, identity, body, [], [], [])
            room.archive.reading_folder(identity).mkdir(parents=True)
            (room.archive.reading_folder(identity) / "reading.json").write_text(json.dumps(body))
        for revision in session.scalars(select(Revision)):
            revision.state = "delivered"
    with room.database.session() as session:
        assert release(session, prior, "old") is not None
    with room.database.session() as session:
        fetching.expect(session, prior, priors.PatientIdentity("P"), "", "", "", now() + timedelta(minutes=1))
        record(session, [replace(image, received_at=now(), fetched=True) for image in images[:-1]])
    assert find_priors(room, current, "lung-nodules", series_uid).found == []  # a part of it is no series

    with room.database.session() as session:
        record(session, [replace(images[-1], fetched=True)])
    outcome = find_priors(room, current, "lung-nodules", series_uid)
    assert [(found.series_uid, found.identity) for found in outcome.found] == [
        (images[0].series_uid, READ_BY["lung-nodules"])
    ]
    assert find_priors(room, current, "ct-lesions", series_uid).found == []


CURRENT, EARLIER = "20240101", "20230101"


def chest(folder: Path, date: str, birth: str = "19500101", modality: str = "CT") -> list[Path]:
    """The images of a study of ANN-1."""
    affine = np.array([[0, 0, 2.0, -40], [0, 2.0, 0, -40], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    study, patient = Study(date=date, accession_number=folder.name), Patient("ANN-1", "Ann^A", birth)
    voxels = np.full((12, 8, 8), -800, np.int16)
    paths = write_ct_series(folder, voxels, affine, patient=patient, study=study)
    for path in paths:
        image = dcmread(path)
        image.Modality = modality
        image.save_as(path)
    return paths


def take_in(
    room: ReadingRoom, folder: Path, date: str, issuer: str = "", number: int = 1, **facts: str
) -> str:
    """Such a study that came in; returns its UID. ``number``: of those of one day."""
    paths = chest(folder / f"{date}{issuer}-{number}", date, **facts)
    with room.database.session() as session:
        images = [replace(received_file(path, now()), issuer=issuer) for path in paths]
        record(session, images)
        close_quiet(session, now(), lambda study: True)
    return images[0].study_uid


def found(room: ReadingRoom, study_uid: str) -> Search:
    """What is found for the one series of a study."""
    with room.database.snapshot() as session:
        (series_uid,) = priors.images_of(session, study_uid)
    return find_priors(room, study_uid, "lung-nodules", series_uid)


def uids(outcome: Search) -> list[str]:
    return [prior.study_uid for prior in outcome.found]


@contextmanager
def holding(room: ReadingRoom, *studies: dict[str, str]) -> Iterator[ReadingRoom]:
    """A room whose archive tells of studies of ANN-1, and has no image of any."""

    def answers(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        if event.identifier.QueryRetrieveLevel == "STUDY":
            for number, told in enumerate(studies):
                answer = Dataset()
                answer.StudyInstanceUID, answer.PatientID = f"1.9.{number}", "ANN-1"
                for keyword, value in told.items():
                    setattr(answer, keyword, value)
                yield 0xFF00, answer
        yield 0x0000, None

    with answering(answers) as archive:
        yield replace(room, archives=(archive,))


@pytest.mark.parametrize(("issuer", "of_prior"), [("", ""), ("", "HOSP"), ("HOSP", ""), ("HOSP", "HOSP")])
def test_a_prior_that_is_here_is_found_where_one_of_both_names_no_issuer(
    room: ReadingRoom, tmp_path: Path, issuer: str, of_prior: str
) -> None:
    prior = take_in(room, tmp_path / "prior", EARLIER, of_prior)
    assert uids(found(room, take_in(room, tmp_path, CURRENT, issuer))) == [prior]


def test_an_id_that_two_issuers_gave_out_mixes_no_patients(room: ReadingRoom, tmp_path: Path) -> None:
    of_a, of_b = (take_in(room, tmp_path, EARLIER, issuer) for issuer in ("A", "B"))
    unnamed = take_in(room, tmp_path, EARLIER)
    outcome = found(room, take_in(room, tmp_path, CURRENT, "A"))
    assert uids(outcome) == [of_a]
    assert any("name no issuer" in said for said in outcome.notes)
    outcome = found(room, take_in(room, tmp_path, CURRENT))
    assert uids(outcome) == [unnamed]
    assert any("this one names none" in said for said in outcome.notes)
    assert uids(found(room, take_in(room, tmp_path, CURRENT, "B"))) == [of_b]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_an_issuer_that_only_the_archive_tells_of_counts_as_well(
    room: ReadingRoom, tmp_path: Path, modality: str
) -> None:
    prior = take_in(room, tmp_path, EARLIER)
    current = take_in(room, tmp_path, CURRENT, "A")
    assert uids(found(room, current)) == [prior]
    told = {"StudyDate": EARLIER, "IssuerOfPatientID": "B", "ModalitiesInStudy": modality}
    with holding(room, told) as asking:
        assert uids(found(asking, current)) == []


def test_a_study_without_a_date_in_an_archive_is_said_to_be_left_out(
    room: ReadingRoom, tmp_path: Path
) -> None:
    current = take_in(room, tmp_path, CURRENT)
    studies = {"StudyDate": ""}, {"StudyDate": "18990101"}, {"StudyDate": "", "ModalitiesInStudy": "CR"}
    with holding(room, *studies) as asking:
        outcome = found(asking, current)
    assert outcome.notes == [
        "2 of the patient's studies in pacs left out: without a date, or one that can be"
    ]


def test_an_earlier_study_of_somebody_born_on_another_day_is_said_to_be_left_out(
    room: ReadingRoom, tmp_path: Path
) -> None:
    take_in(room, tmp_path, EARLIER, birth="19770707")
    current = take_in(room, tmp_path, CURRENT)
    told = ("19620202", "20230202"), ("19620202", "20250202"), ("", "20230303"), ("19500101", "20230404")
    with holding(room, *({"PatientBirthDate": born, "StudyDate": date} for born, date in told)) as asking:
        outcome = found(asking, current)
    assert outcome.found == []
    assert outcome.notes == [
        "2 of the earlier studies with the same patient ID left out: the date of birth is another"
    ]


def test_scans_of_the_same_day_take_no_place_from_those_that_tell_of_growth(
    room: ReadingRoom, tmp_path: Path
) -> None:
    newest, _ = (take_in(room, tmp_path, date) for date in (EARLIER, "20220101"))
    *_, other, current = sorted(take_in(room, tmp_path, CURRENT, number=number) for number in range(3))
    room = replace(room, settings=Settings(priors=PriorsSettings(at_most=1)))
    assert uids(found(room, current)) == [other, newest]


@pytest.mark.parametrize(("modality", "name"), [("PT", "PET"), ("CR", "CR")])
def test_what_is_never_compared_is_said_not_to_be(
    room: ReadingRoom, tmp_path: Path, modality: str, name: str
) -> None:
    take_in(room, tmp_path, EARLIER, modality=modality)
    outcome = found(room, take_in(room, tmp_path, CURRENT, modality=modality))
    assert outcome.found == []
    assert outcome.notes == [f"{name} is not compared with earlier studies"]


def test_a_study_that_two_archives_hold_is_fetched_once(
    room: ReadingRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = chest(tmp_path / "pacs", EARLIER)
    fetched: list[str] = []

    def fetch(room: ReadingRoom, archive: DicomArchive, *_: object) -> None:
        fetched.append(archive.name)
        with room.database.session() as session:
            record(session, [replace(received_file(path, now()), fetched=True) for path in paths])

    monkeypatch.setattr(ReadingRoom, "fetch", fetch)
    current = take_in(room, tmp_path, CURRENT)
    with StandInPacs(tmp_path / "pacs") as one, StandInPacs(tmp_path / "pacs") as two:
        archives = tuple(
            DicomArchive(ArchiveSettings(name=name, ae_title="PACS", host="127.0.0.1", port=pacs.port), "ME")
            for name, pacs in (("one", one), ("two", two))
        )
        outcome = found(replace(room, archives=archives), current)
    assert (len(outcome.found), fetched) == (1, ["one"])
