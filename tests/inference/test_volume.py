"""A series becomes voxels that lie where the patient was."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, get_frame
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from inference.errors import NotInHounsfieldError
from inference.findings import Caveat
from inference.volume import UnreadableSeriesError, Volume, load_volume
from tests.inference.series import (
    affine_of,
    change,
    copy_with,
    places,
    scene,
    write_enhanced,
    write_scene,
)

SHAPE = (20, 40, 50)


def assert_shows_the_scene(volume: Volume) -> None:
    """Every voxel holds what the scene has at its place in the patient."""
    expected = scene(places(volume.affine, volume.shape)).astype(int)
    assert np.abs(volume.voxels - expected).max() <= 1


def turned(
    spacing: tuple[float, float, float], rotation: Rotation, flips: tuple[int, int, int]
) -> np.ndarray:
    axial = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    return affine_of(spacing, rotation.as_matrix() @ axial * flips, SHAPE)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.sampled_from([0.0, 90.0, 180.0, 270.0]) | st.floats(-180, 180) for _ in range(3)]),
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    spacing=st.tuples(st.floats(0.5, 5), st.floats(0.3, 1.5), st.floats(0.3, 1.5)),
    seed=st.integers(0, 99),
)
def test_any_order_flip_and_rotation_gives_the_same_values_in_patient_space(
    tmp_path_factory: pytest.TempPathFactory, angles, flips, spacing, seed
) -> None:
    affine = turned(spacing, Rotation.from_euler("xyz", angles, degrees=True), flips)
    paths = write_scene(tmp_path_factory.mktemp("series"), affine, SHAPE, shuffle_seed=seed)
    random.Random(seed).shuffle(paths)
    volume = load_volume(paths, threads=1)
    assert volume.shape == SHAPE
    assert volume.voxels.dtype == np.int16
    assert np.linalg.det(volume.affine[:3, 2::-1]) > 0  # columns, rows, slices: right-handed
    assert_shows_the_scene(volume)


def test_slices_run_along_the_normal_whichever_way_they_were_sent(tmp_path: Path) -> None:
    feet_first = affine_of(shape=SHAPE)
    feet_first[:3, 0] *= -1
    feet_first[:3, 3] -= feet_first[:3, 0] * (SHAPE[0] - 1)
    paths = write_scene(tmp_path, feet_first)
    volume = load_volume(paths)
    assert volume.affine == pytest.approx(affine_of(shape=SHAPE))
    assert volume.images[0] == (_sop_uid(paths[-1]), None)
    assert volume.images[-1] == (_sop_uid(paths[0]), None)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.name,
)
def test_every_transfer_syntax_gives_the_same_voxels(tmp_path: Path, syntax: str) -> None:
    if syntax == ExplicitVRBigEndian:
        paths = [_as_big_endian(path) for path in write_scene(tmp_path)]
    else:
        paths = write_scene(tmp_path, transfer_syntax=syntax)
    assert_shows_the_scene(load_volume(paths))


def test_a_gantry_tilt_is_followed_by_a_sheared_affine(tmp_path: Path) -> None:
    affine = affine_of(shape=SHAPE)
    affine[:3, 0] += np.array([0.0, 0.6, 0.0])
    volume = load_volume(write_scene(tmp_path, affine))
    assert volume.affine == pytest.approx(affine)
    assert volume.spacing_mm == pytest.approx((2.0, 0.8, 0.6))
    assert any("gantry tilt of 16.7 degrees" in one.statement for one in volume.caveats)
    assert_shows_the_scene(volume)


def test_a_missing_slice_is_interpolated_and_says_so(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    del paths[7]
    volume = load_volume(paths)
    assert volume.shape == SHAPE
    assert volume.images[7] is None
    assert sum(image is None for image in volume.images) == 1
    between = (volume.voxels[6].astype(int) + volume.voxels[8]) / 2
    assert np.abs(volume.voxels[7] - between).max() <= 0.5
    assert volume.caveats == (Caveat("interpolated", "1 missing slice interpolated from the neighbours.", 1),)


@pytest.mark.parametrize("missing", [range(5, 9), range(1, 18, 3)], ids=["a wide gap", "many gaps"])
def test_too_many_missing_slices_are_refused(tmp_path: Path, missing: range) -> None:
    paths = [path for number, path in enumerate(write_scene(tmp_path)) if number not in missing]
    with pytest.raises(UnreadableSeriesError, match="slices are missing or several series are mixed"):
        load_volume(paths)


def test_a_stray_slice_beyond_a_gap_is_left_out(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    volume = load_volume([*paths[:16], paths[19]])
    assert volume.shape[0] == 16
    assert volume.caveats == (Caveat("unread", "1 image was not read, 8 mm above the slices that were.", 1),)


def test_images_of_another_size_that_go_on_from_the_others_are_not_read(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    below = affine_of(shape=SHAPE)
    below[:3, 3] -= 4 * below[:3, 0]
    smaller = write_scene(tmp_path / "smaller", below, (3, 32, 32))
    volume = load_volume([*paths, *(path.rename(tmp_path / f"small {path.name}") for path in smaller)])
    assert volume.caveats == (
        Caveat("left out", "3 images of another size, spacing or orientation left out.", 3),
        Caveat("unread", "3 images were not read, 4 to 8 mm below the slices that were.", 3),
    )


def test_two_passes_that_end_a_slice_apart_are_read_as_one_whole(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    above = affine_of(shape=SHAPE)
    above[:3, 3] += above[:3, 0]
    second = write_scene(tmp_path / "second", above)
    for path in second:
        change(path, lambda image: setattr(image, "RescaleIntercept", image.RescaleIntercept + 40))
    for number, path in enumerate([*paths, *second]):
        change(path, lambda image, n=number: setattr(image, "AcquisitionNumber", 1 + n // len(paths)))
    volume = load_volume([*paths, *(path.rename(tmp_path / f"second {path.name}") for path in second)])
    assert volume.shape == SHAPE
    assert {caveat.kind for caveat in volume.caveats} == {"left out"}
    assert any("1 image was not read, 2 mm" in caveat.statement for caveat in volume.caveats)


def test_uneven_spacing_is_refused(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    for number, path in enumerate(paths):
        change(path, lambda image, k=number: _move(image, 0.02 * k * k))
    with pytest.raises(UnreadableSeriesError, match=r"varies from 2\.02 to"):
        load_volume(paths)


def test_positions_rounded_by_the_scanner_are_read_as_even(tmp_path: Path) -> None:
    paths = write_scene(tmp_path, affine_of((3.27, 0.8, 0.6), shape=SHAPE))
    for path in paths[10:]:
        change(path, lambda image: _move(image, 0.06))
    volume = load_volume(paths)
    assert volume.spacing_mm[0] == pytest.approx(3.27, abs=0.004)
    assert volume.caveats == ()


def test_slices_a_little_uneven_are_read_as_even_and_that_is_said(tmp_path: Path) -> None:
    paths = write_scene(tmp_path, affine_of((3.27, 0.8, 0.6), shape=SHAPE))
    for path in paths[10:]:
        change(path, lambda image: _move(image, 0.27))
    volume = load_volume(paths)
    assert "read as evenly" in volume.caveats[0].statement


def test_the_same_image_sent_twice_counts_once(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    paths += [copy_with(paths[3], tmp_path / "again.dcm", lambda image: None), paths[5]]
    volume = load_volume(paths)
    assert volume.shape == SHAPE
    assert volume.caveats == (Caveat("left out", "2 images sent twice left out.", 2),)


def test_of_two_passes_over_the_same_positions_the_first_is_read(tmp_path: Path) -> None:
    first = write_scene(tmp_path)
    second = [
        copy_with(path, tmp_path / f"second {path.name}", lambda image: _later_pass(image)) for path in first
    ]
    volume = load_volume(second + first)
    assert_shows_the_scene(volume)
    assert "2 passes over the same positions; the one with AcquisitionNumber 1" in volume.caveats[0].statement
    assert [(one.kind, one.images) for one in volume.caveats] == [("left out", 20)]


def test_different_images_at_one_position_with_nothing_to_tell_them_apart_are_refused(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    double = [copy_with(path, tmp_path / f"x{path.name}", lambda image: _brighter(image)) for path in paths]
    with pytest.raises(UnreadableSeriesError, match="40 different images lie at only 20 positions"):
        load_volume(paths + double)


def test_a_localizer_inside_the_series_is_left_out(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    coronal = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])
    (marked,) = write_scene(tmp_path / "a", affine_of(directions=coronal, shape=(1, 40, 50)), (1, 40, 50))
    (small,) = write_scene(tmp_path / "b", shape=(1, 32, 32))
    change(marked, lambda image: setattr(image, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    for name, path in (("marked", marked), ("small", small)):
        copy_with(path, tmp_path / f"{name}.dcm", lambda image: None)
    volume = load_volume([*paths, tmp_path / "marked.dcm", tmp_path / "small.dcm"])
    assert volume.shape == SHAPE
    assert volume.caveats == (
        Caveat("left out", "1 image marked as localizer left out.", 1),
        Caveat("left out", "1 image of another size, spacing or orientation left out.", 1),
    )


def test_a_series_of_two_orientations_is_refused(tmp_path: Path) -> None:
    axial = write_scene(tmp_path / "axial")
    coronal = affine_of(directions=np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]), shape=SHAPE)
    others = [
        copy_with(path, tmp_path / f"coronal {path.name}", lambda image: None)
        for path in write_scene(tmp_path / "coronal", coronal)
    ]
    with pytest.raises(UnreadableSeriesError, match=r"20 (axial|coronal) of 40 x 50, 20 (axial|coronal)"):
        load_volume(axial + others)


@pytest.mark.parametrize(
    ("thickness", "known", "seen"),
    [("5", 5.0, 5.0), ("1.25", 1.25, 2.0), ("", 0.0, 2.0), ("900", 0.0, 2.0)],
    ids=["slices that overlap", "slices with gaps", "not said", "absurd"],
)
def test_a_volume_shows_no_more_than_its_slices_are_thick(
    tmp_path: Path, thickness: str, known: float, seen: float
) -> None:
    def thick(image: pydicom.Dataset) -> None:
        image.SliceThickness = thickness

    paths = [change(path, thick) for path in write_scene(tmp_path)]
    volume = load_volume(paths)
    assert (volume.thickness_mm, volume.slice_mm) == pytest.approx((known, seen))


def test_an_enhanced_multiframe_image_is_read_like_single_slices(tmp_path: Path) -> None:
    affine = turned((2.0, 0.8, 0.6), Rotation.from_euler("xyz", (20, 30, 10), degrees=True), (1, 1, 1))
    path = write_enhanced(tmp_path / "enhanced.dcm", [(scene(places(affine, SHAPE)), affine)])
    volume = load_volume([path])
    assert volume.shape == SHAPE
    assert {uid for uid, _ in volume.images if uid} == {_sop_uid(path)}
    assert sorted(frame for _, frame in volume.images) == list(range(1, 21))
    assert_shows_the_scene(volume)


def test_of_several_stacks_in_a_multiframe_image_the_first_is_read(tmp_path: Path) -> None:
    affine = affine_of(shape=SHAPE)
    voxels = scene(places(affine, SHAPE))
    volume = load_volume([write_enhanced(tmp_path / "e.dcm", [(voxels, affine), (voxels + 50, affine)])])
    assert_shows_the_scene(volume)
    assert "the one with StackID 1 is read" in volume.caveats[0].statement


@pytest.mark.parametrize("unit", ["HU", "US", "", " hu "])
def test_a_ct_in_hounsfield_units_says_so_or_nothing(tmp_path: Path, unit: str) -> None:
    paths = [
        change(path, lambda image: setattr(image, "RescaleType", unit)) for path in write_scene(tmp_path)
    ]
    assert_shows_the_scene(load_volume(paths))


@pytest.mark.parametrize("unit", ["MGML", "Z_EFF", "HU_MOD"])
def test_a_ct_of_other_values_is_refused(tmp_path: Path, unit: str) -> None:
    path, *others = write_scene(tmp_path)
    change(path, lambda image: setattr(image, "RescaleType", unit))
    with pytest.raises(NotInHounsfieldError, match=f"in {unit}, not in Hounsfield units") as refused:
        load_volume([path, *others])
    assert refused.value.unit == unit


def test_an_enhanced_ct_of_other_values_is_refused(tmp_path: Path) -> None:
    affine = affine_of(shape=SHAPE)
    path = write_enhanced(tmp_path / "e.dcm", [(scene(places(affine, SHAPE)), affine)])

    def iodine(image: pydicom.Dataset) -> None:
        for groups in (*image.SharedFunctionalGroupsSequence, *image.PerFrameFunctionalGroupsSequence):
            for macro in groups.get("PixelValueTransformationSequence", ()):
                macro.RescaleType = "MGML"

    with pytest.raises(NotInHounsfieldError, match="in MGML"):
        load_volume([change(path, iodine)])


def test_each_slice_has_its_own_rescaling(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    for number, path in enumerate(paths):
        change(path, lambda image, k=number: _stored_elsewhere(image, 10 * k))
    assert_shows_the_scene(load_volume(paths))


def test_pet_keeps_its_fractional_scale_per_slice(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    stored = [change(path, lambda image, k=n: _as_pet(image, 0.25 * (k + 1))) for n, path in enumerate(paths)]
    volume = load_volume(stored)
    expected = (
        (scene(places(affine_of(shape=SHAPE), SHAPE)) + 1024.0) * 0.25 * np.arange(1, 21)[:, None, None]
    )
    assert volume.voxels.dtype == np.float32
    assert volume.voxels == pytest.approx(expected, rel=1e-6)


def test_padding_outside_the_field_of_view_is_air(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    change(paths[0], lambda image: setattr(image, "RescaleIntercept", -3000))
    assert load_volume(paths).voxels.min() == -1024


def spoil(keyword: str, value: object):
    def edit(image: Dataset) -> None:
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)

    return edit


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (spoil("PixelSpacing", [0, 0.6]), "PixelSpacing of 0 x 0.6 mm, which cannot be true"),
        (spoil("PixelSpacing", [-0.8, 0.6]), "PixelSpacing of -0.8 x 0.6 mm"),
        (spoil("PixelSpacing", [1e6, 0.6]), r"PixelSpacing of 1e\+06 x 0.6 mm"),
        (spoil("PixelSpacing", ["nan", 0.6]), "PixelSpacing"),
        (spoil("PixelSpacing", None), "has no PixelSpacing"),
        (spoil("ImagePositionPatient", None), "has no ImagePositionPatient"),
        (spoil("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "two directions at right angles"),
        (spoil("ImagePositionPatient", [1, 2]), "not of 3 finite"),
        (spoil("RescaleSlope", None), "values have no unit"),
        (spoil("SOPInstanceUID", ""), "has no SOPInstanceUID"),
        (spoil("PixelData", None), "has no pixel data; send it again"),
        (spoil("PixelData", b"\0" * 100), "cannot be decoded; send it again"),
        (spoil("Modality", "MR"), "is MR; only CT and PET"),
        (spoil("PhotometricInterpretation", "RGB"), "RGB picture"),
        (spoil("SeriesInstanceUID", "1.2.3"), "do not share one series but 2"),
        (spoil("FrameOfReferenceUID", "1.2.3"), "do not share one frame of reference but 2"),
    ],
)
def test_a_damaged_image_is_named_with_its_damage(tmp_path: Path, edit, says: str) -> None:
    paths = write_scene(tmp_path)
    change(paths[4], edit)
    with pytest.raises(UnreadableSeriesError, match=says) as refused:
        load_volume(paths)
    assert "\n" not in str(refused.value)
    if "share" not in says:
        assert paths[4].name in str(refused.value)


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("AcquisitionNumber", "IS", b"99999999999 "),
        ("SeriesNumber", "IS", b"99999999999 "),
        ("KVP", "DS", b"12O "),
        ("SliceThickness", "DS", b"1.5mm "),
        ("TriggerTime", "FD", b"damage"),
    ],
)
def test_a_damaged_value_that_no_voxel_depends_on_stops_no_reading(
    tmp_path: Path, keyword: str, vr: str, value: bytes
) -> None:
    def damage(image: Dataset) -> None:
        image[keyword] = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)

    for path in (paths := write_scene(tmp_path)):
        change(path, damage)
    assert_shows_the_scene(load_volume(paths))


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_slices_are_no_volume(tmp_path: Path, count: int) -> None:
    with pytest.raises(UnreadableSeriesError, match=f"{count} images? cannot make a volume"):
        load_volume(write_scene(tmp_path)[:count])


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(UnreadableSeriesError, match="no files"):
        load_volume([])


def test_a_text_file_is_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.dcm"
    text.write_text("not an image")
    with pytest.raises(UnreadableSeriesError, match=r"notes\.dcm is not a DICOM file"):
        load_volume([*write_scene(tmp_path), text])


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    paths = write_scene(tmp_path)
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableSeriesError, match=paths[2].name):
        load_volume(paths)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=lambda syntax: syntax.name)
def test_compressed_pixels_cut_short_are_refused_and_take_nothing_down(tmp_path: Path, syntax: str) -> None:
    paths = write_scene(tmp_path, transfer_syntax=syntax)
    change(paths[6], _cut_short)
    with pytest.raises(UnreadableSeriesError, match=f"{paths[6].name} cannot be decoded; send it again"):
        load_volume(paths)


def test_a_frame_that_claims_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    paths = write_scene(tmp_path, transfer_syntax=JPEGLSLossless)
    content = paths[0].read_bytes()
    place = content.index(b"\xff\xf7")
    paths[0].write_bytes(content[: place + 5] + b"\xff\xff\xff\xff" + content[place + 9 :])
    with pytest.raises(UnreadableSeriesError, match=r"a frame of \(65535, 65535\) where 40 x 50"):
        load_volume(paths)


def test_index_and_patient_space_are_inverse() -> None:
    affine = turned((2.0, 0.8, 0.6), Rotation.from_euler("xyz", (20, 30, 10), degrees=True), (1, -1, 1))
    volume = Volume(np.zeros(SHAPE, np.int16), affine, "", "", ())
    points = np.random.default_rng(0).normal(0, 50, (7, 3))
    assert volume.to_patient(volume.to_index(points)) == pytest.approx(points)
    assert volume.spacing_mm == pytest.approx((2.0, 0.8, 0.6))
    assert volume.voxel_mm3 == pytest.approx(2.0 * 0.8 * 0.6)


def _sop_uid(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _as_big_endian(path: Path) -> Path:
    image = pydicom.dcmread(path)
    image.PixelData = image.pixel_array.astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(path, image, implicit_vr=False, little_endian=False, force_encoding=True)
    return path


def _move(image: Dataset, mm: float) -> None:
    x, y, z = image.ImagePositionPatient
    image.ImagePositionPatient = [x, y, float(z) + mm]


def _brighter(image: Dataset) -> None:
    image.PixelData = (image.pixel_array + 100).astype("<u2").tobytes()


def _later_pass(image: Dataset) -> None:
    _brighter(image)
    image.AcquisitionNumber = 2


def _stored_elsewhere(image: Dataset, offset: int) -> None:
    image.PixelData = (image.pixel_array + offset).astype("<u2").tobytes()
    image.RescaleIntercept = int(image.RescaleIntercept) - offset


def _as_pet(image: Dataset, slope: float) -> None:
    image.Modality, image.RescaleSlope, image.RescaleIntercept = "PT", slope, 0


def _cut_short(image: Dataset) -> None:
    frame = get_frame(image.PixelData, 0, number_of_frames=1)
    image.PixelData = encapsulate([frame[: len(frame) // 2]])
