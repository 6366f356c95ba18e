"""One chest radiograph, drawn from a seed, with its findings and what is true of its lungs and heart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.phantoms.fields import Array
from training.phantoms.radiograph_beam import Beam
from training.phantoms.radiograph_body import Mask, thorax
from training.phantoms.radiograph_devices import devices, marked
from training.phantoms.radiograph_film import Film
from training.phantoms.radiograph_findings import FINDINGS, disease, opacities, random_findings
from training.phantoms.radiograph_patient import Patient, Pose

SIZE = 320
DRAWING = 2
"""Raised with every change to what a seed draws, or radiographs that were kept would stand for others."""

_WHITE = 4095


@dataclass(frozen=True, eq=False)
class Radiograph:
    """picture: (rows, columns), 12 bits, bone white. labels: by the names of the project's classes. lungs:
    (2, rows, columns), the right and the left one with the part behind the heart. heart: its silhouette.
    spacing_mm: of the detector."""

    picture: npt.NDArray[np.uint16]
    labels: Mapping[str, bool]
    view: Literal["PA", "AP"]
    lungs: Mask
    heart: Mask
    spacing_mm: float


def radiograph(
    seed: int, *, findings: frozenset[str] | None = None, shifted: bool = False, size: int = SIZE
) -> Radiograph:
    """The radiograph ``seed``: patient, exposure, findings and noise each from a generator of their own.

    findings: those to draw, by default what ``random_findings`` says of the seed; an empty set draws the same
    patient without any. shifted: exposed and shown in ways that no other is. size: rows and columns.

    Raises:
        ValueError: a finding that is none of ``FINDINGS``.
    """
    wanted = random_findings(seed) if findings is None else findings
    if unknown := wanted - set(FINDINGS):
        raise ValueError(f"there is no finding {', '.join(sorted(unknown))}; there is: {', '.join(FINDINGS)}")
    patient = Patient.drawn(seed)
    scene, noise = _scene(seed, shifted), np.random.default_rng([seed, 92, shifted])
    beam, pose = _taken(scene, patient, size, shifted)
    film = Film.drawn(scene, beam.view, shifted)
    what = disease(seed, wanted)
    chest = thorax(patient, pose, beam, what.change)
    soft = chest.soft + opacities(chest, what, seed)
    bone = chest.bone + devices(chest, pose, scene)
    field = _shutters(scene, beam)
    grey = film.exposed(soft, bone, field, noise)
    if scene.random() < 0.5:
        grey = grey * (field > 0.5)
    grey = marked(grey, beam.view, scene)
    return Radiograph(
        picture=np.rint(grey * _WHITE).astype(np.uint16),
        labels={name: name in wanted for name in FINDINGS} | {"no_finding": not wanted},
        view=beam.view,
        lungs=chest.lungs,
        heart=chest.heart,
        spacing_mm=beam.spacing_mm,
    )


def taken(seed: int, *, shifted: bool = False, size: int = SIZE) -> tuple[Beam, Pose]:
    """How the patient of the radiograph ``seed`` stands in which beam; nothing of it depends on findings."""
    return _taken(_scene(seed, shifted), Patient.drawn(seed), size, shifted)


def _scene(seed: int, shifted: bool) -> np.random.Generator:
    return np.random.default_rng([seed, 91, shifted])


def _taken(rng: np.random.Generator, patient: Patient, size: int, shifted: bool) -> tuple[Beam, Pose]:
    view: Literal["PA", "AP"] = "AP" if rng.random() < 0.45 else "PA"
    portable = view == "AP"
    build = patient.build
    front = build.half_depth + build.wall + build.fat
    distance = rng.uniform(1700, 1850) if not portable else rng.uniform(980, 1200)
    turn = rng.normal(0, 0.07 if portable else 0.03)
    lift = rng.normal(0.06 if portable else 0, 0.04)
    if shifted:
        distance = rng.uniform(1350, 1550) if not portable else rng.uniform(840, 950)
        turn *= 1.7
    supine = portable and rng.random() < 0.75
    pose = Pose(
        breath=float(rng.normal(12 if portable else 0, 8)),
        arms=bool(portable and rng.random() < 0.7),
        blades=float(rng.normal(6 if portable else 36, 9)),
        shrug=float(rng.normal(8 if portable else 0, 8)),
        supine=supine,
    )
    tall = build.apex - build.base + 125
    side = max(tall, 2 * (build.half_width + 26)) * rng.uniform(0.98, 1.22)
    if shifted:
        side *= rng.choice([0.9, 1.25])
    magnified = 1.08 if not portable else 1.15
    middle = (build.apex + build.base) / 2 - 12 + rng.normal(0, 9)
    beam = Beam(
        view=view,
        source_mm=float(distance),
        detector_y=float(front + 40 if portable else -front - 25),
        turn=float(turn),
        lift=float(lift),
        center_mm=(float(rng.normal(0, 8)), float(middle * magnified)),
        shape=(size, size),
        spacing_mm=float(side * magnified / size),
    )
    return beam, pose


def _shutters(rng: np.random.Generator, beam: Beam) -> Array:
    """The field that the shutters leave, 0 to 1; most leave all of it."""
    rows, columns = beam.shape
    field = np.ones(beam.shape, np.float32)
    if rng.random() < 0.25:
        left, right = (int(rng.uniform(0, 0.06) * columns) for _ in range(2))
        top, bottom = (int(rng.uniform(0, 0.06) * rows) for _ in range(2))
        field[:top], field[:, :left] = 0, 0
        field[rows - bottom :], field[:, columns - right :] = 0, 0
    return field


__all__ = ["DRAWING", "FINDINGS", "SIZE", "Radiograph", "radiograph", "random_findings", "taken"]
