"""How long the reader of lung nodules takes from decoded voxels to findings, stage by stage, and its memory.

``python -m tests.benchmarks.lung_nodules`` reads chests of 512 x 512 pixels of 0.7 mm, 300 and 1000 slices
of 1 mm, each in a process of its own so that its peak memory is its own. Where other work runs on the same
cores, half of the processor seconds tell better than the clock what two quiet cores would take. The chests
are phantoms of 1.5 mm with nodules, interpolated and grained; longer ones repeat them.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.engine.networks import Provider
from inference.readers import lung_nodules as reader
from inference.readers.lungs import find_lungs
from inference.resample import resample
from inference.volume import Volume

SLICES = (300, 1000)
_SPACING_MM = (1.0, 0.7, 0.7)
_SIDE = 512
T = TypeVar("T")


def main(
    rounds: int = 5,
    threads: Annotated[int, typer.Option(help="Of every library.")] = 2,
    provider: Annotated[str, typer.Option(help="onnxruntime or openvino.")] = "onnxruntime",
) -> None:
    table = Table("stage", *(f"512 x 512 x {n}" for n in SLICES), title=f"seconds, {threads} threads")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        columns = [pool.apply(measured, (n, rounds, threads, provider)) for n in SLICES]
    for stage in columns[0]:
        table.add_row(stage, *(f"{column[stage]:.2f}" for column in columns))
    ratio = columns[1]["sum"] / columns[0]["sum"]
    Console(width=100).print(table, f"{SLICES[1]} slices take {ratio:.2f} times as long as {SLICES[0]}.")


def measured(slices: int, rounds: int, threads: int, provider: Provider) -> dict[str, float]:
    """Median seconds by stage, the load of the machine, and the peak of this process' memory in GiB."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    volume = chest(slices)
    before = peak_gib()
    catalogue = Catalogue()
    engine = EmbeddedEngine(catalogue, threads, provider)
    taken: dict[str, list[float]] = {}
    for round_ in range(rounds + 1):
        spent = time.process_time()
        stages = staged(volume, engine, catalogue)
        stages["of all threads"] = time.process_time() - spent
        for stage, seconds in stages.items() if round_ else ():  # the first loads the networks
            taken.setdefault(stage, []).append(seconds)
    medians = {stage: statistics.median(seconds) for stage, seconds in taken.items()}
    of_all_threads = medians.pop("of all threads")
    medians["sum"] = sum(medians.values())
    return medians | {
        "processor seconds of all threads": of_all_threads,
        "load average": os.getloadavg()[0],
        "peak memory, GiB": peak_gib(),
        "of it before reading": before,
    }


def staged(volume: Volume, engine: EmbeddedEngine, catalogue: Catalogue) -> dict[str, float]:
    """Seconds of each stage of one reading."""
    seconds: dict[str, float] = {}

    def timed(stage: str, step: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = step()
        seconds[stage] = time.perf_counter() - started
        return result

    detector, characteriser = catalogue.find(reader.DETECTOR).card, catalogue.find(reader.CHARACTERISER).card
    lungs = timed("find the lungs", lambda: find_lungs(volume))
    grid = timed("resample", lambda: reader.on_grid(volume, lungs, detector))
    candidates = timed("detector", lambda: reader.detect(grid, lungs, engine, detector))
    judged = timed("characteriser", lambda: reader.characterise(volume, candidates, engine, characteriser))
    threshold = characteriser.threshold("report")
    near = reader.near_lungs(judged, lungs)
    timed("masks and measures", lambda: reader.drawn(near, volume, characteriser, threshold))
    return seconds


def chest(slices: int) -> Volume:
    from training.phantoms.chest import chest_phantom

    phantom = chest_phantom(90_001, (200, 180, 240), 1.5, lesions=6)
    images = (None,) * len(phantom.voxels)
    thin = resample(Volume(phantom.voxels, phantom.affine, "1", "2", images), _SPACING_MM)
    voxels = np.full((slices, _SIDE, _SIDE), -1024, np.int16)
    rows, columns = (min(n, _SIDE) for n in thin.shape[1:])
    at = [(_SIDE - n) // 2 for n in (rows, columns)]
    for number in range(slices):
        plane = thin.voxels[number % thin.shape[0], :rows, :columns]
        voxels[number, at[0] : at[0] + rows, at[1] : at[1] + columns] = plane
    grain = np.random.default_rng(1).normal(0, 20, (7, _SIDE, _SIDE)).astype(np.int16)
    for number in range(slices):
        voxels[number] += grain[number % 7]
    affine = thin.affine.copy()
    return replace(thin, voxels=voxels, affine=affine, images=(None,) * slices)


def peak_gib() -> float:
    """Of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    typer.run(main)
