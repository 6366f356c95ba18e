"""From the last image of a CT to its report at the PACS, set against decoding and networks alone.

``python -m tests.benchmarks.turnaround`` sends phantoms of 300 slices of 512 × 512 to an ``overread serve``
that delivers to a real Orthanc. In each round one study is left to its quiet period, which is taken off, and
one is asked for as soon as its last image is answered, so that nothing of it can be read ahead. Right after
them the same files are decoded, and run through the same networks, by this process alone. Then as many
studies are sent one behind the other, as a scanner would.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from inference.catalogue import Catalogue
from inference.engine import Engine, Tensors
from inference.engine.embedded import EmbeddedEngine
from inference.readers import READERS
from inference.volume import load_volume
from node.settings import DicomSettings
from tests.benchmarks.receivers import NODELAY
from tests.faults.victim import Surroundings, Victim
from tests.orthanc import Orthanc
from training.phantoms.chest import Phantom, chest_phantom
from training.phantoms.dicom import Patient, Study, write_ct_series

READER = "lung-nodules"
MATRIX, PIXEL_MM, SLICE_MM = 512, 0.7, 1.0
PATIENCE = 300.0
REPORTS = 2  # SRs of a study without a prior: measurements and outlines


class TimedEngine:
    """An engine that adds up how long its networks took."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.seconds = engine, 0.0

    @property
    def at_once(self) -> int:
        return self._engine.at_once

    def infer(self, model: str, inputs: Tensors) -> Tensors:
        started = time.perf_counter()
        try:
            return self._engine.infer(model, inputs)
        finally:
            self.seconds += time.perf_counter() - started

    def health(self) -> str | None:
        return self._engine.health()

    def close(self) -> None:
        self._engine.close()


AS_BY_DEFAULT = DicomSettings()
QUIET = Surroundings(
    environment={
        "OVERREAD_DICOM__QUIET_SECONDS": str(AS_BY_DEFAULT.quiet_seconds),
        "OVERREAD_DICOM__READ_AHEAD_SECONDS": str(AS_BY_DEFAULT.read_ahead_seconds),
    }
)


class Site:
    """A node and the PACS it delivers to."""

    def __init__(self, folder: Path, phantom: Phantom) -> None:
        self.folder, self.phantom = folder, phantom
        self.pacs = Orthanc(folder / "orthanc")
        self.node = Victim(folder, f"sqlite:///{folder / 'overread.db'}", self.pacs, QUIET)
        self.orthanc = httpx.Client(base_url=self.pacs.url)
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.node.web_port}/api", timeout=30)

    def __enter__(self) -> Site:
        self.pacs.start()
        self.node.start()
        _await(lambda: _answers(self.api), "the node does not answer")
        return self

    def __exit__(self, *_: object) -> None:
        self.node.kill(15)
        self.pacs.stop()

    def study(self, name: str) -> tuple[str, list[Path]]:
        """A study of its own patient: its UID and files."""
        patient, study = Patient(name), Study(accession_number=name)
        files = write_ct_series(
            self.folder / name, self.phantom.voxels, self.phantom.affine, patient=patient, study=study
        )
        return study.uid_for(patient), files

    def send(self, files: list[Path]) -> None:
        command = ["storescu", "127.0.0.1", str(self.node.dicom_port), *map(str, files)]
        subprocess.run(command, env=NODELAY, check=True, capture_output=True)

    def read_now(self, uid: str) -> None:
        _await(lambda: self.api.post(f"/studies/{uid}/read-now").is_success, f"study {uid} cannot be read")

    def await_report(self, uid: str) -> None:
        """Until the PACS has all of it. The PACS is asked, so that the node is left to its work."""
        objects = 1 + REPORTS
        _await(lambda: self._kept(uid) == objects, f"the report of {uid} does not arrive")

    def await_end(self, uid: str) -> None:
        _await(lambda: self._state(uid) == "delivered", f"study {uid} does not end")

    def _kept(self, uid: str) -> int:
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": uid}}
        found = self.orthanc.post("/tools/find", json=query).raise_for_status().json()
        return len(found)

    def _state(self, uid: str) -> str:
        study = self.api.get(f"/studies/{uid}").json()["study"]
        if study["state"] in ("failed", "skipped"):
            raise SystemExit(f"study {uid} ended {study['state']}: {study['reason']}")
        return str(study["state"])

    def stages(self, uid: str, asked: float) -> dict[str, float]:
        """Seconds of each stage: the reader's own clock, the node's timeline around it."""
        (revision,) = self.api.get(f"/studies/{uid}").json()["revisions"]
        (reading,) = self.api.get(f"/studies/{uid}/readings").json()["readings"]
        last = {event["stage"]: _seconds(event["at"]) for event in revision["events"]}
        inside = {stage: float(seconds) for stage, seconds in reading["seconds"].items()}
        end = _seconds(revision["finished_at"])
        return {
            "choose series": last["select"] - asked,
            **inside,
            "results": last["results"] - last["infer"],
            "deliver": end - last["results"],
        }


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Studies timed one by one.")] = 5,
    stream: Annotated[int, typer.Option(min=0, help="Studies sent one behind the other.")] = 6,
    slices: Annotated[int, typer.Option(min=30)] = 300,
    lesions: Annotated[int, typer.Option(min=0)] = 4,
) -> None:
    console = Console()
    with console.status("making a phantom"):
        phantom = chest_phantom(77, (slices, MATRIX, MATRIX), (SLICE_MM, PIXEL_MM, PIXEL_MM), lesions=lesions)
    engine, catalogue = EmbeddedEngine(Catalogue()), Catalogue()
    with TemporaryDirectory(prefix="overread-turnaround-") as folder, Site(Path(folder), phantom) as site:
        left, asked, alone, stages = [], [], [], []
        for number in range(rounds + 1):
            uid, files = site.study(f"LEFT-{number}")
            site.send(files)
            seconds_left = _seconds_of(partial(site.await_report, uid)) - AS_BY_DEFAULT.quiet_seconds
            site.await_end(uid)
            uid, files = site.study(f"ASKED-{number}")
            site.send(files)
            moment = time.time()
            seconds_asked = _seconds_of(partial(site.read_now, uid), partial(site.await_report, uid))
            site.await_end(uid)
            if number == 0:
                continue  # the first ones load the networks
            left.append(seconds_left)
            asked.append(seconds_asked)
            stages.append(site.stages(uid, moment))
            alone.append(_alone(files, engine, catalogue))
        _print_stages(console, stages, left, asked, alone)
        if stream:
            _print_stream(console, site, stream)


