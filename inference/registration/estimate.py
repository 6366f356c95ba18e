"""Registers a PET to the CT of its study: a network says how the PET has to move, and is taken at its word
only where the two agree better afterwards."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from inference.anatomy import Image, Region, body_of, observe
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.registration.agreement import agreement
from inference.registration.folding import folded_share
from inference.registration.refine import Sample, motion_about
from inference.registration.transform import (
    Agreement,
    Kind,
    Quality,
    Registration,
    Vectors,
    grid_points,
    sampled,
)
from inference.resample import crop_affine, sample_crops
from inference.volume import Floats, Volume

log = logging.getLogger(__name__)

MODEL: Final = "pet-ct-registration"
SHAPE: Final = (64, 48, 80)
SPACING_MM: Final = 6.0
COARSER: Final = 4
"""Displacements come on every fourth voxel of the grid."""

_LOOKS: Final = 3
_AIR_HU: Final = -1000.0
_BLUR_MM: Final = 2.0
_MOST_SUV: Final = 200.0
_MOST_FOLDED: Final = 0.005
_LOST_DICE: Final = 0.05
"""The outline of a PET is blurred and noisy: less than this is no evidence against mutual information."""


def register_pet_to_ct(ct: Volume, pet: Volume, engine: Engine, catalogue: Catalogue) -> Registration:
    """Where points of the CT lie in the PET.

    Whatever makes mutual information or the overlap of the body's outlines worse is refused: first the
    displacements, then the rigid motion as well. What cannot be registered comes back as the identity with
    its reason, never raised.

    Args:
        ct: in HU. pet: in SUV (body weight), of the same study.

    Raises:
        EngineError: the network cannot be run.
    """
    if (reason := _unfit(ct, pet)) is not None:
        return Registration.identity(reason)
    scene = _Scene(ct, pet)
    if not scene.body.any():
        return Registration.identity("No body was found in the CT, so the PET is left where it lies.")
    started = Registration.identity("")
    before = scene.agreement_under(started)
    if not scene.reached_under(started).any():
        return Registration.identity(
            "CT and PET show no part of the body together; they are left as they lie."
        )
    motion, vectors = _estimated(scene, engine, catalogue)
    nowhere = np.zeros_like(vectors)
    folded = folded_share(vectors, SPACING_MM, scene.body)
    tried = [
        Registration(motion, field, scene.affine, kind, "")
        for kind, field in _candidates(vectors, nowhere, folded)
    ]
    agreements = [scene.agreement_under(one) for one in tried]
    kept = [(a, r) for a, r in zip(agreements, tried, strict=True) if _better(a, before)]
    if not kept:
        _note("identity", before, agreements[-1], folded)
        return Registration.identity(
            "CT and PET agree no better after registration; they stay as the scanner placed them.",
            Quality(before, before, 0.0),
        )
    after, best = max(kept, key=lambda pair: pair[0].mutual_information)
    _note(best.kind, before, after, folded)
    quality = Quality(before, after, folded if best.kind == "deformable" else 0.0)
    return replace(best, quality=quality, reason=_said(best, scene.center, folded))


class _Scene:
    """CT and PET as the network is shown them: on one grid about the middle of the lungs."""

    def __init__(self, ct: Volume, pet: Volume) -> None:
        self.affine = crop_affine(_middle(ct), SHAPE, SPACING_MM)
        center = self.affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + self.affine[:3, 3]
        self.center: Floats = center
        self.ct: Image = sample_crops(ct, center, SHAPE, SPACING_MM, fill=_AIR_HU)[0]
        self.body: Region = body_of(self.ct)
        self.points = grid_points(self.affine, SHAPE)
        blur = [_BLUR_MM / step for step in pet.spacing_mm]
        self.pet = replace(pet, voxels=ndimage.gaussian_filter(np.asarray(pet.voxels, np.float32), blur))

    def pet_under(self, registration: Registration) -> Image:
        return sampled(self.pet, registration.to_pet(self.points), 0.0).reshape(SHAPE)

    def reached_under(self, registration: Registration) -> Region:
        index = self.pet.to_index(registration.to_pet(self.points))
        inside = ((index >= -0.5) & (index <= np.array(self.pet.shape) - 0.5)).all(axis=1)
        return np.asarray(inside.reshape(SHAPE), bool)

    def agreement_under(self, registration: Registration) -> Agreement:
        reached = self.reached_under(registration)
        return agreement(self.ct, self.body, self.pet_under(registration), reached)


def _estimated(scene: _Scene, engine: Engine, catalogue: Catalogue) -> tuple[Floats, Vectors]:
    """The rigid motion: of three looks, each at what the last one left over, and then refined; and the
    displacements of a last look on the grid, to be added before that motion."""
    card = catalogue.find(MODEL).card
    ct = card.input("ct").intensity.applied_to(scene.ct)[None, None]
    intensity = card.input("pet").intensity

    def look(motion: Floats) -> tuple[Floats, Vectors]:
        seen = scene.pet_under(replace(Registration.identity(""), motion=motion))
        answer = engine.infer(MODEL, {"ct": ct, "pet": intensity.applied_to(seen)[None, None]})
        step = motion_about(np.asarray(answer["motion"][0], np.float64), scene.center)
        return step, np.asarray(answer["displacement"][0], np.float32)

    sample = Sample.of(scene.ct, scene.body, scene.points, scene.pet, scene.center)
    motions = [np.eye(4)]
    for _ in range(_LOOKS):
        motions.append(motions[-1] @ look(motions[-1])[0])
    motion = sample.refined(max(motions, key=sample.mutual_information))
    return motion, finer(look(motion)[1])


def finer(displacement: Vectors) -> Vectors:
    """(3, slices, rows, columns) on every fourth voxel, smoothly on the grid itself: (64, 48, 80, 3)."""
    where = np.meshgrid(
        *[(np.arange(n) - (COARSER - 1) / 2) / COARSER for n in SHAPE], indexing="ij", sparse=False
    )
    return np.stack(
        [ndimage.map_coordinates(part, where, order=3, mode="nearest") for part in displacement], axis=-1
    ).astype(np.float32)


def _candidates(vectors: Vectors, nowhere: Vectors, folded: float) -> list[tuple[Kind, Vectors]]:
    rigid: list[tuple[Kind, Vectors]] = [("rigid", nowhere)]
    return rigid if folded > _MOST_FOLDED else [("deformable", vectors), *rigid]


def _better(after: Agreement, before: Agreement) -> bool:
    return (
        after.mutual_information > before.mutual_information
        and after.body_dice >= before.body_dice - _LOST_DICE
    )


def _unfit(ct: Volume, pet: Volume) -> str | None:
    for name, volume in (("CT", ct), ("PET", pet)):
        extent = np.abs(volume.affine[:3, :3]) @ np.array(volume.shape)
        if volume.shape[0] < 6 or extent.min() < 60:
            return (
                f"The {name} holds {volume.shape[0]} slices over {extent.min():.0f} mm, too little to "
                "register by; CT and PET are left as the scanner placed them."
            )
    if (most := float(np.max(pet.voxels))) <= 0 or most > _MOST_SUV:
        return (
            f"The highest PET value is {most:g}, which is no SUV; give the PET in SUV to have it registered."
        )
    return None


def _middle(ct: Volume) -> Floats:
    """LPS mm of the middle of the lungs; of the body where there are none, else of the scan."""
    seen = observe(ct, SPACING_MM)
    region = seen.lungs if seen.has_lungs else seen.body if seen.body.any() else seen.scanned
    middle = np.argwhere(region).mean(axis=0)
    return np.asarray(seen.affine[:3, :3] @ middle + seen.affine[:3, 3], np.float64)


def _said(best: Registration, center_mm: Floats, folded: float) -> str:
    """What was done, as a radiologist is told it."""
    kind, motion = best.kind, best.motion
    turned = float(np.degrees(Rotation.from_matrix(motion[:3, :3]).magnitude()))
    moved = float(np.linalg.norm(motion[:3, :3] @ center_mm + motion[:3, 3] - center_mm))
    how = "moved and deformed" if kind == "deformable" else "moved"
    said = f"The PET was {how} onto the CT: by {moved:.1f} mm and {turned:.1f}°."
    if kind == "rigid":
        folds = folded > _MOST_FOLDED
        said += f" It was not deformed: that {'would fold it' if folds else 'agreed no better with the CT'}."
    return said


def _note(kind: Kind, before: Agreement, after: Agreement, folded: float) -> None:
    log.info(
        "PET to CT: %s; mutual information %.3f before, %.3f after; %.1f %% folded",
        *(kind, before.mutual_information, after.mutual_information, 100 * folded),
    )
