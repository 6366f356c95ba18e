"""What decoding in a process of its own costs: `python -m tests.benchmarks.decoding FOLDER`, of one series.

The same files are loaded in this process and in that one, in turn; ratios of pairs hardly depend on the load.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from inference.series import load_series
from inference.volume import Volume
from node.decoding import DecodingProcess


def seconds(load: Callable[[Sequence[Path]], Volume], paths: Sequence[Path]) -> float:
    started = time.perf_counter()
    load(paths)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    paths = sorted(path for path in chosen.folder.rglob("*") if path.is_file())
    process = DecodingProcess(6 << 30, 600)
    process.start()
    volume = process.load(paths)
    load_series(paths)
    here, there = [], []
    for number in range(chosen.rounds):
        pair = [(here, load_series), (there, process.load)]
        for times, load in pair if number % 2 else reversed(pair):
            times.append(seconds(load, paths))
    process.stop()
    ratios = [one / other for one, other in zip(there, here, strict=True)]
    print(
        f"{volume.shape}: {statistics.median(here):.2f} s here, {statistics.median(there):.2f} s there, "
        f"{statistics.median(ratios):.2f} of it ({min(ratios):.2f}-{max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
