"""A Triton backend for machines without a GPU: ONNX Runtime on the CPU, under Triton's python backend.

Gives the same bits as Overread's embedded engine on the same machine with the same ONNX Runtime.
Needs only NumPy 1 and onnxruntime in the environment of the python backend's stub.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

if int(np.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"NumPy {np.__version__} in the stub's environment corrupts outputs without a word; install 'numpy<2'"
    )


class TritonPythonModel:
    """One instance of one model: ``MODEL/VERSION/model.onnx``."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        self._batched = config["max_batch_size"] > 0
        weights = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OVERREAD_THREADS", len(os.sched_getaffinity(0))))
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            weights.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list) -> list:
        """A failure is raised: Triton tells it to every client of this call."""
        feeds = [self._fed(request) for request in requests]
        if len(feeds) == 1 or not self._batched:
            return [self._response(self._session.run(self._outputs, feed)) for feed in feeds]
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs}
        ends = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])[:-1]
        outputs = (np.split(output, ends) for output in self._session.run(self._outputs, joined))
        return [self._response(parts) for parts in zip(*outputs, strict=True)]

    def _fed(self, request) -> dict[str, np.ndarray]:
        return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}

    def _response(self, outputs):
        named = zip(self._outputs, outputs, strict=True)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, np.ascontiguousarray(o)) for name, o in named]
        )
