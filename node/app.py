"""Composes a running node from its settings, and stops it cleanly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Self

from sqlalchemy import make_url

from inference.catalogue import Catalogue
from inference.engine import Engine, open_engine
from node.decoding import DecodingProcess
from node.intake.completion import Completion
from node.intake.examination import Announcement
from node.intake.receiver import Receiver
from node.ownership import check_owner, node_id_of
from node.peers.archive import DicomArchive, FetchedObject
from node.peers.outbox import Outbox
from node.peers.sending import DicomDestination, echo_of
from node.priors.recall import Recall
from node.reading import read_study
from node.reading_ahead import ReadingAhead
from node.reading_queue import ReadingQueue
from node.reading_room import ReadingRoom
from node.security.tls import Identity, identity_of
from node.settings import Peer, Settings
from node.upkeep.health import NodeHealth, check_certificate, check_tasks
from node.upkeep.probe import Probe
from node.upkeep.retention import Retention, check_set_aside
from node.web.app import create_app
from node.web.server import WebServer
from node.wire.listening import page_at
from node.workflow import DurableQueue, Step
from storage import accounts, audit, deliveries
from storage.archive import Archive
from storage.database import Database, now

log = logging.getLogger(__name__)

SETTLE_SECONDS = 10  # that a study to be closed waits at a time for all that came of it to be entered


class Node:
    """Receives, reads and delivers, from ``start`` to ``stop``.

    The parts are started against the way of a study, from the outbox to the receiver, and stopped along it:
    nothing is accepted before all that reads and delivers it is up.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dicom_port = settings.dicom.port
        self.web_port = settings.web.port
        self._running = ExitStack()

    @property
    def status_url(self) -> str:
        web = self.settings.web
        return page_at(web.host, self.web_port, web.tls.certificate is not None)

    def start(self) -> Self:
        """
        Raises:
            RuntimeError: a part cannot be started; the message says which, why, and what to do. Those that
                were started before it are stopped again.
        """
        with ExitStack() as running:
            self._start(running)
            self._running = running.pop_all()
        return self

    def stop(self) -> None:
        """Finish what may not be cut short; the rest goes on at the next start."""
        self._running.close()

    def _start(self, running: ExitStack) -> None:
        settings = self.settings
        settings.node.data_dir.mkdir(parents=True, exist_ok=True)
        archive = Archive(settings.node.data_dir, durable=settings.dicom.durable).claim()
        running.callback(archive.release)
        database = Database(settings.database.url, durable=settings.dicom.durable)
        running.callback(database.close)
        check_owner(archive.root, database)
        database.upgrade()
        node_id = node_id_of(archive.root, database)
        catalogue = Catalogue(settings.engine.models)
        engine = open_engine(settings.engine, catalogue)
        running.callback(engine.close)
        identity, page_identity = identity_of(settings.dicom.tls.files), identity_of(settings.web.tls.files)
        merged = settings.priors.merged
        receiver = Receiver(settings.dicom, settings.node.ae_title, archive, database, identity, merged)
        pixels = DecodingProcess(settings.pixels.memory_mb << 20, settings.pixels.seconds)
        room = _reading_room(settings, database, archive, catalogue, engine, receiver, pixels, identity)

        title = settings.node.ae_title
        destinations = {
            d.name: (d, DicomDestination(d, title, d.timeout_seconds, identity))
            for d in settings.destinations
        }
        outbox = Outbox(database, archive.root, destinations)
        ahead = ReadingAhead(room)
        reading = _reading(room, ahead, outbox)
        queue = DurableQueue(_queue_url(settings), node_id, reading)
        to_be_read = ReadingQueue(room, queue)
        settle = partial(receiver.settle, SETTLE_SECONDS)
        completion = Completion(
            database,
            settings.dicom,
            to_be_read.enqueue,
            settle,
            ahead.paused,
            receiver.studies_arriving,
        )
        to_archives = _echoes(settings.archives, title, identity)
        echoes = {f"archive {name}": echo for name, echo in to_archives.items()}
        echoes |= {
            f"destination {name}": echo
            for name, echo in _echoes(settings.destinations, title, identity).items()
        }
        forget = partial(_forget_who_did_what, settings, database)
        retention = Retention(settings.retention, database, archive, queue.forget, [forget], merged)
        recall = Recall(database, settings.priors, to_archives)
        tasks = completion.task, recall.task, to_be_read.task, retention.task
        health = NodeHealth(
            settings,
            database,
            catalogue,
            engine,
            lambda: receiver.problem,
            echoes,
            [
                retention.probe,
                partial(check_tasks, (*outbox.tasks, ahead.task, *tasks)),
                partial(check_set_aside, archive),
                *_certificates(identity, page_identity),
            ],
        )

        def wake() -> None:
            completion.task.wake()
            outbox.wake()

        page = create_app(
            settings, database, archive.root, health, settle, wake, entered=lambda: receiver.entered
        )
        web = WebServer(page, settings.web.host, settings.web.port, page_identity, settings.web.proxies)

        with database.session() as session:
            deliveries.retire(session, [d.name for d in settings.destinations])
        for worker in (pixels, outbox, queue):
            running.callback(worker.stop)
            worker.start()
        to_be_read.take_up()
        self.dicom_port = page.state.context.dicom_port = receiver.start()
        running.callback(receiver.stop)
        for part in (web, ahead, *tasks):
            running.callback(part.stop)
            part.start()
        self.web_port = web.port
        if settings.web.asks_login:
            page.state.context.logins.invite(self.status_url)
            if page_identity is None and not settings.web.proxies:
                log.warning(
                    "Passwords travel unencrypted to the status page: set web.tls, or a proxy with TLS."
                )


