"""ONNX to a TensorRT engine, by TensorRT itself or, to see whether it can be done, by TensorRT-RTX.

TensorRT builds for the GPU it runs on, inside Triton's own container. TensorRT-RTX (``tensorrt-rtx`` on PyPI)
parses and builds without any GPU; what it builds is not what Triton loads.
"""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

from inference.card import InputTensor, ModelCard
from inference.plans.errors import PlanError

WORKSPACE_BYTES = 4 * 2**30
RTX_CAPABILITIES = ("SM80", "SM86", "SM89")


def tensorrt(name: str = "tensorrt") -> ModuleType:
    """TensorRT's Python module; ``name`` may be ``tensorrt_rtx``."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PlanError(
            f"{name} is not installed; build inside Triton's container on the target GPU"
        ) from error


def build_plan(trt: ModuleType, card: ModelCard, weights: bytes, timing_cache: Path | None = None) -> bytes:
    """The serialised engine of ``weights``, with one optimisation profile from the card's ``shapes``.

    ``timing_cache`` is read where it exists and written after: a second build on the same GPU is quick.

    Raises:
        PlanError: TensorRT cannot parse or build the network; the message holds its reasons.
    """
    log = _Log(trt)
    builder = trt.Builder(log.logger)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(weights):
        reasons = "; ".join(str(parser.get_error(n)) for n in range(parser.num_errors))
        raise PlanError(f"{card.name}: TensorRT {trt.__version__} cannot parse the network: {reasons}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.add_optimization_profile(_profile(builder, card))
    if hasattr(trt, "ComputeCapability"):  # TensorRT-RTX: no GPU to ask
        config.num_compute_capabilities = len(RTX_CAPABILITIES)
        for n, name in enumerate(RTX_CAPABILITIES):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), n)
    cache = None
    if timing_cache is not None:
        known = timing_cache.read_bytes() if timing_cache.exists() else b""
        cache = config.create_timing_cache(known)
        config.set_timing_cache(cache, ignore_mismatch=True)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise PlanError(f"{card.name}: TensorRT {trt.__version__} cannot build the network: {log.errors()}")
    if cache is not None and timing_cache is not None:
        timing_cache.write_bytes(bytes(cache.serialize()))
    return bytes(plan)


def _strongly_typed(trt: ModuleType) -> int:
    """The flag that older versions want; from TensorRT 11 on every network is."""
    flag = getattr(getattr(trt, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _profile(builder: Any, card: ModelCard) -> Any:
    profile = builder.create_optimization_profile()
    for tensor in card.inputs:
        profile.set_shape(tensor.tensor, *_shapes(card, tensor))
    return profile


def _shapes(card: ModelCard, tensor: InputTensor) -> tuple[tuple[int, ...], ...]:
    """Smallest, usual and largest."""
    if tensor.shapes is not None:
        return tensor.shapes.min, tensor.shapes.opt, tensor.shapes.max
    if -1 in tensor.dims[1:]:
        raise PlanError(f"{card.name}: model.yaml: input {tensor.tensor} has lengths of -1 and no shapes")
    most = card.batching.max if tensor.dims[0] == -1 else tensor.dims[0]
    least = 1 if tensor.dims[0] == -1 else tensor.dims[0]
    return tuple((batch, *tensor.dims[1:]) for batch in (least, max(least, most // 2), most))


class _Log:
    """Keeps what TensorRT says of errors, which its functions do not return."""

    def __init__(self, trt: ModuleType) -> None:
        said: list[str] = []
        severe = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in severe:
                    said.append(message)

        self.logger = Logger()
        self._said = said

    def errors(self) -> str:
        return "; ".join(self._said) or "it gave no reason"


def compute_capability() -> str:
    """Of the first GPU of this machine, such as "9.0".

    Raises:
        PlanError: there is none.
    """
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise PlanError(f"no NVIDIA GPU here ({error}); a plan is built on the GPU it will run on") from error
    return said.splitlines()[0].strip()
