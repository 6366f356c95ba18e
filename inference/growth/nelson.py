"""Volume classes and growth of solid nodules by NELSON and the British Thoracic Society.

NELSON: van Klaveren et al., N Engl J Med 2009; 361:2221-2229. BTS: Callister et al., Thorax 2015; 70 Suppl 2.
"""

from __future__ import annotations

from typing import Final, Literal

NAME: Final = "NELSON"
BTS_NAME: Final = "BTS 2015"
GROWTH_PERCENT: Final = 25.0
FAST_DAYS: Final = 400.0
SLOW_DAYS: Final = 600.0
NELSON_APPLIES_TO: Final = "In screening: "

Result = Literal["negative", "indeterminate", "positive"]
Size = Literal["< 80 mm3", "80-300 mm3", ">= 300 mm3"]
SubsolidSize = Literal["< 5 mm", ">= 5 mm"]
Growth = Literal[
    "no growth", "indeterminate", "VDT up to 400 days", "VDT 400 to 600 days", "VDT over 600 days"
]


def size_result(volume_mm3: float) -> Result:
    """NELSON, first scan: below 50 mm³ negative, 50 to 500 indeterminate, above positive."""
    if volume_mm3 < 50:
        return "negative"
    return "indeterminate" if volume_mm3 <= 500 else "positive"


SIZE_MANAGEMENT: Final[dict[Result, str]] = {
    "negative": "next round.",
    "indeterminate": "CT at 3 months.",
    "positive": "referral to a chest physician.",
}
GROWTH_MANAGEMENT: Final[dict[Result, str]] = {
    "negative": "next round.",
    "positive": "referral to a chest physician.",
}


def growth_result(volume_change_percent: float, doubling_time_days: float | None) -> Result:
    """NELSON, follow-up: growth of 25 % or more with a doubling time below 400 days is positive, of 400 to
    600 days indeterminate, else negative; growth that could not be timed is indeterminate."""
    if volume_change_percent < GROWTH_PERCENT:
        return "negative"
    if doubling_time_days is None:
        return "indeterminate"
    if doubling_time_days < FAST_DAYS:
        return "positive"
    return "indeterminate" if doubling_time_days <= SLOW_DAYS else "negative"


def bts_size(volume_mm3: float) -> Size:
    """BTS 2015, first scan, solid nodules: discharge below 80 mm³, surveillance below 300."""
    if volume_mm3 < 80:
        return "< 80 mm3"
    return "80-300 mm3" if volume_mm3 < 300 else ">= 300 mm3"


def bts_subsolid_size(diameter_mm: float) -> SubsolidSize:
    """BTS 2015, first scan, part-solid and ground glass, by the largest diameter."""
    return "< 5 mm" if diameter_mm < 5 else ">= 5 mm"


BTS_MANAGEMENT: Final[dict[Size | SubsolidSize, str]] = {
    "< 80 mm3": "No follow-up.",
    "80-300 mm3": "CT at 3 months.",
    ">= 300 mm3": "Risk by the Brock model: PET/CT at 10 % or more, else CT at 3 months.",
    "< 5 mm": "No follow-up.",
    ">= 5 mm": "Thin-section CT at 3 months; if it persists, risk by the Brock model and its form.",
}


def bts_growth(volume_change_percent: float, doubling_time_days: float | None) -> Growth:
    """BTS 2015: less than 25 % is no growth; a doubling time of 400 days or less asks for work-up, one over
    600 days is of low risk. Growth that could not be timed is indeterminate."""
    if volume_change_percent < GROWTH_PERCENT:
        return "no growth"
    if doubling_time_days is None:
        return "indeterminate"
    if doubling_time_days <= FAST_DAYS:
        return "VDT up to 400 days"
    return "VDT 400 to 600 days" if doubling_time_days <= SLOW_DAYS else "VDT over 600 days"


_BTS_YEAR_DAYS: Final = 365 - 14
"""The guideline gives no tolerance. That a scan up to two weeks early is that of the year is this project's
choice, as for the months of Lung-RADS."""


def bts_management(
    growth: Growth, since_first_percent: float, since_first_days: int, doubling_time_days: float | None
) -> str:
    """What is asked for from the second scan on. A solid nodule without growth is discharged by its volume
    one year after the first scan, and is no more stable where it has grown since that one.

    Args:
        since_first_percent: the change of volume.
        since_first_days: 0 where that is not known.
        doubling_time_days: since the first scan; None where repeated scans differ by as much, or over too
            short a time to tell.
    """
    if growth != "no growth" or since_first_days <= 0:
        return BTS_GROWTH_MANAGEMENT[growth]
    if since_first_percent >= GROWTH_PERCENT:
        grown = BTS_GROWTH_MANAGEMENT[bts_growth(since_first_percent, doubling_time_days)]
        return f"By {since_first_percent:+.0f} % in {since_first_days} days since the first scan: {grown}"
    return BTS_DISCHARGE if since_first_days >= _BTS_YEAR_DAYS else BTS_GROWTH_MANAGEMENT[growth]


BTS_DISCHARGE: Final = "No follow-up, being stable by volume for 1 year (by diameter alone: for 2 years)."
BTS_GROWTH_MANAGEMENT: Final[dict[Growth, str]] = {
    "no growth": "CT at 1 year after the first; no follow-up if there is no growth then.",
    "indeterminate": "Further CT, as planned.",
    "VDT up to 400 days": "Further work-up, with biopsy or resection.",
    "VDT 400 to 600 days": "Biopsy, or further CT.",
    "VDT over 600 days": "Further CT, or none.",
}
"""Of the second scan on; which of two is the patient's choice."""
