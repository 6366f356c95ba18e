"""Keeps what is derived from each ``model.yaml`` in step with it.

``python -m inference.model_repository`` writes every ``config.pbtxt``, the tables of every README and the
JSON schema of ``model.yaml``; with ``--check`` it only tells what is out of step.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from inference.card import ModelCard
from inference.card_tables import readme
from inference.catalogue import Catalogue, CataloguedModel, CatalogueError
from inference.triton_config import DEPLOYMENTS, config, config_path

SCHEMA_FILE = "model.schema.json"


def derived(catalogue: Catalogue) -> dict[Path, str]:
    """Every derived file and what it should hold."""
    files = {catalogue.root / SCHEMA_FILE: json.dumps(ModelCard.model_json_schema(), indent=1) + "\n"}
    for model in catalogue:
        files |= _derived_from(model)
    return files


def stale(catalogue: Catalogue) -> list[Path]:
    """The derived files that are missing or do not follow their ``model.yaml``."""
    return [path for path, text in derived(catalogue).items() if _text(path) != text]


def sync(catalogue: Catalogue) -> list[Path]:
    """Write what is stale; returns the files written."""
    files = derived(catalogue)
    written = [path for path, text in files.items() if _text(path) != text]
    for path in written:
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    return written


def _derived_from(model: CataloguedModel) -> dict[Path, str]:
    files = {model.folder / config_path(kind): config(model.card, kind) for kind in DEPLOYMENTS}
    page = model.folder / "README.md"
    files[page] = readme(model.card, _text(page))
    return files


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.model_repository", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, help="the model repository; the shipped one by default")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if anything is out of step"
    )
    options = parser.parse_args(arguments)
    try:
        catalogue = Catalogue(options.root)
        found = stale(catalogue) if options.check else sync(catalogue)
    except CatalogueError as error:
        print(error, file=sys.stderr)
        return 2
    for path in found:
        print(f"{path}: {'out of step with model.yaml' if options.check else 'written'}")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
