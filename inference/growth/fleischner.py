"""Growth, size and management by the Fleischner Society (MacMahon et al., Radiology 2017; 284:228-243).

For nodules found by chance in adults of 35 years or more without known cancer or immunosuppression; a nodule
measures 30 mm at most (glossary of terms, Hansell et al., Radiology 2008; 246:697-722).
"""

from __future__ import annotations

from math import floor
from typing import Final, Literal

NAME: Final = "Fleischner 2017"
GROWTH_MM: Final = 2
LARGEST_MM: Final = 30
APPLIES_TO: Final = "If found by chance at 35 years or more, without known cancer or immunosuppression: "
MASS: Final = "A mass, and no nodule that this guideline is for: work-up as of suspected cancer."
Size = Literal["< 6 mm", "6-8 mm", "> 8 mm", "> 30 mm"]


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
    if diameter_mm > LARGEST_MM:
        return "> 30 mm"
    return "6-8 mm" if diameter_mm <= 8 else "> 8 mm"


def solid_management(size: Size, *, multiple: bool) -> str:
    """Table 1 A. What is asked of low and of high risk is told apart, since the risk is not known here.

    Args:
        multiple: the scan shows further solid nodules.
    """
    if size == "< 6 mm":
        return "no routine follow-up at low risk, optional CT at 12 months at high risk."
    if size == "> 8 mm" and not multiple:
        return "consider CT at 3 months, PET/CT or tissue sampling."
    first = "CT at 3 to 6 months" if multiple else "CT at 6 to 12 months"
    return f"{first}; then consider CT at 18 to 24 months at low risk, CT at 18 to 24 months at high risk."


def subsolid_management(diameter_mm: int, solid_mm: int | None, *, multiple: bool) -> str:
    """Table 1 B.

    Args:
        diameter_mm: of the whole nodule, rounded.
        solid_mm: of the solid part, rounded; None for pure ground glass.
        multiple: the scan shows further nodules that are part-solid or ground glass.
    """
    if diameter_mm < 6:
        stable = "CT at 3 to 6 months; if stable, consider CT at 2 and 4 years."
        return stable if multiple else "no routine follow-up."
    if multiple:
        return "CT at 3 to 6 months; then as the most suspicious nodule asks for."
    if solid_mm is None:
        return "CT at 6 to 12 months; if it persists, CT every 2 years until 5 years."
    if solid_mm < 6:
        return "CT at 3 to 6 months; if unchanged, CT every year for 5 years."
    return "CT at 3 to 6 months; if it persists, highly suspicious by its solid part."
