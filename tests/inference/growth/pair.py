"""Two scans of one small chest, a breath and a shift apart, with lesions whose course is known."""

from __future__ import annotations

from inference.findings import Point
from inference.growth.changes import Prior
from tests.inference.growth.chest import finding, moved_by, reading, scan

STAYS, GROWS, COMES, GOES = (50.0, 0.0, 20.0), (-55.0, 10.0, 0.0), (-50.0, -20.0, 40.0), (60.0, 15.0, -10.0)
BREATH, SHIFT = 15.0, (8.0, 4.0, -12.0)
VOLUME = scan(noise=1)
PRIOR_VOLUME = scan(BREATH, SHIFT, noise=2)
CURRENT = reading(finding(STAYS, 9, "a"), finding(GROWS, 14, "b"), finding(COMES, 11, "c"))


def in_prior(place: Point) -> Point:
    """Where a place of the current scan lies in the prior."""
    return tuple(moved_by([place], BREATH, SHIFT)[0])


EARLIER = reading(
    finding(in_prior(STAYS), 9.2, "A"), finding(in_prior(GROWS), 10, "B"), finding(in_prior(GOES), 12, "D")
)
PRIOR = Prior("1.9", "20240101", EARLIER, lambda: PRIOR_VOLUME)
