"""A segmentation lies on the lesion in patient space, to the voxel, whatever the orientation."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from tests.node.results.phantoms import ORIENTATIONS, in_order, mask_positions, phantom
from tests.validators import segimage2itkimage

TOLERANCE_MM = 0.005


def frame_positions(path: Path, segment: int) -> npt.NDArray[np.float64]:
    """Patient-space centres of a segment's voxels, from each frame's own position."""
    seg = hd.seg.segread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    row_mm, column_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    positions = []
    for pixels, frame in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber != segment:
            continue
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(pixels):
            positions.append(corner + cosines[:3] * column_mm * column + cosines[3:] * row_mm * row)
    return in_order(np.array(positions))


def image_positions(path: Path) -> npt.NDArray[np.float64]:
    image = SimpleITK.ReadImage(path)
    indices = np.argwhere(SimpleITK.GetArrayViewFromImage(image))[:, ::-1]
    return in_order(np.array([image.TransformIndexToPhysicalPoint(index.tolist()) for index in indices]))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_frames_lie_on_the_lesion(orientation: str, tmp_path: Path) -> None:
    case = phantom(tmp_path / "ct", ORIENTATIONS[orientation])
    seg = case.write(tmp_path, "seg")["seg"]
    for number, finding in enumerate(case.reading.findings, 1):
        expected = mask_positions(finding, case.volume)
        found = frame_positions(seg.path, number)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < TOLERANCE_MM


@pytest.mark.needs("segimage2itkimage")
@pytest.mark.parametrize("orientation", [name for name in ORIENTATIONS if name != "tilted"])
def test_dcmqi_puts_the_segment_on_the_lesion(orientation: str, tmp_path: Path) -> None:
    """Not the tilted one: dcmqi's images have perpendicular axes, and it says that a tilt does not fit."""
    case = phantom(tmp_path / "ct", ORIENTATIONS[orientation])
    seg = case.write(tmp_path, "seg")["seg"]
    assert segimage2itkimage(seg.path, tmp_path) == []
    for number, finding in enumerate(case.reading.findings, 1):
        expected = mask_positions(finding, case.volume)
        found = image_positions(tmp_path / f"{number}.nrrd")
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < TOLERANCE_MM


def test_the_lesion_is_where_the_phantom_has_it(tmp_path: Path) -> None:
    """The mask that is written is the one of the voxels that are bright: nothing is flipped on the way in."""
    for orientation, matrix in ORIENTATIONS.items():
        case = phantom(tmp_path / orientation, matrix)
        finding = case.reading.findings[0]
        assert finding.mask is not None
        z, y, x = finding.mask.origin
        depth, height, width = finding.mask.voxels.shape
        inside = case.volume.voxels[z : z + depth, y : y + height, x : x + width][finding.mask.voxels]
        assert np.median(inside) == 40, orientation
