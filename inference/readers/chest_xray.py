"""Chest radiographs: the lungs drawn, findings as probabilities, and where the evidence for each lies."""

from __future__ import annotations

import time

import cc3d
import numpy as np
import numpy.typing as npt
from PIL import Image

from inference.card import CodedLabel
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.errors import UnreadableSeriesError
from inference.findings import Axis, ClassProbability, Code, Finding, Mask, Point, Reading, Segment
from inference.picture import Pictures
from inference.readers.radiograph import (
    FINDINGS_SIZE,
    LUNGS_SIZE,
    Corners,
    Floats,
    around,
    sampled,
    square,
)
from inference.volume import Volume

NAME = "chest-xray"
FINDINGS = "chest-xray-findings"
LUNGS = "chest-xray-lungs"

_LEAST_PIXELS = 128
_LEAST_LUNGS = 0.05  # of the picture


def read(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Probabilities of findings, both lungs, and for each finding above its operating point a box around the
    strongest evidence. Of several frontal pictures the first is read.

    Raises:
        UnreadableSeriesError: no frontal grey picture, too small a one, or one that shows no lungs.
        EngineError: a network cannot be run.
    """
    started = time.perf_counter()
    pixels = _frontal(volume)
    findings, lungs = catalogue.find(FINDINGS), catalogue.find(LUNGS)
    whole = square(pixels)
    picture = sampled(pixels, whole, LUNGS_SIZE)
    prepared = time.perf_counter()
    drawn = engine.infer(LUNGS, {"picture": picture[None, None]})["lungs"][0].astype(np.float32)
    both = [_largest(side >= 0.5) for side in drawn]
    if not all(side.mean() >= _LEAST_LUNGS / 2 for side in both):
        raise UnreadableSeriesError(
            "No two lungs can be made out on this picture; send an upright frontal chest radiograph, PA "
            "or AP."
        )
    close = around(both[0] | both[1], whole)
    outputs = engine.infer(FINDINGS, {"picture": sampled(pixels, close, FINDINGS_SIZE)[None, None]})
    inferred = time.perf_counter()
    card = findings.card
    probabilities, evidence = outputs["probability"][0], outputs["evidence"][0]
    labels = card.output("probability").labels
    image_uid, frame = volume.images[0] or ("", None)
    boxes = [
        _salient(label, float(p), evidence[k], close, pixels.shape, image_uid, frame)
        for k, (label, p) in enumerate(zip(labels, probabilities, strict=True))
        if (point := card.operating_points.get(label.label)) is not None and p >= point.threshold
    ]
    return Reading(
        reader=NAME,
        series_uid=volume.series_uid,
        models=(findings.identity, lungs.identity),
        findings=tuple(sorted(boxes, key=lambda finding: -finding.score)),
        classes=tuple(
            ClassProbability(label.meaning, _code(label), float(p))
            for label, p in zip(labels, probabilities, strict=True)
        ),
        segments=tuple(
            _segment(label, drawn[k] * both[k], whole, volume)
            for k, label in enumerate(lungs.card.output("lungs").labels)
        ),
        seconds={
            "preprocess": prepared - started,
            "inference": inferred - prepared,
            "postprocess": time.perf_counter() - inferred,
        },
    )


def _frontal(volume: Volume) -> npt.NDArray[np.uint8]:
    if not isinstance(volume, Pictures) or volume.is_colour:
        raise UnreadableSeriesError("This is no grey radiograph; send the CR or DX image itself.")
    if volume.views[0].is_lateral:
        raise UnreadableSeriesError(
            f"The view is {volume.views[0].position}, from the side; only frontal views (PA, AP) are read."
        )
    pixels = np.asarray(volume.voxels[0], np.uint8)
    if min(pixels.shape) < _LEAST_PIXELS:
        raise UnreadableSeriesError(
            f"The picture has {pixels.shape[0]} x {pixels.shape[1]} pixels; at least {_LEAST_PIXELS} are "
            "needed on either side. Send the original image."
        )
    if pixels.min() == pixels.max():
        raise UnreadableSeriesError("Every pixel of the picture has the same value; send it again.")
    return pixels


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    if not mask.any():
        return mask
    largest: npt.NDArray[np.bool_] = cc3d.largest_k(mask, k=1, connectivity=4) > 0
    return largest


def _segment(label: CodedLabel, probability: Floats, whole: Corners, volume: Volume) -> Segment:
    """A lung on the picture's own pixels; its area in the detector's plane where the spacing is known."""
    assert isinstance(volume, Pictures)
    _, rows, columns = volume.shape
    side = max(rows, columns)
    large = np.asarray(Image.fromarray(probability).resize((side, side), Image.Resampling.BILINEAR)) >= 0.5
    top, left = int(-whole[1]), int(-whole[0])
    mask = large[top : top + rows, left : left + columns]
    spacing = volume.views[0].spacing_mm
    area = None if spacing is None else float(mask.sum()) * spacing[0] * spacing[1]
    return Segment(label.meaning, _code(label), area_mm2=area, mask=Mask((0, 0, 0), mask[None]))


def _salient(
    label: CodedLabel,
    probability: float,
    evidence: Floats,
    close: Corners,
    shape: tuple[int, ...],
    image_uid: str,
    frame: int | None,
) -> Finding:
    """A box around the strongest evidence: where it is at least half of its peak, and hangs together."""
    size = 8 * evidence.shape[0]
    fine = np.asarray(
        Image.fromarray(evidence.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    )
    parts = cc3d.connected_components(fine >= fine.max() / 2 if fine.max() > 0 else fine >= fine.max())
    rows, columns = np.nonzero(parts == parts.flat[int(fine.argmax())])
    step_x, step_y = (close[2] - close[0]) / size, (close[3] - close[1]) / size
    left = max(close[0] + columns.min() * step_x, 0.0)
    right = min(close[0] + (columns.max() + 1) * step_x, float(shape[1]))
    top = max(close[1] + rows.min() * step_y, 0.0)
    bottom = min(close[1] + (rows.max() + 1) * step_y, float(shape[0]))
    left, right = min(left, right - 1), max(right, left + 1)
    top, bottom = min(top, bottom - 1), max(bottom, top + 1)
    x, y = (left + right) / 2 - 0.5, (top + bottom) / 2 - 0.5
    level = Axis(_point(left - 0.5, y), _point(right - 0.5, y))
    upright = Axis(_point(x, top - 0.5), _point(x, bottom - 0.5))
    long_axis, short_axis = sorted((level, upright), key=lambda axis: -axis.length_mm)
    return Finding(
        label=label.meaning,
        code=_code(label),
        center_mm=_point(x, y),
        box_mm=(_point(left - 0.5, top - 0.5), _point(right - 0.5, bottom - 0.5)),
        image_uid=image_uid,
        frame=frame,
        score=probability,
        long_axis=long_axis,
        short_axis=short_axis,
        volume_mm3=(right - left) * (bottom - top),
        kind="saliency",
        in_pixels=True,
    )


def _point(x: float, y: float) -> Point:
    return float(x), float(y), 0.0


def _code(label: CodedLabel) -> Code:
    return Code(label.scheme, label.value, label.meaning)
