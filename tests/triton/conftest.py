"""A real Triton server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inference.catalogue import Catalogue
from inference.engine.options import TritonOptions
from inference.engine.triton import TritonEngine
from inference.model_repository import sync
from tests.programs import absent
from tests.tiny_models import make_repository
from tests.triton import server
from tests.triton.server import Served

Open = Callable[..., TritonEngine]


@pytest.fixture(scope="session", autouse=True)
def _triton() -> None:
    if reason := server.missing_reason():
        absent(reason)


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The two tiny models, as Triton loads them."""
    catalogue = Catalogue(make_repository(tmp_path_factory.mktemp("tiny") / "models"))
    sync(catalogue)
    return catalogue


@pytest.fixture(scope="session")
def served(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the tiny models that the tests share; a test that harms it starts its own."""
    with server.serving(catalogue.root, tmp_path_factory.mktemp("triton")) as running:
        yield running


@pytest.fixture
def start(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Starts a server of a test's own; stopped at its end."""
    with ExitStack() as stack:

        def started(repository: Path = catalogue.root, **options: object) -> Served:
            folder = tmp_path_factory.mktemp("triton")
            return stack.enter_context(server.serving(repository, folder, **options))

        yield started


@pytest.fixture
def open_triton(catalogue: Catalogue) -> Iterator[Open]:
    """``open_triton(served, …)``: an engine over these servers; keyword arguments are `TritonOptions`."""
    with ExitStack() as stack:

        def opened(*servers: Served, models: Catalogue = catalogue, **options: object) -> TritonEngine:
            engine = TritonEngine([s.url for s in servers], models, TritonOptions(**options))  # type: ignore[arg-type]
            stack.callback(engine.close)
            return engine

        yield opened
