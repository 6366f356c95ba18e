"""The right series is read, and an administrator can see why each other one was not."""

from __future__ import annotations

import builtins
import errno
import io
import struct
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from node.routing.kernels import kernel_of
from node.routing.select import Choice, SeriesDescription, describe, select
from node.settings import RouteSettings
from node.settings.matching import matches
from node.settings.routes import DEFAULT_ROUTES
from storage.archive import Archive
from storage.part10 import encode_head
from tests.inference.pictures import DX, chest, write_picture
from tests.inference.series import affine_of, change, write_scene
from training.phantoms.dicom import Series

ALL = ("ct-lesions", "lung-nodules", "chest-xray", "polyps", "pet-ct")
LUNG = ("lung-nodules",)
LUNG_ROUTES = tuple(shipped for shipped in DEFAULT_ROUTES if shipped.reader in LUNG)


def ct(uid: str, **known: object) -> SeriesDescription:
    """A chest CT of 200 axial slices, but for what is given."""
    tags = {
        "Modality": "CT",
        "Rows": "512",
        "BodyPartExamined": "CHEST",
        "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "FrameOfReferenceUID": "1.9",
        "SeriesDescription": f"series {uid}",
        "SeriesNumber": uid,
    }
    fields = {
        "images": 200,
        "missing": 0,
        "plane": "axial",
        "spacing_mm": 1.5,
        "coverage_mm": 300.0,
        "problem": "",
    }
    for name, value in known.items():
        (fields if name in fields else tags)[name] = value
    several = {k: (v,) if isinstance(v, str) else tuple(v) for k, v in tags.items() if v}
    return SeriesDescription(uid, several, **fields)  # type: ignore[arg-type]


def pet(uid: str, **known: object) -> SeriesDescription:
    return ct(uid, **{"Modality": "PT", "Units": "BQML", "CorrectedImage": ("DECY", "ATTN"), **known})


def picture(uid: str, modality: str, **known: object) -> SeriesDescription:
    return ct(uid, Modality=modality, plane="", spacing_mm=None, coverage_mm=0.0, images=1, **known)


def chosen(choices: tuple[Choice, ...]) -> dict[str | None, str]:
    return {choice.reader: choice.series_uid for choice in choices if choice.chosen}


def reason(choices: tuple[Choice, ...], uid: str) -> str:
    (choice,) = [choice for choice in choices if choice.series_uid == uid]
    assert not choice.chosen
    return choice.reason


@pytest.mark.parametrize(
    ("worse", "because"),
    [
        (
            ct("2", spacing_mm=5.0),
            "a thinner axial series was preferred: 1.5 mm against 5 mm",
        ),
        (
            ct("2", images=195, missing=5, ConvolutionKernel="B70f", spacing_mm=1.4),
            "5 of its slices are missing; a series that lacks none was preferred",
        ),
        (ct("2", SliceThickness="3"), "a thinner axial series was preferred: 1.5 mm against 3 mm"),
        (
            ct("2", spacing_mm=0.6, ImageType=("DERIVED", "SECONDARY", "AXIAL")),
            "derived from other images; an original series was preferred",
        ),
        (ct("2", spacing_mm=0.6, plane="coronal"), "coronal slices; an axial series was preferred"),
        (
            ct("2", spacing_mm=0.6, coverage_mm=60.0),
            "a series that covers more was preferred: 300 mm against 60 mm",
        ),
        (ct("2", images=180), "a series of more images was preferred: 200 against 180"),
        (ct("2", problem="It is torn."), "cannot be read: It is torn."),
        (ct("2"), "equal to series 1, which comes first"),
    ],
)
def test_the_better_of_two_series_is_read_and_the_other_says_why_not(worse, because) -> None:
    for order in ([ct("1"), worse], [worse, ct("1")]):
        choices = select(order, LUNG_ROUTES, LUNG)
        assert chosen(choices) == {"lung-nodules": "1"}
        assert reason(choices, "2") == because


def test_each_reader_has_its_kernel() -> None:
    more = {"StudyDescription": "CT chest and abdomen"}
    study = [ct("1", ConvolutionKernel="B30f", **more), ct("2", ConvolutionKernel="B70f", **more)]
    choices = select(study, DEFAULT_ROUTES, ("lung-nodules", "ct-lesions"))
    assert chosen(choices) == {"lung-nodules": "2", "ct-lesions": "1"}
    assert "a sharp kernel was preferred: B70f against B30f" in {choice.reason for choice in choices}


