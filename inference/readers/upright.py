"""Which way a frontal radiograph lies, and how it is turned to be read: the patient's right on the left side
of the picture, head up, as radiographs are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from inference.errors import UnreadableSeriesError
from inference.findings import Axis, Point
from inference.picture import View

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Turn:
    """From stored to upright pixels: transposed first, then mirrored left to right, then turned upside down.

    shape: rows and columns as stored.
    """

    shape: tuple[int, int]
    transposed: bool = False
    mirrored: bool = False
    inverted: bool = False

    @property
    def upright_shape(self) -> tuple[int, int]:
        """Rows and columns of the upright picture."""
        return self.shape[::-1] if self.transposed else self.shape

    def upright(self, stored: npt.NDArray[T]) -> npt.NDArray[T]:
        """(rows, columns) as stored to the same picture upright."""
        turned = stored.T if self.transposed else stored
        turned = turned[:, ::-1] if self.mirrored else turned
        return np.ascontiguousarray(turned[::-1] if self.inverted else turned)

    def stored(self, upright: npt.NDArray[T]) -> npt.NDArray[T]:
        """The inverse of ``upright``."""
        turned = upright[::-1] if self.inverted else upright
        turned = turned[:, ::-1] if self.mirrored else turned
        return np.ascontiguousarray(turned.T if self.transposed else turned)

    def stored_point(self, at: Point) -> Point:
        """A place on the upright picture, (column, row, 0), where it lies on the stored one."""
        x, y, z = at
        rows, columns = self.upright_shape
        x = columns - 1 - x if self.mirrored else x
        y = rows - 1 - y if self.inverted else y
        return (y, x, z) if self.transposed else (x, y, z)

    def stored_axis(self, axis: Axis) -> Axis:
        return Axis(self.stored_point(axis.start), self.stored_point(axis.end))

    def stored_box(self, box: tuple[Point, Point]) -> tuple[Point, Point]:
        (ax, ay, _), (bx, by, _) = (self.stored_point(corner) for corner in box)
        return (min(ax, bx), min(ay, by), 0.0), (max(ax, bx), max(ay, by), 0.0)


def turn_of(view: View, shape: tuple[int, int]) -> Turn:
    """How a picture of that shape becomes upright, by its Patient Orientation (PS3.3 C.7.6.1.1.1): where its
    rows and its columns run to. Without one it is taken to be upright.

    Raises:
        UnreadableSeriesError: no frontal view, or one whose orientation makes no sense.
    """
    if reason := view.not_frontal:
        raise UnreadableSeriesError(f"{reason}; only frontal views (PA, AP) are read.")
    if not view.orientation:
        return Turn(shape)
    row, column = (direction[0] for direction in view.orientation)
    if {row, column} & {"L", "R"} and {row, column} & {"H", "F"}:
        transposed = row in "HF"
        across, down = (column, row) if transposed else (row, column)
        return Turn(shape, transposed, across == "R", down == "H")
    raise UnreadableSeriesError(
        f"Its Patient Orientation, {'/'.join(view.orientation)}, is none that a frontal view can have; "
        "correct (0020,0020) and send the image again."
    )
