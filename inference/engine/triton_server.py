"""One Triton server as the engine sees it: asks it to run a model, and tells apart what can go wrong."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from inference.card import InputTensor, ModelCard, OutputTensor
from inference.engine import EngineError
from inference.engine.circuit import Circuit
from inference.engine.options import TritonOptions
from inference.engine.regions import Region, Regions
from inference.triton_config import TRITON_TYPES

log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[np.generic]]
WORTH_SHARING = 2**20
"""Tensors smaller than this many bytes travel in the message."""

CONTROL_SECONDS = 5.0
LOAD_SECONDS = 120.0


class ServerUnavailableError(EngineError):
    """The server cannot be reached or cannot take the call now; another or a later call may succeed."""


class ServerSlowError(EngineError):
    """The server did not answer in time."""


class ModelStoppedError(EngineError):
    """The server is up, but its process for this model has died or the model is not loaded."""


class ServerUnfitError(EngineError):
    """The server cannot run this model as it is set up, or on its GPU; another server may."""


class MemoryNotSharedError(ServerUnfitError):
    """The server cannot open shared memory of this host."""


class RegionForgottenError(EngineError):
    """The server does not know a region of shared memory any more."""


class OutputOutgrownError(EngineError):
    """An output is larger than the place kept for it."""


class TritonServer:
    """A server at ``url`` (host:port of its gRPC endpoint). Calls may come from any thread."""

    def __init__(self, url: str, options: TritonOptions) -> None:
        self.url = url
        self.circuit = Circuit()
        self.calls = 0
        self._options = options
        self._headers = _headers(options)
        self._client = triton.InferenceServerClient(
            url,
            ssl=options.tls,
            root_certificates=_text(options.root_certificates),
            private_key=_text(options.private_key),
            certificate_chain=_text(options.certificate_chain),
        )
        self._regions = Regions(self._register, self._unregister) if _shares_memory(url, options) else None
        self._reviving = threading.Lock()
        self._revived: dict[str, float] = {}
        self._proven: set[tuple[str, str]] = set()

    def run(self, card: ModelCard, feed: Arrays) -> Arrays:
        """One answer.

        Raises:
            ServerUnavailableError, ServerSlowError, ModelStoppedError: another call may succeed.
            ServerUnfitError: another server may take it.
            EngineError: it never will succeed.
        """
        self._prove(card)
        expected = [_predicted_shape(card, output, feed) for output in card.outputs]
        shared_inputs = sum(a.nbytes for a in feed.values() if a.nbytes >= WORTH_SHARING)
        regions = self._regions
        if regions is not None and shared_inputs:
            places = _places(card, feed, expected)
            try:
                with regions.lent(max(p.end for p in places.values())) as region:
                    return self._run_shared(card, feed, places, region)
            except MemoryNotSharedError as error:
                if self._options.shared_memory == "on":
                    raise
                self._regions = None
                regions.close()
                log.warning("%s Until the next start, volumes go to it in messages.", error)
            except OSError:  # no shared memory left: the call is slower, not lost
                pass
        return self._answer(card, [_sent(t, feed[t.tensor]) for t in card.inputs], {})

    def revive(self, card: ModelCard, failed_call: float) -> None:
        """Unload and load a model whose process has died; one caller does, the others wait for it.

        ``failed_call`` is when the call that found it dead began (`time.monotonic`): where the model has been
        started again since, nothing is left to do.

        Raises:
            ServerUnavailableError: the server itself has gone.
            ServerUnfitError: it cannot load the model.
        """
        with self._reviving:
            if self._revived.get(card.name, 0.0) >= failed_call:
                return
            with contextlib.suppress(InferenceServerException):  # not loaded, or unloading already
                self._client.unload_model(card.name, headers=self._headers, client_timeout=CONTROL_SECONDS)
            with self._asking(card.name):
                self._client.load_model(card.name, headers=self._headers, client_timeout=LOAD_SECONDS)
            self._proven.discard((card.name, card.sha256))  # it may have found others in its repository
            self._revived[card.name] = time.monotonic()

    def problem(self, card: ModelCard) -> str | None:
        """None when the model can be run here, else why not."""
        try:
            with self._asking(card.name):
                if self._client.is_model_ready(
                    card.name, str(card.version), headers=self._headers, client_timeout=CONTROL_SECONDS
                ):
                    self._prove(card)
                    return None
        except EngineError as error:
            return str(error)
        return f"Triton at {self.url} has not loaded {card.name} version {card.version}"

    def lost(self) -> None:
        """The server failed: it may come back with other models."""
        self.circuit.failed()
        self._proven.clear()

    def close(self) -> None:
        if self._regions is not None:
            self._regions.close()
        self._client.close()

    def _run_shared(
        self, card: ModelCard, feed: Arrays, places: Mapping[str, _Place], region: Region
    ) -> Arrays:
        inputs = []
        for tensor in card.inputs:
            place, array = places.get(tensor.tensor), feed[tensor.tensor]
            if place is None:
                inputs.append(_sent(tensor, array))
                continue
            np.copyto(region.array(array.dtype, array.shape, place.offset), array)
            shared = triton.InferInput(tensor.tensor, list(array.shape), TRITON_TYPES[tensor.dtype])
            shared.set_shared_memory(region.name, array.nbytes, place.offset)
            inputs.append(shared)
        outputs = {name: p for name, p in places.items() if name not in feed}
        try:
            return self._answer(card, inputs, outputs, region)
        except RegionForgottenError:  # as a restarted server has
            self._register(region)
            return self._answer(card, inputs, outputs, region)
        except OutputOutgrownError:
            return self._answer(card, inputs, {}, region)

    def _answer(
        self,
        card: ModelCard,
        inputs: list[Any],
        places: Mapping[str, _Place],
        region: Region | None = None,
    ) -> Arrays:
        wanted = [triton.InferRequestedOutput(t.tensor) for t in card.outputs]
        for requested in wanted:
            if region is not None and (place := places.get(requested.name())) is not None:
                requested.set_shared_memory(region.name, place.size, place.offset)
        with self._translated(card.name):
            answer = self._client.infer(
                card.name,
                inputs,
                model_version=str(card.version),
                outputs=wanted,
                headers=self._headers,
                client_timeout=self._options.timeout_seconds,
            )
        return {t.tensor: _received(answer, t, places.get(t.tensor), region) for t in card.outputs}

    def _prove(self, card: ModelCard) -> None:
        """Once for each weights: the server was given the same as this catalogue."""
        if (key := (card.name, card.sha256)) in self._proven:
            return
        with self._asking(card.name):
            found = self._client.get_model_config(
                card.name, str(card.version), headers=self._headers, client_timeout=CONTROL_SECONDS
            )
        sha256 = found.config.parameters["sha256"].string_value
        if sha256 != card.sha256:
            raise ServerUnfitError(
                f"Triton at {self.url} serves other weights of {card.name} ({sha256[:12] or 'unnamed'}…) "
                f"than the catalogue has ({card.sha256[:12]}…); give both the same model repository"
            )
        self._proven.add(key)

    def _register(self, region: Region) -> None:
        try:
            with self._asking("shared memory"):
                self._client.register_system_shared_memory(
                    region.name,
                    region.key,
                    region.size,
                    headers=self._headers,
                    client_timeout=CONTROL_SECONDS,
                )
        except RegionForgottenError as error:
            raise MemoryNotSharedError(
                f"{error}: Triton at {self.url} does not see this host's shared memory. Start it with "
                '--ipc=host where it runs in a container, or set engine.triton.shared_memory = "off".'
            ) from error

    def _unregister(self, region: Region) -> None:
        with self._asking("shared memory"):
            self._client.unregister_system_shared_memory(
                region.name, headers=self._headers, client_timeout=CONTROL_SECONDS
            )

    @contextlib.contextmanager
    def _asking(self, subject: str) -> Iterator[None]:
        """What needs no volume to be computed: a server that does not answer it in time has gone, as one
        has that is frozen, or that lies behind a firewall which drops what is sent to it."""
        try:
            with self._translated(subject):
                yield
        except ServerSlowError as error:
            raise ServerUnavailableError(str(error)) from error

    @contextlib.contextmanager
    def _translated(self, subject: str) -> Iterator[None]:
        try:
            yield
        except InferenceServerException as error:
            raise _meaning(self.url, subject, error) from error


@dataclass(frozen=True)
class _Place:
    """Where in a region a tensor lies, in bytes."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def _meaning(url: str, subject: str, error: InferenceServerException) -> EngineError:
    """What a gRPC error means for the next call. Triton tells more by its words than by its status."""
    status, said = (
        str(error.status() or "").removeprefix("StatusCode."),
        str(error.message()).partition("\n")[0],
    )
    at = f"Triton at {url}: {subject}"
    if "shared memory size specified" in said:
        return OutputOutgrownError(f"{at}: {said}")
    if "shared memory region" in said:
        return RegionForgottenError(f"{at}: {said}")
    if "load / unload is not allowed" in said:
        return ServerUnfitError(f"{at} has stopped; start Triton with --model-control-mode=explicit")
    if "load failed" in said or "failed to load" in said:
        return ServerUnfitError(f"{at}: {said}")
    if "Stub process" in said or "unknown model" in said:
        return ModelStoppedError(f"{at}: {said}")
    if status == "DEADLINE_EXCEEDED":
        return ServerSlowError(f"{at}: no answer in time")
    if status in ("UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"):
        return ServerUnavailableError(f"{at}: {said}")
    if status in ("INTERNAL", "UNKNOWN"):  # such as a GPU without memory
        return ServerUnfitError(f"{at}: {said}")
    return EngineError(f"{at}: {said}")


