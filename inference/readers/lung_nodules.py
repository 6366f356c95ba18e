"""Lung nodules on a chest CT: one network finds candidates, another looks at each of them closely."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cc3d
import numpy as np
import numpy.typing as npt

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.errors import UnreadableSeriesError
from inference.findings import Code, Finding, Mask, Reading
from inference.measure import measure
from inference.readers.candidates import Candidate, peaks, slabs
from inference.resample import AIR_HU, crop_affine, mask_from_crop, resample, sample_crops
from inference.volume import Volume

NAME = "lung-nodules"
DETECTOR = "lung-nodules-detector"
CHARACTERISER = "lung-nodules-characteriser"
PULMONARY_NODULE = Code("SCT", "786838002", "Pulmonary nodule")

_LEAST_EXTENT_MM = 24.0
_MOST_EXTENT_MM = 2500.0
_LEAST_SLICES = 3
_UNKNOWN_HU = -8000.0
_BATCH = 16

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Judged:
    """A candidate looked at closely: its mask's probabilities on the crop of ``spacing_mm``."""

    candidate: Candidate
    spacing_mm: tuple[float, float, float]
    mask: Probabilities
    nodule: float
    malignancy: float
    kind: str

    @property
    def score(self) -> float:
        """Both networks' word, as their geometric mean."""
        return float(np.sqrt(self.candidate.score * self.nodule))

    @property
    def diameter_mm(self) -> float:
        """Of the sphere of the mask's volume."""
        volume = float((self.mask >= 0.5).sum()) * float(np.prod(self.spacing_mm))
        return float((6 * volume / np.pi) ** (1 / 3))


