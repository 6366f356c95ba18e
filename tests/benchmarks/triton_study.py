"""A study through Triton, set against the embedded engine: `python -m tests.benchmarks.triton_study`.

A chest of 300 slices of 512 × 512 is read by ``lung-nodules`` from its files to its SEG and SRs, through a
real server on the same cores and through the embedded engine in turn. Both have to write the same bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.engine.embedded import EmbeddedEngine
from inference.engine.triton import TritonEngine
from inference.growth.assess import assessed
from inference.readers import READERS
from inference.series import load_series
from node import results
from node.results.identity import tracking_uid
from node.results.moment import acquired_at
from tests.triton.server import serving
from training.phantoms.chest import chest_phantom
from training.phantoms.dicom import Patient, Study, write_ct_series

THREADS = 2
IDENTITY = "a study"


def seconds(paths: Sequence[Path], engine: Engine, catalogue: Catalogue, out: Path) -> float:
    """From the files to what is sent of them."""
    started = time.perf_counter()
    volume = load_series(paths)
    reading = READERS["lung-nodules"].read(volume, engine, catalogue)
    known = tuple(each.tracked_as(tracking_uid(IDENTITY, each)) for each in reading.findings)
    reading = assessed(replace(reading, findings=known), volume)
    results.write(
        reading,
        volume,
        tuple(paths),
        out,
        kinds=frozenset({"seg", "sr"}),
        when=acquired_at(paths[0]),
        identity=IDENTITY,
    )
    return time.perf_counter() - started


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def main(rounds: int = 7, slices: int = 300) -> None:
    phantom = chest_phantom(77, (slices, 512, 512), (1.0, 0.7, 0.7), lesions=4)
    catalogue = Catalogue()
    with TemporaryDirectory(prefix="overread-triton-study-") as name:
        folder = Path(name)
        here, there, series, server = (folder / part for part in ("here", "there", "series", "server"))
        for made in (here, there, server):
            made.mkdir()
        patient, study = Patient("TRITON"), Study(accession_number="TRITON")
        paths = write_ct_series(series, phantom.voxels, phantom.affine, patient=patient, study=study)
        with serving(catalogue.root, server, threads=THREADS) as served:
            triton = TritonEngine((served.url,), catalogue)
            engines: list[tuple[Engine, Path]] = [
                (EmbeddedEngine(catalogue, THREADS), here),
                (triton, there),
            ]
            for engine, out in engines:
                seconds(paths, engine, catalogue, out)
            if (written := _contents(here)) != _contents(there):
                raise SystemExit("the objects are not the same")
            pairs = []
            for number in range(rounds):
                turns = engines if number % 2 else engines[::-1]
                taken = {out: seconds(paths, engine, catalogue, out) for engine, out in turns}
                pairs.append((taken[here], taken[there]))
            triton.close()
    ratios = [through / embedded for embedded, through in pairs]
    print(
        f"the same {len(written)} objects; embedded {statistics.median(p[0] for p in pairs):.2f} s, "
        f"through Triton {statistics.median(p[1] for p in pairs):.2f} s: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f}) of it"
    )


if __name__ == "__main__":
    typer.run(main)
