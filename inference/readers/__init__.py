"""One module per clinical task; ``READERS`` lists them by name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Finding, Reading
from inference.readers import chest_xray, ct_lesions, lung_nodules, pet_ct, polyps
from inference.readers.lung_nodules import Search, search_lungs
from inference.registration.estimate import MODEL as REGISTRATION
from inference.volume import Volume

__all__ = ["READERS", "Reader", "Search", "left_to", "search_alike", "search_lungs"]


@dataclass(frozen=True)
class Reader:
    """A clinical task: ``models`` names the networks it runs, its own first; ``optional`` those that take
    part where they are installed. ``yields_to``: readers that report some of the same lesions, and whose word
    on them counts.

    ``read_searched``: what ``read`` comes to with the search of the lungs that it begins with made before, by
    ``search_lungs``; readers of one series share it.

    ``read`` raises UnreadableSeriesError when the volume is not one it can read, EngineError when a model
    cannot be run. Tracking UIDs of the findings are left empty.
    """

    name: str
    models: tuple[str, ...]
    read: Callable[[Volume, Engine, Catalogue], Reading]
    optional: tuple[str, ...] = ()
    yields_to: tuple[str, ...] = ()
    read_searched: Callable[[Volume, Engine, Catalogue, Search], Reading] | None = None


READERS: dict[str, Reader] = {
    ct_lesions.NAME: Reader(
        ct_lesions.NAME,
        (ct_lesions.NETWORK, ct_lesions.CHARACTERISER),
        ct_lesions.read,
        (lung_nodules.DETECTOR, lung_nodules.CHARACTERISER),
        yields_to=(lung_nodules.NAME,),
        read_searched=ct_lesions.read,
    ),
    lung_nodules.NAME: Reader(
        lung_nodules.NAME,
        (lung_nodules.DETECTOR, lung_nodules.CHARACTERISER),
        lung_nodules.read,
        read_searched=lung_nodules.read,
    ),
    chest_xray.NAME: Reader(
        chest_xray.NAME, (chest_xray.FINDINGS, chest_xray.LUNGS), chest_xray.read, (chest_xray.HEART,)
    ),
    pet_ct.NAME: Reader(pet_ct.NAME, (pet_ct.HOT_SPOTS,), pet_ct.read, (REGISTRATION,)),
    polyps.NAME: Reader(polyps.NAME, (polyps.POLYPS,), polyps.read),
}


def search_alike(one: str, other: str) -> bool:
    """Whether two readers of a series begin with the same search."""
    return all(READERS[name].read_searched is not None for name in (one, other))


def left_to(others: Collection[Reading], reading: Reading) -> Reading:
    """A reading without the lesions that a reader it yields to reports of the same study, in readings of the
    same frame of reference: one lesion is reported once. Where nothing is left out, the reading itself comes
    back; else it has no response, which would be one of lesions that it does not show.

    Two findings are one lesion where the centre of either lies in the box of the other, in patient space
    (LPS mm), which is one for all of them.
    """
    told = [other for other in others if other.reader in READERS[reading.reader].yields_to]
    found = [finding for other in told for finding in other.findings]
    gone = [finding for other in told for finding in other.resolved]
    kept = _without(found, reading.findings)
    resolved = _without(gone, reading.resolved)
    if (kept, resolved) == (reading.findings, reading.resolved):
        return reading
    names = tuple(sorted({other.reader for other in told}))
    return replace(reading, findings=kept, resolved=resolved, response=None, left_to=names)


def _without(told: Collection[Finding], findings: Collection[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if not any(_is_one(finding, other) for other in told))


def _is_one(a: Finding, b: Finding) -> bool:
    return _holds(a, b) or _holds(b, a)


def _holds(outer: Finding, inner: Finding) -> bool:
    low, high = outer.box_mm
    return all(x <= at <= y for x, at, y in zip(low, inner.center_mm, high, strict=True))
