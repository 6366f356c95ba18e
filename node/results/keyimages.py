"""Findings become pictures: key slices with outline and axes, for people and for plain image viewers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from inference.findings import Axis, Finding, Reading
from inference.pet_ct import PetCt
from inference.volume import Volume
from node.results import codes
from node.results.fusion import FINER, fused
from node.results.layout import AMBER, BLUE, GREY, Rgb, font
from node.results.outline import Points, axis_on_image, box_on_image, edges, outlines, slice_of

OUTLINE, AXIS = AMBER, BLUE
_CONTEXT_MM = 80.0
_LUNG_SITES = {codes.LUNG}


@dataclass(frozen=True)
class Window:
    """A grey scale, HU: ``center`` shows as mid grey, ``width`` spans black to white (PS3.3 C.11.2)."""

    center: float
    width: float

    def grey(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        """uint8 of the same shape; what is uint8 already is a picture, and stays as it is."""
        if values.dtype == np.uint8:
            return np.asarray(values, np.uint8)
        scaled = (values.astype(np.float32) - self.center) / self.width + 0.5
        return np.asarray(np.clip(scaled, 0, 1) * 255, np.uint8)


LUNG_WINDOW = Window(-600, 1500)
SOFT_TISSUE_WINDOW = Window(40, 400)


def window_for(finding: Finding) -> Window:
    """The lung window for what lies in the lung, else soft tissue."""
    return LUNG_WINDOW if codes.site_of(finding.code, finding.site) in _LUNG_SITES else SOFT_TISSUE_WINDOW


def key_image(
    finding: Finding,
    volume: Volume,
    *,
    view: Literal["context", "slice"] = "context",
    size: int = 384,
    window: Window | None = None,
    marked: bool = True,
) -> Rgb:
    """The finding's key slice as RGB, uint8 (rows, columns, 3), pixels square whatever their spacing.

    Args:
        view: ``context``, a square of 80 mm or twice the long axis around the finding; ``slice``, all of it,
            with that square drawn in.
        size: of the longer side, in pixels.
        marked: with the outline drawn on it, and close up the axes.
    """
    index = slice_of(finding, volume)
    picture = _Picture.of(
        volume, index, _field_of_view(finding, volume, view), size, window or window_for(finding)
    )
    picture.orient(*edges(volume, index))
    if marked:
        picture.outline(finding, volume, index)
    if marked and view == "context":
        picture.axes(finding, volume)
    elif marked:
        picture.frame(_field_of_view(finding, volume, "context"))
    return np.asarray(picture.image)


def whole_image(reading: Reading, volume: Volume, size: int) -> Rgb:
    """The image that was read, or the middle slice, as RGB; on it a numbered box for each piece of evidence
    (findings without a size), and the lines of what was measured."""
    window = (
        LUNG_WINDOW if codes.TARGETS.get(reading.reader) == codes.PULMONARY_NODULE else SOFT_TISSUE_WINDOW
    )
    read = (k for k, image in enumerate(volume.images) if image and image[0] in reading.image_uids)
    shown = next(read, len(volume.voxels) // 2)
    picture = _Picture.of(volume, shown, _whole(volume), size, window)
    picture.orient(*edges(volume, shown))
    for number, finding in enumerate(reading.findings, 1):
        if not finding.is_sized:
            picture.number(finding, volume, number)
    picture.lines([line for measurement in reading.measurements for line in measurement.lines], volume)
    return np.asarray(picture.image)


@dataclass(frozen=True, eq=False)
class _Picture:
    """An image and the way from a slice's pixel coordinates to its own."""

    image: Image.Image
    left: float
    top: float
    scale_x: float
    scale_y: float

    @classmethod
    def of(
        cls, volume: Volume, index: int, view: tuple[float, float, float, float], size: int, window: Window
    ) -> _Picture:
        """``view``: left, top, right, bottom in pixel coordinates; outside the slice is black."""
        left, top, right, bottom = view
        row_mm, column_mm = (float(np.linalg.norm(volume.affine[:3, axis])) for axis in (1, 2))
        width_mm, height_mm = (right - left) * column_mm, (bottom - top) * row_mm
        scale = size / max(width_mm, height_mm)
        shape = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
        if isinstance(volume, PetCt):
            slice_, finer = Image.fromarray(fused(volume, index)), FINER
        else:
            slice_, finer = Image.fromarray(window.grey(volume.voxels[index])), 1
        step_x, step_y = (right - left) / shape[0], (bottom - top) / shape[1]
        image = slice_.transform(
            shape,
            Image.Transform.AFFINE,
            (step_x * finer, 0, left * finer, 0, step_y * finer, top * finer),
            Image.Resampling.BICUBIC,
        )
        return cls(image.convert("RGB"), left, top, 1 / step_x, 1 / step_y)

    def orient(self, left: str, top: str) -> None:
        """Marks the sides of the patient that the left and the upper edge are on."""
        draw, written = ImageDraw.Draw(self.image), font(max(12, max(self.image.size) // 20))
        for at, letters, anchor in (
            ((5, self.image.height / 2), left, "lm"),
            ((self.image.width / 2, 4), top, "ma"),
        ):
            draw.text(at, letters, GREY, written, anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0))

    def outline(self, finding: Finding, volume: Volume, index: int) -> None:
        drawn = outlines(finding.mask, index) if finding.mask is not None else []
        for outline in drawn or [box_on_image(finding.box_mm, volume)]:
            self._line(outline, OUTLINE)

    def axes(self, finding: Finding, volume: Volume) -> None:
        self.lines((finding.long_axis, finding.short_axis) if finding.is_sized else (), volume)

    def lines(self, axes: Iterable[Axis], volume: Volume) -> None:
        for axis in axes:
            self._line(axis_on_image(axis, volume), AXIS)

    def frame(self, view: tuple[float, float, float, float]) -> None:
        left, top, right, bottom = view
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        self._line(np.array(corners), AXIS)

    def number(self, finding: Finding, volume: Volume, number: int) -> None:
        box = box_on_image(finding.box_mm, volume)
        self._line(box, OUTLINE)
        (left, top), *_ = self._placed(box)
        draw, written = ImageDraw.Draw(self.image), font(self.image.height // 28)
        draw.text((left + 5, top + 2), str(number), OUTLINE, written, stroke_width=2, stroke_fill=(0, 0, 0))

    def _placed(self, points: Points) -> list[tuple[float, float]]:
        return [((x - self.left) * self.scale_x, (y - self.top) * self.scale_y) for x, y in points]

    def _line(self, points: Points, colour: tuple[int, int, int]) -> None:
        placed = self._placed(points)
        ImageDraw.Draw(self.image).line(placed, fill=colour, width=max(1, round(max(self.image.size) / 256)))


def _field_of_view(
    finding: Finding, volume: Volume, view: Literal["context", "slice"]
) -> tuple[float, float, float, float]:
    if view == "slice":
        return _whole(volume)
    half_mm = max(_CONTEXT_MM, 2 * finding.long_axis_mm) / 2
    _, row, column, _ = np.linalg.solve(volume.affine, (*finding.center_mm, 1.0))
    half_rows, half_columns = (half_mm / float(np.linalg.norm(volume.affine[:3, axis])) for axis in (1, 2))
    _, rows, columns = volume.shape
    left, right = _span(column + 0.5, half_columns, columns)
    top, bottom = _span(row + 0.5, half_rows, rows)
    return left, top, right, bottom


def _span(center: float, half: float, length: int) -> tuple[float, float]:
    """An interval around ``center``, moved into the image where it fits."""
    low = center - half
    if 2 * half <= length:
        low = min(max(low, 0.0), length - 2 * half)
    return low, low + 2 * half


def _whole(volume: Volume) -> tuple[float, float, float, float]:
    _, rows, columns = volume.shape
    return 0.0, 0.0, float(columns), float(rows)
