"""Batches that take alike from several sources, such as phantoms and marked scans."""

from __future__ import annotations

from collections.abc import Callable

import torch

from training.loop import Batch

Batches = Callable[[int], Batch]


def mixed(*sources: Batches) -> Batches:
    """Each batch holds those of the same number of all ``sources``, one after another."""

    def batch(number: int) -> Batch:
        parts = zip(*(source(number) for source in sources), strict=True)
        return tuple(torch.cat(part) for part in parts)

    return batch
