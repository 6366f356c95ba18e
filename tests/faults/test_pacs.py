"""A PACS that is away, or moody, has every result in the end."""

from tests.faults.pacs import moods, outage


def test_after_hours_away_everything_is_delivered_once_and_was_seen_to_wait(database_url, tmp_path):
    outcome = outage(objects=12, hours=4, folder=tmp_path, url=database_url)
    assert outcome.is_well, outcome
    assert outcome.stored == outcome.seen_waiting == 12
    assert 5 <= outcome.attempts <= 15  # of 30 s, doubled up to an hour


def test_a_pacs_that_is_slow_full_rejects_or_hangs_up_gets_everything(database_url, tmp_path):
    outcome = moods(objects=30, moody=12, folder=tmp_path, url=database_url, seed=5)
    assert outcome.is_well, outcome
    assert len(outcome.moods) >= 4