def _reading_room(
    settings: Settings,
    database: Database,
    archive: Archive,
    catalogue: Catalogue,
    engine: Engine,
    receiver: Receiver,
    pixels: DecodingProcess,
    identity: Identity | None,
) -> ReadingRoom:
    """With archives to fetch from, by way of the receiver, and a process that decodes pixels."""

    def take(fetched: FetchedObject) -> int:
        return receiver.take(
            Announcement(
                fetched.sop_class, fetched.uid, fetched.transfer_syntax, settings.node.ae_title, "fetched"
            ),
            fetched.data_set,
        )

    archives = tuple(DicomArchive(peer, settings.node.ae_title, identity) for peer in settings.archives)
    return ReadingRoom(
        settings,
        database,
        archive,
        catalogue,
        engine,
        load=pixels.load,
        load_frames=pixels.load_frames,
        archives=archives,
        take=take,
        settle=receiver.settle,
    )


def _reading(room: ReadingRoom, ahead: ReadingAhead, outbox: Outbox) -> Callable[..., None]:
    def read(step: Step, study_uid: str, revision: int) -> None:
        ahead.give_way()
        read_study(room, step, study_uid, revision)
        outbox.wake()

    return read


def _queue_url(settings: Settings) -> str:
    """The queue lives beside the database: in a file of its own, or in the same PostgreSQL."""
    url = make_url(settings.database.url)
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{settings.node.data_dir / 'workflow.db'}"
    return settings.database.url


def _forget_who_did_what(settings: Settings, database: Database, at: datetime) -> None:
    with database.session() as session:
        audit.prune(session, at - timedelta(days=settings.audit.keep_days))
        accounts.prune(session, seen_before=now() - timedelta(minutes=settings.web.idle_minutes))


def _certificates(dicom: Identity | None, web: Identity | None) -> list[Callable[[], Probe]]:
    named = {"DICOM certificate": dicom, "web certificate": web}
    return [partial(check_certificate, name, one) for name, one in named.items() if one is not None]


def _echoes(peers: Sequence[Peer], ae_title: str, identity: Identity | None) -> dict[str, Callable[[], None]]:
    return {peer.name: echo_of(peer, ae_title, identity) for peer in peers}
