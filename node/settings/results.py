"""What a site wants said in its result objects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from node.settings.fields import Section, limits

Udi = Annotated[
    str,
    Field(
        pattern=r"^[\x21-\x7e]{0,128}$",
        json_schema_extra=limits('as on the label, such as "(01)00844588003288(21)1234", without spaces'),
    ),
]


Guideline = Literal["fleischner", "lung-rads", "bts", "nelson"]


class ResultsSettings(Section):
    """Result objects."""

    udi: Udi = ""
    """The Unique Device Identifier of this installation, where it has one; every result carries it."""
    not_processed: bool = False
    """Where a study was not read, send a report that says so and why; else nothing is sent."""
    guidelines: tuple[Guideline, ...] = ("fleischner", "lung-rads", "bts", "nelson")
    """Whose classes lung nodules are told by: "fleischner" is for nodules found by chance, "lung-rads" and
    "nelson" are for screening, "bts" is for both. None where the list is empty."""
