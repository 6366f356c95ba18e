"""Is everything this node stands on up? One probe for each part, for `overread check` and the status page."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import exists, func, select, text
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.readers import READERS
from node.security.terms import Term
from node.security.tls import Identity, TlsError
from node.settings import Settings
from node.upkeep.periodic import PeriodicTask
from node.upkeep.probe import Probe
from storage.archive import FOLDERS
from storage.database import LEAST_FREE_BYTES as DATABASE_NEEDS
from storage.database import Database, now
from storage.errors import said
from storage.events import count_of
from storage.tables import Event, Revision, Study

LEAST_FREE_BYTES = 5 * 1024**3  # about ten chest CTs: room to finish what is under way
LEAST_FREE_SHARE = 0.02
DAYS_TO_RENEW = 14  # a certificate
SHARE_TO_RENEW = 1 / 12  # of a revocation list's life, where that is less


class NodeHealth:
    """The parts of a running node; calling it looks at each of them, the peers all at once.

    receiving: what is wrong with the receiver, None when nothing is. echoes: a C-ECHO by the name of its
    peer, raising RuntimeError with a sentence. more: probes of parts that look at themselves.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        catalogue: Catalogue,
        engine: Engine,
        receiving: Callable[[], str | None],
        echoes: Mapping[str, Callable[[], None]],
        more: Sequence[Callable[[], Probe]] = (),
    ) -> None:
        self._parts: list[Callable[[], Probe]] = [
            lambda: check_receiver(settings.node.ae_title, receiving()),
            lambda: check_database(database),
            lambda: check_disk(settings.node.data_dir),
            lambda: check_engine(engine, settings.engine.kind),
            lambda: check_models(catalogue),
            lambda: check_comparisons(database),
            *(lambda name=name, echo=echo: check_peer(name, echo) for name, echo in echoes.items()),
            *more,
        ]

    def __call__(self) -> list[Probe]:
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(_looked_at, self._parts))


def _looked_at(part: Callable[[], Probe]) -> Probe:
    """What was found of a part; one that cannot even be looked at hides no other."""
    try:
        return part()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is shown
        found = f"a part of the node cannot be looked at: {said(error)}"
        return Probe("health", False, found, "mend what it names; the page is right again by itself")


def check_receiver(ae_title: str, problem: str | None) -> Probe:
    """Whether a running node's receiver does its work, and in the database what it took in."""
    if problem is None:
        return Probe("receiver", True, f"listens as {ae_title}")
    hint = (
        "see the other parts here, and the node's log; what was acknowledged is on the disk, and is not lost"
    )
    return Probe("receiver", False, problem, hint)


def check_database(database: Database) -> Probe:
    """Whether the database answers."""
    where = database.named
    try:
        with database.snapshot() as session:
            session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:
        reason = said(error)
        if database.is_sqlite:
            is_damaged = isinstance(error, DatabaseError) and not isinstance(error, OperationalError)
            hint = "restore its backup" if is_damaged else "make its folder writable, or set database.url"
            return Probe("database", False, f"{where}: {reason}", hint)
        return Probe("database", False, f"{where}: {reason}", "start PostgreSQL there, or mend database.url")
    if database.folder and (free := shutil.disk_usage(database.folder).free) < DATABASE_NEEDS:
        found = f"{where}: its disk has {free / 1e6:.0f} MB left, and images may be refused"
        return Probe("database", False, found, "make room there, or move it and set database.url")
    return Probe("database", True, where)


def check_disk(data_dir: Path) -> Probe:
    """Whether ``data_dir`` and what is in it, or the folder it will be made in, can be written to and has
    room."""
    root = data_dir
    while not root.exists() and root != root.parent:
        root = root.parent
    usage = None
    for folder in (root, *(path for name in FOLDERS if (path := data_dir / name).exists())):
        try:
            with tempfile.TemporaryFile(dir=folder):
                usage = usage or shutil.disk_usage(folder)
        except OSError as error:
            where = data_dir if folder == root else folder
            cannot = "be written to" if where.exists() else "be made"
            hint = "set node.data_dir to another folder"
            if isinstance(error, PermissionError):
                hint = f"give the node's user the right to write there, or {hint}"
            return Probe("disk", False, f"{where} cannot {cannot}: {error.strerror}", hint)
    assert usage is not None
    found = f"{usage.free / 1e9:.0f} GB of {usage.total / 1e9:.0f} GB free in {data_dir}"
    if usage.free < LEAST_FREE_BYTES or usage.free < LEAST_FREE_SHARE * usage.total:
        return Probe("disk", False, found, "delete what is no longer needed, or move node.data_dir")
    return Probe("disk", True, found)


