"""The models a node can run: reads and checks ``triton_models/NAME/model.yaml`` and the weights beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import ValidationError

from inference.card import ModelCard
from inference.findings import Model

SHIPPED_MODELS = Path(__file__).resolve().parents[1] / "triton_models"


class CatalogueError(ValueError):
    """The model repository is not as it should be; the message names the file and what to do."""


@dataclass(frozen=True)
class CataloguedModel:
    """A model's card and where it lies."""

    card: ModelCard
    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / str(self.card.version) / "model.onnx"

    @property
    def identity(self) -> Model:
        """What a reading says of the weights that made it."""
        return Model(self.card.name, str(self.card.version), self.card.sha256)

    @property
    def behaviour(self) -> str:
        """SHA-256, in hex, of the weights and of what the card says of their use: how inputs are prepared,
        what outputs mean, thresholds and constants. Figures and explanations are not part of it."""
        said = self.card.model_dump(
            mode="json",
            include={"name", "version", "sha256", "inputs", "outputs", "operating_points", "postprocess"},
        )
        for part in (*said["inputs"], *said["outputs"], *said["operating_points"].values()):
            for explained in ("description", "shapes", "chosen_for"):
                part.pop(explained, None)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def weights_bytes(self) -> bytes:
        """The ONNX file, whose sha256 is the card's.

        Raises:
            CatalogueError: no file, or other weights than the card was written for.
        """
        try:
            weights = self.weights.read_bytes()
        except OSError as error:
            raise CatalogueError(
                f"{self.weights}: the weights of {self.card.name} cannot be read ({error.strerror}); "
                "install Overread again or copy the model folder whole"
            ) from error
        if (found := hashlib.sha256(weights).hexdigest()) != self.card.sha256:
            raise CatalogueError(
                f"{self.weights}: sha256 is {found[:12]}… where model.yaml says {self.card.sha256[:12]}…; "
                "the weights are damaged or belong to another version"
            )
        return weights

    def parity_sample(self) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, npt.NDArray[np.generic]]]:
        """Recorded inputs and outputs by tensor name."""
        path = self.folder / self.card.parity.sample
        try:
            with np.load(path, allow_pickle=False) as sample:
                inputs = {t.tensor: sample[f"inputs/{t.tensor}"] for t in self.card.inputs}
                outputs = {t.tensor: sample[f"outputs/{t.tensor}"] for t in self.card.outputs}
        except (OSError, KeyError, ValueError) as error:
            raise CatalogueError(f"{path}: the parity sample cannot be read: {error}") from error
        return inputs, outputs


class Catalogue:
    """The models under ``root``, each read when first asked for and kept."""

    def __init__(self, root: Path | None = None) -> None:
        """``root`` is the model repository; None for the one that came with Overread.

        Raises:
            CatalogueError: there is no such folder.
        """
        self.root = SHIPPED_MODELS if root is None else root
        if not self.root.is_dir():
            raise CatalogueError(f"{self.root}: no such folder of models; see engine.models in the settings")
        self._models: dict[str, CataloguedModel] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every folder that holds a ``model.yaml``, in order."""
        return tuple(sorted(path.parent.name for path in self.root.glob("*/model.yaml")))

    def __iter__(self) -> Iterator[CataloguedModel]:
        return (self.find(name) for name in self.names)

    def find(self, name: str) -> CataloguedModel:
        """The model ``name``.

        Raises:
            CatalogueError: there is none, or its ``model.yaml`` is not sound.
        """
        if name not in self._models:
            if name not in self.names:
                known = ", ".join(self.names) or "none"
                raise CatalogueError(f"{self.root}: there is no model {name!r}; there are: {known}")
            self._models[name] = read_model(self.root / name)
        return self._models[name]

    def problems(self) -> list[str]:
        """What is wrong with the repository, one sentence for each model; empty when all is well."""
        found = [] if self.names else [f"{self.root}: holds no models (NAME/model.yaml)"]
        for name in self.names:
            try:
                self.find(name).weights_bytes()
            except CatalogueError as error:
                found.append(str(error))
        return found


def read_model(folder: Path) -> CataloguedModel:
    """The model in ``folder``, its card checked.

    Raises:
        CatalogueError: ``model.yaml`` is missing, is not YAML, or does not follow the schema.
    """
    path = folder / "model.yaml"
    try:
        card = ModelCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CatalogueError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path}: is not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'model'}: {e['msg']} (found {str(e['input'])[:60]!r})"
            for e in error.errors()
        )
        raise CatalogueError(f"{path}: {wrong}") from error
    if card.name != folder.name:
        raise CatalogueError(
            f"{path}: name is {card.name!r} but the folder is {folder.name!r}; make them the same"
        )
    return CataloguedModel(card, folder)
