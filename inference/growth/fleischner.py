"""Growth and size by the Fleischner Society (MacMahon et al., Radiology 2017; 284:228-243).

For nodules found by chance in adults of 35 years or more without known cancer or immunosuppression.
"""

from __future__ import annotations

from math import floor
from typing import Final, Literal

GROWTH_MM: Final = 2
Size = Literal["< 6 mm", "6-8 mm", "> 8 mm"]


def rounded_diameter_mm(long_axis_mm: float, short_axis_mm: float) -> int:
    """Mean of both axes, to the nearest whole millimetre, halves upwards."""
    return floor((long_axis_mm + short_axis_mm) / 2 + 0.5)


def has_grown(prior_mm: int, current_mm: int) -> bool:
    """Rounded diameters: growth is 2 mm or more."""
    return current_mm - prior_mm >= GROWTH_MM


def size_class(diameter_mm: int) -> Size:
    """The class of management that a rounded diameter falls into."""
    if diameter_mm < 6:
        return "< 6 mm"
    return "6-8 mm" if diameter_mm <= 8 else "> 8 mm"
