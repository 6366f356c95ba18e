"""How the slices of a series stack up: their order, affine, gaps, tilt, and what does not belong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from inference.errors import UnreadableSeriesError
from inference.findings import Caveat
from inference.header import Slice

Floats = npt.NDArray[np.float64]

_FEWEST = 3  # slices of a volume
_MOST = 0.8  # the share of a series that one stack must hold before the rest may be left out
_SAME_MM = 0.01
_ROUNDED_MM = 0.1  # what headers round off says nothing of the scan
_SAME_DIRECTION = 2e-3
_UNEVEN = 0.1  # of the slice distance
_LONGEST_GAP = 2  # slices missing in a row
_WIDEST_GAP_MM = 12.5  # between the slices on either side
_A_PART_MM = 5.0  # of a patient: less beyond an end hides no more than a slice does
_MISSING = 0.05  # of all slices; one is always allowed
_STEEPEST_DEGREES = 45.0
_SPACING_MM = (0.05, 20.0)
_PARALLEL = 0.7  # cosine: no gantry tilts further


@dataclass(frozen=True)
class Stack:
    """Slices in the order of the normal (row direction x column direction); None where one is missing."""

    slices: tuple[Slice | None, ...]
    affine: Floats
    caveats: tuple[Caveat, ...]


def stack(slices: Sequence[Slice]) -> Stack:
    """The one even stack that a series makes.

    Localizers inside the series, images of another size or orientation, and stray images beyond a gap are
    left out where at least 80 % of the series remains; of several passes over the same positions the most
    complete is taken; up to 5 % missing slices, at most two in a row, are left as None. Each of these is
    in the caveats, and so is every image left out that lies beyond the ends of the stack: what it shows is
    not read. A gantry tilt becomes a sheared affine.

    Raises:
        UnreadableSeriesError: no sound stack comes of it.
    """
    if not slices:
        raise UnreadableSeriesError("There are no images.")
    _check_one(slices)
    caveats: list[Caveat] = []
    kept = _without_localizers(slices, caveats)
    kept = _one_plane(kept, caveats)
    kept = _one_pass(kept, caveats)
    if len(kept) < _FEWEST:
        raise UnreadableSeriesError(
            f"{_images(len(kept))} cannot make a volume; at least {_FEWEST} are needed."
        )
    kept = sorted(kept, key=_along)
    kept, steps = _even_run(kept, caveats)
    caveats += _beyond(kept, slices)
    return _stacked(kept, steps, caveats)


def repeated(slices: Sequence[Slice]) -> tuple[tuple[Slice, ...], ...]:
    """Groups of slices that claim the same place, shape and scale: candidates for being the same image."""
    places: defaultdict[Hashable, list[Slice]] = defaultdict(list)
    for item in slices:
        position = tuple(round(value / _SAME_MM) for value in item.position)
        places[position, item.orientation, item.spacing, item.shape, item.slope, item.intercept].append(item)
    return tuple(tuple(group) for group in places.values() if len(group) > 1)


def _check_one(slices: Sequence[Slice]) -> None:
    for what, values in (
        ("series", {item.series_uid for item in slices}),
        ("modality", {item.modality for item in slices}),
        ("frame of reference", {item.frame_of_reference_uid for item in slices}),
    ):
        if len(values) > 1:
            raise UnreadableSeriesError(
                f"The images do not share one {what} but {len(values)}; read each apart."
            )


def _without_localizers(slices: Sequence[Slice], caveats: list[Caveat]) -> list[Slice]:
    kept = [item for item in slices if not item.is_localizer]
    if not kept:
        raise UnreadableSeriesError("The series holds localizers only.")
    if len(kept) < len(slices):
        left = len(slices) - len(kept)
        caveats.append(Caveat("left out", f"{_images(left)} marked as localizer left out.", left))
    return kept


def _one_plane(slices: Sequence[Slice], caveats: list[Caveat]) -> list[Slice]:
    groups: list[list[Slice]] = []
    for item in slices:
        fitting = (group for group in groups if _alike(group[0], item))
        group = next(fitting, None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    largest = max(groups, key=len)
    if len(largest) < _MOST * len(slices):
        kinds = ", ".join(f"{len(group)} {_plane(group[0])}" for group in groups[:4])
        more = ", ..." if len(groups) > 4 else ""
        raise UnreadableSeriesError(
            f"The images differ in size, spacing or orientation ({kinds}{more}) "
            "and do not make one volume; send each as its own series."
        )
    if len(largest) < len(slices):
        others = len(slices) - len(largest)
        said = f"{_images(others)} of another size, spacing or orientation left out."
        caveats.append(Caveat("left out", said, others))
    return largest


def _alike(one: Slice, other: Slice) -> bool:
    if (one.shape, one.spacing, one.orientation) == (other.shape, other.spacing, other.orientation):
        return True
    return (
        one.shape == other.shape
        and np.allclose(one.spacing, other.spacing, rtol=1e-3, atol=0)
        and np.abs(np.subtract(one.orientation, other.orientation)).max() < _SAME_DIRECTION
    )


def _plane(item: Slice) -> str:
    axis = int(np.argmax(np.abs(_normal(item))))
    return f"{('sagittal', 'coronal', 'axial')[axis]} of {item.shape[0]} x {item.shape[1]}"


def _one_pass(slices: Sequence[Slice], caveats: list[Caveat]) -> list[Slice]:
    """Of several passes over the same positions (phases, time points, reconstructions), the fullest."""
    places = len({round(_along(item) / _SAME_MM) for item in slices})
    if places == len(slices):
        return list(slices)
    for keyword in dict.fromkeys(key for item in slices for key, _ in item.passes):
        passes: defaultdict[str, list[Slice]] = defaultdict(list)
        for item in slices:
            passes[dict(item.passes).get(keyword, "")].append(item)
        unique = all(
            len({round(_along(i) / _SAME_MM) for i in part}) == len(part) for part in passes.values()
        )
        fullest = max(sorted(passes, key=_number_first), key=lambda value: len(passes[value]))
        if unique and len(passes[fullest]) >= _MOST * places:
            said = (
                f"The series holds {len(passes)} passes over the same positions; the one with {keyword} "
                f"{fullest or 'absent'} is read ({_images(len(passes[fullest]))} of {len(slices)})."
            )
            caveats.append(Caveat("left out", said, len(slices) - len(passes[fullest])))
            return passes[fullest]
    raise UnreadableSeriesError(
        f"{len(slices)} different images lie at only {places} position{'s' * (places != 1)} and nothing in "
        "their headers tells complete passes apart; send each as its own series."
    )


def _even_run(slices: list[Slice], caveats: list[Caveat]) -> tuple[list[Slice], list[int]]:
    """The longest evenly spaced run of sorted slices, and each one's number of steps from the first."""
    distances = np.diff([_along(item) for item in slices])
    usual = float(np.median(distances))
    ratio = distances / usual
    steps = np.rint(ratio).astype(int)
    sound = (steps >= 1) & (np.abs(ratio - steps) <= _UNEVEN) & (steps <= 1 + _LONGEST_GAP)
    sound &= (steps == 1) | (distances <= _WIDEST_GAP_MM)
    breaks = [0, *(np.flatnonzero(~sound) + 1).tolist(), len(slices)]
    start, stop = max(pairwise(breaks), key=lambda run: run[1] - run[0])
    numbers = [0, *np.cumsum(steps[start : stop - 1]).tolist()]
    missing = numbers[-1] + 1 - len(numbers)
    if stop - start < max(_MOST * len(slices), _FEWEST) or missing > max(1, _MISSING * numbers[-1]):
        raise UnreadableSeriesError(
            f"The distance between slices varies from {distances.min():.2f} to {distances.max():.2f} mm "
            f"(mostly {usual:.2f}): slices are missing or several series are mixed; "
            "send one complete, evenly spaced series."
        )
    if missing:
        said = f"{missing} missing slice{'s' * (missing > 1)} interpolated from the neighbours."
        caveats.append(Caveat("interpolated", said, missing))
    return slices[start:stop], numbers


