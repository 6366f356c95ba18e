"""What was found of one part of a node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """One part looked at: ``detail`` says what was found, ``hint`` how to mend it, if anything is to be."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
