"""Whatever a scanner left out or got wrong, the results are made, are valid, and keep the patient's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from inference.volume import load_volume
from node.results import UnusableSourceError
from tests.node.results.phantoms import Case, phantom
from tests.node.results.test_segmentation import multi_frame
from tests.validators import dciodvfy, dsrdump

Change = Callable[[Dataset], None]


def without(*keywords: str) -> Change:
    def change(image: Dataset) -> None:
        for keyword in keywords:
            delattr(image, keyword)

    return change


def with_value(keyword: str, value: object) -> Change:
    def change(image: Dataset) -> None:
        image[keyword] = pydicom.DataElement(keyword, pydicom.datadict.dictionary_VR(keyword), value)

    return change


def with_unreadable(keyword: str, value: bytes) -> Change:
    tag = pydicom.tag.Tag(keyword)

    def change(image: Dataset) -> None:
        vr = pydicom.datadict.dictionary_VR(tag)
        image[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)

    return change


def referring_to_a_study_of_no_class(image: Dataset) -> None:
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.3"
    image.ReferencedStudySequence = [reference]


def changed(case: Case, *changes: Change) -> Case:
    """The same study with every image rewritten."""
    for path in case.paths:
        image = pydicom.dcmread(path)
        for change in changes:
            change(image)
        image.save_as(path)
    return Case(case.paths, load_volume(case.paths), case.reading)


def with_bytes(folder: Path, declared: str, keyword: str, name: bytes) -> Case:
    """A study with a name that need not be what the character set says."""
    padded = name + b" " * (len(name) % 2)
    place = b"Q" * len(padded)
    case = changed(
        phantom(folder, lesions=1, shape=(8, 40, 48)),
        with_value("SpecificCharacterSet", declared),
        with_value(keyword, place.decode()),
    )
    for path in case.paths:
        data = path.read_bytes()
        assert data.count(place) == 1
        path.write_bytes(data.replace(place, padded))
    return case


@pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length", "ignore:Value")
@pytest.mark.needs("dciodvfy", "dsrdump")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without("StudyID"), id="no study ID"),
        pytest.param(referring_to_a_study_of_no_class, id="a reference without its class"),
        pytest.param(with_value("ClinicalTrialSponsorName", ""), id="a clinical trial without sponsor"),
        pytest.param(without("AccessionNumber"), id="no accession number"),
        pytest.param(without("PatientBirthDate"), id="no birth date"),
        pytest.param(without("PatientSex"), id="no sex"),
        pytest.param(without("StudyTime"), id="no study time"),
        pytest.param(with_value("PatientSex", "U"), id="unknown sex"),
        pytest.param(with_value("SpecificCharacterSet", ""), id="empty character set"),
        pytest.param(without("SliceThickness"), id="no slice thickness"),
        pytest.param(with_value("SliceThickness", ""), id="empty slice thickness"),
        pytest.param(without("FrameOfReferenceUID"), id="no frame of reference"),
        pytest.param(without("PatientName", "PatientID", "ReferringPhysicianName"), id="no patient"),
        pytest.param(with_value("AccessionNumber", ""), id="empty accession number"),
        pytest.param(with_value("StudyDate", "15.01.2024"), id="a date that is none"),
        pytest.param(with_value("StudyTime", "noon"), id="a time that is none"),
        pytest.param(with_value("StudyDescription", ""), id="empty description"),
        pytest.param(with_unreadable("AcquisitionDuration", b"1.5 ms"), id="a number of a wrong length"),
        pytest.param(with_unreadable("RequestAttributesSequence", b"odd "), id="a sequence that is none"),
    ],
)
def test_results_are_valid_in_spite_of(change: Change, tmp_path: Path) -> None:
    case = changed(phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48)), change)
    for file in case.write(tmp_path / "out", "seg", "sr", "pr", "sc", "ko").values():
        assert dciodvfy(file.path) == [], file.path.name
        if file.kind in ("sr", "ko"):
            assert dsrdump(file.path) == []


CHARACTER_SETS = {
    "Western": ("ISO_IR 100", "Buc^Jérôme"),
    "Central European": ("ISO_IR 101", "Wałęsa^Łucja"),
    "Cyrillic": ("ISO_IR 144", "Любовь^Вера"),  # noqa: RUF001
    "Arabic": ("ISO_IR 127", "قباني^لنزار"),
    "Greek": ("ISO_IR 126", "Διονυσιος^Ιωάννης"),
    "Hebrew": ("ISO_IR 138", "שרון^דבורה"),
    "Turkish": ("ISO_IR 148", "Çavuşoğlu^Şükrü"),
    "Thai": ("ISO_IR 166", "นามสกุล^ชื่อ"),
    "Japanese kanji": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Japanese katakana": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "Chinese in UTF-8": ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    "Chinese in GB18030": ("GB18030", "Wang^XiaoDong=王^小东"),
}


@pytest.mark.parametrize("name", CHARACTER_SETS)
def test_a_name_goes_out_as_it_came_in(name: str, tmp_path: Path) -> None:
    character_set, patient = CHARACTER_SETS[name]
    case = changed(
        phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48)),
        with_value("SpecificCharacterSet", character_set),
        with_value("PatientName", patient),
    )
    source = pydicom.dcmread(case.paths[0], stop_before_pixels=True)
    for file in case.write(tmp_path / "out", "seg", "sr", "pr", "sc", "ko").values():
        result = pydicom.dcmread(file.path)
        assert str(result.PatientName) == patient, file.path.name
        assert result.PatientName.original_string == source.PatientName.original_string
        assert result.get("SpecificCharacterSet") == source.SpecificCharacterSet


def test_bytes_of_an_undeclared_character_set_are_kept(tmp_path: Path) -> None:
    case = changed(
        phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48)),
        with_value("SpecificCharacterSet", "ISO_IR 100"),
        with_value("PatientName", "Buc^Jérôme"),
    )
    for path in case.paths:
        data = path.read_bytes()
        declared = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
        assert declared in data
        path.write_bytes(data.replace(declared, b"\x08\x00\x05\x00CS\x0a\x00          "))
    for file in case.write(tmp_path / "out", "sr", "seg").values():
        assert "Jérôme".encode("latin-1") in file.path.read_bytes()


@pytest.mark.filterwarnings("ignore:Failed to decode", "ignore:Value", "ignore:The value length")
@pytest.mark.parametrize(
    ("declared", "keyword", "name"),
    [
        pytest.param("", "PatientName", "ソ表^太郎".encode("shift_jis"), id="a letter ends in a backslash"),
        pytest.param("", "PatientName", "嘰誠^哱".encode("gbk"), id="another does"),
        pytest.param("ISO_IR 100", "PatientName", rb"Doe^Jane\Roe^Joan", id="two names"),
        pytest.param("ISO_IR 100", "ReferringPhysicianName", rb"House^Greg\Wilson^J", id="two physicians"),
        pytest.param("ISO_IR 13", "PatientName", "山田^太郎".encode("shift_jis"), id="kanji as katakana"),
        pytest.param("ISO_IR 192", "PatientName", "Müller^Jörg".encode("latin-1"), id="Western as UTF-8"),
        pytest.param("ISO_IR 127", "PatientName", b"M\xfcller^J", id="a byte that means nothing there"),
    ],
)
def test_a_name_that_is_not_what_its_character_set_says_keeps_its_bytes(
    declared: str, keyword: str, name: bytes, tmp_path: Path
) -> None:
    case = with_bytes(tmp_path / "ct", declared, keyword, name)
    written = case.write(tmp_path / "out", "seg", "sc")
    assert set(written) >= {"seg", "sc-1"}
    for file in written.values():
        result = pydicom.dcmread(file.path, stop_before_pixels=True)
        assert result.get_item(keyword).value.rstrip() == name, file.path.name
        assert declared in ("", result.SpecificCharacterSet)


@pytest.mark.parametrize("name", ["Cyrillic", "Japanese kanji", "Greek", "Chinese in GB18030"])
def test_a_label_that_the_character_set_lacks_is_told_in_utf_8_with_the_name(
    name: str, tmp_path: Path
) -> None:
    character_set, patient = CHARACTER_SETS[name]
    case = changed(
        phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48)),
        with_value("SpecificCharacterSet", character_set),
        with_value("PatientName", patient),
    )
    (finding,) = case.reading.findings
    label = "lésion 🫁"
    result = pydicom.dcmread(
        case.with_findings(replace(finding, label=label)).write(tmp_path / "out", "seg")["seg"].path
    )
    assert result.SegmentSequence[0].SegmentLabel.startswith(label)
    assert str(result.PatientName) == patient
    if name != "Chinese in GB18030":
        assert result.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.filterwarnings("ignore:Failed to encode")
@pytest.mark.parametrize(
    ("declared", "name"),
    [
        ("", "山田^太郎".encode("shift_jis")),
        ("ISO_IR 100", "山田^太郎".encode()),
        ("ISO_IR 127", b"M\xfcller^J"),
    ],
)
def test_a_name_of_unknown_letters_is_put_into_no_others(declared: str, name: bytes, tmp_path: Path) -> None:
    case = with_bytes(tmp_path / "ct", declared, "PatientName", name)
    (finding,) = case.reading.findings
    case = case.with_findings(replace(finding, label="结节"))
    result = pydicom.dcmread(case.write(tmp_path / "out", "seg")["seg"].path)
    assert result.get_item("PatientName").value.rstrip() == name


def test_a_name_in_undeclared_letters_is_the_same_in_all_results(tmp_path: Path) -> None:
    name = "Müller^Jörg".encode()
    case = with_bytes(tmp_path / "ct", "", "PatientName", name)
    (finding,) = case.reading.findings
    case = case.with_findings(replace(finding, label="结节"))
    for file in case.write(tmp_path / "out", "seg", "sr", "pr", "sc", "ko").values():
        result = pydicom.dcmread(file.path, stop_before_pixels=True)
        assert result.get_item("PatientName").value.rstrip() == name, file.kind
        assert result.SpecificCharacterSet == "ISO_IR 100", file.kind


def test_undeclared_texts_of_ours_beyond_ascii_are_declared(tmp_path: Path) -> None:
    case = changed(phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48)), without("SpecificCharacterSet"))
    (finding,) = case.reading.findings
    plain = pydicom.dcmread(case.write(tmp_path / "plain", "seg")["seg"].path)
    assert "SpecificCharacterSet" not in plain
    case = case.with_findings(replace(finding, label="lésion"))
    result = pydicom.dcmread(case.write(tmp_path / "out", "seg")["seg"].path)
    assert result.SpecificCharacterSet == "ISO_IR 192"
    assert result.SegmentSequence[0].SegmentLabel.startswith("lésion")
    assert result.PatientName == plain.PatientName


def test_frames_that_share_nothing_get_results(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "enhanced.dcm"
    enhanced = multi_frame(case, path)
    image = pydicom.dcmread(path)
    (shared,) = image.SharedFunctionalGroupsSequence
    del image.SharedFunctionalGroupsSequence
    for groups in image.PerFrameFunctionalGroupsSequence:
        groups.update(shared)
    image.save_as(path)
    written = enhanced.write(tmp_path / "out", "seg", "sr", "pr", "ko")
    assert {file.kind for file in written.values()} == {"seg", "sr", "pr", "ko"}


def test_long_names_and_numbers_are_not_cut(tmp_path: Path) -> None:
    name, number = "Extraordinarily^" + "Long" * 20, "9" * 70
    case = phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48))
    with pytest.warns(UserWarning):
        case = changed(case, with_value("PatientName", name), with_value("PatientID", number))
        files = case.write(tmp_path / "out", "seg", "sr", "pr", "sc", "ko")
    for file in files.values():
        result = pydicom.dcmread(file.path, stop_before_pixels=True)
        assert (str(result.PatientName), result.PatientID) == (name, number)


def test_private_and_bulky_attributes_stay_behind(tmp_path: Path) -> None:
    def burden(image: Dataset) -> None:
        image.private_block(0x0009, "SCANNER", create=True).add_new(1, "LO", "secret recipe")

    case = changed(phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48)), burden)
    for file in case.write(tmp_path / "out", "seg", "sr", "pr", "sc", "ko").values():
        assert b"secret recipe" not in file.path.read_bytes()


def test_an_image_without_a_study_is_refused_with_advice(tmp_path: Path) -> None:
    case = phantom(tmp_path / "ct", lesions=1, shape=(8, 40, 48))
    for path in case.paths:
        image = pydicom.dcmread(path)
        del image.StudyInstanceUID
        image.save_as(path)
    with pytest.raises(UnusableSourceError, match=r"no Study Instance UID.*send it again"):
        case.write(tmp_path / "out")
