"""Whether an error in reading a file is the file's, or the machine's at the moment."""

from __future__ import annotations

import errno
from pathlib import Path

from storage.archive import FOLDERS

_OF_ONE_FILE = errno.EIO, errno.EACCES
_OF_A_SERVER = errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN  # that a disk is mounted from
IN_TROUBLE = *_OF_ONE_FILE, *_OF_A_SERVER, errno.EMFILE, errno.ENFILE, errno.ENOMEM
"""What the system answers that may pass: a disk or a server in trouble, too many open files, no memory."""


def is_of_file(path: Path, error: Exception) -> bool:
    """Whether it is for good: the file is gone though its archive is there, it is no file, or what it holds
    makes no sense."""
    if isinstance(error, FileNotFoundError):
        return _is_mounted(path)
    return not (isinstance(error, OSError) and error.errno in IN_TROUBLE)


def may_be_of_one_file(error: Exception) -> bool:
    """Whether what may pass may also stay as it is, with a file that the disk does not give out while it
    gives out the others."""
    return isinstance(error, OSError) and error.errno in _OF_ONE_FILE


def _is_mounted(path: Path) -> bool:
    """Whether what keeps the file is there: the folder of its archive, such as ``images``, which a root lacks
    that is not mounted; outside an archive, the file's own folder."""
    of_archive = (folder for folder in path.parents if folder.name in FOLDERS)
    return next(of_archive, path.parent).is_dir()
