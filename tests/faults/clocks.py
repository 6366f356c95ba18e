"""Sets a node's clock by hours and days, forwards and back, while studies come in and the PACS is away.

The node looks every second for what is old, by age as for want of room, not once in half a minute and once an
hour: so it looks between any two jumps.

python -m tests.faults.clocks --studies 20 --jumps 40 --seed 1    needs a C compiler, for ``clock.c``
"""

from __future__ import annotations

import math
import os
import random
import struct
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from tests.databases import Databases
from tests.faults.program import main
from tests.faults.victim import PATIENCE, ROOT, Outcome, Surroundings, Victim, live_through
from tests.orthanc import Orthanc
from tests.programs import require

LONGEST_PEACE = 3.0  # seconds between two jumps
LEAST_JUMP, LONGEST_JUMP = timedelta(hours=1), timedelta(days=40)
KEEPS_45_DAYS = """
            [retention]
            images_days = 45
            images_below_free_mb = 1000000000
            images_at_least_hours = 1080
"""


HURRIED = """
import sys
if "serve" in sys.orig_argv:
    from node.upkeep import retention
    retention.SECONDS_BETWEEN_LOOKS, retention.SECONDS_BETWEEN_ROUNDS = 1.0, 0.0
    delete_what_is_old = retention.Retention.delete_what_is_old
    def delete_and_tell(self):
        delete_what_is_old(self)
        with open({rounds!r}, "a") as file:
            file.write(".")
    retention.Retention.delete_what_is_old = delete_and_tell
"""


class Rounds:
    """How often a process that is started in ``environment`` went through all that may be too old, each time
    to its end; it does so every second."""

    def __init__(self, folder: Path) -> None:
        self._file, place = folder / "rounds", folder / "hurried"
        self._file.touch()
        place.mkdir()
        (place / "sitecustomize.py").write_text(HURRIED.format(rounds=str(self._file)))
        self.environment = {"PYTHONPATH": f"{place}:{ROOT}"}

    @property
    def count(self) -> int:
        return self._file.stat().st_size

    def await_one(self) -> None:
        """Until one has been made that begins after now.

        Raises:
            TimeoutError: none was, within ``PATIENCE`` seconds.
        """
        wanted, until = self.count + 2, time.monotonic() + PATIENCE
        while self.count < wanted:
            if time.monotonic() > until:
                raise TimeoutError("the node does not look at what is old")
            time.sleep(0.1)


class Clock:
    """The wall clock of a process that is started in ``environment``."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "clock.so", folder / "clock"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([require("cc"), "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.set_off(timedelta())
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(self._file)}

    def set_off(self, by: timedelta) -> None:
        """From now on it shows the time, and ``by`` more."""
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(file, struct.pack("=q", int(by.total_seconds())), 0)
        os.close(file)


def jump(chance: random.Random) -> timedelta:
    """Forwards or back, short ones as likely as long ones."""
    least, longest = (math.log(one.total_seconds()) for one in (LEAST_JUMP, LONGEST_JUMP))
    return timedelta(seconds=chance.choice((-1, 1)) * math.exp(chance.uniform(least, longest)))


def run(studies: int, jumps: int, seed: int, folder: Path, url: str) -> Outcome:
    """Send ``studies`` while the clock jumps. Images may be deleted 45 days after they came, which is more
    than any jump makes them older; at last the clock is far ahead of every time it has shown, and the node
    looks at what is old by it. For the first half of the jumps the PACS is away.

    Raises:
        TimeoutError: the node did not look at what is old after a jump.
    """
    chance, clock, rounds = random.Random(seed), Clock(folder), Rounds(folder)

    def set_clock(victim: Victim, pacs: Orthanc) -> None:
        pacs.stop()
        victim.await_start()
        for number in range(jumps):
            time.sleep(chance.uniform(0.2, LONGEST_PEACE))
            clock.set_off(jump(chance))
            rounds.await_one()
            if number == jumps // 2:
                pacs.start()

    def look_at_what_is_old() -> None:
        clock.set_off(4 * LONGEST_JUMP)
        rounds.await_one()

    surroundings = Surroundings(KEEPS_45_DAYS, clock.environment | rounds.environment)
    return live_through(set_clock, studies, folder, url, surroundings, look_at_what_is_old)


def _fault(chosen: Namespace, folder: Path, databases: Databases) -> Iterator[tuple[str, Outcome]]:
    with databases.new(folder) as url:
        outcome = run(chosen.studies, chosen.jumps, chosen.seed, folder, url)
    yield f"{chosen.jumps} jumps of the clock", outcome


if __name__ == "__main__":
    sys.exit(main(__doc__, _fault, studies=20, jumps=40, seed=1))