def _shares_memory(url: str, options: TritonOptions) -> bool:
    if options.shared_memory != "auto":
        return options.shared_memory == "on"
    host = url.rpartition(":")[0].strip("[]")
    return url.startswith("unix:") or host in ("localhost", "127.0.0.1", "::1", socket.gethostname())


def _headers(options: TritonOptions) -> dict[str, str]:
    if options.headers_file is None:
        return {}
    try:
        lines = options.headers_file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EngineError(f"engine.triton.headers_file: {options.headers_file}: {error.strerror}") from error
    pairs = [line.partition(":") for line in lines if line.strip()]
    if not all(colon for _, colon, _ in pairs):
        raise EngineError(
            f"engine.triton.headers_file: {options.headers_file}: each line must be 'name: value'"
        )
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _sent(tensor: InputTensor, array: npt.NDArray[np.generic]) -> Any:
    sent = triton.InferInput(tensor.tensor, list(array.shape), TRITON_TYPES[tensor.dtype])
    sent.set_data_from_numpy(array)
    return sent


def _received(
    answer: Any, tensor: OutputTensor, place: _Place | None, region: Region | None
) -> npt.NDArray[np.generic]:
    if place is None or region is None:
        array: npt.NDArray[np.generic] = answer.as_numpy(tensor.tensor)
        return array
    shape = tuple(answer.get_output(tensor.tensor).shape)
    return region.array(np.dtype(tensor.dtype), shape, place.offset).copy()


