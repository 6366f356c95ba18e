"""Lesions anywhere in the body on a CT: one network marks places in a single pass, another looks at the
likeliest of them closely. In the lungs the networks of ``lung-nodules``, where they are installed, add what
they would report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine, Tensors, infer_each
from inference.findings import Code, Finding, Model, Reading
from inference.masks import overlap
from inference.readers import lung_nodules
from inference.readers.body import find_body
from inference.readers.candidates import Candidate, peaks
from inference.readers.close_look import (
    SAME,
    Probabilities,
    Steps,
    centre_of,
    crop_spacing,
    middle_piece,
    on_source,
    sphere_mm,
    told_once,
)
from inference.readers.sides import with_sides
from inference.readers.whole_volume import Maps, body_on_grid, check_extent, coarse_affine, over_volumes
from inference.resample import sample_crops
from inference.volume import Volume

NAME = "ct-lesions"
NETWORK = "ct-lesions"
CHARACTERISER = "ct-lesions-characteriser"
LESION = Code("SCT", "52988006", "Lesion")
LUNG = "lung"

_NODULE_SHARE = 0.3
_BATCH = 16
_CLOSE = (0.75, 1.33)
_BESIDE = 0.25
_LEAST_MM = 3.0
_MIDDLE = 0.25
_LEAST_ODDS = 1e-3


@dataclass(frozen=True, eq=False)
class Mark:
    """A place that the first network marks. inside: its probability of lying in a lesion, on average over the
    middle of what it marks."""

    candidate: Candidate
    inside: float


@dataclass(frozen=True, eq=False)
class Look:
    """What the second network says of ``candidate``: its mask's probabilities on the crop of ``spacing_mm``,
    whether it is a lesion, and a malignant one, None by weights that do not tell. sites: a probability for
    each label of the card's output ``site``."""

    candidate: Candidate
    spacing_mm: Steps
    mask: Probabilities
    lesion: float
    malignancy: float | None
    sites: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Judged:
    """A mark, the last look at it, and how surely both networks together call it a lesion."""

    mark: Mark
    look: Look
    score: float


