"""SUV from DICOM attributes: values worked out by hand, and refusals that say what is missing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from inference.errors import UnreadableSeriesError
from inference.suv import (
    Normalisation,
    lean_body_mass_james,
    lean_body_mass_janmahasatian,
    suv_scale,
)

Change = Callable[[Dataset], None]
WEIGHT, LEAN, JAMES = Normalisation.BODY_WEIGHT, Normalisation.LEAN_JANMAHASATIAN, Normalisation.LEAN_JAMES


def header() -> Dataset:
    """A man of 80 kg and 1.80 m, 400 MBq of 18F at 09:00, scanned one half-life (6600 s) later, at 10:50."""
    d = Dataset()
    d.Units, d.DecayCorrection = "BQML", "START"
    d.CorrectedImage = ["DECY", "ATTN", "SCAT"]
    d.PatientWeight, d.PatientSize, d.PatientSex = "80", "1.8", "M"
    d.StudyDate = d.SeriesDate = d.AcquisitionDate = "20240115"
    d.SeriesTime = d.AcquisitionTime = "105000"
    injected = Dataset()
    injected.RadiopharmaceuticalStartTime = "090000"
    injected.RadionuclideTotalDose = "400000000"
    injected.RadionuclideHalfLife = "6600"
    d.RadiopharmaceuticalInformationSequence = [injected]
    return d


def coded(keyword: str, value: str) -> Change:
    """A code of the injection."""

    def change(d: Dataset) -> None:
        code = Dataset()
        code.CodeValue = value
        setattr(d.RadiopharmaceuticalInformationSequence[0], keyword, [code])

    return change


def changed(**values: object) -> Change:
    """Attributes of the image set, or where None deleted."""

    def change(d: Dataset) -> None:
        _set(d, values)

    return change


def injected(**values: object) -> Change:
    """The same of the injection."""

    def change(d: Dataset) -> None:
        _set(d.RadiopharmaceuticalInformationSequence[0], values)

    return change


def _set(d: Dataset, values: dict[str, object]) -> None:
    for keyword, value in values.items():
        if value is None:
            del d[keyword]
        else:
            setattr(d, keyword, value)


def private(tag: int, value: str) -> Change:
    def change(d: Dataset) -> None:
        d.Units = "CNTS"
        d.add_new((0x7053, 0x0010), "LO", "Philips PET Private Group")
        d.add_new((0x7053, tag), "DS", value)

    return change


def both(*changes: Change) -> Change:
    def change(d: Dataset) -> None:
        for one in changes:
            one(d)

    return change


# 80,000 g over 400 MBq is 2e-4; over what is left after a half-life, 4e-4.
WORKED_OUT: dict[str, tuple[Change, float]] = {
    "BQML, corrected to the start of the scan": (changed(), 4e-4),
    "BQML, corrected to the injection": (changed(DecayCorrection="ADMIN"), 2e-4),
    "BQML, not corrected, one half-life after the injection": (changed(DecayCorrection="NONE"), 4e-4),
    "the moment of injection with its date": (
        injected(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20240115090000"),
        4e-4,
    ),
    "the moment of injection in the time zone of elsewhere": (
        both(
            injected(
                RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20240115080000+0000"
            ),
            changed(TimezoneOffsetFromUTC="+0100"),
        ),
        4e-4,
    ),
    "the moment of injection in a time zone, and the same by the scanner's clock": (
        injected(RadiopharmaceuticalStartDateTime="20240115090000+0100"),
        4e-4,
    ),
    "a date of injection without a time: the time of day counts": (
        injected(RadiopharmaceuticalStartDateTime="20240115"),
        4e-4,
    ),
    "a dynamic PET begun 110 s before the injection": (
        both(injected(RadiopharmaceuticalStartTime="105150"), changed(SeriesType=["DYNAMIC", "IMAGE"])),
        2e-4 * 0.5 ** (1 / 60),
    ),
    "a late frame of a scan that began long before": (
        changed(AcquisitionTime="115000", FrameReferenceTime="3600000"),
        4e-4,
    ),
    "injected before midnight, scanned after": (
        both(
            injected(RadiopharmaceuticalStartTime="231000"),
            changed(SeriesTime="010000", AcquisitionTime="010000"),
        ),
        4e-4,
    ),
    "injected before midnight, with dates": (
        both(
            injected(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20240114231000"),
            changed(SeriesTime="010000", AcquisitionTime="010000"),
        ),
        4e-4,
    ),
    "a later bed position: the series' start counts": (changed(AcquisitionTime="111000"), 4e-4),
    "a series made afterwards: the acquisition less its reference time counts": (
        changed(SeriesTime="150000", AcquisitionTime="105500", FrameReferenceTime="300000"),
        4e-4,
    ),
    "a GE series made afterwards: its own scan time counts": (
        both(
            changed(SeriesTime="150000", AcquisitionTime="105500"),
            lambda d: d.add_new((0x0009, 0x100D), "DT", "20231229105000.00"),
        ),
        4e-4,
    ),
    "18F without its half-life": (
        both(injected(RadionuclideHalfLife=None), coded("RadionuclideCodeSequence", "C-111A1")),
        2e-4 * 2 ** (6600 / 6586.2),
    ),
    "GML is SUV already": (changed(Units="GML"), 1.0),
    "GML of lean body mass (James 128: 62.72 kg)": (
        changed(Units="GML", SUVType="LBMJAMES128"),
        80 / 62.7160,
    ),
    "Philips counts with the factor to SUV": (private(0x1000, "0.00052"), 5.2e-4),
    "Philips counts with the factor to activity": (private(0x1009, "1.5"), 6e-4),
    "Philips counts, the factor to SUV left at 0": (both(private(0x1000, "0"), private(0x1009, "1.5")), 6e-4),
}


@pytest.mark.parametrize("case", WORKED_OUT)
def test_the_factor_to_suv_is_the_one_worked_out_by_hand(case: str) -> None:
    change, expected = WORKED_OUT[case]
    d = header()
    change(d)
    assert suv_scale([d]).factors[WEIGHT] == pytest.approx(expected, rel=1e-5)


REFUSED: dict[str, tuple[Change, str]] = {
    "weight": (changed(PatientWeight=None), "PatientWeight is missing"),
    "weight 0": (changed(PatientWeight="0"), "PatientWeight is missing"),
    "weight in grams": (changed(PatientWeight="80000"), "PatientWeight is 80000 kg, which cannot be true"),
    "dose": (injected(RadionuclideTotalDose=None), "RadionuclideTotalDose is missing"),
    "dose in MBq": (injected(RadionuclideTotalDose="400"), "400 Bq, which cannot be true"),
    "all of the injection": (
        changed(RadiopharmaceuticalInformationSequence=None),
        "nothing of the radiopharmaceutical",
    ),
    "dose in kBq": (injected(RadionuclideTotalDose="400000"), "400000 Bq, which cannot be true"),
    "two injections": (
        lambda d: d.RadiopharmaceuticalInformationSequence.append(Dataset()),
        "names several injections",
    ),
    "half-life in minutes": (injected(RadionuclideHalfLife="109.77"), "no nuclide of PET has that"),
    "half-life of another nuclide than the one named": (
        both(injected(RadionuclideHalfLife="4062.6"), coded("RadionuclideCodeSequence", "77004003")),
        "RadionuclideHalfLife is 4062.6 s, but 18F has 6586.2 s",
    ),
    "injected 3 s after the scan began": (
        injected(RadiopharmaceuticalStartTime="105003"),
        "2024-01-15 at 10:50:03 by its header, 3 s after the PET",
    ),
    "injected an hour after the scan, by its date": (
        injected(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20240115115000"),
        "60 min after the PET",
    ),
    "injected long after a dynamic scan began": (
        both(injected(RadiopharmaceuticalStartTime="105600"), changed(SeriesType=["DYNAMIC", "IMAGE"])),
        "23.9 h before the PET",
    ),
    "injected the day before, by its date": (
        injected(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20240114090000"),
        "25.8 h before the PET",
    ),
    "injected 7 h before": (injected(RadiopharmaceuticalStartTime="035000"), "7.0 h before the PET"),
    "two times of injection": (
        injected(RadiopharmaceuticalStartDateTime="20240115100000"),
        "at 10:00:00 by RadiopharmaceuticalStartDateTime and at 09:00:00",
    ),
    "a time zone beside none": (
        injected(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20240115080000+0000"),
        r"time zone \+0000 and the PET's times in one that is not given",
    ),
    "a nuclide of days without the date of injection": (
        injected(RadionuclideHalfLife="282240"),
        "the PET may be taken days after it",
    ),
    "a series begun before its images, which say they are its first": (
        changed(SeriesTime="094800", FrameReferenceTime="0"),
        "began at 09:48:00 by its SeriesTime and at 10:50:00 by AcquisitionTime",
    ),
    "time of injection": (injected(RadiopharmaceuticalStartTime=None), "time of injection is missing"),
    "half-life": (injected(RadionuclideHalfLife=None), "RadionuclideHalfLife is missing"),
    "decay correction": (changed(DecayCorrection=None), "not START, ADMIN or NONE"),
    "attenuation correction": (changed(CorrectedImage=["DECY"]), "not corrected for attenuation"),
    "units": (changed(Units=None), "without Units"),
    "PROPCNTS": (changed(Units="PROPCNTS"), "'PROPCNTS', which cannot become SUV"),
    "counts without a factor": (changed(Units="CNTS"), "'CNTS', which cannot become SUV"),
    "times of the scan": (changed(SeriesTime=None, AcquisitionTime=None), "neither a usable series time"),
    "SUV of another kind": (changed(Units="GML", SUVType="BSA"), "SUV of type 'BSA'"),
    "SUV lean without height": (changed(Units="GML", SUVType="LBM", PatientSize=None), "without PatientSize"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_become_suv_is_refused_with_what_is_missing(case: str) -> None:
    change, words = REFUSED[case]
    d = header()
    change(d)
    with pytest.raises(UnreadableSeriesError, match=words):
        suv_scale([d])


def test_the_scale_is_that_of_the_earliest_image_whichever_file_comes_first() -> None:
    early, late = header(), header()
    changed(SeriesTime="105500", AcquisitionTime="105000", FrameReferenceTime="0")(early)
    changed(SeriesTime="105500", AcquisitionTime="111000", FrameReferenceTime="1200000")(late)
    for order in ([early, late], [late, early]):
        assert suv_scale(order).factors[WEIGHT] == pytest.approx(4e-4, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (changed(Units="GML"), "Units"),
        (changed(DecayCorrection="ADMIN"), "DecayCorrection"),
        (changed(PatientWeight="81"), "PatientWeight"),
        (injected(RadionuclideTotalDose="200000000"), "RadionuclideTotalDose"),
        (injected(RadiopharmaceuticalStartTime="093000"), "RadiopharmaceuticalStartTime"),
        (changed(RadiopharmaceuticalInformationSequence=None), "RadionuclideTotalDose"),
        (lambda d: d.add_new((0x7053, 0x1000), "DS", "0.5"), r"the factor \(7053,1000\)"),
    ],
)
def test_images_that_differ_in_what_suv_is_made_of_are_refused(change: Change, what: str) -> None:
    one, other = header(), header()
    change(other)
    with pytest.raises(UnreadableSeriesError, match=f"differ in {what} "):
        suv_scale([one, other])


def test_the_same_number_written_otherwise_is_no_difference() -> None:
    one, other = header(), header()
    injected(RadionuclideTotalDose="4e8")(other)
    assert suv_scale([one, other]).factors[WEIGHT] == pytest.approx(4e-4, rel=1e-5)


def test_beds_that_are_not_corrected_for_decay_have_no_common_suv() -> None:
    one, other = header(), header()
    changed(DecayCorrection="NONE")(one)
    changed(DecayCorrection="NONE", AcquisitionTime="105500")(other)
    with pytest.raises(UnreadableSeriesError, match="acquired at 2 times"):
        suv_scale([one, other])


def test_lean_body_mass_is_that_of_the_papers() -> None:
    # 80 kg, 1.80 m: 88 - 128 (80/180)², 85.6 - 148 (80/180)², 741600 / 12013.33, 741600 / 14804.69
    assert lean_body_mass_james(80, 1.8, "M") == pytest.approx(62.7160, abs=1e-3)
    assert lean_body_mass_james(80, 1.8, "F") == pytest.approx(56.3654, abs=1e-3)
    assert lean_body_mass_janmahasatian(80, 1.8, "M") == pytest.approx(61.7314, abs=1e-3)
    assert lean_body_mass_janmahasatian(80, 1.8, "F") == pytest.approx(50.0922, abs=1e-3)


@pytest.mark.parametrize("missing", [{"PatientSize": None}, {"PatientSex": "O"}])
def test_without_height_or_sex_there_is_suv_of_body_weight_alone(missing: dict[str, object]) -> None:
    d = header()
    changed(**missing)(d)
    assert list(suv_scale([d]).factors) == [WEIGHT]


def test_an_assumption_is_told() -> None:
    d = header()
    injected(RadiopharmaceuticalStartTime="231000")(d)
    changed(SeriesTime="010000", AcquisitionTime="010000")(d)
    assert "day before" in " ".join(suv_scale([d]).notes)


def test_a_pet_too_soon_after_the_injection_is_told() -> None:
    d = header()
    injected(RadiopharmaceuticalStartTime="104700")(d)
    assert suv_scale([d]).notes == (
        "The PET began 3 min after the injection by its header, sooner than is usual.",
    )


def test_the_factors_are_those_of_a_real_value_map_of_the_same_scan(shared_data: Path) -> None:
    study = shared_data / "petct_acrin_nsclc"
    pet = pydicom.dcmread(next(iter(sorted((study / "PT_1_081015").iterdir()))), stop_before_pixels=True)
    scale = suv_scale([copy.deepcopy(pet)])
    slopes = dict(_mapped(study / "RWV_1000_318261"))
    np.testing.assert_allclose(scale.factors[WEIGHT], slopes["{SUVbw}g/ml"], rtol=1e-5)
    np.testing.assert_allclose(scale.factors[JAMES], slopes["{SUVlbm}g/ml"], rtol=1e-5)
    assert scale.factors[LEAN] < scale.factors[WEIGHT]


def _mapped(folder: Path) -> Iterator[tuple[str, float]]:
    """Label and slope of each real world value."""
    (path,) = folder.iterdir()
    for image in pydicom.dcmread(path).ReferencedImageRealWorldValueMappingSequence:
        for mapped in image.RealWorldValueMappingSequence:
            yield str(mapped.LUTLabel), float(mapped.RealWorldValueSlope)
