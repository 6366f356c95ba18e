"""The bones that a beam passes in a chest: ribs, spine, collar bones, shoulder blades and arms."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from training.phantoms.anatomy import Build, rib
from training.phantoms.fields import Array
from training.phantoms.radiograph_beam import Beam
from training.phantoms.radiograph_patient import SIDES, Breathing, Patient, Pose
from training.phantoms.tubes import Tubes

_SPINE_Y = 62.0


def bones(rng: np.random.Generator, patient: Patient, build: Build, pose: Pose, beam: Beam) -> Array:
    """Ribs, spine, collar bones and shoulder blades: mm of compact bone."""
    flat, edges, shell, core = [], [], [], []
    ribs = Breathing(**asdict(patient.build))
    for side in SIDES:
        for number in range(12):
            path = rib(rng, ribs, side, number)
            path = path[: max(int(len(path) * 0.8), 0)]
            if len(path) > 3:
                radius = rng.uniform(4.8, 6.2)
                flat.append(Tubes.along(path - [0, 0, 4], radius))
                edges += [Tubes.along(path + [0, 0, shift - 4], 1.1) for shift in (radius - 1, 1 - radius)]
        tip = build.apex - 24 + 0.6 * pose.shrug + rng.normal(0, 5)
        collar = [(16, -52, tip - 14), (48, -60, tip - 6), (92, -42, tip + 6), (140, -14, tip + 14)]
        course = np.array(collar) * (side, 1, 1)
        thick = np.array([7.5, 5.2, 5.0, 6.0])
        shell.append(Tubes.along(course, thick))
        core.append(Tubes.along(course, thick - 1.4))
    limbs = _limbs(rng, build, pose)
    ribs_seen = ((Tubes.joined(flat), 0.2), (Tubes.joined(edges), 0.5))
    out = beam.through(*ribs_seen, (Tubes.joined(shell), 0.75), (Tubes.joined(core), -0.4), *limbs)
    out += _spine(build, beam)
    for side in SIDES:
        out += _blade(rng, build, pose, beam, side)
    return np.maximum(out, 0)


def _spine(build: Build, beam: Beam) -> Array:
    """Vertebral bodies, dense at their plates and at the pedicles, with their spinous processes."""
    x, z = beam.plane(_SPINE_Y)
    step = 2 * np.pi * z / 25
    wide = 19 + 1.5 * np.cos(step) - 0.02 * np.clip(z, -100, 140)
    column = np.sqrt(np.clip(1 - (x / wide) ** 2, 0, 1))
    plates = 1 + 0.35 * np.clip(np.cos(step + np.pi), 0.55, 1)
    out = 3.2 * column * plates
    for side in SIDES:
        out = out + 3.5 * np.exp(-(((x - side * 12) / 3.2) ** 2)) * np.clip(np.cos(step - 0.9) - 0.3, 0, 1)
        out = out + 2.0 * np.exp(-(((x - side * 26) / 9) ** 2)) * np.clip(np.cos(step - 0.7) - 0.55, 0, 1) * 2
    out = out + 5.0 * np.exp(-((x / 3) ** 2)) * np.clip(np.cos(step - 2.4) - 0.2, 0, 1)
    return np.asarray(out, np.float32)


def _blade(rng: np.random.Generator, build: Build, pose: Pose, beam: Beam, side: int) -> Array:
    """A shoulder blade: a thin plate with denser edges, its spine and the head of the arm."""
    x, z = beam.plane(70.0)
    out_by = 96 + pose.blades + float(rng.normal(0, 5))
    up = build.apex - 6 + pose.shrug + float(rng.normal(0, 5))
    corners = [(out_by, up + 8), (out_by + 10, up - 108), (out_by + 52, up - 12)]
    inside = np.full(beam.shape, 99.0, np.float32)
    for (ax, az), (bx, bz) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = np.hypot(bx - ax, bz - az)
        distance = ((side * x - ax) * -(bz - az) + (z - az) * (bx - ax)) / length
        inside = np.minimum(inside, distance)
    plate = np.clip(inside / 2 + 0.5, 0, 1) * (1.2 + 2.2 * np.exp(-((inside - 2.5) ** 2) / 8))
    return np.asarray(plate, np.float32)


def _limbs(rng: np.random.Generator, build: Build, pose: Pose) -> list[tuple[Tubes, float]]:
    """The spines of the shoulder blades and the bones of the arms, each with its density."""
    parts: list[tuple[Tubes, float]] = []
    for side in SIDES:
        joint = np.array(
            [side * (build.half_width + 36 + 0.3 * pose.blades), 20, build.apex - 26 + pose.shrug]
        )
        blade = joint + [(-side * 62, 60, -4), (-side * 8, 40, 26)]
        hang = rng.uniform(10, 70) if pose.arms else rng.uniform(120, 190)
        elbow = joint + (side * hang, 15, -230 if pose.arms else -190)
        parts.append((Tubes.along(blade, 5.0), 0.3))
        parts.append((Tubes.along([joint, joint + (side * 3, 0, -6)], 22.0), 0.2))
        parts.append((Tubes.along([joint, elbow], 11.0), 0.6))
        parts.append((Tubes.along([joint, elbow], 7.0), -0.5))
    return parts
