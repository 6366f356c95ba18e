"""Where those wait who were refused too often, before they hear it again."""

from __future__ import annotations

import asyncio

SECONDS, PLACES = 1.0, 100  # of MOST_CONNECTIONS, so that there is room for others


class WaitingRoom:
    """Keeps each for ``seconds``, which costs no thread and next to no memory, and ``places`` of them at
    once; who finds none free waits not at all."""

    def __init__(self, seconds: float = SECONDS, places: int = PLACES) -> None:
        self._seconds = seconds
        self._free = places

    async def wait(self) -> None:
        if not self._free:
            return
        self._free -= 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._free += 1
