"""What is solid of a lesion, and what became of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from inference.findings import Change, Finding, SolidPart
from inference.growth import lung_rads
from inference.growth.lung_rads import SUBSOLID
from inference.growth.repeatability import sphere_diameter_mm
from inference.volume import Volume

_SOLID_HU: Final = -300


def solid_part(finding: Finding, volume: Volume) -> SolidPart | None:
    """What is solid of a lesion that is part-solid or ground glass; None of any other, and of one that is
    part-solid and has no mask."""
    if finding.mask is None:
        return SolidPart(0.0, None) if finding.kind == "ground-glass" else None
    if finding.kind not in SUBSOLID:
        return None
    box = tuple(slice(o, o + n) for o, n in zip(finding.mask.origin, finding.mask.voxels.shape, strict=True))
    hu = volume.voxels[box][finding.mask.voxels]
    hu = hu[hu > _SOLID_HU]
    mean_hu = float(hu.mean()) if hu.size else None
    return SolidPart(sphere_diameter_mm(float(hu.size) * volume.voxel_mm3), mean_hu)


def solid_part_of_mixed(finding: Finding, volume: Volume) -> SolidPart | None:
    return solid_part(finding, volume) if finding.kind == "part-solid" else None


@dataclass(frozen=True)
class SolidCourse:
    """What became of the solid part of a part-solid nodule, or of one that was subsolid and is solid now;
    ``course``: None where that is not known; ``before_mm``: None where it was not measured."""

    now_mm: float = 0.0
    before_mm: float | None = None
    course: lung_rads.Course | None = None
    words: str = ""

    @classmethod
    def of(cls, finding: Finding) -> Self:
        change = finding.change
        if change is not None and finding.kind not in SUBSOLID and change.prior_kind in SUBSOLID:
            return cls._of_whole(finding, change)
        if finding.solid is None:
            return cls()
        now = lung_rads.rounded_mm(finding.solid.diameter_mm)
        if change is None or change.prior_solid is None:
            return cls(now, words=f" (solid part {now:.1f} mm)")
        return cls._since(change.prior_solid, now, change.days, f"{now:.1f} mm")

    @classmethod
    def _of_whole(cls, finding: Finding, change: Change) -> Self:
        """The whole as a solid part, measured as one: by its volume. It is larger than a part that was not
        measured, by how much is not known, and counts as grown."""
        now = lung_rads.rounded_mm(sphere_diameter_mm(finding.volume_mm3))
        if change.prior_solid is None:
            return cls(now, None, "growing", f" ({change.prior_kind} before, now solid: growing)")
        return cls._since(change.prior_solid, now, change.days, f"the whole, {now:.1f} mm")

    @classmethod
    def _since(cls, prior: SolidPart, now: float, days: int, words: str) -> Self:
        before = lung_rads.rounded_mm(prior.diameter_mm)
        course = lung_rads.solid_course(before, now, days)
        told = lung_rads.in_words(course, before, now)
        return cls(now, before, course, f" (solid part {before:.1f} mm, now {words}: {told})")


def kind_of(words: str | None) -> lung_rads.Kind:
    match words:
        case "part-solid" | "ground-glass" | "calcified" as kind:
            return kind
        case _:
            return "solid"
