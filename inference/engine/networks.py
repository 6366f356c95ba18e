"""A loaded network, by the library that runs it in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from inference.engine import EngineError
from inference.extras import install_command

Arrays = dict[str, npt.NDArray[np.generic]]
Provider = Literal["onnxruntime", "openvino"]


class Network(Protocol):
    """May be run from several threads at once; the same inputs give the same bits on the same machine."""

    @property
    def tensors(self) -> frozenset[str]:
        """Names of all inputs and outputs."""
        ...

    def run(self, outputs: Sequence[str], feed: Mapping[str, npt.NDArray[np.generic]]) -> Arrays: ...


def load_network(weights: bytes, threads: int, provider: Provider = "onnxruntime") -> Network:
    """The network of an ONNX file.

    Raises:
        EngineError: the provider is not installed. What else goes wrong is the provider's own exception.
    """
    return (
        OpenVinoNetwork(weights, threads) if provider == "openvino" else OnnxRuntimeNetwork(weights, threads)
    )


class OnnxRuntimeNetwork:
    """The reference: what every other way of running a model is held to."""

    def __init__(self, weights: bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # threads sleep between calls
        _share_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    @property
    def tensors(self) -> frozenset[str]:
        return frozenset(t.name for t in (*self._session.get_inputs(), *self._session.get_outputs()))

    def run(self, outputs: Sequence[str], feed: Mapping[str, npt.NDArray[np.generic]]) -> Arrays:
        found = self._session.run(list(outputs), dict(feed))
        return dict(zip(outputs, cast("list[npt.NDArray[np.generic]]", found), strict=True))


@cache
def _share_memory() -> None:
    """One arena for all networks of this process: each of its own would keep the memory of its largest volume
    for good."""
    import onnxruntime

    kind, use = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, use), None)


class OpenVinoNetwork:
    """Faster than the reference on volumes, and within a model's parity of it: f32 throughout, as OpenVINO
    would otherwise take bf16 where the CPU has it."""

    def __init__(self, weights: bytes, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise EngineError(
                f"engine.provider is openvino, which is missing: {install_command('openvino')} brings it"
            ) from error
        core = openvino.Core()
        self._compiled: Any = core.compile_model(
            core.read_model(weights),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )

    @property
    def tensors(self) -> frozenset[str]:
        return frozenset(t.any_name for t in (*self._compiled.inputs, *self._compiled.outputs))

    def run(self, outputs: Sequence[str], feed: Mapping[str, npt.NDArray[np.generic]]) -> Arrays:
        request = self._compiled.create_infer_request()
        request.infer(dict(feed), share_inputs=True)
        return {name: request.get_tensor(name).data.copy() for name in outputs}
