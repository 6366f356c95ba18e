"""Where a study stands on its way, as its page tells it: received, read, delivered; and what can be done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from markupsafe import Markup

from node.web.presentation import STAGE_WORDS, age, plural
from storage.dossier import DeliveryRecord, Dossier, ReadingRecord
from storage.overview import StudyLine

ARRIVED = ("sent", "confirmed")


@dataclass(frozen=True)
class Stop:
    """One stop of the way. ``mark``: done, under way, broken, or empty where it was not reached."""

    name: str
    mark: Literal["", "under", "done", "broken"]
    words: str


@dataclass(frozen=True)
class Stuck:
    """What a destination could not be sent yet; ``next_at`` is when it is tried again by itself."""

    destination: str
    count: int
    attempts: int
    next_at: datetime | None
    last_error: str


def way_of(dossier: Dossier) -> tuple[Stop, Stop, Stop]:
    study = dossier.study
    images = plural(study.image_count, "image", "images")
    came = Markup("{}, the last {} ago").format(images, age(study.last_image_at))
    received = Stop("Received", "under" if study.state == "receiving" else "done", came)
    return received, _read(dossier), _delivered(dossier)


def what_to_do(study: StudyLine) -> str:
    """For who may act: what mends a study that failed or was skipped; empty where its reason says so."""
    if study.state == "failed" and study.stage == "deliver":
        return "Once the destination takes what it refused, or is not set to get it, press “Send again”."
    if study.state == "failed":
        return "Once that is mended, press “Read again”. Images that were missing are read when they come."
    if study.state == "skipped" and study.stage == "select":
        return (
            "Nothing, unless a series should have been read. Where images are missing, send them: the study "
            "is then read. A series that no route matches can be given one in the settings; then restart "
            "the node and press “Read again”."
        )
    return ""


def stuck_deliveries(dossier: Dossier) -> tuple[Stuck, ...]:
    """By destination, what waits after it was tried in vain."""
    waiting: dict[str, list[DeliveryRecord]] = {}
    for revision in dossier.revisions:
        for delivery in revision.deliveries:
            if delivery.state == "waiting" and delivery.attempts:
                waiting.setdefault(delivery.destination, []).append(delivery)
    return tuple(_stuck(destination, of_it) for destination, of_it in waiting.items())


def _stuck(destination: str, waiting: list[DeliveryRecord]) -> Stuck:
    most = max(waiting, key=lambda delivery: delivery.attempts)
    next_at = min((d.next_at for d in waiting if d.next_at is not None), default=None)
    return Stuck(destination, len(waiting), most.attempts, next_at, most.last_error)


def _read(dossier: Dossier) -> Stop:
    study = dossier.study
    newest = dossier.revisions[0].readings if dossier.revisions else ()
    match study.state:
        case "receiving":
            return Stop("Read", "", "not yet")
        case "queued":
            return Stop("Read", "", Markup("in the queue for {}").format(age(study.since)))
        case "reading":
            stage = STAGE_WORDS.get(study.stage, study.stage or "beginning")
            return Stop("Read", "under", Markup("{}, for {}").format(stage, age(study.since)))
        case "failed" if study.stage != "deliver":
            others = f"{_readers(newest)}; another reader failed" if newest else "not read"
            return Stop("Read", "broken", others)
        case "skipped":
            return Stop("Read", "", "not read")
    shown = next((revision.readings for revision in dossier.revisions if revision.readings), ())
    return Stop("Read", "done", _readers(shown)) if shown else Stop("Read", "", "not asked for")


def _delivered(dossier: Dossier) -> Stop:
    study = dossier.study
    newest = dossier.revisions[0].deliveries if dossier.revisions else ()
    sent = next((revision.deliveries for revision in dossier.revisions if revision.deliveries), ())
    match study.state:
        case "receiving" | "queued" | "reading":
            return Stop("Delivered", "", "not yet")
        case "delivering":
            return Stop("Delivered", "under", _arrived(sent))
        case "delivered":
            return Stop("Delivered", "done", _arrived(sent))
        case "failed" if study.stage == "deliver":
            return Stop("Delivered", "broken", _arrived(sent))
        case "failed" | "skipped":
            return Stop("Delivered", "", _arrived(newest))
    return Stop("Delivered", "", "nothing of it is sent")


def _readers(readings: Iterable[ReadingRecord]) -> str:
    return ", ".join(dict.fromkeys(reading.reader for reading in readings))


def _arrived(deliveries: Iterable[DeliveryRecord]) -> str:
    """``3 of 4 deliveries``; what another kind of object went instead of is none."""
    wanted = [delivery for delivery in deliveries if delivery.state != "replaced"]
    arrived = sum(delivery.state in ARRIVED for delivery in wanted)
    return f"{arrived} of {plural(len(wanted), 'delivery', 'deliveries')}" if wanted else "nothing to send"
