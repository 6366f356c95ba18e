"""Where the two data sets that ``chest-xray`` learns from lie: labels in one, lung masks in another."""

from __future__ import annotations

import logging
from pathlib import Path

from training.datasets.layouts import LAYOUTS
from training.errors import BrokenDataError

_log = logging.getLogger(__name__)
_OUTLINED = ("lung-masks", "montgomery", "jsrt")


def found_in(data: Path, layout: str) -> tuple[list[Path], Path | None]:
    """The folders of a layout with labels, and the one with lung masks, None where there is none: ``data``
    itself, or folders in it. A line of the log tells what the lungs are learned from.

    Raises:
        BrokenDataError: masks in several folders.
    """
    masked = [folder for folder in _folders(data) if outlined_as(folder)]
    if len(masked) > 1:
        raise BrokenDataError(
            f"{data} holds lung masks in {len(masked)} folders, where one is learned from: "
            f"{', '.join(map(str, masked))}"
        )
    masks = masked[0] if masked else None
    if masks:
        _log.warning(
            "lungs are learned from %s, laid out as %s, and from phantoms", masks, outlined_as(masks)
        )
    else:
        _log.warning(
            "lungs are learned from phantoms alone: %s holds no folder of layout %s",
            data,
            ", ".join(_OUTLINED),
        )
    return labelled_in(data, layout), masks


def labelled_in(data: Path, layout: str) -> list[Path]:
    """The folders of a layout with labels: ``data`` itself, or else those in it; ``data``, whatever is
    wrong with it, where there are none."""
    itself, *inner = _folders(data)
    if LAYOUTS[layout].is_begun(itself):
        return [itself]
    return [folder for folder in inner if LAYOUTS[layout].is_begun(folder)] or [itself]


def outlined_as(folder: Path) -> str | None:
    """The layout with lung masks that a folder is of, if any."""
    return next((layout for layout in _OUTLINED if LAYOUTS[layout].is_whole(folder)), None)


def _folders(data: Path) -> list[Path]:
    return [data, *sorted(path for path in data.iterdir() if path.is_dir())]
