"""`overread check`: everything a node needs, looked at before it is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Column, Table
from sqlalchemy import make_url

from inference.catalogue import Catalogue, CatalogueError
from inference.engine import EngineError, open_engine
from node.commands.alive import address, answer
from node.commands.terminal import console, progress
from node.peers.sending import echo_of
from node.security.tls import TlsError, identity_of
from node.settings import Settings
from node.settings.file import in_a_line
from node.upkeep.health import (
    check_certificate,
    check_database,
    check_disk,
    check_engine,
    check_models,
    check_peer,
)
from node.upkeep.ports import check_port
from node.upkeep.probe import Probe
from storage.archive import is_received_into
from storage.database import Database, DatabaseError


class CheckError(RuntimeError):
    """Something is wrong; the table says what."""


def check(settings: Settings, file: Path | None = None, in_vain: Sequence[str] = ()) -> None:
    """Print one line for each part, and one for each thing that the settings ``file`` says ``in_vain``.

    Raises:
        CheckError: one of them would keep a node from working.
    """
    with progress() as bar:
        bar.add_task("checking", total=None)
        probes = [
            *_overridden(in_vain),
            Probe("settings", True, in_a_line(settings, file)),
            *_probes(settings),
        ]
    table = Table("", "part", Column("found", overflow="fold"), Column("what to do", overflow="fold"))
    for probe in probes:
        mark, style = ("NO", "bold red") if not probe.ok else ("!", "yellow") if probe.hint else ("ok", None)
        table.add_row(mark, probe.name, probe.detail, probe.hint, style=style)
    console().print(table)
    if wrong := [probe.name for probe in probes if not probe.ok]:
        raise CheckError(f"not ready: {', '.join(wrong)}.")


def _overridden(in_vain: Sequence[str]) -> Iterator[Probe]:
    for sentence in in_vain:
        yield Probe("settings", True, sentence, "say it in one place, if this is not meant")


def _probes(settings: Settings) -> Iterator[Probe]:
    disk = check_disk(settings.node.data_dir)
    yield disk
    yield _database(settings.database.url, settings.node.data_dir, disk)
    yield from _models(settings)
    yield from _ports(settings)
    if settings.dicom.lets_anyone_in:
        who = f"anyone who reaches {settings.dicom.host}:{settings.dicom.port} may send"
        yield Probe("callers", True, who, 'name the senders, as "CT1@10.0.0.5", in dicom.allowed_callers')
    try:
        identities = {
            "DICOM certificate": identity_of(settings.dicom.tls.files),
            "web certificate": identity_of(settings.web.tls.files),
        }
    except TlsError as error:
        yield Probe("certificates", False, str(error), "see [dicom.tls] and [web.tls] in the settings")
        return
    yield from (check_certificate(name, one) for name, one in identities.items() if one is not None)
    for kind, peers in (("destination", settings.destinations), ("archive", settings.archives)):
        for peer in peers:
            echo = echo_of(peer, settings.node.ae_title, identities["DICOM certificate"])
            yield check_peer(f"{kind} {peer.name}", echo)
    if not settings.destinations:
        yield Probe("destinations", True, "none: results stay here, and on the status page")


def _database(url: str, data_dir: Path, disk: Probe) -> Probe:
    where = make_url(url)
    if where.get_backend_name() == "sqlite" and where.database and not Path(where.database).exists():
        folder = Path(where.database).parent
        room = disk if folder == data_dir else check_disk(folder)
        if room.ok:
            return Probe("database", True, f"{where.database} will be made")
        if room is disk:
            return Probe("database", False, f"{where.database} is still to be made", "see disk")
        return Probe("database", False, room.detail, room.hint)
    database = Database(url)
    try:
        if (probe := check_database(database)).ok:
            database.check_version()
        return probe
    except DatabaseError as error:
        return Probe("database", False, str(error))
    finally:
        database.close()


def _models(settings: Settings) -> Iterator[Probe]:
    try:
        catalogue = Catalogue(settings.engine.models)
    except CatalogueError as error:
        yield Probe("models", False, str(error), "name the model repository in engine.models")
        return
    yield check_models(catalogue)
    try:
        engine = open_engine(settings.engine, catalogue)
    except EngineError as error:
        yield Probe("engine", False, str(error), "see engine.kind and engine.url in the settings")
        return
    try:
        yield check_engine(engine, settings.engine.kind)
    finally:
        engine.close()


def _ports(settings: Settings) -> Iterator[Probe]:
    ports = [
        check_port("dicom", settings.dicom.host, settings.dicom.port),
        check_port("web", settings.web.host, settings.web.port),
    ]
    page = None if all(probe.ok for probe in ports) else _running_node(settings)
    if page is None:
        yield from ports
    elif is_received_into(settings.node.data_dir):
        yield Probe("ports", True, f"a node is running; its status page is {page}")
    else:
        other = f"another Overread, with a data folder of its own, shows its page at {page}"
        for probe in ports:
            yield probe if probe.ok else replace(probe, detail=f"{probe.detail}; {other}")


def _running_node(settings: Settings) -> str | None:
    """The address of the status page, if it is an Overread that answers there."""
    return address(settings.web) if "probes" in answer(settings.web, "/api/health") else None
