"""The programs the tests talk to: where they are, and what happens when one is absent."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

FILES = {
    "pixelmed": "/usr/share/java/pixelmed.jar",
    "orthanc-dicomweb": "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
}
POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def absent(reason: str) -> NoReturn:
    """Skip the test; with ``CI=true``, where every part has to be there, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (with CI=true every part must be present)", pytrace=False)
    pytest.skip(reason)


def find(name: str) -> Path | None:
    """Where ``name`` is: a program on the PATH, or one of ``FILES``, or a program of PostgreSQL's."""
    if name in FILES:
        path = Path(FILES[name])
        return path if path.exists() else None
    beside_python = str(Path(sys.executable).parent)
    if program := shutil.which(name) or shutil.which(name, path=beside_python):
        return Path(program)
    if name in ("initdb", "pg_ctl", "postgres"):
        homes = (
            home for pattern in POSTGRES_FOLDERS for home in sorted(Path("/").glob(pattern[1:]), reverse=True)
        )
        return next((home / name for home in homes if (home / name).exists()), None)
    return None


def require(name: str) -> Path:
    """Like ``find``, but ends the test when the program is absent."""
    return find(name) or absent(f"{name} is not installed; `make system` lists what the tests use")


def is_present(name: str) -> bool:
    """Whether ``name`` is a program that is installed or a Python module that can be imported."""
    return find(name) is not None or (name.isidentifier() and importlib.util.find_spec(name) is not None)
