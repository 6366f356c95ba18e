"""What Triton is told of a model: ``config.pbtxt``, generated from its card for three deployments.

============  ======================================  ==========================================
deployment    file in the model's folder              runs on
============  ======================================  ==========================================
onnxruntime   ``config.pbtxt``                        Triton's ONNX Runtime: TensorRT on a GPU
                                                      where there is one, else the CPU
tensorrt      ``configs/tensorrt.pbtxt``              TensorRT plans (``overread models build``)
cpu           ``configs/cpu.pbtxt``                   ONNX Runtime under Triton's python backend
============  ======================================  ==========================================

Triton takes another than the first with ``--model-config-name=tensorrt`` or ``=cpu``.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal, get_args

from inference.card import DType, InputTensor, ModelCard, Tensor

Deployment = Literal["onnxruntime", "tensorrt", "cpu"]
DEPLOYMENTS: tuple[Deployment, ...] = get_args(Deployment)

CPU_BACKEND = "overread_cpu"
"""The python-based backend in ``deploy/triton/backends``."""

GPUS = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
"""Compute capabilities a plan may be built for."""

TRITON_TYPES: dict[DType, str] = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "int8": "INT8",
    "uint8": "UINT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
}

QUEUE_SECONDS = 300
"""A request that has waited this long is refused: its study is retried by then."""


def config_path(deployment: Deployment) -> PurePosixPath:
    """Where Triton looks for the configuration, from the model's folder."""
    return PurePosixPath("config.pbtxt" if deployment == "onnxruntime" else f"configs/{deployment}.pbtxt")


def plan_file(compute_capability: str) -> str:
    """The name of a plan beside ``model.onnx``: "9.0" is ``sm90.plan``."""
    return f"sm{compute_capability.replace('.', '')}.plan"


def config(card: ModelCard, deployment: Deployment) -> str:
    """The text of ``config.pbtxt`` (protobuf text format of ``inference.ModelConfig``)."""
    parts = [
        "# Generated from model.yaml by python -m inference.model_repository; change that file instead.",
        f'name: "{card.name}"',
        _backend(deployment),
        f"max_batch_size: {_batch_size(card)}",
        f"version_policy {{ specific {{ versions: [{card.version}] }} }}",
        *(_tensor(card, "input", t) for t in card.inputs),
        *(_tensor(card, "output", t) for t in card.outputs),
        _instances(deployment),
        *([_batching(card)] if card.batching.max > 1 else []),
        *([_optimization(card)] if deployment == "onnxruntime" else []),
        *([_plans()] if deployment == "tensorrt" else []),
        *([_warm_up(card)] if all(usual_dims(t) for t in card.inputs) else []),
        f'parameters {{ key: "sha256" value {{ string_value: "{card.sha256}" }} }}',
    ]
    return "\n".join(parts) + "\n"


def _backend(deployment: Deployment) -> str:
    return {
        "onnxruntime": 'backend: "onnxruntime"',
        "tensorrt": 'platform: "tensorrt_plan"',
        "cpu": f'backend: "{CPU_BACKEND}"',
    }[deployment]


def _batch_size(card: ModelCard) -> int:
    """Triton's 0 is: the first axis is the model's own."""
    return card.batching.max if card.batching.max > 1 else 0


def _without_batch(card: ModelCard, dims: tuple[int, ...]) -> tuple[int, ...]:
    return dims[1:] if card.batching.max > 1 else dims


def _tensor(card: ModelCard, direction: str, tensor: Tensor) -> str:
    dims = ", ".join(map(str, _without_batch(card, tensor.dims)))
    kind = TRITON_TYPES[tensor.dtype]
    return f'{direction} {{ name: "{tensor.tensor}" data_type: TYPE_{kind} dims: [{dims}] }}'


def _instances(deployment: Deployment) -> str:
    kind = {"onnxruntime": "KIND_AUTO", "tensorrt": "KIND_GPU", "cpu": "KIND_CPU"}[deployment]
    profile = ' profile: ["0"]' if deployment == "tensorrt" else ""
    return f"instance_group {{ count: 1 kind: {kind}{profile} }}"


def _batching(card: ModelCard) -> str:
    preferred = "".join(f" preferred_batch_size: {n}" for n in card.batching.preferred)
    return (
        f"dynamic_batching {{{preferred} max_queue_delay_microseconds: {card.batching.delay_microseconds}\n"
        "  default_queue_policy {"
        f" timeout_action: REJECT default_timeout_microseconds: {QUEUE_SECONDS * 1_000_000}"
        " max_queue_size: 256 } }"
    )


def _optimization(card: ModelCard) -> str:
    """TensorRT inside ONNX Runtime, used only where the instance is on a GPU; fp32, as the parity gate."""
    options = {
        "precision_mode": "FP32",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/tmp/overread-tensorrt",
    }
    if all(t.shapes for t in card.inputs):
        for which in ("min", "opt", "max"):
            shapes = ((t.tensor, getattr(t.shapes, which)) for t in card.inputs)
            options[f"trt_profile_{which}_shapes"] = ",".join(
                f"{n}:{'x'.join(map(str, s))}" for n, s in shapes
            )
    lines = "\n".join(f'  parameters {{ key: "{key}" value: "{value}" }}' for key, value in options.items())
    accelerator = f'gpu_execution_accelerator {{ name: "tensorrt"\n{lines} }}'
    return f"optimization {{ execution_accelerators {{ {accelerator} }} }}"


def _plans() -> str:
    return "\n".join(f'cc_model_filenames {{ key: "{gpu}" value: "{plan_file(gpu)}" }}' for gpu in GPUS)


def usual_dims(tensor: InputTensor) -> tuple[int, ...] | None:
    """The shape of a usual input, None where the card does not tell."""
    if tensor.shapes is not None:
        return tensor.shapes.opt
    dims = (1, *tensor.dims[1:]) if tensor.dims[0] == -1 else tensor.dims
    return None if -1 in dims else dims


def _warm_up(card: ModelCard) -> str:
    inputs = []
    for tensor in card.inputs:
        dims = ", ".join(map(str, _without_batch(card, usual_dims(tensor) or ())))
        value = f"data_type: TYPE_{TRITON_TYPES[tensor.dtype]} dims: [{dims}] zero_data: true"
        inputs.append(f'  inputs {{ key: "{tensor.tensor}" value {{ {value} }} }}')
    return 'model_warmup { name: "usual" batch_size: 1\n' + "\n".join(inputs) + " }"
