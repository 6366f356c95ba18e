"""Follows the demo's studies: rendered, sent, read by the node, and back at the PACS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset

from node.demo.pacs import StandInPacs
from node.demo.patients import MadeStudy, Recipe
from node.peers.sending import DicomDestination
from storage.database import Database
from storage.dossier import reading_bodies
from storage.overview import one_study
from training.phantoms.nodules import Lesion

LOOK_EVERY = 0.25  # seconds
ATTEMPTS = 5
FINAL = {"delivered", "failed", "skipped"}


class DemoError(RuntimeError):
    """The demo did not come out as it has to; the message says what is missing."""


@dataclass(frozen=True)
class Sight:
    """One study at one moment. ``findings`` is None until it is read."""

    recipe: Recipe
    state: str
    reason: str = ""
    images: int = 0
    ended: bool = False
    findings: int | None = None
    lesions: tuple[Lesion, ...] = ()
    readings: tuple[Mapping[str, Any], ...] = ()
    arrived: tuple[Dataset, ...] = ()

    @property
    def in_words(self) -> str:
        """How far it is, with the reason why it goes no further."""
        return f"{self.state}: {self.reason}" if self.reason else self.state

    @property
    def missing(self) -> str:
        """What is not as the recipe expects, empty when all is."""
        kinds = {str(header.get("Modality", "")) for header in self.arrived}
        who = self.recipe.patient.patient_id
        if not self.recipe.expects:
            return "" if self.state == "skipped" else f"{who} should have been skipped, and is {self.state}"
        if absent := sorted(self.recipe.expects - kinds):
            return f"{' and '.join(absent)} of {who} did not arrive ({self.in_words})"
        return ""


@dataclass(frozen=True)
class Course:
    """One study on its way: the rendering and the sending that are under way."""

    recipe: Recipe
    made: Future[MadeStudy]
    sent: Future[None]

    def look(self, database: Database, pacs: StandInPacs) -> Sight:
        """
        Raises:
            DemoError: the study could not be rendered or sent.
        """
        if not self.made.done():
            return Sight(self.recipe, "rendering")
        made = self.made.result()
        if self.sent.done():
            self.sent.result()
        with database.snapshot() as session:
            line = one_study(session, self.recipe.study_uid)
            readings = reading_bodies(session, self.recipe.study_uid) or []
        if line is None:
            return Sight(self.recipe, "sending")
        complete = self.sent.done() and line.image_count == len(made.paths)
        return Sight(
            self.recipe,
            line.state,
            line.reason,
            line.image_count,
            ended=complete and line.state in FINAL,
            findings=line.finding_count,
            lesions=made.lesions,
            readings=tuple(readings),
            arrived=tuple(pacs.objects(self.recipe.study_uid)),
        )


def send(made: Future[MadeStudy], node: DicomDestination, pacs: DicomDestination) -> None:
    """Send a study to the node as soon as it is rendered, the patient's earlier one to the PACS before.

    Raises:
        DemoError: an image was not taken.
    """
    study = made.result()
    _send(study.earlier, pacs)
    _send(study.paths, node)


def _send(paths: Sequence[Path], destination: DicomDestination) -> None:
    """What did not arrive is sent again, as a PACS would."""
    waiting = paths
    for _ in range(ATTEMPTS):
        receipts = [receipt for receipt in destination.send(waiting) if receipt.outcome != "sent"]
        if not receipts:
            return
        waiting = [receipt.path for receipt in receipts]
    raise DemoError(f"{destination.peer.name} did not take {waiting[0].name}: {receipts[0].reason}")


def follow(
    courses: Sequence[Course], database: Database, pacs: StandInPacs, show: Callable[[Sequence[Sight]], None]
) -> list[Sight]:
    """Show every study until all have ended; returns how each did."""
    for sights in _looks(courses, database, pacs):
        show(sights)
        if all(sight.ended for sight in sights):
            break
    return sights


def _looks(courses: Sequence[Course], database: Database, pacs: StandInPacs) -> Iterator[list[Sight]]:
    while True:
        yield [course.look(database, pacs) for course in courses]
        time.sleep(LOOK_EVERY)
