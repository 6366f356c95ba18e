"""Training patches: lesions drawn into trunks and real scans at 2 mm, scanned, and kept on disk.

A shard is what one patient or scan gave: ``NAME-hu.npy`` int16 (n, 64, 64, 64), ``NAME-share.npy`` uint8 of
the same shape, 255 where a voxel is filled by a lesion, and ``NAME.json``, the lesions of each patch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.findings import Point
from training.ct_lesions.known import KNOWN
from training.kept import digest
from training.phantoms.abdomen import abdomen_anatomy
from training.phantoms.acquisition import Scan, stored
from training.phantoms.bodies import Placed, place, place_in, random_lesions
from training.phantoms.fields import Array, Grid
from training.phantoms.hosts import scan_hosts
from training.phantoms.masses import SITES, Site
from training.phantoms.trunk import Phase, render_trunk

SPACING_MM = 2.0
SIZE = 64
TRUNK_GRID = Grid.centred((300, 140, 190), (SPACING_MM,) * 3, (-170.0, -5.0, 0.0))
_LESIONS = 16
_PHANTOM_ROUNDS = 6
_AROUND, _ANYWHERE = 10, 4
_KEPT_CLEAR_MM = 12.0
_ALL_KNOWN = np.broadcast_to(np.uint8(KNOWN), (SIZE,) * 3)


@dataclass(frozen=True)
class Spot:
    """A lesion of a patch: LPS mm from the patch's first voxel. ``site`` and ``malignant`` None where they
    are not known."""

    center_mm: Point
    diameter_mm: float
    site: Site | None
    malignant: bool | None


@dataclass(frozen=True, eq=False)
class Patch:
    """hu, share (255 where a voxel is filled by a lesion), known (see ``training.ct_lesions.known``): each
    (64, 64, 64)."""

    hu: npt.NDArray[np.int16]
    share: npt.NDArray[np.uint8]
    known: npt.NDArray[np.uint8]
    spots: Sequence[Spot]


class Patches(Protocol):
    """Of one patient or scan."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> Patch: ...


@dataclass(frozen=True, eq=False)
class RealBackground:
    """A scan at 2 mm. ``kept_clear``: places (LPS mm) and radii (mm) of lesions it is known to hold."""

    name: str
    hu: npt.NDArray[np.int16]
    grid: Grid
    kept_clear: tuple[tuple[Point, float], ...] = ()


def phantom_shard(seed: int, folder: Path) -> str:
    """Patches of the trunk of patient ``seed``, from ``folder`` where they lie already; their name."""
    name = f"trunk-{seed}"
    if not (folder / f"{name}.json").exists():
        patient = abdomen_anatomy(seed)
        phase = Phase.drawn(np.random.default_rng([seed, 61]))
        clean = render_trunk(patient, TRUNK_GRID, phase)
        patches = []
        for number in range(_PHANTOM_ROUNDS):
            labels, places, scans = (np.random.default_rng([seed, number, k]) for k in (62, 63, 64))
            hu = clean.copy()
            placed = place_in(patient, hu, TRUNK_GRID, random_lesions(labels, _LESIONS), places, phase)
            patches += list(_patches(hu, TRUNK_GRID, placed, scans, real=False))
        _save(folder, name, patches)
    return name


def real_shard(background: RealBackground, folder: Path, rounds: int = 50) -> str:
    """Patches of a real scan with lesions drawn into it; none of them holds a known lesion. From ``folder``
    where they lie already, made with the same places kept clear. Many rounds: a network that meets the same
    few lesions in a scan again and again learns them by heart."""
    name = f"real-{background.name}-{digest(background.kept_clear, rounds)}"
    if not (folder / f"{name}.json").exists():
        hosts = scan_hosts(background.hu, background.grid)
        patches = []
        for number in range(rounds):
            labels, places, scans = (np.random.default_rng([number, k]) for k in (66, 67, 68))
            hu = background.hu.astype(np.float32)
            wanted = random_lesions(labels, _LESIONS)
            placed = place(hu, background.grid, wanted, hosts, places, tissue_hu=20.0, known_sites=False)
            patches += list(_patches(hu, background.grid, placed, scans, True, background.kept_clear))
        _save(folder, name, patches)
    return name


_Patch = tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8], list[Spot]]


