"""Files that lie in a folder: what is no sound DICOM is named with its reason, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmwrite

from node.intake.examination import Announcement, Scratch, examine
from node.intake.files import NotReceivableError, received_file
from node.intake.header import Header
from storage.database import now
from storage.part10 import decode_head
from tests.node.intake.senders import ct_slice

pytestmark = pytest.mark.filterwarnings("ignore")  # of what is damaged on purpose


@pytest.fixture
def written(tmp_path: Path) -> Path:
    image = ct_slice()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.PatientBirthDate = "19600101"
    image.SeriesNumber = 123456
    dcmwrite(tmp_path / "a.dcm", image, enforce_file_format=True)
    return tmp_path / "a.dcm"


def sent(path: Path) -> Header:
    """What the node makes of the same object, sent to it."""
    head = decode_head(path.read_bytes()[:1024])
    announced = Announcement(head.sop_class, head.uid, head.transfer_syntax, "CT1", "127.0.0.1")
    with path.open("rb") as file:
        return examine(file.fileno(), head.offset, announced, Scratch(path.parent, lambda: None))


def test_a_sound_file_is_as_received(written: Path) -> None:
    assert received_file(written, now()).patient_id == "P1"


@pytest.mark.parametrize(
    ("letters", "patient_id"),
    [("ISO_IR 192", "Müller-7"), ("ISO_IR 144", "ИД7"), (["", "ISO 2022 IR 87"], "山7"), ("", "P1")],
)
def test_letters_are_those_of_the_character_set(
    tmp_path: Path, letters: str | list[str], patient_id: str
) -> None:
    image = ct_slice()
    image.SpecificCharacterSet, image.PatientID = letters, patient_id
    dcmwrite(tmp_path / "a.dcm", image, enforce_file_format=True)
    received = received_file(tmp_path / "a.dcm", now())
    assert received.patient_id == patient_id
    assert vars(received).items() >= vars(sent(tmp_path / "a.dcm")).items()


@pytest.mark.parametrize(
    ("sound", "damaged"),
    [
        (b"IS\x06\x00123456", b"IS\x06\x00123e99"),
        (b"IS\x06\x00123456", b"FD\x06\x00123456"),
        (b"CS\x02\x00CT", b"FD\x02\x00CT"),
        (b"P1", b"\xc9\\"),
        (b"ISO_IR 100", b"ISO_IR 999"),
        (b"19600101", b"1960\\\xff01"),
    ],
)
def test_a_damaged_value_is_taken_as_the_node_takes_it(written: Path, sound: bytes, damaged: bytes) -> None:
    whole = written.read_bytes()
    assert whole.count(sound) == 1
    written.write_bytes(whole.replace(sound, damaged))
    assert vars(received_file(written, now())).items() >= vars(sent(written)).items()


@pytest.mark.parametrize("number", [b"99999999999 ", b"9" * 40, b"-2147483649 ", b"none"])
def test_a_series_number_that_is_none_keeps_no_file_from_being_read(written: Path, number: bytes) -> None:
    whole, sound = written.read_bytes(), b"IS\x06\x00123456"
    written.write_bytes(whole.replace(sound, b"IS" + bytes([len(number), 0]) + number))
    assert received_file(written, now()).series_number is None


def test_a_file_damaged_anywhere_is_received_or_refused_and_raises_nothing_else(written: Path) -> None:
    """Every byte of the header, each in turn, becomes another; some are found bad only when decoded."""
    whole = written.read_bytes()
    refused = 0
    for place in range(128, whole.index(b"\xe0\x7f\x10\x00")):
        for byte in (0x00, 0x5C, 0xFF):
            written.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                received_file(written, now())
            except NotReceivableError as error:
                assert str(error)
                refused += 1
    assert refused > 100
