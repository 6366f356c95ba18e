"""Whether an error in reading a file is the file's, or the machine's at the moment."""

from __future__ import annotations

from pathlib import Path


def is_of_file(path: Path, error: Exception) -> bool:
    """Whether it is for good: the file is gone though its folder is there, or what it holds makes no sense.
    Whatever else the system answers may pass: too many open files, a disk in trouble, a server away."""
    if isinstance(error, FileNotFoundError):
        return path.parent.is_dir()
    return not isinstance(error, OSError) or error.errno is None
