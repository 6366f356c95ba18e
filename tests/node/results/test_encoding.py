"""Every file is the one that pydicom would write."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import Dataset, FileDataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from node.results.encoding import file_of


def an_object(transfer_syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3"
    meta.TransferSyntaxUID = transfer_syntax
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, "1.2.3"
    return made


def by_pydicom(instance: Dataset) -> bytes:
    file = BytesIO()
    dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()


VALUES = {
    "text of even and of odd length": {"StudyDescription": "CT", "SeriesDescription": "Chest"},
    "nothing": {"PatientID": "", "PatientName": None, "OtherPatientIDs": []},
    "several values": {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "OtherPatientIDs": ["A", "BC"]},
    "numbers": {"PixelSpacing": [0.7, 0.703125], "Rows": 512, "InstanceNumber": "7", "RescaleSlope": "1.0"},
    "many numbers": {"GraphicData": [0.5, 1.5, -2.25], "RedPaletteColorLookupTableDescriptor": [256, 0, 8]},
    "a UID of odd length": {"StudyInstanceUID": "1.2.840.1"},
    "dates and times": {
        "StudyDate": "20261121",
        "StudyTime": "1201",
        "AcquisitionDateTime": "20261121120100",
    },
    "a tag": {"FrameIncrementPointer": 0x00540010},
    "text too long for two bytes of length": {"TextValue": "word " * 14_000},
    "text that its padding makes too long": {"ImageComments": "x" * 65_535},
    "bytes": {"PixelData": b"\1\2\3"},
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_values_of_every_kind_are_written(values: dict[str, object]) -> None:
    made = an_object()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    if "PixelData" in made:
        made["PixelData"].VR, made.BitsAllocated = "OB", 8
    assert file_of(made) == by_pydicom(made)


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 192", "Grün^Jörg"),
        ("ISO_IR 100", "Grün^Jörg"),
        ("ISO_IR 144", "Щюж^Яэд"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 126", "Διονυσιος"),
        (None, "Doe^John"),
    ],
)
def test_text_is_written_in_its_character_set_inside_of_sequences_too(
    character_set: str | list[str] | None, name: str
) -> None:
    made = an_object()
    if character_set is not None:
        made.SpecificCharacterSet = character_set
    inner = Dataset()
    inner.PatientName, inner.StudyDescription = name, name.split("=")[-1]
    of_its_own = Dataset()
    of_its_own.SpecificCharacterSet, of_its_own.StudyDescription = "ISO_IR 100", "Übersicht"
    made.PatientName = name
    made.ReferencedStudySequence = [inner, of_its_own, Dataset()]
    assert file_of(made) == by_pydicom(made)


def test_lengths_that_were_undefined_stay_so() -> None:
    made = an_object()
    item = Dataset()
    item.is_undefined_length_sequence_item = True
    item.CodeValue = "T-28000"
    made.AnatomicRegionSequence = [item]
    made.ReferencedStudySequence = [Dataset()]
    made["ReferencedStudySequence"].is_undefined_length = True
    assert file_of(made) == by_pydicom(made)


def test_what_was_read_and_not_looked_at_stays_as_it_was() -> None:
    read = an_object()
    read.StudyDescription, read.ReferencedStudySequence = "Grün", [Dataset()]
    read.SpecificCharacterSet = "ISO_IR 192"
    again = dcmread(BytesIO(by_pydicom(read)))
    assert file_of(again) == by_pydicom(read)


def test_a_representation_that_depends_on_others_is_settled() -> None:
    implicit = an_object(ImplicitVRLittleEndian)
    implicit.PixelRepresentation, implicit.BitsAllocated = 1, 16
    implicit.SmallestImagePixelValue, implicit.PixelPaddingValue = -1024, -2000
    again = dcmread(BytesIO(by_pydicom(implicit)))
    again.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert dcmread(BytesIO(file_of(again))).PixelPaddingValue == -2000
    assert file_of(again) == by_pydicom(again)


def test_other_transfer_syntaxes_are_left_to_pydicom() -> None:
    made = an_object(JPEGBaseline8Bit)
    made.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0"
    made["PixelData"].VR = "OB"
    assert file_of(made) == by_pydicom(made)


def test_the_head_repeats_the_uids_of_the_object() -> None:
    made = an_object()
    made.file_meta.MediaStorageSOPInstanceUID = "9.9.9"
    assert file_of(made) == by_pydicom(made)
    assert dcmread(BytesIO(file_of(made))).file_meta.MediaStorageSOPInstanceUID == "1.2.3"


def test_an_item_with_an_empty_character_set_does_not_inherit_one() -> None:
    made = an_object()
    made.SpecificCharacterSet = "ISO_IR 192"
    item = Dataset()
    item.SpecificCharacterSet, item.StudyDescription = "", "Übersicht"
    made.ReferencedStudySequence = [item]
    assert file_of(made) == by_pydicom(made)


def test_a_command_is_no_part_of_a_file() -> None:
    made = an_object()
    made.add_new(0x00000002, "UI", CTImageStorage)
    with pytest.raises(ValueError, match="Command Set"):
        file_of(made)
