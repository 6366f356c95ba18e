"""What a training keeps on disk, so that one that was stopped need not make it again: arrays, in files that
are named by what these were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

Arrays = Mapping[str, npt.NDArray[Any]]


def kept(path: Path, made_from: Iterable[object], make: Callable[[], Arrays]) -> Arrays:
    """The arrays of ``make``, which is called where none of an earlier run are there that were made from the
    same; they then lie beside ``path``, in a file of its name and the ``digest`` of ``made_from``."""
    file = path.with_name(f"{path.name}-{digest(*made_from)}.npz")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npz")
        np.savez(part, allow_pickle=False, **make())
        part.replace(file)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def digest(*made_from: object) -> str:
    """Twelve digits (hexadecimal) that are others where any of ``made_from`` is: a network by its weights,
    tensors and bytes by what they hold, and anything else by its ``repr``, which must say all of it: no
    array's does."""
    whole = hashlib.sha256()
    for one in made_from:
        part = hashlib.sha256()
        if isinstance(one, nn.Module):
            for name, weights in one.state_dict().items():
                part.update(name.encode())
                part.update(weights.cpu().numpy().tobytes())
        elif isinstance(one, Tensor):
            part.update(one.cpu().numpy().tobytes())
        else:
            part.update(one if isinstance(one, bytes) else repr(one).encode())
        whole.update(part.digest())
    return whole.hexdigest()[:12]
