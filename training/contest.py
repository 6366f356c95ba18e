"""What networks are compared by: a short training of each, and its score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """One training: its score, higher is better, of what; the network's size and its time."""

    score: float
    parameters: int
    seconds_per_step: float


@dataclass(frozen=True)
class Contest:
    """What is compared of a task: ``trial`` takes the scratch folder, architecture, activation, steps and
    seed; ``metric`` says what its score is."""

    trial: Callable[[Path, str, str, int, int], Trial]
    metric: str
    architectures: tuple[str, ...]
    activations: tuple[str, ...]

    def variants(self) -> Iterator[tuple[str, str]]:
        """Every activation in the usual architecture, then the usual activation in the others."""
        yield from ((self.architectures[0], activation) for activation in self.activations)
        yield from ((other, self.activations[0]) for other in self.architectures[1:])
