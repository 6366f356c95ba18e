"""One small study and its results, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.results import ResultFile
from tests.node.results.phantoms import Case, phantom


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return phantom(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="session")
def results(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultFile]:
    return case.write(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="session")
def negative(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultFile]:
    return case.with_findings().write(tmp_path_factory.mktemp("negative"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
