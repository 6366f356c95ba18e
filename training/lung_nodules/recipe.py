"""How the two networks of ``lung-nodules`` are made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from training.begun import begin
from training.datasets.lidc_slices import SliceNodule, read_slices
from training.kept import digest
from training.loop import Schedule
from training.lung_nodules import cards
from training.lung_nodules.backgrounds import Background, phantom_background, real_background
from training.lung_nodules.characteriser import train_characteriser
from training.lung_nodules.crops import Candidate, lidc_candidates
from training.lung_nodules.detector import train_detector
from training.lung_nodules.export import CharacteriserForService, DetectorForService, export
from training.lung_nodules.kept import kept_candidates
from training.lung_nodules.masses import large_candidates
from training.lung_nodules.mining import real_negatives, scan_candidates
from training.lung_nodules.networks import Characteriser, Detector
from training.lung_nodules.phantom_scans import searched
from training.lung_nodules.sources import RealSeries, Sources
from training.shipped import Weights, earlier_weights, learned_before

_FIRST_CHEST, _FIRST_CROPS = 1000, 2000
_PATIENTS_HELD_OUT = 60


@dataclass(frozen=True)
class Plan:
    """How much of everything. Seeds below 10,000 are training's; evaluation draws from 70,000 on.

    scans_each, nodules_each: how often each of ``crop_chests`` is scanned for the second stage, and with how
    many nodules. start: the folder of an earlier run or of models, whose weights this one goes on from.
    """

    chests: int = 40
    crop_chests: int = 40
    scans_each: int = 6
    nodules_each: int = 14
    detector_steps: int = 1800
    characteriser_steps: int = 1100
    patch: int = 64
    seed: int = 1
    activation: str = "relu"
    device: str = "cpu"
    resume: bool = True
    minutes: float | None = None
    start: Path | None = None


@dataclass(frozen=True, eq=False)
class Learned:
    """Both networks, and by network what they learned from, as their cards say it."""

    detector: Detector
    characteriser: Characteriser
    data: Mapping[str, Sequence[dict[str, Any]]]


def train(sources: Sources, out: Path, plan: Plan) -> Path:
    """Train both networks and write them into ``out/models``, a model repository; returns that folder.

    Everything on the way lies in ``out``, and a second call goes on where the first was stopped.
    """
    learned = learn(sources, out, plan)
    export(
        learned.detector,
        learned.characteriser,
        out / "models",
        version=1,
        data=learned.data,
        metrics=[],
        command=cards.command(sources.layout, goes_on=plan.start is not None),
    )
    return out / "models"


def learn(sources: Sources, out: Path, plan: Plan) -> Learned:
    """Train both networks; the same sources and plan give the same weights on the same machine.

    Raises:
        BrokenDataError: no weights in ``plan.start``, or another run in ``out``.
    """
    start, start_of_looks = _starts(plan)
    for stage, weights in (("detector", start), ("characteriser", start_of_looks)):
        begin(out / stage, _made_from(sources, plan), resume=plan.resume, start=weights)
    chests = _chests(out / "chests", plan)
    real = {s.name: real_background(s, out / "chests") for s in track(sources.scans, "scans")}
    held = _held(len(chests))
    learned_from = [real[s.name] for s in sources.scans if not s.held_out]
    detector, _ = train_detector(
        _mixed(chests[held:], learned_from),
        [*chests[:held], *(real[s.name] for s in sources.scans if s.held_out)],
        out / "detector",
        Schedule(plan.detector_steps, validate_every=300, minutes=plan.minutes and plan.minutes * 0.6),
        seed=plan.seed,
        activation=plan.activation,
        size=plan.patch,
        batch_size=2,
        resume=plan.resume,
        device=plan.device,
        start=start,
    )
    detector.to("cpu")
    marked, checked = prepare(detector, sources, out / "candidates", plan)
    mistaken = kept_candidates(
        out / "candidates" / "mistaken",
        (detector, *sources.scans),
        lambda: _mistaken(detector, sources.scans, real),
    )
    empty = [real[s.name] for s in sources.scans if not (s.held_out or s.nodules or s.mistaken)]
    lesion_free = [*chests[held:], *empty]
    large = kept_candidates(
        out / "candidates" / "large",
        (detector, plan.seed, *((one.name, one.kept_clear) for one in lesion_free)),
        lambda: _large(detector, lesion_free, plan.seed),
    )
    characteriser, _ = train_characteriser(
        [*marked, *mistaken, *large],
        checked,
        out / "characteriser",
        Schedule(
            plan.characteriser_steps, 3e-3, validate_every=150, minutes=plan.minutes and plan.minutes * 0.4
        ),
        seed=plan.seed,
        activation=plan.activation,
        resume=plan.resume,
        device=plan.device,
        start=start_of_looks,
    )
    data = data_of_cards(plan, sources, marked)
    with_before = {name: [*own, *learned_before(plan.start, name)] for name, own in data.items()}
    return Learned(detector, characteriser.to("cpu"), with_before)


def _mixed(phantoms: Sequence[Background], real: Sequence[Background]) -> list[Background]:
    """Backgrounds to draw from evenly: nearly a third of all patches are real where there are real scans, the
    larger scans more often."""
    voxels = sum(b.hu.size for b in real)
    repeats = [max(1, round(0.4 * len(phantoms) * b.hu.size / voxels)) for b in real]
    return [*phantoms, *(b for b, count in zip(real, repeats, strict=True) for _ in range(count))]


def _mistaken(
    detector: Detector, scans: Sequence[RealSeries], real: Mapping[str, Background]
) -> list[Candidate]:
    out: list[Candidate] = []
    for scan in track(scans, "hard negatives"):
        if not scan.held_out:
            out += real_negatives(detector, real[scan.name], scan.load(), scan.known)
    return out


def _large(detector: Detector, backgrounds: Sequence[Background], seed: int) -> list[Candidate]:
    return [
        c
        for number, one in enumerate(track(backgrounds, "large candidates"))
        for c in large_candidates(detector, one, 1, 1000 * seed + number)
    ]


def _starts(plan: Plan) -> tuple[Weights | None, Weights | None]:
    """Of the detector and of the characteriser."""
    options = {"activation": plan.activation}
    detector, characteriser = Detector(plan.activation), Characteriser(plan.activation)
    return (
        earlier_weights(
            plan.start, "detector", cards.DETECTOR, detector, DetectorForService, options=options
        ),
        earlier_weights(
            plan.start,
            "characteriser",
            cards.CHARACTERISER,
            characteriser,
            CharacteriserForService,
            take=Characteriser.go_on_from,
            options=options,
        ),
    )


def _made_from(sources: Sources, plan: Plan) -> dict[str, object]:
    return {
        "task": "lung-nodules",
        "data": digest(*sources.scans, *sources.lidc_tables()),
        "phantoms": (plan.chests, plan.crop_chests, plan.scans_each, plan.nodules_each),
        "patch": plan.patch,
        "seed": plan.seed,
        "activation": plan.activation,
    }


def _held(patients: int) -> int:
    """How many of the phantoms are kept to choose the weights by."""
    return max(1, patients // 10)


def _chests(folder: Path, plan: Plan) -> list[Background]:
    seeds = range(_FIRST_CHEST, _FIRST_CHEST + plan.chests)
    return [phantom_background(seed, folder) for seed in track(seeds, "phantom chests")]


def prepare(
    detector: Detector, sources: Sources, folder: Path, plan: Plan
) -> tuple[list[Candidate], list[Candidate]]:
    """Candidates to learn from, and those that choose the weights: other phantoms, other patients. They are
    kept in ``folder``, each file named by what it was made from."""
    seeds = range(_FIRST_CROPS, _FIRST_CROPS + plan.crop_chests)
    held = _held(len(seeds))

    def of_phantoms(name: str, part: range) -> list[Candidate]:
        def make() -> list[Candidate]:
            return [
                c
                for seed in track(part, "phantom candidates")
                for c in searched(detector, seed, plan.scans_each, plan.nodules_each)
            ]

        made_from = detector, part, plan.scans_each, plan.nodules_each
        return kept_candidates(folder / name, made_from, make)

    learned = of_phantoms("phantoms", seeds[held:])
    checked = of_phantoms("phantoms-checked", seeds[:held])
    lidc = sources.lidc
    if lidc is not None:

        def of_patients(name: str, part: int, copies: int) -> list[Candidate]:
            def make() -> list[Candidate]:
                nodules = [n for n in read_slices(lidc) if n.split == "train"]
                rng = np.random.default_rng([plan.seed, 111, part])
                return lidc_candidates(split_by_patient(nodules, plan.seed)[part], rng, copies)

            return kept_candidates(folder / name, (plan.seed, *sources.lidc_tables()), make)

        learned += of_patients("lidc", part=0, copies=2)
        checked += of_patients("lidc-checked", part=1, copies=1)

    def of_scans(name: str, held_out: bool) -> list[Candidate]:
        chosen = [s for s in sources.scans if s.held_out is held_out and (s.nodules or s.mistaken)]

        def make() -> list[Candidate]:
            return [c for s in track(chosen, "candidates of scans") for c in scan_candidates(s, plan.seed)]

        return kept_candidates(folder / name, (plan.seed, *chosen), make)

    learned += of_scans("scans", held_out=False)
    checked += of_scans("scans-checked", held_out=True)
    return learned, checked


def split_by_patient(
    nodules: Sequence[SliceNodule], seed: int
) -> tuple[list[SliceNodule], list[SliceNodule]]:
    """Nodules to learn from, and those of some patients held out."""
    patients = sorted({n.patient_id for n in nodules})
    count = min(_PATIENTS_HELD_OUT, len(patients) // 5)
    away = set(np.random.default_rng([seed, 112]).choice(patients, count, replace=False).tolist())
    return [n for n in nodules if n.patient_id not in away], [n for n in nodules if n.patient_id in away]


def data_of_cards(
    plan: Plan, sources: Sources, candidates: Sequence[Candidate]
) -> dict[str, list[dict[str, Any]]]:
    """Training data as the cards name them, by network. What chose the weights was not learned from."""
    learned = [s for s in sources.scans if not s.held_out]
    learned_chests = plan.chests - _held(plan.chests)
    scans = [s for s in learned if not s.nodules and not s.mistaken]
    drawn_in = "background, with lesions drawn in"
    real = [
        {"name": s.name, "kind": "real", "cases": 1, "license": s.license, "description": drawn_in}
        for s in scans
    ]
    if annotated := [s for s in learned if s.nodules or s.mistaken]:
        description = "scans with their nodules and marked non-nodules, and more nodules drawn in"
        one = {"name": "LUNA16", "kind": "real", "cases": len(annotated), "license": annotated[0].license}
        real.append({**one, "description": description})
    chests = {"name": "chest phantoms", "kind": "phantom", "license": "Apache-2.0"}
    drawn = "nodules drawn in anew for every patch"
    closer = (
        f"what the detector marks in {plan.scans_each} scans of each, {plan.nodules_each} nodules in a scan"
    )
    large = {
        **chests,
        "name": "other chest phantoms",
        "cases": learned_chests,
        "description": "masses drawn at the pleura, and what a search for masses marks beside them",
    }
    slices = {
        "name": "LIDC-IDRI slice crops, train",
        "kind": "real",
        "cases": sum(bool(c.real and c.nodule and c.mask.any()) for c in candidates) // 2,
        "license": "CC BY 3.0",
        "description": "nodules with their readers' masks and ratings, and marked non-nodules",
    }
    return {
        cards.DETECTOR: [{**chests, "cases": learned_chests, "description": drawn}, *real],
        cards.CHARACTERISER: [
            {**chests, "cases": plan.crop_chests - _held(plan.crop_chests), "description": closer},
            *([large] if large["cases"] else []),
            *([slices] if sources.lidc else []),
            *real,
        ],
    }
