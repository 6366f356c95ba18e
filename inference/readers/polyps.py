"""Polyps on colonoscopy pictures, stills or the frames of a video: outline, box and size in pixels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import cc3d
import numpy as np
import numpy.typing as npt
from PIL import Image

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.errors import UnreadableSeriesError
from inference.findings import Axis, Caveat, Code, Finding, Mask, Point, Reading
from inference.measure import measure
from inference.picture import Pictures
from inference.readers.endoscopic import Floats, fitted
from inference.volume import Volume

NAME = "polyps"
POLYPS = "polyps-outline"
POLYP_OF_COLON = Code("SCT", "68496003", "Polyp of colon")

_LEAST_PIXELS = 64
_BATCH = 16


def read(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Polyps of every picture, the most certain first, no more than ``most_findings`` of the model's card; a
    caveat tells of those beyond.

    Raises:
        UnreadableSeriesError: the pictures are not in colour, or too small.
        EngineError: the network cannot be run.
    """
    pictures = _checked(volume)
    model = catalogue.find(POLYPS)
    seconds = {"preprocess": 0.0, "inference": 0.0, "postprocess": 0.0}
    findings: list[Finding] = []
    for at in range(0, len(pictures.voxels), _BATCH):
        times = [time.perf_counter()]
        part = np.asarray(pictures.voxels[at : at + _BATCH], np.uint8)
        fed = np.stack([fitted(picture) for picture in part]).transpose(0, 3, 1, 2)
        times.append(time.perf_counter())
        drawn = engine.infer(POLYPS, {"picture": np.ascontiguousarray(fed)})["polyps"][:, 0]
        times.append(time.perf_counter())
        for number, probability in enumerate(drawn):
            findings += _outlined(probability.astype(np.float32), at + number, pictures, model.card)
        times.append(time.perf_counter())
        for name, before, after in zip(seconds, times, times[1:], strict=False):
            seconds[name] += after - before
    findings.sort(key=lambda finding: -finding.score)
    most = int(model.card.postprocess["most_findings"])
    return Reading(
        reader=NAME,
        series_uid=volume.series_uid,
        models=(model.identity,),
        findings=tuple(findings[:most]),
        seconds=seconds,
        caveats=_beyond(findings[most:], most),
    )


def _beyond(findings: Sequence[Finding], most: int) -> tuple[Caveat, ...]:
    """Of findings beyond the most that are reported: how many, and on how many pictures."""
    if not findings:
        return ()
    pictures = len({(finding.image_uid, finding.frame) for finding in findings})
    outlines = "1 more outline" if len(findings) == 1 else f"{len(findings)} more outlines"
    on = "1 picture" if pictures == 1 else f"{pictures} pictures"
    said = f"{outlines} on {on} not reported: the {most} most certain are. Look at the whole video."
    return (Caveat("unreported", said, pictures),)


def _checked(volume: Volume) -> Pictures:
    if not isinstance(volume, Pictures) or not volume.is_colour:
        raise UnreadableSeriesError("The pictures are not in colour; send the endoscopy pictures themselves.")
    _, rows, columns = volume.shape
    if min(rows, columns) < _LEAST_PIXELS:
        raise UnreadableSeriesError(
            f"The pictures have {rows} x {columns} pixels; at least {_LEAST_PIXELS} are needed on either "
            "side. Send the originals."
        )
    return volume


def _outlined(probability: Floats, index: int, pictures: Pictures, card: ModelCard) -> list[Finding]:
    _, rows, columns = pictures.shape
    large = np.asarray(Image.fromarray(probability).resize((columns, rows), Image.Resampling.BILINEAR))
    parts, count = cc3d.connected_components(
        large >= card.threshold("outline"), connectivity=4, return_N=True
    )
    found = []
    for number in range(1, count + 1):
        inside = parts == number
        score = float(large[inside].mean())
        if inside.mean() < card.postprocess["least_share"] or score < card.threshold("report"):
            continue
        found.append(_finding(inside, score, index, pictures))
    return found


def _finding(inside: npt.NDArray[np.bool_], score: float, index: int, pictures: Pictures) -> Finding:
    high, wide = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    cropped = inside[high[0] : high[-1] + 1, wide[0] : wide[-1] + 1]
    mask = Mask((index, int(high[0]), int(wide[0])), cropped[None])
    measured = measure(mask, replace(pictures, voxels=pictures.voxels[..., 0]))
    low, top = measured.box_mm
    return replace(
        measured.finding("Polyp", POLYP_OF_COLON, score, mask),
        center_mm=_flat(measured.center_mm),
        box_mm=(_flat(low), _flat(top)),
        long_axis=Axis(_flat(measured.long_axis.start), _flat(measured.long_axis.end)),
        short_axis=Axis(_flat(measured.short_axis.start), _flat(measured.short_axis.end)),
        mean_hu=None,
        cut=False,
        in_pixels=True,
    )


def _flat(point: Point) -> Point:
    return point[0], point[1], 0.0
