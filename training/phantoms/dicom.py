"""Writes a phantom as a CT series, the way a scanner would send it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

_INTERCEPT = -1024
_STORED_MAX = 4095
_IMPLEMENTATION = UID("2.25.183093284093220945613019475930220133862")
_UNCOMPRESSED = frozenset(
    {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", DeflatedExplicitVRLittleEndian}
)


def uid(*parts: object) -> str:
    """A UID that follows from ``parts`` alone, under the UUID root 2.25 (PS3.5 B.2)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True)
class Patient:
    patient_id: str = "PHANTOM-0001"
    name: str = "Phantom^One"
    birth_date: str = "19600101"
    sex: str = "O"


@dataclass(frozen=True)
class Study:
    """``uid`` empty: derived from patient, date, time and accession number."""

    date: str = "20240115"
    time: str = "101500"
    description: str = "CT Chest"
    accession_number: str = "A0001"
    study_id: str = "1"
    referring_physician: str = ""
    uid: str = ""

    def uid_for(self, patient: Patient) -> str:
        return self.uid or uid("study", patient.patient_id, self.date, self.time, self.accession_number)


@dataclass(frozen=True)
class Series:
    """``uid`` and ``frame_of_reference_uid`` empty: derived from study and series number."""

    number: int = 2
    description: str = "Chest 1.0 B"
    body_part: str = "CHEST"
    kernel: str = "B60f"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    patient_position: str = "HFS"
    kvp: float = 120.0
    manufacturer: str = "Overread phantoms"
    model_name: str = "Chest phantom"
    slice_thickness_mm: float | None = None
    uid: str = ""
    frame_of_reference_uid: str = ""


def write_ct_series(
    folder: Path,
    voxels: npt.NDArray[np.int16],
    affine: npt.NDArray[np.float64],
    *,
    patient: Patient = Patient(),
    study: Study = Study(),
    series: Series = Series(),
    transfer_syntax: str = ExplicitVRLittleEndian,
    shuffle_seed: int | None = None,
) -> list[Path]:
    """Write one CT Image Storage file per slice and return the paths, in slice order.

    voxels: HU, (slices, rows, columns); clipped to the 12 bits a scanner stores (-1024 to 3071).
    affine: (4, 4), (slice, row, column, 1) to LPS millimetres, as in ``inference.volume.Volume``; any
        orientation whose rows and columns are perpendicular. A slice column that is not perpendicular to
        the plane is a tilted gantry.
    transfer_syntax: uncompressed, deflated, RLE, JPEG-LS lossless or JPEG 2000 lossless.
    shuffle_seed: instance numbers and file names then follow a random order, not the slices.

    The same arguments give the same bytes.

    Raises:
        ValueError: rows and columns that are not perpendicular.
    """
    step, down, right = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    row_mm, column_mm = float(np.linalg.norm(down)), float(np.linalg.norm(right))
    if abs(float(down @ right)) > 1e-4 * row_mm * column_mm:
        raise ValueError("the affine's rows and columns are not perpendicular: DICOM cannot carry that plane")
    normal = np.cross(right / column_mm, down / row_mm)
    thickness = series.slice_thickness_mm or abs(float(step @ normal))

    study_uid = study.uid_for(patient)
    series_uid = series.uid or uid("series", study_uid, series.number)
    shared = _shared_attributes(patient, study, series, study_uid, series_uid)
    shared.Rows, shared.Columns = voxels.shape[1:]
    shared.PixelSpacing = [_ds(row_mm), _ds(column_mm)]
    shared.ImageOrientationPatient = [_ds(v) for v in (*(right / column_mm), *(down / row_mm))]
    shared.SliceThickness = _ds(thickness)

    numbers = np.arange(1, len(voxels) + 1)
    if shuffle_seed is not None:
        numbers = np.random.default_rng(shuffle_seed).permutation(numbers)
    stored = np.clip(voxels.astype(np.int32) - _INTERCEPT, 0, _STORED_MAX).astype(np.uint16)

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (pixels, number) in enumerate(zip(stored, numbers, strict=True)):
        image = Dataset()
        image.update(shared)
        image.SOPInstanceUID = uid("image", series_uid, index)
        image.InstanceNumber = int(number)
        image.ImagePositionPatient = [_ds(v) for v in affine[:3, 3] + index * step]
        image.PixelData = pixels.astype("<u2").tobytes()
        path = folder / f"IM{number:05d}.dcm"
        _save(image, path, UID(transfer_syntax))
        paths.append(path)
    return paths


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2)."""
    return format_number_as_ds(float(np.round(value, 9)) + 0.0)


def _shared_attributes(
    patient: Patient, study: Study, series: Series, study_uid: str, series_uid: str
) -> Dataset:
    """What every slice carries: PS3.3 A.3 (CT Image IOD), in the modules' order."""
    d = Dataset()
    d.SpecificCharacterSet = "ISO_IR 192"
    d.SOPClassUID = CTImageStorage
    d.PatientName, d.PatientID = patient.name, patient.patient_id
    d.PatientBirthDate, d.PatientSex = patient.birth_date, patient.sex
    d.StudyInstanceUID, d.StudyID = study_uid, study.study_id
    d.StudyDate, d.StudyTime = study.date, study.time
    d.StudyDescription, d.AccessionNumber = study.description, study.accession_number
    d.ReferringPhysicianName = study.referring_physician
    d.Modality, d.SeriesInstanceUID, d.SeriesNumber = "CT", series_uid, series.number
    d.SeriesDescription, d.BodyPartExamined = series.description, series.body_part
    d.SeriesDate = d.AcquisitionDate = d.ContentDate = study.date
    d.SeriesTime = d.AcquisitionTime = d.ContentTime = study.time
    d.PatientPosition = series.patient_position
    d.FrameOfReferenceUID = series.frame_of_reference_uid or uid("frame of reference", study_uid)
    d.PositionReferenceIndicator = ""
    d.Manufacturer, d.ManufacturerModelName = series.manufacturer, series.model_name
    d.ImageType = list(series.image_type)
    d.AcquisitionNumber = 1
    d.KVP, d.ConvolutionKernel = _ds(series.kvp), series.kernel
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    d.RescaleIntercept, d.RescaleSlope, d.RescaleType = _INTERCEPT, 1, "HU"
    d.WindowCenter, d.WindowWidth = [-600, 40], [1600, 400]
    d.WindowCenterWidthExplanation = ["LUNG", "MEDIASTINUM"]
    return d


def _save(image: Dataset, path: Path, transfer_syntax: UID) -> None:
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.ImplementationClassUID = _IMPLEMENTATION
    if transfer_syntax in _UNCOMPRESSED:
        image.file_meta.TransferSyntaxUID = transfer_syntax
        image["PixelData"].VR = "OW"
    else:
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.compress(transfer_syntax, generate_instance_uid=False)
    image.save_as(path, enforce_file_format=True)
