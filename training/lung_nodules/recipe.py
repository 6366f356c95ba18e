"""How the two networks of ``lung-nodules`` are made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from inference.catalogue import Catalogue
from inference.findings import Point
from inference.model_repository import sync
from inference.volume import load_volume
from training.datasets.lidc_slices import SliceNodule, read_slices
from training.errors import BrokenDataError
from training.export import export_one, random_input
from training.loop import Schedule
from training.lung_nodules import cards
from training.lung_nodules.backgrounds import Background, phantom_background, real_background
from training.lung_nodules.characteriser import train_characteriser
from training.lung_nodules.crops import Candidate, lidc_candidates, phantom_candidates
from training.lung_nodules.detector import train_detector
from training.lung_nodules.export import CharacteriserForService, DetectorForService
from training.lung_nodules.mining import phantom_negatives, real_negatives
from training.lung_nodules.networks import Characteriser, Detector

_FIRST_CHEST, _FIRST_CROPS = 1000, 2000
_PATIENTS_HELD_OUT = 60


@dataclass(frozen=True)
class RealScan:
    """A series that may serve as background; ``kept_clear``: places (LPS mm) and radii of known lesions."""

    name: str
    folder: Path
    kept_clear: tuple[tuple[Point, float], ...] = ()


@dataclass(frozen=True)
class Plan:
    """How much of everything. Seeds below 10,000 are training's; evaluation draws from 70,000 on.
    ``start``: the folder of an earlier run whose weights this one goes on from."""

    chests: int = 40
    crop_chests: int = 60
    detector_steps: int = 3000
    characteriser_steps: int = 1500
    seed: int = 1
    activation: str = "relu"
    device: str = "cpu"
    resume: bool = True
    minutes: float | None = None
    start: Path | None = None


def train(lidc: Path | None, scans: Sequence[RealScan], out: Path, plan: Plan) -> Path:
    """Train both networks and write them into ``out/models``, a model repository; returns that folder.

    lidc: a folder of the layout ``lidc-slices``, its train split alone is used; None for phantoms only.
    Everything on the way lies in ``out``, and a second call goes on where the first was stopped.
    """
    starts = {network: _weights(plan, network) for network in ("detector", "characteriser")}
    chests = _chests(out / "chests", plan)
    real = {s.name: real_background(s.name, partial(_load, s), out / "chests", s.kept_clear) for s in scans}
    held = max(2, len(chests) // 10)
    mixed = [*chests[held:], *(b for b in real.values() for _ in range(max(1, len(chests) // 10)))]
    schedule = Schedule(plan.detector_steps, minutes=plan.minutes and plan.minutes * 0.5)
    detector, _ = train_detector(
        mixed,
        chests[:held],
        out / "detector",
        schedule,
        seed=plan.seed,
        activation=plan.activation,
        size=64,
        batch_size=2,
        resume=plan.resume,
        device=plan.device,
        start=starts["detector"],
    )
    detector.to("cpu")
    learned, checked = _candidates(lidc, plan)
    for number, chest in enumerate(track(chests, "hard negatives")):
        learned += phantom_negatives(detector, chest, _FIRST_CHEST + number)
    for scan in scans:
        learned += real_negatives(detector, real[scan.name], _load(scan), scan.kept_clear)
    characteriser, _ = train_characteriser(
        learned,
        checked,
        out / "characteriser",
        Schedule(plan.characteriser_steps, 3e-3, minutes=plan.minutes and plan.minutes * 0.5),
        seed=plan.seed,
        activation=plan.activation,
        resume=plan.resume,
        device=plan.device,
        start=starts["characteriser"],
    )
    data = _learned_from(plan, lidc, scans)
    export(detector, characteriser.to("cpu"), out / "models", version=1, data=data, metrics=[])
    return out / "models"


def export(
    detector: Detector,
    characteriser: Characteriser,
    repository: Path,
    *,
    version: int,
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    candidate_threshold: float = 0.12,
    report_threshold: float = 0.5,
) -> None:
    """Both networks as ONNX with card, README, parity sample and Triton configuration."""
    candidate = {
        "candidate": {"threshold": candidate_threshold, "chosen_for": "what the second stage looks at"}
    }
    report = {"report": {"threshold": report_threshold, "chosen_for": "few marks on scans without nodules"}}
    rough = random_input((1, 1, 8, 8, 8))
    volume = torch.nn.functional.interpolate(rough, scale_factor=4, mode="trilinear")
    export_one(
        DetectorForService(detector),
        {"volume": volume},
        {"volume": {2: "slice", 3: "row", 4: "column"}},
        cards.detector_card(version, candidate, data, metrics),
        repository,
    )
    crop = torch.nn.functional.interpolate(
        random_input((2, 1, 6, 10, 10)), size=(12, 40, 40), mode="trilinear"
    )
    export_one(
        CharacteriserForService(characteriser),
        {"crop": crop, "spacing_mm": torch.tensor([[0.5], [1.2]])},
        {"crop": {0: "batch"}, "spacing_mm": {0: "batch"}},
        cards.characteriser_card(version, report, data, metrics),
        repository,
    )
    sync(Catalogue(repository))


def _weights(plan: Plan, network: str) -> Path | None:
    if plan.start is None:
        return None
    weights = plan.start / network / "best.pt"
    if not weights.is_file():
        raise BrokenDataError(f"{weights} is missing: {plan.start} is not the folder of an earlier run")
    return weights


def _chests(folder: Path, plan: Plan) -> list[Background]:
    seeds = range(_FIRST_CHEST, _FIRST_CHEST + plan.chests)
    return [phantom_background(seed, folder) for seed in track(seeds, "phantom chests")]


def _candidates(lidc: Path | None, plan: Plan) -> tuple[list[Candidate], list[Candidate]]:
    """Candidates to learn from, and those that choose the weights: other phantoms, other patients."""
    seeds = range(_FIRST_CROPS, _FIRST_CROPS + plan.crop_chests)
    by_chest = [phantom_candidates(seed) for seed in track(seeds, "phantom candidates")]
    held = max(1, len(by_chest) // 10)
    learned = [c for part in by_chest[held:] for c in part]
    checked = [c for part in by_chest[:held] for c in part]
    if lidc is not None:
        nodules = [n for n in read_slices(lidc) if n.split == "train"]
        kept, away = split_by_patient(nodules, plan.seed)
        rng = np.random.default_rng([plan.seed, 111])
        learned += lidc_candidates(kept, rng, copies=2)
        checked += lidc_candidates(away, rng)
    return learned, checked


def split_by_patient(
    nodules: Sequence[SliceNodule], seed: int
) -> tuple[list[SliceNodule], list[SliceNodule]]:
    """Nodules to learn from, and those of some patients held out."""
    patients = sorted({n.patient_id for n in nodules})
    count = min(_PATIENTS_HELD_OUT, len(patients) // 5)
    away = set(np.random.default_rng([seed, 112]).choice(patients, count, replace=False).tolist())
    return [n for n in nodules if n.patient_id not in away], [n for n in nodules if n.patient_id in away]


def _load(scan: RealScan) -> Any:
    return load_volume(sorted(p for p in scan.folder.iterdir() if p.is_file()))


def _learned_from(plan: Plan, lidc: Path | None, scans: Sequence[RealScan]) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = [
        {"name": "chest phantoms", "kind": "phantom", "cases": plan.chests + plan.crop_chests}
    ]
    if lidc is not None:
        data.append(
            {"name": "LIDC-IDRI slice crops, train", "kind": "real", "cases": 1843, "license": "CC BY 3.0"}
        )
    data += [{"name": s.name, "kind": "real", "cases": 1, "description": "background"} for s in scans]
    return data
