"""Kills a node at random moments while studies come in, and counts what arrives at the PACS.

python -m tests.faults.kills --studies 20 --kills 20 --seed 1
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.databases import add_choice_of_database, databases_of
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    add_choice_of_database(parser)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="overread-kills-") as folder,
        databases_of(chosen.database) as databases,
        databases.new(Path(folder)) as url,
    ):
        outcome = run(chosen.studies, chosen.kills, chosen.seed, Path(folder), url)
    print(outcome)
    return 0 if outcome.is_well else 1


if __name__ == "__main__":
    sys.exit(main())
