"""How the network of ``pet-ct`` is made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inference.catalogue import Catalogue
from inference.model_repository import sync
from inference.readers.pet_ct import CROP
from training.begun import begin
from training.export import export_one, smooth_input
from training.loop import Schedule
from training.pet_ct.cards import hot_spots_card
from training.pet_ct.network import (
    SCHEDULE,
    HotSpotNetwork,
    HotSpotsForService,
    Weights,
    malignancy_weights,
    probabilities,
    train_hot_spots,
)
from training.pet_ct.spots import MALIGNANT, PATIENTS_PER_ANATOMY, PHYSIOLOGICAL, Spots, kept_spots

FIRST_ANATOMY = 3000
_LESIONS, _CANCERS = 0.95, 0.8


@dataclass(frozen=True)
class Plan:
    """How much of everything. Bodies are drawn from seeds 3000 on, patients from 0 on; evaluation draws both
    from 700,000 on."""

    patients: int = 240
    seed: int = 1
    activation: str = "relu"
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule = SCHEDULE


def train(out: Path, plan: Plan) -> Path:
    """Train on phantoms and write ``out/models``, a model repository; returns that folder.

    The spots lie in ``out/spots``, made once; a second call goes on where the first was stopped.

    Raises:
        BrokenDataError: another run lies in ``out``.
    """
    made_from = {"patients": plan.patients, "seed": plan.seed, "activation": plan.activation}
    begin(out / "hot-spots", made_from, resume=plan.resume)
    spots = learned_from(out / "spots", plan.patients)
    held = spots.patient >= plan.patients * 5 // 6 // PATIENTS_PER_ANATOMY * PATIENTS_PER_ANATOMY
    network, _ = train_hot_spots(
        taken(spots, ~held),
        taken(spots, held),
        out / "hot-spots",
        plan.schedule,
        seed=plan.seed,
        activation=plan.activation,
        resume=plan.resume,
        device=plan.device,
    )
    network.to("cpu")
    weights = malignancy_weights(network, taken(spots, held))
    thresholds = operating_points(network, taken(spots, held), weights)
    export(HotSpotsForService(network, weights), out / "models", thresholds, plan.patients)
    return out / "models"


def learned_from(folder: Path, patients: int) -> Spots:
    """Hot spots of the patients 0 to ``patients``."""
    firsts = range(0, patients, PATIENTS_PER_ANATOMY)
    return Spots.joined(
        [
            kept_spots(folder, range(first, min(first + PATIENTS_PER_ANATOMY, patients)), FIRST_ANATOMY)
            for first in track(firsts, "phantom patients")
        ]
    )


def taken(spots: Spots, chosen: np.ndarray[Any, Any]) -> Spots:
    return Spots(*(getattr(spots, name)[chosen] for name in spots.__dataclass_fields__))


def operating_points(network: HotSpotNetwork, spots: Spots, weights: Weights) -> tuple[float, float]:
    """What 95 % of the lesions among ``spots`` reach of not being physiological, within 0.3 to 0.7, and what
    80 % of the cancers reach of being cancer, within 0.1 to 0.6; both rounded down."""
    p = probabilities(network, spots, weights)
    lesion = np.quantile(1 - p[spots.kind != PHYSIOLOGICAL, PHYSIOLOGICAL], 1 - _LESIONS)
    cancer = np.quantile(p[spots.kind == MALIGNANT, MALIGNANT], 1 - _CANCERS)
    return (
        float(np.clip(np.floor(lesion * 100) / 100, 0.3, 0.7)),
        float(np.clip(np.floor(cancer * 100) / 100, 0.1, 0.6)),
    )


def export(
    network: HotSpotsForService,
    repository: Path,
    thresholds: tuple[float, float],
    patients: int,
    metrics: Sequence[dict[str, Any]] = (),
    version: int = 1,
) -> None:
    """The network as ONNX with card, README, parity sample and Triton configuration."""
    data = {
        "name": "PET/CT phantoms",
        "kind": "phantom",
        "cases": patients,
        "license": "Apache-2.0",
        "description": "procedural patients; no real one took part",
    }
    card = hot_spots_card(version, *thresholds, [data], metrics)
    shape = (2, 1, *CROP)
    rough = smooth_input((2, 3, 6, 6, 6), CROP)
    inputs = {
        "pet": (5 * rough[:, 0:1] + 3).clamp(0, 50).reshape(shape),
        "ct": rough[:, 1:2].reshape(shape),
        "region": (rough[:, 2:3] > 0.3).float().reshape(shape),
    }
    batch = {name: {0: "batch"} for name in inputs}
    export_one(network, inputs, batch, card, repository)
    sync(Catalogue(repository))
