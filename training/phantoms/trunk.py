"""Chest, abdomen and pelvis of one patient as Hounsfield units, in a phase of the contrast agent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.phantoms.abdomen import Abdomen
from training.phantoms.bowel import Loop
from training.phantoms.fields import Array, Field, Grid, coverage
from training.phantoms.render import AIR, BLOOD, CORTEX, FAT, blend, field_box, paint, render

_ABDOMEN_TOP_MM = 10.0


@dataclass(frozen=True)
class Phase:
    """What a contrast agent adds, HU: to arteries, veins, organs, the kidneys' cortex and medulla, urine."""

    name: str = "plain"
    arteries: float = 0.0
    veins: float = 0.0
    liver: float = 0.0
    spleen: float = 0.0
    cortex: float = 0.0
    medulla: float = 0.0
    urine: float = 0.0
    wall: float = 0.0

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Phase:
        strong = float(rng.uniform(0.65, 1.3))
        name = str(rng.choice(["plain", "arterial", "portal", "late"], p=[0.3, 0.15, 0.45, 0.1]))
        added = {
            "plain": (0, 0, 0, 0, 0, 0, 0, 0),
            "arterial": (250, 20, 8, 50, 140, 30, 0, 35),
            "portal": (120, 125, 55, 70, 140, 130, 10, 40),
            "late": (60, 65, 35, 40, 80, 90, 350, 25),
        }[name]
        return cls(name, *(strong * float(a) for a in added))


def render_trunk(patient: Abdomen, grid: Grid, phase: Phase) -> Array:
    """HU on ``grid`` (slices, rows, columns), before the scanner's blur and noise."""
    hu = render(patient.chest, grid, phase.arteries)
    top = np.searchsorted(grid.axes[0].ravel(), _ABDOMEN_TOP_MM)
    if top == 0:
        return hu
    here = grid.part((slice(0, int(top)), slice(0, grid.shape[1]), slice(0, grid.shape[2])))
    _abdomen(patient, here, phase, hu[: int(top)])
    return hu


def _abdomen(patient: Abdomen, grid: Grid, phase: Phase, hu: Array) -> None:
    edge = float(np.mean(grid.spacing_mm))
    base = patient.organ_hu
    muscle = base["muscle"] + 0.3 * phase.wall
    texture = patient.texture

    def organ(name: str, value: float, shrunk_mm: float = 0.0) -> None:
        paint(hu, grid, patient.fields[name], value, shrunk_mm, edge)

    def tubes(name: str, value: float) -> None:
        blend(hu, patient.tubes[name].fill(grid), value)

    organ("arch", muscle, -4.0)
    organ("spine", muscle, -3.0)
    _walls_below(patient, grid, hu, muscle, edge)
    organ("belly", muscle, -1.0)
    organ("cavity", FAT)
    _mottled(patient.fields["cavity"], texture, 7.0, grid, hu)
    tubes("muscles", muscle)
    organ("stomach", muscle)
    organ("stomach wall", 22)
    organ("stomach gas", AIR)
    for loop in patient.loops:
        _bowel(loop, texture, grid, hu, 44 + phase.wall)
    organ("spleen", base["spleen"] + phase.spleen)
    organ("kidneys", base["kidneys"] + phase.cortex)
    organ("kidneys", base["kidneys"] + phase.medulla, 8.0)
    organ("sinus", FAT + 20)
    organ("sinus", base["urine"] + phase.urine, 4.0)
    tubes("glands", 40 + 0.6 * phase.liver + 0.2 * phase.wall)
    organ("middle pelvis", 46 + 0.6 * phase.wall)
    organ("bladder", muscle)
    organ("bladder", base["urine"] + phase.urine, 3.0)
    organ("liver", base["liver"] + phase.liver)
    _mottled(patient.fields["liver"], texture, 4.0, grid, hu)
    organ("gallbladder", 40 + 0.5 * phase.wall)
    organ("gallbladder", base["bile"], 2.0)
    tubes("veins", BLOOD + phase.veins)
    tubes("nodes", 42 + 0.8 * phase.wall)
    tubes("vessels", BLOOD + phase.arteries)
    tubes("calcium", 620.0)
    _bones(patient, grid, hu, edge)


def _walls_below(patient: Abdomen, grid: Grid, hu: Array, muscle: float, edge: float) -> None:
    """Muscle where the chest's phantom goes on below its own end."""
    z = grid.axes[0]
    deep = np.flatnonzero(z.ravel() < -150)
    if not len(deep):
        return
    part = hu[deep[0] : deep[-1] + 1]
    here = grid.part(
        (slice(int(deep[0]), int(deep[-1]) + 1), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    )
    bone = coverage(patient.chest.fields["muscle"].on(here) - np.float32(4), edge)
    part += bone * np.clip((-155 - here.axes[0]) / 20, 0, 1) * np.where(part > 90, muscle - part, 0)


def _mottled(field: Field, texture: Field, amplitude: float, grid: Grid, hu: Array) -> None:
    box = field_box(grid, field, 0.0)
    part = hu[box]
    if part.size:
        here = grid.part(box)
        part += np.where(field.on(here) > 0, texture.on(here) * np.float32(amplitude), 0)


def _bowel(loop: Loop, texture: Field, grid: Grid, hu: Array, wall_hu: float) -> None:
    reach = float(loop.tubes.radii.max()) + 3
    ends = np.concatenate([loop.tubes.starts, loop.tubes.ends])[:, ::-1]
    box = grid.box_around(ends.min(0) - reach, ends.max(0) + reach)
    part = hu[box]
    if not part.size:
        return
    here = grid.part(box)
    outer = loop.tubes.fill(here)
    part += outer * (np.float32(wall_hu) - part)
    inner = loop.tubes.widened(1.0, -loop.wall_mm).fill(here)
    content: Array | np.float32 = np.float32(loop.content_hu)
    if loop.grainy:
        waves = np.random.default_rng(len(loop.tubes)).normal(0, 0.8, (9, 3)).astype(np.float32)
        z, y, x = here.axes
        bubbles = sum(np.cos(z * a + y * b + x * c + 7 * a) for a, b, c in waves) / 2
        gas = np.clip(bubbles + 0.5 * texture.on(here) - 1.2, 0, 1)
        content = content - 500 * gas
    part += inner * (content - part)


def _bones(patient: Abdomen, grid: Grid, hu: Array, edge: float) -> None:
    marrow = patient.chest.marrow_hu

    def organ(name: str, value: float, shrunk_mm: float = 0.0) -> None:
        paint(hu, grid, patient.fields[name], value, shrunk_mm, edge)

    organ("arch", CORTEX * 0.7)
    organ("spine", CORTEX * 0.55)
    organ("spine", marrow, 1.8)
    box = field_box(grid, patient.fields["spine"], 0.0)
    part = hu[box]
    if part.size:
        here = grid.part(box)
        disc, spine = patient.fields["disc"].on(here), patient.fields["spine"].on(here)
        part += coverage(np.minimum(disc + 1.5, spine), edge) * (CORTEX * 0.5 - part)
        part += coverage(np.minimum(disc, spine + 1), edge) * (80 - part)
    organ("sacrum", CORTEX * 0.5)
    organ("sacrum", marrow * 0.8, 1.8)
    organ("canal", 22)
    bones = patient.tubes["bones"]
    blend(hu, bones.fill(grid), CORTEX * 0.85)
    blend(hu, bones.widened(1.0, -1.7).fill(grid), marrow)
