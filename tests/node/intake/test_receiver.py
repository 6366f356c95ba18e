from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.sop_class import Verification
from sqlalchemy import select

from node.intake.contexts import LOSSLESS, LOSSY, NATIVE, VIDEO
from node.intake.receiver import PROVEN_PYNETDICOM, Receiver, ReceiverError
from node.intake.stock import StockListener
from node.settings import DicomSettings
from storage.archive import Archive
from storage.database import Database, now
from storage.fetching import expect
from storage.priors import PatientIdentity
from storage.tables import Base, Patient, Study
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import ASSOCIATE_AC, RawSender, store_pdus
from tests.node.intake.senders import connect, ct_series, ct_slice, encoded, in_transfer_syntax, send

StartIntake = Callable[..., Intake]


def test_an_echo_is_answered(intake: Intake, needs: Callable[[str], Path]) -> None:
    assert subprocess.run([needs("echoscu"), "127.0.0.1", str(intake.port)]).returncode == 0


def test_an_image_lies_in_the_archive_byte_for_byte_as_sent(intake: Intake) -> None:
    image = ct_slice()
    assert send(intake.port, [image]) == [0x0000]
    [row] = intake.instances()
    kept = intake.archive.path(row.path)
    assert kept.read_bytes().endswith(encoded(image))
    assert row.size == kept.stat().st_size
    read = dcmread(kept)
    assert read.SOPInstanceUID == image.SOPInstanceUID
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read.file_meta.SourceApplicationEntityTitle == "CT1"


@pytest.mark.parametrize(
    "family", [NATIVE, LOSSLESS, LOSSY, VIDEO], ids=["native", "lossless", "lossy", "video"]
)
def test_an_image_is_kept_as_sent_in_every_transfer_syntax(intake: Intake, family: tuple[UID, ...]) -> None:
    sent = {syntax: in_transfer_syntax(ct_slice(), syntax) for syntax in family}
    with RawSender(intake.port) as sender:
        assert sender.associate([(CTImageStorage, syntax) for syntax in family]) == ASSOCIATE_AC
        for number, (uid, data) in enumerate(sent.values()):
            assert sender.store(data, uid, context_id=2 * number + 1) == 0x0000
        sender.release()
    kept = {row.transfer_syntax: intake.archive.path(row.path).read_bytes() for row in intake.instances()}
    assert kept.keys() == sent.keys()
    assert all(kept[syntax].endswith(data) for syntax, (_, data) in sent.items())


def test_patient_study_and_series_are_known_after_an_image(intake: Intake) -> None:
    image = ct_slice()
    send(intake.port, [image])
    intake.receiver.settle()
    with intake.database.snapshot() as session:
        study = session.scalars(select(Study)).one()
        patient = session.scalars(select(Patient)).one()
        [series] = study.series
        assert (study.uid, study.accession_number, study.source) == (image.StudyInstanceUID, "A1", "CT1")
        assert (study.description, study.study_date, study.is_open) == ("CT chest", "20240102", True)
        assert (patient.patient_id, patient.birth_date) == ("P1", "19600101")
        assert (series.modality, series.number, series.body_part) == ("CT", 2, "CHEST")


def test_no_table_holds_a_patients_name(intake: Intake) -> None:
    send(intake.port, [ct_slice()])
    intake.receiver.settle()
    with intake.database.snapshot() as session:
        told = {
            table.name: str(session.execute(select(table)).all()) for table in Base.metadata.sorted_tables
        }
    assert "P1" in told["patients"]
    assert not [name for name, rows in told.items() if "Test^Patient" in rows]


def test_nothing_stays_in_incoming_once_the_rows_are_written(intake: Intake) -> None:
    send(intake.port, ct_series(5))
    assert len(intake.instances()) == 5
    assert intake.files(intake.archive.incoming) == []


def test_dcmtk_senders_send_a_series(intake: Intake, needs: Callable[[str], Path], tmp_path: Path) -> None:
    for number, image in enumerate(ct_series(8)):
        image.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    files = sorted(tmp_path.glob("*.dcm"))
    subprocess.run([needs("storescu"), "127.0.0.1", str(intake.port), *files[:4]], check=True)
    subprocess.run([needs("dcmsend"), "127.0.0.1", str(intake.port), *files[4:]], check=True)
    assert len(intake.instances()) == 8


