"""What strangers try, and what a normal sender notices of it: `python -m tests.faults.attacks --help`.

A receiver that speaks TLS and a status page with a login run in a process of their own. A known sender sends
CT images over TLS, undisturbed and while an attack goes on, in turn; printed are how many attempts were made
and refused, what the node wrote down, and the median of the paired ratios of speed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from node.peers.sending import DeliveryError, DicomDestination
from node.settings import Peer
from node.tls import Files, Identity
from storage.audit import AuditFilter, newest
from storage.database import Database
from storage.tables import Instance, Refusal
from tests.certificates import Authority
from tests.databases import add_choice_of_database, databases_of
from tests.node.intake.raw_sender import ABORT, RawSender
from tests.node.intake.senders import ct_slice, encoded

ROOT = Path(__file__).parents[2]
NODE = """
import sys, threading
from pathlib import Path
from node.health import Probe
from node.intake.receiver import Receiver
from node.passwords import hashed
from node.settings import Settings
from node.tls import dicom_identity
from node.web.app import create_app
from node.web.server import WebServer
from storage import accounts
from storage.archive import Archive
from storage.database import Database
folder, url = Path(sys.argv[1]), sys.argv[2]
settings = Settings.model_validate({
    "node": {"data_dir": folder / "data"},
    "dicom": {
        "port": 0, "durable": False, "minimum_free_mb": 0,
        "allowed_callers": [{"ae_title": "CT1", "address": "127.0.0.0/8", "certificate": "CN=ct1"}],
        "tls": {
            "enabled": True, "certificate": folder / "node.pem", "private_key": folder / "node.key",
            "authorities": folder / "Hospital-CA.pem", "handshake_seconds": 3,
        },
    },
    "web": {"port": 0, "login": "always"},
    "database": {"url": url},
})
database = Database(url)
with database.session() as session:
    accounts.add(session, "anna", "admin", hashed("anna", "correct horse battery"))
archive = Archive(folder / "data", durable=False)
receiver = Receiver(settings.dicom, "OVERREAD", archive, database, dicom_identity(settings.dicom.tls))
page = create_app(settings, database, folder / "data", lambda: [Probe("all", True, "")])
web = WebServer(page, "127.0.0.1", 0)
port = receiver.start()
web.start()
print(port, web.port, flush=True)
threading.Event().wait()
"""


@dataclass(frozen=True)
class Target:
    """Where the node listens, its process, and the folder with the certificates."""

    folder: Path
    port: int
    web_port: int
    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def destination(self, name: str, caller: str = "CT1") -> DicomDestination:
        files = Files(
            self.folder / f"{name}.pem",
            self.folder / f"{name}.key",
            authorities=self.folder / "Hospital-CA.pem",
        )
        peer = Peer(name="node", ae_title="OVERREAD", host="127.0.0.1", port=self.port, tls=True)
        return DicomDestination(peer, caller, timeout=20, identity=Identity(files))


Attempt = Callable[[], bool]
"""Tries once; whether it was refused."""


def with_certificate(target: Target, name: str, caller: str = "CT1") -> Attempt:
    destination = target.destination(name, caller)

    def attempt() -> bool:
        try:
            destination.echo()
        except DeliveryError:
            return True
        return False

    return attempt


def silent_clients(target: Target) -> Attempt:
    """200 connections that say nothing; whoever is sent away comes back."""
    connections: list[socket.socket] = []

    def attempt() -> bool:
        while len(connections) < 200:
            connections.append(socket.create_connection(("127.0.0.1", target.port), 20))
        for connection in list(connections):
            connection.setblocking(False)
            with suppress(BlockingIOError):
                try:
                    is_closed = not connection.recv(64)
                except ConnectionError:
                    is_closed = True
                if is_closed:
                    connection.close()
                    connections.remove(connection)
                    return True
        time.sleep(0.05)
        return True

    return attempt


@contextmanager
def associated(target: Target) -> Iterator[RawSender]:
    """The known sender's own association, in the hands of somebody who misuses it."""
    destination = target.destination("ct1")
    assert destination.identity is not None
    with RawSender(target.port) as raw:
        raw.socket = destination.identity.calling().wrap_socket(raw.socket, server_hostname="127.0.0.1")
        raw.associate(caller="CT1")
        yield raw


