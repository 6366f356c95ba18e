"""A real Triton server answers as the embedded engine does, and its failures cost time, not studies."""

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tritonclient.grpc import InferenceServerClient

from inference.catalogue import Catalogue
from inference.engine import EngineError, triton_server
from inference.engine.embedded import EmbeddedEngine
from inference.engine.regions import GRANULE
from inference.engine.triton import TritonEngine
from inference.model_repository import sync
from inference.parity import verify
from tests.tiny_models import make_repository, random_image
from tests.triton.conftest import Open
from tests.triton.server import Served

VOLUME = (1, 1, 48, 96, 128)  # 2.4 MB: large enough for shared memory
LONG = (1, 1, 192, 320, 320)  # computes for seconds on one thread


@pytest.fixture(scope="module")
def embedded(catalogue: Catalogue) -> EmbeddedEngine:
    return EmbeddedEngine(catalogue, threads=1)


def assert_same_bits(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        assert np.array_equal(found[name], expected[name])


def until_computing(engine: TritonEngine) -> None:
    """A call has left and has had time to arrive."""
    while not any(server.calls for server in engine._servers):
        time.sleep(0.01)
    time.sleep(0.3)


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Those that this test's engines make: others run beside it."""
    made: list[Path] = []

    class Noted(SharedMemory):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            made.append(Path("/dev/shm") / self.name)

    monkeypatch.setattr("inference.engine.regions.SharedMemory", Noted)
    return made


@pytest.mark.parametrize("shared_memory", ["auto", "off"])
@pytest.mark.parametrize("shape", [VOLUME, (1, 1, 2, 2, 2)])
def test_a_volume_gives_the_bits_of_the_embedded_engine(
    served: Served, open_triton: Open, embedded: EmbeddedEngine, shared_memory: str, shape: tuple[int, ...]
) -> None:
    image = random_image(shape)
    found = open_triton(served, shared_memory=shared_memory).infer("spots", {"image": image})
    assert_same_bits(found, embedded.infer("spots", {"image": image}))


def test_every_shipped_model_gives_the_bits_of_the_embedded_engine(
    start: Callable[..., Served], open_triton: Open
) -> None:
    catalogue = Catalogue()
    if not catalogue.names:
        pytest.skip("triton_models/ holds no model yet")
    served = start(catalogue.root)
    engine, embedded = open_triton(served, models=catalogue), EmbeddedEngine(catalogue, threads=1)
    assert engine.health() is None
    for model in catalogue:
        inputs, _ = model.parity_sample()
        assert_same_bits(engine.infer(model.card.name, inputs), embedded.infer(model.card.name, inputs))
    assert all(row.passed for row in verify(catalogue, engine))


def test_calls_overlap_and_each_gets_its_own_answer(
    served: Served, open_triton: Open, embedded: EmbeddedEngine
) -> None:
    engine = open_triton(served)
    images = [random_image((1, 1, 48, 96, 96 + 2 * n), n) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda image: engine.infer("spots", {"image": image}), images))
    for image, answer in zip(images, answers, strict=True):
        assert_same_bits(answer, embedded.infer("spots", {"image": image}))


def test_pictures_joined_into_a_batch_keep_their_bits(
    served: Served, open_triton: Open, embedded: EmbeddedEngine
) -> None:
    engine = open_triton(served)
    pictures = [random_image((1 + n % 3, 1, 32, 32), n) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda picture: engine.infer("grades", {"image": picture}), pictures))
    for picture, answer in zip(pictures, answers, strict=True):
        assert_same_bits(answer, embedded.infer("grades", {"image": picture}))


def test_an_answer_stays_as_it_was_when_the_next_call_uses_the_same_memory(
    served: Served, open_triton: Open
) -> None:
    engine = open_triton(served)
    first = engine.infer("spots", {"image": random_image(VOLUME, 1)})
    kept = {name: array.copy() for name, array in first.items()}
    engine.infer("spots", {"image": random_image(VOLUME, 2)})
    assert_same_bits(first, kept)


def test_shared_memory_is_used_again_and_given_back_at_the_end(
    served: Served, open_triton: Open, regions: list[Path]
) -> None:
    engine = open_triton(served)
    for seed in range(3):
        engine.infer("spots", {"image": random_image(VOLUME, seed)})
    (region,) = regions
    assert region.stat().st_size == GRANULE
    engine.close()
    assert not region.exists()


