"""An anatomy becomes Hounsfield units on a grid, before the scanner's blur and noise."""

from __future__ import annotations

import numpy as np

from training.phantoms.anatomy import Anatomy
from training.phantoms.fields import Array, Field, Grid, coverage

AIR, FAT, MUSCLE, BLOOD, CORTEX = -1000.0, -98.0, 52.0, 42.0, 760.0


def render(anatomy: Anatomy, grid: Grid, contrast_hu: float = 0.0) -> Array:
    """HU on ``grid``; ``contrast_hu`` is what the contrast agent adds to blood."""
    hu = np.full(grid.shape, AIR, np.float32)
    edge = float(np.mean(grid.spacing_mm))
    blood = BLOOD + contrast_hu

    def organ(name: str, value: float, shrunk_mm: float = 0.0) -> None:
        paint(hu, grid, anatomy.fields[name], value, shrunk_mm, edge)

    organ("body", MUSCLE - 30)
    organ("body", FAT, 2.0)
    organ("muscle", MUSCLE)
    _streaks_of_fat(anatomy, grid, hu)
    organ("cavity", FAT + 8, -1.0)
    organ("abdomen", FAT)
    organ("stomach", 20)
    organ("stomach gas", AIR)
    organ("liver", 58 + 0.35 * contrast_hu)
    organ("spleen", 48 + 0.4 * contrast_hu)
    organ("heart", MUSCLE - 6 + 0.25 * contrast_hu)
    organ("heart", blood * 0.95, 9.0)
    organ("posterior arch", CORTEX * 0.75)
    organ("spine", CORTEX * 0.55)
    organ("spine", anatomy.marrow_hu, 1.8)
    _discs(anatomy, grid, hu, edge)
    organ("spinal canal", 22)
    organ("sternum", CORTEX * 0.6)
    organ("sternum", anatomy.marrow_hu * 0.6, 1.6)
    blend(hu, anatomy.tubes["great vessels"].fill(grid), blood)
    _fill_lungs(anatomy, grid, hu, edge)
    bones = anatomy.tubes["bones"]
    cortex = bones.fill(grid)
    blend(hu, cortex, CORTEX)
    blend(hu, bones.widened(1.0, -1.4).fill(grid), anatomy.marrow_hu)
    blend(hu, anatomy.tubes["spurs"].fill(grid), 0.6 * CORTEX)
    blend(hu, anatomy.tubes["scars"].fill(grid), 5.0)
    vessels = anatomy.tubes["pulmonary vessels"].fill(grid)
    blend(hu, vessels, blood)
    bronchi = anatomy.tubes["bronchi"]
    blend(hu, bronchi.widened(1.12, 0.45).fill(grid) * 0.9, 20.0)
    blend(hu, bronchi.fill(grid), -960.0)
    trachea = anatomy.tubes["airways"]
    blend(hu, trachea.widened(1.0, 2.0).fill(grid), 40.0)
    blend(hu, trachea.fill(grid), -985.0)
    return hu


def field_box(grid: Grid, field: Field, shrunk_mm: float) -> tuple[slice, slice, slice]:
    """The voxels of ``grid`` that can lie inside ``field``; to the very edge where the field's grid ends."""
    inside = field.values > shrunk_mm - field.grid.spacing_mm[0]
    low, high = np.empty(3), np.empty(3)
    for axis in range(3):
        at = np.flatnonzero(inside.any(tuple(a for a in range(3) if a != axis)))
        if not len(at):
            return slice(0, 0), slice(0, 0), slice(0, 0)
        step, start, last = field.grid.spacing_mm[axis], field.grid.origin_mm[axis], inside.shape[axis] - 1
        low[axis] = start + step * (at[0] - 1) if at[0] > 0 else -1e4
        high[axis] = start + step * (at[-1] + 1) if at[-1] < last else 1e4
    return grid.box_around(low, high)


def paint(hu: Array, grid: Grid, field: Field, value: float, shrunk_mm: float, edge: float) -> None:
    """Lay ``value`` over the inside of ``field``."""
    box = field_box(grid, field, shrunk_mm)
    part = hu[box]
    if part.size:
        filled = coverage(field.on(grid.part(box)) - np.float32(shrunk_mm), edge)
        part += filled * (np.float32(value) - part)


def blend(hu: Array, filled: Array, value: float) -> None:
    at = np.flatnonzero(filled)
    flat, part = hu.reshape(-1), filled.reshape(-1)[at]
    flat[at] += part * (np.float32(value) - flat[at])


def _discs(anatomy: Anatomy, grid: Grid, hu: Array, edge: float) -> None:
    box = field_box(grid, anatomy.fields["spine"], 0.0)
    if not hu[box].size:
        return
    disc = anatomy.fields["disc"].on(grid.part(box))
    spine = anatomy.fields["spine"].on(grid.part(box))
    part = hu[box]
    part += coverage(np.minimum(disc + 1.5, spine), edge) * (CORTEX * 0.5 - part)
    part += coverage(np.minimum(disc, spine + 1), edge) * (75 - part)


def _streaks_of_fat(anatomy: Anatomy, grid: Grid, hu: Array) -> None:
    """Planes of fat between the muscles of the chest wall."""
    planes = anatomy.fields["fat planes"].on(grid)
    hu[(np.abs(planes) < 0.22) & (hu > MUSCLE - 12)] = FAT * 0.6


def _fill_lungs(anatomy: Anatomy, grid: Grid, hu: Array, edge: float) -> None:
    """Aerated lung with its gravity gradient, emphysema, and the fissures that part the lobes."""
    box = field_box(grid, anatomy.fields["lungs"], 0.0)
    if not hu[box].size:
        return
    here = grid.part(box)
    lungs = anatomy.fields["lungs"].on(here)
    out = anatomy.lung_hu + anatomy.fields["parenchyma hu"].on(here)
    for name in ("oblique fissure", "minor fissure"):
        sheet = np.abs(anatomy.fields[name].on(here))
        thin = np.clip((edge - sheet) / edge, 0, 1) * np.float32(0.8 * min(1.0, 0.7 / edge))
        out += thin * (20 - out)
    dependent = np.clip((3.5 - lungs) / 3.5, 0, 1) * np.clip((here.axes[1] - 25) / 60, 0, 1)
    out += 130 * dependent
    part = hu[box]
    part += coverage(lungs, edge) * (np.clip(out, -985, -300) - part)
