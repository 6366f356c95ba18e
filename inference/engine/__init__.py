"""Runs a named model: the one seam between a reader and wherever its network lives."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from inference.extras import install_command

if TYPE_CHECKING:
    from inference.catalogue import Catalogue

Tensors = Mapping[str, npt.NDArray[np.generic]]


class EngineError(RuntimeError):
    """The engine could not run a model: the message names the model, the cause and what to do."""


class Engine(Protocol):
    """Where models run. Tensor names and dtypes are those of the model's ``config.pbtxt``."""

    @property
    def at_once(self) -> int:
        """How many calls are worth having under way at a time, from as many threads."""
        ...

    def infer(self, model: str, inputs: Tensors) -> Tensors:
        """Run ``model`` once over whole tensors.

        Raises:
            EngineError: unknown model, wrong inputs, or the runtime failed.
        """
        ...

    def health(self) -> str | None:
        """None when every model can be served, else one sentence that says what is wrong."""
        ...

    def close(self) -> None: ...


def infer_each(engine: Engine, model: str, inputs: Iterable[Tensors]) -> Iterator[Tensors]:
    """``engine.infer`` for each of independent ``inputs``, in their order. As many calls overlap as the
    engine takes at once; meanwhile the next inputs are made, and answers that are there are made use of.

    Raises:
        EngineError: see ``Engine.infer``.
    """
    with ThreadPoolExecutor(engine.at_once) as pool:
        under_way: deque[Future[Tensors]] = deque()
        for one in inputs:
            answer = under_way.popleft().result() if len(under_way) == engine.at_once else None
            under_way.append(pool.submit(engine.infer, model, one))
            if answer is not None:
                yield answer
        while under_way:
            yield under_way.popleft().result()


class EngineChoice(Protocol):
    """What `open_engine` needs to know: ``[engine]`` in the settings."""

    @property
    def kind(self) -> Literal["embedded", "triton"]: ...

    @property
    def provider(self) -> Literal["onnxruntime", "openvino"]:
        """What runs an embedded model."""
        ...

    @property
    def url(self) -> str | tuple[str, ...]:
        """gRPC addresses of Triton servers that serve the same models."""
        ...

    @property
    def threads(self) -> int: ...

    @property
    def triton(self) -> Iterable[tuple[str, Any]]:
        """Names and values of `inference.engine.options.TritonOptions`."""
        ...


def open_engine(choice: EngineChoice, catalogue: Catalogue) -> Engine:
    """The engine of the settings; close it when done.

    Raises:
        EngineError: it needs a part that is not installed, or a file that cannot be read.
    """
    if choice.kind == "embedded":
        from inference.engine.embedded import EmbeddedEngine

        return EmbeddedEngine(catalogue, choice.threads, choice.provider)
    try:
        from inference.engine.triton import TritonEngine
    except ImportError as error:
        raise EngineError(
            f"engine.kind is triton, whose client is not installed: {install_command('triton')} brings it"
        ) from error
    from inference.engine.options import TritonOptions

    urls = (choice.url,) if isinstance(choice.url, str) else choice.url
    return TritonEngine(urls, catalogue, TritonOptions(**dict(choice.triton)))
