"""Weights that a training of ``pet-ct`` goes on from."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper

from inference.catalogue import Catalogue, CataloguedModel
from inference.readers.pet_ct import HISTOLOGY, HOT_SPOTS
from training.loop import BEST
from training.pet_ct.network import UNWEIGHTED, HotSpotNetwork, HotSpotsForService, Weights, load_judging
from training.shipped import Weights as EarlierWeights
from training.shipped import earlier_weights


def weights_of(start: Path | None, run: str, activation: str, *, typed: bool) -> EarlierWeights | None:
    """What a network that is ``typed`` or not goes on from; None where ``start`` is. Those weights may be of
    one that is typed or not: see ``load_judging``.

    Raises:
        BrokenDataError, CatalogueError: as ``training.shipped.earlier_weights``.
    """
    model = None if start is None or (start / run / BEST).is_file() else _model_in(start)
    weights = UNWEIGHTED if model is None else shared_by(model)
    return earlier_weights(
        start,
        run,
        HOT_SPOTS,
        HotSpotNetwork(activation, typed=typed if model is None else is_typed(model)),
        lambda network: HotSpotsForService(network, weights),
        take=load_judging,
        options={"activation": activation},
    )


def is_typed(model: CataloguedModel) -> bool:
    """Whether a model in service says histologies."""
    return any(output.tensor == HISTOLOGY for output in model.card.outputs)


def shared_by(model: CataloguedModel) -> Weights:
    """The constant and the factors by which a model in service shares a lesion's probability between benign
    and malignant, as ``HotSpotsForService`` takes them; one that does not do so shares as one that is not
    fitted."""
    graph = onnx.load_from_string(model.weights_bytes()).graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    shared = next((node for node in graph.node if node.op_type == "MatMul" and node.input[1] in values), None)
    added = next((node for node in graph.node if shared and shared.output[0] in node.input), None)
    if shared is None or added is None:
        return UNWEIGHTED
    constant = next((float(values[name]) for name in added.input if name in values), 0.0)
    return constant, *(float(factor) for factor in values[shared.input[1]].ravel())


def _model_in(start: Path) -> CataloguedModel | None:
    catalogue = Catalogue(start)
    return catalogue.find(HOT_SPOTS) if HOT_SPOTS in catalogue.names else None
