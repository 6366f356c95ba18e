"""Whoever reads again gets the same bytes; whoever reads with other weights gets new objects."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed; `make test` brings it")

from tests.databases import Databases
from tests.rereading import reread


@pytest.mark.slow
def test_reading_again_gives_the_same_bytes_and_other_weights_give_new_uids_with_predecessors(
    databases: Databases, tmp_path: Path
) -> None:
    found = reread(2, tmp_path, databases)
    assert found.is_perfect, found
