"""A Triton server that cannot be asked is waited for; one that fails is not the last word."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.engine import EngineError
from inference.engine.options import TritonOptions
from tests.tiny_models import make_repository, random_image

pytest.importorskip("tritonclient.grpc")

from tritonclient.utils import InferenceServerException

from inference.engine import triton_server
from inference.engine.triton import TritonEngine
from inference.engine.triton_server import Arrays

WAIT_SECONDS = 1.5


def test_a_server_that_takes_connections_and_never_answers_is_waited_for_as_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton_server, "CONTROL_SECONDS", 0.2)
    catalogue = Catalogue(make_repository(tmp_path / "models"))
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"127.0.0.1:{frozen.getsockname()[1]}"
        engine = TritonEngine([url], catalogue, TritonOptions(wait_seconds=WAIT_SECONDS))
        with pytest.raises(EngineError) as caught:
            engine.infer("spots", {"image": random_image((1, 1, 8, 8, 8)).astype(np.float32)})
        engine.close()
    assert f"no Triton server took the call within {WAIT_SECONDS:g} s" in str(caught.value)


class Server:
    """What a client finds at one address: weights, and what it says instead of an answer."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = self.sha256_after_loading = sha256
        self.says: list[InferenceServerException] = []
        self.shares_memory = True
        self.answered = 0


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Server]:
    """Two, which answer the tiny model's call with zeros."""
    (card,) = (m.card for m in Catalogue(make_repository(tmp_path / "models")) if m.card.name == "spots")
    found = {url: Server(card.sha256) for url in ("127.0.0.1:1", "127.0.0.1:2")}

    class Client:
        def __init__(self, url: str, **_: Any) -> None:
            self.server = found[url]

        def get_model_config(self, *_: Any, **__: Any) -> SimpleNamespace:
            sha256 = SimpleNamespace(string_value=self.server.sha256)
            return SimpleNamespace(config=SimpleNamespace(parameters={"sha256": sha256}))

        def unload_model(self, *_: Any, **__: Any) -> None:
            pass

        def load_model(self, *_: Any, **__: Any) -> None:
            self.server.sha256 = self.server.sha256_after_loading

        def register_system_shared_memory(self, name: str, *_: Any, **__: Any) -> None:
            if not self.server.shares_memory:
                raise InferenceServerException(f"Unable to open shared memory region: '{name}'")

        def unregister_system_shared_memory(self, *_: Any, **__: Any) -> None:
            pass

        def infer(self, *_: Any, **__: Any) -> SimpleNamespace:
            if self.server.says:
                raise self.server.says.pop()
            self.server.answered += 1
            return SimpleNamespace(as_numpy=lambda _: np.zeros((1, 1, 4, 4, 4), np.float32))

        def close(self) -> None:
            pass

    monkeypatch.setattr(triton_server.triton, "InferenceServerClient", Client)
    return found


@contextmanager
def engine_of(tmp_path: Path, urls: list[str], **options: Any) -> Iterator[TritonEngine]:
    engine = TritonEngine(urls, Catalogue(tmp_path / "models"), TritonOptions(**options))
    yield engine
    engine.close()


def ask(engine: TritonEngine, side: int = 8) -> Arrays:
    return engine.infer("spots", {"image": np.zeros((1, 1, side, side, side), np.float32)})


def test_a_model_that_was_started_again_has_to_show_its_weights_again(
    tmp_path: Path, servers: dict[str, Server]
) -> None:
    (url, server), *_ = servers.items()
    with engine_of(tmp_path, [url], shared_memory="off") as engine:
        ask(engine)
        server.says = [InferenceServerException("Stub process is not healthy", "StatusCode.INTERNAL")]
        server.sha256_after_loading = "f" * 64
        with pytest.raises(EngineError, match="serves other weights of spots"):
            ask(engine)
    assert server.answered == 1


def test_a_server_whose_gpu_fails_leaves_the_call_to_another(
    tmp_path: Path, servers: dict[str, Server]
) -> None:
    first, second = servers.values()
    out_of_memory = InferenceServerException("CUDA error: out of memory", "StatusCode.INTERNAL")
    first.says = [out_of_memory] * 2
    with engine_of(tmp_path, list(servers), shared_memory="off") as engine:
        ask(engine)
        assert (first.answered, second.answered) == (0, 1)
        second.says = [out_of_memory]
        with pytest.raises(EngineError, match="out of memory"):
            ask(engine)


def test_what_is_wrong_with_the_call_itself_is_asked_of_nobody_else(
    tmp_path: Path, servers: dict[str, Server]
) -> None:
    first, second = servers.values()
    first.says = [InferenceServerException("unexpected shape", "StatusCode.INVALID_ARGUMENT")]
    with (
        engine_of(tmp_path, list(servers), shared_memory="off") as engine,
        pytest.raises(EngineError, match="unexpected shape"),
    ):
        ask(engine)
    assert second.answered == 0


def test_volumes_go_in_messages_to_a_server_that_cannot_open_shared_memory(
    tmp_path: Path, servers: dict[str, Server]
) -> None:
    (url, server), *_ = servers.items()
    server.shares_memory = False
    with engine_of(tmp_path, [url]) as engine:
        ask(engine, side=72)
        ask(engine, side=72)
    assert server.answered == 2
    with (
        engine_of(tmp_path, [url], shared_memory="on") as engine,
        pytest.raises(EngineError, match="--ipc=host"),
    ):
        ask(engine, side=72)
