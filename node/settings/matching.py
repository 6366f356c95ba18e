"""How a route's ``match`` is held against a series: DICOM keyword to value, list of values, or pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Tags = Mapping[str, tuple[str, ...]]
Match = Mapping[str, str | tuple[str, ...]]


def matches(tags: Tags, match: Match) -> bool:
    """Whether every keyword of ``match`` fits. ``tags`` holds the values of each attribute.

    A value fits when it equals one of the wanted ones, or a wanted ``~pattern`` is found in it, both without
    regard to case; an attribute with several values fits with any of them. An absent or empty attribute has
    the value ``""``.
    """
    return mismatch(tags, match) is None


def mismatch(tags: Tags, match: Match) -> str | None:
    """The first keyword that does not fit."""
    for keyword, wanted in match.items():
        values = tags.get(keyword) or ("",)
        if not any(_fits(value, one) for value in values for one in _several(wanted)):
            return keyword
    return None


def _fits(value: str, wanted: str) -> bool:
    if wanted.startswith("~"):
        return re.search(wanted[1:], value, re.IGNORECASE) is not None
    return value.casefold() == wanted.strip().casefold()


def _several(wanted: str | tuple[str, ...]) -> Iterable[str]:
    return (wanted,) if isinstance(wanted, str) else wanted
