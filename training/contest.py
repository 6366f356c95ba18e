"""What networks are compared by: a short training of each, and its score."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Variant:
    """One network in one training."""

    architecture: str
    activation: str
    steps: int
    seed: int

    @property
    def folder(self) -> str:
        """The name of the folder that its training writes into."""
        return f"{self.architecture}-{self.activation}-{self.steps}-{self.seed}"


@dataclass(frozen=True)
class Trial:
    """One training: its score, higher is better; the network's size and its time, of all processor cores."""

    score: float
    parameters: int
    seconds_per_step: float


@dataclass(frozen=True)
class Contest:
    """What is compared of a task: ``trial`` trains and scores a variant, with all it keeps in the folder
    given; ``metric`` says what its score is."""

    trial: Callable[[Path, Variant], Trial]
    metric: str
    architectures: tuple[str, ...]
    activations: tuple[str, ...]

    def networks(self) -> Iterator[tuple[str, str]]:
        """Architecture and activation: every activation in the usual architecture, then the usual activation
        in the others."""
        yield from ((self.architectures[0], activation) for activation in self.activations)
        yield from ((other, self.activations[0]) for other in self.architectures[1:])


def tried(
    out: Path, variant: Variant, train: Callable[[Path], nn.Module], score: Callable[[nn.Module], float]
) -> Trial:
    """The trial of a variant, or of an earlier run in ``out``. ``train`` takes the variant's own folder and
    leaves the checkpoint of ``training.loop`` there, which tells what a step took."""
    from training.loop import CHECKPOINT, loaded

    folder = out / variant.folder
    file = folder / "trial.json"
    if file.is_file():
        return Trial(**json.loads(file.read_text()))
    network = train(folder)
    history = loaded(folder / CHECKPOINT)["history"]
    parameters = sum(p.numel() for p in network.parameters())
    trial = Trial(score(network), parameters, history["seconds"] / history["step"])
    file.write_text(json.dumps(asdict(trial)) + "\n")
    return trial
