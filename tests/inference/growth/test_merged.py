"""Lesions of a prior that are one by now, or one that has split: all are set against all, axes and volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inference.anatomy import observe
from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Point, Reading
from inference.growth.align import Alignment, align_anatomies
from inference.growth.changes import Prior
from inference.growth.compare import chain, compare
from inference.measure import measure
from inference.resample import union
from tests.inference.growth.chest import NODULE, drawn_on, reading, scan

ONE, OTHER = (50.0, 0.0, 20.0), (60.0, 0.0, 20.0)
CATALOGUE = Catalogue()
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


@pytest.fixture(scope="module")
def _aligned() -> Alignment:
    return align_anatomies(observe(VOLUME), observe(VOLUME))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, _aligned: Alignment) -> list[list[float]]:
    """The volumes that each forecast rests on; all scans below are one and the same."""
    volumes: list[list[float]] = []
    monkeypatch.setattr("inference.growth.partners.align_anatomies", lambda *_: _aligned)
    monkeypatch.setattr(
        "inference.growth.compare.forecast",
        lambda points, *_: volumes.append([point.volume_mm3 for point in points]),
    )
    return volumes


def _drawn(places: Sequence[Point], uids: str, diameter_mm: float = 6.5, *, as_one: bool = False) -> Reading:
    masks = [drawn_on(VOLUME, place, diameter_mm) for place in places]
    masks = [union(masks)] if as_one else masks
    found = [measure(mask, VOLUME).finding("Nodule", NODULE, 0.9, mask) for mask in masks]
    return reading(
        *(replace(each, kind="solid", tracking_uid=uid) for each, uid in zip(found, uids, strict=True))
    )


def _followed(*studies: tuple[str, Reading]) -> list[Reading]:
    priors = [Prior(f"1.{date}", date, seen, lambda: VOLUME) for date, seen in studies]
    engine = EmbeddedEngine(CATALOGUE)
    return [each.reading for each in chain(priors, engine, CATALOGUE, look=lambda *_: None)]


def test_what_has_merged_is_held_to_no_single_part_in_older_scans_then_and_later(
    known: list[list[float]],
) -> None:
    places = ONE, (56.0, 0.0, 20.0)
    apart, whole = (lambda uids: _drawn(places, uids)), (lambda uid: _drawn(places, uid, as_one=True))
    *_, merged, later = _followed(
        ("20230601", apart("AB")),
        ("20231001", apart("ab")),
        ("20240301", whole("m")),
        ("20240701", whole("n")),
    )
    one = merged.findings[0].volume_mm3
    assert known[-2:] == [[one], [one, one]]
    for seen in (merged, later):
        said = {each.guideline: each for each in seen.findings[0].assessments}
        assert said["Lung-RADS 2022"].statement == "Solid, 9.3 mm, stable, category 3 before: category 3."


def test_what_has_split_is_held_to_the_prior_by_all_its_parts_axes_too(known: list[list[float]]) -> None:
    places = (47.0, 0.0, 20.0), (57.0, 0.0, 20.0)
    whole, parts = _drawn(places, "A", 9.0, as_one=True), _drawn(places, "pq", 9.0)
    _, split, _ = _followed(("20230601", whole), ("20231001", parts), ("20240301", parts))
    now = next(each for each in split.findings if each.change is not None)
    said = {each.guideline: each for each in now.assessments}
    assert said["Fleischner 2017"].result == "no growth"
    assert ", stable, category 4A before: category 3" in said["Lung-RADS 2022"].statement
    assert known[0] == [now.volume_mm3]
    assert len(known) == 3 and all(len(points) == 2 for points in known[1:])
