"""A study is read again: its results stand where the very same would be written, and else are made anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.reading import read_study
from node.reading_room import ReadingRoom
from node.results import identity
from node.settings import DestinationSettings
from node.settings.results import ResultsSettings
from node.workflow import plain_step
from storage import deliveries, readings
from storage.actions import read_again
from storage.closing import close_quiet
from storage.database import Database, now
from storage.readings import StoredReading
from tests.node.results.phantoms import phantom
from tests.node.steps.bright_spots import room_in, take_in


@pytest.fixture
def room(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadingRoom:
    made = room_in(tmp_path, database, monkeypatch)
    return with_settings(made, destinations=(wanting("seg", "sr"),))


@pytest.fixture
def study(room: ReadingRoom, tmp_path: Path) -> str:
    """A study of one lesion, read once."""
    phantom(tmp_path / "series", shape=(24, 40, 48), lesions=1)
    uid = take_in(room, tmp_path / "series")
    read_study(room, plain_step, uid, 1)
    return uid


def wanting(*kinds: str) -> DestinationSettings:
    return DestinationSettings(
        name="-".join(kinds), ae_title="PACS", host="127.0.0.1", port=4242, objects=kinds
    )


def with_settings(room: ReadingRoom, **settings: object) -> ReadingRoom:
    return replace(room, settings=room.settings.model_copy(update=settings))


def in_revision(room: ReadingRoom, study: str, revision: int) -> StoredReading:
    with room.database.snapshot() as session:
        (made,) = readings.readings_of(session, study, revision)
    return made


def read_once_more(room: ReadingRoom, study: str) -> tuple[set[str], set[str]]:
    """The UIDs of the results that were there, and of those that stand for the study now."""
    with room.database.session() as session:
        read_again(session, study, "Ann")
        close_quiet(session, now(), lambda _: False)
    read_study(room, plain_step, study, 2)
    before, after = ({o.uid for o in in_revision(room, study, number).objects} for number in (1, 2))
    return before, after


def test_results_stand_where_nothing_was_changed(room: ReadingRoom, study: str) -> None:
    before, after = read_once_more(room, study)
    assert after == before


def test_a_destination_that_wants_other_kinds_gets_them_once_the_study_is_read_again(
    room: ReadingRoom, study: str
) -> None:
    wider = with_settings(room, destinations=(wanting("seg", "sr"), wanting("sc", "ko")))
    before, after = read_once_more(wider, study)
    assert not before & after
    with room.database.snapshot() as session:
        assert {due.kind for due in deliveries.due(session, "sc-ko")} == {"sc", "ko"}


def test_a_device_identifier_that_was_set_since_is_in_new_results(room: ReadingRoom, study: str) -> None:
    before, after = read_once_more(with_settings(room, results=ResultsSettings(udi="(01)123")), study)
    assert not before & after


def test_what_is_written_otherwise_since_is_written_anew(
    room: ReadingRoom, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "FORMAT", identity.FORMAT + 1)
    before, after = read_once_more(room, study)
    assert not before & after
