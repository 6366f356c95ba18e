"""Activations and architectures side by side: each trained alike, on a small budget, with several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.contest import Contest, Trial, Variant
from training.errors import TaskError
from training.tasks import TASKS


@dataclass(frozen=True)
class Row:
    """One network over all seeds; ``deviation`` between seeds, None of a single one."""

    architecture: str
    activation: str
    score: float
    deviation: float | None
    parameters: int
    seconds_per_step: float


def _ct_lesions() -> Contest:
    from training.ct_lesions.trial import METRIC, trial

    return _contest("ct-lesions", trial, METRIC)


def _polyps() -> Contest:
    from training.polyps.trial import METRIC, trial

    return _contest("polyps", trial, METRIC)


def _contest(task: str, trial: Callable[[Path, Variant], Trial], metric: str) -> Contest:
    """Between all the networks that ``task`` can be trained with."""
    return Contest(trial, metric, TASKS[task].architectures, TASKS[task].activations)


CONTESTS: Mapping[str, Callable[[], Contest]] = {"ct-lesions": _ct_lesions, "polyps": _polyps}


def compare(task: str, out: Path, *, steps: int, seeds: int) -> dict[str, Any]:
    """Train every network of ``task`` for ``steps`` steps with each of ``seeds`` seeds; figures ready for
    JSON, the rows best first. What it keeps lies in the folder ``task`` of ``out``.

    Raises:
        TaskError: a task of which nothing can be compared.
    """
    if task not in CONTESTS:
        raise TaskError(f"nothing can be compared of {task!r}; there is: {', '.join(CONTESTS)}")
    contest = CONTESTS[task]()
    rows = []
    for architecture, activation in contest.networks():
        variants = (Variant(architecture, activation, steps, 1 + k) for k in range(seeds))
        trials = [contest.trial(out / task, variant) for variant in variants]
        scores = [trial.score for trial in trials]
        rows.append(
            Row(
                architecture,
                activation,
                float(np.mean(scores)),
                float(np.std(scores, ddof=1)) if seeds > 1 else None,
                trials[0].parameters,
                float(np.median([trial.seconds_per_step for trial in trials])),
            )
        )
    rows.sort(key=lambda row: -row.score)
    return {
        "task": task,
        "metric": contest.metric,
        "steps": steps,
        "seeds": seeds,
        "rows": [asdict(row) for row in rows],
    }
