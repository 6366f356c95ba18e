"""Where in a patient a lesion may arise, by site: in phantoms told by the anatomy, in scans by HU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from training.phantoms.abdomen import Abdomen
from training.phantoms.fields import Array, Field, Grid
from training.phantoms.masses import Site, Substrate

_PELVIS_MM = -285.0
_FAT_HU = (-140.0, -55.0)

Hosts = Callable[[np.random.Generator, Site, Substrate], Array]
"""Points (n, 3) in LPS mm, possibly none, at which a lesion of a site and substrate may have its centre."""

SUBSTRATES: dict[Site, tuple[tuple[Substrate, float], ...]] = {
    "bone": (("bone", 1.0),),
    "abdomen": (("fat", 0.75), ("organ", 0.25)),
    "mediastinum": (("fat", 1.0),),
    "liver": (("organ", 1.0),),
    "lung": (("organ", 1.0),),
    "kidney": (("organ", 1.0),),
    "soft tissue": (("fat", 0.5), ("organ", 0.5)),
    "pelvis": (("fat", 1.0),),
}
"""What lesions of a site grow in, and how often."""


def phantom_hosts(patient: Abdomen, hu: Array, grid: Grid) -> Hosts:
    """Points of a patient rendered as ``hu`` on ``grid``; those in fat are where fat was rendered."""
    below, chest = patient.fields, patient.chest.fields

    def points(rng: np.random.Generator, site: Site, substrate: Substrate) -> Array:
        if site == "bone":
            found = _in_bone(rng, patient)
        elif site == "lung":
            found = _within(rng, chest["lungs"], 2.0)
        elif site == "liver":
            found = _within(rng, below["liver"], rng.choice([1.0, 8.0]))
        elif site == "kidney":
            found = _within(rng, below["kidneys"], rng.choice([-2.0, 3.0]))
        elif site == "mediastinum":
            found = _within(rng, chest["cavity"], 5.0)
            found = found[(found[:, 2] > -70) & (chest["lungs"].at(found) < -4)]
        elif site == "soft tissue":
            found = _within(rng, chest["body"], 5.0)
            wall = chest["muscle"].at(found)
            outside = chest["cavity"].at(found) < -5
            found = found[outside & (wall > 5 if substrate == "organ" else wall < -4)]
        elif substrate == "organ":
            found = _within(rng, below["spleen"], 4.0)
        else:
            found = _within(rng, below["cavity"], 6.0)
            pelvic = found[:, 2] < _PELVIS_MM
            found = found[pelvic if site == "pelvis" else ~pelvic & (chest["lungs"].at(found) < -6)]
        found, values = _seen(found, hu, grid)
        if substrate == "fat":
            return found[(values > _FAT_HU[0]) & (values < _FAT_HU[1])]
        if substrate == "bone":
            return found[values > 90]
        return found if site == "lung" else found[(values > 10) & (values < 260)]

    return points


def scan_hosts(hu: npt.NDArray[np.int16], grid: Grid) -> Hosts:
    """Points of a scan, told by HU alone: air within the body, even soft tissue, fat within, bone.

    What organ it is remains unknown; ``site`` is used only to tell lung from the rest.
    """
    body = hu > -300
    inside = np.zeros(hu.shape, bool)
    for number, plane in enumerate(body):
        columns = np.flatnonzero(plane.sum(0) > 20)
        rows = np.flatnonzero(plane.sum(1) > 20)
        if len(columns) > 20 and len(rows) > 20:
            inside[number, rows[0] + 6 : rows[-1] - 20, columns[0] + 6 : columns[-1] - 6] = True

    def points(rng: np.random.Generator, site: Site, substrate: Substrate) -> Array:
        candidates = np.argwhere(inside)
        chosen = candidates[rng.integers(len(candidates), size=4000)]
        chosen = chosen[(chosen > 3).all(1) & (chosen < np.array(hu.shape) - 3).all(1)]
        reach = np.arange(-2, 3)
        near = hu[
            chosen[:, 0, None, None, None] + reach[:, None, None],
            chosen[:, 1, None, None, None] + reach[None, :, None],
            chosen[:, 2, None, None, None] + reach[None, None, :],
        ].reshape(len(chosen), -1)
        mean, spread = near.mean(1), near.std(1)
        if site == "lung":
            good = (mean < -650) & (mean > -950) & (spread < 150)
        elif substrate == "fat":
            good = (mean > -125) & (mean < -70) & (spread < 40)
        elif substrate == "bone":
            good = (mean > 160) & (mean < 500) & (near.min(1) > 60)
        else:
            good = (mean > 25) & (mean < 200) & (spread < 32)
        return (chosen[good] * grid.spacing_mm + grid.origin_mm)[:, ::-1].astype(np.float32)

    return points


def _within(rng: np.random.Generator, field: Field, depth_mm: float, count: int = 400) -> Array:
    index = np.argwhere(field.values > depth_mm)
    if not len(index):
        return np.zeros((0, 3), np.float32)
    chosen = index[rng.integers(len(index), size=count)] + rng.uniform(-0.5, 0.5, (count, 3))
    return (chosen * field.grid.spacing_mm + field.grid.origin_mm)[:, ::-1].astype(np.float32)


def _in_bone(rng: np.random.Generator, patient: Abdomen) -> Array:
    if rng.random() < 0.65:
        spine = patient.chest.fields["spine"] if rng.random() < 0.4 else patient.fields["spine"]
        return _within(rng, spine, 5.0)
    if rng.random() < 0.5:
        return _within(rng, patient.fields["sacrum"], 5.0)
    tubes = patient.tubes["bones"] if rng.random() < 0.7 else patient.chest.tubes["bones"]
    return tubes.starts[rng.integers(len(tubes), size=200)]


def _seen(points: Array, hu: Array, grid: Grid) -> tuple[Array, Array]:
    """Those points that lie well in the grid, and HU there."""
    index = np.rint((points[:, ::-1] - grid.origin_mm) / grid.spacing_mm).astype(int)
    good = (index >= 2).all(1) & (index < np.array(grid.shape) - 2).all(1)
    index = index[good]
    return points[good], hu[tuple(index.T)]
