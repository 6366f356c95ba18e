"""The embedded engine answers exactly, always the same, and refuses what a network cannot take."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from inference.catalogue import Catalogue
from inference.engine import Engine, EngineError
from inference.engine.embedded import EmbeddedEngine
from inference.parity import verify
from tests.tiny_models import make_repository, random_image, spots_network


@pytest.fixture
def engine(tmp_path: Path) -> EmbeddedEngine:
    return EmbeddedEngine(Catalogue(make_repository(tmp_path / "models")), threads=1)


def test_an_output_is_what_the_network_computes(engine: EmbeddedEngine) -> None:
    image = random_image((1, 1, 2, 2, 2))
    weights = {w.name: numpy_helper.to_array(w) for w in spots_network().graph.initializer}
    padded = np.pad(image[0, 0], 1)
    features = np.empty((4, 2, 2, 2))
    for z, y, x in np.ndindex(2, 2, 2):
        patch = padded[z : z + 3, y : y + 3, x : x + 3]
        features[:, z, y, x] = np.maximum((weights["w1"][:, 0] * patch).sum((1, 2, 3)) + weights["b1"], 0)
    score = (features * weights["w2"][0]).sum()
    outputs = engine.infer("spots", {"image": image})
    np.testing.assert_allclose(outputs["peaks"].item(), 1 / (1 + np.exp(-score)), rtol=1e-5)
    assert outputs["mask"].shape == image.shape


def test_any_number_of_threads_gives_the_same_bits(engine: EmbeddedEngine, tmp_path: Path) -> None:
    image = random_image((1, 1, 24, 40, 56))
    one = engine.infer("spots", {"image": image})
    four = EmbeddedEngine(Catalogue(tmp_path / "models"), threads=4).infer("spots", {"image": image})
    assert all(np.array_equal(one[name], four[name]) for name in ("peaks", "mask"))


def test_calls_from_many_threads_share_one_session_and_agree(engine: EmbeddedEngine) -> None:
    images = [random_image((1, 1, 8, 8, 8 + 2 * n), n) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: engine.infer("spots", {"image": image})["mask"], images))
    alone = [engine.infer("spots", {"image": image})["mask"] for image in images]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert len(engine._networks) == 1


def test_a_view_with_strides_gives_the_same_as_its_copy(engine: EmbeddedEngine) -> None:
    image = random_image((1, 1, 8, 12, 16))
    turned = image[:, :, ::-1].transpose(0, 1, 4, 3, 2)
    expected = engine.infer("spots", {"image": turned.copy()})["mask"]
    assert np.array_equal(engine.infer("spots", {"image": turned})["mask"], expected)


@pytest.mark.parametrize(
    ("model", "inputs", "complaint"),
    [
        ("nodules", {}, "no model 'nodules'; there are: grades, spots"),
        ("spots", {}, "spots: input image is missing"),
        ("spots", {"image": random_image((1, 1, 2, 2, 2)), "mask": np.zeros(1)}, "there is no input mask"),
        ("spots", {"image": np.zeros((1, 1, 2, 2, 2))}, "image is float64, not float32"),
        ("spots", {"image": random_image((2, 2, 2))}, r"image: shape \[2, 2, 2\] where the network takes"),
        ("spots", {"image": random_image((1, 1, 3, 2, 2))}, "slice is 3 .*: pad it to a multiple of 2"),
        ("grades", {"image": random_image((1, 1, 32, 31))}, "column is 31"),
    ],
)
def test_wrong_inputs_are_refused_with_what_the_network_takes(
    engine: EmbeddedEngine, model: str, inputs: dict[str, np.ndarray], complaint: str
) -> None:
    with pytest.raises(EngineError, match=complaint):
        engine.infer(model, inputs)


def test_damaged_weights_never_run(engine: EmbeddedEngine, tmp_path: Path) -> None:
    assert engine.health() is None
    (tmp_path / "models" / "spots" / "1" / "model.onnx").write_bytes(b"not a network")
    assert "spots" in str(engine.health())
    with pytest.raises(EngineError, match="damaged or belong to another version"):
        engine.infer("spots", {"image": random_image((1, 1, 2, 2, 2))})


def test_a_card_that_names_other_tensors_is_refused(engine: EmbeddedEngine, tmp_path: Path) -> None:
    path = tmp_path / "models" / "spots" / "model.yaml"
    path.write_text(path.read_text().replace("tensor: mask", "tensor: outline"))
    with pytest.raises(EngineError, match="other tensors than the network has: mask, outline"):
        engine.infer("spots", {"image": random_image((1, 1, 2, 2, 2))})


def test_a_closed_engine_makes_its_networks_anew(engine: EmbeddedEngine) -> None:
    image = random_image((1, 1, 4, 4, 4))
    before = engine.infer("spots", {"image": image})["mask"]
    engine.close()
    assert np.array_equal(engine.infer("spots", {"image": image})["mask"], before)


@pytest.mark.needs("openvino")
def test_openvino_answers_within_parity_and_always_the_same(engine: EmbeddedEngine, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "models")
    openvino = EmbeddedEngine(catalogue, threads=1, provider="openvino")
    rows = list(verify(catalogue, openvino))
    assert [row.tensor for row in rows if not row.passed] == []
    images = [random_image((1, 1, 8, 8, 8 + 2 * n), n) for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda image: openvino.infer("spots", {"image": image})["mask"], images))
    for image, found in zip(images, together, strict=True):
        assert np.array_equal(found, openvino.infer("spots", {"image": image})["mask"])
        np.testing.assert_allclose(found, engine.infer("spots", {"image": image})["mask"], atol=1e-5)


HELD_AFTER_EACH = """
import sys
from pathlib import Path
import numpy as np
from inference.engine.networks import load_network

def held():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

weights, volume = Path(sys.argv[1]).read_bytes(), np.zeros((1, 1, 128, 128, 128), np.float32)
networks = [load_network(weights, 1) for _ in range(3)]
print(held())
for network in networks:
    network.run(["peaks", "mask"], {"image": volume})
    print(held())
"""


def test_networks_share_the_memory_they_work_in(tmp_path: Path) -> None:
    (tmp_path / "spots.onnx").write_bytes(spots_network().SerializeToString())
    told = subprocess.run(
        [sys.executable, "-c", HELD_AFTER_EACH, str(tmp_path / "spots.onnx")],
        check=True,
        capture_output=True,
        text=True,
    )
    before, first, _, third = map(int, told.stdout.split())
    assert third - first < first - before


def test_it_is_an_engine(engine: EmbeddedEngine) -> None:
    either: Engine = engine
    assert either.health() is None