def test_two_associations_at_once_lose_nothing(intake: Intake) -> None:
    series = [ct_series(20), ct_series(20)]
    statuses: list[int] = []
    senders = [
        threading.Thread(target=lambda images=images: statuses.extend(send(intake.port, images)))
        for images in series
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert statuses == [0x0000] * 40
    assert {row.uid for row in intake.instances()} == {str(i.SOPInstanceUID) for s in series for i in s}


def test_an_identical_resend_is_accepted_and_kept_once(intake: Intake) -> None:
    image = ct_slice()
    assert send(intake.port, [image, image]) == [0x0000, 0x0000]
    assert send(intake.port, [image], caller="OTHER") == [0x0000]
    assert len(intake.instances()) == 1
    assert len(intake.files(intake.archive.images)) == 1
    assert intake.files(intake.archive.incoming) == []
    assert intake.refusals() == []


def test_other_content_under_a_known_uid_goes_to_quarantine_and_the_first_stays(intake: Intake) -> None:
    image = ct_slice(seed=1)
    other = ct_slice(image.StudyInstanceUID, image.SeriesInstanceUID, seed=2)
    other.SOPInstanceUID = image.SOPInstanceUID
    assert send(intake.port, [image]) == [0x0000]
    assert send(intake.port, [other]) == [0xC001]
    [row] = intake.instances()
    assert dcmread(intake.archive.path(row.path)).PixelData == image.PixelData
    [refusal] = intake.refusals()
    assert "first is kept" in refusal.reason
    assert dcmread(intake.archive.path(refusal.path)).PixelData == other.PixelData


def test_an_image_of_another_patient_does_not_enter_a_study(intake: Intake) -> None:
    image = ct_slice()
    stranger = ct_slice(image.StudyInstanceUID)
    stranger.PatientID = "P2"
    send(intake.port, [image])
    intake.receiver.settle()
    assert send(intake.port, [stranger]) == [0xC001]
    assert [row.uid for row in intake.instances()] == [image.SOPInstanceUID]
    [refusal] = intake.refusals()
    assert "Patient ID" in refusal.reason
    assert intake.archive.path(refusal.path).is_relative_to(intake.archive.quarantine)


def test_a_caller_that_is_not_listed_is_rejected_and_noted(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(transport, allowed_callers=("CT1", "CT2@10.1.2.3", "CT3@127.0.0.0/8"))
    assert not connect(intake.port, caller="STRANGER").is_established
    assert not connect(intake.port, caller="CT2").is_established
    assert send(intake.port, [ct_slice()], caller="CT1") == [0x0000]
    assert send(intake.port, [ct_slice()], caller="CT3") == [0x0000]
    assert [(r.caller, r.address) for r in intake.refusals()] == [
        ("STRANGER", "127.0.0.1"),
        ("CT2", "127.0.0.1"),
    ]
    assert "allowed_callers" in intake.refusals()[0].reason


def test_an_invented_transfer_syntax_or_class_is_not_negotiated(intake: Intake) -> None:
    association = connect(
        intake.port,
        [
            (CTImageStorage, "1.2.3.4"),
            ("1.2.3.5", ExplicitVRLittleEndian),
            (Verification, "1.2.840.10008.1.2"),
        ],
    )
    assert [c.abstract_syntax for c in association.accepted_contexts] == [Verification]
    association.release()


def test_a_private_class_is_accepted_once_it_is_configured(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(transport, private_sop_classes=("1.2.246.352.70.1.70",))
    image = ct_slice()
    image.SOPClassUID = "1.2.246.352.70.1.70"
    image.file_meta.MediaStorageSOPClassUID = "1.2.246.352.70.1.70"
    with RawSender(intake.port) as sender:
        assert sender.associate([("1.2.246.352.70.1.70", ExplicitVRLittleEndian)]) == ASSOCIATE_AC
        assert sender.store(encoded(image), image.SOPInstanceUID, "1.2.246.352.70.1.70") == 0x0000
    assert [row.sop_class for row in intake.instances()] == ["1.2.246.352.70.1.70"]


def test_a_sender_that_goes_away_within_an_image_leaves_nothing(intake: Intake) -> None:
    image = ct_slice(size=256)
    with RawSender(intake.port) as sender:
        sender.associate()
        sender.socket.sendall(store_pdus(encoded(image), image.SOPInstanceUID, CTImageStorage)[:-20_000])
    assert send(intake.port, [image]) == [0x0000]
    assert len(intake.instances()) == 1
    assert len(intake.files(intake.archive.images)) == 1
    assert intake.refusals() == []


def test_a_port_that_is_taken_is_named(
    tmp_path: Path, open_database: Callable[[], Database], transport: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = DicomSettings(port=other.getsockname()[1], transport=transport)
        receiver = Receiver(settings, "OVERREAD", Archive(tmp_path / "data"), open_database())
        with pytest.raises(ReceiverError, match=r"listens on 127\.0\.0\.1:\d+.*another dicom\.port"):
            receiver.start()


def test_a_host_that_is_not_ours_is_named(
    tmp_path: Path, open_database: Callable[[], Database], transport: str
) -> None:
    settings = DicomSettings(host="192.0.2.1", port=0, transport=transport)
    receiver = Receiver(settings, "OVERREAD", Archive(tmp_path / "data"), open_database())
    with pytest.raises(ReceiverError, match=r"192\.0\.2\.1 is not an address of this machine"):
        receiver.start()


def test_two_receivers_do_not_share_an_archive(intake: Intake, open_database: Callable[[], Database]) -> None:
    second = Receiver(DicomSettings(port=0), "OVERREAD", Archive(intake.archive.root), open_database())
    with pytest.raises(ReceiverError, match="Another Overread already receives"):
        second.start()


def test_a_receiver_can_be_stopped_and_started_again(start_intake: StartIntake, transport: str) -> None:
    first = start_intake(transport)
    send(first.port, [ct_slice()])
    first.receiver.stop()
    second = start_intake(transport)
    send(second.port, [ct_slice()])
    assert len(second.instances()) == 2


def test_with_another_version_of_its_library_the_fast_transport_leaves_the_field_to_the_stock_one(
    start_intake: StartIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pynetdicom.__version__", "3.1.0")
    intake = start_intake("fast")
    assert isinstance(intake.receiver._listener, StockListener)
    assert "pynetdicom==3.0.4" in (intake.receiver.problem or "")
    assert send(intake.port, ct_series(2)) == [0x0000] * 2
    intake.receiver.stop()
    assert start_intake("stock").receiver.problem is None


def test_the_version_that_is_proven_is_the_one_that_is_installed(intake: Intake) -> None:
    assert version("pynetdicom") == PROVEN_PYNETDICOM
    assert intake.receiver.problem is None


def test_what_is_durable_is_received_too(start_intake: StartIntake, transport: str) -> None:
    intake = start_intake(transport, durable=True)
    assert send(intake.port, ct_series(3)) == [0x0000] * 3
    assert len(intake.instances()) == 3


@pytest.mark.parametrize(("originator", "is_open"), [("OVERREAD", False), ("OTHER", True), ("", True)])
def test_an_expected_prior_stays_closed_only_for_what_we_asked_for(
    intake: Intake, originator: str, is_open: bool
) -> None:
    image = ct_slice()
    with intake.database.session() as session:
        until = now() + timedelta(minutes=1)
        expect(session, image.StudyInstanceUID, PatientIdentity("P1"), "20240102", "", "CT", until)
    with RawSender(intake.port) as sender:
        sender.associate()
        status = sender.store(encoded(image), image.SOPInstanceUID, originator=originator)
        sender.release()
    assert status == 0x0000
    assert len(intake.instances()) == 1
    with intake.database.snapshot() as session:
        assert session.scalars(select(Study.is_open)).all() == [is_open]
