"""Inputs changed at random are answered, refused with a reason, and harm nobody."""

from tests.faults.fuzz import run


def test_no_input_takes_the_receiver_down_or_goes_without_a_reason(databases, tmp_path):
    outcome = run(inputs=1500, seed=11, folder=tmp_path, databases=databases)
    assert outcome.is_well, outcome
    assert outcome.inputs == 1500
    assert outcome.answers["0x0000"] > 50
    assert len(outcome.reasons) > 10
