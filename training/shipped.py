"""Weights to go on from: those of an earlier run, or of a model in service, read back out of its ONNX file.

A network in service has no batch normalisation left: each was folded into the convolution before it, or into
the layer after it. So what comes back is a network that answers as the file does, and whose normalisations
do nothing but add what the convolution before has no bias of its own for. ``recount`` then tells them of the
data, before training begins.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from inference.catalogue import Catalogue, CataloguedModel
from training.begun import noted
from training.errors import BrokenDataError
from training.loop import BEST, Batch, loaded

Weights = Mapping[str, Tensor]
Serve = Callable[[Any], nn.Module]
"""Makes of a network what was exported, and reads its inputs in the same order."""

_KINDS: Mapping[type[nn.Module], str] = {
    nn.Conv2d: "Conv",
    nn.Conv3d: "Conv",
    nn.ConvTranspose2d: "ConvTranspose",
    nn.ConvTranspose3d: "ConvTranspose",
    nn.Linear: "Gemm",
}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_COUNTED = 8


@dataclass(frozen=True)
class _Layer:
    """One that has weights, in an ONNX file, as torch would have them."""

    kind: str
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class _Called:
    """One of a network, and the normalisation that its answer goes to."""

    module: Any
    norm: Any = None


def earlier_weights(
    start: Path | None,
    run: str,
    model: str,
    network: nn.Module,
    serve: Serve,
    *,
    take: Callable[[Any, Weights], object] = nn.Module.load_state_dict,
    options: Mapping[str, str] = {},
) -> Weights | None:
    """What ``network`` is to go on from; None where ``start`` is.

    start: the folder of an earlier run, which keeps these weights under ``run``, or a model repository, which
    keeps them as ``model``. take: how a network takes those of an earlier run. options: what a run was given
    that its weights do not show, such as ``activation``.

    Raises:
        BrokenDataError: ``start`` is neither, or its weights are broken or another network's.
        CatalogueError: the model's card or its file is not sound.
    """
    if start is None:
        return None
    kept = start / run / BEST
    if kept.is_file():
        return _of_run(kept, network, take, options)
    catalogue = Catalogue(start)
    if model not in catalogue.names:
        raise BrokenDataError(
            f"{kept} is missing, and so is {start / model / 'model.yaml'}: --from names what --out of an "
            "earlier run was, or a folder of models as engine.models does, or is the word installed"
        )
    return served_weights(catalogue.find(model), network, serve)


def _of_run(
    kept: Path, network: nn.Module, take: Callable[[Any, Weights], object], options: Mapping[str, str]
) -> Weights:
    before = noted(kept.parent)
    for name, option in options.items():
        if (other := before.get(name, option)) != option:
            raise BrokenDataError(_ANOTHER.format(kept, f"it was trained with --{name} {other}"))
    weights: Weights = loaded(kept)
    try:
        take(copy.deepcopy(network), weights)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise BrokenDataError(_ANOTHER.format(kept, _LAYERS)) from error
    return weights


def served_weights(model: CataloguedModel, network: nn.Module, serve: Serve) -> Weights:
    """The state of a network like ``network`` that answers as ``model`` does.

    The layers of both are paired in the order in which they are computed, and the outcome is held to the
    model's parity sample: to all that it records, or to what of it the network in service still tells, where
    that names its ``outputs``.

    Raises:
        BrokenDataError: the model is another network: of other layers, widths or activations.
        CatalogueError: its file or its parity sample is not sound.
    """
    like = copy.deepcopy(network).eval()
    sample, answers = model.parity_sample()
    inputs = [torch.from_numpy(sample[tensor.tensor]) for tensor in model.card.inputs]
    layers = _layers(model)
    called = _called(like, inputs)
    if [(one.kind, one.weight.shape) for one in layers] != [_form(one.module) for one in called]:
        raise BrokenDataError(_ANOTHER.format(model.weights, _LAYERS))
    with torch.no_grad():
        for norm in (module for module in like.modules() if isinstance(module, _NORMS)):
            _pass_on(norm)
        for layer, own in zip(layers, called, strict=True):
            own.module.weight.copy_(layer.weight)
            holder = own.norm if own.module.bias is None else own.module
            holder.bias.copy_(layer.bias)
        served = serve(like).eval()
        found = [answer.numpy() for answer in served(*inputs)]
    allowed = model.card.parity
    told = getattr(served, "outputs", tuple(tensor.tensor for tensor in model.card.outputs))
    for name, values in zip(told, found, strict=True):
        if name in answers and not np.allclose(values, answers[name], allowed.relative, allowed.absolute):
            reason = f"with its weights, {name} is not what {model.card.parity.sample} recorded"
            raise BrokenDataError(_ANOTHER.format(model.weights, reason))
    weights: Weights = like.state_dict()
    return weights


_LAYERS = "its layers are others, or of other widths"
_ANOTHER = (
    "{} is another network than is trained here: {}; give the --activation and --architecture that it was "
    "trained with, or train without --from"
)


def learned_before(start: Path | None, model: str) -> list[dict[str, Any]]:
    """What the weights of ``start`` learned from, for the card of ``model`` that goes on from them: as their
    own card says it, in a model repository or among the models of an earlier run. Empty without a card."""
    roots = [] if start is None else [start / "models", start]
    root = next((one for one in roots if (one / model / "model.yaml").is_file()), None)
    if root is None:
        return []
    parts = [part.model_dump() for part in Catalogue(root).find(model).card.training_data]
    return [part | {"description": f"{part['description'].removesuffix(_BEFORE)}{_BEFORE}"} for part in parts]


_BEFORE = " (by the weights that these go on from)"


def recount(network: nn.Module, batch: Callable[[int], Batch], takes: int = 1) -> None:
    """Have every batch normalisation hold the mean and the variance of what reaches it, over the first
    batches of a training, and change its scale and shift so that the network in service answers as it did.

    A network in training normalises by the batch: one whose normalisations know other data would start from
    quite other answers. batch: as for ``fit``; its first ``takes`` tensors are what the network takes.
    """
    norms: list[Any] = [module for module in network.modules() if isinstance(module, _NORMS)]
    seen: dict[Any, list[Tensor]] = {norm: [] for norm in norms}

    def count(norm: nn.Module, taken: tuple[Tensor], _: Tensor) -> None:
        values = taken[0].double().transpose(0, 1).flatten(1)
        seen[norm].append(torch.stack([values.mean(1), (values**2).mean(1)]))

    network.eval()
    with _hooked(norms, count), torch.no_grad():
        for number in range(_COUNTED):
            network(*batch(number)[:takes])
        for norm in norms:
            mean, square = torch.stack(seen[norm]).mean(0)
            slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            norm.bias += (mean - norm.running_mean) * slope
            norm.running_mean.copy_(mean)
            norm.running_var.copy_((square - mean**2).clamp(min=0))
            norm.weight.copy_(slope * torch.sqrt(norm.running_var + norm.eps))


def _pass_on(norm: Any) -> None:
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1)
    norm.bias.zero_()


def _form(module: Any) -> tuple[str, torch.Size]:
    return _KINDS[type(module)], module.weight.shape


def _layers(model: CataloguedModel) -> list[_Layer]:
    """Those of the ONNX file in the order in which they are computed."""
    graph = onnx.load_from_string(model.weights_bytes()).graph
    values = {one.name: one for one in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in _KINDS.values():
            held = [
                torch.from_numpy(numpy_helper.to_array(values[k]).copy())
                for k in node.input[1:]
                if k in values
            ]
            found += [_Layer(node.op_type, held[0], held[1] if held[1:] else torch.zeros(1))] if held else []
    return found


def _called(network: nn.Module, inputs: Sequence[Tensor]) -> list[_Called]:
    """Those of the network in the order in which they are called."""
    found: list[_Called] = []
    answer: Tensor | None = None

    def note(module: nn.Module, taken: tuple[Tensor], given: Tensor) -> None:
        nonlocal answer
        if type(module) in _KINDS:
            found.append(_Called(module))
            answer = given
        elif taken[0] is answer:
            found[-1] = _Called(found[-1].module, module)

    with _hooked([m for m in network.modules() if isinstance(m, (*_KINDS, *_NORMS))], note), torch.no_grad():
        network(*inputs)
    return found


@contextmanager
def _hooked(modules: Iterable[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    """``hook(module, inputs, answer)`` whenever one of ``modules`` is called."""
    hooks = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()