@pytest.mark.parametrize(
    ("part", "study", "readers"),
    [
        ("CHEST", "CT chest", {"lung-nodules"}),
        ("CHEST", "CT chest/abdomen/pelvis", {"lung-nodules", "ct-lesions"}),
        ("ABDOMEN", "CT abdomen", {"ct-lesions"}),
        ("ABDOMEN", "CT thorax and abdomen", {"lung-nodules", "ct-lesions"}),
        ("LIVER", "", {"ct-lesions"}),
        ("", "", {"lung-nodules", "ct-lesions"}),
        ("", "CT abdomen", {"ct-lesions"}),
        ("", "CT thorax", {"lung-nodules"}),
        ("", "CT head", set()),
        ("HEAD", "CT head", set()),
        ("WHOLEBODY", "", {"lung-nodules", "ct-lesions"}),
    ],
)
def test_each_part_of_the_body_has_its_readers(part: str, study: str, readers: set[str]) -> None:
    choices = select([ct("1", BodyPartExamined=part, StudyDescription=study)], DEFAULT_ROUTES, ALL)
    assert set(chosen(choices)) == readers


def test_lungs_are_sought_in_the_series_of_the_chest() -> None:
    study = "CT chest and abdomen"
    abdomen = ct("1", BodyPartExamined="ABDOMEN", StudyDescription=study, coverage_mm=460.0)
    choices = select([abdomen, ct("2", StudyDescription=study)], DEFAULT_ROUTES, ALL)
    assert chosen(choices) == {"lung-nodules": "2", "ct-lesions": "1"}
    reasons = {choice.reason for choice in choices}
    assert "of another part of the body; a series of the chest was preferred" in reasons


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("B30f", "soft"),
        ("B70f", "sharp"),
        ("Br38f", "soft"),
        ("Bl64d", "sharp"),
        ("I50f", "sharp"),
        ("STANDARD", "soft"),
        ("LUNG", "sharp"),
        ("BONEPLUS", "sharp"),
        ("FC51", "sharp"),
        ("FC17", "soft"),
        ("L", "sharp"),
        ("B", "soft"),
        ("", ""),
        ("11", ""),
    ],
)
def test_kernels_of_all_vendors_are_known(name, kind) -> None:
    assert kernel_of(name) == kind


@pytest.mark.parametrize(
    ("one", "because"),
    [
        (ct("1", ImageType=("ORIGINAL", "PRIMARY", "LOCALIZER")), "a localizer"),
        (ct("1", SeriesDescription="Topogram 0.6"), "a localizer"),
        (ct("1", SeriesDescription="Thorax MIP cor"), "a projection (MIP or rendering), not slices"),
        (ct("1", SeriesDescription="Dose Report"), "a dose report or screen capture"),
        (
            ct("1", SeriesDescription="PreMonitoring", coverage_mm=5.0),
            "contrast tracking at one place, not a scan",
        ),
        (
            ct("1", SeriesDescription="Lung 3D", ImageType=("DERIVED", "SECONDARY")),
            "a projection (MIP or rendering), not slices",
        ),
        (
            ct("1", SOPClassUID="1.2.840.10008.5.1.4.1.1.7.4"),
            "a secondary capture: pictures without measured values",
        ),
        (ct("1", images=1), "1 image; a volume needs at least 8"),
        (ct("1", coverage_mm=14.0), "covers 14 mm only; at least 30 mm are needed"),
        (ct("1", Modality="SR", Rows=""), "holds no images (SR)"),
        (ct("1", Manufacturer="Overread"), "a result of this node"),
        (
            ct("1", BodyPartExamined="HEAD", StudyDescription="Head"),
            "no route matches axial CT, 1.5 mm, 200 images",
        ),
    ],
)
def test_what_no_reader_can_read_is_left_with_its_reason(one, because) -> None:
    choices = select([one], DEFAULT_ROUTES, ALL)
    assert chosen(choices) == {}
    assert reason(choices, "1") == because


