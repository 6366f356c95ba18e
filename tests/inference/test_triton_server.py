"""A Triton server that cannot be asked is waited for, however it keeps silent."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.engine import EngineError
from inference.engine.options import TritonOptions
from tests.tiny_models import make_repository, random_image

pytest.importorskip("tritonclient.grpc")

from inference.engine import triton_server
from inference.engine.triton import TritonEngine

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
