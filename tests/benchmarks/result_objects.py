"""How long result objects take to build: `python -m tests.benchmarks.result_objects --help`.

A CT of 300 slices of 512 x 512 with ten lesions, each kind by itself, then all; and as many organs as
TotalSegmentator knows, on 90 slices each. Seconds depend on the machine, and on a machine that does other
things as well those of the processor say more than those of the clock.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import dcmread

from inference.findings import Mask, Segment
from node.results import codes
from tests.node.results.phantoms import Case, affine, phantom

SPACING = (1.0, 0.7, 0.7)
SHAPE = (300, 512, 512)
KINDS = ("seg", "sr", "pr", "sc", "ko")


def organs(count: int) -> tuple[Segment, ...]:
    """Lopsided blocks side by side, eight to a row."""
    _, rows, columns = SHAPE
    segments = []
    for number in range(count):
        row, column = divmod(number, 8)
        voxels = np.ones((90, rows // 13, columns // 8), bool)
        voxels[:, :: number % 5 + 2, 0] = False
        mask = Mask((2 * number, row % 13 * (rows // 13), column * (columns // 8)), voxels)
        segments.append(Segment(f"organ {number}", codes.LIVER.code, float(voxels.sum()), None, mask))
    return tuple(segments)


def as_archived(case: Case) -> Case:
    """Files named by SOP Instance UID, as the node keeps them."""
    named = [
        path.with_name(f"{dcmread(path, stop_before_pixels=True).SOPInstanceUID}.dcm") for path in case.paths
    ]
    return replace(case, paths=[path.rename(name) for path, name in zip(case.paths, named, strict=True)])


def seconds_of(case: Case, out: Path, *kinds: str) -> tuple[float, float]:
    """By the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    case.write(out, *kinds)
    return time.perf_counter() - clock, time.process_time() - processor


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--organs", type=int, default=104)
    parser.add_argument("--profile", action="store_true", help="says where the time of the last round goes")
    arguments = parser.parse_args()
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        place, out = affine((1, 0, 0), (0, 1, 0), (0, 0, 1), spacing=SPACING), Path(folder, "out")
        case = as_archived(phantom(Path(folder, "ct"), place, shape=SHAPE, lesions=10))
        for kinds in ((), ("seg",), ("sr",), ("seg", "sr"), KINDS):
            rounds = [seconds_of(case, out, *(kinds or KINDS)) for _ in range(arguments.rounds)]
            clock, processor = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
            print(
                f"{' '.join(kinds) or 'to warm up':16} {clock:.2f} s, processor {processor:.2f} s", flush=True
            )
        with profiled(arguments.profile):
            seconds_of(case, out, *KINDS)
        body = replace(
            case.with_findings(),
            reading=replace(case.reading, findings=(), segments=organs(arguments.organs)),
        )
        with profiled(arguments.profile):
            clock, processor = seconds_of(body, out, "seg")
        size = sum(path.stat().st_size for path in out.glob("seg-structures.dcm")) / 1e6
        print(
            f"{arguments.organs} organs {clock:.1f} s, processor {processor:.1f} s, {size:.0f} MB", flush=True
        )


if __name__ == "__main__":
    main()
