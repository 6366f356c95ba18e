"""Does a model still answer as it did when it was made? Each carries a sample of inputs and outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.card import ModelCard, Tolerance
from inference.catalogue import Catalogue, CataloguedModel, CatalogueError
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
        try:
            model = catalogue.find(name)
        except CatalogueError as error:
            yield ParityRow(name, "", 0.0, 0.0, 0.0, str(error))
            continue
        yield from check(model, engine)


def check(model: CataloguedModel, engine: Engine, allowed: Tolerance | None = None) -> list[ParityRow]:
    """One model on its parity sample; ``allowed`` is the card's own where none is given."""
    started = time.perf_counter()
    try:
        inputs, expected = model.parity_sample()
        started = time.perf_counter()
        found = engine.infer(model.card.name, inputs)
    except (CatalogueError, EngineError) as error:
        return [ParityRow(model.card.name, "", 0.0, 0.0, time.perf_counter() - started, str(error))]
    seconds = time.perf_counter() - started
    return [
        _compared(model.card.name, tensor, found[tensor], reference, seconds, allowed or model.card.parity)
        for tensor, reference in expected.items()
    ]


def _compared(
    model: str,
    tensor: str,
    found: npt.NDArray[np.generic],
    expected: npt.NDArray[np.generic],
    seconds: float,
    tolerance: Tolerance,
) -> ParityRow:
    if found.shape != expected.shape:
        problem = f"shape is {found.shape} where {expected.shape} was recorded"
        return ParityRow(model, tensor, 0.0, 0.0, seconds, problem)
    reference = expected.astype(np.float64)
    difference = np.abs(found.astype(np.float64) - reference)
    allowed = tolerance.absolute + tolerance.relative * np.abs(reference)
    excess = np.divide(difference, allowed, out=np.where(difference > 0, np.inf, 0.0), where=allowed > 0)
    if np.isnan(difference).any():
        return ParityRow(model, tensor, 0.0, 0.0, seconds, "the output holds values that are not numbers")
    return ParityRow(model, tensor, float(difference.max(initial=0)), float(excess.max(initial=0)), seconds)