def test_a_reason_repeats_neither_the_series_it_stands_beside_nor_its_reader() -> None:
    (choice,) = select([ct("1", SeriesDescription="Thin lung")], LUNG_ROUTES, LUNG)
    assert choice.reason == "the only one that fits: axial CT, 1.5 mm, 200 images"


def test_the_only_series_that_fits_is_read_even_if_it_will_fail_so_that_the_failure_is_seen() -> None:
    (choice,) = select([ct("1", problem="The slices are torn.")], LUNG_ROUTES, LUNG)
    assert choice.chosen
    assert choice.reason.endswith("The slices are torn.")


def test_a_reader_that_is_not_installed_reads_nothing_and_says_so() -> None:
    choices = select([ct("1", BodyPartExamined="WHOLE BODY")], DEFAULT_ROUTES, ("lung-nodules",))
    assert chosen(choices) == {"lung-nodules": "1"}
    assert "ct-lesions would read it, but its models are not installed" in {c.reason for c in choices}


def test_of_pet_series_the_corrected_one_is_read_with_the_best_ct_beside_it() -> None:
    study = [
        ct("1", spacing_mm=5.0),
        ct("2", spacing_mm=3.0),
        ct("3", FrameOfReferenceUID="1.8"),
        pet("4", CorrectedImage=("DECY",)),
        pet("5"),
        pet("6", SeriesDescription="PET NAC"),
    ]
    choices = select(study, DEFAULT_ROUTES, ("pet-ct",))
    (read,) = [choice for choice in choices if choice.chosen]
    assert (read.series_uid, read.companion_uid) == ("5", "2")
    for uid in ("4", "6"):
        assert reason(choices, uid) == "not corrected for attenuation; a corrected PET series was preferred"


def test_a_pet_without_its_ct_is_left() -> None:
    choices = select([pet("1"), ct("2", FrameOfReferenceUID="1.8")], DEFAULT_ROUTES, ("pet-ct",))
    assert "there is no readable CT in the frame of reference of this PET" in reason(choices, "1")


def test_a_pet_and_a_ct_without_any_frame_of_reference_do_not_lie_in_the_same() -> None:
    study = [pet("1", FrameOfReferenceUID=""), ct("2", FrameOfReferenceUID="")]
    choices = select(study, DEFAULT_ROUTES, ("pet-ct",))
    assert "there is no readable CT in the frame of reference of this PET" in reason(choices, "1")


def test_a_pet_of_another_tracer_is_left_with_its_name() -> None:
    psma, fdg = replace(pet("1", images=300), other_tracer="Ga-68 PSMA-11"), pet("3")
    choices = select([psma, ct("2")], DEFAULT_ROUTES, ("pet-ct",))
    assert reason(choices, "1") == "its tracer is Ga-68 PSMA-11, not FDG, which alone pet-ct knows"
    choices = select([psma, ct("2"), fdg], DEFAULT_ROUTES, ("pet-ct",))
    assert chosen(choices) == {"pet-ct": "3"}
    assert reason(choices, "1") == "its tracer is Ga-68 PSMA-11; a PET of FDG was preferred"


def test_a_frontal_chest_xray_is_preferred() -> None:
    study = [
        picture("1", "DX", ViewPosition="LL"),
        picture("2", "DX", ViewPosition="AP"),
        picture("3", "DX", ViewPosition="PA"),
        picture("4", "DX", ViewPosition="PA", PresentationIntentType="FOR PROCESSING"),
    ]
    choices = select(study, DEFAULT_ROUTES, ALL)
    assert chosen(choices) == {"chest-xray": "3"}
    assert reason(choices, "2") == "a PA view was preferred over AP"
    assert reason(choices, "4").startswith("meant for processing")


def test_a_series_taken_from_the_side_is_known_without_a_view_position(tmp_path: Path) -> None:
    pixels = (chest(160) * 255).astype(np.uint8)
    side, front = (
        write_picture(tmp_path / f"{way}.dcm", pixels, "DX", DX, PatientOrientation=[way, "F"])
        for way in "AL"
    )
    lateral, frontal = (
        replace(describe(uid, [path]), tags=picture(uid, "DX").tags)
        for uid, path in (("1", side), ("2", front))
    )
    choices = select([lateral, frontal], DEFAULT_ROUTES, ALL)
    assert chosen(choices) == {"chest-xray": "2"}
    assert reason(choices, "1").startswith("no frontal view, which was preferred: The view is from the side")


