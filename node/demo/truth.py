"""Sets what was found beside what is true of a phantom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.phantoms.nodules import Lesion

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Match:
    """A true lesion and the finding on it; either is None where the other stands alone."""

    lesion: Lesion | None
    finding: Json | None


def compare(lesions: Sequence[Lesion], readings: Iterable[Json]) -> list[Match]:
    """Every lesion with the best-scored finding whose centre lies in it, then the findings on no lesion.

    readings: as in ``reading.json``. A centre may be off by the lesion's radius, or by 5 mm.
    """
    findings = [finding for reading in readings for finding in reading.get("findings", ())]
    findings.sort(key=lambda finding: -finding["score"])
    matches = []
    for lesion in lesions:
        hit = next((f for f in findings if _is_on(f, lesion)), None)
        findings = [f for f in findings if f is not hit]
        matches.append(Match(lesion, hit))
    return matches + [Match(None, finding) for finding in findings]


def _is_on(finding: Json, lesion: Lesion) -> bool:
    off_mm = float(np.linalg.norm(np.subtract(finding["center_mm"], lesion.center_mm)))
    return off_mm <= max(lesion.diameter_mm / 2, 5.0)
