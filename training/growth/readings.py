"""Who reads the phantom patients that are followed: the installed networks, or a reader of known faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Reading
from inference.growth.look import look_of
from inference.growth.partners import Look
from inference.readers import lung_nodules
from training.growth import reader
from training.growth.patients import Visit


class Reads(Protocol):
    """Reads one visit after another, and looks again where a lesion was missed. ``catalogue``: where the
    networks that read are described, None where none did."""

    @property
    def catalogue(self) -> Catalogue | None: ...

    def read(self, visit: Visit, rng: np.random.Generator) -> Reading: ...

    def look(self, visits: Sequence[Visit], rng: np.random.Generator) -> Look | None: ...


@dataclass(frozen=True)
class StandIn:
    """Finds and outlines what is truly there, with faults of known size."""

    faults: reader.Faults = field(default_factory=reader.Faults)
    catalogue: None = None

    def read(self, visit: Visit, rng: np.random.Generator) -> Reading:
        return reader.read(visit, self.faults, rng)

    def look(self, visits: Sequence[Visit], rng: np.random.Generator) -> Look:
        return reader.CloserLook(visits, self.faults, rng)


@dataclass(frozen=True, eq=False)
class Installed:
    """The reader ``lung-nodules`` as a node runs it."""

    engine: Engine
    catalogue: Catalogue

    def read(self, visit: Visit, rng: np.random.Generator) -> Reading:
        reading = lung_nodules.read(visit.volume, self.engine, self.catalogue)
        named = (
            finding.tracked_as(f"{visit.volume.series_uid}.{number}")
            for number, finding in enumerate(reading.findings)
        )
        return replace(reading, findings=tuple(named))

    def look(self, visits: Sequence[Visit], rng: np.random.Generator) -> Look | None:
        return look_of(lung_nodules.NAME, self.engine, self.catalogue)
