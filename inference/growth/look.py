"""Each reader's closer look at one place: where alignment says that a lesion should be."""

from __future__ import annotations

from typing import Final

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Finding, Point
from inference.growth.partners import Look
from inference.readers import lung_nodules
from inference.readers.candidates import Candidate
from inference.volume import Volume

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
        """That the lesion is there in another scan stands for the detector's certain word; what is reported
        with that, by the reader's own operating point, is the lesion."""
        candidate = Candidate(center_mm, max(diameter_mm, _LEAST_DIAMETER_MM), 1.0)
        judged = lung_nodules.characterise(volume, [candidate], engine, card)
        return next(iter(lung_nodules.drawn(judged, volume, card, card.threshold("report"))), None)

    return look
