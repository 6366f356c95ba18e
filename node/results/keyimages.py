"""Findings become pictures: key slices with outline and axes, for people and for plain image viewers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from inference.findings import Finding, Reading
from inference.pet_ct import PetCt
from inference.volume import Volume
from node.results import codes
from node.results.fusion import FINER, fused
from node.results.outline import Points, axis_on_image, box_on_image, outlines, slice_of

Rgb = npt.NDArray[np.uint8]
OUTLINE = (255, 196, 0)
AXIS = (64, 200, 255)
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
        view: ``context``, a square of 80 mm or twice the long axis around the finding; ``slice``, all of it.
        size: of the longer side, in pixels.
        marked: with outline and axes drawn on it.
    """
    index = slice_of(finding, volume)
    picture = _Picture.of(
        volume, index, _field_of_view(finding, volume, view), size, window or window_for(finding)
    )
    if marked:
        picture.draw(finding, volume, index)
    return np.asarray(picture.image)


def overview(reading: Reading, volume: Volume, *, columns: int = 4, size: int = 256) -> Rgb:
    """All findings' key images, numbered, as one RGB sheet; where there are none, the image that was
    read, or the middle slice."""
    if not reading.findings:
        window = (
            LUNG_WINDOW if codes.TARGETS.get(reading.reader) == codes.PULMONARY_NODULE else SOFT_TISSUE_WINDOW
        )
        shown = _shown_without_findings(reading, volume)
        return np.asarray(_Picture.of(volume, shown, _whole(volume), size * 2, window).image)
    tiles = [numbered(key_image(f, volume, size=size), n) for n, f in enumerate(reading.findings, 1)]
    return contact_sheet(tiles, columns)


def _shown_without_findings(reading: Reading, volume: Volume) -> int:
    read = (k for k, image in enumerate(volume.images) if image and image[0] in reading.image_uids)
    return next(read, len(volume.voxels) // 2)


def contact_sheet(tiles: Sequence[Rgb], columns: int) -> Rgb:
    """Pictures of one size, row by row."""
    columns = min(columns, len(tiles))
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * height, place % columns * width
        sheet[top : top + height, left : left + width] = tile
    return sheet


def numbered(picture: Rgb, number: int) -> Rgb:
    """The picture with the finding's number in its corner."""
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((8, 4), str(number), fill=OUTLINE, font=font(image.height // 12))
    return np.asarray(image)


def font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(10, height))


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

    def draw(self, finding: Finding, volume: Volume, index: int) -> None:
        drawn = outlines(finding.mask, index) if finding.mask is not None else []
        for outline in drawn or [box_on_image(finding.box_mm, volume)]:
            self._line(outline, OUTLINE)
        for axis in (finding.long_axis, finding.short_axis):
            self._line(axis_on_image(axis, volume), AXIS)

    def _line(self, points: Points, colour: tuple[int, int, int]) -> None:
        placed = [((x - self.left) * self.scale_x, (y - self.top) * self.scale_y) for x, y in points]
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
