"""Asks the running node at its status page, as its settings say: for a container's health check, and to tell
our own port from one that another program has taken."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from node.settings import WebSettings
from node.wire.listening import page_at

SECONDS = 5


class NotAliveError(RuntimeError):
    """No node answers."""


def check_alive(settings: WebSettings) -> None:
    """
    Raises:
        NotAliveError: none answers at the address of the status page.
    """
    if not answer(settings, "/api/alive").get("alive"):
        raise NotAliveError(f"no node answers at {address(settings)}; the log of `overread serve` says why.")


def address(settings: WebSettings) -> str:
    return page_at(settings.host, settings.port, settings.tls.certificate is not None)


def answer(settings: WebSettings, path: str) -> dict[str, Any]:
    """What the node says at ``path``; empty where nobody answers in JSON."""
    connection = (
        HTTPSConnection(settings.host, settings.port, timeout=SECONDS, context=_any_certificate())
        if settings.tls.certificate
        else HTTPConnection(settings.host, settings.port, timeout=SECONDS)
    )
    try:
        connection.request("GET", path)
        said = json.load(connection.getresponse())
    except (OSError, HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return said if isinstance(said, dict) else {}


def _any_certificate() -> ssl.SSLContext:
    """To ask who listens; nothing is told."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