def test_endoscopy_goes_to_the_polyp_reader() -> None:
    assert chosen(select([picture("1", "ES", BodyPartExamined="")], DEFAULT_ROUTES, ALL)) == {"polyps": "1"}


def route(reader: str = "lung-nodules", priority: str = "routine", **match: object) -> RouteSettings:
    return RouteSettings.model_validate({"reader": reader, "match": match, "priority": priority})


def test_the_first_route_that_matches_gives_the_priority() -> None:
    routes = (
        route(StationName="ER", priority="stat"),
        route(Modality="CT"),
        route(Modality="CT", priority="stat"),
    )
    assert [choice.priority for choice in select([ct("1")], routes, LUNG)] == ["routine"]
    assert [choice.priority for choice in select([ct("1", StationName="ER")], routes, LUNG)] == ["stat"]


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({"Modality": "ct"}, True),
        ({"Modality": ("MR", "CT")}, True),
        ({"Modality": "C"}, False),
        ({"BodyPartExamined": "~^che"}, True),
        ({"BodyPartExamined": "~abd|est$"}, True),
        ({"BodyPartExamined": "~abd"}, False),
        ({"ImageType": "AXIAL"}, True),
        ({"ImageType": "~^(original)$"}, True),
        ({"StudyDescription": ""}, True),
        ({"StudyDescription": "~^$"}, True),
        ({"StudyDescription": ("", "Chest")}, True),
        ({"Modality": ""}, False),
        ({"Modality": "CT", "BodyPartExamined": "HEAD"}, False),
    ],
)
def test_a_match_is_a_value_a_list_or_a_pattern(match, fits) -> None:
    assert matches(ct("1").tags, match) is fits


def test_the_shipped_routes_cover_every_reader() -> None:
    assert {shipped.reader for shipped in DEFAULT_ROUTES} == set(ALL)


def element(tag: int, vr: str, value: bytes) -> bytes:
    """In Explicit VR Little Endian, whatever is wrong with it (PS3.5 7.1.2)."""
    long = b"\0\0" if vr == "SQ" else b""
    length = len(value).to_bytes(4 if long else 2, "little")
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + long + length + value


@pytest.mark.parametrize(
    ("modality", "damaged", "problem"),
    [
        (b"DX", element(0x00189073, "FD", b"1.5 ms"), ""),  # Acquisition Duration, which nobody looks at
        (b"CT", element(0x00280010, "US", b"512"), "what its header says cannot be read"),  # Rows
        (b"DX", element(0x00540220, "SQ", b"odd"), "what its header says cannot be read"),  # View Code
    ],
)
def test_a_header_that_breaks_the_rules_costs_its_series_at_most(
    tmp_path: Path, modality: bytes, damaged: bytes, problem: str
) -> None:
    path = tmp_path / "damaged.dcm"
    head = encode_head("1.2.840.10008.5.1.4.1.1.1.1", "1.2.3", "1.2.840.10008.1.2.1", "SENDER")
    elements = {
        0x00080060: element(0x00080060, "CS", modality),
        0x00081030: element(0x00081030, "LO", b"chest "),
    }
    elements[int.from_bytes(damaged[:2], "little") << 16 | int.from_bytes(damaged[2:4], "little")] = damaged
    path.write_bytes(head + b"".join(elements[tag] for tag in sorted(elements)))
    series = describe("1.2", [path])
    assert series.problem.partition(":")[0] == problem
    assert series.tags == {"Modality": (modality.decode(),), "StudyDescription": ("chest",)}


def test_a_series_is_described_from_its_headers(tmp_path: Path) -> None:
    series = Series(description="Thorax 2.0", kernel="B60f", number=7)
    paths = write_scene(tmp_path, affine_of((2.0, 0.8, 0.6)), series=series)
    one = describe("1.2.3", paths[::-1])
    assert (one.images, one.plane, one.problem) == (20, "axial", "")
    assert (one.spacing_mm, one.coverage_mm) == pytest.approx((2.0, 38.0))
    assert (one.description, one.number, one.tag("ConvolutionKernel")) == ("Thorax 2.0", 7, "B60f")
    assert chosen(select([one], DEFAULT_ROUTES, LUNG)) == {"lung-nodules": "1.2.3"}