def read(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Nodules with mask, axes, volume, density, type and malignancy; the most certain first.

    Raises:
        UnreadableSeriesError: too few slices, or an extent no chest has.
        EngineError: a network cannot be run.
    """
    _check(volume)
    detector, characteriser = catalogue.find(DETECTOR), catalogue.find(CHARACTERISER)
    started = time.perf_counter()
    chest = on_grid(volume, detector.card)
    resampled = time.perf_counter()
    candidates = detect(chest, engine, detector.card)
    judged = characterise(volume, candidates, engine, characteriser.card)
    inferred = time.perf_counter()
    threshold = characteriser.card.threshold("report")
    findings = drawn(judged, volume, characteriser.card, threshold)
    return Reading(
        reader=NAME,
        series_uid=volume.series_uid,
        models=(detector.identity, characteriser.identity),
        findings=tuple(findings),
        seconds={
            "preprocess": resampled - started,
            "inference": inferred - resampled,
            "postprocess": time.perf_counter() - inferred,
        },
    )


def detect(chest: Volume, engine: Engine, card: ModelCard) -> list[Candidate]:
    """Candidates in a volume on the detector's own grid."""
    tensor, stride = card.inputs[0], card.output("heatmap").stride
    multiple = max(tensor.multiple_of)
    heat, size = [], []
    for taken, kept in slabs(chest.shape, multiple):
        piece = chest.voxels[taken]
        room = [(0, -n % multiple) for n in piece.shape]
        padded = np.pad(piece, room, constant_values=np.asarray(AIR_HU, piece.dtype))
        outputs = engine.infer(card.name, {tensor.tensor: tensor.intensity.applied_to(padded)[None, None]})
        part = slice(kept.start // stride, -(-kept.stop // stride))
        inside = (part, slice(0, -(-piece.shape[1] // stride)), slice(0, -(-piece.shape[2] // stride)))
        heat.append(outputs["heatmap"][0, 0][inside])
        size.append(outputs["diameter_mm"][0, 0][inside])
    coarse = chest.affine.copy()
    coarse[:3, :3] *= stride
    coarse[:3, 3] += chest.affine[:3, :3] @ np.full(3, (stride - 1) / 2)
    return peaks(
        np.concatenate(heat),
        np.concatenate(size),
        coarse,
        threshold=card.threshold("candidate"),
        most=int(card.postprocess["most_candidates"]),
    )


def characterise(
    volume: Volume, candidates: Sequence[Candidate], engine: Engine, card: ModelCard
) -> list[Judged]:
    """A close look at each candidate, and a second one at another scale where the first showed that the
    detector had misjudged its size."""
    judged = _look(volume, candidates, engine, card)
    misfits = {
        number: replace(one.candidate, diameter_mm=one.diameter_mm)
        for number, one in enumerate(judged)
        if one.nodule > 0.1
        and not 0.75 < one.diameter_mm / one.candidate.diameter_mm < 1.33
        and one.diameter_mm > 2
    }
    again = _look(volume, list(misfits.values()), engine, card)
    for number, one in zip(misfits, again, strict=True):
        judged[number] = one
    return judged


def _look(volume: Volume, candidates: Sequence[Candidate], engine: Engine, card: ModelCard) -> list[Judged]:
    tensor = card.input("crop")
    size = (tensor.dims[2], tensor.dims[3], tensor.dims[4])
    kinds = [label.label for label in card.output("kind").labels]
    judged: list[Judged] = []
    for at in range(0, len(candidates), _BATCH):
        part = candidates[at : at + _BATCH]
        spacings = [_crop_spacing(c.diameter_mm, card) for c in part]
        crops = np.concatenate(
            [
                sample_crops(volume, [c.center_mm], size, s, fill=_UNKNOWN_HU)
                for c, s in zip(part, spacings, strict=True)
            ]
        )
        fed = np.where(crops < -4000, np.float32(0), tensor.intensity.applied_to(crops))[:, None]
        pixel = np.array([[s[2]] for s in spacings], np.float32)
        outputs = engine.infer(card.name, {"crop": fed, "spacing_mm": pixel})
        for number, candidate in enumerate(part):
            judged.append(
                Judged(
                    candidate,
                    spacings[number],
                    outputs["mask"][number, 0].astype(np.float32),
                    float(outputs["nodule"][number, 0]),
                    float(outputs["malignancy"][number, 0]),
                    kinds[int(outputs["kind"][number].argmax())],
                )
            )
    return judged


def _crop_spacing(diameter_mm: float, card: ModelCard) -> tuple[float, float, float]:
    p = card.postprocess
    pixel = float(np.clip(diameter_mm / p["pixels_across"], p["least_spacing_mm"], p["most_spacing_mm"]))
    return pixel * p["slice_to_pixel"], pixel, pixel


def drawn(judged: Sequence[Judged], volume: Volume, card: ModelCard, threshold: float) -> list[Finding]:
    """Those of at least ``threshold``, the most certain first, each drawn on the source's voxels. One thing
    is reported once."""
    findings: list[Finding] = []
    taken: list[Mask] = []
    for one in sorted(judged, key=lambda j: (-j.score, j.candidate.center_mm)):
        if one.score < threshold:
            break
        mask = _mask(one, volume)
        if mask is None or any(_overlap(mask, other) > 0.3 for other in taken):
            continue
        measured = measure(mask, volume)
        if measured.long_axis.length_mm < card.postprocess["least_long_axis_mm"]:
            continue
        taken.append(mask)
        findings.append(
            Finding(
                label="Nodule",
                code=PULMONARY_NODULE,
                center_mm=measured.center_mm,
                box_mm=measured.box_mm,
                image_uid=measured.image_uid,
                frame=measured.frame,
                score=one.score,
                long_axis=measured.long_axis,
                short_axis=measured.short_axis,
                volume_mm3=measured.volume_mm3,
                mean_hu=measured.mean_hu,
                malignancy=one.malignancy,
                kind=one.kind,
                mask=mask,
            )
        )
    return findings


def _mask(one: Judged, volume: Volume) -> Mask | None:
    """The part of the crop's mask that belongs to the candidate, on the source's voxels; None where no
    voxel of the source lies in it."""
    parts = cc3d.connected_components(one.mask >= 0.5, connectivity=18)
    if not parts.any():
        return None
    index = np.argwhere(parts > 0)
    middle = (np.array(one.mask.shape) - 1) / 2
    away = np.linalg.norm((index - middle) * one.spacing_mm, axis=1)
    chosen = parts[tuple(index[int(away.argmin())])]
    rest = (parts > 0) & (parts != chosen)
    affine = crop_affine(one.candidate.center_mm, one.mask.shape, one.spacing_mm)
    return mask_from_crop(np.where(rest, 0, one.mask), affine, volume)


def shared_voxels(one: Mask, other: Mask) -> int:
    """How many voxels two masks of one volume share."""
    low = np.maximum(one.origin, other.origin)
    high = np.minimum(np.add(one.origin, one.voxels.shape), np.add(other.origin, other.voxels.shape))
    if (high <= low).any():
        return 0
    a, b = (
        m.voxels[tuple(slice(i - o, j - o) for i, j, o in zip(low, high, m.origin, strict=True))]
        for m in (one, other)
    )
    return int((a & b).sum())


def _overlap(one: Mask, other: Mask) -> float:
    """Shared voxels, as a part of the smaller mask."""
    return shared_voxels(one, other) / float(min(one.voxels.sum(), other.voxels.sum()))


def _check(volume: Volume) -> None:
    extent = np.abs(volume.affine[:3, :3]) @ np.array(volume.shape)
    if min(volume.shape) < _LEAST_SLICES or extent.min() < _LEAST_EXTENT_MM:
        raise UnreadableSeriesError(
            f"The series holds {volume.shape[0]} images over {extent.min():.0f} mm; the search for "
            f"lung nodules needs {_LEAST_SLICES} images and {_LEAST_EXTENT_MM:.0f} mm in every direction."
        )
    if extent.max() > _MOST_EXTENT_MM:
        raise UnreadableSeriesError(
            f"The series reaches over {extent.max() / 1000:.1f} m: its spacing cannot be right. "
            "Send it again with the pixel spacing and positions the scanner gave."
        )


def on_grid(volume: Volume, card: ModelCard) -> Volume:
    """The patient and the table, without the air around them, on the detector's grid."""
    spacing = card.inputs[0].spacing_mm
    if spacing is None or len(spacing) != 3:
        raise ValueError(f"{card.name}: model.yaml gives its input no spacing_mm of three numbers")
    whole = resample(volume, (spacing[0], spacing[1], spacing[2]))
    dense = whole.voxels > -500
    box = []
    for axis in range(3):
        at = np.flatnonzero(dense.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(at):
            return whole
        box.append(slice(max(int(at[0]) - 4, 0), int(at[-1]) + 5))
    affine = whole.affine.copy()
    affine[:3, 3] = whole.to_patient([s.start for s in box])
    voxels = whole.voxels[tuple(box)]
    return replace(whole, voxels=voxels, affine=affine, images=(None,) * len(voxels))
