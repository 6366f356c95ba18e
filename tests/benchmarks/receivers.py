"""How fast receivers take objects in, set against each other: `python -m tests.benchmarks.receivers --help`.

Every round sends the same new objects to each receiver in turn, in an order that rotates, by DCMTK's storescu
with TCP_NODELAY=1. Seconds depend on the machine and on what else it does; ratios within a round hardly do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from tests.node.intake.senders import ct_slice
from tests.orthanc import Orthanc, free_port
from tests.programs import require

PROJECT = Path(__file__).parents[2]
NODELAY = os.environ | {"TCP_NODELAY": "1", "OMP_NUM_THREADS": "1"}
KINDS = {  # how many objects, their rows and columns, whether compressed
    "ct": (300, 512, False),
    "cxr": (12, 2300, False),
    "small": (2000, 32, False),
    "compressed": (300, 512, True),
}
OURS = """
import sys, threading
from pathlib import Path
from node.intake.receiver import Receiver
from node.settings import DicomSettings
from storage.archive import Archive
from storage.database import Database
folder, transport, durable = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "durable"
database = Database(f"sqlite:///{folder / 'overread.db'}")
database.upgrade()
settings = DicomSettings(port=0, transport=transport, durable=durable, maximum_associations_per_sender=100)
receiver = Receiver(settings, "OVERREAD", Archive(folder / "data", durable=durable), database)
print(receiver.start(), flush=True)
threading.Event().wait()
"""
PYNETDICOM = """
import os, sys
from pathlib import Path
from pynetdicom import AE, evt, AllStoragePresentationContexts, ALL_TRANSFER_SYNTAXES
from pynetdicom.sop_class import Verification
folder, durable = Path(sys.argv[1]), sys.argv[2] == "durable"
def store(event):
    with open(folder / f"{event.request.AffectedSOPInstanceUID}.dcm", "wb") as file:
        file.write(event.encoded_dataset())
        if durable:
            file.flush()
            os.fsync(file.fileno())
    return 0
ae = AE("OVERREAD")
ae.maximum_pdu_size, ae.maximum_associations = 262144, 100
for context in AllStoragePresentationContexts:
    ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
ae.add_supported_context(Verification)
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
print(server.server_address[1], flush=True)
import threading
threading.Event().wait()
"""


@dataclass(frozen=True)
class Receiver:
    """A receiver at work: where it listens and its process."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Of the process, its threads and the children it has waited for."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu_ms: float  # of the receiver, for each object
    peak_mib: float


Opener = Callable[[Path, bool, int], Iterator[Receiver]]


