"""Standardized uptake values from the attributes of a PET series.

Follows PS3.3 C.8.9.1 (PET Series Module: Units, Decay Correction) and C.8.9.2 (PET Isotope Module), and the
vendor-neutral calculation of the QIBA FDG-PET/CT profile. Lean body mass is that of Janmahasatian et al.
(Clin Pharmacokinet 2005;44:1051), as PERCIST recommends; that of James with the multiplier 128 is given
beside it, since most scanners print it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydicom import Dataset
from pydicom.valuerep import DT, TM

from inference.errors import UnreadableSeriesError

F18_HALF_LIFE_S = 6586.2
_F18 = frozenset({"77004003", "C-111A1"})
_HOURS_AT_MOST = 24.0
_WEIGHT_KG = (1.0, 400.0)
_HEIGHT_M = (0.4, 2.5)
_DOSE_BQ = (1e5, 1e11)
_PHILIPS_SUV, _PHILIPS_ACTIVITY = (0x7053, 0x1000), (0x7053, 0x1009)
_GE_SCAN_TIME = (0x0009, 0x100D)


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


def suv_scale(header: Dataset) -> SuvScale:
    """The factors of a PET series, from the header of any of its images.

    Raises:
        UnreadableSeriesError: no SUV can be had; says what is missing and who can mend it.
    """
    if "ATTN" not in _values(header, "CorrectedImage"):
        raise UnreadableSeriesError(
            "The PET is not corrected for attenuation, so its values are no activity; send the "
            "corrected series."
        )
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
    dose = _number(injected, "RadionuclideTotalDose")
    low, high = _DOSE_BQ
    if dose is None or not low <= dose <= high:
        given = "is missing" if not dose else f"is {dose:g} Bq, which cannot be true (it is given in Bq)"
        raise UnreadableSeriesError(
            f"RadionuclideTotalDose {given}: there is no SUV without the injected dose; send the series "
            "again with it."
        )
    left = dose * _share_left(header, injected, notes)
    return SuvScale(_normalised(header, 1000 * _weight(header) / left), tuple(notes))


def _share_left(header: Dataset, injected: Dataset, notes: list[str]) -> float:
    """The part of the dose that had not decayed at the time the pixel values refer to."""
    correction = str(header.get("DecayCorrection") or "")
    if correction == "ADMIN":
        return 1.0
    half_life = _half_life(injected, notes)
    if correction == "START":
        scan = _scan_start(header, half_life)
    elif correction == "NONE":
        scan = _middle_of_frame(header, half_life)
    else:
        raise UnreadableSeriesError(
            f"DecayCorrection is {correction!r}, not START, ADMIN or NONE: nothing says which time the PET's "
            "values refer to; send the series again with it."
        )
    seconds = (scan - _injected_at(injected, scan, notes)).total_seconds()
    return float(0.5 ** (seconds / half_life))


def _scan_start(header: Dataset, half_life: float) -> datetime:
    """What decay is corrected to: the start of the series, unless that was stamped later than its images."""
    acquired = _moment(header, "Acquisition")
    series = _moment(header, "Series")
    if series is not None and (acquired is None or series <= acquired):
        return series
    own = header[_GE_SCAN_TIME].value if _GE_SCAN_TIME in header else None
    if own and acquired is not None:
        of_day = _time_of(str(own)[8:])
        if (
            of_day is not None
            and (at := acquired.replace(hour=0, minute=0, second=0, microsecond=0) + of_day) <= acquired
        ):
            return at
    if acquired is None:
        raise UnreadableSeriesError(
            "The PET has neither a usable series time nor an acquisition time, so the decay since injection "
            "is not known; send the series again with them."
        )
    reference = _number(header, "FrameReferenceTime")
    if reference is None:
        return acquired
    return acquired + timedelta(seconds=_mean_time(header, half_life) - reference / 1000)


def _middle_of_frame(header: Dataset, half_life: float) -> datetime:
    acquired = _moment(header, "Acquisition")
    if acquired is None:
        raise UnreadableSeriesError(
            "The PET is not corrected for decay and has no acquisition time, so it cannot be; send the "
            "series again with AcquisitionDate and AcquisitionTime."
        )
    return acquired + timedelta(seconds=_mean_time(header, half_life))


def _mean_time(header: Dataset, half_life: float) -> float:
    """Seconds into a frame at which its activity equals its average (QIBA FDG-PET/CT, appendix G)."""
    decay = math.log(2) / half_life * (_number(header, "ActualFrameDuration") or 0.0) / 1000
    return 0.0 if decay <= 0 else math.log(decay / (1 - math.exp(-decay))) * half_life / math.log(2)


def _injected_at(injected: Dataset, scan: datetime, notes: list[str]) -> datetime:
    """When the dose was given. The date is believed where it lies within a day before the scan; a time of day
    alone is the last such before the scan, which may be on the day before."""
    most = timedelta(hours=_HOURS_AT_MOST)
    stated = injected.get("RadiopharmaceuticalStartDateTime")
    if stated:
        at = DT(str(stated)).replace(tzinfo=None)
        if timedelta(0) <= scan - at < most:
            return datetime(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
    of_day = _time_of(str(injected.get("RadiopharmaceuticalStartTime") or "") or str(stated or "")[8:14])
    if of_day is None:
        raise UnreadableSeriesError(
            "The time of injection is missing (RadiopharmaceuticalStartDateTime or ...StartTime): the decay "
            "until the scan is not known; send the series again with it."
        )
    if stated:
        notes.append("The date of injection does not fit the scan; its time of day was taken.")
    given = scan.replace(hour=0, minute=0, second=0, microsecond=0) + of_day
    if given > scan:
        given -= timedelta(days=1)
        notes.append("The dose was given on the day before the scan, past midnight.")
    return given


def _half_life(injected: Dataset, notes: list[str]) -> float:
    given = _number(injected, "RadionuclideHalfLife")
    if given and given > 0:
        return given
    codes = injected.get("RadionuclideCodeSequence") or []
    if any(str(item.get("CodeValue")) in _F18 for item in codes):
        notes.append("The half-life is missing; that of 18F was taken.")
        return F18_HALF_LIFE_S
    raise UnreadableSeriesError(
        "RadionuclideHalfLife is missing, so the decay since injection is not known; send the series "
        "again with it."
    )


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
    weight, height = _number(header, "PatientWeight"), _height(header)
    low, high = _WEIGHT_KG
    if weight is not None and low <= weight <= high and height is not None:
        sex = str(header.PatientSex)
        janmahasatian = lean_body_mass_janmahasatian(weight, height, sex)
        factors[Normalisation.LEAN_JANMAHASATIAN] = by_weight * janmahasatian / weight
        factors[Normalisation.LEAN_JAMES] = by_weight * lean_body_mass_james(weight, height, sex) / weight
    return factors


def _weight(header: Dataset) -> float:
    """kg."""
    weight = _number(header, "PatientWeight")
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
    height = _number(header, "PatientSize")
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


def _moment(header: Dataset, prefix: str) -> datetime | None:
    """``prefix`` Date and Time together; without the date that of the series or study is taken."""
    of_day = _time_of(str(header.get(f"{prefix}Time") or ""))
    dates = (header.get(f"{prefix}Date"), header.get("SeriesDate"), header.get("StudyDate"))
    date = next((str(d) for d in dates if d), "")
    if of_day is None or len(date) != 8 or not date.isdigit():
        return None
    return datetime.strptime(date, "%Y%m%d") + of_day


def _time_of(text: str) -> timedelta | None:
    try:
        at = TM(text) if text else None
    except ValueError:
        return None
    if at is None:
        return None
    return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)


def _private(header: Dataset, tag: tuple[int, int]) -> float | None:
    """A Philips factor above 0; None where it is absent or 0, as an export may leave it."""
    try:
        value = float(header[tag].value) if tag in header else 0.0
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _number(header: Dataset, keyword: str) -> float | None:
    value = header.get(keyword)
    try:
        number = float(value) if value not in (None, "") else None
    except (TypeError, ValueError):
        return None
    return number if number is None or math.isfinite(number) else None


def _values(header: Dataset, keyword: str) -> Iterable[str]:
    value = header.get(keyword) or ()
    return (value,) if isinstance(value, str) else tuple(str(v) for v in value)
