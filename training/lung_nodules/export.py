"""Writes the trained networks into the model repository: ONNX, card, parity sample."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from inference.card import ModelCard
from inference.catalogue import read_model
from inference.engine import Tensors
from inference.model_repository import sync
from training.lung_nodules.networks import Characteriser, Detector

OPSET = 20


class DetectorForService(nn.Module):
    """Probabilities and millimetres instead of logits."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        out = self.network(volume)
        diameter = torch.exp(torch.clamp(out[:, 1:2], math.log(2.0), math.log(120.0)))
        return torch.sigmoid(out[:, 0:1]), diameter


class CharacteriserForService(nn.Module):
    """Probabilities, their logits divided by temperatures fitted on held-out candidates."""

    def __init__(self, network: Characteriser, temperatures: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.network = network
        self.nodule_temperature, self.malignancy_temperature = temperatures

    def forward(self, crop: Tensor, spacing_mm: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mask, judged = self.network(crop, spacing_mm)
        return (
            torch.sigmoid(mask),
            torch.sigmoid(judged[:, 0:1] / self.nodule_temperature),
            torch.sigmoid(judged[:, 1:2] / self.malignancy_temperature),
            torch.softmax(judged[:, 2:], 1),
        )


def write_onnx(
    network: nn.Module,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    dynamic: dict[str, dict[int, str]],
    path: Path,
) -> Tensors:
    """Export ``network`` for service, weights inside the one file; returns its answers to ``inputs``."""
    network.eval().to("cpu", memory_format=torch.contiguous_format)
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = {name: dict.fromkeys(dynamic.get(name, {}), torch.export.Dim.DYNAMIC) for name in inputs}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (),
            kwargs=dict(inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            verbose=False,
        )
        answers = network(**inputs)
    assert program is not None
    program.save(str(path), external_data=False)
    return {name: a.numpy() for name, a in zip(outputs, answers, strict=True)}


def write_model(repository: Path, card: dict[str, object], text: str) -> ModelCard:
    """Write ``model.yaml`` for the weights that lie in the folder already, and ``README.md`` with ``text``
    before its tables; returns the checked card."""
    folder = repository / str(card["name"])
    weights = folder / str(card["version"]) / "model.onnx"
    card = {**card, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    checked = ModelCard.model_validate(card)
    (folder / "model.yaml").write_text(
        yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8"
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    read_model(folder)
    return checked


def random_input(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-1, 1, shape).astype(np.float32))


__all__ = [
    "CharacteriserForService",
    "DetectorForService",
    "random_input",
    "sync",
    "write_model",
    "write_onnx",
]
