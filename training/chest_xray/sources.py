"""Where the two data sets that ``chest-xray`` learns from lie: labels in one, lung masks in another."""

from __future__ import annotations

from pathlib import Path

from training.errors import BrokenDataError

_SIGNS = {
    "nih": ("labels.csv", "images"),
    "nih14": ("train_val_list.txt",),
    "chexpert": ("train.csv",),
    "mimic-cxr": ("files",),
}
_MASKS = ("index.csv", "masks")


def found_in(data: Path, layout: str) -> tuple[list[Path], Path]:
    """The folders of a layout with labels, and the one of layout ``lung-masks``: ``data`` itself, or folders
    in it.

    Raises:
        BrokenDataError: none with labels, or not one with masks.
    """
    labelled = labelled_in(data, layout)
    masked = [folder for folder in _folders(data) if _has(folder, _MASKS)]
    if not labelled or len(masked) != 1:
        raise BrokenDataError(
            f"{data} needs folders with {' and '.join(_SIGNS[layout])} (there are {len(labelled)}), and one "
            f"with index.csv and masks to learn lungs from (there are {len(masked)})"
        )
    return labelled, masked[0]


def labelled_in(data: Path, layout: str) -> list[Path]:
    """The folders of a layout with labels: ``data`` itself, or folders in it."""
    return [folder for folder in _folders(data) if _has(folder, _SIGNS[layout])]


def _folders(data: Path) -> list[Path]:
    return [data, *sorted(path for path in data.iterdir() if path.is_dir())]


def _has(folder: Path, names: tuple[str, ...]) -> bool:
    return all((folder / name).exists() for name in names)
