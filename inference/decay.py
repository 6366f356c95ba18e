"""How much of the injected dose had not decayed when the values of a PET were taken, from its times.

Follows PS3.3 C.8.9.1 (Decay Correction, Frame Reference Time) and C.8.9.2 (the time of injection). All times
are by the clock of the scanner.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

from pydicom import Dataset
from pydicom.valuerep import TM

from inference.errors import UnreadableSeriesError
from inference.numbers import number_of
from inference.tracer import NUCLIDES, Nuclide

_CLOCKS_DIFFER = timedelta(minutes=5)
_SERIES_BEFORE = timedelta(minutes=10)
_TAKEN_UP = timedelta(minutes=20)
_DAY = timedelta(days=1)
_HALF_LIVES_AT_MOST = 3.3  # 6 h of 18F, a tenth of the dose left: no PET is taken later
_GE_SCAN_TIME = (0x0009, 0x100D)
_DATE_TIME = re.compile(r"(\d{8})(\d{4}(?:\d{2}(?:\.\d{1,6})?)?)([+-]\d{4})?")


def share_left(header: Dataset, injected: Dataset, nuclide: Nuclide | None, notes: list[str]) -> float:
    """The part of the dose that had not decayed at the time the pixel values refer to; a little above 1 where
    a dynamic scan began before the injection.

    header: of the earliest image. injected: the item of its RadiopharmaceuticalInformationSequence. notes:
    gets a sentence for each thing assumed.

    Raises:
        UnreadableSeriesError: that is not known, or what is said of it cannot be true.
    """
    correction = str(header.get("DecayCorrection") or "")
    if correction == "ADMIN":
        return 1.0
    half_life = _half_life(injected, nuclide, notes)
    if correction == "START":
        scan = _scan_start(header, half_life)
    elif correction == "NONE":
        scan = _middle_of_frame(header, half_life)
    else:
        raise UnreadableSeriesError(
            f"DecayCorrection is {correction!r}, not START, ADMIN or NONE: nothing says which time the PET's "
            "values refer to; send the series again with it."
        )
    given = _injected_at(header, injected, scan, half_life, notes)
    return float(0.5 ** ((scan - given).total_seconds() / half_life))


def moment(header: Dataset, prefix: str) -> datetime | None:
    """``prefix`` Date and Time together; without the date that of the series or study is taken."""
    of_day = _time_of(str(header.get(f"{prefix}Time") or ""))
    dates = (header.get(f"{prefix}Date"), header.get("SeriesDate"), header.get("StudyDate"))
    date = next((str(d) for d in dates if d), "")
    try:
        return None if of_day is None else datetime.strptime(date, "%Y%m%d") + of_day
    except ValueError:
        return None


def _half_life(injected: Dataset, nuclide: Nuclide | None, notes: list[str]) -> float:
    """Seconds: as given, where that is a half-life of the nuclide named, or of any that PET is made with."""
    given = number_of(injected, "RadionuclideHalfLife")
    if not given and nuclide is not None:
        notes.append(f"The half-life is missing; that of {nuclide.name} was taken.")
        return nuclide.half_life_s
    if not given:
        raise UnreadableSeriesError(
            "RadionuclideHalfLife is missing, so the decay since injection is not known; send the series "
            "again with it."
        )
    if not any(one.has_half_life(given) for one in ((nuclide,) if nuclide else NUCLIDES)):
        other = f"{nuclide.name} has {nuclide.half_life_s:g} s" if nuclide else "no nuclide of PET has that"
        raise UnreadableSeriesError(
            f"RadionuclideHalfLife is {given:g} s, but {other} (it is given in seconds); send the series "
            "again with the right one."
        )
    return given


def _scan_start(header: Dataset, half_life: float) -> datetime:
    """What decay is corrected to: the start of the series, unless that was stamped later than its images."""
    acquired, series = moment(header, "Acquisition"), moment(header, "Series")
    if acquired is None and series is None:
        raise UnreadableSeriesError(
            "The PET has neither a usable series time nor an acquisition time, so the decay since injection "
            "is not known; send the series again with them."
        )
    if acquired is None or (series is not None and series <= acquired):
        assert series is not None
        if acquired is not None:
            _check_reference(header, series, acquired, half_life)
        return series
    own = header[_GE_SCAN_TIME].value if _GE_SCAN_TIME in header else None
    of_day = _time_of(str(own)[8:]) if own else None
    if of_day is not None and (at := _midnight(acquired) + of_day) <= acquired:
        return at
    return _by_frame(header, acquired, half_life) or acquired


def _check_reference(header: Dataset, series: datetime, acquired: datetime, half_life: float) -> None:
    """A series that began long before its first image: the frame's own reference has to lie there too.

    Raises:
        UnreadableSeriesError: it lies elsewhere.
    """
    by_frame = _by_frame(header, acquired, half_life)
    if by_frame is None or acquired - series <= _SERIES_BEFORE or abs(by_frame - series) <= _SERIES_BEFORE:
        return
    raise UnreadableSeriesError(
        f"The PET began at {series:%H:%M:%S} by its SeriesTime and at {by_frame:%H:%M:%S} by AcquisitionTime "
        "and FrameReferenceTime, so nothing says which time its values refer to; send the series again with "
        "the times the scanner gave."
    )


def _by_frame(header: Dataset, acquired: datetime, half_life: float) -> datetime | None:
    """What FrameReferenceTime counts from, which is no later than the frame; None without it."""
    reference = number_of(header, "FrameReferenceTime")
    if reference is None:
        return None
    return acquired + timedelta(seconds=min(_mean_time(header, half_life) - reference / 1000, 0.0))


def _middle_of_frame(header: Dataset, half_life: float) -> datetime:
    acquired = moment(header, "Acquisition")
    if acquired is None:
        raise UnreadableSeriesError(
            "The PET is not corrected for decay and has no acquisition time, so it cannot be; send the "
            "series again with AcquisitionDate and AcquisitionTime."
        )
    return acquired + timedelta(seconds=_mean_time(header, half_life))


def _mean_time(header: Dataset, half_life: float) -> float:
    """Seconds into a frame at which its activity equals its average (QIBA FDG-PET/CT, appendix G)."""
    decay = math.log(2) / half_life * (number_of(header, "ActualFrameDuration") or 0.0) / 1000
    return 0.0 if decay <= 0 else math.log(decay / (1 - math.exp(-decay))) * half_life / math.log(2)


def _injected_at(
    header: Dataset, injected: Dataset, scan: datetime, half_life: float, notes: list[str]
) -> datetime:
    """When the dose was given: as stated with its date, else the last such time of day before the scan.

    Raises:
        UnreadableSeriesError: that is missing, contradicts itself, or is no time a PET is taken after.
    """
    of_day = _time_of(str(injected.get("RadiopharmaceuticalStartTime") or ""))
    stated = _stated(header, injected, of_day)
    longest = timedelta(seconds=_HALF_LIVES_AT_MOST * half_life)
    if stated is None and of_day is None:
        raise UnreadableSeriesError(
            "The time of injection is missing (RadiopharmaceuticalStartDateTime or ...StartTime): the decay "
            "until the scan is not known; send the series again with it."
        )
    given = stated
    if given is None:
        if longest > _DAY:
            raise UnreadableSeriesError(
                "The injection has a time of day but no date, and the PET may be taken days after it; send "
                "the series again with RadiopharmaceuticalStartDateTime."
            )
        assert of_day is not None
        given = _midnight(scan) + of_day
        if given - scan > _CLOCKS_DIFFER:
            given -= _DAY
    _check_uptake(header, given, scan, longest, notes)
    if stated is None and given.date() != scan.date():
        notes.append("The injection has no date; by its time it was on the day before the scan.")
    return given


def _check_uptake(
    header: Dataset, given: datetime, scan: datetime, longest: timedelta, notes: list[str]
) -> None:
    """A PET is taken after the injection; a dynamic one may begin a little before it.

    Raises:
        UnreadableSeriesError: this one is taken too long after it, or before it.
    """
    uptake = scan - given
    apart = _span(abs(uptake))
    dynamic = "DYNAMIC" in (header.get("SeriesType") or ())
    if not (-_CLOCKS_DIFFER if dynamic else timedelta(0)) <= uptake <= longest:
        raise UnreadableSeriesError(
            f"The dose was given on {given:%Y-%m-%d at %H:%M:%S} by its header, {apart} "
            f"{'after' if uptake < timedelta(0) else 'before'} the PET of {scan:%Y-%m-%d, %H:%M:%S}, which "
            "cannot be true: without the right time there is no SUV; send the series again with it."
        )
    if uptake < timedelta(0):
        notes.append(f"The dynamic PET began {apart} before the injection by its header.")
    elif uptake < _TAKEN_UP and not dynamic:
        notes.append(f"The PET began {apart} after the injection by its header, sooner than is usual.")


def _span(time: timedelta) -> str:
    seconds = time.total_seconds()
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _stated(header: Dataset, injected: Dataset, of_day: timedelta | None) -> datetime | None:
    """RadiopharmaceuticalStartDateTime by the scanner's clock; None where it is no full date and time.

    of_day: RadiopharmaceuticalStartTime, which goes by the scanner's clock.

    Raises:
        UnreadableSeriesError: the two name different times, or its time zone is not to be compared.
    """
    found = _DATE_TIME.fullmatch(str(injected.get("RadiopharmaceuticalStartDateTime") or "").strip())
    clock = _time_of(found[2]) if found else None
    try:
        stated = datetime.strptime(found[1], "%Y%m%d") + clock if found and clock is not None else None
    except ValueError:
        return None
    if stated is None or found is None:
        return None
    own, scanner = _zone(found[3] or ""), _zone(str(header.get("TimezoneOffsetFromUTC") or ""))
    if own is not None and scanner is not None:
        stated = stated.replace(tzinfo=own).astimezone(scanner).replace(tzinfo=None)
    elif own is not None and (of_day is None or _apart(stated, of_day) > _CLOCKS_DIFFER):
        raise UnreadableSeriesError(
            f"The time of injection is in the time zone {found[3]} and the PET's times in one that is not "
            "given; send the series again with TimezoneOffsetFromUTC."
        )
    if of_day is not None and _apart(stated, of_day) > _CLOCKS_DIFFER:
        raise UnreadableSeriesError(
            f"The dose was given at {stated:%H:%M:%S} by RadiopharmaceuticalStartDateTime and at "
            f"{_midnight(stated) + of_day:%H:%M:%S} by RadiopharmaceuticalStartTime; send the series again "
            "with the right one."
        )
    return stated


def _apart(at: datetime, of_day: timedelta) -> timedelta:
    """How far two clocks are apart, whichever day it is."""
    apart = (at - _midnight(at) - of_day) % _DAY
    return min(apart, _DAY - apart)


def _zone(text: str) -> timezone | None:
    found = re.fullmatch(r"([+-])(\d{2})([0-5]\d)", text.strip())
    if found is None or int(found[2]) > 14:
        return None
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return timezone(offset if found[1] == "+" else -offset)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _time_of(text: str) -> timedelta | None:
    try:
        at = TM(text) if text else None
    except ValueError:
        return None
    if at is None:
        return None
    return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
