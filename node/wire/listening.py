"""Listening at an address of this machine, how that is called, and whose connection it is: in IPv4 and IPv6
alike."""

from __future__ import annotations

import socket
from ipaddress import ip_address


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """``::`` is every address of the machine, those of IPv4 too.

    Raises:
        OSError: it cannot be listened on; gaierror where ``host`` is no known name.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    is_every = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
    return socket.create_server(address, family=family, backlog=backlog, dualstack_ipv6=is_every)


def plain_address(address: str) -> str:
    """``10.0.0.5`` also where it came as ``::ffff:10.0.0.5``, as to who listens at ``::`` (RFC 4291 2.5.5.2).
    What is no address stays what it is."""
    try:
        mapped = getattr(ip_address(address), "ipv4_mapped", None)
    except ValueError:
        return address
    return address if mapped is None else str(mapped)


def page_at(host: str, port: int, is_secure: bool) -> str:
    """The URL that a browser is given; an address of IPv6 stands in brackets there (RFC 3986 3.2.2)."""
    named = f"[{host}]" if ":" in host else host
    return f"{'https' if is_secure else 'http'}://{named}:{port}/"
