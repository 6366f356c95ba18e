"""How good the readers are, by the field's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluate.layouts import measure_of

if TYPE_CHECKING:
    from inference.catalogue import Catalogue


def evaluate(
    task: str,
    data: Path | None,
    layout: str,
    split: str = "",
    out: Path | None = None,
    catalogue: Catalogue | None = None,
) -> dict[str, Any]:
    """Figures of a reader on a data set, ready for JSON; ``models`` among them says where its networks lie,
    unless they are the shipped ones.

    Args:
        task: a reader's name. layout: how ``data`` is laid out; ``phantom`` needs none.
        split: which part of it; the layout's own default where empty.
        out: a folder for pictures; None for none.
        catalogue: the models to measure; None for the shipped ones.

    Raises:
        TaskError: an unknown task, layout or split, or data that is not laid out so.
        CatalogueError: a model that the reader needs is not in the catalogue, or its card is not sound.
    """
    measure = measure_of(task, layout, split)
    from inference.catalogue import SHIPPED_MODELS, Catalogue
    from inference.readers import READERS

    catalogue = catalogue or Catalogue()
    for model in READERS[task].models if task in READERS else ():
        catalogue.find(model)
    figures = measure.imported()(data, split, out, catalogue)
    root = catalogue.root.resolve()
    return figures if root == SHIPPED_MODELS else {**figures, "models": str(root)}
