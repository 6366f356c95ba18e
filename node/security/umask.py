"""Who else on this machine may read the files that are made: the node's group, and nobody beyond."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

OTHERS = 0o027  # the group writes nothing; others read and write nothing


@contextmanager
def private_files() -> Iterator[None]:
    """What is made meanwhile, images, databases and results, is nothing to others. It holds of the whole
    process; a stricter umask stays as it is."""
    before = os.umask(OTHERS)
    os.umask(before | OTHERS)
    try:
        yield
    finally:
        os.umask(before)
