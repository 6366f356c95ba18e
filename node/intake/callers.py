"""Who may send: AE titles, each optionally tied to an address or a network, and to a certificate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import tomlkit
from pydantic import ValidationError

from node.security.tls import PeerCertificate
from node.settings.security import AllowedCaller
from node.wire.listening import plain_address


@dataclass(frozen=True)
class Caller:
    """What a sender calls itself, where it calls from, and the certificate it showed."""

    ae_title: str
    address: str
    certificate: PeerCertificate | None = None

    def __str__(self) -> str:
        shown = f" ({self.certificate.subject})" if self.certificate else ""
        return f"{self.ae_title}@{self.address}{shown}"


def is_allowed(allowed: Iterable[AllowedCaller], caller: Caller) -> bool:
    """Whether ``caller`` fits one of ``allowed`` in AE title, address and certificate."""
    return any(
        _calls_from(one, caller) and (not one.certificate or _shows(caller.certificate, one.certificate))
        for one in _of_its_title(allowed, caller)
    )


def how_to_allow(allowed: Sequence[AllowedCaller], caller: Caller) -> str:
    """What lets a caller in that does not fit ``allowed``, if it may send; never an entry that asks less of
    its title than what is there, nor of a title that is not there less than of the strictest."""
    known = _of_its_title(allowed, caller)
    if any(one.certificate for one in known):
        if any(_calls_from(one, caller) for one in known):
            if caller.certificate:
                return "It showed another certificate than is asked for there"
            return "It showed no certificate, and one is asked for there"
        return f"It is expected from another address than {caller.address}"
    if not (entry := _entry(caller)):
        return "No entry there can name what it calls itself: if it may send, give it another AE title first"
    if not any(one.ae_title == caller.ae_title for one in known) and any(one.certificate for one in allowed):
        if not caller.certificate:
            return "It showed no certificate, as others there have to: if it may send, give it one first"
        entry = _with_certificate(entry, caller.certificate)
    elsewhere = "It is expected from another address. " if known else ""
    return f"{elsewhere}If it may send, add {_toml(entry)} there and restart the node"


def _of_its_title(allowed: Iterable[AllowedCaller], caller: Caller) -> Sequence[AllowedCaller]:
    return [one for one in allowed if one.ae_title in ("*", caller.ae_title)]


def _calls_from(one: AllowedCaller, caller: Caller) -> bool:
    return not one.address or _is_at(caller.address, one.address)


def _entry(caller: Caller) -> AllowedCaller | None:
    """What names ``caller`` by title and address, and nobody else; None where nothing does."""
    try:
        named = AllowedCaller.model_validate(f"{caller.ae_title}@{caller.address}")
    except ValidationError:
        return None
    return None if named.ae_title == "*" else named


def _with_certificate(entry: AllowedCaller, shown: PeerCertificate) -> AllowedCaller:
    """By its subject, which the next certificate has too; by its fingerprint where that cannot be written."""
    fingerprint = f"sha256:{shown.fingerprint}"
    try:
        return AllowedCaller.model_validate(
            entry.model_dump() | {"certificate": shown.subject or fingerprint}
        )
    except ValidationError:
        return entry.model_copy(update={"certificate": fingerprint})


def _toml(entry: AllowedCaller) -> str:
    if entry.text is not None:
        return tomlkit.item(entry.text).as_string()
    table = tomlkit.inline_table()
    table.update(entry.model_dump())
    return table.as_string()


def _shows(certificate: PeerCertificate | None, wanted: str) -> bool:
    return certificate is not None and certificate.is_as(wanted)


def _is_at(address: str, place: str) -> bool:
    """Whether an address, IPv4 also where either is written as IPv6 (RFC 4291 2.5.5.2), is ``place`` or in
    it. What is no address is nowhere."""
    try:
        found, network = ip_address(plain_address(address)), ip_network(place, strict=False)
    except ValueError:
        return False
    return found in network or (found.version == 4 and ip_address(f"::ffff:{found}") in network)
