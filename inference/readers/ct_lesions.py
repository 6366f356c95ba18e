"""Lesions anywhere in the body on a CT: one network finds, draws and judges them in a single pass. In the
lungs the networks of ``lung-nodules``, where they are installed, add what they would report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.findings import Code, Finding, Mask, Model, Reading
from inference.masks import overlap
from inference.measure import measure
from inference.readers import lung_nodules
from inference.readers.body import find_body
from inference.readers.candidates import Candidate, peaks
from inference.readers.lungs import find_lungs
from inference.readers.sides import with_sides
from inference.readers.whole_volume import Maps, body_on_grid, check_extent, coarse_affine, over_volumes
from inference.resample import mask_from_crop
from inference.volume import Floats, Volume

NAME = "ct-lesions"
NETWORK = "ct-lesions"
LESION = Code("SCT", "52988006", "Lesion")
LUNG = "lung"

_REACH = 0.9
_LEAST_INSIDE, _MOST_INSIDE = 0.1, 0.6
_SAME = 0.3
_NODULE_SHARE = 0.3

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Spotted:
    """A lesion as the network sees it. inside: probabilities on the grid of ``affine``, about the lesion.
    sites: a probability for each label of the card's output ``site``."""

    candidate: Candidate
    malignancy: float
    sites: tuple[float, ...]
    inside: Probabilities
    affine: Floats

    @property
    def score(self) -> float:
        """The word of its centre and that of its voxels, as their geometric mean."""
        drawn = self.inside[self.inside >= 0.5]
        return float(np.sqrt(self.candidate.score * drawn.mean())) if drawn.size else 0.0

    @property
    def threshold(self) -> float:
        """Of ``inside``: what reaches it is as large as the network says that the lesion is. Voxels alone,
        few as those of lesions are, err towards too small; the size that is told of the centre does not."""
        voxel_mm3 = abs(float(np.linalg.det(self.affine[:3, :3])))
        count = round(np.pi / 6 * self.candidate.diameter_mm**3 / voxel_mm3)
        surest_first = np.sort(self.inside, axis=None)[::-1]
        reached = surest_first[min(max(count, 1), surest_first.size) - 1]
        return float(np.clip(reached, _LEAST_INSIDE, _MOST_INSIDE))

    def mask(self, volume: Volume) -> Mask | None:
        """On the source's voxels; None where none of them lies in it."""
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        middle = np.linalg.inv(self.affine) @ [*self.candidate.center_mm, 1.0]
        piece = _piece(self.inside, middle[:3], spacing, self.threshold)
        return mask_from_crop(piece, self.affine, volume, threshold=self.threshold)


def read(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Lesions with mask, axes, volume, density, site and malignancy; the most certain first.

    Raises:
        UnreadableSeriesError: too few slices, or an extent no body has.
        EngineError: the network cannot be run.
    """
    check_extent(volume, "lesions")
    network = catalogue.find(NETWORK)
    seen = see(volume, engine, catalogue)
    started = time.perf_counter()
    findings = told(seen, volume, catalogue, network.card.threshold("report"))
    return Reading(
        reader=NAME,
        series_uid=volume.series_uid,
        models=(network.identity, *seen.lung_models),
        findings=with_sides(findings, volume),
        seconds={**seen.seconds, "postprocess": time.perf_counter() - started},
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """What the networks say of a volume. ``nodules`` and ``lung_models``: by and of those for the lungs,
    where they took part. ``seconds``: as of a reading."""

    spotted: Sequence[Spotted]
    nodules: Sequence[lung_nodules.Judged]
    lung_models: tuple[Model, ...]
    seconds: Mapping[str, float]


def see(volume: Volume, engine: Engine, catalogue: Catalogue) -> Seen:
    """Lesions down to the threshold of candidates, and nodules; not those beside the body."""
    times = [time.perf_counter()]
    card = catalogue.find(NETWORK).card
    body = body_on_grid(volume, card)
    patient = find_body(body)
    times.append(time.perf_counter())
    spotted = spot(body, engine, card)
    if spotted:
        held = patient.holds([one.candidate.center_mm for one in spotted])
        spotted = [one for one, inside in zip(spotted, held, strict=True) if inside]
    nodules, lung_models = _nodules(volume, engine, catalogue)
    times.append(time.perf_counter())
    prepared, inferred = np.diff(times)
    return Seen(spotted, nodules, lung_models, {"preprocess": float(prepared), "inference": float(inferred)})


def _nodules(
    volume: Volume, engine: Engine, catalogue: Catalogue
) -> tuple[list[lung_nodules.Judged], tuple[Model, ...]]:
    names = (lung_nodules.DETECTOR, lung_nodules.CHARACTERISER)
    lungs = find_lungs(volume) if set(names) <= set(catalogue.names) else None
    if lungs is None:
        return [], ()
    detector, characteriser = map(catalogue.find, names)
    chest = lung_nodules.on_grid(volume, lungs, detector.card)
    candidates = lung_nodules.detect(chest, lungs, engine, detector.card)
    judged = lung_nodules.characterise(volume, candidates, engine, characteriser.card)
    return lung_nodules.near_lungs(judged, lungs), (detector.identity, characteriser.identity)


def told(seen: Seen, volume: Volume, catalogue: Catalogue, threshold: float) -> list[Finding]:
    """Lesions of at least ``threshold``, the most certain first, and the nodules that ``lung-nodules`` would
    report. Where both have drawn one thing, the surer drawing counts."""
    card = catalogue.find(NETWORK).card
    findings = [*drawn(seen.spotted, volume, card, threshold), *_as_lesions(seen, volume, catalogue)]
    kept: list[Finding] = []
    for one in sorted(findings, key=lambda f: (-f.score, f.center_mm)):
        if not any(_is_one(one, other) for other in kept):
            kept.append(one)
    return kept


def _as_lesions(seen: Seen, volume: Volume, catalogue: Catalogue) -> list[Finding]:
    """Nodules as lesions of the lung. One that is just certain enough for ``lung-nodules`` is just certain
    enough here; how surely it ranks beyond that is a share of its own certainty, as phantoms told."""
    if not seen.nodules:
        return []
    card = catalogue.find(NETWORK).card
    own = catalogue.find(lung_nodules.CHARACTERISER).card
    least, share = own.threshold("report"), card.postprocess.get("nodule_share", _NODULE_SHARE)
    lung = next(label for label in card.output("site").labels if label.label == LUNG)
    return [
        replace(
            nodule,
            label="Lesion",
            code=LESION,
            score=card.threshold("report") + share * (nodule.score - least),
            kind=lung.label,
            site=Code(lung.scheme, lung.value, lung.meaning),
        )
        for nodule in lung_nodules.drawn(seen.nodules, volume, own, least)
    ]


def _is_one(a: Finding, b: Finding) -> bool:
    return a.mask is not None and b.mask is not None and overlap(a.mask, b.mask) > _SAME


def spot(body: Volume, engine: Engine, card: ModelCard) -> list[Spotted]:
    """Lesions in a volume on the network's own grid, down to the threshold of candidates."""
    (maps,) = over_volumes([body], engine, card)
    stride = card.output("heatmap").stride
    found = peaks(
        maps["heatmap"][0],
        maps["diameter_mm"][0],
        coarse_affine(body.affine, stride),
        threshold=card.threshold("candidate"),
        most=int(card.postprocess["most_candidates"]),
    )
    return [_spotted(candidate, found, maps, body, stride) for candidate in found]


def _spotted(
    candidate: Candidate, others: Sequence[Candidate], maps: Maps, body: Volume, stride: int
) -> Spotted:
    spacing = np.array(body.spacing_mm)
    middle = body.to_index(candidate.center_mm)
    reach = (_REACH * candidate.diameter_mm + 8) / spacing
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 1, body.shape).astype(int)
    inside = maps["inside"][0][tuple(map(slice, low, high))]
    near = _nearest_to(candidate, others, low, high, body)
    inside = _piece(np.where(near, inside, 0).astype(np.float32), middle - low, spacing, 0.5)
    affine = body.affine.copy()
    affine[:3, 3] = body.to_patient(low)
    at = np.rint((middle - (stride - 1) / 2) / stride).astype(int)
    at = np.clip(at, 0, np.array(maps["malignancy"].shape[1:]) - 1)
    malignancy = float(maps["malignancy"][(0, *at)])
    return Spotted(candidate, malignancy, tuple(maps["site"][(slice(None), *at)].tolist()), inside, affine)


