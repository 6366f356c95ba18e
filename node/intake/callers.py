"""Who may send: AE titles, each optionally tied to an address or a network."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network


def is_allowed(allowed: Iterable[str], ae_title: str, address: str) -> bool:
    """Whether ``ae_title`` calling from ``address`` is among ``allowed``: ``CT1``, ``CT1@10.0.0.5``,
    ``CT1@10.0.0.0/24``, ``*@10.0.0.0/24``, or ``*`` for anyone."""
    for caller in allowed:
        title, _, place = caller.partition("@")
        if title in ("*", ae_title) and (not place or _is_at(address, place)):
            return True
    return False


def _is_at(address: str, place: str) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found) in ip_network(place, strict=False)
    except ValueError:
        return address == place
