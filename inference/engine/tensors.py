"""Checks what is handed to a network before it runs, the same for every engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.card import ModelCard
from inference.engine import EngineError, Tensors


def checked_inputs(card: ModelCard, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
    """``inputs`` in the card's order, each C-contiguous; copied only where it was not.

    Raises:
        EngineError: a tensor is missing, unknown, or of another dtype or shape than the network takes.
    """
    wanted = [t.tensor for t in card.inputs]
    if missing := [name for name in wanted if name not in inputs]:
        raise EngineError(f"{card.name}: input {', '.join(missing)} is missing; it takes {', '.join(wanted)}")
    if unknown := sorted(set(inputs) - set(wanted)):
        raise EngineError(
            f"{card.name}: there is no input {', '.join(unknown)}; it takes {', '.join(wanted)}"
        )
    for declared in card.inputs:
        given = inputs[declared.tensor]
        if given.dtype != np.dtype(declared.dtype):
            raise EngineError(f"{card.name}: input {declared.tensor} is {given.dtype}, not {declared.dtype}")
        if (wrong := declared.misfit(given.shape)) is not None:
            raise EngineError(f"{card.name}: input {declared.tensor}: {wrong}")
    return {name: np.ascontiguousarray(inputs[name]) for name in wanted}
