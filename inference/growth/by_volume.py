"""A nodule as BTS and NELSON assess it: by its volume and the growth of that."""

from __future__ import annotations

from collections.abc import Sequence

from inference.findings import Assessment, Change, Finding
from inference.growth import nelson
from inference.growth.judge import volume_change_percent
from inference.growth.past import Seen, first_solid, since
from inference.growth.solid import kind_of


def of_subsolid(finding: Finding) -> Assessment:
    """At first sight, by BTS."""
    size = nelson.bts_subsolid_size(finding.long_axis_mm)
    said = f"{kind_of(finding.kind).capitalize()}, largest diameter {finding.long_axis_mm:.1f} mm."
    return Assessment(nelson.BTS_NAME, size, said, nelson.BTS_MANAGEMENT[size])


def at_first_sight(finding: Finding) -> list[Assessment]:
    """At first sight, of a solid nodule."""
    size, result = nelson.bts_size(finding.volume_mm3), nelson.size_result(finding.volume_mm3)
    said = f"Solid, {finding.volume_mm3:.0f} mm3"
    return [
        Assessment(nelson.BTS_NAME, size, f"{said}.", nelson.BTS_MANAGEMENT[size]),
        _by_nelson(result, f"{said}: {result}.", nelson.SIZE_MANAGEMENT[result]),
    ]


def of_growth(volume_mm3: float, change: Change, older: Sequence[Seen]) -> list[Assessment]:
    """Of a nodule that was solid before too.

    Args:
        older: of scans before that of the change.
    """
    percent = change.volume_change_percent
    if percent is None:
        return []
    growth = nelson.bts_growth(percent, change.doubling_time_days)
    result = nelson.growth_result(percent, change.doubling_time_days)
    time = f", doubling in {change.doubling_time_days:.0f} days" if change.doubling_time_days else ""
    if percent >= nelson.GROWTH_PERCENT and change.doubling_time_days is None:
        time = (
            ", over too short or unknown a time for a doubling time"
            if change.significant
            else ", within what repeated scans differ by"
        )
    said = f"Volume {percent:+.0f} %{since(change)}{time}: {{}}."
    management = nelson.bts_management(growth, *_since_first(volume_mm3, percent, change.days, older))
    return [
        Assessment(nelson.BTS_NAME, growth, said.format(growth), management),
        _by_nelson(result, said.format(result), nelson.GROWTH_MANAGEMENT.get(result, "")),
    ]


def _since_first(
    volume_mm3: float, percent: float, days: int, older: Sequence[Seen]
) -> tuple[float, int, float | None]:
    """The change of volume in percent, the days, and the doubling time, since the first scan that shows a
    solid nodule.

    Args:
        percent, days: the same since the newest prior.
    """
    first = first_solid(older)
    if first is None:
        return percent, days, None
    doubling_time_days = first.judged.doubling_time_days if first.judged is not None else None
    return volume_change_percent(first.volume_mm3, volume_mm3), first.days, doubling_time_days


def _by_nelson(result: nelson.Result, statement: str, management: str) -> Assessment:
    return Assessment(nelson.NAME, result, statement, management and nelson.NELSON_APPLIES_TO + management)
