"""What measures a task's models on one layout of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from inference.catalogue import Catalogue

Evaluation = Callable[[Path | None, str, Path | None, Catalogue], dict[str, Any]]
"""Takes the folder of data, the split (empty for the layout's own), a folder for pictures, and the models;
returns figures ready for JSON."""

Layouts = Mapping[str, Evaluation]
"""By name, as ``--layout`` gives it."""
