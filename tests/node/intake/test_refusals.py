from __future__ import annotations

import resource
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
)
from pynetdicom.sop_class import Verification

from node.intake.contexts import TRANSFER_SYNTAXES, storage_classes
from storage.tables import Event
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import ABORT, RawSender, status_in, store_pdus
from tests.node.intake.senders import connect, ct_series, ct_slice, encoded, send
from tests.node.intake.transports import ANSWER_TO_A_UID_THAT_IS_NONE
from tests.waiting import wait_for

StartIntake = Callable[..., Intake]


def refused(intake: Intake, data: bytes, uid: str, syntax: str = ExplicitVRLittleEndian) -> tuple[int, str]:
    """Send bytes that are to be refused; return the status and the reason, with the bytes in quarantine."""
    with RawSender(intake.port) as sender:
        sender.associate([(CTImageStorage, syntax)])
        status = sender.store(data, uid)
        sender.release()
    assert intake.instances() == []
    assert intake.files(intake.archive.images) == intake.files(intake.archive.incoming) == []
    [refusal] = intake.refusals()
    assert refusal.status == status
    assert intake.archive.path(refusal.path).read_bytes().endswith(data)
    assert (refusal.caller, refusal.address, refusal.uid) == ("RAW", "127.0.0.1", uid[:64])
    return status, refusal.reason


def test_random_bytes_are_not_understood(intake: Intake) -> None:
    status, reason = refused(intake, bytes(range(256)) * 8, "1.2.3")
    assert status == 0xC000
    assert "not a readable data set" in reason


def test_another_instance_than_announced_is_a_mismatch(intake: Intake) -> None:
    image = ct_slice()
    status, reason = refused(intake, encoded(image), "1.2.3.4")
    assert status == 0xA900
    assert image.SOPInstanceUID in reason
    assert "1.2.3.4" in reason


def test_another_class_than_announced_is_a_mismatch(intake: Intake) -> None:
    image = ct_slice()
    image.SOPClassUID = MRImageStorage
    status, reason = refused(intake, encoded(image), image.SOPInstanceUID)
    assert status == 0xA900
    assert "SOP Class UID" in reason


def test_another_class_than_its_context_was_agreed_on_for_is_a_mismatch(intake: Intake) -> None:
    image = ct_slice()
    image.SOPClassUID = MRImageStorage
    with RawSender(intake.port) as sender:
        sender.associate([(CTImageStorage, ExplicitVRLittleEndian)])
        assert sender.store(encoded(image), image.SOPInstanceUID, MRImageStorage) == 0xA900
        sender.release()
    assert intake.instances() == []
    assert f"a presentation context for '{CTImageStorage}'" in intake.refusals()[0].reason


def test_a_context_for_echoes_takes_no_objects(intake: Intake) -> None:
    image = ct_slice()
    image.SOPClassUID = Verification
    with RawSender(intake.port) as sender:
        sender.associate([(Verification, ExplicitVRLittleEndian)])
        assert sender.store(encoded(image), image.SOPInstanceUID, Verification) == 0x0211
    assert intake.instances() == []


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_image_without_its_uids_is_refused(intake: Intake, keyword: str) -> None:
    image = ct_slice()
    delattr(image, keyword)
    status, reason = refused(intake, encoded(image), image.SOPInstanceUID)
    assert status == 0xC000
    assert "missing" in reason


@pytest.mark.parametrize("uid", ["../../../../tmp/x", "/etc/passwd", "1.2.3/../..", ".."])
def test_a_uid_never_becomes_a_path_unchecked(intake: Intake, uid: str) -> None:
    for keyword in ("SOPInstanceUID", "StudyInstanceUID"):
        image = ct_slice()
        setattr(image, keyword, uid)
        with RawSender(intake.port) as sender:
            sender.associate()
            assert sender.store(encoded(image), image.SOPInstanceUID) in (0xC000, 0xA900)
    assert intake.instances() == []
    everything = intake.files(intake.archive.root.parent)
    assert all(intake.archive.root in path.parents or "overread.db" in path.name for path in everything)
    assert all("is not a UID" in refusal.reason for refusal in intake.refusals())


