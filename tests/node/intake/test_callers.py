"""A caller is let in from where it is listed, however its address is written, and from nowhere else."""

from __future__ import annotations

import pytest

from node.intake.callers import Caller, is_allowed
from node.settings.security import AllowedCaller


@pytest.mark.parametrize(
    ("address", "place", "fits"),
    [
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5", "10.0.0.0/24", True),
        ("10.0.1.5", "10.0.0.0/24", False),
        ("::ffff:10.0.0.5", "10.0.0.0/24", True),
        ("::ffff:10.0.0.5", "::ffff:10.0.0.5", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("2001:db8::1", "10.0.0.0/24", False),
        ("unknown", "10.0.0.5", False),
    ],
)
def test_an_address_is_where_it_is_however_it_is_written(address: str, place: str, fits: bool) -> None:
    allowed = [AllowedCaller(ae_title="CT1", address=place)]
    assert is_allowed(allowed, Caller("CT1", address)) is fits
    assert not is_allowed(allowed, Caller("CT2", address))


def test_what_is_no_address_is_nowhere() -> None:
    unchecked = AllowedCaller.model_construct(ae_title="*", address="peer", certificate="")
    assert not is_allowed([unchecked], Caller("CT1", "peer"))