def _nearest_to(
    candidate: Candidate,
    others: Sequence[Candidate],
    low: npt.NDArray[np.int_],
    high: npt.NDArray[np.int_],
    body: Volume,
) -> npt.NDArray[np.bool_]:
    """Voxels of a box nearer to this candidate than to any other, in terms of their radii."""
    axes = np.meshgrid(*map(np.arange, low, high), indexing="ij", sparse=True)
    spacing = body.spacing_mm

    def distance(one: Candidate) -> npt.NDArray[np.float64]:
        at = body.to_index(one.center_mm)
        squared = sum(((a - c) * s) ** 2 for a, c, s in zip(axes, at, spacing, strict=True))
        scaled: npt.NDArray[np.float64] = np.sqrt(squared) / one.diameter_mm
        return scaled

    own = distance(candidate)
    near = np.ones(own.shape, bool)
    for other in others:
        apart = np.linalg.norm(np.subtract(other.center_mm, candidate.center_mm))
        if other is not candidate and apart < 1.5 * (candidate.diameter_mm + other.diameter_mm):
            near &= own <= distance(other)
    return near


def _piece(inside: Probabilities, middle: Floats, spacing: Floats, threshold: float) -> Probabilities:
    """The connected part of at least ``threshold`` that lies nearest to ``middle``, its holes filled; the
    others set to 0."""
    parts = cc3d.connected_components(inside >= threshold, connectivity=18)
    if not parts.any():
        return inside
    index = np.argwhere(parts > 0)
    away = np.linalg.norm((index - middle) * spacing, axis=1)
    chosen = parts == parts[tuple(index[int(away.argmin())])]
    rest = (parts > 0) & ~chosen
    holes = ndimage.binary_fill_holes(chosen) & ~chosen
    return np.where(holes, 1, np.where(rest, 0, inside)).astype(np.float32)


def drawn(spotted: Sequence[Spotted], volume: Volume, card: ModelCard, threshold: float) -> list[Finding]:
    """Those of at least ``threshold``, the most certain first, each drawn on the source's voxels. One thing
    is reported once."""
    labels = card.output("site").labels
    findings: list[Finding] = []
    taken: list[Mask] = []
    for one in sorted(spotted, key=lambda s: (-s.score, s.candidate.center_mm)):
        if one.score < threshold:
            break
        mask = one.mask(volume)
        if mask is None or any(overlap(mask, other) > _SAME for other in taken):
            continue
        measured = measure(mask, volume)
        if measured.long_axis.length_mm < card.postprocess["least_long_axis_mm"]:
            continue
        taken.append(mask)
        site = labels[int(np.argmax(one.sites))]
        findings.append(
            replace(
                measured.finding("Lesion", LESION, one.score, mask),
                malignancy=one.malignancy,
                kind=site.label,
                site=Code(site.scheme, site.value, site.meaning),
            )
        )
    return findings
