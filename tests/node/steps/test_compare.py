"""A study that is read anew is compared: no two of its lesions have one tracking UID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.findings import Change, Reading
from inference.growth.changes import Prior
from inference.growth.compare import Comparison
from node.priors.find import PriorSeries
from node.results.identity import tracking_uid
from node.steps import compare as step
from node.steps.compare import set_against
from node.steps.job import Job, keep_reading
from storage.database import Database
from tests.node.results.phantoms import Case, phantom
from tests.node.steps.bright_spots import room_in

SERIES = PriorSeries("1.2", "20240101", "1.2.3", "a" * 64)
CHANGE = Change("1.2", "20240101", 366, "stable", 0.0, None, False, 0.9)


def known(case: Case) -> Reading:
    """Two lesions, the first under the tracking UID of the prior's, as an earlier reading linked it."""
    first, second = case.reading.findings
    return replace(case.reading, findings=(first.tracked_as("1.2.99"), second))


def linking(reading: Reading, _: object, priors: Sequence[Prior], *__: Any, date: str) -> Comparison:
    """The second lesion is the prior's, and the first is new."""
    first, second = reading.findings
    new = first.tracked_as(first.tracking_uid, replace(CHANGE, category="new"))
    same = second.tracked_as(priors[0].reading.findings[0].tracking_uid, CHANGE)
    return Comparison(replace(reading, findings=(new, same)))


def resolving(reading: Reading, _: object, priors: Sequence[Prior], *__: Any, date: str) -> Comparison:
    """Nothing is said of either lesion, and the prior's is gone."""
    return Comparison(replace(reading, resolved=priors[0].reading.findings))


def refusing(reading: Reading, *_: Any, date: str) -> Comparison:
    return Comparison(reading)


@pytest.mark.parametrize(("compare", "keeps"), [(linking, False), (resolving, False), (refusing, True)])
def test_a_lesion_that_is_linked_no_more_leaves_its_uid_to_whom_it_is(
    compare: Any, keeps: bool, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = phantom(tmp_path / "series")
    room = room_in(tmp_path, database, monkeypatch)
    of_prior = case.reading.findings[0].tracked_as("1.2.99")
    keep_reading(room, replace(case.reading, findings=(of_prior,)), SERIES.identity)
    monkeypatch.setattr(step, "compare", compare)
    made, _ = set_against(room, Job("1.3", 1), known(case), "b" * 64, case.volume, [SERIES], "20250101")
    first, *others = made.reading.findings
    assert first.tracking_uid == ("1.2.99" if keeps else tracking_uid("b" * 64, first))
    told = [first.tracking_uid, *(f.tracking_uid for f in (*others, *made.reading.resolved))]
    assert len(set(told)) == len(told)
