"""A model repository apart from the one in service, where a precision is tried before it is promoted."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import yaml

from inference.card import Tolerance
from inference.catalogue import Catalogue, CataloguedModel
from inference.engine.embedded import EmbeddedEngine
from inference.model_repository import sync
from inference.parity import ParityRow, check
from inference.plans.errors import PlanError

Precision = Literal["fp32", "fp16"]


def stage(model: CataloguedModel, precision: Precision, root: Path) -> Catalogue:
    """``root`` as a repository of this one model in ``precision``, its configurations included.

    Raises:
        PlanError: fp16 is not allowed by the card, or the package onnx is not installed.
        CatalogueError: the weights are not those of the card.
    """
    weights = model.weights_bytes()
    if precision == "fp16":
        if model.card.parity.half is None:
            raise PlanError(f"{model.card.name}: its model.yaml has no parity.half, so it runs in fp32 only")
        weights = half_precision(weights)
    folder = root / model.card.name
    path = folder / model.weights.relative_to(model.folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(weights)
    shutil.copy(model.folder / model.card.parity.sample, folder)
    card = yaml.safe_load((model.folder / "model.yaml").read_text(encoding="utf-8"))
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    staged = Catalogue(root)
    sync(staged)
    return staged


def half_precision(weights: bytes) -> bytes:
    """ONNX with fp16 weights and arithmetic; its tensors keep their names and types. TensorRT 11 takes its
    precision from the graph alone."""
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise PlanError("half precision needs the package onnx: pip install onnx") from error
    network = convert_float_to_float16(onnx.load_from_string(weights), keep_io_types=True)
    converted: bytes = network.SerializeToString()
    return converted


def prove_on_cpu(staged: Catalogue, precision: Precision) -> list[ParityRow]:
    """The staged models against the answers recorded in fp32; what fails here need not be built."""
    engine = EmbeddedEngine(staged)
    return [row for model in staged for row in check(model, engine, allowed(model, precision))]


def allowed(model: CataloguedModel, precision: Precision) -> Tolerance | None:
    """How far an answer in ``precision`` may be from the recorded one."""
    return model.card.parity.half if precision == "fp16" else model.card.parity