@pytest.mark.parametrize("uid", [b"\xff" * 30_000, b"1.2." + b"3" * 61, b"1.2.\n3"])
def test_a_command_with_a_uid_that_is_none_is_answered_and_the_next_is_welcome(
    intake: Intake, transport: str, caplog: pytest.LogCaptureFixture, uid: bytes
) -> None:
    image = ct_slice()
    with RawSender(intake.port) as sender:
        sender.associate()
        sender.socket.sendall(store_pdus(encoded(image), uid, CTImageStorage))
        answer, body = sender.receive()
        assert answer in ANSWER_TO_A_UID_THAT_IS_NONE[transport]
        if answer == ABORT:
            assert send(intake.port, [image]) == [0x0000]
            assert "sends what is no PDU, or no message" in wait_for(intake.refusals, 20)[0].reason
            return
        assert status_in(body) == 0xC000
        assert sender.store(encoded(image), image.SOPInstanceUID) == 0x0000
    [refusal] = intake.refusals()
    assert "is not a UID" in refusal.reason
    assert refusal.study_uid == image.StudyInstanceUID
    assert intake.archive.path(refusal.path).read_bytes().endswith(encoded(image))
    assert "error of ours" not in caplog.text


def test_an_image_cut_short_is_refused_wherever_it_is_cut(intake: Intake) -> None:
    image = ct_slice(size=8)
    whole = encoded(image)
    with RawSender(intake.port) as sender:
        sender.associate()
        for length in range(2, len(whole) - 1, 14):
            assert sender.store(whole[:length], image.SOPInstanceUID) in (0xC000, 0xA900), length
        assert sender.store(whole, image.SOPInstanceUID) == 0x0000
    assert len(intake.instances()) == 1


def test_pixel_data_shorter_than_rows_and_columns_say_is_refused(intake: Intake) -> None:
    image = ct_slice()
    image.PixelData = image.PixelData[:-2]
    status, reason = refused(intake, encoded(image), image.SOPInstanceUID)
    assert status == 0xC000
    assert "2046 of 2048 bytes" in reason


@pytest.mark.parametrize("instead", [b"", b"\x28\0\0\x01US\2\0\0\0"])
def test_pixels_of_no_bits_are_refused(intake: Intake, instead: bytes) -> None:
    image = ct_slice()
    image.PixelData = b""
    data = encoded(image).replace(b"\x28\0\0\x01US\2\0\x10\0", instead)
    status, reason = refused(intake, data, image.SOPInstanceUID)
    assert status == 0xC000
    assert "how many bits" in reason


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (b"+300", "2048 of 614400 bytes"),
        (b"-300", "Number of Frames is none"),
        (b"3.00", "2048 of 6144 bytes"),
        (b"3.50", "b'3.50'"),
    ],
)
def test_a_number_of_frames_is_read_as_it_may_be_written(
    intake: Intake, frames: bytes, expected: str
) -> None:
    image = ct_slice()
    image.NumberOfFrames = 1234
    data = encoded(image).replace(b"IS\x04\x001234", b"IS\x04\x00" + frames)
    status, reason = refused(intake, data, image.SOPInstanceUID)
    assert status == 0xC000
    assert expected in reason


@pytest.mark.parametrize("frames", [b"    ", b"0   ", b" +1 ", b"1.0 "])
def test_an_image_of_one_frame_may_say_so_in_several_ways(intake: Intake, frames: bytes) -> None:
    image = ct_slice()
    image.NumberOfFrames = 1234
    with RawSender(intake.port) as sender:
        sender.associate()
        assert (
            sender.store(
                encoded(image).replace(b"IS\x04\x001234", b"IS\x04\x00" + frames), image.SOPInstanceUID
            )
            == 0x0000
        )


def test_an_image_without_pixel_data_is_refused(intake: Intake) -> None:
    image = ct_slice()
    del image.PixelData
    status, reason = refused(intake, encoded(image), image.SOPInstanceUID)
    assert status == 0xC000
    assert "without pixel data" in reason


def compressed(frames: int, fragments: int) -> Dataset:
    image = ct_slice()
    image.NumberOfFrames = frames
    image.PixelData = encapsulate([b"\xff\xd8\xff\xd9"] * fragments)
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = JPEGLSLossless
    return image


