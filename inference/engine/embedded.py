"""Runs models inside this process: the default, needing no server and no GPU."""

from __future__ import annotations

import os
import threading

from inference.catalogue import Catalogue, CataloguedModel, CatalogueError
from inference.engine import EngineError, Tensors
from inference.engine.networks import Arrays, Network, Provider, load_network
from inference.engine.tensors import checked_inputs


class EmbeddedEngine:
    """One network for each model, loaded when first needed and shared by all threads.

    The same inputs give the same bits on the same machine, with ONNX Runtime whatever ``threads`` is.
    """

    def __init__(self, catalogue: Catalogue, threads: int = 0, provider: Provider = "onnxruntime") -> None:
        """``threads`` for each call; 0 for as many as this process may use."""
        self._catalogue = catalogue
        self._threads = threads or usable_cores()
        self._provider = provider
        self._networks: dict[str, Network] = {}
        self._loading = threading.Lock()

    @property
    def at_once(self) -> int:
        """One: a call has all threads."""
        return 1

    def infer(self, model: str, inputs: Tensors) -> Arrays:
        """Run ``model`` once over whole tensors; see `inference.engine.Engine.infer`."""
        found = self._find(model)
        feed = checked_inputs(found.card, inputs)
        network = self._network(found)
        try:
            return network.run([t.tensor for t in found.card.outputs], feed)
        except Exception as error:  # the providers' exceptions share no base but this one
            raise EngineError(f"{model}: {self._provider} failed: {error}") from error

    def health(self) -> str | None:
        problems = self._catalogue.problems()
        return problems[0] if problems else None

    def close(self) -> None:
        """Free the networks; a later call loads them anew."""
        with self._loading:
            self._networks.clear()

    def _find(self, model: str) -> CataloguedModel:
        try:
            return self._catalogue.find(model)
        except CatalogueError as error:
            raise EngineError(str(error)) from error

    def _network(self, model: CataloguedModel) -> Network:
        name = model.card.name
        with self._loading:
            if name not in self._networks:
                self._networks[name] = self._loaded(model)
            return self._networks[name]

    def _loaded(self, model: CataloguedModel) -> Network:
        try:
            network = load_network(model.weights_bytes(), self._threads, self._provider)
        except CatalogueError as error:
            raise EngineError(str(error)) from error
        except EngineError:
            raise
        except Exception as error:  # as above
            raise EngineError(
                f"{model.weights}: {self._provider} cannot load this network: {error}"
            ) from error
        declared = {t.tensor for t in (*model.card.inputs, *model.card.outputs)}
        if strangers := sorted(declared ^ network.tensors):
            raise EngineError(
                f"{model.folder / 'model.yaml'}: other tensors than the network has: {', '.join(strangers)}"
            )
        return network


def usable_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
