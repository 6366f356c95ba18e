"""What counts as new and as resolved of a patient whose lesions' courses are known."""

import numpy as np

from inference.findings import Mask
from inference.growth.changes import Prior
from inference.growth.compare import compare
from tests.inference.growth.chest import finding, reading, scan
from training.growth.followed import told_of
from training.growth.patients import Truth, Visit
from training.phantoms.nodules import Nodule

CUT, GONE, COMES = (50.0, 0.0, 20.0), (60.0, 15.0, -10.0), (-50.0, -20.0, 40.0)
MASK = Mask((0, 0, 0), np.ones((1, 1, 1), bool))
THEN, NOW = scan(noise=1), scan(noise=2, shift_mm=(1.0, 0.0, 0.0))


class _Still:
    to_scan = to_reference = staticmethod(np.atleast_2d)


def _visit(volume, shown, there):
    truths = tuple(Truth(n, center, 500.0, 10.0, "solid", MASK) for n, center in shown.items())
    return Visit("", volume, _Still(), truths, {n: Nodule(center, 10.0) for n, center in there.items()})


def test_a_lesion_the_border_cuts_is_neither_new_nor_resolved():
    before = reading(finding(CUT, 10, "0"), finding(GONE, 10, "1"))
    visits = [
        _visit(THEN, {0: CUT, 1: GONE}, {0: CUT, 1: GONE, 3: (0.0, 0.0, 90.0)}),
        _visit(NOW, {2: COMES, 3: (0.0, 0.0, 90.0)}, {0: CUT, 2: COMES, 3: (0.0, 0.0, 90.0)}),
    ]
    found = compare(
        reading(finding(COMES, 10, "c"), finding(CUT, 4, "d"), finding((-60.0, 5.0, 0.0), 6, "e")),
        NOW,
        [Prior(THEN.series_uid, "20240101", before, lambda: THEN)],
        date="20240701",
    )
    told = told_of(1, visits, [{"0": 0, "1": 1}], found, {2}, "1.1", 0.0)
    assert [(each.fate, each.mm, each.read, each.right) for each in told.alone] == [
        ("new", 10.0, True, True),
        ("resolved", 10.0, True, True),
    ]
    assert told.strange == 1