def test_a_series_is_described_with_how_many_of_its_slices_are_missing(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    complete, lacking = describe("1", paths), describe("1", [*paths[:9], *paths[10:]])
    assert (complete.images, complete.missing) == (len(paths), 0)
    assert (lacking.images, lacking.missing) == (len(paths) - 1, 1)
    assert lacking.coverage_mm == pytest.approx(complete.coverage_mm)


def test_a_series_that_is_no_volume_is_described_with_its_problem(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    change(paths[3], lambda image: setattr(image, "PixelSpacing", [0, 0]))
    assert "PixelSpacing of 0 x 0 mm" in describe("1.2.3", paths).problem


def test_a_ct_of_other_values_than_hu_is_not_read_and_says_so(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    for path in paths:
        change(path, lambda image: setattr(image, "RescaleType", "MGML"))
    iodine = describe("1.2.3", paths)
    (choice,) = select([iodine], DEFAULT_ROUTES, ALL)
    assert (choice.chosen, choice.reader) == (False, None)
    assert choice.reason == "its values are in MGML, not in Hounsfield units"
    assert chosen(select([iodine, ct("1")], LUNG_ROUTES, LUNG)) == {"lung-nodules": "1"}


def test_a_broken_file_is_described_as_one(tmp_path: Path) -> None:
    text = tmp_path / "a.dcm"
    text.write_text("hello")
    (choice,) = select([describe("1.2.3", [text])], DEFAULT_ROUTES, ALL)
    assert choice.reason == "none of its files is readable DICOM"


@pytest.mark.parametrize("number", [0, 3])
def test_a_file_that_cannot_be_read_for_now_says_nothing_of_its_series(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_scene(tmp_path)
    openly = open

    def troubled(path: object, *args: Any, **kwargs: Any) -> Any:
        if str(path) == str(paths[number]):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return openly(path, *args, **kwargs)  # type: ignore[call-overload]

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", troubled)
    with pytest.raises(OSError, match="Input/output error"):
        describe("1.2.3", paths)


def test_a_series_that_is_gone_is_described_as_that_and_one_that_is_away_is_not(tmp_path: Path) -> None:
    gone = Archive(tmp_path / "data").images / "ab" / "1.2" / "1.dcm"
    assert describe("1.2.3", [gone]).problem == "none of its files is readable DICOM"
    with pytest.raises(FileNotFoundError):
        describe("1.2.3", [tmp_path / "not mounted" / "images" / "ab" / "1.2" / "1.dcm"])


def test_in_a_real_pet_ct_study_the_right_series_are_read(shared_data: Path) -> None:
    series = defaultdict(list)
    for path in sorted((shared_data / "petct_acrin_nsclc").rglob("*.dcm")):
        uid = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]
        ).SeriesInstanceUID
        series[uid].append(path)
    choices = select([describe(uid, paths) for uid, paths in series.items()], DEFAULT_ROUTES, ALL)
    read = {choice.reader: choice for choice in choices if choice.chosen}
    assert set(read) == {"lung-nodules", "pet-ct"}
    assert "axial CT, 3.75 mm, 135 images; the CT of a PET/CT study" in read["lung-nodules"].reason
    assert read["pet-ct"].reason.endswith("beside it, 'CT IMAGES': axial CT, 3.75 mm, 135 images")
    assert read["pet-ct"].companion_uid == read["lung-nodules"].series_uid
    left = {choice.reason for choice in choices if not choice.chosen}
    assert {"a localizer", "not corrected for attenuation; a corrected PET series was preferred"} < left


@pytest.mark.parametrize("description", ["CHEST 1.25 3D", "Lung 1.0 for 3D", "Thorax 1.0 post bolus"])
def test_thin_slices_are_read_whatever_they_were_meant_for(description: str) -> None:
    choices = select([ct("1", SeriesDescription=description)], LUNG_ROUTES, LUNG)
    assert chosen(choices) == {"lung-nodules": "1"}
