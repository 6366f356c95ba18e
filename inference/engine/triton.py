"""Runs models on one or several Triton servers, through their failures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event, Lock

from inference.card import ModelCard
from inference.catalogue import Catalogue, CatalogueError
from inference.engine import EngineError, Tensors
from inference.engine.options import TritonOptions
from inference.engine.tensors import checked_inputs
from inference.engine.triton_server import (
    Arrays,
    ModelStoppedError,
    ServerSlowError,
    ServerUnavailableError,
    ServerUnfitError,
    TritonServer,
)

SLOW_ANSWERS = 2
"""How often an answer may be late before the call is given up: it costs the server as much as a good one."""

REVIVALS = 3
CALLS_OF_A_SERVER = 2


class TritonEngine:
    """Sends each call to the least busy server that works.

    A network's answer depends on its inputs alone, so a call that failed on the way is sent again: to
    another server, or to the same one when it is back, for at most ``wait_seconds``.
    """

    def __init__(
        self, urls: Sequence[str], catalogue: Catalogue, options: TritonOptions | None = None
    ) -> None:
        if not urls:
            raise EngineError("engine.url names no Triton server, such as 127.0.0.1:8001")
        self._catalogue = catalogue
        self._options = options or TritonOptions()
        self._servers = [TritonServer(url, self._options) for url in urls]
        self._counting = Lock()
        self._closed = Event()

    @property
    def at_once(self) -> int:
        """Enough that each server computes one call while the next is on its way to it."""
        return CALLS_OF_A_SERVER * len(self._servers)

    def infer(self, model: str, inputs: Tensors) -> Arrays:
        """Run ``model`` once over whole tensors; see `inference.engine.Engine.infer`."""
        card = self._card(model)
        feed = checked_inputs(card, inputs)
        late = stopped = 0
        give_up = time.monotonic() + self._options.wait_seconds
        candidates = list(self._servers)
        cause: EngineError | None = None
        while True:
            server = self._free(candidates, give_up, cause)
            try:
                return self._run(server, card, feed)
            except ServerUnavailableError as error:
                cause = error
            except ServerSlowError as error:
                cause, late = error, late + 1
                if late == SLOW_ANSWERS:
                    limit = f"{self._options.timeout_seconds:g} s"
                    raise EngineError(
                        f"{error}, twice within {limit}; see engine.triton.timeout_seconds"
                    ) from error
            except ServerUnfitError as error:
                cause = error
                candidates.remove(server)
                if not candidates:
                    raise
            except ModelStoppedError as error:
                cause, stopped = error, stopped + 1
                if stopped > REVIVALS:
                    raise

    def health(self) -> str | None:
        """Asks every server for every model; one server that runs a model is enough for it."""
        if problems := self._catalogue.problems():
            return problems[0]
        for model in self._catalogue:
            problems = [p for s in self._servers if (p := s.problem(model.card)) is not None]
            if len(problems) == len(self._servers):
                return problems[0]
        return None

    def close(self) -> None:
        """Calls that wait for a server are given up."""
        self._closed.set()
        for server in self._servers:
            server.close()

    def _card(self, model: str) -> ModelCard:
        try:
            return self._catalogue.find(model).card
        except CatalogueError as error:
            raise EngineError(str(error)) from error

    def _free(
        self, candidates: Sequence[TritonServer], give_up: float, cause: EngineError | None
    ) -> TritonServer:
        """The least busy of them whose circuit lets a call through; waits for one."""
        while True:
            for server in sorted(candidates, key=lambda s: s.calls):
                if server.circuit.admit():
                    return server
            pause = min(s.circuit.seconds_open for s in candidates)
            if time.monotonic() + pause > give_up:
                waited = f"{self._options.wait_seconds:g} s"
                raise EngineError(
                    f"no Triton server took the call within {waited}; the last: {cause}"
                ) from cause
            if self._closed.wait(max(pause, 0.01)):
                raise EngineError("the engine was closed while a call waited for Triton") from cause

    def _run(self, server: TritonServer, card: ModelCard, feed: Arrays) -> Arrays:
        """Only what says something of the server moves its circuit. A model that has stopped is started
        again, for the next try."""
        started = time.monotonic()
        with self._counting:
            server.calls += 1
        try:
            try:
                answer = server.run(card, feed)
            except ModelStoppedError:
                server.revive(card, started)
                raise
        except (ServerUnavailableError, ServerSlowError):
            server.lost()
            raise
        finally:
            with self._counting:
                server.calls -= 1
        server.circuit.succeeded()
        return answer
