"""How ``ct-lesions`` is made, from nothing to a model repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from inference.catalogue import Catalogue
from inference.findings import Point
from inference.model_repository import sync
from inference.resample import resample
from inference.volume import load_volume
from training.ct_lesions import cards
from training.ct_lesions.detector import train_detector
from training.ct_lesions.networks import LesionNet, LesionNetForService
from training.ct_lesions.patches import SPACING_MM, RealBackground, Shard, phantom_shard, real_shard
from training.errors import BrokenDataError
from training.export import export_one, random_input
from training.loop import Schedule
from training.phantoms.fields import Grid

FIRST_TRUNK = 3000
VERSION = 2
_TRUNKS_TO_A_SCAN = 25  # real scans are few, and what a body looks like is learned from them


@dataclass(frozen=True)
class RealScan:
    """A CT that may serve as background; ``kept_clear``: places (LPS mm) and radii of known lesions."""

    name: str
    folder: Path
    kept_clear: tuple[tuple[Point, float], ...] = ()
    license: str = ""


@dataclass(frozen=True)
class Plan:
    """How much of everything. Seeds below 10,000 are training's; evaluation draws from 70,000 on.
    ``start``: the folder of an earlier run whose weights this one goes on from."""

    trunks: int = 50
    steps: int = 6000
    seed: int = 1
    activation: str = "relu"
    architecture: str = "unet"
    device: str = "cpu"
    resume: bool = True
    minutes: float | None = None
    start: Path | None = None


def train(scans: Sequence[RealScan], out: Path, plan: Plan) -> Path:
    """Train and write the network into ``out/models``, a model repository; returns that folder.

    Everything on the way lies in ``out``, and a second call goes on where the first was stopped.
    """
    folder = out / "patches"
    seeds = range(FIRST_TRUNK, FIRST_TRUNK + plan.trunks)
    names = [phantom_shard(seed, folder) for seed in track(seeds, "phantom trunks")]
    names_real = [real_shard(real_background(scan), folder) for scan in track(scans, "real scans")]
    held = max(1, plan.trunks // 10)
    often = max(1, plan.trunks // _TRUNKS_TO_A_SCAN)
    shards = [Shard.opened(folder, name) for name in (*names[held:], *names_real * often)]
    network, _ = train_detector(
        shards,
        [Shard.opened(folder, name) for name in names[:held]],
        out / "network",
        Schedule(plan.steps, 3e-3, minutes=plan.minutes),
        seed=plan.seed,
        activation=plan.activation,
        architecture=plan.architecture,
        resume=plan.resume,
        device=plan.device,
        start=_weights(plan),
    )
    data = learned_from(plan.trunks, scans)
    export(network.to("cpu"), out / "models", version=VERSION, data=data, metrics=[])
    return out / "models"


def export(
    network: LesionNet,
    repository: Path,
    *,
    version: int,
    data: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    report_threshold: float = 0.55,
    temperature: float = 1.0,
) -> None:
    """The network as ONNX with card, README, parity sample and Triton configuration."""
    thresholds = {
        "candidate": {"threshold": 0.08, "chosen_for": "what is drawn and scored at all"},
        "report": {
            "threshold": report_threshold,
            "chosen_for": "three marks beside known lesions on a real scan, on average",
        },
    }
    rough = random_input((1, 1, 8, 8, 8))
    volume = torch.nn.functional.interpolate(rough, scale_factor=4, mode="trilinear")
    export_one(
        LesionNetForService(network, temperature),
        {"volume": volume},
        {"volume": {2: "slice", 3: "row", 4: "column"}},
        cards.card(version, thresholds, data, metrics),
        repository,
    )
    sync(Catalogue(repository))


def learned_from(trunks: int, scans: Sequence[RealScan]) -> list[dict[str, Any]]:
    phantoms = "chest, abdomen and pelvis with lesions of eight types"
    real = "background for phantom lesions; what is known to be diseased was left out"
    return [
        {"name": "body phantoms", "kind": "phantom", "cases": trunks, "description": phantoms},
        *(
            {"name": s.name, "kind": "real", "cases": 1, "license": s.license, "description": real}
            for s in scans
        ),
    ]


def scans_in(folder: Path) -> list[RealScan]:
    """The scans listed in ``backgrounds.json``: name, folder, license, and kept_clear: [[[x, y, z], radius]].

    Raises:
        BrokenDataError: the list is missing, or names a folder that is not there.
    """
    table = folder / "backgrounds.json"
    if not table.is_file():
        raise BrokenDataError(
            f"{table} is missing: a list of scans, each with name, folder, license and kept_clear, the "
            "places (LPS mm) and radii (mm) of its known lesions"
        )
    scans = []
    for row in json.loads(table.read_text()):
        path = folder / str(row["folder"])
        if not path.is_dir():
            raise BrokenDataError(f"{table} names {path}, which is not a folder")
        clear = tuple(((float(p[0]), float(p[1]), float(p[2])), float(r)) for p, r in row["kept_clear"])
        scans.append(RealScan(str(row["name"]), path, clear, str(row.get("license", ""))))
    return scans


def real_background(scan: RealScan) -> RealBackground:
    """The CT series in a folder, at 2 mm."""
    volume = resample(load_volume(sorted(p for p in scan.folder.iterdir() if p.is_file())), SPACING_MM)
    hu = np.clip(volume.voxels, -1024, 3071).astype(np.int16)
    z, y, x = (float(v) for v in volume.affine[:3, 3][::-1])
    return RealBackground(scan.name, hu, Grid(volume.shape, (SPACING_MM,) * 3, (z, y, x)), scan.kept_clear)


def _weights(plan: Plan) -> Path | None:
    if plan.start is None:
        return None
    weights = plan.start / "network" / "best.pt"
    if not weights.is_file():
        raise BrokenDataError(f"{weights} is missing: {plan.start} is not the folder of an earlier run")
    return weights
