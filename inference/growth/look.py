"""Each reader's closer look at one place: where alignment says that a lesion should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from typing import Final

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Finding, Point
from inference.growth.partners import Look
from inference.growth.repeatability import sphere_diameter_mm
from inference.readers import lung_nodules
from inference.readers.candidates import Candidate
from inference.volume import Volume

_LEAST_NODULE: Final = 0.2
_BESIDE: Final = 0.25
"""What is seen is looked at again from so much of its diameter to each of its six sides: a vessel looks like
a nodule from one place and not from the next, a nodule does from all."""
_LEAST_DIAMETER_MM: Final = 4.0


def look_of(reader: str, engine: Engine | None, catalogue: Catalogue | None) -> Look | None:
    """How the reader of this name looks again; None where it cannot, or its model is not there."""
    if engine is None or catalogue is None or reader != lung_nodules.NAME:
        return None
    if lung_nodules.CHARACTERISER not in catalogue.names:
        return None
    return _nodule_look(engine, catalogue)


def _nodule_look(engine: Engine, catalogue: Catalogue) -> Look:
    card = catalogue.find(lung_nodules.CHARACTERISER).card

    def look(volume: Volume, center_mm: Point, diameter_mm: float) -> Finding | None:
        """That the lesion is there in another scan stands for the detector's word, so the characteriser's
        alone decides: what it says at the mean of all looks is the score."""
        first = lung_nodules.characterise(volume, [_candidate(center_mm, diameter_mm)], engine, card)
        judged = [one for one in first if one.nodule >= _LEAST_NODULE]
        seen = next(iter(lung_nodules.drawn(judged, volume, card, 0.0)), None)
        if seen is None:
            return None
        about = lung_nodules.characterise(volume, list(_about(seen)), engine, card)
        nodule = sum(one.nodule for one in about) / len(about)
        return replace(seen, score=sqrt(nodule)) if nodule >= _LEAST_NODULE else None

    return look


def _candidate(center_mm: Point, diameter_mm: float) -> Candidate:
    return Candidate(center_mm, max(diameter_mm, _LEAST_DIAMETER_MM), 1.0)


def _about(seen: Finding) -> Iterator[Candidate]:
    """Its centre, and a place to each of its sides."""
    diameter = sphere_diameter_mm(seen.volume_mm3)
    x, y, z = seen.center_mm
    yield _candidate((x, y, z), diameter)
    for step in (-_BESIDE * diameter, _BESIDE * diameter):
        for place in ((x + step, y, z), (x, y + step, z), (x, y, z + step)):
            yield _candidate(place, diameter)
