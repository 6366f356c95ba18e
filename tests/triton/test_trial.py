"""Staged models are tried on a real server before they are promoted."""

from pathlib import Path

import pytest
import yaml

from inference.catalogue import Catalogue
from inference.plans.errors import PlanError
from inference.plans.stage import stage
from inference.plans.trial import prove_on_triton
from tests.tiny_models import make_repository
from tests.triton import server


@pytest.fixture
def staged(tmp_path: Path) -> Catalogue:
    """The model ``spots`` in half precision."""
    root = make_repository(tmp_path / "models")
    path = root / "spots" / "model.yaml"
    card = yaml.safe_load(path.read_text()) | {"parity": {"half": {"absolute": 5e-3, "relative": 5e-3}}}
    path.write_text(yaml.safe_dump(card))
    return stage(Catalogue(root).find("spots"), "fp16", tmp_path / "staged")


def test_a_staged_model_is_proven_by_what_the_server_answers(staged: Catalogue, tmp_path: Path) -> None:
    command, environment = server.command(tmp_path), server.environment()
    rows = prove_on_triton(staged, "fp16", command, "cpu", environment)
    assert [(row.tensor, row.passed) for row in rows] == [("peaks", True), ("mask", True)]
    assert max(row.max_error for row in rows) > 1e-6
    strict = prove_on_triton(staged, "fp32", command, "cpu", environment)
    assert not all(row.passed for row in strict)


def test_a_server_that_cannot_load_it_is_told_with_its_errors(staged: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"(?s)could not load the staged models.*load.*spots"):
        prove_on_triton(staged, "fp16", server.command(tmp_path), "tensorrt", server.environment())


def test_without_a_server_at_hand_it_says_where_to_build(staged: Catalogue) -> None:
    with pytest.raises(PlanError, match="build inside Triton's container"):
        prove_on_triton(staged, "fp16", ["no-such-tritonserver"])