def four_gibibytes(target: Target) -> Attempt:
    def attempt() -> bool:
        with associated(target) as raw:
            raw.socket.sendall(struct.pack(">BBI", 4, 0, 0xFFFFFFFF))
            return raw.receive()[0] in (ABORT, 0)

    return attempt


def climbing_uids(target: Target) -> Attempt:
    def attempt() -> bool:
        image = ct_slice()
        image.StudyInstanceUID = image.SOPInstanceUID = "../../../../tmp/overread-was-here"
        with associated(target) as raw:
            return raw.store(encoded(image), "../../../../tmp/overread-was-here") != 0x0000

    return attempt


def wrong_passwords(target: Target) -> Attempt:
    page = f"http://127.0.0.1:{target.web_port}/login"
    number = iter(range(1_000_000))

    def attempt() -> bool:
        form = urlencode({"name": "anna", "password": f"guess number {next(number)}"}).encode()
        try:
            urlopen(Request(page, form, {"Origin": page.removesuffix("/login")}), timeout=20)
        except HTTPError as error:
            return error.code in (401, 429)
        return False

    return attempt


ATTACKS: dict[str, tuple[Callable[[Target], Attempt], float]] = {  # and the seconds between attempts
    "somebody else's certificate": (lambda target: with_certificate(target, "ct2"), 0.1),
    "expired certificate": (lambda target: with_certificate(target, "old"), 0.1),
    "unknown certificate": (lambda target: with_certificate(target, "stranger"), 0.1),
    "unlisted caller": (lambda target: with_certificate(target, "ct1", "NOBODY"), 0.1),
    "200 silent clients": (silent_clients, 0.01),
    "PDU that announces 4 GiB": (four_gibibytes, 0.1),
    "../ in UIDs": (climbing_uids, 0.1),
    "1,000 wrong passwords": (wrong_passwords, 0.01),
}


def attack(
    name: str, target: Target, begun: Event, stop: Event, counts: multiprocessing.Queue[Counter[str]]
) -> None:
    make, pause = ATTACKS[name]
    attempt, made = make(target), Counter[str]()
    begun.set()
    at_least = 1000 if "1,000" in name else 0
    while made["attempts"] < at_least or not (at_least or stop.is_set()):
        time.sleep(pause)
        made["attempts"] += 1
        made["refused"] += attempt()
    counts.put(made)


