"""How a lesion looks, by its recipe: what tells benign from malignant, a number or a name each.

Malignancy is one bit of a lesion, and follows from these: a network that is asked for them too learns it from
fewer lesions.
"""

from __future__ import annotations

import math

from training.phantoms.bodies import Recipe
from training.phantoms.masses import MAKES, Mass
from training.phantoms.nodules import NODULE_TYPES

LOOKS = ("margin", "lobulation", "mottle", "spiculation")
KINDS = (*MAKES, *NODULE_TYPES)
UNKNOWN_KIND = -1
UNKNOWN_LOOK = (math.nan,) * len(LOOKS)
_MIDDLES, _SPREADS = (0.7, 0.35, 3.5, 0.3), (0.65, 0.22, 1.5, 0.3)


def look_of(recipe: Recipe) -> tuple[float, ...]:
    """A number for each of ``LOOKS``, mostly between -2 and 2; not a number where such lesions have none."""
    if isinstance(recipe, Mass):
        numbers = math.log(recipe.margin_mm), recipe.lobulation, math.sqrt(recipe.mottle_hu), math.nan
    else:
        numbers = math.nan, recipe.lobulation, math.nan, recipe.spiculation
    return tuple((n - m) / s for n, m, s in zip(numbers, _MIDDLES, _SPREADS, strict=True))


def kind_of(recipe: Recipe) -> int:
    """Its number in ``KINDS``."""
    return KINDS.index(recipe.make if isinstance(recipe, Mass) else recipe.kind)