def _predicted_shape(card: ModelCard, output: OutputTensor, feed: Arrays) -> tuple[int, ...] | None:
    """What shape the answer will have, from the card: an output of an input's rank follows it by ``stride``.
    None when the card does not tell."""
    if -1 not in output.dims[1:]:
        batch = output.dims[0] if output.dims[0] != -1 else len(feed[card.inputs[0].tensor])
        return (batch, *output.dims[1:])
    like = next((t for t in card.inputs if len(t.dims) == len(output.dims)), None)
    if like is None:
        return None
    shape = feed[like.tensor].shape
    spatial = (math.ceil(n / output.stride) for n in shape[2:])
    return tuple(n if n != -1 else m for n, m in zip(output.dims, (*shape[:2], *spatial), strict=True))


def _places(card: ModelCard, feed: Arrays, expected: list[tuple[int, ...] | None]) -> dict[str, _Place]:
    """One after the other, each on a page of its own."""
    sizes = {name: array.nbytes for name, array in feed.items()}
    for output, shape in zip(card.outputs, expected, strict=True):
        if shape is not None:
            sizes[output.tensor] = math.prod(shape) * np.dtype(output.dtype).itemsize
    places, offset = {}, 0
    for name, size in sizes.items():
        if size >= WORTH_SHARING:
            places[name] = _Place(offset, size)
            offset += -(-size // 4096) * 4096
    return places
