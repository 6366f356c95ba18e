"""How long a 300-slice volume takes to and from Triton: by gRPC, and by shared memory.

``python -m tests.benchmarks.triton_transfer`` starts a real server with a network that does next to nothing,
so that what is left is the way there and back, and prints the median of several pairs of calls.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import typer
from onnx import TensorProto, helper

from inference.catalogue import Catalogue
from inference.engine.options import TritonOptions
from inference.engine.triton import TritonEngine
from inference.model_repository import sync
from tests.tiny_models import random_image, spots_card, write_model
from tests.triton import server

VOLUME = (1, 1, 300, 256, 256)
"""78.6 MB of float32: a chest of 300 slices at 1.4 mm."""


def make_copying_model(root: Path) -> Catalogue:
    """``copy``: answers with the first half of what it was given: 78.6 MB in, 39.3 MB out."""
    shape: list[int | str] = ["b", 1, "d", "h", "w"]
    half: list[int | str] = ["b", 1, "e", "h", "w"]
    bounds = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in {"start": 0, "end": VOLUME[2] // 2, "axis": 2, "step": 1}.items()
    ]
    graph = helper.make_graph(
        [helper.make_node("Slice", ["image", "start", "end", "axis", "step"], ["mask"])],
        "copy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, half)],
        bounds,
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    card = spots_card() | {"name": "copy"}
    card["outputs"] = [card["outputs"][1]]
    card["inputs"][0].pop("shapes")
    write_model(root, network, card, (1, 1, 4, 4, 4))
    catalogue = Catalogue(root)
    sync(catalogue)
    return catalogue


def main(pairs: int = 9) -> None:
    image = random_image(VOLUME)
    with TemporaryDirectory(prefix="overread-transfer-") as folder:
        catalogue = make_copying_model(Path(folder) / "models")
        with server.serving(catalogue.root, Path(folder)) as served:
            engines = {
                "gRPC": TritonEngine([served.url], catalogue, TritonOptions(shared_memory="off")),
                "shared memory": TritonEngine([served.url], catalogue, TritonOptions(shared_memory="on")),
            }
            seconds: dict[str, list[float]] = {name: [] for name in engines}
            for round_ in range(pairs + 1):
                for name, engine in engines.items():
                    started = time.perf_counter()
                    answer = engine.infer("copy", {"image": image})
                    if round_:  # the first makes connections and regions
                        seconds[name].append(time.perf_counter() - started)
                    assert np.array_equal(answer["mask"], image[:, :, : VOLUME[2] // 2])
            for engine in engines.values():
                engine.close()
    for name, taken in seconds.items():
        print(f"{name:14} {statistics.median(taken) * 1000:6.0f} ms  (least {min(taken) * 1000:.0f})")
    least = min(seconds["gRPC"]) / min(seconds["shared memory"])
    ratios = [slow / quick for slow, quick in zip(*seconds.values(), strict=True)]
    print(f"{'ratio':14} {statistics.median(ratios):6.1f}     (of pairs; {least:.1f} of the least)")


if __name__ == "__main__":
    typer.run(main)
