"""Branching tubes (vessels, airways) and how they fill voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.phantoms.fields import Array, Grid

_PIECE_MM = 4.0


@dataclass(frozen=True, eq=False)
class Tubes:
    """Straight tubes: ``starts`` and ``ends`` (n, 3) in LPS mm, ``radii`` (n,) in mm."""

    starts: Array
    ends: Array
    radii: Array

    def __len__(self) -> int:
        return len(self.radii)

    def widened(self, factor: float, plus_mm: float) -> Tubes:
        """The same paths with radii ``factor * r + plus_mm``; those below 0.1 mm left out."""
        radii = self.radii * factor + plus_mm
        keep = radii > 0.1
        return Tubes(self.starts[keep], self.ends[keep], radii[keep])

    @staticmethod
    def joined(parts: list[Tubes]) -> Tubes:
        return Tubes(
            np.concatenate([p.starts for p in parts]),
            np.concatenate([p.ends for p in parts]),
            np.concatenate([p.radii for p in parts]),
        )

    @staticmethod
    def along(path: npt.ArrayLike, radius: float | npt.ArrayLike) -> Tubes:
        """A tube through the points (n, 3), of one radius or one for each point."""
        points = np.asarray(path, np.float32)
        radii = np.broadcast_to(np.asarray(radius, np.float32), len(points))
        return Tubes(points[:-1], points[1:], (radii[:-1] + radii[1:]) / 2)

    def fill(self, grid: Grid, out: Array | None = None) -> Array:
        """The part of each voxel inside any tube, 0 to 1, shape of ``grid``.

        A tube thinner than a voxel fills it by its cross-section's share, so that its contrast fades with
        its calibre, as in a scan.
        """
        out = np.zeros(grid.shape, np.float32) if out is None else out
        pieces = self._near(grid)._cut()
        edge = float(np.mean(grid.spacing_mm))
        reach = np.maximum(pieces.radii, edge / 2) + edge / 2
        length = np.linalg.norm(pieces.ends - pieces.starts, axis=1)
        sizes = np.maximum(reach, 1.0) + length / 2
        order = np.argsort(sizes)
        at = 0
        while at < len(order):
            largest = float(sizes[order[at]]) * 1.25 + 0.3
            half = np.ceil(largest / np.array(grid.spacing_mm) + 0.4).astype(int)
            stop = int(np.searchsorted(sizes[order], largest, side="right"))
            stop = min(stop, at + max(1, 1_000_000 // int(np.prod(2 * half + 1))))
            pieces._stamp(order[at:stop], half, grid, edge, out)
            at = stop
        return out

    def _near(self, grid: Grid) -> Tubes:
        low = np.array(grid.origin_mm[::-1]) - 2
        high = low + (np.array(grid.shape) * grid.spacing_mm)[::-1] + 4
        r = self.radii[:, None]
        keep = (np.maximum(self.starts, self.ends) + r > low).all(1)
        keep &= (np.minimum(self.starts, self.ends) - r < high).all(1)
        return Tubes(self.starts[keep], self.ends[keep], self.radii[keep])

    def _cut(self) -> Tubes:
        """The same tubes in pieces no longer than 4 mm, or than their radius."""
        pieces = np.linalg.norm(self.ends - self.starts, axis=1) / np.maximum(_PIECE_MM, self.radii)
        count = np.maximum(np.ceil(pieces), 1).astype(int)
        which = np.repeat(np.arange(len(self)), count)
        number = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        step = ((self.ends - self.starts) / count[:, None])[which]
        starts = self.starts[which] + step * number[:, None]
        return Tubes(starts, starts + step, self.radii[which])

    def _stamp(
        self, chosen: npt.NDArray[np.intp], half: npt.NDArray[np.int_], grid: Grid, edge: float, out: Array
    ) -> None:
        """Fill boxes of ``2 * half + 1`` voxels about the chosen tubes; terms stay separable by axis."""
        a, b = self.starts[chosen][:, ::-1], self.ends[chosen][:, ::-1]
        spacing, origin = np.array(grid.spacing_mm, np.float32), np.array(grid.origin_mm, np.float32)
        middle = np.rint(((a + b) / 2 - origin) / spacing).astype(np.int64)
        direction = b - a
        squared: Array = np.zeros(1, np.float32)
        dot: Array = np.zeros(1, np.float32)
        flat: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        valid: npt.NDArray[np.bool_] = np.ones(1, bool)
        for axis in range(3):
            shape = [len(chosen), 1, 1, 1]
            shape[axis + 1] = 2 * int(half[axis]) + 1
            index = middle[:, axis, None] + np.arange(-half[axis], half[axis] + 1)
            offset = (index * spacing[axis] + origin[axis] - a[:, axis, None]).astype(np.float32)
            squared = squared + (offset**2).reshape(shape)
            dot = dot + (offset * direction[:, axis, None]).reshape(shape)
            flat = flat * grid.shape[axis] + index.reshape(shape)
            valid = valid & ((index >= 0) & (index < grid.shape[axis])).reshape(shape)
        length2 = np.maximum((direction**2).sum(1), 1e-9).reshape(-1, 1, 1, 1)
        radius = self.radii[chosen].reshape(-1, 1, 1, 1)
        along = np.clip(dot / length2, 0, 1)
        distance = np.sqrt(np.maximum(squared - along * (2 * dot - along * length2), 0))
        thick = np.maximum(radius, edge / 2)
        filled = np.clip((thick - distance) / edge + 0.5, 0, 1) * np.minimum(1, (radius / thick) ** 2)
        use = (filled > 0) & valid
        np.maximum.at(out.reshape(-1), flat[use], filled[use])


def grow_tree(
    rng: np.random.Generator, root: npt.ArrayLike, leaves: Array, leaf_radius_mm: float, exponent: float = 2.6
) -> Tubes:
    """A tree from ``root`` to every one of ``leaves`` (n, 3): the leaves are halved again and again, each
    half fed by a branch towards its middle; radii follow Murray's law, ``r ** exponent`` adds up.
    """
    starts: list[Array] = []
    ends: list[Array] = []
    radii: list[float] = []
    todo = [(np.asarray(root, np.float32), np.asarray(leaves, np.float32))]
    while todo:
        here, points = todo.pop()
        n = len(points)
        radius = leaf_radius_mm * n ** (1 / exponent)
        if n == 1:
            there = points[0]
        else:
            middle = points.mean(0)
            there = here + rng.uniform(0.28, 0.5) * (middle - here)
            spread = points - middle
            axis = spread[rng.integers(n)] + 0.7 * spread[np.argmax((spread**2).sum(1))]
            side = spread @ axis
            cut = (side[0] + side[1]) / 2 if n == 2 else np.partition(side, n // 2)[n // 2]
            left = side < cut
            if not left.any() or left.all():
                left = np.arange(n) < n // 2
            todo += [(there, points[left]), (there, points[~left])]
        step = there - here
        length = float(np.sqrt(step.dot(step)))
        bend = (here + there) / 2 + rng.normal(0, 0.08 * length, 3)
        starts += [here, bend.astype(np.float32)]
        ends += [bend.astype(np.float32), there]
        radii += [radius, radius * 0.94]
    return Tubes(np.array(starts, np.float32), np.array(ends, np.float32), np.array(radii, np.float32))
