"""A series as what it is: a volume, or pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from inference.picture import load_pictures
from inference.volume import Volume, load_volume

_PICTURES = frozenset({"CR", "DX", "ES", "XC", "SC", "OT", "GM", "RG"})


def load_series(paths: Sequence[Path]) -> Volume:
    """A volume of CT or PET slices, or ``Pictures`` of any other modality we know.

    Raises:
        UnreadableSeriesError: see ``load_volume`` and ``load_pictures``.
    """
    return load_pictures(paths) if any(map(_is_picture, paths[:1])) else load_volume(paths)


def _is_picture(path: Path) -> bool:
    try:
        return pydicom.dcmread(path, specific_tags=["Modality"]).get("Modality") in _PICTURES
    except (InvalidDicomError, OSError, EOFError):
        return False
