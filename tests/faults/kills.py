"""Kills a node at random moments while studies come in, and counts what arrives at the PACS.

python -m tests.faults.kills --studies 20 --kills 20 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydicom import dcmread
from rich.console import Console
from sqlalchemy import select

from storage.database import Database
from storage.part10 import data_set_offset
from storage.tables import Instance
from tests.databases import add_choice_of_database, databases_of
from tests.node.intake.raw_sender import ASSOCIATE_AC, RawSender
from tests.orthanc import Orthanc, free_port
from training.phantoms.chest import chest_phantom
from training.phantoms.dicom import Patient, Study, write_ct_series

ROOT = Path(__file__).parents[2]
SHAPE, SPACING_MM = (64, 96, 112), (3.0, 3.2, 3.2)
LONGEST_LIFE = 8.0  # seconds between a start and the next kill
PATIENCE = 120.0  # seconds in which something has to move


@dataclass(frozen=True)
class Outcome:
    """What was seen at the end.

    states: how the studies ended, by state. results: result objects in the PACS by study and kind. images:
    that were answered with success, each once; lost: those of them that the node has not, or not whole;
    unsent: images that never were answered with success.
    """

    kills: int
    seconds: float
    states: dict[str, int]
    images: int
    lost: int
    unsent: int
    results: dict[str, Counter[str]] = field(repr=False)

    @property
    def complete(self) -> int:
        """Studies with exactly one set of results: one SEG and two SR, or one SR that says there is none."""
        whole = ({"SEG": 1, "SR": 2}, {"SR": 1})
        return sum(dict(kinds) in whole for kinds in self.results.values())

    @property
    def doubled(self) -> int:
        return sum(kinds["SEG"] > 1 or kinds["SR"] > 2 for kinds in self.results.values())


class Victim:
    """An ``overread serve`` that is killed and started again on the same data."""

    def __init__(self, folder: Path, url: str, pacs: Orthanc) -> None:
        self.dicom_port, self.web_port = free_port(), free_port()
        self._config = folder / "overread.toml"
        self._log = folder / "overread.log"
        self._url = url
        self._config.write_text(
            f"""
            [node]
            data_dir = "{folder / "data"}"
            [dicom]
            port = {self.dicom_port}
            quiet_seconds = 1
            [web]
            port = {self.web_port}
            [[destinations]]
            name = "pacs"
            ae_title = "{pacs.ae_title}"
            host = "{pacs.host}"
            port = {pacs.dicom_port}
            retry_seconds = 1
            """
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "node.cli", "serve", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"OVERREAD_DATABASE__URL": self._url},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()

    def holds(self, path: Path) -> bool:
        """Whether the node has the object in this file, with a row, whole."""
        data = self._config.parent / "data"
        wanted = path.read_bytes()
        uid = str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        database = Database(self._url)
        with database.snapshot() as session:
            place = session.scalar(select(Instance.path).where(Instance.uid == uid))
        database.close()
        if place is None:
            return False
        kept = (data / place).read_bytes()
        return kept[data_set_offset(kept[:4096]) :] == wanted[data_set_offset(wanted[:4096]) :]

    def studies(self) -> list[dict[str, str]]:
        try:
            return list(httpx.get(f"http://127.0.0.1:{self.web_port}/api/studies").json()["studies"])
        except httpx.HTTPError:
            return []

    def states(self) -> dict[str, int]:
        """How many studies are in which state; empty while the node does not answer."""
        try:
            counts = httpx.get(f"http://127.0.0.1:{self.web_port}/api/studies").json()["counts"]
        except httpx.HTTPError:
            return {}
        return {state: count for state, count in counts.items() if count}


def run(studies: int, kills: int, seed: int, folder: Path, url: str) -> Outcome:
    """Send ``studies`` while killing ``kills`` times, then wait until the node has ended all of them."""
    chance = random.Random(seed)
    sent = [_phantom(number, folder / f"study-{number}") for number in range(studies)]
    with _pacs(folder) as pacs:
        victim = Victim(folder, url, pacs)
        started = time.monotonic()
        victim.start()
        answered: list[Path] = []
        sender = threading.Thread(target=_send_all, args=(victim.dicom_port, sent, answered), daemon=True)
        sender.start()
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, LONGEST_LIFE))
            victim.kill()
            victim.start()
        try:
            states = _wait_until_ended(victim, studies)
        finally:
            victim.kill(signal.SIGTERM)
        found: dict[str, Counter[str]] = {}
        for instance in pacs.instances():
            found.setdefault(instance["StudyInstanceUID"], Counter())[instance["Modality"]] += 1
        lost = sum(not victim.holds(path) for path in answered)
        unsent = sum(map(len, sent)) - len(answered)
        return Outcome(kills, time.monotonic() - started, states, len(answered), lost, unsent, found)


def _phantom(number: int, folder: Path) -> list[Path]:
    phantom = chest_phantom(100 + number, SHAPE, SPACING_MM, lesions=number % 3)
    return write_ct_series(
        folder,
        phantom.voxels,
        phantom.affine,
        patient=Patient(f"KILL-{number}"),
        study=Study(accession_number=f"KILL-{number}"),
    )


@contextmanager
def _pacs(folder: Path) -> Iterator[Orthanc]:
    pacs = Orthanc(folder / "orthanc")
    pacs.start()
    yield pacs
    pacs.stop()


def _send_all(port: int, studies: Sequence[Sequence[Path]], answered: list[Path]) -> None:
    """What was not answered with success is sent again, until it is; what was goes into ``answered``, and is
    not sent again: it must not be lost."""
    for paths in studies:
        waiting = list(paths)
        while waiting:
            try:
                with RawSender(port) as sender:
                    if sender.associate() != ASSOCIATE_AC:
                        raise ConnectionError("the node is not up yet")
                    while waiting:
                        if _store(sender, waiting[0]) != 0x0000:
                            break
                        answered.append(waiting.pop(0))
            except (OSError, AssertionError, ValueError):
                time.sleep(0.3)


def _store(sender: RawSender, path: Path) -> int:
    uid = str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    content = path.read_bytes()
    return sender.store(content[data_set_offset(content[:4096]) :], uid, fragment=1 << 16)


def _wait_until_ended(victim: Victim, studies: int) -> dict[str, int]:
    """Until all have ended, or nothing has moved for ``PATIENCE`` seconds."""
    states, moved = victim.states(), time.monotonic()
    while time.monotonic() - moved < PATIENCE:
        if sum(states.values()) == studies and not states.keys() - {"delivered", "failed", "skipped"}:
            break
        time.sleep(0.5)
        now = victim.states()
        if now and now != states:
            states, moved = now, time.monotonic()
    return states


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
    console = Console()
    console.print(outcome)
    console.print(
        f"{outcome.complete} of {chosen.studies} studies have exactly one set of results, "
        f"{chosen.studies - len(outcome.results)} have none, {outcome.doubled} have too many; "
        f"{outcome.lost} of {outcome.images} acknowledged images are lost"
        + (f"; {outcome.unsent} images never got through" if outcome.unsent else "")
    )
    sound = outcome.complete == chosen.studies and not outcome.lost and not outcome.unsent
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
