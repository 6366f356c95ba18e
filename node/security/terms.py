"""How long what a PEM file has others trusted by is in force: certificates (RFC 5280 4.1.2.5) and revocation
lists (5.1.2.4, 5.1.2.5)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Kind = Literal["trusted certificate", "revocation list"]

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----")
_KINDS: dict[str, Kind] = {
    "CERTIFICATE": "trusted certificate",
    "X509 CERTIFICATE": "trusted certificate",
    "TRUSTED CERTIFICATE": "trusted certificate",
    "X509 CRL": "revocation list",
}
_INTEGER, _UTC_TIME, _GENERALIZED_TIME, _EXPLICIT = 0x02, 0x17, 0x18, 0xA0  # tags
_FOR_EVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Term:
    """``of``: whose certificate it is, or whose list, by the last part of its name. ``ends`` may be the end
    of time: a list need not say."""

    kind: Kind
    of: str
    begins: datetime
    ends: datetime


def terms_in(pem: bytes, at: datetime) -> tuple[Term, ...]:
    """Of everything in a file its term. Where there are several of one kind and name, one that has begun by
    then is told of, the last to end.

    Raises:
        ValueError: something in it is not what it is said to be.
    """
    best: dict[tuple[str, bytes], Term] = {}
    for label, text in _BLOCK.findall(pem.decode("ascii", "replace")):
        if (kind := _KINDS.get(label)) is None:
            continue
        name, begins, ends = (_of_list if kind == "revocation list" else _of_certificate)(_told(text))
        term = Term(kind, _last_part(name), begins, ends)
        known = best.setdefault((kind, name), term)
        if (term.begins <= at, term.ends) > (known.begins <= at, known.ends):
            best[kind, name] = term
    return tuple(best.values())


def _told(text: str) -> list[tuple[int, bytes]]:
    """What is signed."""
    (_, whole), *_ = _elements(base64.b64decode(text))
    (_, signed), *_ = _elements(whole)
    first, *rest = _elements(signed)
    return [first, *rest]


def _of_certificate(told: list[tuple[int, bytes]]) -> tuple[bytes, datetime, datetime]:
    """Its subject, and from when until when."""
    if told[0][0] == _EXPLICIT:  # its version
        del told[0]
    _serial, _algorithm, _issuer, (_, validity), (_, subject) = told[:5]
    begins, ends = _elements(validity)
    return subject, _moment(*begins), _moment(*ends)


def _of_list(told: list[tuple[int, bytes]]) -> tuple[bytes, datetime, datetime]:
    """Its issuer, and from when until when."""
    if told[0][0] == _INTEGER:  # its version
        del told[0]
    _algorithm, (_, issuer), begins = told[:3]
    says_when = len(told) > 3 and told[3][0] in (_UTC_TIME, _GENERALIZED_TIME)
    return issuer, _moment(*begins), _moment(*told[3]) if says_when else _FOR_EVER


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each, one after another (X.690 8.1)."""
    at = 0
    while at < len(der):
        if len(der) < at + 2:
            raise ValueError("it ends within an element")
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        if len(der) < at + length:
            raise ValueError("it ends within an element")
        yield tag, der[at : at + length]
        at += length


def _moment(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # a year of two digits is from 1950 to 2049 (RFC 5280 4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _last_part(name: bytes) -> str:
    """The last of a name's values, which is the common name as a rule."""
    value = b""
    for _, attributes in _elements(name):
        for _, pair in _elements(attributes):
            *_, (_, value) = _elements(pair)
    return value.decode("utf-8", "replace")
