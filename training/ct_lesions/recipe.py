"""How ``ct-lesions`` is made, from nothing to a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.model_repository import sync
from training.begun import begin
from training.ct_lesions import cards
from training.ct_lesions.characteriser import train_characteriser
from training.ct_lesions.crops import AROUND, SHAPE, Crop, kept_crops
from training.ct_lesions.detector import train_detector
from training.ct_lesions.key_slices import KeySlicePatches, key_slice_crops
from training.ct_lesions.networks import (
    Characteriser,
    CharacteriserForService,
    LesionNet,
    LesionNetForService,
)
from training.ct_lesions.patches import Shard, phantom_shard, real_shard
from training.ct_lesions.searched import phantom_crops, real_crops
from training.ct_lesions.sources import MarkedSlices, RealScan
from training.ct_lesions.words import weigh
from training.datasets.deeplesion import KeySlice
from training.datasets.splits import write_splits
from training.export import export_one, smooth_input
from training.kept import digest
from training.loop import Schedule
from training.shipped import Weights, earlier_weights, learned_before

FIRST_TRUNK, FIRST_CROPS = 3000, 4000
VERSION = 4
_REAL_ROUNDS = 3
_TRUNKS_TO_A_SCAN = 25  # real scans are few, and what a body looks like is learned from them


@dataclass(frozen=True)
class Plan:
    """How much of everything. Of the first network: ``trunks`` and ``steps``; of the second: ``crop_trunks``,
    each scanned ``scans_each`` times with ``lesions_each``, and ``look_steps``; ``word_scans`` tell what
    the words of both weigh. Of marked scans the first network learns every key slice, the second
    ``slices_each`` of each patient, and ``checked`` patients, a key slice each, choose the weights. Seeds
    below 10,000 are training's; evaluation draws from 70,000 on.
    ``minutes``: of both trainings together.
    ``start``: the folder of an earlier run or of models, whose weights this one goes on from."""

    trunks: int = 50
    steps: int = 6000
    crop_trunks: int = 120
    scans_each: int = 3
    lesions_each: int = 14
    look_steps: int = 4000
    word_scans: int = 16
    slices_each: int = 2
    checked: int = 120
    seed: int = 1
    activation: str = "relu"
    architecture: str = "unet"
    device: str = "cpu"
    resume: bool = True
    minutes: float | None = None
    start: Path | None = None

    def schedules(self) -> tuple[Schedule, Schedule]:
        """Of the first network and of the second."""
        first, second = (self.minutes and share * self.minutes for share in (0.6, 0.4))
        return Schedule(self.steps, 3e-3, minutes=first), Schedule(self.look_steps, 3e-3, minutes=second)


def train(scans: Sequence[RealScan], out: Path, plan: Plan, marked: MarkedSlices | None = None) -> Path:
    """Train and write both networks into ``out/models``, a model repository; returns that folder.

    Everything on the way lies in ``out``, and a second call goes on where the first was stopped. The second
    stage learns from what the first one marks. marked: scans with marked lesions, half of each batch of both;
    the other half are phantoms, which alone tell of malignancy and of a lesion's third dimension.

    Raises:
        BrokenDataError: no weights in ``plan.start``, or another run in ``out``.
    """
    start, start_of_looks = _starts(plan)
    marked = marked or MarkedSlices()
    for stage, weights in (("network", start), ("characteriser", start_of_looks)):
        begin(out / stage, _made_from(scans, plan, marked), resume=plan.resume, start=weights)
    if marked.splits:
        write_splits(out / "splits.json", marked.splits)
    checked = _checked(marked, plan)
    folder, repository = out / "patches", out / "models"
    seeds = range(FIRST_TRUNK, FIRST_TRUNK + plan.trunks)
    names = [phantom_shard(seed, folder) for seed in track(seeds, "phantom trunks")]
    names_real = [real_shard(scan.background(), folder) for scan in track(scans, "real scans")]
    patients = [*marked.learned, *((one,) for one in checked)]
    sliced = [
        KeySlicePatches.of(slices, folder) for slices in track(patients, "key slices", disable=not patients)
    ]
    held = _held_out(plan.trunks)
    first, second = plan.schedules()
    often = max(1, plan.trunks // _TRUNKS_TO_A_SCAN)
    shards = [Shard.opened(folder, name) for name in (*names[held:], *names_real * often)]
    network, _ = train_detector(
        shards,
        [Shard.opened(folder, name) for name in names[:held]],
        out / "network",
        first,
        marked=sliced[: len(marked.learned)],
        marked_held_out=sliced[len(marked.learned) :],
        seed=plan.seed,
        activation=plan.activation,
        architecture=plan.architecture,
        resume=plan.resume,
        device=plan.device,
        start=start,
    )
    every = [one for slices in marked.learned for one in slices]
    data = [*learned_from(plan.trunks - held, scans, len(every)), *learned_before(plan.start, cards.NAME)]
    export_detector(network.to("cpu"), repository, version=VERSION, data=data, metrics=[])
    learned, held_out = prepare(scans, repository, out / "crops", plan)
    searched = [one for slices in marked.learned for one in _some(slices, plan)]
    characteriser, _ = train_characteriser(
        learned,
        held_out,
        out / "characteriser",
        second,
        marked=prepare_marked(searched, repository, out / "crops"),
        marked_held_out=prepare_marked(checked, repository, out / "crops"),
        seed=plan.seed,
        activation=plan.activation,
        resume=plan.resume,
        device=plan.device,
        start=start_of_looks,
    )
    data = [
        *learned_from(plan.crop_trunks - _held_out(plan.crop_trunks), scans, len(searched)),
        *learned_before(plan.start, cards.CHARACTERISER),
    ]
    export_characteriser(characteriser.to("cpu"), repository, version=VERSION, data=data, metrics=[])
    weigh(repository, plan.word_scans)
    return repository


def prepare(
    scans: Sequence[RealScan], repository: Path, folder: Path, plan: Plan
) -> tuple[list[Crop], list[Crop]]:
    """Crops to learn from, and those of other phantoms that choose the weights, about the marks of the first
    network in ``repository``. They are kept in ``folder``, each file named by what it was made from."""
    catalogue = Catalogue(repository)
    engine = EmbeddedEngine(catalogue)
    card = catalogue.find(cards.NAME).card
    marked_by = card.sha256, card.operating_points, card.postprocess

    def of_phantom(seed: int) -> list[Crop]:
        make = partial(phantom_crops, seed, plan.scans_each, plan.lesions_each, engine, card)
        made_from = *marked_by, plan.scans_each, plan.lesions_each
        return kept_crops(folder / f"trunk-{seed}", made_from, make)

    def of_scan(scan: RealScan) -> list[Crop]:
        rounds = _REAL_ROUNDS * plan.scans_each

        def make() -> list[Crop]:
            return real_crops(scan.load(), scan.kept_clear, rounds, plan.lesions_each, engine, card)

        made_from = *marked_by, scan.kept_clear, rounds, plan.lesions_each
        return kept_crops(folder / f"real-{scan.name}", made_from, make)

    seeds = range(FIRST_CROPS, FIRST_CROPS + plan.crop_trunks)
    crops = [of_phantom(seed) for seed in track(seeds, "marks in phantoms")]
    held = _held_out(plan.crop_trunks)
    crops += [of_scan(scan) for scan in track(scans, "marks in real scans")]
    return list(chain.from_iterable(crops[held:])), list(chain.from_iterable(crops[:held]))


def prepare_marked(key_slices: Sequence[KeySlice], repository: Path, folder: Path) -> list[Crop]:
    """Crops of key slices, about the marks of the first network in ``repository`` and about those made by
    hand; kept in ``folder`` as those of ``prepare`` are."""
    catalogue = Catalogue(repository)
    engine = EmbeddedEngine(catalogue)
    card = catalogue.find(cards.NAME).card

    def of_slice(one: KeySlice) -> list[Crop]:
        made_from = card.sha256, card.operating_points, card.postprocess, one
        path = folder / f"deeplesion-{one.path.parent.name}-{one.path.stem}"
        return kept_crops(path, made_from, lambda: key_slice_crops(one, engine, card))

    found = map(of_slice, track(key_slices, "marks on key slices", disable=not key_slices))
    return list(chain.from_iterable(found))


def _some(slices: Sequence[KeySlice], plan: Plan) -> list[KeySlice]:
    """Those of a patient that the second network learns from."""
    rng = np.random.default_rng([plan.seed, 86, int(digest(slices[0].patient), 16)])
    chosen = rng.choice(len(slices), min(plan.slices_each, len(slices)), replace=False)
    return [slices[int(i)] for i in sorted(chosen)]


def _checked(marked: MarkedSlices, plan: Plan) -> list[KeySlice]:
    """Those that choose the weights: one each of some patients."""
    rng = np.random.default_rng([plan.seed, 87])
    patients = rng.permutation(len(marked.checked))[: plan.checked]
    return [slices[int(rng.integers(len(slices)))] for slices in (marked.checked[int(i)] for i in patients)]


def export_detector(
    network: LesionNet,
    repository: Path,
    *,
    version: int,
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
) -> None:
    """The first network as ONNX with card, README, parity sample and Triton configuration."""
    points = {"candidate": {"threshold": 0.08, "chosen_for": "what the second stage looks at"}}
    export_one(
        LesionNetForService(network),
        {"volume": smooth_input((1, 1, 8, 8, 8), (32, 32, 32))},
        {"volume": {2: "slice", 3: "row", 4: "column"}},
        cards.detector_card(version, points, data, metrics),
        repository,
    )
    sync(Catalogue(repository))


def export_characteriser(
    network: Characteriser,
    repository: Path,
    *,
    version: int,
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    report_threshold: float = 0.5,
) -> None:
    """The second network likewise."""
    points = {"report": {"threshold": report_threshold, "chosen_for": "even odds on phantoms"}}
    close, around = smooth_input((2, 1, 8, 10, 10), SHAPE), smooth_input((2, 1, 7, 7, 7), AROUND)
    export_one(
        CharacteriserForService(network),
        {"close": close, "spacing_mm": torch.tensor([[0.7], [2.0]]), "around": around},
        {name: {0: "batch"} for name in ("close", "spacing_mm", "around")},
        cards.characteriser_card(version, points, data, metrics),
        repository,
    )
    sync(Catalogue(repository))


def _held_out(phantoms: int) -> int:
    """How many of them choose the weights, and are not learned from."""
    return max(1, phantoms // 10)


def learned_from(trunks: int, scans: Sequence[RealScan], key_slices: int = 0) -> list[dict[str, Any]]:
    phantoms = "chest, abdomen and pelvis with lesions of eight types"
    real = "background for phantom lesions; what is known to be diseased was left out"
    marked = {
        "name": cards.DEEPLESION,
        "kind": "real",
        "cases": key_slices,
        "license": "as the NIH Clinical Center's release of DeepLesion",
        "description": "key slices of the split train with the slices beside them; outlines are ellipses "
        "through the ends of the two measured axes, and what is unmarked counts the less, the more it looks "
        "like a lesion",
    }
    return [
        {"name": "body phantoms", "kind": "phantom", "cases": trunks, "description": phantoms},
        *(
            {"name": s.name, "kind": "real", "cases": 1, "license": s.license, "description": real}
            for s in scans
        ),
        *([marked] if key_slices else []),
    ]


def _starts(plan: Plan) -> tuple[Weights | None, Weights | None]:
    """Of the first network and of the second."""
    options = {"activation": plan.activation, "architecture": plan.architecture}
    first, second = LesionNet(plan.activation, plan.architecture), Characteriser(plan.activation)
    return (
        earlier_weights(plan.start, "network", cards.NAME, first, LesionNetForService, options=options),
        earlier_weights(
            plan.start,
            "characteriser",
            cards.CHARACTERISER,
            second,
            CharacteriserForService,
            options={"activation": plan.activation},
        ),
    )


def _made_from(scans: Sequence[RealScan], plan: Plan, marked: MarkedSlices) -> dict[str, object]:
    drawn_into = ((scan.name, str(scan.folder.resolve()), scan.kept_clear) for scan in scans)
    return {
        "task": "ct-lesions",
        "data": digest(*drawn_into, *marked.learned, *marked.checked),
        "key slices": (plan.slices_each, plan.checked),
        "phantoms": (plan.trunks, plan.crop_trunks, plan.scans_each, plan.lesions_each),
        "seed": plan.seed,
        "activation": plan.activation,
        "architecture": plan.architecture,
    }
