"""Lung nodules on a chest CT: one network finds candidates, another looks at each of them closely."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine, Tensors, infer_each
from inference.findings import Code, Finding, Model, Point, Reading
from inference.readers.candidates import Candidate, peaks
from inference.readers.close_look import (
    Probabilities,
    Steps,
    crop_spacing,
    middle_piece,
    on_source,
    sphere_mm,
    told_once,
)
from inference.readers.lungs import Lungs, find_lungs, part_of
from inference.readers.sides import sides_of
from inference.readers.whole_volume import Maps, check_extent, coarse_affine, over_volumes
from inference.resample import resample, sample_crops
from inference.volume import Volume

NAME = "lung-nodules"
DETECTOR = "lung-nodules-detector"
CHARACTERISER = "lung-nodules-characteriser"
PULMONARY_NODULE = Code("SCT", "786838002", "Pulmonary nodule")

_UNKNOWN_HU = -8000.0
_NEAR_MM = 10.0
_LUNG_EDGE_MM = 5.0
_SURPLUS = 4
_COARSER = 2
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Judged:
    """A candidate looked at closely: its mask's probabilities on the crop of ``spacing_mm``."""

    candidate: Candidate
    spacing_mm: Steps
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
        """Of the sphere of as much volume as what would be drawn, the middle piece of the mask."""
        piece = middle_piece(self.mask, self.spacing_mm)
        return 0.0 if piece is None else sphere_mm(piece, self.spacing_mm)


@dataclass(frozen=True, eq=False)
class Search:
    """What the networks say of a volume, which any reader of it can begin with. lungs: None where there are
    none. judged: what was looked at closely and reaches a lung. models: that searched. seconds: as of a
    reading."""

    lungs: Lungs | None
    judged: Sequence[Judged]
    models: tuple[Model, ...]
    seconds: Mapping[str, float]


def read(volume: Volume, engine: Engine, catalogue: Catalogue, search: Search | None = None) -> Reading:
    """Nodules with mask, axes, volume, density, type and malignancy; the most certain first. search: of this
    volume, where it was made before.

    Raises:
        UnreadableSeriesError: too few slices, or an extent no chest has.
        EngineError: a network cannot be run.
    """
    search = search or search_lungs(volume, engine, catalogue)
    started = time.perf_counter()
    card = catalogue.find(CHARACTERISER).card
    findings = drawn(search.judged, volume, card, card.threshold("report"))
    if search.lungs is not None and findings:
        sides = sides_of([finding.center_mm for finding in findings], search.lungs)
        findings = [replace(finding, side=side) for finding, side in zip(findings, sides, strict=True)]
    return Reading(
        reader=NAME,
        series_uid=volume.series_uid,
        models=search.models,
        findings=tuple(findings),
        seconds={**search.seconds, "postprocess": time.perf_counter() - started},
    )


def search_lungs(volume: Volume, engine: Engine, catalogue: Catalogue, *, elsewhere: bool = True) -> Search:
    """Both networks over the lungs and what is around them. elsewhere: whether a scan in which there are no
    lungs is searched all over, or not at all.

    Raises:
        UnreadableSeriesError, EngineError: see ``read``.
    """
    check_extent(volume, "lung nodules")
    detector, characteriser = catalogue.find(DETECTOR), catalogue.find(CHARACTERISER)
    started = time.perf_counter()
    lungs = find_lungs(volume)
    if lungs is None and not elsewhere:
        return Search(None, (), (), {})
    chest = on_grid(volume, lungs, detector.card)
    resampled = time.perf_counter()
    candidates = detect(chest, lungs, engine, detector.card)
    judged = near_lungs(characterise(volume, candidates, engine, characteriser.card), lungs)
    seconds = {"preprocess": resampled - started, "inference": time.perf_counter() - resampled}
    return Search(lungs, judged, (detector.identity, characteriser.identity), seconds)


def detect(chest: Volume, lungs: Lungs | None, engine: Engine, card: ModelCard) -> list[Candidate]:
    """Candidates in a volume on the detector's own grid, in the lungs or large enough to touch them.

    The network knows things of up to some 50 mm. Larger ones it finds on a grid twice as coarse, where they
    look half as large; of that second pass, an eighth of the work, only the large ones are taken.
    """
    p = card.postprocess
    half = _as_if_half(chest)
    of_chest, of_half = over_volumes([chest, half], engine, card)
    fine = _near(_peaks(of_chest, chest, card), lungs)[: int(p["most_candidates"])]
    coarse = [
        replace(c, center_mm=_times(c.center_mm, _COARSER), diameter_mm=_COARSER * c.diameter_mm)
        for c in _peaks(of_half, half, card)
    ]
    large = [c for c in _near(coarse, lungs) if c.diameter_mm >= p["least_large_mm"]]
    return fine + large[: int(p["most_large"])]


def _peaks(maps: Maps, chest: Volume, card: ModelCard) -> list[Candidate]:
    return peaks(
        maps["heatmap"][0],
        maps["diameter_mm"][0],
        coarse_affine(chest.affine, card.output("heatmap").stride),
        threshold=card.threshold("candidate"),
        most=_SURPLUS * int(card.postprocess["most_candidates"]),
    )


