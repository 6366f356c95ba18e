"""A node under load that something happens to, and what becomes of the studies meanwhile sent to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydicom import dcmread
from sqlalchemy import select

from storage.database import Database
from storage.part10 import data_set_offset
from storage.tables import Instance
from tests.node.intake.raw_sender import ASSOCIATE_AC, RawSender
from tests.orthanc import Orthanc, free_port
from training.phantoms.chest import chest_phantom
from training.phantoms.dicom import Patient, Study, write_ct_series

ROOT = Path(__file__).parents[2]
SHAPE, SPACING_MM = (64, 96, 112), (3.0, 3.2, 3.2)
PATIENCE = 120.0  # seconds in which something has to move


@dataclass(frozen=True)
class Outcome:
    """What was seen at the end.

    states: how the studies ended, by state. results: result objects in the PACS by study and kind. images:
    that were answered with success, each once; lost: those of them that the node has not, or not whole;
    unsent: images that never were answered with success.
    """

    studies: int
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

    @property
    def is_well(self) -> bool:
        return self.complete == self.studies and not (self.lost or self.unsent)

    def __str__(self) -> str:
        return (
            f"{self.complete} of {self.studies} studies have exactly one set of results, "
            f"{self.studies - len(self.results)} have none, {self.doubled} have too many; "
            f"{self.lost} of {self.images} acknowledged images are lost, {self.unsent} never got through; "
            f"{self.seconds:.0f} s, states {self.states}"
        )


@dataclass(frozen=True)
class Surroundings:
    """What a node lives in beside its defaults: ``settings`` in TOML, and ``environment``."""

    settings: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class Victim:
    """An ``overread serve`` that is killed and started again on the same data."""

    def __init__(self, folder: Path, url: str, pacs: Orthanc, surroundings: Surroundings) -> None:
        self.dicom_port, self.web_port = free_port(), free_port()
        self._config = folder / "overread.toml"
        self._log = folder / "overread.log"
        self._environment = {"OVERREAD_DATABASE__URL": url, **surroundings.environment}
        self._url = url
        self._config.write_text(
            f"""
            [node]
            data_dir = "{folder / "data"}"
            [dicom]
            port = {self.dicom_port}
            quiet_seconds = 3
            read_ahead_seconds = 0.3
            [web]
            port = {self.web_port}
            [[destinations]]
            name = "pacs"
            ae_title = "{pacs.ae_title}"
            host = "{pacs.host}"
            port = {pacs.dicom_port}
            retry_seconds = 1
            {surroundings.settings}
            """
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "node.cli", "serve", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()

    def await_start(self) -> None:
        """Until it listens, for at most ``PATIENCE`` seconds."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.dicom_port), 1).close()
                return
            except OSError:
                time.sleep(0.1)

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


def live_through(
    trouble: Callable[[Victim, Orthanc], None],
    studies: int,
    folder: Path,
    url: str,
    surroundings: Surroundings = Surroundings(),
    afterwards: Callable[[], None] = lambda: None,
) -> Outcome:
    """Send ``studies`` to a node while ``trouble`` comes over it, wait until it has ended all of them, then
    let come what comes ``afterwards``."""
    sent = [_phantom(number, folder / f"study-{number}") for number in range(studies)]
    with _pacs(folder) as pacs:
        victim = Victim(folder, url, pacs, surroundings)
        started = time.monotonic()
        victim.start()
        answered: list[Path] = []
        sender = threading.Thread(target=_send_all, args=(victim.dicom_port, sent, answered), daemon=True)
        sender.start()
        try:
            trouble(victim, pacs)
            states = _wait_until_ended(victim, studies)
            afterwards()
        finally:
            victim.kill(signal.SIGTERM)
        found: dict[str, Counter[str]] = {}
        for instance in pacs.instances():
            found.setdefault(instance["StudyInstanceUID"], Counter())[instance["Modality"]] += 1
        lost = sum(not victim.holds(path) for path in answered)
        unsent = sum(map(len, sent)) - len(answered)
        return Outcome(studies, time.monotonic() - started, states, len(answered), lost, unsent, found)


def _phantom(number: int, folder: Path) -> list[Path]:
    phantom = chest_phantom(100 + number, SHAPE, SPACING_MM, lesions=number % 3)
    return write_ct_series(
        folder,
        phantom.voxels,
        phantom.affine,
        patient=Patient(f"STUDY-{number}"),
        study=Study(accession_number=f"STUDY-{number}"),
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
