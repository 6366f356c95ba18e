from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from sqlalchemy import Connection, event, select

from node.intake.completion import (
    LONGEST_ARRIVAL,
    QUIET_PERIODS_OF_AN_ARRIVAL,
    SECONDS_BETWEEN_LOOKS,
    Completion,
    QuietClock,
)
from node.intake.examination import study_uid_of
from node.settings import DicomSettings, SourceSettings
from storage.closing import ClosedStudy, OpenStudy
from storage.database import Database, now
from storage.intake import Received, record
from storage.part10 import encode_head
from storage.tables import Revision, Study
from tests.node.intake.conftest import Intake
from tests.node.intake.raw_sender import RawSender, store_pdus
from tests.node.intake.senders import ct_series, ct_slice, encoded, in_transfer_syntax
from tests.waiting import wait_for

PATIENCE = 20  # seconds, for what takes a fraction of one


class Closings:
    """Collects what a Completion hands over."""

    def __init__(self) -> None:
        self.studies: list[ClosedStudy] = []
        self._changed = threading.Condition()
        self.fail_once = False

    def __call__(self, closed: ClosedStudy) -> None:
        with self._changed:
            if self.fail_once:
                self.fail_once = False
                raise OSError("the queue is away")
            self.studies.append(closed)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[ClosedStudy]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.studies) >= count, PATIENCE)
            return list(self.studies)


def closed_by(completion: Completion, closings: Closings) -> list[ClosedStudy]:
    """What has been handed over once ``completion`` has had one more look."""
    completion.close_quiet_studies()
    return closings.studies


@pytest.fixture
def database(open_database: Callable[[], Database]) -> Database:
    return open_database()


@pytest.fixture
def closings() -> Closings:
    return Closings()


@pytest.fixture
def start(database: Database, closings: Closings) -> Iterator[Callable[[DicomSettings], Completion]]:
    started: list[Completion] = []

    def start_(settings: DicomSettings) -> Completion:
        completion = Completion(database, settings, closings)
        completion.task.start()
        started.append(completion)
        return completion

    yield start_
    for completion in started:
        completion.task.stop()


def take_in(
    database: Database, study: str, source: str = "CT1", seconds_ago: float = 0, image: int = 1
) -> None:
    received = Received(
        uid=f"{study}.1.{image}",
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax="1.2.840.10008.1.2.1",
        series_uid=f"{study}.1",
        study_uid=study,
        path=f"images/{study}.{image}.dcm",
        size=1,
        received_at=now() - timedelta(seconds=seconds_ago),
        source=source,
    )
    with database.session() as session:
        record(session, [received])


def test_a_quiet_study_is_closed_and_handed_over_once(
    database: Database, closings: Closings, start: Callable[[DicomSettings], Completion]
) -> None:
    start(DicomSettings(quiet_seconds=0.6))
    take_in(database, "1.1")
    assert closings.wait_for(1) == [ClosedStudy("1.1", 1)]
    with database.snapshot() as session:
        study = session.scalars(select(Study)).one()
        [revision] = study.revisions
        assert revision.closed_at - study.last_image_at >= timedelta(seconds=0.6)
    time.sleep(1)
    assert closings.studies == [ClosedStudy("1.1", 1)]


def test_a_study_is_not_closed_before_all_that_was_received_of_it_has_its_rows(
    database: Database, closings: Closings
) -> None:
    closed_when_asked: list[list[ClosedStudy]] = []

    def settle() -> bool:
        closed_when_asked.append(list(closings.studies))
        return len(closed_when_asked) > 1

    take_in(database, "1.1", seconds_ago=60)
    completion = Completion(database, DicomSettings(quiet_seconds=0.3), closings, settle)
    completion.task.start()
    try:
        assert closings.wait_for(1) == [ClosedStudy("1.1", 1)]
    finally:
        completion.task.stop()
    assert closed_when_asked == [[], []]