def test_fewer_fragments_than_frames_are_refused(intake: Intake) -> None:
    image = compressed(frames=3, fragments=2)
    status, reason = refused(intake, encoded(image), image.SOPInstanceUID, JPEGLSLossless)
    assert status == 0xC000
    assert "2 fragments for 3 frames" in reason


def test_fragments_without_an_end_are_refused(intake: Intake) -> None:
    image = compressed(frames=2, fragments=2)
    status, reason = refused(intake, encoded(image)[:-8], image.SOPInstanceUID, JPEGLSLossless)
    assert status == 0xC000
    assert "cut short" in reason


def test_a_deflated_image_is_accepted_and_a_cut_one_refused(intake: Intake) -> None:
    image = ct_slice()
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(encoded(image)) + deflater.flush()
    assert refused(intake, data[:-40], image.SOPInstanceUID, DeflatedExplicitVRLittleEndian)[0] == 0xC000
    with RawSender(intake.port) as sender:
        sender.associate([(CTImageStorage, DeflatedExplicitVRLittleEndian)])
        assert sender.store(data, image.SOPInstanceUID) == 0x0000
    [row] = intake.instances()
    assert intake.archive.path(row.path).read_bytes().endswith(data)


def test_a_deflated_object_that_grows_without_end_is_refused(intake: Intake) -> None:
    image = ct_slice()
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    megabyte = bytes(1 << 20)
    data = deflater.compress(encoded(image)[:-2048])
    data += b"".join(deflater.compress(megabyte) for _ in range(300)) + deflater.flush()
    with RawSender(intake.port, 60) as sender:
        sender.associate([(CTImageStorage, DeflatedExplicitVRLittleEndian)])
        assert sender.store(data, image.SOPInstanceUID) == 0xC000
    [refusal] = intake.refusals()
    assert f"grows beyond the 256 MiB that {len(data):,} bytes may become" in refusal.reason


def test_sequences_nested_without_end_are_refused(intake: Intake) -> None:
    image = ct_slice()
    head = encoded(image)[: encoded(image).index(b"\x10\x00\x10\x00PN")]
    nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    status, reason = refused(intake, head + nested, image.SOPInstanceUID)
    assert status == 0xC000
    assert "nested" in reason


def test_an_object_whose_kept_file_is_damaged_is_refused_and_the_next_is_welcome(intake: Intake) -> None:
    image, other = ct_slice(), ct_slice()
    send(intake.port, [image])
    [row] = intake.instances()
    intake.archive.path(row.path).write_bytes(b"")
    assert send(intake.port, [image, other]) == [0xC000, 0x0000]
    [refusal] = intake.refusals()
    assert "cannot be kept" in refusal.reason
    assert intake.archive.path(refusal.path).stat().st_size > 0
    assert intake.files(intake.archive.incoming) == []


@pytest.mark.parametrize("name", [b"unicode_escape", b"undefined\x20", b"idna"])
def test_a_character_set_that_is_none_of_dicom_keeps_nobody_waiting(intake: Intake, name: bytes) -> None:
    odd, sound = ct_slice(), ct_slice()
    odd.SpecificCharacterSet = "ISO_IR 192"
    data = encoded(odd).replace(b"CS\x0a\0ISO_IR 192", b"CS" + bytes((len(name), 0)) + name)
    data = data.replace(b"Test^Patient", b"\\ud800^Pat\xe9n")
    with RawSender(intake.port) as sender:
        sender.associate()
        assert sender.store(data, odd.SOPInstanceUID) == 0x0000
        assert sender.store(encoded(sound), sound.SOPInstanceUID) == 0x0000
        sender.release()
    assert [row.uid for row in intake.instances()] == [odd.SOPInstanceUID, sound.SOPInstanceUID]
    assert intake.files(intake.archive.incoming) == []


def test_the_sender_is_told_why(intake: Intake) -> None:
    image = ct_slice()
    del image.PixelData
    association = connect(intake.port)
    status = association.send_c_store(image)
    association.release()
    assert status.Status == 0xC000
    assert status.ErrorComment == "it is an image of 32 x 32 without pixel data"


