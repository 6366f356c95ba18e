"""A node that is killed at random moments still delivers every study, once."""

import pytest

from tests.faults.kills import run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.needs("Orthanc")
def test_kills_at_random_moments_leave_one_set_of_results_for_each_study(database_url, tmp_path):
    outcome = run(studies=4, kills=5, seed=7, folder=tmp_path, url=database_url)
    assert outcome.states == {"delivered": 4}
    assert outcome.complete == 4
    assert outcome.doubled == 0
    assert outcome.lost == 0 < outcome.images
