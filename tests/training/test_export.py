"""What an exported network's file holds."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime import InferenceSession
from torch import Tensor, nn

from training import export
from training.export import write_onnx


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(16, 64, 3), nn.Conv2d(64, 32, 3)
        self.added = nn.Parameter(torch.randn(1, 32, 1, 1))

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        return (self.second(torch.relu(self.first(picture))) + self.added,)


@pytest.fixture
def network() -> TwoLayers:
    torch.manual_seed(0)
    return TwoLayers()


def test_what_is_multiplied_with_is_as_fine_as_tensorfloat_and_packs_to_half(
    tmp_path: Path, network: TwoLayers
) -> None:
    path = tmp_path / "model.onnx"
    picture = torch.randn(1, 16, 8, 8)
    answers = write_onnx(network, {"picture": picture}, ["told"], {}, path)
    filed = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    for name, own in network.state_dict().items():
        mine = own.numpy()
        if name.endswith("weight"):
            assert filed[name].tobytes() != mine.tobytes()
            np.testing.assert_allclose(filed[name], mine, 2**-11)
            assert len(zlib.compress(filed[name].tobytes())) < 0.6 * mine.nbytes
        else:
            np.testing.assert_array_equal(filed[name], mine)
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    (told,) = session.run(["told"], {"picture": picture.numpy()})
    np.testing.assert_array_equal(answers["told"], told)
    np.testing.assert_allclose(network(picture)[0].detach().numpy(), told, atol=2e-3)


def test_a_file_that_does_not_answer_as_its_network_is_told(
    tmp_path: Path, network: TwoLayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_answers", lambda *_: {"told": np.zeros((1, 32, 4, 4), np.float32)})
    with pytest.raises(RuntimeError, match="does not say of told what the network says"):
        write_onnx(network, {"picture": torch.randn(1, 16, 8, 8)}, ["told"], {}, tmp_path / "model.onnx")
