"""The subject of a certificate as text, and back: ``CN=ct1,O=Hospital`` (RFC 4514).

What a value holds never ends it: a comma within is written ``\\,``, and so is every sign that separates.
"""

from __future__ import annotations

import re

Attribute = tuple[str, str]
"""A type by its long name, such as ``commonName``, and its value."""

SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
    "serialNumber": "SERIALNUMBER",
}
_LONG = {short: long for long, short in SHORT.items()} | {long.upper(): long for long in SHORT}
_SIGNS = ',+"\\<>;='
_PART = re.compile(r"\s*([A-Za-z]+)=((?:\\.|[^\\,])*)(,|$)", re.DOTALL)
_ESCAPED = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)


def attributes_in(text: str) -> tuple[Attribute, ...]:
    """
    Raises:
        ValueError: it is no list of parts such as ``CN=ct1``.
    """
    found, place = [], 0
    while True:
        part = _PART.match(text, place)
        if part is None or not (value := _trimmed(part[2])):
            raise ValueError(
                'is no list of parts such as CN=ct1,O=Hospital; a comma within one is written "\\,"'
            )
        found.append((_LONG.get(part[1].upper(), part[1]), _ESCAPED.sub(_meant, value)))
        place = part.end()
        if not part[3]:
            return tuple(found)


def as_text(attributes: tuple[Attribute, ...]) -> str:
    return ",".join(f"{SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in attributes)


def _trimmed(value: str) -> str:
    """Without the space around it, unless that is escaped."""
    value = value.lstrip(" ")
    bare = value.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 and len(bare) < len(value) else bare


def _meant(escaped: re.Match[str]) -> str:
    if escaped[1]:
        return bytes.fromhex(escaped[1].replace("\\", "")).decode("utf-8", "replace")
    return escaped[2]


def _escaped(value: str) -> str:
    shown = "".join(f"\\{sign}" if sign in _SIGNS else sign for sign in value)
    if shown[:1] in (" ", "#"):
        shown = "\\" + shown
    if value.endswith(" ") and len(value) > 1:
        shown = shown[:-1] + "\\ "
    return shown
