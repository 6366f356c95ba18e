"""Strangers at a node that speaks TLS and has a login on its page, and what each of them tries."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from node.peers.sending import DeliveryError, DicomDestination
from node.security.tls import Files, Identity
from node.settings import Peer
from storage.audit import AuditFilter, newest
from storage.database import Database
from storage.tables import Refusal
from tests.certificates import Authority
from tests.node.intake.raw_sender import ABORT, RawSender
from tests.node.intake.senders import ct_slice, encoded

SILENT, HANDSHAKE_SECONDS = 200, 3
ROOT = Path(__file__).parents[2]
NODE = """
import sys, threading
from pathlib import Path
from node.upkeep.probe import Probe
from node.intake.receiver import Receiver
from node.security.passwords import hashed
from node.settings import Settings
from node.security.tls import identity_of
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
            "authorities": folder / "Hospital-CA.pem", "handshake_seconds": float(sys.argv[3]),
        },
    },
    "web": {"port": 0, "login": "always"},
    "database": {"url": url},
})
database = Database(url)
with database.session() as session:
    accounts.add(session, "anna", "admin", hashed("anna", "correct horse battery"))
archive = Archive(folder / "data", durable=False)
receiver = Receiver(settings.dicom, "OVERREAD", archive, database, identity_of(settings.dicom.tls.files))
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
    """200 connections that say nothing; for each that is sent away comes another."""
    connections: list[socket.socket] = []

    def attempt() -> bool:
        """Until one is sent away."""
        while len(connections) < SILENT:
            connections.append(socket.create_connection(("127.0.0.1", target.port), 20))
        ended, _, _ = select.select(connections, [], [], 4 * HANDSHAKE_SECONDS)
        for connection in ended[:1]:
            with suppress(ConnectionError):
                if connection.recv(64):
                    return False
            connection.close()
            connections.remove(connection)
        return bool(ended)

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


@dataclass(frozen=True)
class Attack:
    """``make`` prepares it; ``pause``: seconds between attempts; ``recorded``: words of what the node writes
    down of it; ``at_least``: how many attempts it takes, and ``at_once`` how many of them."""

    make: Callable[[Target], Attempt]
    recorded: str
    pause: float = 0.1
    at_least: int = 0
    at_once: int = 1


ATTACKS = {
    "somebody else's certificate": Attack(
        lambda target: with_certificate(target, "ct2"), "CN=ct2) is not among dicom.allowed_callers"
    ),
    "expired certificate": Attack(
        lambda target: with_certificate(target, "old"),
        "is not accepted: certificate has expired",
    ),
    "unknown certificate": Attack(
        lambda target: with_certificate(target, "stranger"),
        "is not accepted: unable to get local issuer certificate",
    ),
    "unlisted caller": Attack(
        lambda target: with_certificate(target, "ct1", "NOBODY"),
        "NOBODY@127.0.0.1 (O=Hospital,CN=ct1) is not",
    ),
    "200 silent clients": Attack(silent_clients, "did not finish the TLS handshake in time", 0.01),
    "PDU that announces 4 GiB": Attack(four_gibibytes, "announces 4294967295 bytes"),
    "../ in UIDs": Attack(climbing_uids, "is not a UID"),
    "1,000 wrong passwords": Attack(wrong_passwords, "a wrong name or password was given", 0.01, 1000, 20),
}


def unrecorded(names: list[str], url: str, seconds: float = 30) -> list[str]:
    """The attacks of which the node writes nothing down, now or in so many seconds."""
    until = time.monotonic() + seconds
    while (missing := _unwritten(names, url)) and time.monotonic() < until:
        time.sleep(0.2)
    return missing


def _unwritten(names: list[str], url: str) -> list[str]:
    database = Database(url)
    with database.snapshot() as session:
        written = [refusal.reason for refusal in session.query(Refusal)]
        written += [entry.text for entry in newest(session, AuditFilter(kind="login-refused"), 100_000)]
    database.close()
    return [name for name in names if not any(ATTACKS[name].recorded in one for one in written)]


@contextmanager
def node_in(folder: Path, url: str) -> Iterator[Target]:
    authority = Authority(folder)
    for name, days in (("node", 30), ("ct1", 30), ("ct2", 30), ("old", -1)):
        authority.issue(name, days=days)
    Authority(folder, "Nobody").issue("stranger")
    command = [sys.executable, "-W", "ignore", "-c", NODE, str(folder), url, str(HANDSHAKE_SECONDS)]
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
