"""A PET series as a scanner would send it, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset

from training.phantoms.dicom import Series, Study, write_ct_series

PET_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
BQ_PER_SUV = 400e6 * 0.5 / 80_000  # 400 MBq a half-life ago in 80 kg


def write_pet_series(
    folder: Path,
    suv: npt.NDArray[np.float32],
    affine: npt.NDArray[np.float64],
    study: Study,
    series: Series,
) -> list[Path]:
    """One file per slice, in BQML; each slice with a rescale slope of its own, as PET has."""
    blank = np.zeros(suv.shape, np.int16)
    paths = write_ct_series(folder, blank, affine, study=study, series=series)
    for path, plane in zip(paths, suv, strict=True):
        image = pydicom.dcmread(path)
        becquerel = np.maximum(plane, 0) * BQ_PER_SUV
        slope = max(float(becquerel.max()), 1.0) / 32000
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = PET_IMAGE_STORAGE
        image.Modality, image.ImageType = "PT", ["ORIGINAL", "PRIMARY"]
        image.RescaleSlope, image.RescaleIntercept = f"{slope:.8g}", "0"
        image.PixelData = np.rint(becquerel / slope).astype("<u2").tobytes()
        image.BitsStored, image.HighBit = 16, 15
        for keyword in ("KVP", "ConvolutionKernel", "RescaleType", "WindowCenter", "WindowWidth"):
            del image[keyword]
        del image.WindowCenterWidthExplanation
        image.Units, image.DecayCorrection, image.SeriesType = "BQML", "START", ["WHOLE BODY", "IMAGE"]
        image.CorrectedImage, image.CountsSource = ["DECY", "ATTN", "SCAT"], "EMISSION"
        image.NumberOfSlices, image.CollimatorType = len(suv), "NONE"
        image.ActualFrameDuration, image.FrameReferenceTime, image.ImageIndex = 120000, 0, 1
        image.SeriesTime = image.AcquisitionTime = "105000"
        image.PatientWeight, image.PatientSize, image.PatientSex = "80", "1.8", "M"
        injected = Dataset()
        injected.RadiopharmaceuticalStartTime = "090000"
        injected.Radiopharmaceutical = "FDG"
        injected.RadionuclideTotalDose, injected.RadionuclideHalfLife = "400000000", "6600"
        image.RadiopharmaceuticalInformationSequence = [injected]
        image.save_as(path)
    return paths
