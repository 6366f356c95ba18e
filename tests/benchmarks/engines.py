"""How long each model takes on each engine of this machine: ONNX Runtime, OpenVINO, a real Triton server.

``python -m tests.benchmarks.engines`` runs the shipped models at their usual shape, and a stand-in of
the same build as the volume readers: fully convolutional, a first stride of 2, 16-32-64 channels.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from onnx import ModelProto, TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.engine import Engine, EngineError
from inference.engine.embedded import EmbeddedEngine
from inference.engine.options import TritonOptions
from inference.engine.triton import TritonEngine
from inference.model_repository import sync
from inference.triton_config import usual_dims
from tests.tiny_models import random_image, spots_card, write_model
from tests.triton import server

STAND_IN = (1, 1, 200, 240, 240)
"""A chest of 300 x 360 x 360 mm at 1.5 mm."""


def main(
    rounds: int = 5,
    threads: Annotated[int, typer.Option(help="0 for as many as there are cores.")] = 0,
    root: Annotated[Path | None, typer.Option(help="A model repository; else the shipped one.")] = None,
) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="overread-engines-")))
        table = Table(
            "model",
            "input",
            "onnxruntime",
            "openvino",
            "triton",
            "openvino / onnxruntime",
            "triton / embedded",
        )
        for name, catalogue in (("stand-in", make_stand_in(folder / "models")), ("shipped", Catalogue(root))):
            if not catalogue.names:
                continue
            work = folder / name
            work.mkdir()
            served = stack.enter_context(server.serving(catalogue.root, work, threads=threads))
            engines: dict[str, Engine] = {
                "onnxruntime": EmbeddedEngine(catalogue, threads),
                "openvino": EmbeddedEngine(catalogue, threads, "openvino"),
                "triton": TritonEngine([served.url], catalogue, TritonOptions(shared_memory="on")),
            }
            for model in catalogue:
                table.add_row(*timed(model.card, engines, rounds))
            for engine in engines.values():
                engine.close()
    Console(width=160).print(table)


def timed(card: ModelCard, engines: dict[str, Engine], rounds: int) -> list[str]:
    """One row: medians in milliseconds, and the median of the ratios within each round."""
    feed = {t.tensor: random_input(t.dtype, usual_dims(t) or STAND_IN) for t in card.inputs}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for round_ in range(rounds + 1):
        for name, engine in engines.items():
            started = time.perf_counter()
            try:
                engine.infer(card.name, feed)
            except EngineError as error:
                raise typer.BadParameter(str(error)) from error
            if round_:  # the first loads the network
                seconds[name].append(time.perf_counter() - started)
    reference = seconds["onnxruntime"]
    ratios = {
        name: statistics.median(a / b for a, b in zip(taken, reference, strict=True))
        for name, taken in seconds.items()
    }
    return [
        card.name,
        " ".join("x".join(map(str, array.shape)) for array in feed.values()),
        *(f"{statistics.median(taken) * 1000:.0f} ms" for taken in seconds.values()),
        f"{ratios['openvino']:.2f}",
        f"{ratios['triton']:.2f}",
    ]


def random_input(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return random_image(shape).astype(dtype)


def make_stand_in(root: Path) -> Catalogue:
    card = spots_card() | {"name": "stand-in"}
    card["inputs"][0]["multiple_of"] = [1, 1, 8, 8, 8]
    card["inputs"][0]["shapes"] = {key: list(STAND_IN) for key in ("min", "opt", "max")}
    card["outputs"] = card["outputs"][:1]
    write_model(root, unet(), card, (1, 1, 16, 16, 16))
    catalogue = Catalogue(root)
    sync(catalogue)
    return catalogue


def unet() -> ModelProto:
    """Stride 2, then 16-32-64 channels down and up; one output at stride 2. Random weights."""
    nodes, weights = [], {}

    def conv(name: str, source: str, inputs: int, outputs: int, stride: int = 1, up: bool = False) -> str:
        size = 2 if up else 3
        shape = (inputs, outputs, 2, 2, 2) if up else (outputs, inputs, 3, 3, 3)
        weights[f"w{name}"] = random_image(shape, len(weights)) / (inputs * size**3) ** 0.5
        options = {
            "kernel_shape": [size] * 3,
            "strides": [2 if up else stride] * 3,
            "pads": [0 if up else 1] * 6,
        }
        kind = "ConvTranspose" if up else "Conv"
        nodes.append(helper.make_node(kind, [source, f"w{name}"], [f"raw{name}"], **options))
        nodes.append(helper.make_node("Relu", [f"raw{name}"], [name]))
        return name

    def joined(name: str, *sources: str) -> str:
        nodes.append(helper.make_node("Concat", sources, [name], axis=1))
        return name

    one = conv("a2", conv("a1", "image", 1, 16, stride=2), 16, 16)
    two = conv("b2", conv("b1", one, 16, 32, stride=2), 32, 32)
    low = conv("c2", conv("c1", two, 32, 64, stride=2), 64, 64)
    two = conv("d2", joined("d1", conv("d0", low, 64, 32, up=True), two), 64, 32)
    one = conv("e2", joined("e1", conv("e0", two, 32, 16, up=True), one), 32, 16)
    last = conv("f", one, 16, 1)
    nodes.append(helper.make_node("Sigmoid", [last], ["peaks"]))
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 1, "d", "h", "w"])],
        [helper.make_tensor_value_info("peaks", TensorProto.FLOAT, ["b", 1, "e", "g", "v"])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


if __name__ == "__main__":
    typer.run(main)
