"""Sends a receiver what no sound peer would, and counts what becomes of it.

python -m tests.faults.fuzz --inputs 100000 --seed 1

Of the inputs, most are data sets that go through a receiver's own acceptance without a wire; a tenth are data
sets and a tenth are streams of PDUs sent to a receiver that listens, both in a process of their own.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import UID
from sqlalchemy import select

from node.intake import notes
from node.intake.examination import Announcement
from node.intake.receiver import Receiver
from node.settings import DicomSettings
from storage.archive import Archive
from storage.database import Database
from storage.tables import Refusal
from tests.databases import Databases, add_choice_of_database, databases_of
from tests.faults.mutation import SOP_CLASS, data_set, seeds, stream
from tests.node.intake.raw_sender import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RawSender,
    association_request,
    pdu,
    store_pdus,
)
from tests.node.intake.senders import ct_slice, encoded

ROOT = Path(__file__).parents[2]
LONGEST_ANSWER = 10.0  # seconds; longer is a hang
SET_ASIDE = "received, then set aside"  # acknowledged, and found to contradict what is known
LONGEST_RUN = 3600.0
MEMORY_CAP = 400  # MiB
WIRE_SHARE = 10  # one of so many inputs each
STREAMS_AT_ONCE = 4
RECEIVER = """
import logging, sys, threading
from pathlib import Path
from node.intake import notes
from node.intake.receiver import Receiver
from node.settings import DicomSettings
from storage.archive import Archive
from storage.database import Database
from storage.tables import Refusal
from tests.databases import Databases, add_choice_of_database, databases_of
notes.OBJECTS_AN_HOUR = sys.maxsize
logging.disable(logging.CRITICAL)
folder, url = Path(sys.argv[1]), sys.argv[2]
database = Database(url)
settings = DicomSettings(port=0, minimum_free_mb=0, durable=False, network_timeout=5)
print(Receiver(settings, "OVERREAD", Archive(folder / "data", durable=False), database).start(), flush=True)
threading.Event().wait()
"""
NAMES = {0: "closed", ASSOCIATE_AC: "accepted", ASSOCIATE_RJ: "rejected", P_DATA: "answered"}
NAMES |= {RELEASE_RP: "released", ABORT: "aborted"}


@dataclass
class Outcome:
    """What became of the inputs. answers: by status or by the last PDU. reasons: why objects were refused,
    numbers and names left out. unexplained: refused objects of which the database holds no reason."""

    inputs: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    crashes: int = 0
    hangs: int = 0
    longest: float = 0.0
    peak_mib: float = 0.0

    @property
    def is_well(self) -> bool:
        return not (self.unexplained or self.crashes or self.hangs) and self.peak_mib <= MEMORY_CAP

    def add(self, answer: str, seconds: float) -> None:
        self.inputs += 1
        self.answers[answer] += 1
        self.longest = max(self.longest, seconds)
        self.hangs += seconds > LONGEST_ANSWER

    def join(self, other: Outcome) -> None:
        self.inputs += other.inputs
        self.answers += other.answers
        self.reasons += other.reasons
        self.unexplained += other.unexplained
        self.crashes += other.crashes
        self.hangs += other.hangs
        self.longest = max(self.longest, other.longest)
        self.peak_mib = max(self.peak_mib, other.peak_mib)


def run(inputs: int, seed: int, folder: Path, databases: Databases) -> Outcome:
    """Send ``inputs`` of the seed's, each in its way."""
    outcome = Outcome()
    on_the_wire = inputs // WIRE_SHARE
    with databases.new(folder / "without") as url:
        outcome.join(_accepted_apart(inputs - 2 * on_the_wire, seed, folder / "without", url))
    with databases.new(folder / "wire") as url:
        outcome.join(_sent(on_the_wire, seed, folder / "wire", url))
    return outcome


