"""What strangers try, and what a normal sender notices of it: `python -m tests.faults.attacks --help`.

A receiver that speaks TLS and a status page with a login run in a process of their own. A known sender sends
CT images over TLS, undisturbed and while an attack goes on, in turn; printed are how many attempts were made
and refused, what the node wrote down, and the median of the paired ratios of speed. Not withstood is an
attack that was once let in, that nothing is written down of, or that costs the sender more than a fifth of
its speed; what it keeps while all go on at once is only told, for they share its processor.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from storage.audit import AuditFilter, newest
from storage.database import Database
from storage.tables import Instance, Refusal
from tests.databases import add_choice_of_database, databases_of
from tests.faults.strangers import ATTACKS, Target, node_in, unrecorded
from tests.node.intake.senders import ct_slice

SPEED_KEPT = 0.8  # of the known sender's, at the least
ALL = "all at once"


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
    (folder / "out").mkdir(parents=True)
    let_in, is_served = [], True
    with node_in(folder, url) as target:
        for name, kind in ATTACKS.items():
            attempt = kind.make(target)
            let_in += [name for _ in range(attempts) if not attempt()]
            is_served &= speed(target, 2, folder / "out") > 0
        silent = unrecorded(list(ATTACKS), url)
    return Withstood(attempts * len(ATTACKS), let_in, silent, is_served)


def attack(
    name: str, target: Target, begun: Event, stop: Event, counts: multiprocessing.Queue[Counter[str]]
) -> None:
    kind = ATTACKS[name]
    attempt, made = kind.make(target), Counter[str]()
    begun.set()
    while made["attempts"] < kind.at_least or not (kind.at_least or stop.is_set()):
        time.sleep(kind.pause)
        made["attempts"] += 1
        made["refused"] += attempt()
    counts.put(made)


@contextmanager
def under(names: list[str], target: Target, made: dict[str, Counter[str]]) -> Iterator[None]:
    """While the attacks go on, each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    stop, running = spawn.Event(), []
    for name in names:
        begun, counts = spawn.Event(), spawn.Queue()
        process = spawn.Process(target=attack, args=(name, target, begun, stop, counts))
        process.start()
        begun.wait(60)
        running.append((name, process, counts))
    time.sleep(0.5)
    yield
    stop.set()
    for name, process, counts in running:
        made[name] += counts.get(timeout=60)
        process.join(60)


def made_by(names: list[str], made: dict[str, Counter[str]]) -> int:
    return sum(made[name]["attempts"] for name in names)


def speed(target: Target, count: int, folder: Path) -> float:
    """Images a second that the known sender gets rid of."""
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.dcm")
        ct_slice(number=number, size=512).save_as(paths[-1], enforce_file_format=True)
    started = time.perf_counter()
    receipts = list(target.destination("ct1").send(paths))
    seconds = time.perf_counter() - started
    if bad := [receipt.reason for receipt in receipts if receipt.outcome != "sent"]:
        raise RuntimeError(f"{len(bad)} images were not taken: {bad[0]}")
    return count / seconds


@dataclass(frozen=True)
class Round:
    """``kept``: the speed under attack, to the mean of those before and after. ``attempt_ms``, ``image_ms``:
    processor time that one costs the node."""

    kept: float
    attempt_ms: float
    image_ms: float


def measure(names: list[str], target: Target, count: int, made: dict[str, Counter[str]]) -> Round:
    folder, earlier = target.folder / "out", made_by(names, made)
    start = target.cpu_seconds()
    before = speed(target, count, folder)
    images = target.cpu_seconds() - start
    start = target.cpu_seconds()
    with under(names, target, made):
        during = speed(target, count, folder)
    attack = target.cpu_seconds() - start - images
    after = speed(target, count, folder)
    attempts = max(1, made_by(names, made) - earlier)
    kept = during / statistics.mean((before, after))
    return Round(kept, 1000 * attack / attempts, 1000 * images / count)


def run(rounds: int, count: int, names: list[str], kind: str) -> bool:
    """Print the figures; whether all was withstood."""
    made = {name: Counter[str]() for name in names}
    groups = {name: [name] for name in names} | ({ALL: names} if len(names) > 1 else {})
    slowed: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="overread-attacks-", dir="/dev/shm") as scratch,
        databases_of(kind) as databases,
        databases.new(Path(scratch)) as url,
    ):
        folder = Path(scratch)
        (folder / "out").mkdir()
        print(f"{'attack':30}{'speed kept':>12}{'(least-most)':>15}{'ms/attempt':>12}{'ms/image':>10}")
        with node_in(folder, url) as target:
            speed(target, count, folder / "out")
            for label, group in groups.items():
                seen = [measure(group, target, count, made) for _ in range(rounds)]
                if _print(label, seen) < SPEED_KEPT and label != ALL:
                    slowed.append(label)
            silent = unrecorded(names, url)
        report(url, made)
    let_in = [name for name, one in made.items() if one["attempts"] != one["refused"]]
    for what, which in (("let in", let_in), ("not written down", silent), ("slowed the sender", slowed)):
        if which:
            print(f"Not withstood, {what}: {', '.join(which)}")
    return not (let_in or silent or slowed)


def _print(label: str, seen: list[Round]) -> float:
    """One line; returns the median of the speed kept."""
    kept = [one.kept for one in seen]
    attempt = statistics.median(one.attempt_ms for one in seen)
    image = statistics.median(one.image_ms for one in seen)
    spread = f"({min(kept):.0%}-{max(kept):.0%})"
    print(f"{label:30}{statistics.median(kept):>12.0%}{spread:>15}{attempt:>12.1f}{image:>10.1f}", flush=True)
    return statistics.median(kept)


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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200, help="images of 0.5 MB in a round")
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    add_choice_of_database(parser)
    chosen = parser.parse_args()
    sys.exit(0 if run(chosen.rounds, chosen.count, chosen.attacks, chosen.database) else 1)


if __name__ == "__main__":
    main()
