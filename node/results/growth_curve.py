"""A lesion's course as a picture: prior and current key slice side by side, its volumes below, and the
forecast, drawn and told apart from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from PIL import Image, ImageDraw

from inference.dates import as_day
from inference.findings import Change
from inference.growth.forecast import malignancy_in_words
from node.results.edition import NOTICE
from node.results.layout import AMBER, BLUE, GREY, Rgb, captioned, font

_SIDE, _CURVE = 384, 384
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 68, 72  # margins of the curve
_LINE, _FORECAST = AMBER, BLUE


@dataclass(frozen=True)
class Dated:
    """A measured volume; ``date`` YYYYMMDD, empty for the current study, which ends the course."""

    date: str
    volume_mm3: float


def growth_picture(prior: Rgb, current: Rgb, course: Sequence[Dated], change: Change) -> Rgb:
    """A square RGB picture: ``prior`` and ``current`` above, of one scale and window; the curve below, where
    the studies have dates."""
    image = Image.new("RGB", (2 * _SIDE, _SIDE + _CURVE))
    draw = ImageDraw.Draw(image)
    for left, picture, caption in (
        (0, prior, f"prior {as_day(change.prior_date)}"),
        (_SIDE, current, "current"),
    ):
        tile = Image.fromarray(picture)
        tile.thumbnail((_SIDE - 2, _SIDE))
        image.paste(captioned(tile, caption), (left, 0))
    draw.text((_SIDE, _SIDE + _CURVE - 10), NOTICE, _LINE, font(16), anchor="md")
    _draw_curve(draw, _points(course, change), change)
    return np.asarray(image)


def _points(course: Sequence[Dated], change: Change) -> list[tuple[date, float]]:
    """Days and volumes; the current study lies ``change.days`` after its prior."""
    start = _date(change.prior_date)
    if start is None:
        return []
    now = start + timedelta(days=change.days)
    dated = [(_date(point.date) if point.date else now, point.volume_mm3) for point in course]
    return [(day, volume) for day, volume in dated if day is not None and day <= now]


def _draw_curve(draw: ImageDraw.ImageDraw, points: Sequence[tuple[date, float]], change: Change) -> None:
    words = f"{change.category}"
    if change.volume_change_percent is not None:
        words += f", volume {change.volume_change_percent:+.0f} %"
        words += f" in {change.days} days" if change.days else ""
    if change.doubling_time_days is not None:
        words += f", doubling in {change.doubling_time_days:.0f} days"
    draw.text((12, _SIDE + 12), words, fill=_LINE, font=font(22))
    if change.forecast and (malignancy := change.forecast.get("malignancy")):
        ahead = f"forecast for {change.forecast['days']} days: {malignancy_in_words(malignancy)}"
        draw.text((12, _SIDE + 40), ahead, fill=_FORECAST, font=font(16))
    if len(points) < 2 or points[0][0] == points[-1][0]:
        draw.text((12, _SIDE + 72), "No curve: the studies are not dated apart.", fill=GREY, font=font(18))
        return
    now = points[-1][0]
    band = [
        (now + timedelta(days=int(ahead)), low, middle, high)
        for ahead, low, middle, high in _forecast_rows(change)
    ]
    last_day = band[-1][0] if band else now
    most = 1.15 * max([volume for _, volume in points] + [high for _, _, _, high in band])
    frame = _Frame(points[0][0], last_day, most)
    _draw_axes(draw, frame, points)
    if band:
        start = frame.place(now, points[-1][1])
        upper = [frame.place(day, high) for day, _, _, high in band]
        lower = [frame.place(day, low) for day, low, _, _ in band]
        draw.polygon([start, *upper, *reversed(lower)], fill=(24, 60, 76))
        middle = [frame.place(day, value) for day, _, value, _ in band]
        for begin, end in zip([start, *middle], middle, strict=False):
            _dashes(draw, begin, end)
        draw.text(
            (upper[-1][0] - 4, upper[-1][1] - 24), "forecast", fill=_FORECAST, font=font(16), anchor="ra"
        )
    placed = [frame.place(day, volume) for day, volume in points]
    draw.line(placed, fill=_LINE, width=3)
    for x, y in placed:
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=_LINE)


@dataclass(frozen=True)
class _Frame:
    """Days and mm³ to pixels of the picture."""

    first: date
    last: date
    most_mm3: float

    def place(self, day: date, volume_mm3: float) -> tuple[float, float]:
        width, height = 2 * _SIDE - _LEFT - _RIGHT, _CURVE - _TOP - _BOTTOM
        along = (day - self.first).days / max((self.last - self.first).days, 1)
        return _LEFT + along * width, _SIDE + _TOP + (1 - volume_mm3 / self.most_mm3) * height


def _draw_axes(draw: ImageDraw.ImageDraw, frame: _Frame, points: Sequence[tuple[date, float]]) -> None:
    draw.line([frame.place(frame.first, frame.most_mm3), frame.place(frame.first, 0)], fill=GREY)
    draw.line([frame.place(frame.first, 0), frame.place(frame.last, 0)], fill=GREY)
    for mm3 in (0.0, frame.most_mm3 / 2, frame.most_mm3):
        x, y = frame.place(frame.first, mm3)
        draw.text((x - 8, y), f"{mm3:.0f}", fill=GREY, font=font(16), anchor="rm")
    x, y = frame.place(frame.first, frame.most_mm3)
    draw.text((x + 8, y), "mm3", fill=GREY, font=font(16), anchor="lm")
    free = -1.0
    for day, _ in points:
        x, y = frame.place(day, 0)
        if x >= free:
            anchor = "ra" if x > 2 * _SIDE - 80 else "la" if x < 80 else "ma"
            draw.text((x, y + 10), f"{day}", fill=GREY, font=font(16), anchor=anchor)
            free = x + 110


def _dashes(draw: ImageDraw.ImageDraw, begin: tuple[float, float], end: tuple[float, float]) -> None:
    steps = max(1, int(np.hypot(end[0] - begin[0], end[1] - begin[1]) // 8))
    places = np.linspace(begin, end, 2 * steps)
    for one, other in zip(places[::2], places[1::2], strict=True):
        draw.line([tuple(one), tuple(other)], fill=_FORECAST, width=3)


def _forecast_rows(change: Change) -> Sequence[tuple[float, float, float, float]]:
    """Days ahead; lowest, middle and highest volume in mm³."""
    return change.forecast.get("curve", ()) if change.forecast else ()


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None