def _seconds_of(*deeds: Callable[[], None]) -> float:
    started = time.perf_counter()
    for deed in deeds:
        deed()
    return time.perf_counter() - started


def _alone(files: list[Path], engine: Engine, catalogue: Catalogue) -> tuple[float, float]:
    """Seconds of decoding, and of the networks, in this process."""
    timed = TimedEngine(engine)
    started = time.perf_counter()
    volume = load_volume(files)
    decoded = time.perf_counter() - started
    READERS[READER].read(volume, timed, catalogue)
    return decoded, timed.seconds


def _print_stages(
    console: Console,
    stages: list[Mapping[str, float]],
    left: list[float],
    asked: list[float],
    alone: list[tuple[float, float]],
) -> None:
    table = Table("stage", "median s", title="to the report at the PACS")
    for stage in stages[0]:
        table.add_row(stage, f"{statistics.median(one[stage] for one in stages):.2f}")
    table.add_row("from the last image, asked for", f"{statistics.median(asked):.2f}", style="bold")
    table.add_row("from the end of the quiet period", f"{statistics.median(left):.2f}", style="bold")
    table.add_row("decode alone", f"{statistics.median(decode for decode, _ in alone):.2f}")
    table.add_row("networks alone", f"{statistics.median(network for _, network in alone):.2f}")
    console.print(table)
    for name, whole in (("asked for at once", asked), ("from the end of the quiet period", left)):
        ratios = [seconds / sum(pair) for seconds, pair in zip(whole, alone, strict=True)]
        console.print(
            f"{name} / (decode + networks): {statistics.median(ratios):.2f} (of {len(ratios)} pairs, "
            f"{min(ratios):.2f} to {max(ratios):.2f})"
        )


def _print_stream(console: Console, site: Site, count: int) -> None:
    studies = [site.study(f"STREAM-{number}") for number in range(count)]
    started = time.perf_counter()
    for uid, files in studies:
        site.send(files)
        site.read_now(uid)
    for uid, _ in studies:
        site.await_report(uid)
    seconds = time.perf_counter() - started
    console.print(
        f"{count} studies in {seconds:.1f} s: {3600 * count / seconds:.0f} an hour, receiving included"
    )


def _answers(api: httpx.Client) -> bool:
    try:
        return api.get("/studies").is_success
    except httpx.HTTPError:
        return False


def _await(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(0.02)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    typer.run(main)