def test_an_output_larger_than_foretold_still_arrives(
    served: Served, open_triton: Open, catalogue: Catalogue, embedded: EmbeddedEngine, tmp_path: Path
) -> None:
    card = yaml.safe_load((catalogue.root / "spots" / "model.yaml").read_text())
    card["outputs"][1]["stride"] = 2  # the network's mask has stride 1
    root = tmp_path / "models"
    root.mkdir()
    for name in ("spots", "grades"):
        (root / name).mkdir()
        (root / name / "1").symlink_to(catalogue.root / name / "1")
        (root / name / "model.yaml").write_text((catalogue.root / name / "model.yaml").read_text())
    (root / "spots" / "model.yaml").write_text(yaml.safe_dump(card))
    image = random_image((1, 1, 96, 160, 160))
    found = open_triton(served, models=Catalogue(root)).infer("spots", {"image": image})
    assert_same_bits(found, embedded.infer("spots", {"image": image}))


def test_without_room_for_shared_memory_the_call_is_slower_not_lost(
    served: Served,
    open_triton: Open,
    embedded: EmbeddedEngine,
    regions: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    image = random_image(VOLUME)
    found = open_triton(served).infer("spots", {"image": image})
    assert_same_bits(found, embedded.infer("spots", {"image": image}))
    assert regions and not any(region.exists() for region in regions)


def test_calls_to_a_model_whose_process_is_killed_are_answered_all_the_same(
    served: Served, open_triton: Open, embedded: EmbeddedEngine
) -> None:
    engine = open_triton(served)
    images = [random_image(LONG), *(random_image(VOLUME, n) for n in range(3))]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(engine.infer, "spots", {"image": image}) for image in images]
        until_computing(engine)
        (stub,) = served.stubs("spots")
        assert not answers[0].done()
        os.kill(stub, signal.SIGKILL)
        for image, answer in zip(images, answers, strict=True):
            assert_same_bits(answer.result(120), embedded.infer("spots", {"image": image}))
    assert served.stubs("spots") != [stub]
    assert engine.health() is None


def test_a_model_that_is_not_loaded_is_loaded(served: Served, open_triton: Open) -> None:
    with InferenceServerClient(served.url) as client:
        client.unload_model("spots")
    image = random_image((1, 1, 4, 4, 4))
    engine = open_triton(served)
    assert "spots" in str(engine.health())
    assert engine.infer("spots", {"image": image})["mask"].shape == image.shape
    assert engine.health() is None


def test_calls_wait_for_a_server_that_was_killed_and_comes_back(
    start: Callable[..., Served], open_triton: Open, embedded: EmbeddedEngine
) -> None:
    served = start()
    engine = open_triton(served)
    image = random_image(VOLUME)
    expected = embedded.infer("spots", {"image": image})
    assert_same_bits(engine.infer("spots", {"image": image}), expected)
    served.stop(kill=True)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(engine.infer, "spots", {"image": image}) for _ in range(4)]
        time.sleep(2)
        assert not any(answer.done() for answer in answers)
        start(grpc_port=served.grpc_port)
        for answer in answers:
            assert_same_bits(answer.result(60), expected)