def check_engine(engine: Engine, kind: str) -> Probe:
    """Whether the engine, of this ``kind``, can run every model."""
    if problem := engine.health():
        return Probe(
            "engine", False, problem, "see engine.kind, engine.url and engine.models in the settings"
        )
    return Probe("engine", True, kind)


def check_models(catalogue: Catalogue) -> Probe:
    """Whether every model's card is sound and its weights are those the card was written for, and no reader
    has only some of its models."""
    if problems := catalogue.problems():
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Probe("models", False, problems[0] + more, "see `overread models list`")
    for reader in READERS.values():
        missing = [name for name in reader.models if name not in catalogue.names]
        if missing and len(missing) < len(reader.models):
            detail = f"{reader.name} does not read: it lacks {', '.join(missing)}"
            return Probe(
                "models", False, detail, "put it into engine.models beside the others, or take those away"
            )
    return Probe("models", True, ", ".join(catalogue.names))


def check_tasks(tasks: Sequence[PeriodicTask]) -> Probe:
    """Whether what a running node does again and again, can be done."""
    if problems := [task.problem for task in tasks if task.problem]:
        hint = "see the node's log for what is in its way; it is tried again by itself"
        return Probe("background", False, "; ".join(problems), hint)
    return Probe("background", True, ", ".join(task.name for task in tasks))


def check_comparisons(database: Database) -> Probe:
    """Whether every comparison of the last day came about that this node was to blame for, or did when the
    study was read again."""
    try:
        with database.snapshot() as session:
            failed = _without_comparison(session, now() - timedelta(days=1))
    except SQLAlchemyError:
        return Probe("comparisons", True, "unknown while the database is away")
    if not failed:
        return Probe("comparisons", True, "none has failed within a day")
    return Probe(
        "comparisons",
        False,
        f"{count_of(failed, 'study', 'studies')} went out without a comparison within a day",
        "see why on the timelines and in the node's log; once that is mended, press “Read again” there",
    )


def _without_comparison(session: Session, since: datetime) -> int:
    """How many studies have an error of their newest revision's comparison on their timelines."""
    newer = exists().where(
        Study.uid == Event.study_uid, Revision.study_pk == Study.id, Revision.number > Event.revision
    )
    of_stages = Event.at >= since, Event.level == "error", Event.stage.in_(("priors", "compare"))
    return session.scalar(select(func.count(Event.study_uid.distinct())).where(*of_stages, ~newer)) or 0


def check_certificate(name: str, identity: Identity) -> Probe:
    """Whether a certificate is in force, and for how long; and so what others are trusted by."""
    renew = f"put a new one into {identity.files.certificate}; it is taken up by itself"
    try:
        ends = identity.valid_until()
        terms = identity.terms()
    except TlsError as error:
        return Probe(name, False, str(error), renew)
    if identity.problem:
        return Probe(name, False, identity.problem, "mend the files; they are taken up by themselves")
    days = (ends - datetime.now(UTC)).days
    found = f"valid until {ends:%Y-%m-%d}"
    if days < DAYS_TO_RENEW:
        return Probe(name, False, f"{found}, in {days} days", renew)
    for place, term in terms:
        if trouble := _running_out(term, datetime.now(UTC)):
            hint = f"put a new one into {place}; it is taken up by itself"
            return Probe(name, False, f"the {term.kind} of {term.of} in {place} {trouble}", hint)
    return Probe(name, True, found)


def _running_out(term: Term, at: datetime) -> str:
    """What is wrong with a term, or soon will be; empty when nothing is. A list that is made anew each day or
    week is not told of for most of its life."""
    refused = "whose certificates rest on it are refused"
    if at < term.begins:
        return f"begins on {term.begins:%Y-%m-%d %H:%M} UTC: peers {refused}; is the machine's clock right?"
    if at >= term.ends:
        return f"ended on {term.ends:%Y-%m-%d %H:%M} UTC: peers {refused}"
    notice = timedelta(days=DAYS_TO_RENEW)
    if term.kind == "revocation list":
        notice = min(notice, (term.ends - term.begins) * SHARE_TO_RENEW)
    if term.ends - at < notice:
        return f"ends on {term.ends:%Y-%m-%d %H:%M} UTC: peers {refused} then"
    return ""


def check_peer(name: str, echo: Callable[[], None]) -> Probe:
    """Whether a peer answers a C-ECHO."""
    try:
        echo()
    except RuntimeError as error:
        return Probe(name, False, str(error), "start it, or mend host, port and AE title, here and there")
    return Probe(name, True, "answers a C-ECHO")
