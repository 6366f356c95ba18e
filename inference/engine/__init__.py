"""Runs a named model: the one seam between a reader and wherever its network lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

Tensors = Mapping[str, npt.NDArray[np.generic]]


class EngineError(RuntimeError):
    """The engine could not run a model: the message names the model, the cause and what to do."""


class Engine(Protocol):
    """Where models run. Tensor names and dtypes are those of the model's ``config.pbtxt``."""

    def infer(self, model: str, inputs: Tensors) -> Tensors:
        """Run ``model`` once over whole tensors.

        Raises:
            EngineError: unknown model, wrong inputs, or the runtime failed.
        """
        ...

    def health(self) -> str | None:
        """None when every model can be served, else one sentence that says what is wrong."""
        ...

    def close(self) -> None: ...
