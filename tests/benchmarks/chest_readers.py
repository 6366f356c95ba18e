"""How long both readers of a chest take over one CT, each by itself and with one search for both.

``python -m tests.benchmarks.chest_readers`` reads the chest of ``tests.benchmarks.lung_nodules``, of 300
slices, in turns; each round reads it both ways and checks that the same is said.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Reading
from inference.readers import ct_lesions, lung_nodules, search_lungs
from inference.volume import Volume
from tests.benchmarks.lung_nodules import chest, peak_gib


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    slices: Annotated[int, typer.Option(min=30)] = 300,
    threads: Annotated[int, typer.Option(help="Of every network.")] = 2,
) -> None:
    volume, catalogue = chest(slices), Catalogue()
    engine = EmbeddedEngine(catalogue, threads)
    ways = {"each by itself": by_themselves, "one search for both": together}
    clock: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        said = []
        for name, way in ways.items():
            seconds, spent, readings = timed(partial(way, volume, engine, catalogue))
            said.append([replace(reading, seconds={}) for reading in readings])
            if number:  # the first loads the networks
                clock[name].append(seconds)
                processor[name].append(spent)
        if said[0] != said[1]:
            raise SystemExit("the readers say something else with one search")
    table = Table("", "median s", "least", "most", "processor s", title=f"both readers, {slices} slices")
    for name in ways:
        of_clock = (statistics.median(clock[name]), min(clock[name]), max(clock[name]))
        table.add_row(name, *(f"{s:.2f}" for s in (*of_clock, statistics.median(processor[name]))))
    Console(width=100).print(table, f"peak memory {peak_gib():.2f} GiB")


def by_themselves(volume: Volume, engine: Engine, catalogue: Catalogue) -> list[Reading]:
    return [reader.read(volume, engine, catalogue) for reader in (lung_nodules, ct_lesions)]


def together(volume: Volume, engine: Engine, catalogue: Catalogue) -> list[Reading]:
    search = search_lungs(volume, engine, catalogue)
    return [reader.read(volume, engine, catalogue, search) for reader in (lung_nodules, ct_lesions)]


def timed(way: Callable[[], list[Reading]]) -> tuple[float, float, list[Reading]]:
    """Seconds by the clock, those of all threads, and what was said."""
    started, spent = time.perf_counter(), time.process_time()
    readings = way()
    return time.perf_counter() - started, time.process_time() - spent, readings


if __name__ == "__main__":
    typer.run(main)
