"""Numbers in the headers of images, which may hold anything."""

from __future__ import annotations

import math

from pydicom import Dataset


def number_of(header: Dataset, keyword: str) -> float | None:
    """A single finite number; None where there is none."""
    value = header.get(keyword)
    try:
        number = float(value) if value not in (None, "") else None
    except (TypeError, ValueError):
        return None
    return number if number is None or math.isfinite(number) else None
