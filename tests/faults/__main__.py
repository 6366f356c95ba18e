"""Everything a hospital does to a node, one after another: `python -m tests.faults --help`.

The same seed does the same again, as far as the machine's own pace lets it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.databases import add_choice_of_database

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", type=int, default=100_000, help="to be fuzzed")
    parser.add_argument("--studies", type=int, default=200, help="sent while the node is killed")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jumps", type=int, default=40, help="of the clock, while twenty studies are sent")
    parser.add_argument("--objects", type=int, default=200, help="for a PACS that is away, or moody")
    add_choice_of_database(parser)
    chosen = parser.parse_args()
    seed = ["--seed", str(chosen.seed)]
    faults = {
        "fuzz": ["--inputs", str(chosen.inputs), *seed],
        "disk": [],
        "pacs": ["--objects", str(chosen.objects), *seed],
        "attacks": [],
        "clocks": ["--jumps", str(chosen.jumps), *seed],
        "kills": ["--studies", str(chosen.studies), "--kills", str(chosen.kills), *seed],
    }
    bad = []
    for name, arguments in faults.items():
        print(f"\n{name} {' '.join(arguments)}", flush=True)
        command = [sys.executable, "-W", "ignore", "-m", f"tests.faults.{name}", *arguments]
        command += ["--database", chosen.database]
        if subprocess.run(command, cwd=ROOT).returncode:
            bad.append(name)
    print(f"\nNot withstood: {', '.join(bad)}" if bad else "\nAll withstood.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