def _beyond(run: Sequence[Slice], slices: Sequence[Slice]) -> Iterator[Caveat]:
    """What lies before the first or behind the last of a sorted run, by half the distance of its slices or
    more: a part of the patient that was not read or, up to ``_A_PART_MM``, how two passes over one range end.
    Localizers, and images across the run, are looked at along it and show nothing to be read."""
    normal = _normal(run[0])
    places = [
        float(normal @ _center(item))
        for item in slices
        if not item.is_localizer and abs(float(normal @ _normal(item))) > _PARALLEL
    ]
    first, last = (float(normal @ _center(item)) for item in (run[0], run[-1]))
    half = (last - first) / (len(run) - 1) / 2
    for direction, away in (
        (-normal, [first - place for place in places if first - place > half]),
        (normal, [place - last for place in places if place - last > half]),
    ):
        if away:
            reach = f"{min(away):.0f}" if len(away) == 1 else f"{min(away):.0f} to {max(away):.0f}"
            were = "were" if len(away) > 1 else "was"
            where = f"{reach} mm {_towards(direction)} the slices that were"
            said = f"{_images(len(away))} {were} not read, {where}."
            yield Caveat("unread" if max(away) > _A_PART_MM else "left out", said, len(away))


def _center(item: Slice) -> Floats:
    """The middle of an image, LPS mm."""
    rows, columns = (count - 1 for count in item.shape)
    down, across = np.array(item.orientation[3:]), np.array(item.orientation[:3])
    middle = down * rows * item.spacing[0] / 2 + across * columns * item.spacing[1] / 2
    return np.asarray(np.array(item.position) + middle)


