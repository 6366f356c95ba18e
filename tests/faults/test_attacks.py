"""What strangers try is refused and written down, and who is known is served all the while."""

import os
from collections import Counter

import pytest

from tests.faults import attacks
from tests.faults.attacks import AttackerLostError, Attackers, cost, withstand
from tests.faults.strangers import Target


def test_attacks_are_refused_and_recorded_and_the_known_sender_is_served(database_url, tmp_path):
    outcome = withstand(attempts=3, folder=tmp_path, url=database_url)
    assert outcome.attempts == 24
    assert outcome.let_in == []
    assert outcome.unrecorded == []
    assert outcome.is_served


def test_an_attack_that_cannot_begin_is_named(tmp_path):
    nobody = Target(tmp_path, 1, 1, os.getpid())
    with (
        pytest.raises(AttackerLostError, match="'expired certificate' has ended by itself"),
        Attackers(["expired certificate"], nobody),
    ):
        pass


def test_an_attack_that_takes_too_long_to_begin_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(attacks, "SECONDS_TO_START", 0.0)
    nobody = Target(tmp_path, 1, 1, os.getpid())
    with (
        pytest.raises(AttackerLostError, match="'unlisted caller' is not ready after 0 seconds"),
        Attackers(["unlisted caller"], nobody),
    ):
        pass


def test_an_attack_that_ends_too_early_is_not_waited_for(tmp_path, free_port):
    name = "1,000 wrong passwords"
    nobody = Target(tmp_path, free_port, free_port, os.getpid())
    with (
        pytest.raises(AttackerLostError, match=f"'{name}' has ended by itself"),
        Attackers([name], nobody) as attackers,
    ):
        cost(attackers, nobody, {name: Counter()})
