"""Independent calls of an engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from inference.engine import EngineError, Tensors, infer_each


class Meeting:
    """An engine each of whose calls waits until ``at_once`` of them are under way."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._all_here = threading.Barrier(at_once, timeout=20)

    def infer(self, model: str, inputs: Tensors) -> Tensors:
        self._all_here.wait()
        if not inputs["x"].any():
            raise EngineError("nothing to see")
        return {"y": 10 * inputs["x"]}

    def health(self) -> str | None:
        return None

    def close(self) -> None: ...


def numbers(*wanted: int) -> Iterator[Tensors]:
    return ({"x": np.array([number])} for number in wanted)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_answers_come_in_order_while_calls_overlap(at_once: int) -> None:
    answers = infer_each(Meeting(at_once), "network", numbers(1, 2, 3, 4, 5, 6))
    assert [int(answer["y"][0]) for answer in answers] == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_call_that_fails_is_said_in_its_turn(at_once: int) -> None:
    answers = infer_each(Meeting(at_once), "network", numbers(1, 0))
    assert int(next(answers)["y"][0]) == 10
    with pytest.raises(EngineError, match="nothing to see"):
        next(answers)


def test_the_next_inputs_are_made_while_a_call_is_under_way() -> None:
    made = threading.Event()

    class Patient(Meeting):
        def infer(self, model: str, inputs: Tensors) -> Tensors:
            assert inputs["x"][0] == 2 or made.wait(20), "nobody makes the second input"
            return super().infer(model, inputs)

    def inputs() -> Iterator[Tensors]:
        yield {"x": np.array([1])}
        made.set()
        yield {"x": np.array([2])}

    assert [int(one["y"][0]) for one in infer_each(Patient(1), "network", inputs())] == [10, 20]


def test_after_a_call_that_failed_no_other_is_begun() -> None:
    begun: list[int] = []

    class Noted(Meeting):
        def infer(self, model: str, inputs: Tensors) -> Tensors:
            begun.append(int(inputs["x"][0]))
            return super().infer(model, inputs)

    with pytest.raises(EngineError, match="nothing to see"):
        list(infer_each(Noted(1), "network", numbers(0, 1, 2)))
    assert begun == [0]
