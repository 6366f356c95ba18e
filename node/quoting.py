"""Libraries quote what they meet in a data set, names of patients among it: of pydicom, pynetdicom and
highdicom only what has gone wrong is wanted, of Python's warnings none of those meant for users."""

from __future__ import annotations

import logging
import warnings

import pydicom  # sets the level of its logger when it is first imported

_LEVELS = {pydicom.__name__: logging.ERROR, "pynetdicom": logging.WARNING, "highdicom": logging.WARNING}


def silence_quotes() -> None:
    """From now on, in this process."""
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
    warnings.filterwarnings("ignore", category=UserWarning)
