"""A part that is missing is had from our own sources: under our name, an index would give a stranger's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inference import extras
from inference.catalogue import Catalogue
from inference.engine import EngineError, open_engine
from inference.engine.networks import load_network
from node.settings import EngineSettings

SOURCES = Path(__file__).parents[2]


def test_an_engine_whose_client_is_missing_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:  # another test may have imported what imports it
        if name.startswith(("inference.engine.triton", "tritonclient")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tritonclient", None)
    with pytest.raises(EngineError, match=r"engine\.kind is triton") as raised:
        open_engine(EngineSettings(kind="triton"), Catalogue())
    assert f"`{sys.executable} -m pip install --editable '{SOURCES}[triton]'` brings it" in str(raised.value)


def test_a_provider_that_is_missing_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"engine\.provider is openvino") as raised:
        load_network(b"", 1, "openvino")
    assert f"`{sys.executable} -m pip install --editable '{SOURCES}[openvino]'` brings it" in str(
        raised.value
    )


def test_without_its_sources_a_command_still_names_no_package_of_an_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(extras, "_SOURCES", tmp_path)
    said = extras.install_command("openvino")
    assert said == f"`{sys.executable} -m pip install '.[openvino]'` in the folder of Overread's sources"
