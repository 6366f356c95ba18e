"""What strangers try is refused and written down, and who is known is served all the while."""

from tests.faults.attacks import withstand


def test_attacks_are_refused_and_recorded_and_the_known_sender_is_served(database_url, tmp_path):
    outcome = withstand(attempts=3, folder=tmp_path, url=database_url)
    assert outcome.attempts == 24
    assert outcome.let_in == []
    assert outcome.unrecorded == []
    assert outcome.is_served
