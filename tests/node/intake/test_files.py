"""Files that lie in a folder: what is no sound DICOM is named with its reason, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmwrite

from node.intake.files import NotReceivableError, received_file
from storage.database import now
from tests.node.intake.senders import ct_slice

pytestmark = pytest.mark.filterwarnings("ignore")  # of what is damaged on purpose


@pytest.fixture
def written(tmp_path: Path) -> Path:
    image = ct_slice()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.PatientBirthDate = "19600101"
    dcmwrite(tmp_path / "a.dcm", image, enforce_file_format=True)
    return tmp_path / "a.dcm"


def test_a_sound_file_is_as_received(written: Path) -> None:
    assert received_file(written, now()).patient_id == "P1"


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
