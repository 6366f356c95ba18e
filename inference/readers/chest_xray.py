"""Chest radiographs: lungs and heart drawn and measured, findings as probabilities, and where the evidence
for each lies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inference.card import CodedLabel, ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.errors import UnreadableSeriesError
from inference.findings import (
    Axis,
    ClassProbability,
    Code,
    Finding,
    Mask,
    Model,
    Point,
    Reading,
    Segment,
    Side,
)
from inference.picture import Pictures
from inference.readers import cardiothoracic
from inference.readers.cardiothoracic import Diameters
from inference.readers.radiograph import (
    FINDINGS_SIZE,
    HEART_SIZE,
    LUNGS_SIZE,
    Corners,
    Floats,
    around,
    of_one_part,
    on_part,
    on_picture,
    part_of,
    sampled,
    square,
    strongest,
)
from inference.readers.upright import Turn, turn_of
from inference.volume import Volume

NAME = "chest-xray"
FINDINGS = "chest-xray-findings"
LUNGS = "chest-xray-lungs"
HEART = "chest-xray-heart"

_LUNG_SIDES: dict[str, Side] = {"3341006": "right", "44029006": "left"}
_OF_ONE_SIDE = {
    "36118008": "pneumothorax",
    "60046008": "pleural effusion",
    "46621007": "atelectasis",
    "95436008": "lung consolidation",
}
_LEAST_PIXELS = 128
_LEAST_OF_BOX = 0.3  # covered by the lung whose side it has
_LEAST_LUNG = 0.025  # either one, of the square around the picture


def read(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Probabilities of findings, both lungs, the heart with the cardiothoracic ratio where it can be made out
    (and its network is installed), and for each finding above its operating point a box around the strongest
    evidence. Of several frontal pictures the first that shows two lungs is read. Masks, lines and boxes lie
    on the picture as it is stored, whichever way that is.

    Raises:
        UnreadableSeriesError: no frontal grey picture, too small a one, or one that shows no lungs.
        EngineError: a network cannot be run.
    """
    pictures = _grey(volume)
    reasons: list[UnreadableSeriesError] = []
    for index in range(len(pictures.voxels)):
        try:
            return _read_one(pictures, index, engine, catalogue)
        except UnreadableSeriesError as reason:
            reasons.append(reason)
    raise reasons[0]


def _read_one(pictures: Pictures, index: int, engine: Engine, catalogue: Catalogue) -> Reading:
    started = time.perf_counter()
    stored = _checked(np.asarray(pictures.voxels[index], np.uint8))
    turn = turn_of(pictures.views[index], (stored.shape[0], stored.shape[1]))
    pixels = turn.upright(stored)
    findings, lungs = catalogue.find(FINDINGS), catalogue.find(LUNGS)
    whole = square(pixels)
    picture = sampled(pixels, whole, LUNGS_SIZE)
    prepared = time.perf_counter()
    outlined = engine.infer(LUNGS, {"picture": picture[None, None]})["lungs"][0].astype(np.float32)
    sides = [of_one_part(side) for side in outlined]
    drawn = [side >= 0.5 for side in sides]
    if not all(side.mean() >= _LEAST_LUNG for side in drawn):
        raise UnreadableSeriesError(
            "No two lungs can be made out on this picture; send an upright frontal chest radiograph, PA "
            "or AP."
        )
    close = around(drawn[0] | drawn[1], whole)
    outputs = engine.infer(FINDINGS, {"picture": sampled(pixels, close, FINDINGS_SIZE)[None, None]})
    both = [on_picture(side, turn.upright_shape) for side in sides]
    heart = _heart(pixels, close, both, engine, catalogue)
    inferred = time.perf_counter()
    card = findings.card
    classes = _classes(card, outputs["probability"][0])
    image_uid, frame = pictures.images[index] or ("", None)
    segments = tuple(
        _segment(label, side, turn, pictures, index)
        for label, side in zip(lungs.card.output("lungs").labels, both, strict=True)
    )
    boxes = [
        on_its_side(_salient(found, evidence, close, turn, image_uid, frame), segments)
        for found, evidence in zip(classes, outputs["evidence"][0], strict=True)
        if found.presence == "present"
    ]
    if heart is not None:
        segments = (*segments, _segment(heart.label, heart.mask, turn, pictures, index))
    return Reading(
        reader=NAME,
        series_uid=pictures.series_uid,
        models=(findings.identity, lungs.identity, *_model_of_heart(catalogue)),
        findings=tuple(sorted(boxes, key=lambda finding: -finding.score)),
        classes=classes,
        segments=segments,
        seconds={
            "preprocess": prepared - started,
            "inference": inferred - prepared,
            "postprocess": time.perf_counter() - inferred,
        },
        image_uids=(image_uid,),
        measurements=()
        if heart is None
        else cardiothoracic.measurements(heart.diameters, turn, pictures.views[index], image_uid, frame),
    )


@dataclass(frozen=True, eq=False)
class _Heart:
    """One that was made out, on the upright picture."""

    label: CodedLabel
    mask: npt.NDArray[np.bool_]
    diameters: Diameters


