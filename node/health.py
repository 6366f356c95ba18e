"""Is everything this node stands on up? One probe for each part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """One part looked at: ``detail`` says what was found, ``hint`` how to mend it (empty when ``ok``)."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
