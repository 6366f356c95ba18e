"""Writes trained networks into the model repository: ONNX, card, parity sample."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from onnx import numpy_helper
from onnxruntime import InferenceSession
from torch import Tensor, nn

from inference.card import ModelCard
from inference.catalogue import read_model
from inference.engine import Tensors
from inference.parity import write_parity_sample

OPSET = 20
_ALIKE = 1e-3
_MULTIPLY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_DROPPED = 13  # of the 23 bits of a float32's fraction


def write_onnx(
    network: nn.Module,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    dynamic: dict[str, dict[int, str]],
    path: Path,
) -> Tensors:
    """Export ``network`` for service, weights inside the one file and as fine as TensorFloat-32; returns the
    file's answers to ``inputs``.

    Raises:
        RuntimeError: the file, before its weights are rounded, does not answer as the network does.
    """
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
    filed = _answers(path, inputs)
    for name, answer in zip(outputs, answers, strict=True):
        if not np.allclose(filed[name], answer.numpy(), _ALIKE, _ALIKE):
            raise RuntimeError(f"{path} does not say of {name} what the network says that was exported")
    _coarsen(path)
    return _answers(path, inputs)


def _answers(path: Path, inputs: Mapping[str, Tensor]) -> Tensors:
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    told = session.run(names, {name: values.numpy() for name, values in inputs.items()})
    return dict(zip(names, told, strict=True))


def _coarsen(path: Path) -> None:
    """Round what is multiplied with by convolutions and linear layers to the 10 bits of fraction that
    TensorRT takes of it by default: packed, the file is half as large, in an image as in a repository."""
    model = onnx.load(path)
    weights = {node.input[1] for node in model.graph.node if node.op_type in _MULTIPLY}
    for values in model.graph.initializer:
        if values.name in weights and values.data_type == onnx.TensorProto.FLOAT:
            bits = numpy_helper.to_array(values).view(np.uint32)
            even = (bits >> _DROPPED) & 1
            rounded = (bits + (2 ** (_DROPPED - 1) - 1) + even) >> _DROPPED << _DROPPED
            values.CopyFrom(numpy_helper.from_array(rounded.view(np.float32), values.name))
    onnx.save(model, path)


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
    """Even noise between -1 and 1."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-1, 1, shape).astype(np.float32))


def smooth_input(shape: tuple[int, ...], size: tuple[int, int, int], seed: int = 0) -> Tensor:
    """A random input as smooth as an image: (batch, channels, *size) from ``shape``, which is coarser."""
    return nn.functional.interpolate(random_input(shape, seed), size=size, mode="trilinear")


def export_one(
    network: nn.Module,
    inputs: dict[str, Tensor],
    dynamic: dict[str, dict[int, str]],
    card: Mapping[str, Any],
    repository: Path,
    text: str = "",
) -> None:
    """One network as ONNX with card, README and parity sample; ``sync`` the repository afterwards. ``text``:
    the README before its tables, the task alone where empty."""
    folder = repository / str(card["name"])
    names = [output["tensor"] for output in card["outputs"]]
    path = folder / str(card["version"]) / "model.onnx"
    answers = write_onnx(network, inputs, names, dynamic, path)
    text = text or f"# {card['name']}\n\n{card['task']}.\n"
    checked = write_model(repository, dict(card), text)
    write_parity_sample(folder, checked, {name: t.numpy() for name, t in inputs.items()}, answers)
