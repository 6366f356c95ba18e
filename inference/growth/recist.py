"""Response of target lesions by RECIST 1.1 (Eisenhauer et al., Eur J Cancer 2009; 45:228-247)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Response = Literal["CR", "PR", "SD", "PD"]

MOST_TARGETS: Final = 5
MOST_IN_ONE_ORGAN: Final = 2
LEAST_LONG_AXIS_MM: Final = 10.0
LEAST_NODE_MM: Final = 15.0
NORMAL_NODE_MM: Final = 10.0
PARTIAL: Final = 0.30
PROGRESSIVE: Final = 0.20
PROGRESSIVE_MM: Final = 5.0


@dataclass(frozen=True)
class Lesion:
    """One lesion at one time point. ``uid``: the same at all of them, and of all parts of a lesion that
    split. One that is known to be gone has axes of 0 mm; one that is not listed was not seen. A lymph node is
    measured by its short axis, all else by the long one; both lie in the axial plane. ``cut``: it may go on
    beyond the scan, and its size tells nothing."""

    uid: str
    organ: str
    long_axis_mm: float
    short_axis_mm: float
    is_node: bool = False
    cut: bool = False

    @property
    def diameter_mm(self) -> float:
        return self.short_axis_mm if self.is_node else self.long_axis_mm


def is_measurable(lesion: Lesion, slice_mm: float = 1.0) -> bool:
    """At least 10 mm on slices of up to 5 mm, twice the slice where it is thicker; a node 15 mm short axis
    (4.3 and 4.4 of the guideline)."""
    thick = 2 * slice_mm if slice_mm > 5 else 0.0
    least = LEAST_NODE_MM if lesion.is_node else LEAST_LONG_AXIS_MM
    return lesion.diameter_mm >= max(least, thick)


def choose_targets(baseline: Sequence[Lesion], slice_mm: float = 1.0) -> tuple[Lesion, ...]:
    """The largest measurable lesions, at most five and two in any organ; all nodes are one organ."""
    chosen: list[Lesion] = []
    taken: Counter[str] = Counter()
    for lesion in sorted(baseline, key=lambda one: (-one.diameter_mm, one.uid)):
        organ = "lymph node" if lesion.is_node else lesion.organ
        if is_measurable(lesion, slice_mm) and not lesion.cut and taken[organ] < MOST_IN_ONE_ORGAN:
            chosen.append(lesion)
            taken[organ] += 1
        if len(chosen) == MOST_TARGETS:
            break
    return tuple(chosen)


def sum_of_diameters_mm(targets: Collection[str], lesions: Sequence[Lesion]) -> float | None:
    """Over the targets at one time point, as measured even where small, all parts of one that split together;
    one that is gone adds 0. None, not evaluable, where any target is not listed, or is cut."""
    if not set(targets) <= {lesion.uid for lesion in lesions}:
        return None
    if any(lesion.cut for lesion in lesions if lesion.uid in targets):
        return None
    return sum(lesion.diameter_mm for lesion in lesions if lesion.uid in targets)


def all_gone(lesions: Sequence[Lesion]) -> bool:
    """Nothing left but nodes of less than 10 mm: what a complete response asks."""
    return all(
        lesion.long_axis_mm == 0 or (lesion.is_node and lesion.diameter_mm < NORMAL_NODE_MM)
        for lesion in lesions
    )


def target_response(
    baseline_mm: float, nadir_mm: float, current_mm: float, *, gone: bool = False
) -> Response:
    """What the target lesions alone say at one time point (4.3.1 of the guideline).

    Args:
        baseline_mm, nadir_mm, current_mm: sums of diameters; the nadir is the smallest before now, the
            baseline included.
        gone: every target, nodes of less than 10 mm among them.
    """
    if gone:
        return "CR"
    rise = round(current_mm - nadir_mm, 6)
    if rise >= PROGRESSIVE_MM and rise >= round(PROGRESSIVE * nadir_mm, 6):
        return "PD"
    if round(baseline_mm - current_mm, 6) >= round(PARTIAL * baseline_mm, 6):
        return "PR"
    return "SD"


def overall_response(target: Response, *, gone: bool, new_lesions: bool) -> Response:
    """The patient's response (table 1): a new lesion is progression whatever the targets do, and targets that
    are gone beside other lesions that are not (``gone``: all of them) are a partial response."""
    if new_lesions:
        return "PD"
    return "PR" if target == "CR" and not gone else target


@dataclass(frozen=True)
class Earlier:
    """What was judged at the first time point of a course that began before it: its ``targets``; ``sums_mm``
    from the baseline up to and with it, of those between the smallest will do; whether the response was
    ``complete`` at it; ``others``: lesions of the baseline beside the targets, but those known to be gone."""

    targets: tuple[str, ...]
    sums_mm: tuple[float, ...]
    complete: bool = False
    others: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Course:
    """A patient's targets over all time points: ``sums_mm`` from baseline to now. ``target``: what they alone
    say, None where there are none; ``response``: the patient's. ``new``: lesions that are new since the
    baseline, or back after a complete response, and are not gone; ``others``: see ``Earlier``."""

    targets: tuple[str, ...]
    sums_mm: tuple[float, ...]
    target: Response | None
    response: Response
    new: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @property
    def baseline_mm(self) -> float:
        return self.sums_mm[0]

    @property
    def nadir_mm(self) -> float:
        return min(self.sums_mm[:-1])


def evaluate(
    time_points: Sequence[Sequence[Lesion]],
    slice_mm: float = 1.0,
    *,
    new: Collection[str] = (),
    earlier: Earlier | None = None,
) -> Course | None:
    """Follow targets, chosen at the first of at least two time points, to the last; None where the baseline
    holds no measurable lesion and nothing is new, where a target was not seen at some time point, and where
    one was cut at the first or last. A time point between that cuts one is not evaluable (4.4.2 of the
    guideline) and adds no sum. A complete response asks that every lesion of the baseline is known to be
    gone; a lesion that is back after one is progression, however small (appendix II of the guideline).

    Args:
        slice_mm: of the first time point, where targets are chosen.
        new: lesions that came after the baseline; one stays progression until it is known to be gone.
        earlier: of a course that began before the first time point.
    """
    if len(time_points) < 2:
        return None
    first, last = time_points[0], time_points[-1]
    chosen = tuple(lesion.uid for lesion in choose_targets(first, slice_mm))
    targets = earlier.targets if earlier else chosen
    between = [at for at in time_points[1:-1] if not any(one.cut for one in at if one.uid in targets)]
    found = [sum_of_diameters_mm(targets, lesions) for lesions in (first, *between, last)]
    sums = tuple(each for each in found if each is not None)
    if "" in targets or len(sums) < len(found):
        return None
    known = set(targets) | (earlier.others if earlier else _uids(first))
    complete = [bool(targets) and all_gone(at) and known <= _uids(at) for at in time_points]
    complete[0] = earlier is not None and earlier.complete
    if earlier:
        sums = (*earlier.sums_mm, *sums[1:])
    left = {lesion.uid for lesion in last if not all_gone([lesion])}
    gone = _uids(last) - left
    back = {
        lesion.uid
        for at, was_complete in zip(time_points[:-1], complete, strict=False)
        for lesion in at
        if was_complete and lesion.long_axis_mm == 0 and lesion.uid in left
    }
    came = frozenset(new) - gone - {""} | back
    others = frozenset(known - set(targets) - gone)
    if not targets:
        return Course(targets, sums, None, "PD", came, others) if came else None
    targets_gone = all_gone([lesion for lesion in last if lesion.uid in targets])
    target = target_response(sums[0], min(sums[:-1]), sums[-1], gone=targets_gone)
    if back & set(targets):
        target = "PD"
    overall = overall_response(target, gone=complete[-1], new_lesions=bool(came))
    return Course(targets, sums, target, overall, came, others)


def _uids(lesions: Sequence[Lesion]) -> set[str]:
    return {lesion.uid for lesion in lesions}