def _towards(direction: Floats) -> str:
    """A direction in LPS, as seen from the patient."""
    axis = int(np.argmax(np.abs(direction)))
    words = (("to the right of", "to the left of"), ("in front of", "behind"), ("below", "above"))
    return words[axis][int(direction[axis] > 0)]


def _stacked(slices: list[Slice], steps: list[int], caveats: list[Caveat]) -> Stack:
    positions = np.array([item.position for item in slices])
    numbers = np.array(steps)[:, None]
    step = (positions[-1] - positions[0]) / steps[-1]
    normal = _normal(slices[0])
    thickness = float(step @ normal)
    low, high = _SPACING_MM
    if not low <= thickness <= high:
        raise UnreadableSeriesError(
            f"Slices {thickness:g} mm apart cannot be true (allowed: {low:g} to {high:g})."
        )
    drift = positions - (positions[0] + numbers * step)
    along = np.abs(drift @ normal).max()
    across = np.linalg.norm(drift - np.outer(drift @ normal, normal), axis=1).max()
    if along > _UNEVEN * thickness or across > max(slices[0].spacing) / 2:
        raise UnreadableSeriesError(
            f"The slices stray by up to {max(along, across):.2f} mm from a straight, even stack; "
            "their positions cannot be trusted."
        )
    if along > _ROUNDED_MM:
        said = f"Slice positions uneven by up to {along:.2f} mm, read as evenly {thickness:.3f} mm apart."
        caveats.append(Caveat("corrected", said))
    tilt = float(np.degrees(np.arccos(min(1.0, thickness / float(np.linalg.norm(step))))))
    if tilt > _STEEPEST_DEGREES:
        raise UnreadableSeriesError(
            f"The slices are stacked {tilt:.0f} degrees askew; no gantry tilts that far."
        )
    if tilt > 0.1:
        said = f"A gantry tilt of {tilt:.1f} degrees is followed exactly, without resampling."
        caveats.append(Caveat("corrected", said))
    row, column = np.array(slices[0].orientation[:3]), np.array(slices[0].orientation[3:])
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = column * slices[0].spacing[0]
    affine[:3, 2] = row * slices[0].spacing[1]
    affine[:3, 3] = positions[0]
    ordered: list[Slice | None] = [None] * (steps[-1] + 1)
    for number, item in zip(steps, slices, strict=True):
        ordered[number] = item
    return Stack(tuple(ordered), affine, tuple(caveats))


def _normal(item: Slice) -> Floats:
    return _perpendicular(item.orientation)


@lru_cache(maxsize=64)
def _perpendicular(orientation: tuple[float, ...]) -> Floats:
    return np.cross(orientation[:3], orientation[3:])


def _along(item: Slice) -> float:
    return float(_normal(item) @ np.array(item.position))


def _number_first(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
