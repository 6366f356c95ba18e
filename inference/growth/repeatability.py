"""How far a lesion's volume may differ between two scans though nothing grew.

The within-subject coefficient of variation (wCV) of volume for solid nodules on thin slices is that of the
QIBA profiles Small Lung Nodule Volumetry (6-12 mm) and CT Tumor Volume Change (10-100 mm), the latter given
as 95 % limits of 39, 29 and 24 % for 10-34, 35-49 and 50-100 mm, which hold here from 13 mm. What thicker
slices and subsolid margins add is this project's own allowance, of the size reported for 2.5-5 mm slices.

The profiles allow for any software that conforms. Where one network measured both scans, and its own wCV is
known from phantoms, that counts instead, together with what patients add to it (``Repeats``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, pi, sqrt
from typing import Final, Self

import numpy as np

NORMAL_95: Final = 1.96
LEAST_CHANGE_PERCENT: Final = 25.0
"""Below this a change of volume is no growth, whatever the size: coffee-break scans differ by so much
(BTS 2015; MILD found 27 %)."""

_PATIENTS_CV: Final = LEAST_CHANGE_PERCENT / 100 / (NORMAL_95 * sqrt(2))
"""What breath, posture and blood add that no phantom shows: at most all that coffee-break scans differ by."""
_CONSTANT: Final = "volume_cv_{}_mm"

_SMALL_MM: Final = (6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)
_SMALL_CV: Final = (0.29, 0.23, 0.19, 0.16, 0.14, 0.12, 0.11)
_LARGE_FROM_MM: Final = 13.0
_LARGE_LIMITS: Final = ((35.0, 0.39), (50.0, 0.29), (inf, 0.24))
"""Below this diameter, this 95 % limit; the profile gives steps, and so does the table."""
_THIN_SLICE_MM: Final = 1.25
_PER_THICKER_SLICE: Final = 0.4
_SUBSOLID: Final = 1.25
_SUBSOLID_KINDS: Final = frozenset({"part-solid", "ground-glass"})


@dataclass(frozen=True)
class Repeats:
    """wCV of the volumes that one network measures, ``cvs`` at diameters ``sizes_mm`` in rising order; from
    phantoms, which repeat all but the patient."""

    sizes_mm: tuple[float, ...]
    cvs: tuple[float, ...]

    @classmethod
    def of(cls, constants: Mapping[str, float]) -> Self | None:
        """From a model card's constants ``volume_cv_N_mm``; None where it has none."""
        before, after = _CONSTANT.split("{}")
        known = sorted(
            (float(name.removeprefix(before).removesuffix(after)), cv)
            for name, cv in constants.items()
            if name.startswith(before) and name.endswith(after)
        )
        return cls(tuple(mm for mm, _ in known), tuple(cv for _, cv in known)) if known else None

    def volume_cv(self, diameter_mm: float) -> float:
        """In patients. Below the smallest size measured it rises as what is published does; beyond the
        largest it goes on as there, never above what is published."""
        smallest, largest = self.sizes_mm[0], self.sizes_mm[-1]
        own = float(np.hypot(np.interp(diameter_mm, self.sizes_mm, self.cvs), _PATIENTS_CV))
        if diameter_mm < smallest:
            return own * _published_cv(diameter_mm) / _published_cv(smallest)
        return min(own, _published_cv(diameter_mm)) if diameter_mm > largest else own


def sphere_diameter_mm(volume_mm3: float) -> float:
    """Of the sphere of this volume."""
    return float((6 * max(volume_mm3, 0.0) / pi) ** (1 / 3))


def volume_cv(
    diameter_mm: float, slice_mm: float = 1.0, kind: str | None = None, own: Repeats | None = None
) -> float:
    """wCV of a volume, as a fraction.

    Args:
        diameter_mm: of the sphere of the lesion's volume. Below 6 mm the published table goes on as the power
            of the diameter that joins its ends; between 12 and 13 mm the one profile passes into the other.
        slice_mm: distance between slices or their thickness, whichever is larger.
        kind: of the nodule, in words; margins of subsolid ones are less certain.
        own: of the network that measured it; the published wCV counts without.
    """
    base = own.volume_cv(diameter_mm) if own is not None else _published_cv(diameter_mm)
    if kind in _SUBSOLID_KINDS:
        base *= _SUBSOLID
    thicker = _PER_THICKER_SLICE * max(slice_mm - _THIN_SLICE_MM, 0.0) / max(diameter_mm, 1.0)
    return float(np.hypot(base, thicker))


def change_limit_mm3(prior_mm3: float, prior_cv: float, current_mm3: float, current_cv: float) -> float:
    """The difference of two volumes beyond which it is real with 95 % confidence: QIBA's
    ``1.96 * sqrt((V1 CV1)^2 + (V2 CV2)^2)``."""
    return NORMAL_95 * sqrt((prior_mm3 * prior_cv) ** 2 + (current_mm3 * current_cv) ** 2)


def change_limit_percent(prior_mm3: float, prior_cv: float, current_mm3: float, current_cv: float) -> float:
    """The same in percent of the prior volume, and never less than 25."""
    limit = 100 * change_limit_mm3(prior_mm3, prior_cv, current_mm3, current_cv) / prior_mm3
    return max(limit, LEAST_CHANGE_PERCENT)


def _published_cv(diameter_mm: float) -> float:
    if diameter_mm < _SMALL_MM[0]:
        slope = np.log(_SMALL_CV[-1] / _SMALL_CV[0]) / np.log(_SMALL_MM[-1] / _SMALL_MM[0])
        return float(_SMALL_CV[0] * (max(diameter_mm, 1.0) / _SMALL_MM[0]) ** slope)
    large = next(limit for below, limit in _LARGE_LIMITS if diameter_mm < below) / (NORMAL_95 * sqrt(2))
    return float(np.interp(diameter_mm, (*_SMALL_MM, _LARGE_FROM_MM), (*_SMALL_CV, large)))
