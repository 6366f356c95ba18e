"""One module per clinical task; ``READERS`` lists them by name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Reading
from inference.readers import chest_xray, ct_lesions, lung_nodules, pet_ct, polyps
from inference.registration.estimate import MODEL as REGISTRATION
from inference.volume import Volume


@dataclass(frozen=True)
class Reader:
    """A clinical task: ``models`` names the networks it runs, its own first; ``optional`` those that take
    part where they are installed. ``yields_to``: readers that report some of the same lesions, and whose word
    on them counts.

    ``read`` raises UnreadableSeriesError when the volume is not one it can read, EngineError when a model
    cannot be run. Tracking UIDs of the findings are left empty.
    """

    name: str
    models: tuple[str, ...]
    read: Callable[[Volume, Engine, Catalogue], Reading]
    optional: tuple[str, ...] = ()
    yields_to: tuple[str, ...] = ()


READERS: dict[str, Reader] = {
    ct_lesions.NAME: Reader(
        ct_lesions.NAME, (ct_lesions.NETWORK,), ct_lesions.read, yields_to=(lung_nodules.NAME,)
    ),
    lung_nodules.NAME: Reader(
        lung_nodules.NAME, (lung_nodules.DETECTOR, lung_nodules.CHARACTERISER), lung_nodules.read
    ),
    chest_xray.NAME: Reader(chest_xray.NAME, (chest_xray.FINDINGS, chest_xray.LUNGS), chest_xray.read),
    pet_ct.NAME: Reader(pet_ct.NAME, (pet_ct.HOT_SPOTS,), pet_ct.read, (REGISTRATION,)),
    polyps.NAME: Reader(polyps.NAME, (polyps.POLYPS,), polyps.read),
}


def left_to(others: Collection[str], reading: Reading) -> Reading:
    """A reading without what another reader reports that did read the same study: lesions of the lungs are
    those of lung-nodules, and no longer those of ct-lesions. One lesion is reported once; where nothing is
    left out, the reading itself comes back."""
    if not set(READERS[reading.reader].yields_to) & set(others):
        return reading
    kept = tuple(f for f in reading.findings if f.kind != ct_lesions.LUNG)
    resolved = tuple(f for f in reading.resolved if f.kind != ct_lesions.LUNG)
    if (kept, resolved) == (reading.findings, reading.resolved):
        return reading
    return replace(reading, findings=kept, resolved=resolved)
