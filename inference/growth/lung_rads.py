"""ACR Lung-RADS 2022: category of a nodule on a screening CT, by its type, size and change.

Sizes are mean diameters, the mean of long and short axis, to one decimal. The modifier S and category 4X
are a radiologist's and are not given here, and neither is category 0 of earlier CTs that are to be had, or of
inflammation; it is given where a part of the scan was not read. Christensen et al., Chest 2024; 165:738-753.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import floor
from typing import Final, Literal, get_args

NAME: Final = "Lung-RADS 2022"
GROWTH_MM: Final = 1.5
GROWTH_WITHIN_DAYS: Final = 366
SUBSOLID: Final = ("part-solid", "ground-glass")
STABLE: Final = ("stable", "stable over unknown time")
APPLIES_TO: Final = "In screening: "

Category = Literal["1", "2", "3", "4A", "4B"]
ExamCategory = Literal["0", "1", "2", "3", "4A", "4B"]
Kind = Literal["solid", "part-solid", "ground-glass", "calcified"]
Course = Literal[
    "baseline",
    "new",
    "growing",
    "growing slowly",
    "growing over unknown time",
    "stable",
    "stable over unknown time",
]
"""``stable``: seen before and not growing; for the other words see ``course``."""


def mean_diameter_mm(long_axis_mm: float, short_axis_mm: float) -> float:
    return rounded_mm((long_axis_mm + short_axis_mm) / 2)


def rounded_mm(size_mm: float) -> float:
    """To one decimal, halves upwards."""
    return floor(size_mm * 10 + 0.5) / 10


def course(prior_mm: float, current_mm: float, days: int | None) -> Course:
    """Growth is an increase of the mean diameter of more than 1.5 mm within 12 months. Over a longer time the
    increase is brought to 12 months: it is growth where that share is more than 1.5 mm, and slow growth where
    only the whole is. ``days`` is 0 or None where the time between is not known."""
    increase = round(current_mm - prior_mm, 6)
    known = days is not None and days > 0
    if increase <= GROWTH_MM:
        return "stable" if known else "stable over unknown time"
    if days is None or days <= 0:
        return "growing over unknown time"
    yearly = increase * min(1.0, GROWTH_WITHIN_DAYS / days)
    return "growing" if yearly > GROWTH_MM else "growing slowly"


def in_words(course: Course, prior_mm: float, current_mm: float) -> str:
    """A course as it is told: "decreased" of what is smaller by more than growth would ask for."""
    return "decreased" if course in STABLE and round(prior_mm - current_mm, 6) > GROWTH_MM else course


def over_screens(against_newest: Course, earlier: Sequence[tuple[int, float]], current_mm: float) -> Course:
    """What several earlier scans make of a nodule that is ``stable`` against the newest of them. It grows
    where it has since any of the last 12 months. It grows slowly where it is larger than at the newest, and
    by more than 1.5 mm than at the oldest, though no interval between two scans was growth of itself.

    Args:
        earlier: days before now, known and above 0, and mean diameter in mm; in any order. Of scans of one
            day the first counts.
    """
    if against_newest != "stable" or len(earlier) < 2:
        return against_newest
    if any(course(mm, current_mm, days) == "growing" for days, mm in earlier if days <= GROWTH_WITHIN_DAYS):
        return "growing"
    oldest_first = sorted(dict(reversed(earlier)).items(), reverse=True)
    intervals = pairwise([*oldest_first, (0, current_mm)])
    rose_at_once = any(
        course(mm, later_mm, days - later) != "stable" for (days, mm), (later, later_mm) in intervals
    )
    increase = round(current_mm - oldest_first[0][1], 6)
    is_larger = current_mm > oldest_first[-1][1]
    return "growing slowly" if is_larger and increase > GROWTH_MM and not rose_at_once else "stable"


def solid_course(prior_mm: float, current_mm: float, days: int | None) -> Course:
    """The course of the solid part of a nodule that was seen before: new where there was none."""
    if current_mm > 0 and prior_mm == 0:
        return "new"
    return course(prior_mm, current_mm, days)


def category(
    kind: Kind,
    diameter_mm: float,
    course: Course,
    solid_mm: float = 0.0,
    solid_course: Course | None = None,
) -> Category:
    """The category by size. A nodule that was ``stable`` is classed by its size as at baseline; see
    ``at_follow_up`` for what a follow-up without growth makes of it. Growth over an unknown time is given the
    higher category of growth and slow growth. Calcium alone is no benign pattern: a calcified nodule is
    benign only where it is stable, and is else classed as a solid one.

    Args:
        diameter_mm: mean diameter of the whole nodule.
        course: of the whole nodule.
        solid_mm: mean diameter of the solid part of a part-solid nodule, or of a whole one that was subsolid.
        solid_course: of that part, None where it is not known. One that is new or grows is judged as such
            whatever the whole does, be the rest subsolid still or solid by now.
    """
    if kind in ("solid", "calcified") and solid_course not in (None, *STABLE) and solid_mm >= 4:
        return "4B"
    if kind == "calcified" and course == "stable":
        return "1"
    if kind == "ground-glass":
        return "3" if diameter_mm >= 30 and course not in ("stable", "growing slowly") else "2"
    courses = {course, solid_course} if kind == "part-solid" else {course}
    if courses & {"growing slowly", "growing over unknown time"}:
        return "4B"
    if kind == "part-solid":
        return _part_solid(diameter_mm, solid_mm, course, solid_course)
    if course == "growing":
        return "4A" if diameter_mm < 8 else "4B"
    limits = (4, 6, 8) if course == "new" else (6, 8, 15)
    for limit, result in zip(limits, _STEPS, strict=True):
        if diameter_mm < limit:
            return result
    return "4B"


_STEPS: Final[tuple[Category, ...]] = ("2", "3", "4A")


def _part_solid(diameter_mm: float, solid_mm: float, course: Course, solid_course: Course | None) -> Category:
    if course == "new" and diameter_mm < 6:
        return "3"
    if {course, solid_course} & {"new", "growing"}:
        return "4A" if solid_mm < 4 else "4B"
    if diameter_mm < 6:
        return "2"
    if solid_mm < 6:
        return "3"
    return "4A" if solid_mm < 8 else "4B"


def stepped_down(earlier: Category, days: int) -> Category:
    """What becomes of a category when the nodule is stable or smaller at follow-up: a 3 after 6 months is
    a 2, a 4A after 3 months a 3. A 4B is lowered by proof that it is benign alone.

    The guideline gives months and no tolerance. That a scan up to two weeks before they are over counts as
    the follow-up is this project's choice: appointments are made to the week.

    Args:
        days: since the scan from which on it was ``earlier``; 0 where that is not known.
    """
    if earlier == "3" and days >= _SIX_MONTHS_DAYS - _EARLY_DAYS:
        return "2"
    return "3" if earlier == "4A" and days >= _THREE_MONTHS_DAYS - _EARLY_DAYS else earlier


_THREE_MONTHS_DAYS: Final = 91
_SIX_MONTHS_DAYS: Final = 182
_EARLY_DAYS: Final = 14


def at_follow_up(earlier: Category, by_size_then: Category, by_size_now: Category, days: int) -> Category:
    """Of a solid or part-solid nodule that is stable: a step lower than ``earlier`` once it is time. One that
    has crossed a threshold of size, though it did not grow by definition, is classed by its size anew
    (note on size thresholds).

    Args:
        by_size_then: its category by size alone at the newest scan before; by_size_now: the same at this one.
        days: as ``stepped_down`` takes them.
    """
    stepped = stepped_down(earlier, days)
    return worst(stepped, by_size_now) if _rank(by_size_now) > _rank(by_size_then) else stepped


def of_exam(nodules: Iterable[Category], resolved: Iterable[Category] = ()) -> Category:
    """An examination has the category of its most suspicious nodule; one that shows none is a 1, or a 2 where
    a nodule of category 3 or higher has resolved since.

    Args:
        resolved: what they were before.
    """
    gone: Category = "2" if any(_rank(each) >= _rank("3") for each in resolved) else "1"
    return worst(gone, *nodules)


def of_part(seen: Category) -> ExamCategory:
    """Of an examination of which a part was not read: incomplete, unless what was read calls for more than
    the next CT of the screening by itself.

    Args:
        seen: of what was read.
    """
    return "0" if seen in ("1", "2") else seen


def worst(first: Category, *others: Category) -> Category:
    return max((first, *others), key=_rank)


def management(category: Category, solid_mm: float = 0.0) -> str:
    """
    Args:
        solid_mm: mean diameter of a solid nodule, or of the solid part of one.
    """
    match category:
        case "1" | "2":
            return "CT at low dose in 12 months."
        case "3":
            return "CT at low dose in 6 months."
        case "4A":
            pet = "; PET/CT may be considered" if solid_mm >= 8 else ""
            return f"CT at low dose in 3 months{pet}."
        case "4B":
            pet = ", PET/CT" if solid_mm >= 8 else ""
            return f"referral for further evaluation: diagnostic chest CT{pet}, tissue sampling."


def _rank(category: Category) -> int:
    return get_args(Category).index(category)
