"""Lesions of a prior that are one by now: the one is set against all of them, axes and volume alike."""

from __future__ import annotations

import pytest

from inference.growth.compare import Prior, compare
from inference.measure import measure
from inference.resample import union
from tests.inference.growth.chest import NODULE, drawn_on, reading, scan

ONE, OTHER = (50.0, 0.0, 20.0), (60.0, 0.0, 20.0)
VOLUME, PRIOR_VOLUME = scan(noise=1), scan(noise=2)


def test_two_nodules_that_touch_now_have_not_grown() -> None:
    masks = [drawn_on(PRIOR_VOLUME, place, 12) for place in (ONE, OTHER)]
    before = [
        measure(mask, PRIOR_VOLUME).finding("Nodule", NODULE, 0.9, mask).tracked_as(uid)
        for mask, uid in zip(masks, "AB", strict=True)
    ]
    now = measure(union(masks), VOLUME).finding("Nodule", NODULE, 0.9, union(masks))
    prior = Prior("1.9", "20240101", reading(*before), lambda: PRIOR_VOLUME)
    compared = compare(reading(now), VOLUME, [prior], date="20240701").reading
    (merged,) = compared.findings
    assert merged.change is not None
    assert merged.change.category == "stable"
    assert merged.change.prior_volume_mm3 == pytest.approx(sum(each.volume_mm3 for each in before))
    assert merged.change.prior_long_axis_mm == pytest.approx(now.long_axis_mm)
    assert merged.change.prior_short_axis_mm == pytest.approx(now.short_axis_mm)
    said = {each.guideline: each for each in merged.assessments}
    assert said["Fleischner 2017"].result == "no growth"
    assert ", stable: category" in said["Lung-RADS 2022"].statement
