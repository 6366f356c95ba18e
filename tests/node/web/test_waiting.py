"""Who is made to wait for a refusal, and who is not."""

from __future__ import annotations

import asyncio

from node.web.waiting import WaitingRoom

LONG = 3600.0  # seconds: longer than any test
SOON = 10.0


def test_each_place_is_taken_by_one_and_whoever_finds_none_does_not_wait() -> None:
    async def come_and_go() -> None:
        room = WaitingRoom(LONG, places=2)
        waiting = [asyncio.create_task(room.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.wait_for(room.wait(), SOON)
        assert not any(one.done() for one in waiting)
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(room.wait()))  # in the place that is free again
        await asyncio.sleep(0)
        await asyncio.wait_for(room.wait(), SOON)
        assert not any(one.done() for one in waiting)
        for one in waiting:
            one.cancel()

    asyncio.run(come_and_go())


def test_a_wait_ends_by_itself_and_frees_its_place() -> None:
    async def come_twice() -> None:
        room = WaitingRoom(0.001, places=1)
        for _ in range(2):
            await asyncio.wait_for(room.wait(), SOON)
        room = WaitingRoom(LONG, places=0)
        await asyncio.wait_for(room.wait(), SOON)

    asyncio.run(come_twice())