def test_a_study_is_not_closed_while_a_large_image_of_it_is_on_its_way_in(
    start_intake: Callable[..., Intake], closings: Closings
) -> None:
    intake = start_intake("fast")
    receiver = intake.receiver
    first, large = ct_series(2, size=256)
    message = store_pdus(encoded(large), large.SOPInstanceUID, CTImageStorage)
    half = len(message) // 2
    settings = DicomSettings(quiet_seconds=0.2)
    completion = Completion(
        intake.database, settings, closings, receiver.settle, arriving=receiver.studies_arriving
    )
    with RawSender(intake.port) as sender:
        sender.associate()
        assert sender.store(encoded(first), first.SOPInstanceUID) == 0x0000
        assert receiver.studies_arriving() == frozenset()
        sender.socket.sendall(message[:half])
        wait_for(lambda: receiver.studies_arriving() == {first.StudyInstanceUID})
        receiver.settle()
        for _ in range(3):
            completion.close_quiet_studies()
            time.sleep(0.3)
        assert closings.studies == []
        sender.socket.sendall(message[half:])
        assert sender.status() == 0x0000
        sender.release()
    wait_for(lambda: closed_by(completion, closings), PATIENCE)
    with intake.database.snapshot() as session:
        assert session.scalars(select(Revision.image_count)).all() == [2]


@pytest.mark.parametrize("quiet_seconds", [10, 120])
def test_an_object_that_never_ends_holds_its_study_open_for_a_while_only(
    database: Database, closings: Closings, quiet_seconds: int
) -> None:
    longest = max(LONGEST_ARRIVAL, QUIET_PERIODS_OF_AN_ARRIVAL * quiet_seconds)
    seconds = [1000.0]
    settings = DicomSettings(quiet_seconds=quiet_seconds)
    completion = Completion(database, settings, closings, arriving=lambda: {"1.1"}, clock=lambda: seconds[0])
    take_in(database, "1.1")
    completion.close_quiet_studies()
    seconds[0] += longest - 1
    completion.close_quiet_studies()
    assert closings.studies == []
    seconds[0] += 1
    completion.close_quiet_studies()
    assert closings.studies == [ClosedStudy("1.1", 1)]


def test_a_study_is_not_closed_when_an_image_begins_to_come_while_rows_are_waited_for(
    database: Database, closings: Closings
) -> None:
    arriving: set[str] = set()
    seconds = [1000.0]

    def settle() -> bool:
        arriving.add("1.1")
        return True

    completion = Completion(
        database,
        DicomSettings(quiet_seconds=10),
        closings,
        settle,
        arriving=lambda: arriving,
        clock=lambda: seconds[0],
    )
    take_in(database, "1.1")
    completion.close_quiet_studies()
    seconds[0] += 20
    completion.close_quiet_studies()
    assert arriving
    assert closings.studies == []


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_first_bytes_of_an_object_tell_its_study(syntax: str) -> None:
    image = ct_slice()
    _, data = in_transfer_syntax(image, syntax)
    file = encode_head(image.SOPClassUID, image.SOPInstanceUID, syntax, "CT1") + data
    told = [study_uid_of(file[:size]) for size in range(0, len(file) - 2048, 7)]
    assert set(told) == {"", image.StudyInstanceUID}
    assert told == sorted(told)


def test_each_source_is_given_its_own_time(
    database: Database, closings: Closings, start: Callable[[DicomSettings], Completion]
) -> None:
    slow = SourceSettings(ae_title="SLOW", quiet_seconds=3600)
    take_in(database, "1.1", "SLOW", seconds_ago=60)
    take_in(database, "1.2", "CT1", seconds_ago=60)
    start(DicomSettings(quiet_seconds=0.3, sources=(slow,)))
    assert closings.wait_for(1) == [ClosedStudy("1.2", 1)]


def test_read_now_is_seen_without_the_quiet_period(
    database: Database, closings: Closings, start: Callable[[DicomSettings], Completion]
) -> None:
    start(DicomSettings(quiet_seconds=3600))
    take_in(database, "1.1")
    with database.session() as session:
        session.scalars(select(Study)).one().read_now = True
    assert closings.wait_for(1) == [ClosedStudy("1.1", 1)]


def test_a_pause_is_told_once_and_again_after_a_new_image(database: Database, closings: Closings) -> None:
    pauses: list[str] = []
    settings = DicomSettings(quiet_seconds=3600, read_ahead_seconds=0.3)
    completion = Completion(database, settings, closings, on_pause=lambda study: pauses.append(study.uid))
    take_in(database, "1.1")  # before a start, which nobody is told of: reading it may have ended the node
    completion.close_quiet_studies()
    for study, expected in (("1.2", ["1.2"]), ("1.1", ["1.2", "1.1"]), ("1.2", ["1.2", "1.1", "1.2"])):
        take_in(database, study, image=len(expected) + 1)
        deadline = time.monotonic() + PATIENCE
        while len(pauses) < len(expected) and time.monotonic() < deadline:
            assert completion.close_quiet_studies()
            time.sleep(0.05)
        time.sleep(0.4)
        completion.close_quiet_studies()
        assert pauses == expected
    assert closings.studies == []


