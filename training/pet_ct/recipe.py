"""How the network of ``pet-ct`` is made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.model_repository import sync
from inference.readers.pet_ct import CROP, HOT_SPOTS
from training.begun import begin
from training.datasets.pet_ct_studies import read_pet_ct_studies
from training.datasets.splits import kept_splits
from training.errors import BrokenDataError
from training.export import export_one, smooth_input
from training.kept import digest
from training.loop import Schedule
from training.pet_ct.cards import hot_spots_card, learned_data
from training.pet_ct.marked import real_spots, tell_left_out
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
from training.pet_ct.start import weights_of
from training.shipped import learned_before

LAYOUT = "lung-pet-ct-dx"
RUN = "hot-spots"
FIRST_ANATOMY = 3000
_LESIONS, _CANCERS = 0.95, 0.8


@dataclass(frozen=True)
class Plan:
    """How much of everything. Bodies are drawn from seeds 3000 on, patients from 0 on; evaluation draws both
    from 700,000 on. ``start``: the folder of an earlier run or of models, whose weights are gone on from."""

    patients: int = 240
    seed: int = 1
    activation: str = "relu"
    device: str = "cpu"
    resume: bool = True
    schedule: Schedule = SCHEDULE
    start: Path | None = None


def train(out: Path, plan: Plan, data: Path | None = None, catalogue: Catalogue | None = None) -> Path:
    """Train on phantoms and write ``out/models``, a model repository; returns that folder.

    data: of the layout ``lung-pet-ct-dx``; the patients that ``out/splits.json`` calls train are learned
    from, as much as phantoms, and those it calls validation have a say in which weights are kept and from
    which probability on a spot is reported. The network then says histologies, too. catalogue: the models
    whose registration lays a CT into its PET, as it does for the reader; None for the shipped ones.

    What the spots are cut into lies in ``out/spots``, made once; a second call goes on where the first was
    stopped.

    Raises:
        BrokenDataError: no weights in ``plan.start``, data that is not laid out so or damaged, or another
            run in ``out``.
    """
    start = weights_of(plan.start, RUN, plan.activation, typed=data is not None)
    real = {} if data is None else _real(data, out, catalogue or Catalogue())
    made_from = {"patients": plan.patients, "seed": plan.seed, "activation": plan.activation}
    made_from |= {"layout": "phantom" if data is None else LAYOUT, "data": _shown(real)}
    begin(out / RUN, made_from, resume=plan.resume, start=start)
    spots = learned_from(out / "spots", plan.patients)
    held = spots.patient >= plan.patients * 5 // 6 // PATIENTS_PER_ANATOMY * PATIENTS_PER_ANATOMY
    phantoms, validation = taken(spots, held), real.get("validation")
    network, _ = train_hot_spots(
        taken(spots, ~held),
        phantoms,
        out / RUN,
        plan.schedule,
        real=real.get("train"),
        held_out_real=validation,
        seed=plan.seed,
        activation=plan.activation,
        resume=plan.resume,
        device=plan.device,
        start=start,
    )
    network.to("cpu")
    weights = malignancy_weights(network, phantoms)
    chosen_on = phantoms if validation is None else Spots.joined([phantoms, validation])
    thresholds = operating_points(network, chosen_on, weights)
    own = learned_data(plan.patients, LAYOUT, _patients(real.get("train")))
    learned = [*own, *learned_before(plan.start, HOT_SPOTS)]
    export(HotSpotsForService(network, weights), out / "models", thresholds, learned)
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
    learned: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]] = (),
    version: int = 1,
) -> None:
    """The network as ONNX with card, README, parity sample and Triton configuration. learned: what from, as
    the card says it."""
    typed = network.network.types is not None
    card = hot_spots_card(version, *thresholds, learned, metrics, typed=typed)
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


def _real(data: Path, out: Path, catalogue: Catalogue) -> dict[str, Spots]:
    """The spots that are known, by split; the studies left out are told."""
    release = read_pet_ct_studies(data)
    tell_left_out(release.left_out)
    split = kept_splits(out / "splits.json", (study.patient for study in release.studies))
    engine = EmbeddedEngine(catalogue)
    found = {}
    for name in ("train", "validation"):
        studies = [study for study in release.studies if split[study.patient] == name]
        spots, refused = real_spots(studies, out / "spots", engine, catalogue)
        tell_left_out(refused)
        if spots is not None:
            found[name] = spots
    if "train" not in found or not (found["train"].kind == MALIGNANT).any():
        raise BrokenDataError(
            f"{data} holds no PET/CT of the split train with a hot spot in a box: nothing to learn from"
        )
    return found


def _shown(real: Mapping[str, Spots]) -> str:
    """Digits that are others where anything learned from or chosen by is."""
    arrays = (getattr(spots, name) for spots in real.values() for name in spots.__dataclass_fields__)
    return digest(*(values.tobytes() for values in arrays))


def _patients(spots: Spots | None) -> int:
    return 0 if spots is None else len(np.unique(spots.patient))
