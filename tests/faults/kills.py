"""Kills a node at random moments while studies come in, and counts what arrives at the PACS.

python -m tests.faults.kills --studies 20 --kills 20 --seed 1
"""

from __future__ import annotations

import random
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from tests.databases import Databases
from tests.faults.program import main
from tests.faults.victim import Outcome, Victim, live_through
from tests.orthanc import Orthanc

LONGEST_LIFE = 8.0  # seconds between a start and the next kill


def run(studies: int, kills: int, seed: int, folder: Path, url: str) -> Outcome:
    """Send ``studies`` while killing ``kills`` times."""
    chance = random.Random(seed)

    def kill(victim: Victim, _pacs: Orthanc) -> None:
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, LONGEST_LIFE))
            victim.kill()
            victim.start()

    return live_through(kill, studies, folder, url)


def _fault(chosen: Namespace, folder: Path, databases: Databases) -> Iterator[tuple[str, Outcome]]:
    with databases.new(folder) as url:
        outcome = run(chosen.studies, chosen.kills, chosen.seed, folder, url)
    yield f"killed {chosen.kills} times", outcome


if __name__ == "__main__":
    sys.exit(main(__doc__, _fault, studies=20, kills=20, seed=1))
