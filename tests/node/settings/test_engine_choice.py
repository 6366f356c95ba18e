"""The settings choose the engine."""

from dataclasses import fields
from pathlib import Path

import pytest

from inference.catalogue import Catalogue
from inference.engine import EngineError, open_engine
from inference.engine.embedded import EmbeddedEngine
from inference.engine.options import TritonOptions
from inference.engine.triton import TritonEngine
from node.settings import EngineSettings, TritonSettings
from tests.tiny_models import make_repository


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(make_repository(tmp_path / "models"))


def test_a_model_runs_in_the_node_unless_a_server_is_chosen(catalogue: Catalogue) -> None:
    assert isinstance(open_engine(EngineSettings(), catalogue), EmbeddedEngine)
    engine = open_engine(EngineSettings(kind="triton", url=("gpu1:8001", "gpu2:8001")), catalogue)
    assert isinstance(engine, TritonEngine)
    assert [server.url for server in engine._servers] == ["gpu1:8001", "gpu2:8001"]
    engine.close()


def test_every_setting_of_triton_is_an_option_with_the_same_default() -> None:
    assert dict(TritonSettings()) == {field.name: field.default for field in fields(TritonOptions)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "No such file"), ("authorization Bearer 1234", "each line must be 'name: value'")],
)
def test_a_headers_file_that_cannot_be_used_is_named(
    catalogue: Catalogue, tmp_path: Path, text: str | None, reason: str
) -> None:
    path = tmp_path / "headers"
    if text is not None:
        path.write_text(text)
    settings = EngineSettings(kind="triton", triton=TritonSettings(headers_file=path))
    with pytest.raises(EngineError, match=f"headers_file: {path}: {reason}"):
        open_engine(settings, catalogue)


def test_no_address_at_all_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(EngineError, match=r"engine\.url names no Triton server"):
        open_engine(EngineSettings(kind="triton", url=()), catalogue)