@pytest.mark.parametrize("seconds", [0, 1, 60])
def test_a_study_is_not_told_of_that_is_quiet_as_soon_as_it_pauses(
    database: Database, closings: Closings, seconds: float
) -> None:
    pauses: list[OpenStudy] = []
    settings = DicomSettings(quiet_seconds=0.3, read_ahead_seconds=seconds)
    completion = Completion(database, settings, closings, on_pause=pauses.append)
    completion.close_quiet_studies()
    take_in(database, "1.1")
    wait_for(lambda: closed_by(completion, closings), PATIENCE)
    assert pauses == []


def test_a_study_is_handed_over_after_a_hiccup(
    database: Database, closings: Closings, start: Callable[[DicomSettings], Completion]
) -> None:
    closings.fail_once = True
    take_in(database, "1.1", seconds_ago=60)
    completion = start(DicomSettings(quiet_seconds=0.3))
    assert closings.wait_for(1) == [ClosedStudy("1.1", 1)]
    with database.snapshot() as session:
        assert session.scalars(select(Revision.number)).all() == [1]
    completion.task.stop()
    assert completion.task.problem == ""


def test_a_closing_that_was_not_committed_is_not_handed_over(
    database: Database, closings: Closings, start: Callable[[DicomSettings], Completion]
) -> None:
    take_in(database, "1.1", seconds_ago=60)
    failures = [OSError("the disk is full")]

    def fail_once(_connection: Connection) -> None:
        if failures:
            raise failures.pop()

    event.listen(database.engine, "commit", fail_once)
    completion = start(DicomSettings(quiet_seconds=0.3))
    closings.wait_for(1)
    completion.task.stop()
    assert closings.studies == [ClosedStudy("1.1", 1)]
    assert failures == []


def test_a_database_that_is_away_is_a_problem_until_it_is_back(
    database: Database, closings: Closings, start: Callable[[DicomSettings], Completion]
) -> None:
    take_in(database, "1.1", seconds_ago=60)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE revisions RENAME TO away")
    completion = start(DicomSettings(quiet_seconds=0.3))
    deadline = time.monotonic() + PATIENCE
    while not completion.task.problem and time.monotonic() < deadline:
        time.sleep(0.05)
    assert completion.task.problem.startswith("complete studies cannot be closed (")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO revisions")
    assert closings.wait_for(1) == [ClosedStudy("1.1", 1)]


class TestQuietClock:
    """An hour more or less on the wall clock, or without power, is no quiet."""

    AT = datetime(2026, 3, 29, 1, 59, tzinfo=UTC)

    def test_a_study_left_open_before_the_node_was_down_gets_its_period_anew(self) -> None:
        seconds = [1000.0]
        clock = QuietClock(lambda: seconds[0])
        study = OpenStudy("1.1", "CT1", self.AT - timedelta(hours=8), False)
        clock.look([study], self.AT)
        assert clock.seconds(study) <= SECONDS_BETWEEN_LOOKS
        seconds[0] += 10
        clock.look([study], self.AT + timedelta(seconds=10))
        assert 10 <= clock.seconds(study) <= 10 + SECONDS_BETWEEN_LOOKS

    @pytest.mark.parametrize("jump", [timedelta(hours=1), -timedelta(hours=1)])
    def test_a_wall_clock_that_jumps_neither_shortens_nor_lengthens_it(self, jump: timedelta) -> None:
        seconds = [1000.0]
        clock = QuietClock(lambda: seconds[0])
        study = OpenStudy("1.1", "CT1", self.AT, False)
        clock.look([study], self.AT)
        seconds[0] += 3
        clock.look([study], self.AT + jump)
        assert clock.seconds(study) == 3

    def test_an_image_begins_it_anew(self) -> None:
        seconds = [1000.0]
        clock = QuietClock(lambda: seconds[0])
        clock.look([OpenStudy("1.1", "CT1", self.AT, False)], self.AT)
        seconds[0] += 9
        later = OpenStudy("1.1", "CT1", self.AT + timedelta(seconds=9), False)
        assert clock.seconds(later) == 0
        clock.look([later], self.AT + timedelta(seconds=9))
        assert clock.seconds(later) == 0
