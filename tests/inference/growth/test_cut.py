"""Lesions at the end of a scan: they stay themselves, but a cut size tells no change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.findings import Finding
from inference.growth import partners
from inference.growth.align import Alignment
from inference.growth.changes import Prior
from inference.growth.compare import compare
from inference.measure import measure
from inference.volume import Volume
from tests.inference.growth.chest import NODULE, STEP_MM, drawn_on, finding, reading, scan

PLACE, MM = (50.0, 0.0, 20.0), 14.0
WHOLE = scan(spheres={PLACE: MM})
_MIDDLE = round(float(WHOLE.to_index(PLACE)[0]))
FROM_ABOVE_ITS_MIDDLE = scan(spheres={PLACE: MM}, slices=slice(_MIDDLE + 1, None))
FROM_BELOW_IT = scan(spheres={PLACE: MM}, slices=slice(_MIDDLE - round(MM / STEP_MM), None))


@pytest.fixture(autouse=True)
def _scans_lie_as_they_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        partners,
        "align_anatomies",
        lambda current, prior: Alignment(
            current, prior, np.eye(4), np.zeros((*current.hu.shape, 3), np.float32), None, True, ""
        ),
    )


def _found(volume: Volume, uid: str) -> Finding:
    mask = drawn_on(volume, PLACE, MM)
    return replace(measure(mask, volume).finding("Nodule", NODULE, 0.9, mask).tracked_as(uid), kind="solid")


@pytest.mark.parametrize(
    ("now", "then"), [(WHOLE, FROM_ABOVE_ITS_MIDDLE), (FROM_ABOVE_ITS_MIDDLE, WHOLE)], ids=["then", "now"]
)
def test_a_nodule_that_the_end_of_a_scan_cuts_has_neither_grown_nor_shrunk(now: Volume, then: Volume) -> None:
    prior = Prior("1.9", "20230701", reading(_found(then, "before")), lambda: then)
    compared = compare(reading(_found(now, "now")), now, [prior], date="20240701").reading
    (nodule,) = compared.findings
    assert nodule.tracking_uid == "before"
    assert nodule.change is None
    assert not any("growth" in each.result or "doubling" in each.words for each in nodule.assessments)
    assert compared.response is None
    assert compared.resolved == ()
    assert "change of 1 lesion is not judged" in " ".join(compared.comparison_notes)


def test_a_prior_that_was_kept_before_readings_told_what_is_cut_is_cut_all_the_same() -> None:
    untold = replace(_found(FROM_ABOVE_ITS_MIDDLE, "before"), cut=False)
    prior = Prior("1.9", "20230701", reading(untold), lambda: FROM_ABOVE_ITS_MIDDLE)
    (nodule,) = compare(reading(_found(WHOLE, "now")), WHOLE, [prior], date="20240701").reading.findings
    assert (nodule.tracking_uid, nodule.change) == ("before", None)


def test_growth_is_told_since_the_newest_prior_that_shows_the_lesion_whole() -> None:
    small = finding(PLACE, 8.0, "before")
    priors = [
        Prior(
            "1.9", "20230701", reading(_found(FROM_ABOVE_ITS_MIDDLE, "before")), lambda: FROM_ABOVE_ITS_MIDDLE
        ),
        Prior("1.8", "20220701", reading(small), lambda: WHOLE),
        Prior("1.7", "20210701", reading(finding(PLACE, 11.0, "before")), lambda: WHOLE),
    ]
    compared = compare(reading(_found(WHOLE, "now")), WHOLE, priors, date="20240701")
    change = compared.reading.findings[0].change
    assert change is not None
    assert (change.prior_study_uid, change.prior_date, change.days) == ("1.8", "20220701", 731)
    assert (change.category, change.prior_volume_mm3) == ("increased", small.volume_mm3)
    assert compared.reference is not None
    assert compared.reference.study_uid == "1.9"
    assert compared.reading.comparison_notes == ()
    assert compared.reading.response is not None
    assert compared.reading.response.result == "PD"
    cut_now = compare(
        reading(_found(FROM_ABOVE_ITS_MIDDLE, "now")), FROM_ABOVE_ITS_MIDDLE, priors, date="20240701"
    )
    assert cut_now.reading.findings[0].change is None


def test_one_that_the_end_of_a_scan_leaves_whole_is_judged() -> None:
    prior = Prior("1.9", "20230701", reading(_found(FROM_BELOW_IT, "before")), lambda: FROM_BELOW_IT)
    compared = compare(reading(_found(WHOLE, "now")), WHOLE, [prior], date="20240701").reading
    change = compared.findings[0].change
    assert change is not None
    assert change.category == "stable"
    assert compared.response is not None
    assert compared.comparison_notes == ()


def test_a_lesion_of_which_one_part_is_cut_is_not_judged_by_the_others() -> None:
    halves = finding((45.0, 0.0, 20.0), 9, "a"), replace(finding((55.0, 0.0, 20.0), 7, "b"), cut=True)
    prior = Prior("1.9", "20230701", reading(finding(PLACE, MM, "before")), lambda: WHOLE)
    compared = compare(reading(*halves), WHOLE, [prior], date="20240701").reading
    assert [each.change for each in compared.findings] == [None, None]
    assert compared.response is None


@pytest.mark.parametrize(("cut", "category"), [(False, "4B"), (True, "3")])
def test_growth_since_an_older_scan_is_not_told_by_a_nodule_it_cut(cut: bool, category: str) -> None:
    oldest = replace(finding(PLACE, 7.0, "A"), cut=cut)
    priors = [
        Prior("1.2", "20230701", reading(finding(PLACE, 8.4, "A")), lambda: WHOLE),
        Prior("1.1", "20220701", reading(oldest), lambda: WHOLE),
    ]
    (nodule,) = compare(reading(finding(PLACE, 9.8, "a")), WHOLE, priors, date="20240701").reading.findings
    assert {each.guideline: each.result for each in nodule.assessments}["Lung-RADS 2022"] == category