@contextmanager
def python(script: str, *arguments: str) -> Iterator[Receiver]:
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    with subprocess.Popen(command, cwd=PROJECT, env=NODELAY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Receiver(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()


@contextmanager
def storescp(folder: Path, fork: bool) -> Iterator[Receiver]:
    port = free_port()
    options = ["--max-pdu", "131072", "+xa", "-od", str(folder), *(["--fork"] if fork else [])]
    with subprocess.Popen(
        [require("storescp"), *options, str(port)], env=NODELAY, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield Receiver(port, process.pid)
        finally:
            process.send_signal(signal.SIGKILL)


@contextmanager
def orthanc(folder: Path, durable: bool) -> Iterator[Receiver]:
    pacs = Orthanc(folder, options={"SyncStorageArea": durable})
    pacs.start()
    try:
        assert pacs._process is not None
        yield Receiver(pacs.dicom_port, pacs._process.pid)
    finally:
        pacs.stop()


@contextmanager
def opened(name: str, folder: Path, durable: bool, associations: int) -> Iterator[Receiver]:
    word = "durable" if durable else "fast"
    receivers = {
        "fast": lambda: python(OURS, str(folder), "fast", word),
        "stock": lambda: python(OURS, str(folder), "stock", word),
        "pynetdicom": lambda: python(PYNETDICOM, str(folder), word),
        "storescp": lambda: storescp(folder, fork=associations > 1),
        "orthanc": lambda: orthanc(folder, durable),
    }
    folder.mkdir(parents=True)
    with receivers[name]() as receiver:
        until = time.monotonic() + 30
        echo = [require("echoscu"), "127.0.0.1", str(receiver.port)]
        while subprocess.run(echo, env=NODELAY, capture_output=True).returncode:
            if time.monotonic() > until:
                raise RuntimeError(f"{name} does not answer")
            time.sleep(0.1)
        yield receiver


class Objects:
    """Files of one kind; each round gives them new UIDs, of the same length, so that all are new."""

    def __init__(self, folder: Path, kind: str, count: int, associations: int) -> None:
        _, size, is_compressed = KINDS[kind]
        image = ct_slice(size=size)
        image.SOPInstanceUID, image.StudyInstanceUID, image.SeriesInstanceUID = self._uids(0, 0, 0)
        if is_compressed:  # what is in it is made up; its length is that of a lossless CT image
            image.file_meta.TransferSyntaxUID = JPEGLSLossless
            image.PixelData = encapsulate([np.random.default_rng(0).bytes(size * size)])
            image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
        folder.mkdir(parents=True)
        dcmwrite(folder / "template", image, enforce_file_format=True)
        self._template = (folder / "template").read_bytes()
        (folder / "template").unlink()
        self.count, self.associations = count, associations
        self.proposed = ["-xt"] if is_compressed else []  # JPEG-LS, which storescu offers when told to
        self.folders = [folder / str(number) for number in range(associations)]
        for one in self.folders:
            one.mkdir()

    def renew(self, round_: int) -> None:
        old = [uid.encode() for uid in self._uids(0, 0, 0)]
        for number in range(self.count):
            association = number % self.associations
            new = [uid.encode() for uid in self._uids(round_, association, number)]
            content = self._template
            head_end = content.index(b"\xe0\x7f\x10\x00")
            head = content[:head_end]
            for before, after in zip(old, new, strict=True):
                head = head.replace(before, after)
            (self.folders[association] / f"{number}.dcm").write_bytes(head + content[head_end:])

    @staticmethod
    def _uids(round_: int, association: int, number: int) -> tuple[str, str, str]:
        study = f"1.2.99.{10_000 + round_}.{10_000 + association}"
        return f"{study}.3.{100_000 + number}", f"{study}.1.100000", f"{study}.2.100000"


def send(objects: Objects, receiver: Receiver) -> Run:
    cpu = receiver.cpu_seconds()
    start = time.perf_counter()
    senders = [
        subprocess.Popen(
            [
                require("storescu"),
                "-R",
                "-aec",
                "OVERREAD",
                *objects.proposed,
                "+sd",
                "127.0.0.1",
                str(receiver.port),
                str(folder),
            ],
            env=NODELAY,
            stdout=subprocess.DEVNULL,
        )
        for folder in objects.folders
    ]
    failed = [sender.args for sender in senders if sender.wait()]
    seconds = time.perf_counter() - start
    if failed:
        raise RuntimeError(f"storescu failed: {failed[0]}")
    return Run(seconds, (receiver.cpu_seconds() - cpu) / objects.count * 1000, receiver.peak_mib())


def measure(
    names: list[str], kind: str, count: int, associations: int, rounds: int, durable: bool, folder: Path
) -> dict[str, list[Run]]:
    """Runs of each receiver, one for each round; a first round warms up and is left out."""
    objects = Objects(folder / "objects", kind, count, associations)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
    with ExitStack() as stack:
        receivers = {
            name: stack.enter_context(opened(name, folder / name, durable, associations)) for name in names
        }
        for round_ in range(rounds + 1):
            objects.renew(round_ + 1)
            turn = round_ % len(names)
            for name in names[turn:] + names[:turn]:
                run = send(objects, receivers[name])
                if round_:
                    runs[name].append(run)
                if name in ("storescp", "pynetdicom"):
                    for path in (folder / name).iterdir():
                        path.unlink()
    return runs


def report(title: str, count: int, runs: dict[str, list[Run]], against: str) -> None:
    print(f"\n{title}")
    print(
        f"  {'receiver':12}{'objects/s':>10}{'CPU ms/object':>15}{'peak MiB':>10}{'ratio to ' + against:>22}"
    )
    for name, own in runs.items():
        ratios = [theirs.seconds / mine.seconds for mine, theirs in zip(own, runs[against], strict=True)]
        speed = count / statistics.median(run.seconds for run in own)
        cpu = statistics.median(run.cpu_ms for run in own)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        print(f"  {name:12}{speed:10.0f}{cpu:15.2f}{own[-1].peak_mib:10.0f}{spread:>22}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--receivers", nargs="+", default=["fast", "stock", "pynetdicom", "storescp", "orthanc"]
    )
    parser.add_argument("--associations", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, help="objects in a round")
    parser.add_argument("--against", default="storescp", help="what the ratios are to")
    parser.add_argument("--durable", action="store_true", help="everything fsynced, as each receiver does it")
    parser.add_argument("--folder", type=Path, help="where receivers write; memory, or the disk if durable")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.gettempdir() if chosen.durable else "/dev/shm")
    for kind in chosen.kinds:
        for associations in chosen.associations:
            count = max(chosen.count or KINDS[kind][0], associations)
            with tempfile.TemporaryDirectory(prefix="overread-bench-", dir=folder) as scratch:
                runs = measure(
                    chosen.receivers, kind, count, associations, chosen.rounds, chosen.durable, Path(scratch)
                )
            durability = "on" if chosen.durable else "off"
            title = f"{count} {kind}, {associations} association(s), durability {durability}"
            report(title, count, runs, chosen.against)


if __name__ == "__main__":
    main()
