"""A nodule as the Fleischner Society's guideline assesses it."""

from __future__ import annotations

from inference.findings import Assessment, Finding
from inference.growth import fleischner
from inference.growth.lung_rads import SUBSOLID
from inference.growth.past import prior_axes_mm, since
from inference.growth.solid import SolidCourse, kind_of


def assessment(finding: Finding, multiple: bool) -> Assessment:
    now = fleischner.rounded_diameter_mm(finding.long_axis_mm, finding.short_axis_mm)
    size = fleischner.size_class(now)
    before = prior_axes_mm(finding.change)
    if before is not None:
        earlier = fleischner.rounded_diameter_mm(*before)
        part = _growth_of_solid_part(finding)
        said = "growth" if part or fleischner.has_grown(earlier, now) else "no growth"
        course = f"Mean diameter {earlier} mm, now {now} mm{part}: {said}{since(finding.change)} ({size})."
        return Assessment(fleischner.NAME, said, course)
    new = ", not seen before" if finding.change else ""
    said = f"{kind_of(finding.kind).capitalize()}, mean diameter {now} mm{new}."
    if size == "> 30 mm":
        return Assessment(fleischner.NAME, size, said, fleischner.MASS)
    if finding.kind in SUBSOLID:
        solid_mm = None
        if finding.kind == "part-solid":
            solid_mm = _whole_mm(finding.solid.diameter_mm if finding.solid else 0.0)
        management = fleischner.subsolid_management(now, solid_mm, multiple=multiple)
    else:
        management = fleischner.solid_management(size, multiple=multiple)
    return Assessment(fleischner.NAME, size, said, fleischner.APPLIES_TO + management)


def _growth_of_solid_part(finding: Finding) -> str:
    """In words, empty where it did not grow by what Fleischner asks for."""
    part = SolidCourse.of(finding)
    if part.course is None:
        return ""
    if part.before_mm is None:
        return ", solid only now"
    before, now = _whole_mm(part.before_mm), _whole_mm(part.now_mm)
    return f", its solid part {before} mm, now {now} mm" if fleischner.has_grown(before, now) else ""


def _whole_mm(size_mm: float) -> int:
    return fleischner.rounded_diameter_mm(size_mm, size_mm)
