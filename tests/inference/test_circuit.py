"""The circuit keeps calls from a failing server and lets them back by itself."""

from inference.engine.circuit import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Circuit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_calls_flow_while_they_succeed() -> None:
    circuit = Circuit(Clock())
    for _ in range(5):
        assert circuit.admit()
        circuit.succeeded()
    assert circuit.seconds_open == 0


def test_a_failure_stops_calls_for_a_pause_then_one_may_try() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    circuit.failed()
    assert not circuit.admit()
    clock.now += circuit.seconds_open
    assert circuit.admit()
    assert not circuit.admit()


def test_the_pause_doubles_up_to_its_limit() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    pauses = []
    for _ in range(9):
        circuit.failed()
        pauses.append(circuit.seconds_open)
        clock.now += circuit.seconds_open
        assert circuit.admit()
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_the_first_success_lets_every_call_back() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for _ in range(4):
        circuit.failed()
    clock.now += circuit.seconds_open
    assert circuit.admit()
    circuit.succeeded()
    assert circuit.admit()
    assert circuit.admit()
    circuit.failed()
    assert circuit.seconds_open == FIRST_PAUSE_SECONDS


def test_calls_that_fail_together_count_as_one_failure() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    for _ in range(6):
        assert circuit.admit()
    for _ in range(6):
        circuit.failed()
    assert circuit.seconds_open == FIRST_PAUSE_SECONDS
