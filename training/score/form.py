"""What a metric says of a file of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Draw = Callable[[Path], None]


@dataclass(frozen=True)
class Line:
    """One figure of a score, with its 95 % limits where they are known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class Score:
    """What a metric says: lines for a table, the same and more for JSON, and pictures by file name."""

    metric: str
    lines: tuple[Line, ...]
    figures: Mapping[str, Any]
    pictures: Mapping[str, Draw] = field(default_factory=dict)

    def draw(self, folder: Path) -> list[Path]:
        """Every picture, into ``folder``."""
        for name, draw in self.pictures.items():
            draw(folder / name)
        return [folder / name for name in self.pictures]
