"""A model repository with two very small networks, made on the spot: one over volumes, one over batches."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import yaml
from onnx import TensorProto, helper, numpy_helper

from inference.catalogue import read_model
from inference.parity import write_parity_sample

CODE = {"scheme": "SCT", "value": "27925004", "meaning": "Nodule"}


def make_repository(root: Path) -> Path:
    """``root`` with the models ``spots`` (any volume of even size) and ``grades`` (batches of 32 x 32)."""
    write_model(root, spots_network(), spots_card(), (1, 1, 12, 16, 20))
    write_model(root, grades_network(), grades_card(), (3, 1, 32, 32))
    return root


def write_model(root: Path, network: onnx.ModelProto, card: dict[str, Any], sample: tuple[int, ...]) -> Path:
    folder = root / card["name"]
    weights = folder / str(card["version"]) / "model.onnx"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(network.SerializeToString())
    card = card | {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    model = read_model(folder)
    image = random_image(sample)
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    names = [t.tensor for t in model.card.outputs]
    write_parity_sample(
        folder,
        model.card,
        {"image": image},
        dict(zip(names, session.run(names, {"image": image}), strict=True)),
    )
    return folder


def random_image(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def spots_card() -> dict[str, Any]:
    return {
        "name": "spots",
        "version": 1,
        "task": "Finds spots in a volume",
        "license": "Apache-2.0",
        "inputs": [
            {
                "tensor": "image",
                "dims": [-1, 1, -1, -1, -1],
                "axes": ["batch", "channel", "slice", "row", "column"],
                "orientation": "LPS",
                "spacing_mm": [1.5, 1.5, 1.5],
                "units": "HU",
                "intensity": {"clip": [-1000, 400], "subtract": -300, "divide": 700},
                "multiple_of": [1, 1, 2, 2, 2],
                "shapes": {
                    "min": [1, 1, 8, 8, 8],
                    "opt": [1, 1, 64, 96, 96],
                    "max": [1, 1, 320, 512, 512],
                },
            }
        ],
        "outputs": [
            {
                "tensor": "peaks",
                "kind": "heatmap",
                "dims": [-1, 1, -1, -1, -1],
                "stride": 2,
                "activation": "sigmoid",
                "labels": [{"label": "spot", **CODE, "color": [255, 120, 0]}],
            },
            {"tensor": "mask", "kind": "logits", "dims": [-1, 1, -1, -1, -1]},
        ],
        "operating_points": {"detection": {"threshold": 0.4, "chosen_for": "one false mark a scan"}},
        "metrics": [
            {
                "metric": "sensitivity",
                "value": 0.9,
                "ci": [0.85, 0.94],
                "data_set": "spots",
                "split": "test",
                "cases": 200,
                "trained_on": "phantom",
            }
        ],
        "intended_use": "Testing",
        "limits": ["Knows nothing"],
    }


def grades_card() -> dict[str, Any]:
    return {
        "name": "grades",
        "version": 1,
        "task": "Grades a picture",
        "license": "Apache-2.0",
        "inputs": [
            {"tensor": "image", "dims": [-1, 1, 32, 32], "axes": ["batch", "channel", "row", "column"]}
        ],
        "outputs": [{"tensor": "grade", "kind": "probability", "dims": [-1, 3], "activation": "softmax"}],
        "batching": {"max": 8, "preferred": [4, 8], "delay_microseconds": 200},
        "intended_use": "Testing",
        "limits": ["Knows nothing"],
    }


def spots_network() -> onnx.ModelProto:
    shape = ["b", 1, "d", "h", "w"]
    half = ["b", 1, "d2", "h2", "w2"]
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["raw"], kernel_shape=[3, 3, 3], pads=[1] * 6),
        helper.make_node("Relu", ["raw"], ["features"]),
        helper.make_node("Conv", ["features", "w2"], ["score"], kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        helper.make_node("Sigmoid", ["score"], ["peaks"]),
        helper.make_node("Conv", ["features", "w3"], ["mask"], kernel_shape=[1, 1, 1]),
    ]
    weights = {
        "w1": random_image((4, 1, 3, 3, 3), 1) / 5,
        "b1": random_image((4,), 2) / 5,
        "w2": random_image((1, 4, 2, 2, 2), 3) / 5,
        "w3": random_image((1, 4, 1, 1, 1), 4) / 5,
    }
    return _network("spots", nodes, weights, shape, {"peaks": half, "mask": shape})


def grades_network() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["raw"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["raw"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["grade"], axis=1),
    ]
    weights = {"w1": random_image((4, 1, 3, 3), 5), "w2": random_image((4, 3), 6)}
    return _network("grades", nodes, weights, ["b", 1, 32, 32], {"grade": ["b", 3]})


def _network(
    name: str,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    image: list[str | int],
    outputs: dict[str, list[str | int]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, dims) for out, dims in outputs.items()],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model
