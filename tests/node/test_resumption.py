"""What was left unread is come back to, whatever came between."""

from __future__ import annotations

import threading

from node.resumption import Resumption


def test_it_looks_again_and_again_also_after_a_look_that_failed() -> None:
    looks: list[int] = []
    third = threading.Event()

    def take_up() -> None:
        looks.append(len(looks))
        if len(looks) == 1:
            raise RuntimeError("the database is away")
        if len(looks) == 3:
            third.set()

    resumption = Resumption(take_up, seconds=0.01)
    resumption.start()
    assert third.wait(20)
    resumption.stop()
