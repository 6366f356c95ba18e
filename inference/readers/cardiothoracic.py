"""How wide the heart is by how wide the chest is, on a frontal radiograph: the cardiothoracic ratio
(Danzer, Am J Med Sci 1919;157:513)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.findings import Axis, Code, Measurement
from inference.picture import View
from inference.readers.radiograph import Floats, of_one_part
from inference.readers.upright import Turn

Mask = npt.NDArray[np.bool_]

RATIO = Code("99OVERREAD", "CTR", "Cardiothoracic ratio")
HEART_WIDTH = Code("99OVERREAD", "HEART-WIDTH", "Transverse diameter of the heart")
CHEST_WIDTH = Code("99OVERREAD", "CHEST-WIDTH", "Inner transverse diameter of the chest")
HEART = Code("SCT", "80891009", "Heart")
CHEST = Code("SCT", "51185008", "Chest")

_MOST_ASTRAY = 0.05  # of what is drawn, apart from the largest part
_MOST_UNSURE = 0.35  # of what is drawn, where the probability lies between a fifth and four fifths
_LEAST_BRIGHTER = 0.35  # than either lung beside it, in standard deviations of the close-up
_LEAST_BESIDE = 20  # pixels of either lung at the heart's level
_HEART_BY_LUNGS = (0.12, 1.1)  # areas
_RATIOS = (0.28, 0.85)
_LEAST_EVEN = 0.5  # the narrower lung by the wider one, and the lower one by the higher one
_MAGNIFIED = (
    "On an AP view the heart is magnified, more so where the patient lies or breathes out: the ratio is "
    "exaggerated, and compares with no limit for PA views."
)
_UNKNOWN_VIEW = "The header does not say whether this is a PA view: on an AP view the ratio is exaggerated."


def _disc(radius: int) -> Mask:
    rows, columns = np.indices((2 * radius + 1, 2 * radius + 1)) - radius
    inside: Mask = np.hypot(rows, columns) <= radius + 0.2
    return inside


_THICK, _NEAR = _disc(3), _disc(2)


@dataclass(frozen=True)
class Diameters:
    """Level lines on a picture, ends on the borders of pixels whose middles are whole numbers. ``right`` and
    ``left``: from the midline to where the heart reaches farthest on either side. ``chest``: between the
    outer borders of the lungs, where these are farthest apart."""

    right: Axis
    left: Axis
    chest: Axis

    @property
    def ratio(self) -> float:
        return (self.right.length_mm + self.left.length_mm) / self.chest.length_mm


def certain(picture: Floats, probability: Floats, lungs: Mask) -> Floats | None:
    """The probability of the heart without thin spurs, holes and what lies apart from its largest part; None
    where no one heart is made out: it falls into parts, reaches the border of the close-up, has no sure
    outline, is no more than a stripe, or a lung beside it is as white as it is and hides where it ends.

    picture: the close-up, standardised, (size, size), as probability is. lungs: (2, size, size).
    """
    drawn = probability >= 0.5
    if not drawn.any() or drawn[0].any() or drawn[-1].any() or drawn[:, 0].any() or drawn[:, -1].any():
        return None
    one = of_one_part(probability)
    heart = one >= 0.5
    astray = 1 - heart.sum() / drawn.sum()
    unsure = ((probability > 0.2) & (probability < 0.8)).sum() / drawn.sum()
    if astray > _MOST_ASTRAY or unsure > _MOST_UNSURE or not _stands_out(picture, heart, lungs):
        return None
    thick = ndimage.binary_dilation(ndimage.binary_opening(heart, _THICK), _NEAR) & heart
    if not thick.any():
        return None
    whole = ndimage.binary_fill_holes(thick)
    without_spurs = np.where(heart & ~thick, np.float32(0), one)
    return np.where(whole, np.maximum(without_spurs, np.float32(0.5)), without_spurs)


def _stands_out(picture: Floats, heart: Mask, lungs: Mask) -> bool:
    around = ndimage.binary_dilation(heart, _NEAR)
    at_its_level = heart.any(1, keepdims=True)
    for lung in lungs:
        beside = lung & at_its_level & ~around
        if beside.sum() < _LEAST_BESIDE or picture[heart].mean() - picture[beside].mean() < _LEAST_BRIGHTER:
            return False
    return True


def diameters(heart: Mask, right: Mask, left: Mask) -> Diameters | None:
    """Those of a heart between two lungs, (rows, columns) each of an upright picture; None where heart or
    lungs are not such as a ratio can be taken of: a lung too small beside the other, as one that is white, or
    a heart that lies beside the midline or is too small or too large for these lungs."""
    if not heart.any() or not _are_even(right, left):
        return None
    chest = _widest(right | left)
    middle = (chest.start[0] + chest.end[0]) / 2
    columns = np.flatnonzero(heart.any(0))
    low, high = float(columns[0]) - 0.5, float(columns[-1]) + 0.5
    found = Diameters(
        Axis((low, _level(heart, columns[0]), 0.0), (middle, _level(heart, columns[0]), 0.0)),
        Axis((middle, _level(heart, columns[-1]), 0.0), (high, _level(heart, columns[-1]), 0.0)),
        chest,
    )
    by_lungs = heart.sum() / (right | left).sum()
    is_sound = (
        low < middle < high
        and _HEART_BY_LUNGS[0] <= by_lungs <= _HEART_BY_LUNGS[1]
        and _RATIOS[0] <= found.ratio <= _RATIOS[1]
    )
    return found if is_sound else None


def measurements(
    found: Diameters, turn: Turn, view: View, image_uid: str, frame: int | None
) -> tuple[Measurement, ...]:
    """The ratio and, where the spacing of pixels is known, both diameters in mm as the detector has them."""
    heart = (turn.stored_axis(found.right), turn.stored_axis(found.left))
    chest = turn.stored_axis(found.chest)
    caveat = {"PA": "", "AP": _MAGNIFIED}.get(view.projection, _UNKNOWN_VIEW)
    ratio = Measurement(
        RATIO.meaning, RATIO, found.ratio, "{ratio}", image_uid, (*heart, chest), frame, HEART, caveat
    )
    if view.spacing_mm is None:
        return (ratio,)
    rows_apart, columns_apart = view.spacing_mm
    apart = rows_apart if turn.transposed else columns_apart
    of_heart, of_chest = sum(half.length_mm for half in heart) * apart, chest.length_mm * apart
    return (
        ratio,
        Measurement(HEART_WIDTH.meaning, HEART_WIDTH, of_heart, "mm", image_uid, heart, frame, HEART),
        Measurement(CHEST_WIDTH.meaning, CHEST_WIDTH, of_chest, "mm", image_uid, (chest,), frame, CHEST),
    )


def _are_even(*lungs: Mask) -> bool:
    wide, high = ([float(np.ptp(np.flatnonzero(lung.any(axis)))) for lung in lungs] for axis in (0, 1))
    return all(min(sizes) >= _LEAST_EVEN * max(sizes) for sizes in (wide, high))


def _widest(lungs: Mask) -> Axis:
    first = lungs.argmax(1)
    last = lungs.shape[1] - 1 - lungs[:, ::-1].argmax(1)
    row = int(np.where(lungs.any(1), last - first, -1).argmax())
    return Axis((float(first[row]) - 0.5, float(row), 0.0), (float(last[row]) + 0.5, float(row), 0.0))


def _level(mask: Mask, column: int) -> float:
    """The row in the middle of a column's."""
    return float(np.flatnonzero(mask[:, column]).mean())