@contextmanager
def under(names: list[str], target: Target, made: dict[str, Counter[str]]) -> Iterator[None]:
    """While the attacks go on, each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    stop, running = spawn.Event(), []
    for name in names:
        begun, counts = spawn.Event(), spawn.Queue()
        process = spawn.Process(target=attack, args=(name, target, begun, stop, counts))
        process.start()
        begun.wait(60)
        running.append((name, process, counts))
    time.sleep(0.5)
    yield
    stop.set()
    for name, process, counts in running:
        made[name] += counts.get(timeout=60)
        process.join(60)


def made_by(names: list[str], made: dict[str, Counter[str]]) -> int:
    return sum(made[name]["attempts"] for name in names)


def speed(target: Target, count: int, folder: Path) -> float:
    """Images a second that the known sender gets rid of."""
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.dcm")
        ct_slice(number=number, size=512).save_as(paths[-1], enforce_file_format=True)
    started = time.perf_counter()
    receipts = list(target.destination("ct1").send(paths))
    seconds = time.perf_counter() - started
    if bad := [receipt.reason for receipt in receipts if receipt.outcome != "sent"]:
        raise RuntimeError(f"{len(bad)} images were not taken: {bad[0]}")
    return count / seconds


@contextmanager
def node_in(folder: Path, url: str) -> Iterator[Target]:
    authority = Authority(folder)
    for name, days in (("node", 30), ("ct1", 30), ("ct2", 30), ("old", -1)):
        authority.issue(name, days=days)
    Authority(folder, "Nobody").issue("stranger")
    command = [sys.executable, "-W", "ignore", "-c", NODE, str(folder), url]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        port, web_port = map(int, process.stdout.readline().split())
        try:
            yield Target(folder, port, web_port, process.pid)
        finally:
            process.kill()


@dataclass(frozen=True)
class Round:
    """``kept``: the speed under attack, to the mean of those before and after. ``attempt_ms``, ``image_ms``:
    processor time that one costs the node."""

    kept: float
    attempt_ms: float
    image_ms: float


def measure(names: list[str], target: Target, count: int, made: dict[str, Counter[str]]) -> Round:
    folder, earlier = target.folder / "out", made_by(names, made)
    start = target.cpu_seconds()
    before = speed(target, count, folder)
    images = target.cpu_seconds() - start
    start = target.cpu_seconds()
    with under(names, target, made):
        during = speed(target, count, folder)
    attack = target.cpu_seconds() - start - images
    after = speed(target, count, folder)
    attempts = max(1, made_by(names, made) - earlier)
    kept = during / statistics.mean((before, after))
    return Round(kept, 1000 * attack / attempts, 1000 * images / count)


def run(rounds: int, count: int, names: list[str], kind: str) -> bool:
    """Print the figures; whether every attempt was refused."""
    made = {name: Counter[str]() for name in names}
    groups = {name: [name] for name in names} | ({"all at once": names} if len(names) > 1 else {})
    with (
        tempfile.TemporaryDirectory(prefix="overread-attacks-", dir="/dev/shm") as scratch,
        databases_of(kind) as databases,
        databases.new(Path(scratch)) as url,
    ):
        folder = Path(scratch)
        (folder / "out").mkdir()
        print(f"{'attack':30}{'speed kept':>12}{'(least-most)':>15}{'ms/attempt':>12}{'ms/image':>10}")
        with node_in(folder, url) as target:
            speed(target, count, folder / "out")
            for label, group in groups.items():
                seen = [measure(group, target, count, made) for _ in range(rounds)]
                ratios = [one.kept for one in seen]
                costs = [statistics.median(each) for each in zip(*(_costs(one) for one in seen), strict=True)]
                spread = f"({min(ratios):.0%}-{max(ratios):.0%})"
                print(
                    f"{label:30}{statistics.median(ratios):>12.0%}{spread:>15}{costs[0]:>12.1f}{costs[1]:>10.1f}",
                    flush=True,
                )
            time.sleep(1)
        report(url, made)
    return all(one["attempts"] == one["refused"] for one in made.values())


def report(url: str, made: dict[str, Counter[str]]) -> None:
    """Print what was tried, and what the node wrote down."""
    database = Database(url)
    with database.snapshot() as session:
        reasons = Counter(
            (refusal.status, refusal.reason.partition(" (")[0][:90]) for refusal in session.query(Refusal)
        )
        stored, entries = session.query(Instance).count(), newest(session, AuditFilter(), 100_000)
    database.close()
    print(f"\n{'attack':30}{'attempts':>10}{'refused':>9}")
    for name, one in made.items():
        print(f"{name:30}{one['attempts']:>10}{one['refused']:>9}")
    print(f"\n{stored} images of the known sender are stored. Written down:")
    for (status, reason), times in reasons.most_common():
        print(f"  {times:4} × 0x{status:04X} {reason}")
    print(f"  in the audit trail: {dict(Counter(entry.kind for entry in entries))}")


def _costs(one: Round) -> tuple[float, float]:
    return one.attempt_ms, one.image_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200, help="images of 0.5 MB in a round")
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    add_choice_of_database(parser)
    chosen = parser.parse_args()
    sys.exit(0 if run(chosen.rounds, chosen.count, chosen.attacks, chosen.database) else 1)


if __name__ == "__main__":
    main()
