"""Pictures as DICOM files for tests: radiographs and endoscopy frames, written as scanners write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CR = "1.2.840.10008.5.1.4.1.1.1"
ENDOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.1"
VIDEO_ENDOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
VIDEO_LIKE = "1.2.840.10008.5.1.4.1.1.7.4"  # multi-frame true colour secondary capture


def write_picture(
    path: Path, pixels: npt.NDArray[np.generic], modality: str, sop_class: str, **elements: Any
) -> Path:
    """``pixels``: (rows, columns) grey, (rows, columns, 3) RGB, or (frames, rows, columns, 3)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = elements.pop("SOPInstanceUID", generate_uid())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID = elements.pop("StudyInstanceUID", generate_uid())
    image.SeriesInstanceUID = elements.pop("SeriesInstanceUID", generate_uid())
    image.Modality, image.PatientName, image.PatientID = modality, "Phantom^Picture", "P1"
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20250101", "101500", "1", ""
    image.ReferringPhysicianName, image.SeriesNumber, image.InstanceNumber = "", 1, 1
    image.Manufacturer = "Phantom"
    colour = pixels.ndim >= 3
    image.Rows, image.Columns = pixels.shape[-3:-1] if colour else pixels.shape
    image.SamplesPerPixel = 3 if colour else 1
    image.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        image.PlanarConfiguration = 0
    if pixels.ndim == 4:
        image.NumberOfFrames = len(pixels)
    bits = 8 * pixels.dtype.itemsize
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits, bits - 1, 0
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    image.save_as(path, enforce_file_format=True)
    return path


def chest(size: int = 320, seed: int = 0) -> npt.NDArray[np.float64]:
    """A frontal chest as a radiograph shows it, 0 (air) to 1: shoulders, two lungs down to the domes of the
    diaphragm, heart, spine, ribs, clavicles, noise."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, size)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    body = _inside(np.abs(x) - 0.93 + 0.6 * _inside(y + 0.86, 25), 40)
    picture = 0.15 + body * (0.5 + 0.18 * _inside(0.55 - y, 8))
    down = np.clip((y + 0.8) / 1.3, 0, 1)
    for side, base in ((-1, 0.5), (1, 0.56)):
        across = (np.abs(x - side * (0.36 + 0.06 * down)) / (0.2 + 0.14 * down)) ** 2.5
        apex = (np.maximum(-0.45 - y, 0) / 0.35) ** 2
        dome = base + 0.9 * (x - side * 0.28) ** 2
        picture -= 0.5 * body * _inside(across + apex - 1, 12) * _inside(y - dome, 40)
        clavicle = np.exp(-(((y + 0.62 - 0.18 * (np.abs(x) - 0.4)) / 0.035) ** 2))
        picture += 0.1 * clavicle * (side * x > 0.08) * (side * x < 0.75)
    heart = ((x - 0.14) / 0.36) ** 2 + ((y - 0.3) / 0.3) ** 2
    picture += 0.3 * _inside(heart - 1, 12) * _inside(y - 0.62, 30)
    picture += 0.05 * (np.sin(22 * (y + 0.35 * x**2)) > 0.45) * body
    picture += 0.2 * np.exp(-((x / 0.1) ** 2)) * body + rng.normal(0, 0.01, x.shape)
    return np.clip(picture, 0, 1)


def _inside(distance: npt.NDArray[np.float64], steepness: float) -> npt.NDArray[np.float64]:
    """One where a distance is negative, zero where it is positive, softly between."""
    return 1 / (1 + np.exp(np.clip(steepness * distance, -60, 60)))
