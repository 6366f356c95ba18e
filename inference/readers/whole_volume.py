"""A network that takes a whole volume in one call, and what it says of each place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from inference.card import ModelCard
from inference.engine import Engine, Tensors, infer_each
from inference.errors import UnreadableSeriesError
from inference.readers.candidates import slabs
from inference.resample import AIR_HU, resample
from inference.volume import Floats, Volume

_DENSE_HU = -500.0
_LEAST_EXTENT_MM = 24.0
_MOST_EXTENT_MM = 2500.0
_MOST_M3 = 1.5  # a tall patient and the widest field of view
_LEAST_SLICES = 3
_MARGIN = 4

Maps = Mapping[str, npt.NDArray[np.float32]]
"""By output tensor: (channels, slices, rows, columns), each on the grid its stride gives."""


def check_extent(volume: Volume, sought: str) -> None:
    """Whether a volume can be searched at all. sought: what for, in words.

    Raises:
        UnreadableSeriesError: too few slices, or an extent no body has.
    """
    extent = np.abs(volume.affine[:3, :3]) @ np.array(volume.shape)
    if min(volume.shape) < _LEAST_SLICES or extent.min() < _LEAST_EXTENT_MM:
        raise UnreadableSeriesError(
            f"The series holds {volume.shape[0]} images over {extent.min():.0f} mm; the search for "
            f"{sought} needs {_LEAST_SLICES} images and {_LEAST_EXTENT_MM:.0f} mm in every direction."
        )
    if extent.max() > _MOST_EXTENT_MM or math.prod(extent / 1000) > _MOST_M3:
        reach = " × ".join(f"{mm / 1000:.1f}" for mm in extent)
        raise UnreadableSeriesError(
            f"The series reaches over {reach} m: its spacing cannot be right. "
            "Send it again with the pixel spacing and positions the scanner gave."
        )


def body_on_grid(volume: Volume, card: ModelCard) -> Volume:
    """The patient and the table, without the air around them, on the grid of the network's first input."""
    spacing = card.inputs[0].spacing_mm
    if spacing is None or len(spacing) != 3:
        raise ValueError(f"{card.name}: model.yaml gives its input no spacing_mm of three numbers")
    whole = resample(volume, (spacing[0], spacing[1], spacing[2]))
    dense = whole.voxels > _DENSE_HU
    box = []
    for axis in range(3):
        at = np.flatnonzero(dense.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(at):
            return whole
        box.append(slice(max(int(at[0]) - _MARGIN, 0), int(at[-1]) + _MARGIN + 1))
    affine = whole.affine.copy()
    affine[:3, 3] = whole.to_patient([s.start for s in box])
    voxels = whole.voxels[tuple(box)]
    return replace(whole, voxels=voxels, affine=affine, images=(None,) * len(voxels))


def over_volumes(volumes: Sequence[Volume], engine: Engine, card: ModelCard) -> list[Maps]:
    """Every output of the network over each volume on its grid: in one call, or for the largest volumes in
    slabs whose answers are joined."""
    tensor = card.inputs[0]
    multiple = max(tensor.multiple_of)
    cuts = [(k, *cut) for k, volume in enumerate(volumes) for cut in slabs(volume.shape, multiple)]

    def fed(k: int, taken: slice) -> Tensors:
        piece = volumes[k].voxels[taken]
        room = [(0, -n % multiple) for n in piece.shape]
        padded = np.pad(piece, room, constant_values=np.asarray(AIR_HU, piece.dtype))
        return {tensor.tensor: tensor.intensity.applied_to(padded)[None, None]}

    answers = infer_each(engine, card.name, (fed(k, taken) for k, taken, _ in cuts))
    parts: list[dict[str, list[npt.NDArray[np.float32]]]] = [
        {output.tensor: [] for output in card.outputs} for _ in volumes
    ]
    for (k, taken, kept), outputs in zip(cuts, answers, strict=True):
        _, *plane = volumes[k].voxels[taken].shape
        for output in card.outputs:
            step = output.stride
            slices = slice(kept.start // step, -(-kept.stop // step))
            rows, columns = (slice(0, -(-n // step)) for n in plane)
            parts[k][output.tensor].append(outputs[output.tensor][0][:, slices, rows, columns])
    return [
        {name: p[0] if len(p) == 1 else np.concatenate(p, axis=1) for name, p in joined.items()}
        for joined in parts
    ]


def coarse_affine(affine: Floats, stride: int) -> Floats:
    """Of the grid that has one voxel for ``stride`` of another along each axis, amid them."""
    coarse = affine.copy()
    coarse[:3, :3] *= stride
    coarse[:3, 3] += affine[:3, :3] @ np.full(3, (stride - 1) / 2)
    return coarse
