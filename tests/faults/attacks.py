"""What strangers try, and what a normal sender notices of it: `python -m tests.faults.attacks --help`.

A receiver that speaks TLS and a status page with a login run in a process of their own. A known sender sends
CT images over TLS, undisturbed and while an attack goes on, in turn; printed are how many attempts were made
and refused, what the node wrote down, and the median of the paired ratios of speed, beside one that nobody
attacked for, which tells what the machine does by itself. Not withstood is an attack that was once let in,
that nothing is written down of, or that costs the sender more than a fifth of its speed; what it keeps while
all go on at once is only told, for they share its processor.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Event
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.audit import AuditFilter, newest
from storage.database import Database
from storage.tables import Instance, Refusal
from tests.databases import add_choice_of_database, databases_of
from tests.faults.known_sender import KnownSender
from tests.faults.strangers import ATTACKS, Target, node_in, unrecorded

SPEED_KEPT = 0.8  # of the known sender's, at the least
ALL, NOBODY = "all at once", "none, to compare"
TURNS = 3  # of a round
SECONDS_ALONE = 3.0  # that an attack goes on while nobody sends
SECONDS_TO_START, SECONDS_TO_END = 60.0, 60.0  # for the process of an attack


@dataclass(frozen=True)
class Withstood:
    """attempts and let_in: of all attacks; unrecorded: attacks nothing is written down of; is_served: the
    known sender, after each of them."""

    attempts: int
    let_in: list[str]
    unrecorded: list[str]
    is_served: bool


def withstand(attempts: int, folder: Path, url: str) -> Withstood:
    """Every attack a few times, one after another, without looking at the clock."""
    let_in, is_served = [], True
    with node_in(folder, url) as target:
        sender = KnownSender(target, 2)
        for name, kind in ATTACKS.items():
            attempt = kind.make(target)
            let_in += [name for _ in range(attempts) if not attempt()]
            is_served &= sender.send() > 0
        silent = unrecorded(list(ATTACKS), url)
    return Withstood(attempts * len(ATTACKS), let_in, silent, is_served)


@dataclass(frozen=True)
class Reins:
    """Of an attack in a process of its own: it is made while ``go`` is set, and ends with ``stop``.
    ``counts``: how many attempts were made, and how many refused."""

    ready: Event
    go: Event
    stop: Event
    counts: SynchronizedArray[int]

    @property
    def attempts(self) -> int:
        return self.counts[0]


def attack(name: str, target: Target, reins: Reins) -> None:
    kind = ATTACKS[name]
    attempt = kind.make(target)

    def go_on() -> None:
        while reins.go.wait() and not reins.stop.is_set():
            time.sleep(kind.pause)
            refused = attempt()
            with reins.counts.get_lock():
                reins.counts[0] += 1
                reins.counts[1] += refused

    hands = [threading.Thread(target=go_on) for _ in range(kind.at_once)]
    reins.ready.set()
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()


class AttackerLostError(RuntimeError):
    """An attack is not made, or not any more, and figures would tell of nothing."""


class Attackers:
    """A process for each of ``names``, that does nothing but while it is told to."""

    def __init__(self, names: list[str], target: Target) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.reins = {
            name: Reins(spawn.Event(), spawn.Event(), spawn.Event(), spawn.Array("i", 2)) for name in names
        }
        self._processes = {
            name: spawn.Process(target=attack, args=(name, target, reins))
            for name, reins in self.reins.items()
        }

    def __enter__(self) -> Self:
        """
        Raises:
            AttackerLostError: one died, or is not ready within ``SECONDS_TO_START``.
        """
        for process in self._processes.values():
            process.start()
        until = time.monotonic() + SECONDS_TO_START
        try:
            for name, reins in self.reins.items():
                while not reins.ready.wait(0.1):
                    self.check()
                    if time.monotonic() > until:
                        raise AttackerLostError(f"{name!r} is not ready after {SECONDS_TO_START:g} seconds")
        except AttackerLostError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for name, process in self._processes.items():
            if process.is_alive():  # who sets an event that a killed process waits for waits for ever
                self.reins[name].stop.set()
                self.reins[name].go.set()
        for process in self._processes.values():
            process.join(SECONDS_TO_END)
            process.kill()

    def check(self) -> None:
        """
        Raises:
            AttackerLostError: a process has ended, though nobody told it to.
        """
        for name, process in self._processes.items():
            if process.exitcode is not None:
                raise AttackerLostError(
                    f"the attack {name!r} has ended by itself (exit code {process.exitcode}); "
                    "what its process wrote above tells why"
                )

    @contextmanager
    def at_it(self) -> Iterator[None]:
        """
        Raises:
            AttackerLostError: one died before, or meanwhile.
        """
        self.check()
        for reins in self.reins.values():
            reins.go.set()
        yield
        self.check()
        for reins in self.reins.values():
            reins.go.clear()

    @property
    def attempts(self) -> int:
        return sum(reins.attempts for reins in self.reins.values())


@dataclass(frozen=True)
class Kept:
    """Of the sender's speed, under attack, in each round; and the processor's milliseconds that one attempt
    costs the node; None without any."""

    rounds: list[float]
    attempt_ms: float | None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


def measure(
    names: list[str], target: Target, sender: KnownSender, rounds: int, made: dict[str, Counter[str]]
) -> Kept:
    with Attackers(names, target) as attackers:
        sender.send()
        kept = [_round(attackers, sender) for _ in range(rounds)]
        attempt_ms = cost(attackers, target, made)
    for name, reins in attackers.reins.items():
        made[name] += Counter(attempts=reins.counts[0], refused=reins.counts[1])
    return Kept(kept, attempt_ms)


def _round(attackers: Attackers, sender: KnownSender) -> float:
    """The sender's speed under attack to that without, each over ``2 * TURNS`` studies, in an order by which
    a machine that grows faster or slower is so for both."""
    calm = attacked = 0.0
    for _ in range(TURNS):
        calm += sender.send()
        with attackers.at_it():
            attacked += sender.send() + sender.send()
        calm += sender.send()
    return calm / attacked


def cost(attackers: Attackers, target: Target, made: dict[str, Counter[str]]) -> float | None:
    """Of an attempt, in ms of processor time of the node, while nobody sends; until as many were made as it
    takes.

    Raises:
        AttackerLostError: an attacker died.
    """
    if not attackers.reins:
        return None
    start, before = target.cpu_seconds(), attackers.attempts
    until = time.monotonic() + SECONDS_ALONE
    with attackers.at_it():
        while time.monotonic() < until or any(
            made[name]["attempts"] + reins.attempts < ATTACKS[name].at_least
            for name, reins in attackers.reins.items()
        ):
            attackers.check()
            time.sleep(0.1)
    return 1000 * (target.cpu_seconds() - start) / max(1, attackers.attempts - before)


def run(rounds: int, count: int, names: list[str], kind: str) -> bool:
    """Print the figures; whether all was withstood."""
    made = {name: Counter[str]() for name in names}
    groups = {NOBODY: [], **{name: [name] for name in names}}
    if len(names) > 1:
        groups[ALL] = names
    slowed: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="overread-attacks-", dir="/dev/shm") as scratch,
        databases_of(kind) as databases,
        databases.new(Path(scratch)) as url,
    ):
        print(f"{'attack':30}{'speed kept':>12}{'(least-most)':>15}{'ms/attempt':>12}")
        with node_in(Path(scratch), url) as target:
            sender = KnownSender(target, count)
            for label, group in groups.items():
                kept = measure(group, target, sender, rounds, made)
                spread = f"({min(kept.rounds):.0%}-{max(kept.rounds):.0%})"
                cost = "" if kept.attempt_ms is None else f"{kept.attempt_ms:12.1f}"
                print(f"{label:30}{kept.median:>12.0%}{spread:>15}{cost}", flush=True)
                if kept.median < SPEED_KEPT and label in names:
                    slowed.append(label)
            silent = unrecorded(names, url)
        report(url, made)
    let_in = [name for name, one in made.items() if one["attempts"] != one["refused"]]
    for what, which in (("let in", let_in), ("not written down", silent), ("slowed the sender", slowed)):
        if which:
            print(f"Not withstood, {what}: {', '.join(which)}")
    return not (let_in or silent or slowed)


def report(url: str, made: dict[str, Counter[str]]) -> None:
    """Print what was tried, and what the node wrote down."""
    database = Database(url)
    with database.snapshot() as session:
        reasons = Counter(
            (refusal.status, refusal.reason.partition(" (")[0][:90]) for refusal in session.query(Refusal)
        )
        stored, entries = session.query(Instance).count(), newest(session, AuditFilter(), 100_000)
    database.close()
    print(f"\n{'attack':30}{'attempts':>10}{'refused':>9}")
    for name, one in made.items():
        print(f"{name:30}{one['attempts']:>10}{one['refused']:>9}")
    print(f"\n{stored} images of the known sender are stored. Written down:")
    for (status, reason), times in reasons.most_common():
        print(f"  {times:4} × 0x{status:04X} {reason}")
    print(f"  in the audit trail: {dict(Counter(entry.kind for entry in entries))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help=f"of {4 * TURNS} studies each")
    parser.add_argument("--count", type=int, default=200, help="images of 0.5 MB in a study")
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    add_choice_of_database(parser)
    chosen = parser.parse_args()
    sys.exit(0 if run(chosen.rounds, chosen.count, chosen.attacks, chosen.database) else 1)


if __name__ == "__main__":
    main()
