"""Does a model still answer as it did when it was made? Each carries a sample of inputs and outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.card import ModelCard
from inference.catalogue import Catalogue, CatalogueError
from inference.engine import Engine, EngineError, Tensors


@dataclass(frozen=True)
class ParityRow:
    """One output of one model against what was recorded when the model was made.

    max_error: the largest absolute difference; excess: the largest difference over what is allowed
    (at most 1 passes); problem: why there is nothing to compare.
    """

    model: str
    tensor: str
    max_error: float
    excess: float
    seconds: float
    problem: str = ""

    @property
    def passed(self) -> bool:
        return not self.problem and self.excess <= 1


def write_parity_sample(folder: Path, card: ModelCard, inputs: Tensors, outputs: Tensors) -> Path:
    """Record what a model answered, for ``verify`` to compare with later; returns the file written."""
    path = folder / card.parity.sample
    arrays = {f"inputs/{name}": array for name, array in inputs.items()}
    arrays |= {f"outputs/{name}": array for name, array in outputs.items()}
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return path


def verify(catalogue: Catalogue, engine: Engine) -> Iterator[ParityRow]:
    """Run every model on its parity sample and compare; a row for each output as it is known."""
    for name in catalogue.names:
        started = time.perf_counter()
        try:
            model = catalogue.find(name)
            inputs, expected = model.parity_sample()
            started = time.perf_counter()
            found = engine.infer(name, inputs)
        except (CatalogueError, EngineError) as error:
            yield ParityRow(name, "", 0.0, 0.0, time.perf_counter() - started, str(error))
            continue
        seconds = time.perf_counter() - started
        for tensor, reference in expected.items():
            yield _compared(model.card, tensor, found[tensor], reference, seconds)


def _compared(
    card: ModelCard,
    tensor: str,
    found: npt.NDArray[np.generic],
    expected: npt.NDArray[np.generic],
    seconds: float,
) -> ParityRow:
    if found.shape != expected.shape:
        problem = f"shape is {found.shape} where {expected.shape} was recorded"
        return ParityRow(card.name, tensor, 0.0, 0.0, seconds, problem)
    reference = expected.astype(np.float64)
    difference = np.abs(found.astype(np.float64) - reference)
    allowed = card.parity.absolute + card.parity.relative * np.abs(reference)
    excess = np.divide(difference, allowed, out=np.where(difference > 0, np.inf, 0.0), where=allowed > 0)
    if np.isnan(difference).any():
        return ParityRow(card.name, tensor, 0.0, 0.0, seconds, "the output holds values that are not numbers")
    return ParityRow(
        card.name, tensor, float(difference.max(initial=0)), float(excess.max(initial=0)), seconds
    )