def _patches(
    hu: Array,
    grid: Grid,
    placed: Sequence[Placed],
    rng: np.random.Generator,
    real: bool,
    kept_clear: Sequence[tuple[Point, float]] = (),
) -> Iterator[_Patch]:
    """Pieces around lesions, and some anywhere, each scanned in its own way."""
    share = np.zeros(grid.shape, np.float32)
    for one in placed:
        share[one.box] = np.maximum(share[one.box], one.share)
    middles = [np.array(one.center_mm[::-1]) + rng.uniform(-40, 40, 3) for one in placed]
    order = rng.permutation(len(middles))[:_AROUND]
    low, high = np.array(grid.origin_mm), np.array(grid.origin_mm) + np.array(grid.shape) * grid.spacing_mm
    for middle in [*(middles[i] for i in order), *rng.uniform(low, high, (_ANYWHERE, 3))]:
        start = np.rint((middle - grid.origin_mm) / SPACING_MM).astype(int) - SIZE // 2
        start = np.clip(start, 0, np.maximum(np.array(grid.shape) - SIZE, 0))
        box = tuple(slice(int(a), int(a) + SIZE) for a in start)
        here = grid.part((box[0], box[1], box[2]))
        if any(_reaches(here, point, radius + _KEPT_CLEAR_MM) for point, radius in kept_clear):
            continue
        piece = _padded(hu[box], -1024)
        scan = Scan.drawn(rng)
        if not real:
            piece = scan.acquire(piece, Grid(piece.shape, here.spacing_mm, here.origin_mm), rng)
        elif rng.random() < 0.3:
            piece = piece + rng.normal(0, rng.uniform(0, 12), piece.shape)
        spots = []
        for one in placed:
            at = np.array(one.center_mm[::-1]) - here.origin_mm
            if ((at >= 0) & (at < SIZE * SPACING_MM)).all():
                center = (float(at[2]), float(at[1]), float(at[0]))
                spots.append(Spot(center, one.diameter_mm, one.site, one.malignant))
        filled = np.rint(_padded(share[box], 0) * 255).astype(np.uint8)
        yield stored(piece), filled, spots


def _padded(part: Array, value: float) -> Array:
    return np.pad(part, [(0, SIZE - n) for n in part.shape], constant_values=value)


def _reaches(grid: Grid, point: Point, radius: float) -> bool:
    low = np.array(grid.origin_mm)
    nearest = np.clip(np.array(point[::-1]), low, low + np.array(grid.shape) * grid.spacing_mm)
    return bool(np.linalg.norm(nearest - np.array(point[::-1])) < radius)


def _save(folder: Path, name: str, patches: Sequence[_Patch]) -> None:
    if not patches:
        raise ValueError(f"{name} gives no patch: what is known to be diseased reaches everywhere")
    arrays: dict[str, npt.NDArray[Any]] = {
        "hu": np.stack([p[0] for p in patches]),
        "share": np.stack([p[1] for p in patches]),
    }
    keep(folder, name, arrays, [p[2] for p in patches])


def keep(
    folder: Path, name: str, arrays: Mapping[str, npt.NDArray[Any]], spots: Sequence[Sequence[Spot]]
) -> None:
    """Write arrays (n, …) as ``NAME-KEY.npy`` and the lesions of n patches as ``NAME.json``, which is there
    when all is."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, values in arrays.items():
        np.save(folder / f"{name}-{key}.npy", values)
    part = folder / f"{name}.part"
    part.write_text(json.dumps([[asdict(spot) for spot in of_patch] for of_patch in spots]))
    part.replace(folder / f"{name}.json")


def kept_spots(folder: Path, name: str) -> tuple[tuple[Spot, ...], ...]:
    """The lesions of each patch that ``keep`` wrote."""
    kept = json.loads((folder / f"{name}.json").read_text())
    return tuple(tuple(Spot(**{**spot, "center_mm": tuple(spot["center_mm"])}) for spot in p) for p in kept)


@dataclass(frozen=True, eq=False)
class Shard:
    """Patches of one patient, read as they are asked for."""

    hu: npt.NDArray[np.int16]
    share: npt.NDArray[np.uint8]
    spots: tuple[tuple[Spot, ...], ...]

    @classmethod
    def opened(cls, folder: Path, name: str) -> Shard:
        return cls(
            np.load(folder / f"{name}-hu.npy", mmap_mode="r"),
            np.load(folder / f"{name}-share.npy", mmap_mode="r"),
            kept_spots(folder, name),
        )

    def __len__(self) -> int:
        return len(self.spots)

    def __getitem__(self, number: int) -> Patch:
        return Patch(self.hu[number], self.share[number], _ALL_KNOWN, self.spots[number])


SITE_NUMBER: dict[Site | None, int] = {site: number for number, site in enumerate(SITES)} | {None: -1}
