"""How the two networks of ``lung-nodules`` are made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from inference.catalogue import Catalogue
from inference.findings import Point
from inference.model_repository import sync
from training.datasets.ct_scans import CtScan, read_scans
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
from training.lung_nodules.kept import kept_candidates
from training.lung_nodules.mining import phantom_negatives, real_negatives
from training.lung_nodules.networks import Characteriser, Detector

_FIRST_CHEST, _FIRST_CROPS = 1000, 2000
_PATIENTS_HELD_OUT = 60


@dataclass(frozen=True)
class Plan:
    """How much of everything. Seeds below 10,000 are training's; evaluation draws from 70,000 on.

    mined: of how many chests the detector's mistakes become hard negatives. ``start``: the folder of an
    earlier run whose weights this one goes on from.
    """

    chests: int = 40
    crop_chests: int = 25
    mined: int = 14
    detector_steps: int = 1800
    characteriser_steps: int = 1100
    patch: int = 64
    seed: int = 1
    activation: str = "relu"
    device: str = "cpu"
    resume: bool = True
    minutes: float | None = None
    start: Path | None = None


@dataclass(frozen=True)
class Sources:
    """What real data there is. ``lidc``: a folder of the layout ``lidc-slices``, of which the train split
    alone is used; ``scans``: backgrounds to draw nodules into, away from their known lesions."""

    lidc: Path | None = None
    scans: tuple[CtScan, ...] = ()

    @classmethod
    def within(cls, folder: Path) -> Sources:
        """``folder`` is of the layout ``lidc-slices``, or holds one that is; then its CT scans (layout
        ``ct-scans``) that may serve as backgrounds are used too.

        Raises:
            BrokenDataError: there is none, or more than one.
        """
        if (folder / "nodules.csv").is_file():
            return cls(folder)
        found = sorted(p.parent for p in folder.glob("*/nodules.csv"))
        if len(found) != 1:
            raise BrokenDataError(
                f"{folder} is not of the layout lidc-slices (it holds no nodules.csv), and of its folders "
                f"{len(found) or 'none'} is; name one that is, or one that holds it"
            )
        return cls(found[0], tuple(s for s in read_scans(folder) if s.use == "background"))


def train(sources: Sources, out: Path, plan: Plan) -> Path:
    """Train both networks and write them into ``out/models``, a model repository; returns that folder.

    Everything on the way lies in ``out``, and a second call goes on where the first was stopped.
    """
    starts = {network: _weights(plan, network) for network in ("detector", "characteriser")}
    chests = _chests(out / "chests", plan)
    real = {s.name: real_background(s.slug, s.load, out / "chests", _kept_clear(s)) for s in sources.scans}
    held = max(1, len(chests) // 10)
    detector, _ = train_detector(
        _mixed(chests[held:], list(real.values())),
        chests[:held],
        out / "detector",
        Schedule(plan.detector_steps, validate_every=300, minutes=plan.minutes and plan.minutes * 0.6),
        seed=plan.seed,
        activation=plan.activation,
        size=plan.patch,
        batch_size=2,
        resume=plan.resume,
        device=plan.device,
        start=starts["detector"],
    )
    detector.to("cpu")
    learned, checked = prepare(sources.lidc, out / "candidates", plan)
    learned = learned + kept_candidates(
        out / "candidates" / "mistaken.npz",
        lambda: _mistaken(detector, chests[: plan.mined], sources.scans, real),
    )
    characteriser, _ = train_characteriser(
        learned,
        checked,
        out / "characteriser",
        Schedule(
            plan.characteriser_steps, 3e-3, validate_every=150, minutes=plan.minutes and plan.minutes * 0.4
        ),
        seed=plan.seed,
        activation=plan.activation,
        resume=plan.resume,
        device=plan.device,
        start=starts["characteriser"],
    )
    data = _learned_from(plan, sources, learned)
    export(detector, characteriser.to("cpu"), out / "models", version=1, data=data, metrics=[])
    return out / "models"


def _mixed(phantoms: Sequence[Background], real: Sequence[Background]) -> list[Background]:
    """Backgrounds to draw from evenly: nearly a third of all patches are real where there are real scans, the
    larger scans more often."""
    voxels = sum(b.hu.size for b in real)
    repeats = [max(1, round(0.4 * len(phantoms) * b.hu.size / voxels)) for b in real]
    return [*phantoms, *(b for b, count in zip(real, repeats, strict=True) for _ in range(count))]


def _kept_clear(scan: CtScan) -> tuple[tuple[Point, float], ...]:
    return tuple((center, radius + 10) for center, radius in scan.lesions)


def _mistaken(
    detector: Detector,
    chests: Sequence[Background],
    scans: Sequence[CtScan],
    real: Mapping[str, Background],
) -> list[Candidate]:
    out: list[Candidate] = []
    for number, chest in enumerate(track(chests, "hard negatives")):
        out += phantom_negatives(detector, chest, _FIRST_CHEST + number, most=20)
    for scan in scans:
        out += real_negatives(detector, real[scan.name], scan.load(), _kept_clear(scan))
    return out


def export(
    detector: Detector,
    characteriser: Characteriser,
    repository: Path,
    *,
    version: int,
    data: Mapping[str, Sequence[dict[str, Any]]],
    metrics: Sequence[dict[str, Any]],
    candidate_threshold: float = 0.12,
    report_threshold: float = 0.42,
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
        cards.detector_card(version, candidate, data[cards.DETECTOR], metrics),
        repository,
        cards.TEXTS[cards.DETECTOR],
    )
    crop = torch.nn.functional.interpolate(
        random_input((2, 1, 6, 10, 10)), size=(12, 40, 40), mode="trilinear"
    )
    export_one(
        CharacteriserForService(characteriser),
        {"crop": crop, "spacing_mm": torch.tensor([[0.5], [1.2]])},
        {"crop": {0: "batch"}, "spacing_mm": {0: "batch"}},
        cards.characteriser_card(version, report, data[cards.CHARACTERISER], metrics),
        repository,
        cards.TEXTS[cards.CHARACTERISER],
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


def prepare(lidc: Path | None, folder: Path, plan: Plan) -> tuple[list[Candidate], list[Candidate]]:
    """Candidates to learn from, and those that choose the weights: other phantoms, other patients. They are
    kept in ``folder``."""
    seeds = range(_FIRST_CROPS, _FIRST_CROPS + plan.crop_chests)
    held = max(1, len(seeds) // 10)

    def of_phantoms(part: Sequence[int]) -> list[Candidate]:
        return [c for seed in track(part, "phantom candidates") for c in phantom_candidates(seed)]

    learned = kept_candidates(folder / "phantoms.npz", lambda: of_phantoms(seeds[held:]))
    checked = kept_candidates(folder / "phantoms-checked.npz", lambda: of_phantoms(seeds[:held]))
    if lidc is not None:

        def of_patients(part: int, copies: int) -> list[Candidate]:
            nodules = [n for n in read_slices(lidc) if n.split == "train"]
            rng = np.random.default_rng([plan.seed, 111, part])
            return lidc_candidates(split_by_patient(nodules, plan.seed)[part], rng, copies)

        learned += kept_candidates(folder / "lidc.npz", lambda: of_patients(0, 2))
        checked += kept_candidates(folder / "lidc-checked.npz", lambda: of_patients(1, 1))
    return learned, checked


def split_by_patient(
    nodules: Sequence[SliceNodule], seed: int
) -> tuple[list[SliceNodule], list[SliceNodule]]:
    """Nodules to learn from, and those of some patients held out."""
    patients = sorted({n.patient_id for n in nodules})
    count = min(_PATIENTS_HELD_OUT, len(patients) // 5)
    away = set(np.random.default_rng([seed, 112]).choice(patients, count, replace=False).tolist())
    return [n for n in nodules if n.patient_id not in away], [n for n in nodules if n.patient_id in away]


def _learned_from(
    plan: Plan, sources: Sources, candidates: Sequence[Candidate]
) -> dict[str, list[dict[str, Any]]]:
    """Training data as the cards name them, by network."""
    nodules = [c for c in candidates if c.real and c.nodule]
    backgrounds = [
        {"name": s.name, "kind": "real", "cases": 1, "license": s.license, "description": "background"}
        for s in sources.scans
    ]
    chests = {"name": "chest phantoms", "kind": "phantom", "license": "Apache-2.0"}
    drawn = "nodules drawn in anew for every patch"
    closer = f"candidates, with the detector's mistakes in {plan.mined} more chests"
    slices = {
        "name": "LIDC-IDRI slice crops, train",
        "kind": "real",
        "cases": len(nodules) // 2,
        "license": "CC BY 3.0",
        "description": "nodules with their readers' masks and ratings, and marked non-nodules",
    }
    return {
        cards.DETECTOR: [{**chests, "cases": plan.chests, "description": drawn}, *backgrounds],
        cards.CHARACTERISER: [
            {**chests, "cases": plan.crop_chests, "description": closer},
            *([slices] if sources.lidc else []),
            *backgrounds,
        ],
    }
