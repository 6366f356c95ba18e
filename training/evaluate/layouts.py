"""What can be measured: the layouts of each task with their splits, and what measures them.

Functions are named here, not imported: what they need takes seconds to import, and who asks for a layout
that is not there should be told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.datasets.splits import SHARES
from training.errors import refuse_unknown

if TYPE_CHECKING:
    from pathlib import Path

    from inference.catalogue import Catalogue

    Evaluation = Callable[[Path | None, str, Path | None, Catalogue], dict[str, Any]]


@dataclass(frozen=True)
class Measure:
    """What measures a task's models on one layout: ``function`` of ``training.evaluate``, with the values
    ``given`` first. ``splits``: those that may be asked for."""

    function: str
    splits: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def imported(self) -> Evaluation:
        """The function. It takes the folder of data, the split (empty for the layout's own), a folder for
        pictures, and the models; returns figures ready for JSON."""
        module, _, name = self.function.rpartition(".")
        return partial(getattr(import_module(f"training.evaluate.{module}"), name), *self.given)


def _each(names: tuple[str, ...], function: str, splits: tuple[str, ...]) -> dict[str, Measure]:
    return {name: Measure(function, splits, (name,)) for name in names}


_BY_SEED = ("held-out", "shifted")
_BY_PATIENT = tuple(SHARES)
_BY_MODELS = ("installed", "folds")
_BY_USE = ("background", "test")

TASKS: Mapping[str, Mapping[str, Measure]] = {
    "chest-xray": {
        "phantom": Measure("chest_xray.evaluate_phantoms", _BY_SEED),
        **_each(
            ("nih", "nih14", "chexpert", "mimic-cxr"),
            "chest_xray.evaluate_labels",
            (*_BY_MODELS, *_BY_PATIENT),
        ),
        **_each(("lung-masks", "montgomery", "jsrt"), "chest_xray.evaluate_lungs", _BY_MODELS),
    },
    "ct-lesions": {
        "phantom": Measure("ct_lesions.evaluate_phantoms", _BY_SEED),
        "deeplesion": Measure("ct_lesions.evaluate_deeplesion", _BY_PATIENT),
        "deeplesion-slices": Measure("ct_lesions.evaluate_deeplesion_slices"),
    },
    "lung-nodules": {
        "phantom": Measure("lung_nodules.phantoms.evaluate_phantoms", (*_BY_SEED, "attached")),
        "lidc-slices": Measure("lung_nodules.slices.evaluate_lidc_slices", ("public_test", "train")),
        "luna16": Measure(
            "lung_nodules.luna16.evaluate_luna16",
            ("all", *_BY_PATIENT, *(f"subset{number}" for number in range(10))),
        ),
        "ct-scans": Measure("lung_nodules.scans.evaluate_scans", _BY_USE),
        "ct-scans-inserted": Measure("lung_nodules.scans.evaluate_inserted", _BY_USE),
    },
    "pet-ct": {
        "phantom": Measure("pet_ct.evaluate_phantoms", _BY_SEED),
        "lung-pet-ct-dx": Measure("lung_pet_ct_dx.evaluate_marked", ("all", *_BY_PATIENT)),
    },
    "growth": {
        "phantom": Measure("growth.evaluate_phantoms", ("installed", "stand-in")),
        "warped-ct": Measure("growth.evaluate_warped"),
        "simulated": Measure("forecast.evaluate_simulated", _BY_SEED),
    },
    "polyps": {
        "phantom": Measure("polyps.evaluate_phantoms", _BY_SEED),
        **_each(
            ("kvasir-seg", "cvc-clinicdb", "polyp-masks"),
            "polyps.evaluate_pictures",
            ("all", *_BY_PATIENT),
        ),
    },
    "registration": {"phantom": Measure("registration.evaluate_phantoms", _BY_SEED)},
}


def measure_of(task: str, layout: str, split: str = "") -> Measure:
    """What measures a task on a layout.

    Raises:
        TaskError: an unknown task, layout or split.
    """
    refuse_unknown("task", task, TASKS)
    refuse_unknown("layout", layout, TASKS[task])
    found = TASKS[task][layout]
    if split:
        refuse_unknown("split", split, found.splits)
    return found
