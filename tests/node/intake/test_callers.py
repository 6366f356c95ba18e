"""A caller is let in from where it is listed, however its address is written, and from nowhere else."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Callable
from dataclasses import replace

import pytest

from node.intake.callers import Caller, how_to_allow, is_allowed
from node.security.tls import PeerCertificate
from node.settings.security import AllowedCaller
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import ASSOCIATE_AC, ASSOCIATE_RJ, RawSender


@pytest.mark.parametrize(
    ("address", "place", "fits"),
    [
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5", "10.0.0.0/24", True),
        ("10.0.1.5", "10.0.0.0/24", False),
        ("::ffff:10.0.0.5", "10.0.0.0/24", True),
        ("::ffff:10.0.0.5", "::ffff:10.0.0.5", True),
        ("10.0.0.5", "::ffff:10.0.0.5", True),
        ("10.0.1.5", "::ffff:10.0.0.0/120", False),
        ("fe80::1%eth0", "fe80::/10", True),
        ("2001:db8::1", "10.0.0.0/24", False),
        ("unknown", "10.0.0.5", False),
    ],
)
def test_an_address_is_where_it_is_however_it_is_written(address: str, place: str, fits: bool) -> None:
    allowed = [AllowedCaller(ae_title="CT1", address=place)]
    assert is_allowed(allowed, Caller("CT1", address)) is fits
    assert not is_allowed(allowed, Caller("CT2", address))


def test_who_comes_by_ipv4_to_a_node_on_every_address_is_known_by_that(
    start_intake: Callable[..., Intake], transport: str
) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    intake = start_intake(transport, host="::", allowed_callers=["CT1@127.0.0.1"])
    socket.create_connection(("::1", intake.port), 5).close()
    with RawSender(intake.port) as known, RawSender(intake.port) as stranger:
        assert known.associate(caller="CT1") == ASSOCIATE_AC
        assert stranger.associate(caller="CT2") == ASSOCIATE_RJ
    (refusal,) = intake.refusals()
    assert (refusal.caller, refusal.address) == ("CT2", "127.0.0.1")
    assert '"CT2@127.0.0.1"' in refusal.reason


def test_what_is_no_address_is_nowhere() -> None:
    unchecked = AllowedCaller.model_construct(ae_title="*", address="peer", certificate="")
    assert not is_allowed([unchecked], Caller("CT1", "peer"))


@pytest.mark.parametrize("title", ["CT9", 'CT"2', "CT 2"])
def test_a_stranger_is_let_in_by_the_entry_that_is_advised(title: str) -> None:
    stranger = Caller(title, "10.0.0.9")
    advice = how_to_allow([AllowedCaller(ae_title="CT1")], stranger)
    text = advice.removeprefix("If it may send, add ").removesuffix(" there and restart the node")
    named = AllowedCaller.model_validate(tomllib.loads(f"entry = {text}")["entry"])
    assert is_allowed([named], stranger)
    assert (named.ae_title, named.address) == (title, "10.0.0.9")


@pytest.mark.parametrize("title", ["*", "CT@2", "", "CT\\2", "CT@10.0.0.0/8"])
def test_no_entry_is_advised_that_the_settings_refuse_or_that_lets_everybody_in(title: str) -> None:
    advice = how_to_allow([AllowedCaller(ae_title="CT1")], Caller(title, "10.0.0.9"))
    assert advice.endswith("if it may send, give it another AE title first")


@pytest.mark.parametrize("title", ["CT1", "*"])
def test_who_has_to_show_a_certificate_is_never_advised_to_come_without(title: str) -> None:
    allowed = [AllowedCaller(ae_title=title, address="10.0.0.0/24", certificate="CN=ct1")]
    shown = PeerCertificate((("CN", "ct2"),), "ab" * 32)
    for caller, said in (
        (Caller("CT1", "10.0.0.9", shown), "It showed another certificate than is"),
        (Caller("CT1", "10.0.0.9"), "It showed no certificate, and one is"),
        (Caller("CT1", "10.9.9.9", shown), "It is expected from another address than 10.9.9.9"),
    ):
        advice = how_to_allow(allowed, caller)
        assert advice.startswith(said)
        assert "add" not in advice.replace("address", "")


SUBJECT = (("organizationName", "Müller, Röntgen"), ("commonName", 'ct"9'))


@pytest.mark.parametrize("others", ["CT1", "*"])
@pytest.mark.parametrize("subject", [SUBJECT, (), (*SUBJECT, ("1.2.3.4", "unnamed"))])
def test_a_stranger_where_others_show_certificates_is_let_in_by_its_own_alone(
    others: str, subject: tuple[tuple[str, str], ...]
) -> None:
    allowed = [
        AllowedCaller(ae_title="CT1", certificate="CN=ct1"),
        AllowedCaller(ae_title=others, address="::1"),
    ]
    stranger = Caller("CT9", "10.0.0.9", PeerCertificate(subject, "ab" * 32))
    advice = how_to_allow(allowed, stranger)
    text = advice.partition("If it may send, add ")[2].removesuffix(" there and restart the node")
    named = AllowedCaller.model_validate(tomllib.loads(f"entry = {text}")["entry"])
    assert is_allowed([named], stranger)
    another = PeerCertificate((("commonName", "ct8"),), "cd" * 32)
    assert not is_allowed([named], replace(stranger, certificate=another))
    without = how_to_allow(allowed, replace(stranger, certificate=None))
    assert without == "It showed no certificate, as others there have to: if it may send, give it one first"


def test_who_calls_from_elsewhere_is_said_to() -> None:
    advice = how_to_allow([AllowedCaller(ae_title="CT1", address="10.0.0.5")], Caller("CT1", "10.0.0.9"))
    assert advice == (
        'It is expected from another address. If it may send, add "CT1@10.0.0.9" there and restart the node'
    )
