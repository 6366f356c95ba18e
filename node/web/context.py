"""What every page and every call of the API works with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Literal

from fastapi import Request

from node.settings import Settings
from node.upkeep.probe import Probe
from node.web.live import Lasting, Look, SinceChange
from node.web.logins import Logins
from node.web.looks import Looks
from node.web.queries import StudyQuery
from node.web.waiting import WaitingRoom
from storage import actions, audit
from storage.changes import ChangeMark
from storage.database import Database
from storage.events import count_of
from storage.overview import (
    SourceLine,
    StudyLine,
    StudyPage,
    StudyState,
    Waiting,
    count_by_state,
    list_sources,
    list_studies,
    waiting_deliveries,
)

Action = Literal["read-now", "read-again", "send-again"]
LONGEST_PAUSE = 10.0  # seconds
LONGEST_LOOK = 60.0  # seconds at health; while the next takes longer, the last is not well
EVERY_ADDRESS = ("", "0.0.0.0", "::")  # of this machine


@dataclass(frozen=True)
class Situation:
    """The sums over all studies."""

    counts: dict[StudyState, int]
    waiting: Waiting
    sources: tuple[SourceLine, ...]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class Board:
    """The list as asked for, beside the sums."""

    page: StudyPage
    situation: Situation

    @property
    def studies(self) -> tuple[StudyLine, ...]:
        return self.page.studies


class Context:
    """The node as the status page sees it; ``health`` is looked at anew after a few seconds. ``settle`` waits
    until what was received has its rows; ``wake`` has what a person asked for begun at once. ``dicom_port``
    is where the receiver listens: another than that of the settings, where these leave it free."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        data_dir: Path,
        probes: Callable[[], Sequence[Probe]],
        settle: Callable[[], object],
        wake: Callable[[], object],
        waiting_room: WaitingRoom,
    ) -> None:
        self.settings = settings
        self.database = database
        self.data_dir = data_dir.resolve()
        self.dicom_port = settings.dicom.port
        self.mark = ChangeMark(database)
        self.stopping = Event()
        self.health = Lasting(lambda: tuple(probes()), seconds=5.0)
        self.looks = Looks(database)
        self.logins = Logins(settings.web, database)
        self.waiting_room = waiting_room
        self._settle = settle
        self._wake = wake
        self._situation = SinceChange(self._sum, self.mark)

    def board(self, query: StudyQuery) -> Board:
        with self.database.snapshot() as session:
            page = list_studies(session, query.filter, query.older, query.limit)
        return Board(page, self._situation())

    def dicom_address(self, asked_for: str) -> str:
        """Where senders reach the node: where it listens at every address, by the name its page is
        ``asked_for`` by."""
        host = self.settings.dicom.host
        named = asked_for if host in EVERY_ADDRESS else host
        return f"{f'[{named}]' if ':' in named else named}:{self.dicom_port}"

    def pause(self) -> float:
        """Seconds between two updates of a page: the sums over all rows take a tenth of the time at most,
        unless that would leave the page behind for too long."""
        return min(LONGEST_PAUSE, 10 * self._situation.cost)

    def may_look(self, request: Request) -> bool:
        """Whether who asks may see everything: logged in, or where nobody has to be."""
        return not self.settings.web.asks_login or request.state.login is not None

    def carry_out(self, action: Action, study_uid: str, asked_by: str, address: str = "") -> None:
        """
        Raises:
            LookupError: the study never came in.
            ActionRefusedError: it cannot be done as the study stands.
        """
        if action == "read-now":
            self._settle()
        with self.database.session() as session:
            missing = 0
            match action:
                case "read-now":
                    missing = actions.read_now(session, study_uid, asked_by)
                case "read-again":
                    missing = actions.read_again(session, study_uid, asked_by)
                case "send-again":
                    actions.send_again(session, study_uid, asked_by, self.settings.deliverable)
            text = f"asked the node to {action.replace('-', ' ')}"
            if missing:
                text += f", without {count_of(missing, 'image')} that were deleted"
            audit.note(session, "action", asked_by, text, address=address, study_uid=study_uid)
        self._wake()

    def key_image(self, written: str) -> Path | None:
        """The picture at a path as written in the database; None if it is gone or lies elsewhere."""
        path = (self.data_dir / written).resolve()
        inside = path.is_relative_to(self.data_dir) and path.suffix == ".png"
        return path if inside and path.is_file() else None

    def _sum(self) -> Situation:
        with self.database.snapshot() as session:
            return Situation(count_by_state(session), waiting_deliveries(session), list_sources(session))


async def context(request: Request) -> Context:  # no thread is needed to find it
    found: Context = request.app.state.context
    return found


async def health(request: Request) -> Look[tuple[Probe, ...]]:  # none is kept by who waits
    """The last look, which is not well once the next has not ended for too long."""
    look = await (await context(request)).health()
    if look.next_takes <= LONGEST_LOOK:
        return look
    late = Probe(
        "health",
        False,
        f"the look that is under way takes {look.next_takes:.0f} s; all else is as it was before",
        "see whether a disk or a folder of the network answers no more; the look ends when it does",
    )
    return replace(look, seen=(late, *look.seen))
