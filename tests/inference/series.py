"""Small series for the tests of geometry: a bright blob in a box, seen from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian

from training.phantoms.dicom import Series, uid, write_ct_series

Floats = npt.NDArray[np.float64]

CENTER = np.array([4.0, -7.0, 11.0])


def affine_of(
    spacing: Sequence[float] = (2.0, 0.8, 0.6),
    directions: Floats | None = None,
    shape: Sequence[int] = (20, 40, 50),
    around: Floats = CENTER,
) -> Floats:
    """The affine of a box of this shape around a point; ``directions``: columns along slice, row, column."""
    axial = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = (axial if directions is None else directions) * spacing
    affine[:3, 3] = around - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def places(affine: Floats, shape: Sequence[int]) -> Floats:
    """LPS of every voxel, (slices, rows, columns, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def scene(mm: Floats) -> npt.NDArray[np.int16]:
    """A blob at ``CENTER`` over a slope along each axis, so that no flip or shift goes unseen."""
    x, y, z = np.moveaxis(mm - CENTER, -1, 0)
    blob = 900 * np.exp(-(x**2 + y**2 + z**2) / (2 * 4.0**2))
    return np.rint(-400 + 3 * x + 5 * y + 7 * z + blob).astype(np.int16)


def write_scene(
    folder: Path, affine: Floats | None = None, shape: Sequence[int] = (20, 40, 50), **options: object
) -> list[Path]:
    affine = affine_of(shape=shape) if affine is None else affine
    return write_ct_series(folder, scene(places(affine, shape)), affine, **options)  # type: ignore[arg-type]


def change(path: Path, edit: Callable[[Dataset], object]) -> Path:
    image = pydicom.dcmread(path)
    edit(image)
    image.save_as(path)
    return path


def copy_with(path: Path, to: Path, edit: Callable[[Dataset], object]) -> Path:
    """A copy under a new SOP Instance UID."""
    image = pydicom.dcmread(path)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid("copy", to.name)
    edit(image)
    image.save_as(to)
    return to


def write_enhanced(path: Path, stacks: Sequence[tuple[npt.NDArray[np.int16], Floats]]) -> Path:
    """One Enhanced CT image (PS3.3 A.38) that holds these stacks, its frames in scrambled order."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = EnhancedCTImageStorage, uid("enhanced", path.name)
    image.StudyInstanceUID, image.SeriesInstanceUID = uid("study"), uid("series", path.name)
    image.FrameOfReferenceUID, image.Modality = uid("frame of reference"), "CT"
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    frames = [
        (number, affine, pixels, index)
        for number, (voxels, affine) in enumerate(stacks, start=1)
        for index, pixels in enumerate(voxels)
    ]
    frames = [frames[place] for place in np.random.default_rng(0).permutation(len(frames))]
    image.Rows, image.Columns = frames[0][2].shape
    image.NumberOfFrames = len(frames)
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    shared = Dataset()
    affine = frames[0][1]
    between = np.linalg.norm(affine[:3, :3], axis=0)
    shared.PixelMeasuresSequence = [
        _with(PixelSpacing=between[1:].round(6).tolist(), SliceThickness=between[0])
    ]
    shared.PixelValueTransformationSequence = [_with(RescaleIntercept=0, RescaleSlope=1, RescaleType="HU")]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [
        _with(
            FrameContentSequence=[_with(StackID=str(number), InStackPositionNumber=index + 1)],
            PlanePositionSequence=[
                _with(ImagePositionPatient=(affine[:3, 3] + index * affine[:3, 0]).round(6).tolist())
            ],
            PlaneOrientationSequence=[
                _with(
                    ImageOrientationPatient=(affine[:3, [2, 1]] / between[[2, 1]]).T.ravel().round(9).tolist()
                )
            ],
        )
        for number, affine, _, index in frames
    ]
    image.PixelData = np.stack([pixels for _, _, pixels, _ in frames]).astype("<i2").tobytes()
    image["PixelData"].VR = "OW"
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    return path


def _with(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


__all__ = [
    "CENTER",
    "Series",
    "affine_of",
    "change",
    "copy_with",
    "places",
    "scene",
    "write_enhanced",
    "write_scene",
]