def _heart(
    pixels: npt.NDArray[np.uint8],
    close: Corners,
    lungs: Sequence[npt.NDArray[np.bool_]],
    engine: Engine,
    catalogue: Catalogue,
) -> _Heart | None:
    """None where no heart can be made out, or its diameters are none that can be believed."""
    if HEART not in catalogue.names:
        return None
    picture = sampled(pixels, close, HEART_SIZE)
    drawn = engine.infer(HEART, {"picture": picture[None, None]})["heart"][0, 0].astype(np.float32)
    beside = np.stack([part_of(lung, close, HEART_SIZE) for lung in lungs])
    heart = cardiothoracic.certain(picture, drawn, beside)
    if heart is None:
        return None
    mask = on_part(heart, close, (pixels.shape[0], pixels.shape[1]))
    found = cardiothoracic.diameters(mask, *lungs)
    if found is None:
        return None
    return _Heart(catalogue.find(HEART).card.output("heart").labels[0], mask, found)


def _model_of_heart(catalogue: Catalogue) -> tuple[Model, ...]:
    return (catalogue.find(HEART).identity,) if HEART in catalogue.names else ()


def _grey(volume: Volume) -> Pictures:
    if not isinstance(volume, Pictures) or volume.is_colour:
        raise UnreadableSeriesError("This is no grey radiograph; send the CR or DX image itself.")
    return volume


def _checked(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if min(pixels.shape) < _LEAST_PIXELS:
        raise UnreadableSeriesError(
            f"The picture has {pixels.shape[0]} x {pixels.shape[1]} pixels; at least {_LEAST_PIXELS} are "
            "needed on either side. Send the original image."
        )
    if pixels.min() == pixels.max():
        raise UnreadableSeriesError("Every pixel of the picture has the same value; send it again.")
    return pixels


def _classes(card: ModelCard, probabilities: Floats) -> tuple[ClassProbability, ...]:
    """Operating points of the card: ``NAME`` calls a class present, ``NAME absent`` calls it absent."""

    def limit(name: str) -> float | None:
        point = card.operating_points.get(name)
        return None if point is None else point.threshold

    return tuple(
        ClassProbability(
            label.meaning, _code(label), float(p), limit(label.label), limit(f"{label.label} absent")
        )
        for label, p in zip(card.output("probability").labels, probabilities, strict=True)
    )


def _segment(
    label: CodedLabel, upright: npt.NDArray[np.bool_], turn: Turn, pictures: Pictures, index: int
) -> Segment:
    """A lung or the heart on the picture as it is stored; its area in the detector's plane where the spacing
    is known."""
    mask = turn.stored(upright)
    spacing = pictures.views[index].spacing_mm
    area = None if spacing is None else float(mask.sum()) * spacing[0] * spacing[1]
    return Segment(label.meaning, _code(label), area_mm2=area, mask=Mask((index, 0, 0), mask[None]))


def _salient(
    found: ClassProbability, evidence: Floats, close: Corners, turn: Turn, image_uid: str, frame: int | None
) -> Finding:
    """A box around the strongest evidence, its axes through its middle."""
    left, top, right, bottom = strongest(evidence, close, turn.upright_shape)
    x, y = (left + right) / 2, (top + bottom) / 2
    level = Axis(_point(left, y), _point(right, y))
    upright = Axis(_point(x, top), _point(x, bottom))
    long_axis, short_axis = sorted((level, upright), key=lambda axis: -axis.length_mm)
    return Finding(
        label=found.label,
        code=found.code,
        center_mm=turn.stored_point(_point(x, y)),
        box_mm=turn.stored_box((_point(left, top), _point(right, bottom))),
        image_uid=image_uid,
        frame=frame,
        score=found.probability,
        long_axis=turn.stored_axis(long_axis),
        short_axis=turn.stored_axis(short_axis),
        volume_mm3=(right - left) * (bottom - top),
        kind="saliency",
        in_pixels=True,
    )


def on_its_side(finding: Finding, lungs: Sequence[Segment]) -> Finding:
    """With its side, where it can be of one lung alone and its box lies on one of them, which fills a good
    part of it."""
    if finding.code.value not in _OF_ONE_SIDE:
        return finding
    (left, top, _), (right, bottom, _) = finding.box_mm
    box = np.s_[:, round(max(top, 0)) : round(bottom) + 1, round(max(left, 0)) : round(right) + 1]
    covered = {lung.code.value: int(lung.mask.voxels[box].sum()) for lung in lungs if lung.mask is not None}
    most = max(covered, key=lambda code: covered[code])
    alone = covered[most] > 0.8 * sum(covered.values())
    fills = covered[most] > _LEAST_OF_BOX * (right - left) * (bottom - top)
    return replace(finding, side=_LUNG_SIDES.get(most) if alone and fills else None)


def _point(x: float, y: float) -> Point:
    return float(x), float(y), 0.0


def _code(label: CodedLabel) -> Code:
    return Code(label.scheme, label.value, label.meaning)
