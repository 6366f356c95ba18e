"""What the trainings of the lungs' and of the heart's network have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.begun import begin
from training.datasets.splits import CaseT, learned_and_held
from training.kept import digest
from training.loop import Batch, Schedule
from training.segmenter import Segmenter, train_segmenter
from training.shipped import Weights, recount

_CHECKED = 200  # pictures, at most


def parted(cases: Sequence[CaseT]) -> tuple[Sequence[CaseT], Sequence[CaseT]]:
    """Those to learn from, and some of other patients, a tenth of all, to choose the weights by; all and none
    where there are too few patients for both."""
    learned, held = learned_and_held(cases)
    if not learned or not held:
        return cases, ()
    return learned, held[:: -(-len(held) // _CHECKED)]


def train_outlines(
    made: Callable[[], Segmenter],
    shown: Iterable[npt.NDArray[np.generic]],
    held: Iterable[str],
    source: Callable[[int], Batch],
    out: Path,
    schedule: Schedule,
    *,
    title: str,
    seed: int,
    resume: bool,
    device: str,
    start: Weights | None,
    held_out: Batch | None = None,
) -> Segmenter:
    """A network as ``made`` gives it, trained on the batches of ``source``. shown: pictures and masks that
    tell this run from one on others; held: the patients among theirs who are not learned from. start: weights
    to begin with. held_out: as ``train_segmenter`` takes it.

    Raises:
        BrokenDataError: a run on other radiographs, with others held out, or of another seed, has begun in
            ``out``.
    """
    data = digest(*sorted({*held}), *(values.tobytes() for values in shown))
    begin(out, {"data": data, "seed": seed}, resume=resume, start=start)
    torch.manual_seed(seed)
    network = made()
    if start is not None:
        network.load_state_dict(start)
        recount(network, source)
    train_segmenter(
        network, source, out, schedule, held_out=held_out, resume=resume, device=device, title=title
    )
    return network