def read(
    volume: Volume, engine: Engine, catalogue: Catalogue, search: lung_nodules.Search | None = None
) -> Reading:
    """Lesions with mask, axes, volume, density, site and malignancy; the most certain first. search: of the
    lungs in this volume, where it was made before.

    Raises:
        UnreadableSeriesError: too few slices, or an extent no body has.
        EngineError: a network cannot be run.
    """
    check_extent(volume, "lesions")
    network, characteriser = catalogue.find(NETWORK), catalogue.find(CHARACTERISER)
    seen = see(volume, engine, catalogue, search)
    started = time.perf_counter()
    findings = told(seen, volume, catalogue, characteriser.card.threshold("report"))
    return Reading(
        reader=NAME,
        series_uid=volume.series_uid,
        models=(network.identity, characteriser.identity, *seen.lung_models),
        findings=with_sides(findings, volume),
        seconds={**seen.seconds, "postprocess": time.perf_counter() - started},
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """What the networks say of a volume. ``nodules`` and ``lung_models``: by and of those for the lungs,
    where they took part. ``seconds``: as of a reading."""

    judged: Sequence[Judged]
    nodules: Sequence[lung_nodules.Judged]
    lung_models: tuple[Model, ...]
    seconds: Mapping[str, float]


def see(
    volume: Volume, engine: Engine, catalogue: Catalogue, search: lung_nodules.Search | None = None
) -> Seen:
    """What was looked at closely, and nodules; nothing beside the body. search: as ``read`` takes it."""
    times = [time.perf_counter()]
    network, characteriser = catalogue.find(NETWORK).card, catalogue.find(CHARACTERISER).card
    body = body_on_grid(volume, network)
    times.append(time.perf_counter())
    marked = likeliest(marks(body, engine, network), characteriser)
    judged = characterise(volume, body, marked, engine, characteriser)
    lungs = search or _searched(volume, engine, catalogue)
    times.append(time.perf_counter())
    prepared, inferred = np.diff(times)
    seconds = {"preprocess": float(prepared), "inference": float(inferred)}
    if lungs is None or lungs.lungs is None:
        return Seen(judged, (), (), seconds)
    return Seen(judged, lungs.judged, lungs.models, seconds)


def _searched(volume: Volume, engine: Engine, catalogue: Catalogue) -> lung_nodules.Search | None:
    """The search of the lungs, where the networks for it are installed."""
    if not {lung_nodules.DETECTOR, lung_nodules.CHARACTERISER} <= set(catalogue.names):
        return None
    return lung_nodules.search_lungs(volume, engine, catalogue, elsewhere=False)


def told(seen: Seen, volume: Volume, catalogue: Catalogue, threshold: float) -> list[Finding]:
    """Lesions of at least ``threshold``, the most certain first, and the nodules that ``lung-nodules`` would
    report. Where both have drawn one thing, the surer drawing counts."""
    card = catalogue.find(CHARACTERISER).card
    findings = [*drawn(seen.judged, volume, card, threshold), *_as_lesions(seen, volume, catalogue)]
    kept: list[Finding] = []
    for one in sorted(findings, key=lambda f: (-f.score, f.center_mm)):
        if not any(_is_one(one, other) for other in kept):
            kept.append(one)
    return kept


def _as_lesions(seen: Seen, volume: Volume, catalogue: Catalogue) -> list[Finding]:
    """Nodules as lesions of the lung, none smaller than lesions elsewhere may be. One that is just certain
    enough for ``lung-nodules`` is just certain enough here; how surely it ranks beyond that is a share of its
    own certainty, as phantoms told."""
    if not seen.nodules:
        return []
    card = catalogue.find(CHARACTERISER).card
    own = catalogue.find(lung_nodules.CHARACTERISER).card
    least, share = own.threshold("report"), card.postprocess.get("nodule_share", _NODULE_SHARE)
    lung = next(label for label in card.output("site").labels if label.label == LUNG)
    return [
        replace(
            nodule,
            label="Lesion",
            code=LESION,
            score=min(card.threshold("report") + share * (nodule.score - least), 1.0),
            kind=lung.label,
            site=Code(lung.scheme, lung.value, lung.meaning),
        )
        for nodule in lung_nodules.drawn(seen.nodules, volume, own, least)
        if nodule.long_axis_mm >= card.postprocess["least_long_axis_mm"]
    ]


def _is_one(a: Finding, b: Finding) -> bool:
    return a.mask is not None and b.mask is not None and overlap(a.mask, b.mask) > SAME


def marks(body: Volume, engine: Engine, card: ModelCard) -> list[Mark]:
    """Where the first network sees something in a volume on its own grid, and it lies in the patient; the
    hottest first."""
    (maps,) = over_volumes([body], engine, card)
    stride = card.output("heatmap").stride
    found = peaks(
        maps["heatmap"][0],
        maps["diameter_mm"][0],
        coarse_affine(body.affine, stride),
        threshold=card.threshold("candidate"),
        most=int(card.postprocess["most_candidates"]),
    )
    held = find_body(body).holds([one.center_mm for one in found])
    return [_mark(one, maps, body) for one, inside in zip(found, held, strict=True) if inside]


def _mark(candidate: Candidate, maps: Maps, body: Volume) -> Mark:
    middle = body.to_index(candidate.center_mm)
    reach = _MIDDLE * candidate.diameter_mm / np.array(body.spacing_mm)
    low = np.clip(np.rint(middle - reach), 0, np.array(body.shape) - 1).astype(int)
    high = np.maximum(np.minimum(np.rint(middle + reach) + 1, body.shape).astype(int), low + 1)
    return Mark(candidate, float(maps["inside"][0][tuple(map(slice, low, high))].mean()))


def likeliest(marked: Sequence[Mark], card: ModelCard) -> list[Mark]:
    """As many as are worth a close look, by what the first network alone says of them. card: the second's."""
    surest_first = sorted(marked, key=lambda m: (-_first_word(m, card), m.candidate.center_mm))
    return surest_first[: int(card.postprocess["most_looks"])]


def _first_word(mark: Mark, card: ModelCard) -> float:
    p = card.postprocess
    return p["heat_weight"] * logit(mark.candidate.score) + p["inside_weight"] * logit(mark.inside)


def logit(probability: float) -> float:
    """Of a probability, which is taken for no surer than 999 to 1."""
    bounded = float(np.clip(probability, _LEAST_ODDS, 1 - _LEAST_ODDS))
    return float(np.log(bounded / (1 - bounded)))


def characterise(
    volume: Volume, body: Volume, marked: Sequence[Mark], engine: Engine, card: ModelCard
) -> list[Judged]:
    """A close look at each mark, and a second one where the first showed that the mark lies beside the lesion
    or is of another size. body: the volume on the first network's grid."""
    looks = _look(volume, body, [mark.candidate for mark in marked], engine, card)
    better = {
        number: found
        for number, one in enumerate(looks)
        if (found := _misjudged(one, card.postprocess["least_lesion"])) is not None
    }
    again = _look(volume, body, list(better.values()), engine, card)
    for number, one in zip(better, again, strict=True):
        looks[number] = one
    return [_judged(mark, one, card) for mark, one in zip(marked, looks, strict=True)]


def _judged(mark: Mark, look: Look, card: ModelCard) -> Judged:
    """Both networks' words, each by the weight that lesions of phantoms gave it."""
    p = card.postprocess
    odds = _first_word(mark, card) + p["lesion_weight"] * logit(look.lesion) + p["score_offset"]
    return Judged(mark, look, float(1 / (1 + np.exp(-odds))))


def _misjudged(look: Look, least: float) -> Candidate | None:
    """Where and how large the lesion is, if the candidate told so wrongly."""
    piece = middle_piece(look.mask, look.spacing_mm) if look.lesion > least else None
    if piece is None:
        return None
    told, size = look.candidate, sphere_mm(piece, look.spacing_mm)
    center = centre_of(piece, look.spacing_mm, told.center_mm)
    beside = float(np.linalg.norm(np.subtract(center, told.center_mm)))
    if size <= _LEAST_MM or (_CLOSE[0] < size / told.diameter_mm < _CLOSE[1] and beside < _BESIDE * size):
        return None
    return replace(told, center_mm=center, diameter_mm=size)


def _look(
    volume: Volume, body: Volume, candidates: Sequence[Candidate], engine: Engine, card: ModelCard
) -> list[Look]:
    close, around = card.input("close"), card.input("around")
    size, wide = ((t.dims[2], t.dims[3], t.dims[4]) for t in (close, around))
    assert around.spacing_mm is not None
    wide_mm = (around.spacing_mm[0], around.spacing_mm[1], around.spacing_mm[2])
    spacings = [crop_spacing(c.diameter_mm, card) for c in candidates]
    batches = [slice(at, at + _BATCH) for at in range(0, len(candidates), _BATCH)]

    def fed(batch: slice) -> Tensors:
        centers = [c.center_mm for c in candidates[batch]]
        crops = np.concatenate(
            [
                sample_crops(volume, [center], size, steps)
                for center, steps in zip(centers, spacings[batch], strict=True)
            ]
        )
        return {
            "close": close.intensity.applied_to(crops)[:, None],
            "spacing_mm": np.array([[s[2]] for s in spacings[batch]], np.float32),
            "around": around.intensity.applied_to(sample_crops(body, centers, wide, wide_mm))[:, None],
        }

    tells_malignancy = any(output.tensor == "malignancy" for output in card.outputs)
    looks: list[Look] = []
    answers = infer_each(engine, card.name, map(fed, batches))
    for batch, outputs in zip(batches, answers, strict=True):
        for number, (candidate, spacing) in enumerate(zip(candidates[batch], spacings[batch], strict=True)):
            looks.append(
                Look(
                    candidate,
                    spacing,
                    outputs["mask"][number, 0].astype(np.float32),
                    float(outputs["lesion"][number, 0]),
                    float(outputs["malignancy"][number, 0]) if tells_malignancy else None,
                    tuple(outputs["site"][number].tolist()),
                )
            )
    return looks


def drawn(judged: Sequence[Judged], volume: Volume, card: ModelCard, threshold: float) -> list[Finding]:
    """Those of at least ``threshold``, the most certain first, each drawn on the source's voxels. One thing
    is reported once."""
    labels = card.output("site").labels
    surest_first = sorted(
        (one for one in judged if one.score >= threshold),
        key=lambda j: (-j.score, j.look.candidate.center_mm),
    )
    findings: list[Finding] = []
    for one, mask, measured in told_once(
        surest_first,
        lambda j: on_source(j.look.mask, j.look.spacing_mm, j.look.candidate, volume),
        volume,
        card.postprocess["least_long_axis_mm"],
    ):
        site = labels[int(np.argmax(one.look.sites))]
        findings.append(
            replace(
                measured.finding("Lesion", LESION, one.score, mask),
                malignancy=one.look.malignancy,
                kind=site.label,
                site=Code(site.scheme, site.value, site.meaning),
            )
        )
    return findings
