"""How good the readers are, by the field's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.errors import TaskError
from training.evaluate import chest_xray, ct_lesions, growth, lung_nodules, pet_ct, polyps, registration

TASKS = {
    "chest-xray": chest_xray.LAYOUTS,
    "ct-lesions": ct_lesions.LAYOUTS,
    "lung-nodules": lung_nodules.LAYOUTS,
    "pet-ct": pet_ct.LAYOUTS,
    "growth": growth.LAYOUTS,
    "polyps": polyps.LAYOUTS,
    "registration": registration.LAYOUTS,
}


def evaluate(
    task: str, data: Path | None, layout: str, split: str = "", out: Path | None = None
) -> dict[str, Any]:
    """Figures of the shipped reader on a data set, ready for JSON.

    Args:
        task: a reader's name. layout: how ``data`` is laid out; ``phantom`` needs none.
        split: which part of it; the layout's own default where empty.
        out: a folder for pictures; None for none.

    Raises:
        TaskError: an unknown task, layout or split, or data that is not laid out so.
    """
    if task not in TASKS:
        raise TaskError(f"there is nothing to evaluate for {task!r}; there is: {', '.join(TASKS)}")
    if layout not in TASKS[task]:
        raise TaskError(
            f"{task} cannot be evaluated on the layout {layout!r}; it can on: {', '.join(TASKS[task])}"
        )
    return TASKS[task][layout](data, split, out)
