"""Goes on from the weights of a narrower network, whose answers the wider one gives at first.

What it has more of begins by chance and is not listened to yet (Chen et al., "Net2Net", arXiv:1511.05641).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_TRANSPOSED = re.compile(r"(^|\.)(up|out)\.(\d+\.)?weight$")
_JOINED = re.compile(r"(^|\.)join\.\d+\.0\.weight$")
_TRUNK = "trunk."


def load_grown(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights of a network of the same layers, each as wide as in ``network`` or narrower; or of the
    ``trunk`` alone, as those of networks were that saw a picture without its logarithm.

    Raises:
        ValueError: a layer is missing, unknown, wider or of another kernel.
    """
    given = {name if name.startswith(_TRUNK) else _TRUNK + name: values for name, values in weights.items()}
    own = network.state_dict()
    if given.keys() != own.keys():
        raise ValueError(f"other layers: {sorted(given.keys() ^ own.keys())[0]}")
    network.load_state_dict({name: _grown(name, values, own[name]) for name, values in given.items()})


def _grown(name: str, old: Tensor, drawn: Tensor) -> Tensor:
    """``old`` within ``drawn``: (given, taken, …) of a convolution, (channels,) of all else."""
    if old.shape == drawn.shape:
        return old
    transposed = _TRANSPOSED.search(name) is not None
    old, new = (t.transpose(0, 1) if transposed else t for t in (old, drawn.clone()))
    fits = old.shape[2:] == new.shape[2:] and all(a <= b for a, b in zip(old.shape, new.shape, strict=True))
    if not fits:
        raise ValueError(f"{name} of {tuple(old.shape)}, not of {tuple(new.shape)} or narrower")
    if old.ndim == 1:
        new[: len(old)] = old
        return new
    new[: len(old)] = 0
    parts = 2 if _JOINED.search(name) else 1  # what comes from below, and what was kept on the way down
    for part, values in enumerate(torch.chunk(old, parts, 1)):
        first = part * new.shape[1] // parts
        new[: len(old), first : first + values.shape[1]] = values
    return new.transpose(0, 1) if transposed else new