def test_a_refusal_is_on_the_timeline_of_its_study(intake: Intake) -> None:
    image = ct_slice()
    send(intake.port, [image])
    intake.receiver.settle()
    broken = ct_slice(image.StudyInstanceUID)
    del broken.PixelData
    send(intake.port, [broken])
    intake.receiver.settle()
    with intake.database.snapshot() as session:
        texts = [event.text for event in session.query(Event).order_by(Event.id)]
    assert texts[0] == "Receiving from CT1."
    assert texts[1].startswith("Refused 1 object from CT1: it is an image of 32 x 32 without pixel data")
    assert "Test" not in "".join(texts)


def test_an_object_beyond_the_cap_is_refused_and_the_next_is_welcome(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, maximum_object_mb=1)
    large, small = ct_slice(size=1024), ct_slice()
    assert send(intake.port, [large, small]) == [0xA700, 0x0000]
    assert len(intake.instances()) == 1
    assert "larger than the 1 MiB" in intake.refusals()[0].reason
    assert intake.files(intake.archive.incoming) == []


def test_before_the_disk_is_full_senders_are_told_to_come_back(
    start_intake: StartIntake, transport: str
) -> None:
    intake = start_intake(transport, minimum_free_mb=1 << 40)
    assert send(intake.port, ct_series(3)) == [0xA700] * 3
    [refusal] = intake.refusals()  # said once, not once for every image
    assert "disk is nearly full" in refusal.reason
    assert intake.files(intake.archive.incoming) == intake.files(intake.archive.quarantine) == []


def test_a_disk_that_fills_up_within_an_image_leaves_no_debris(intake: Intake) -> None:
    small, large = ct_slice(), ct_slice(size=512)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        assert send(intake.port, [large]) == [0xA700]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert intake.files(intake.archive.root / "images") == intake.files(intake.archive.incoming) == []
    assert send(intake.port, [large, small]) == [0x0000, 0x0000]
    assert len(intake.instances()) == 2
    assert "cannot be stored: File too large" in intake.refusals()[0].reason


def test_real_oddities_are_kept_or_refused_with_a_reason(intake: Intake, shared_data: Path) -> None:
    """Each readable file of the collection, whatever its transfer syntax, comes to one or the other."""
    files = [found for path in sorted((shared_data / "odd_dicom").rglob("*")) if (found := as_sent(path))]
    contexts = sorted({(file.sop_class, file.transfer_syntax) for file in files})
    statuses: list[int] = []
    seen = set()
    with RawSender(intake.port) as sender:
        sender.associate(contexts)
        for file in files:
            number = 2 * contexts.index((file.sop_class, file.transfer_syntax)) + 1
            statuses.append(sender.store(file.data, file.uid, file.sop_class, number, fragment=100_000))
            if statuses[-1] in (0x0000, 0xC001):  # the collection holds some images in several encodings
                seen.add(file.transfer_syntax)
        sender.release()
    assert set(statuses) <= {0x0000, 0xA900, 0xC000, 0xC001}
    kept, refused_ = intake.instances(), intake.refusals()
    assert len(refused_) == sum(status != 0 for status in statuses)
    assert len(kept) > 100
    assert len(seen) >= 11, seen
    assert all(refusal.reason and intake.archive.path(refusal.path).exists() for refusal in refused_)


@dataclass(frozen=True)
class AsSent:
    sop_class: str
    transfer_syntax: str
    uid: str
    data: bytes


def as_sent(path: Path) -> AsSent | None:
    """The data set of a file and what a sender would announce it as; None when there is nothing to send."""
    if not path.is_file() or "TINY_ALPHA" in path.parts:
        return None
    try:
        head = dcmread(path, stop_before_pixels=True)
        content = path.read_bytes()
        start = 144 + int.from_bytes(content[140:144], "little")
        found = AsSent(
            str(head.SOPClassUID),
            str(head.file_meta.TransferSyntaxUID),
            str(head.SOPInstanceUID),
            content[start:],
        )
    except (InvalidDicomError, AttributeError, OSError):
        return None
    supported = found.sop_class in storage_classes() and found.transfer_syntax in TRANSFER_SYNTAXES
    return found if supported else None