def test_calls_wait_for_a_server_that_is_frozen_and_thaws(
    start: Callable[..., Served],
    open_triton: Open,
    embedded: EmbeddedEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton_server, "CONTROL_SECONDS", 0.5)
    served = start()
    engine = open_triton(served)
    image = random_image(VOLUME)
    os.kill(served.process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(engine.infer, "spots", {"image": image})
        time.sleep(3)
        os.kill(served.process.pid, signal.SIGCONT)
        assert_same_bits(answer.result(60), embedded.infer("spots", {"image": image}))


def test_a_call_goes_to_the_idle_server_and_one_that_ends_leaves_its_calls_to_the_other(
    start: Callable[..., Served], served: Served, open_triton: Open, embedded: EmbeddedEngine
) -> None:
    first = start()
    engine = open_triton(first, served)
    image = random_image(LONG)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(engine.infer, "spots", {"image": image})
        until_computing(engine)
        assert [server.calls for server in engine._servers] == [1, 0]
        engine.infer("grades", {"image": random_image((1, 1, 32, 32))})
        assert not answer.done()
        first.stop(kill=True)
        assert_same_bits(answer.result(60), embedded.infer("spots", {"image": image}))
    assert engine.health() is None


def test_with_no_server_the_call_ends_with_the_reason(
    free_port: int, catalogue: Catalogue, open_triton: Open
) -> None:
    nowhere = Served(None, free_port, 0, Path())  # type: ignore[arg-type]
    engine = open_triton(nowhere, wait_seconds=1)
    with pytest.raises(
        EngineError, match=f"no Triton server took the call within 1 s.*127.0.0.1:{free_port}"
    ):
        engine.infer("grades", {"image": random_image((1, 1, 32, 32))})
    assert f"127.0.0.1:{free_port}" in str(engine.health())


def test_a_closed_engine_keeps_no_call_waiting(free_port: int, open_triton: Open) -> None:
    engine = open_triton(Served(None, free_port, 0, Path()))  # type: ignore[arg-type]
    threading.Timer(0.5, engine.close).start()
    with pytest.raises(EngineError, match="closed"):
        engine.infer("grades", {"image": random_image((1, 1, 32, 32))})


def test_an_answer_that_never_comes_is_given_up_after_two_tries(served: Served, open_triton: Open) -> None:
    engine = open_triton(served, timeout_seconds=0.3)
    with pytest.raises(EngineError, match=r"no answer in time, twice within 0\.3 s"):
        engine.infer("spots", {"image": random_image(LONG)})
    image = random_image((1, 1, 4, 4, 4))
    assert open_triton(served).infer("spots", {"image": image})["mask"].shape == image.shape


def test_a_server_with_other_weights_is_passed_over(
    start: Callable[..., Served], served: Served, open_triton: Open, tmp_path: Path
) -> None:
    renewed = Catalogue(make_repository(tmp_path / "models"))
    weights = renewed.root / "spots" / "1" / "model.onnx"
    weights.write_bytes(weights.read_bytes() + b"\x10\x01")  # ONNX's field of the producer's version
    path = renewed.root / "spots" / "model.yaml"
    card = yaml.safe_load(path.read_text()) | {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    path.write_text(yaml.safe_dump(card))
    sync(renewed)
    image = random_image((1, 1, 2, 2, 2))
    with pytest.raises(
        EngineError, match=f"serves other weights of spots .*catalogue has .{card['sha256'][:12]}"
    ):
        open_triton(served, models=renewed).infer("spots", {"image": image})
    engine = open_triton(served, start(renewed.root), models=renewed)
    assert engine.infer("spots", {"image": image})["mask"].shape == image.shape


def test_wrong_inputs_are_refused_before_they_travel(open_triton: Open, free_port: int) -> None:
    engine = open_triton(Served(None, free_port, 0, Path()))  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="pad it to a multiple of 2"):
        engine.infer("spots", {"image": random_image((1, 1, 3, 2, 2))})
    with pytest.raises(EngineError, match="no model 'nodules'"):
        engine.infer("nodules", {})


def test_a_model_that_cannot_be_started_again_fails_with_the_reason(
    start: Callable[..., Served], open_triton: Open, tmp_path: Path
) -> None:
    catalogue = Catalogue(make_repository(tmp_path / "models"))
    sync(catalogue)
    served = start(catalogue.root)
    engine = open_triton(served, models=catalogue)
    image = random_image((1, 1, 4, 4, 4))
    engine.infer("spots", {"image": image})
    (tmp_path / "models" / "spots" / "1" / "model.onnx").unlink()
    os.kill(served.stubs("spots")[0], signal.SIGKILL)
    with pytest.raises(EngineError, match=r"load failed for model 'spots': .*No such file"):
        engine.infer("spots", {"image": image})
    assert engine.infer("grades", {"image": random_image((1, 1, 32, 32))})["grade"].shape == (1, 3)


def test_headers_open_a_guarded_server(
    start: Callable[..., Served], open_triton: Open, tmp_path: Path
) -> None:
    served = start(options=("--grpc-restricted-protocol=inference,model-repository,model-config:key=secret",))
    picture = {"image": random_image((1, 1, 32, 32))}
    with pytest.raises(EngineError, match="restricted"):
        open_triton(served, wait_seconds=1).infer("grades", picture)
    headers = tmp_path / "headers"
    headers.write_text("triton-grpc-protocol-key: secret\n")
    assert open_triton(served, headers_file=headers).infer("grades", picture)["grade"].shape == (1, 3)


def test_tls_needs_the_servers_certificate(
    start: Callable[..., Served], open_triton: Open, needs: Callable[[str], Path], tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make_certificate(needs("openssl"), key, certificate)
    served = start(
        tls=certificate,
        options=("--grpc-use-ssl=true", f"--grpc-server-cert={certificate}", f"--grpc-server-key={key}"),
    )
    picture = {"image": random_image((1, 1, 32, 32))}
    engine = open_triton(served, tls=True, root_certificates=certificate)
    assert engine.infer("grades", picture)["grade"].shape == (1, 3)
    with pytest.raises(EngineError, match="no Triton server took the call"):
        open_triton(served, wait_seconds=1).infer("grades", picture)


def make_certificate(openssl: Path, key: Path, certificate: Path) -> None:
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