def _near(candidates: Sequence[Candidate], lungs: Lungs | None) -> list[Candidate]:
    """Those that lie in a lung or reach it; by more than their size, which the detector may take for too
    small."""
    if lungs is None or not candidates:
        return list(candidates)
    away = lungs.distance_mm([c.center_mm for c in candidates])
    return [c for c, mm in zip(candidates, away, strict=True) if mm <= max(_NEAR_MM, 0.75 * c.diameter_mm)]


def _as_if_half(chest: Volume) -> Volume:
    """Blocks of 2 x 2 x 2 voxels as one, said to be as large as one was: everything looks half as large and
    half as far from the origin."""
    d, h, w = (max(n // _COARSER, 1) for n in chest.shape)
    kept = chest.voxels[: _COARSER * d, : _COARSER * h, : _COARSER * w]
    blocks = kept.reshape(d, kept.shape[0] // d, h, kept.shape[1] // h, w, kept.shape[2] // w)
    affine = chest.affine.copy()
    affine[:3, 3] = chest.to_patient(np.full(3, (_COARSER - 1) / 2)) / _COARSER
    voxels = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return replace(chest, voxels=voxels, affine=affine, images=(None,) * d)


def _times(point: Point, factor: float) -> Point:
    x, y, z = point
    return factor * x, factor * y, factor * z


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


def near_lungs(judged: Sequence[Judged], lungs: Lungs | None) -> list[Judged]:
    """Those that reach a lung by the size they have on the close look; all where no lungs are known.

    What the detector takes for a mass in the midst of the heart may be judged to be of some millimetres, and
    what is judged to be as large as a heart may be one: a mass of the lung touches the lung it grew in, whose
    edge is known to a voxel of a coarse grid.
    """
    if lungs is None or not judged:
        return list(judged)
    away = lungs.distance_mm([one.candidate.center_mm for one in judged])
    return [
        one
        for one, mm in zip(judged, away, strict=True)
        if mm <= max(_NEAR_MM, one.diameter_mm / 2 + _LUNG_EDGE_MM)
    ]


def _look(volume: Volume, candidates: Sequence[Candidate], engine: Engine, card: ModelCard) -> list[Judged]:
    tensor = card.input("crop")
    size = (tensor.dims[2], tensor.dims[3], tensor.dims[4])
    kinds = [label.label for label in card.output("kind").labels]
    spacings = [crop_spacing(c.diameter_mm, card) for c in candidates]
    batches = [slice(at, at + _BATCH) for at in range(0, len(candidates), _BATCH)]

    def fed(batch: slice) -> Tensors:
        crops = np.concatenate(
            [
                sample_crops(volume, [c.center_mm], size, s, fill=_UNKNOWN_HU)
                for c, s in zip(candidates[batch], spacings[batch], strict=True)
            ]
        )
        seen = np.where(crops < -4000, np.float32(0), tensor.intensity.applied_to(crops))[:, None]
        return {"crop": seen, "spacing_mm": np.array([[s[2]] for s in spacings[batch]], np.float32)}

    judged: list[Judged] = []
    answers = infer_each(engine, card.name, map(fed, batches))
    for batch, outputs in zip(batches, answers, strict=True):
        for number, (candidate, spacing) in enumerate(zip(candidates[batch], spacings[batch], strict=True)):
            judged.append(
                Judged(
                    candidate,
                    spacing,
                    outputs["mask"][number, 0].astype(np.float32),
                    float(outputs["nodule"][number, 0]),
                    float(outputs["malignancy"][number, 0]),
                    kinds[int(outputs["kind"][number].argmax())],
                )
            )
    return judged


def drawn(judged: Sequence[Judged], volume: Volume, card: ModelCard, threshold: float) -> list[Finding]:
    """Those of at least ``threshold``, the most certain first, each drawn on the source's voxels. One thing
    is reported once."""
    sure = [one for one in judged if one.score >= threshold]
    surest_first = sorted(sure, key=lambda j: (-j.score, j.candidate.center_mm))
    findings: list[Finding] = []
    for one, mask, measured in told_once(
        surest_first,
        lambda j: on_source(j.mask, j.spacing_mm, j.candidate, volume),
        volume,
        card.postprocess["least_long_axis_mm"],
    ):
        nodule = measured.finding("Nodule", PULMONARY_NODULE, one.score, mask)
        findings.append(replace(nodule, malignancy=one.malignancy, kind=one.kind))
    return findings


def on_grid(volume: Volume, lungs: Lungs | None, card: ModelCard) -> Volume:
    """The lungs and what is around them, on the detector's grid; the whole scan where there are none."""
    spacing = card.inputs[0].spacing_mm
    if spacing is None or len(spacing) != 3:
        raise ValueError(f"{card.name}: model.yaml gives its input no spacing_mm of three numbers")
    part = volume if lungs is None else part_of(volume, lungs.box)
    return resample(part, (spacing[0], spacing[1], spacing[2]))
