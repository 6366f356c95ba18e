"""What an exported network's file holds."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnxruntime import InferenceSession
from torch import Tensor, nn

from training.export import write_onnx


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(16, 64, 3), nn.Conv2d(64, 32, 3)

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        return (self.second(torch.relu(self.first(picture))),)


def test_weights_are_as_fine_as_tensorfloat_and_pack_to_half(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = TwoLayers(), tmp_path / "model.onnx"
    picture = torch.randn(1, 16, 8, 8)
    answers = write_onnx(network, {"picture": picture}, ["told"], {}, path)
    filed = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    for name, own in network.state_dict().items():
        mine = own.numpy()
        if name.endswith("bias"):
            np.testing.assert_array_equal(filed[name], mine)
        else:
            assert filed[name].tobytes() != mine.tobytes()
            np.testing.assert_allclose(filed[name], mine, 2**-11)
            assert len(zlib.compress(filed[name].tobytes())) < 0.6 * mine.nbytes
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"picture": picture.numpy()})[0], answers["told"], atol=2e-3)
