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
        """Each request by itself: joined ones would be summed in another order and differ in the last bits.

        A failure is raised; Triton tells it to the client.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        feed = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        outputs = zip(self._outputs, self._session.run(self._outputs, feed), strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in outputs])
