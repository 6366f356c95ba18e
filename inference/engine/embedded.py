"""Runs models inside this process with ONNX Runtime: the default, needing no server and no GPU."""

from __future__ import annotations

import os
import threading
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime

from inference.catalogue import Catalogue, CataloguedModel, CatalogueError
from inference.engine import EngineError, Tensors
from inference.engine.tensors import checked_inputs

PROVIDERS = ("CPUExecutionProvider",)


class EmbeddedEngine:
    """One ONNX Runtime session for each model, made when first needed and shared by all threads.

    The same inputs give the same bits on the same machine, whatever ``threads`` is and whatever else runs.
    """

    def __init__(self, catalogue: Catalogue, threads: int = 0) -> None:
        """``threads`` for each call; 0 for as many as this process may use."""
        self._catalogue = catalogue
        self._threads = threads or usable_cores()
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._making = threading.Lock()

    def infer(self, model: str, inputs: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        """Run ``model`` once over whole tensors; see `inference.engine.Engine.infer`."""
        found = self._find(model)
        feed = checked_inputs(found.card, inputs)
        session = self._session(found)
        names = [t.tensor for t in found.card.outputs]
        try:
            outputs = session.run(names, feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            raise EngineError(f"{model}: ONNX Runtime failed: {error}") from error
        return dict(zip(names, cast("list[npt.NDArray[np.generic]]", outputs), strict=True))

    def health(self) -> str | None:
        problems = self._catalogue.problems()
        return problems[0] if problems else None

    def close(self) -> None:
        """Free the networks; a later call makes them anew."""
        with self._making:
            self._sessions.clear()

    def _find(self, model: str) -> CataloguedModel:
        try:
            return self._catalogue.find(model)
        except CatalogueError as error:
            raise EngineError(str(error)) from error

    def _session(self, model: CataloguedModel) -> onnxruntime.InferenceSession:
        name = model.card.name
        with self._making:
            if name not in self._sessions:
                self._sessions[name] = self._made(model)
            return self._sessions[name]

    def _made(self, model: CataloguedModel) -> onnxruntime.InferenceSession:
        try:
            weights = model.weights_bytes()
        except CatalogueError as error:
            raise EngineError(str(error)) from error
        try:
            session = onnxruntime.InferenceSession(
                weights, session_options(self._threads), providers=list(PROVIDERS)
            )
        except Exception as error:  # as above
            raise EngineError(f"{model.weights}: ONNX Runtime cannot load this network: {error}") from error
        declared = {t.tensor for t in (*model.card.inputs, *model.card.outputs)}
        actual = {t.name for t in (*session.get_inputs(), *session.get_outputs())}
        if strangers := sorted(declared ^ actual):
            raise EngineError(
                f"{model.folder / 'model.yaml'}: other tensors than the network has: {', '.join(strangers)}"
            )
        return session


def usable_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def session_options(threads: int) -> Any:
    """Deterministic kernels on ``threads`` threads that sleep, not spin, while there is nothing to do."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
