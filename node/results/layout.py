"""Pages of pictures and text, all of one size: what they hold is stacked, and what does not fit goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Rgb = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

WIDTH, HEIGHT, MARGIN = 1280, 1024, 16
INNER = WIDTH - 2 * MARGIN
BODY, SMALL, LEAST_TEXT = 20, 18, 12  # heights of text, in pixels
AMBER, WHITE, GREY, BLUE = (255, 196, 0), (240, 240, 240), (160, 160, 160), (64, 200, 255)
_GAP, _LEADING = 8, 1.4


@dataclass(frozen=True)
class Line:
    """Text of one colour and height."""

    text: str
    colour: Colour = WHITE
    height: int = BODY


@cache
def font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(10, height))


def text_block(lines: Sequence[Line], width: int = INNER, *, centred: bool = False) -> Image.Image:
    """The lines under each other, each broken where it is longer than ``width``."""
    broken = [Line(part, line.colour, line.height) for line in lines for part in _broken(line, width) or [""]]
    steps = [round(line.height * _LEADING) for line in broken]
    image = Image.new("RGB", (width, max(sum(steps), 1)))
    draw, top = ImageDraw.Draw(image), 0
    for line, step in zip(broken, steps, strict=True):
        at, anchor = ((width / 2, top), "ma") if centred else ((0, top), "la")
        draw.text(at, line.text, line.colour, font(line.height), anchor=anchor)
        top += step
    return image


def beside(*parts: Image.Image) -> Image.Image:
    """Blocks side by side, their tops level."""
    width = sum(part.width for part in parts) + MARGIN * (len(parts) - 1)
    image, left = Image.new("RGB", (width, max(part.height for part in parts))), 0
    for part in parts:
        image.paste(part, (left, 0))
        left += part.width + MARGIN
    return image


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[Colour], width: int = INNER
) -> list[Image.Image]:
    """A block for the head and for each row, so that a table may be split between pages. Columns that no row
    has anything for are left out; the text is made small enough for ``width``.

    Args:
        colours: one for each row.
    """
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    lines = [[row[column] for column in kept] for row in (head, *rows)]
    height = BODY
    while sum(widths := _widths(lines, height)) > width and height > LEAST_TEXT:
        height -= 1
    return [
        _row(cells, widths, height, colour, width)
        for cells, colour in zip(lines, (GREY, *colours), strict=True)
    ]


def stacked(blocks: Sequence[Image.Image]) -> Image.Image:
    """Blocks under each other, as one."""
    height = sum(block.height for block in blocks) + _GAP * (len(blocks) - 1)
    image, top = Image.new("RGB", (max(block.width for block in blocks), height)), 0
    for block in blocks:
        image.paste(block, (0, top))
        top += block.height + _GAP
    return image


def captioned(picture: Image.Image, caption: str) -> Image.Image:
    """The picture with words, where there are any, in its lower left corner, on black to be read."""
    if not caption:
        return picture
    image = picture.copy()
    draw, at = ImageDraw.Draw(image), (6, image.height - 6)
    left, top, right, bottom = draw.textbbox(at, caption, font(SMALL), anchor="ld")
    draw.rectangle((left - 6, top - 4, right + 6, bottom + 6), fill=(0, 0, 0))
    draw.text(at, caption, WHITE, font(SMALL), anchor="ld")
    return image


def pages(head: Sequence[Line], blocks: Sequence[Image.Image]) -> list[Rgb]:
    """The blocks under each other on as few pages as they need in this order; on each the lines of ``head``
    above, and its number below. Both stand in the middle: viewers write into the corners. A block that no
    page has room for is made smaller."""
    top = text_block(head, centred=True)
    room = HEIGHT - top.height - 3 * MARGIN
    sheets = list(_sheets([_fitted(block, room) for block in blocks], room))
    return [
        _page(top, sheet, f"page {number} of {len(sheets)}" if len(sheets) > 1 else "")
        for number, sheet in enumerate(sheets, 1)
    ]


def _page(head: Image.Image, sheet: Sequence[Image.Image], place: str) -> Rgb:
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.paste(head, (MARGIN, MARGIN))
    ImageDraw.Draw(image).text((WIDTH / 2, HEIGHT), place, GREY, font(LEAST_TEXT), anchor="md")
    image.paste(stacked(sheet), (MARGIN, head.height + 2 * MARGIN))
    return np.asarray(image)


def _fitted(block: Image.Image, room: int) -> Image.Image:
    if block.height <= room:
        return block
    return block.resize((max(1, round(block.width * room / block.height)), room))


def _sheets(blocks: Sequence[Image.Image], room: int) -> Iterator[list[Image.Image]]:
    sheet: list[Image.Image] = []
    used = 0
    for block in blocks:
        if sheet and used + block.height > room:
            yield sheet
            sheet, used = [], 0
        sheet.append(block)
        used += block.height + _GAP
    yield sheet


def _broken(line: Line, width: int) -> list[str]:
    parts: list[str] = []
    for word in line.text.split(" "):
        longer = f"{parts[-1]} {word}" if parts else word
        if parts and font(line.height).getlength(longer) <= width:
            parts[-1] = longer
        else:
            parts.append(word)
    return parts


def _widths(lines: Sequence[Sequence[str]], height: int) -> list[int]:
    written = font(height)
    return [
        round(max(written.getlength(cell) for cell in column)) + height for column in zip(*lines, strict=True)
    ]


def _row(cells: Sequence[str], widths: Sequence[int], height: int, colour: Colour, width: int) -> Image.Image:
    image = Image.new("RGB", (width, round(height * _LEADING)))
    draw, left = ImageDraw.Draw(image), 0
    for cell, step in zip(cells, widths, strict=True):
        draw.text((left, 0), cell, fill=colour, font=font(height))
        left += step
    return image
