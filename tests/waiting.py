"""Waits for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(look: Callable[[], Any], seconds: float = 150, told: Callable[[], object] = lambda: "") -> Any:
    """What ``look`` gives once it gives anything; ``told`` says how things stand where it never does."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
    return found
