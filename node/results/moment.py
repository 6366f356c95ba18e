"""The moment results are dated with: that of the images, so that reading them again changes no byte."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.valuerep import DA, DT, TM

_PAIRS = ("Content", "Acquisition", "Series", "Study")
_TAGS = ["AcquisitionDateTime", *(f"{pair}{part}" for pair in _PAIRS for part in ("Date", "Time"))]
_NEVER = datetime(1970, 1, 1)


def acquired_at(path: Path) -> datetime:
    """When an image was made, as far as its header tells; local time of the scanner, without a zone."""
    header = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    moments = (_date_time(header), *(_pair(header, pair) for pair in _PAIRS))
    return next((moment for moment in moments if moment is not None), _NEVER)


def _date_time(header: Dataset) -> datetime | None:
    try:
        moment = DT(str(header.get("AcquisitionDateTime") or ""))
    except ValueError:
        return None
    return datetime.combine(moment.date(), moment.time().replace(tzinfo=None)) if moment else None


def _pair(header: Dataset, pair: str) -> datetime | None:
    try:
        date = DA(str(header.get(f"{pair}Date") or ""))
        time = TM(str(header.get(f"{pair}Time") or "") or "000000")
    except ValueError:
        return None
    return datetime(date.year, date.month, date.day, time.hour, time.minute, time.second) if date else None
