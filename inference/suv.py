"""Standardized uptake values from the attributes of a PET series.

Follows PS3.3 C.8.9.1 (PET Series Module: Units, Decay Correction) and C.8.9.2 (PET Isotope Module), and the
vendor-neutral calculation of the QIBA FDG-PET/CT profile. Lean body mass is that of Janmahasatian et al.
(Clin Pharmacokinet 2005;44:1051), as PERCIST recommends; that of James with the multiplier 128 is given
beside it, since most scanners print it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydicom import Dataset

from inference.decay import moment, share_left
from inference.errors import UnreadableSeriesError
from inference.numbers import number_of
from inference.tracer import tracer_of

_WEIGHT_KG = (1.0, 400.0)
_HEIGHT_M = (0.4, 2.5)
_DOSE_BQ = (5e6, 4e9)  # from a child's on the most sensitive camera to that of 15O-water
_PHILIPS_SUV, _PHILIPS_ACTIVITY = (0x7053, 0x1000), (0x7053, 0x1009)
_OF_SERIES = ("Units", "DecayCorrection", "SUVType", "PatientWeight", "TimezoneOffsetFromUTC")
_OF_INJECTION = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)


class Normalisation(StrEnum):
    """What the injected dose is spread over; the values are the UCUM units of PS3.16 CID 85."""

    BODY_WEIGHT = "{SUVbw}g/ml"
    LEAN_JANMAHASATIAN = "{SUVlbm(Janma)}g/ml"
    LEAN_JAMES = "{SUVlbm(James128)}g/ml"


@dataclass(frozen=True)
class SuvScale:
    """What a rescaled pixel value is multiplied by, one factor for each normalisation that the header allows.
    ``notes``: what was assumed, a sentence each."""

    factors: Mapping[Normalisation, float]
    notes: tuple[str, ...] = ()


def suv_scale(headers: Sequence[Dataset]) -> SuvScale:
    """The factors of a PET series, from the headers of all its images, in any order.

    Raises:
        UnreadableSeriesError: no SUV can be had; says what is missing and who can mend it.
    """
    if not all("ATTN" in _values(header, "CorrectedImage") for header in headers):
        raise UnreadableSeriesError(
            "The PET is not corrected for attenuation, so its values are no activity; send the "
            "corrected series."
        )
    _check_agreement(headers)
    header = min(headers, key=_began)
    units = str(header.get("Units") or "")
    if units == "GML":
        return _already_suv(header)
    if units == "CNTS" and (factor := _private(header, _PHILIPS_SUV)):
        return SuvScale(_normalised(header, factor), ("SUV by the scanner's own factor (7053,1000).",))
    if units == "CNTS" and (factor := _private(header, _PHILIPS_ACTIVITY)):
        scale = _from_activity(header)
        return SuvScale({n: f * factor for n, f in scale.factors.items()}, scale.notes)
    if units != "BQML":
        what = f"in {units!r}" if units else "without Units"
        raise UnreadableSeriesError(
            f"The PET's values are {what}, which cannot become SUV; send a series in BQML or GML, or a "
            "Philips one with its factors (7053,1000) or (7053,1009)."
        )
    return _from_activity(header)


def _check_agreement(headers: Sequence[Dataset]) -> None:
    """One factor serves a series only where its images agree on all that it is made of.

    Raises:
        UnreadableSeriesError: they do not, or they were acquired at several times and each is left as it
            had decayed by then.
    """
    injections = [header.get("RadiopharmaceuticalInformationSequence") or () for header in headers]
    if any(len(items) > 1 for items in injections):
        raise UnreadableSeriesError(
            "The PET names several injections, so the dose that it shows is not known; send a series of one."
        )
    said = {keyword: {_said(header, keyword) for header in headers} for keyword in _OF_SERIES}
    for keyword in _OF_INJECTION:
        said[keyword] = {_said(items[0], keyword) if items else "" for items in injections}
    for tag in (_PHILIPS_SUV, _PHILIPS_ACTIVITY):
        said["the factor ({:04x},{:04x})".format(*tag)] = {str(_private(h, tag) or "") for h in headers}
    for what, values in said.items():
        if len(values) > 1:
            told = ", ".join(value or "none" for value in sorted(values)[:3])
            raise UnreadableSeriesError(
                f"The images of the PET differ in {what} ({told}), so they have no common SUV; send each "
                "acquisition as a series of its own."
            )
    beds = {str(header.get("AcquisitionTime") or "") for header in headers}
    if len(beds) > 1 and said["DecayCorrection"] == {"NONE"}:
        raise UnreadableSeriesError(
            f"The PET is not corrected for decay and was acquired at {len(beds)} times, so its slices "
            "have no common SUV; send the series that is decay corrected."
        )


def _said(header: Dataset, keyword: str) -> str:
    """The same for the same number, however it is written."""
    number = None if keyword.endswith("Time") else number_of(header, keyword)
    return str(header.get(keyword) or "").strip() if number is None else f"{number:g}"


def _began(header: Dataset) -> tuple[datetime, float]:
    """Orders images by their acquisition; one without its time comes last."""
    reference = number_of(header, "FrameReferenceTime")
    return moment(header, "Acquisition") or datetime.max, math.inf if reference is None else reference


def lean_body_mass_james(weight_kg: float, height_m: float, sex: str) -> float:
    """kg; James 1976 with the multiplier 128 for men, as PS3.16 CID 85 names James128."""
    ratio = weight_kg / (100 * height_m)
    return 1.10 * weight_kg - 128 * ratio**2 if sex == "M" else 1.07 * weight_kg - 148 * ratio**2


def lean_body_mass_janmahasatian(weight_kg: float, height_m: float, sex: str) -> float:
    """kg; Janmahasatian 2005."""
    bmi = weight_kg / height_m**2
    return 9270 * weight_kg / (6680 + 216 * bmi if sex == "M" else 8780 + 244 * bmi)


def _from_activity(header: Dataset) -> SuvScale:
    """From Bq/ml: weight in g over the dose that was left when the scan's decay correction refers to."""
    notes: list[str] = []
    injected = _injection(header)
    dose = number_of(injected, "RadionuclideTotalDose")
    low, high = _DOSE_BQ
    if dose is None or not low <= dose <= high:
        given = "is missing" if not dose else f"is {dose:g} Bq, which cannot be true (it is given in Bq)"
        raise UnreadableSeriesError(
            f"RadionuclideTotalDose {given}: there is no SUV without the injected dose; send the series "
            "again with it."
        )
    left = dose * share_left(header, injected, tracer_of(header).nuclide, notes)
    return SuvScale(_normalised(header, 1000 * _weight(header) / left), tuple(notes))


