"""Who may send: AE titles, each optionally tied to an address or a network, and to a certificate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from node.security.tls import PeerCertificate
from node.settings.security import AllowedCaller


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
        one.ae_title in ("*", caller.ae_title)
        and (not one.address or _is_at(caller.address, one.address))
        and (not one.certificate or _shows(caller.certificate, one.certificate))
        for one in allowed
    )


def _shows(certificate: PeerCertificate | None, wanted: str) -> bool:
    return certificate is not None and certificate.is_as(wanted)


def _is_at(address: str, place: str) -> bool:
    """Whether an address, IPv4 also where it is written as IPv6 (RFC 4291 2.5.5.2), is ``place`` or in it.
    What is no address is nowhere."""
    try:
        found, network = ip_address(address), ip_network(place, strict=False)
    except ValueError:
        return False
    return any(form in network for form in (found, getattr(found, "ipv4_mapped", None)) if form)
