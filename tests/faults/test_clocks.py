"""A node whose clock jumps by hours and days delivers each study once and deletes nothing before its time."""

import pytest

from tests.faults.clocks import run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.needs("Orthanc", "cc")
def test_a_clock_that_jumps_loses_nothing_and_delivers_everything_once(database_url, tmp_path):
    outcome = run(studies=2, jumps=12, seed=3, folder=tmp_path, url=database_url)
    assert outcome.states == {"delivered": 2}
    assert outcome.complete == 2
    assert outcome.doubled == 0
    assert outcome.lost == 0 < outcome.images