def _already_suv(header: Dataset) -> SuvScale:
    kind = str(header.get("SUVType") or "BW")
    if kind == "BW":
        return SuvScale(_normalised(header, 1.0))
    lean = {
        "LBM": lean_body_mass_james,
        "LBMJAMES128": lean_body_mass_james,
        "LBMJANMA": lean_body_mass_janmahasatian,
    }
    if kind not in lean:
        raise UnreadableSeriesError(
            f"The PET is in SUV of type {kind!r}; it can be read in body weight (BW) or lean body mass."
        )
    weight, height = _weight(header), _height(header)
    if height is None:
        raise UnreadableSeriesError(
            "The PET is in SUV of lean body mass, and without PatientSize and PatientSex (M or F) it cannot "
            "become that of body weight; send the series in BQML, or with both."
        )
    mass = lean[kind](weight, height, str(header.PatientSex))
    return SuvScale(_normalised(header, weight / mass), (f"Turned from SUV of type {kind} to body weight.",))


def _normalised(header: Dataset, by_weight: float) -> dict[Normalisation, float]:
    factors = {Normalisation.BODY_WEIGHT: by_weight}
    weight, height = number_of(header, "PatientWeight"), _height(header)
    low, high = _WEIGHT_KG
    if weight is not None and low <= weight <= high and height is not None:
        sex = str(header.PatientSex)
        janmahasatian = lean_body_mass_janmahasatian(weight, height, sex)
        factors[Normalisation.LEAN_JANMAHASATIAN] = by_weight * janmahasatian / weight
        factors[Normalisation.LEAN_JAMES] = by_weight * lean_body_mass_james(weight, height, sex) / weight
    return factors


def _weight(header: Dataset) -> float:
    """kg."""
    weight = number_of(header, "PatientWeight")
    low, high = _WEIGHT_KG
    if weight is None or not low <= weight <= high:
        given = "is missing" if not weight else f"is {weight:g} kg, which cannot be true"
        raise UnreadableSeriesError(
            f"PatientWeight {given}: there is no SUV without it; enter it at the scanner and send the "
            "series again."
        )
    return weight


def _height(header: Dataset) -> float | None:
    """m; None where it or the sex is not known."""
    height = number_of(header, "PatientSize")
    low, high = _HEIGHT_M
    known = height is not None and low <= height <= high and header.get("PatientSex") in ("M", "F")
    return height if known else None


def _injection(header: Dataset) -> Dataset:
    items = header.get("RadiopharmaceuticalInformationSequence")
    if not items:
        raise UnreadableSeriesError(
            "The PET says nothing of the radiopharmaceutical (dose, time of injection), so there is no SUV; "
            "send the series again with RadiopharmaceuticalInformationSequence."
        )
    first: Dataset = items[0]
    return first


def _private(header: Dataset, tag: tuple[int, int]) -> float | None:
    """A Philips factor above 0; None where it is absent or 0, as an export may leave it."""
    try:
        value = float(header[tag].value) if tag in header else 0.0
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _values(header: Dataset, keyword: str) -> Iterable[str]:
    value = header.get(keyword) or ()
    return (value,) if isinstance(value, str) else tuple(str(v) for v in value)
