"""What every evaluation of ``lung-nodules`` on whole scans does: read, and match marks to what is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Finding, Point
from inference.readers import lung_nodules as reader
from inference.volume import Volume

LOWEST = 0.05
"""Far below the operating point, as an FROC needs it."""


def found_in(
    volume: Volume, engine: EmbeddedEngine, catalogue: Catalogue, threshold: float = LOWEST
) -> list[Finding]:
    """Findings down to ``threshold``, the surest first."""
    judged = reader.search_lungs(volume, engine, catalogue).judged
    return reader.drawn(judged, volume, catalogue.find(reader.CHARACTERISER).card, threshold)


def report_threshold(catalogue: Catalogue) -> float:
    """The score from which on a finding is reported."""
    return catalogue.find(reader.CHARACTERISER).card.threshold("report")


def surest_within(center_mm: Point, radius_mm: float, found: Sequence[Finding]) -> Finding | None:
    """The surest finding whose centre lies within ``radius_mm`` of a place."""
    near = [f for f in found if np.linalg.norm(np.subtract(f.center_mm, center_mm)) < radius_mm]
    return max(near, key=lambda f: f.score, default=None)