def _sent(on_the_wire: int, seed: int, folder: Path, url: str) -> Outcome:
    outcome = Outcome()
    with _receiver(folder, url) as (process, port):
        outcome.join(_data_sets_sent(port, on_the_wire, seed))
        outcome.join(_streams_sent(port, on_the_wire, seed))
        outcome.crashes += not _serves(port)
        outcome.crashes += process.poll() is not None
        status = Path(f"/proc/{process.pid}/status").read_text()
        outcome.peak_mib = max(outcome.peak_mib, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
    outcome.reasons += _reasons(url)
    return outcome


# without a wire


def _accepted_apart(count: int, seed: int, folder: Path, url: str) -> Outcome:
    """In a process of its own, so that it may crash."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.fuzz", "--apart", str(folder), url]
    try:
        done = subprocess.run(
            [*command, "--inputs", str(count), "--seed", str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            timeout=LONGEST_RUN,
        )
    except subprocess.TimeoutExpired:
        return Outcome(count, hangs=1)
    if done.returncode:
        return Outcome(count, crashes=1)
    read = json.loads(done.stdout)
    return Outcome(**(read | {name: Counter(read[name]) for name in ("answers", "reasons")}))


def accept(count: int, seed: int, folder: Path, url: str) -> Outcome:
    """Have data sets accepted or refused by this process."""
    logging.disable(logging.CRITICAL)
    notes.OBJECTS_AN_HOUR = sys.maxsize  # each has to have its reason
    outcome, among = Outcome(), seeds()
    database = Database(url)
    archive = Archive(folder / "data", durable=False)
    settings = DicomSettings(port=0, minimum_free_mb=0, durable=False)
    receiver = Receiver(settings, "OVERREAD", archive, database)
    receiver.start()
    for number in range(count):
        made = data_set(among, seed, number)
        started = time.perf_counter()
        announced = Announcement(SOP_CLASS, made.uid, made.transfer_syntax, "FUZZ", "127.0.0.1")
        status = receiver.take(announced, made.data)
        outcome.add(f"0x{status:04X}", time.perf_counter() - started)
        if number % 500 == 0:
            _empty(archive.quarantine)
    receiver.settle()
    receiver.stop()
    database.close()
    outcome.reasons = _reasons(url)
    refused = count - outcome.answers["0x0000"]
    later = sum(count for reason, count in outcome.reasons.items() if SET_ASIDE in reason)
    outcome.unexplained = refused - (outcome.reasons.total() - later)
    outcome.peak_mib = _peak_mib()
    return outcome


def _peak_mib() -> float:
    """The most memory this process has had since it became this program (getrusage would count its parent's,
    too, from which it was forked)."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def _empty(folder: Path) -> None:
    for path in folder.rglob("*.dcm"):
        path.unlink()


# over the wire


@contextmanager
def _receiver(folder: Path, url: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-W", "ignore", "-c", RECEIVER, str(folder), url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def _data_sets_sent(port: int, count: int, seed: int) -> Outcome:
    """Many over each association, as long as it lasts."""
    outcome, among = Outcome(), seeds()
    contexts = [(SOP_CLASS, UID(syntax)) for syntax in dict.fromkeys(each.transfer_syntax for each in among)]
    sender: RawSender | None = None
    for number in range(count):
        made = data_set(among, seed + 1, number)
        context = 1 + 2 * [syntax for _, syntax in contexts].index(made.transfer_syntax)
        if sender is None:
            sender = RawSender(port, 2 * LONGEST_ANSWER)
            sender.associate(contexts)
        started = time.perf_counter()
        sender.socket.sendall(store_pdus(made.data or b"\0", made.uid, SOP_CLASS, context))
        kind, body = _received(sender)
        status = (
            f"0x{body[body.index(STATUS) + 8] | body[body.index(STATUS) + 9] << 8:04X}"
            if kind == P_DATA
            else ""
        )
        outcome.add(status or NAMES.get(kind, "closed"), time.perf_counter() - started)
        if kind != P_DATA:
            sender.socket.close()
            sender = None
    if sender is not None:
        sender.socket.close()
    return outcome


STATUS = b"\0\0\0\x09\x02\0\0\0"


def _streams_sent(port: int, count: int, seed: int) -> Outcome:
    image = ct_slice(size=8)
    contexts = [(str(image.SOPClassUID), image.file_meta.TransferSyntaxUID)]
    stores = store_pdus(encoded(image), str(image.SOPInstanceUID), SOP_CLASS, fragment=400)
    sound = [association_request(contexts, "FUZZ"), *_split(stores), pdu(RELEASE_RQ, b"\0\0\0\0")]
    outcome = Outcome()
    with ThreadPoolExecutor(STREAMS_AT_ONCE) as pool:
        answers = pool.map(lambda number: _exchange(port, stream(sound, seed, number)), range(count))
        for answer, seconds in answers:
            outcome.add(answer, seconds)
    return outcome


def _split(data: bytes) -> list[bytes]:
    parts = []
    while data:
        end = 6 + int.from_bytes(data[2:6], "big")
        parts.append(data[:end])
        data = data[end:]
    return parts


def _exchange(port: int, data: bytes) -> tuple[str, float]:
    """Send everything, hang up on our side, and wait for the peer to end too; its last PDU says how."""
    started = time.perf_counter()
    last = "closed"
    with RawSender(port, 2 * LONGEST_ANSWER) as sender:
        try:
            sender.socket.sendall(data)
            sender.socket.shutdown(socket.SHUT_WR)
        except OSError:
            last = "closed"  # it had enough
        while (received := _received(sender))[0]:
            last = NAMES.get(received[0], "another PDU")
    return last, time.perf_counter() - started


def _received(sender: RawSender) -> tuple[int, bytes]:
    try:
        return sender.receive()
    except OSError:
        return 0, b""


def _serves(port: int) -> bool:
    """Whether a sound sender is served as ever."""
    image = ct_slice()
    with RawSender(port) as sender:
        if sender.associate() != ASSOCIATE_AC:
            return False
        return sender.store(encoded(image), str(image.SOPInstanceUID)) == 0


def _reasons(url: str) -> Counter[str]:
    """Of everything that was refused, by the kind of its reason."""
    database = Database(url)
    with database.snapshot() as session:
        rows = session.execute(select(Refusal.status, Refusal.reason)).all()
    database.close()
    return Counter(f"0x{status:04X} {_kind(reason)}" for status, reason in rows)


def _kind(reason: str) -> str:
    reason = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason)
    reason = re.sub(r"\([0-9A-F]{4},[0-9A-F]{4}\)", "(gggg,eeee)", reason)
    return re.sub(r"[0-9]+(\.[0-9]+)*", "n", reason)[:90]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--apart", nargs=2, help=argparse.SUPPRESS)
    add_choice_of_database(parser)
    chosen = parser.parse_args()
    if chosen.apart:
        folder, url = chosen.apart
        print(json.dumps(vars(accept(chosen.inputs, chosen.seed, Path(folder), url))))
        return 0
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="overread-fuzz-") as folder,
        databases_of(chosen.database) as databases,
    ):
        outcome = run(chosen.inputs, chosen.seed, Path(folder), databases)
    report(outcome, time.monotonic() - started)
    return 0 if outcome.is_well else 1


def report(outcome: Outcome, seconds: float) -> None:
    print(f"{outcome.inputs} inputs in {seconds:.0f} s")
    print("  answers:  " + ", ".join(f"{name} {count}" for name, count in outcome.answers.most_common()))
    print("  refused because")
    for reason, count in outcome.reasons.most_common(25):
        print(f"  {count:8} {reason}")
    print(
        f"  {outcome.crashes} crashes, {outcome.hangs} hangs, longest answer {outcome.longest:.2f} s, "
        f"{outcome.unexplained} refused without a reason, "
        f"peak memory {outcome.peak_mib:.0f} of {MEMORY_CAP} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
