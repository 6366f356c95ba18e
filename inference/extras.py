"""Parts that not every site needs, each an extra of this package: how one is had where it is missing."""

from __future__ import annotations

import sys
from pathlib import Path

_SOURCES = Path(__file__).parents[1]


def install_command(extra: str) -> str:
    """What brings an extra into the environment we run in. It is had from our sources and nowhere else: what
    a package index holds under our name is not ours."""
    pip = f"{sys.executable} -m pip install"
    if (_SOURCES / "pyproject.toml").exists():
        return f"`{pip} --editable '{_SOURCES}[{extra}]'`"
    return f"`{pip} '.[{extra}]'` in the folder of Overread's sources"
