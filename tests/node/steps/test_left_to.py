"""A lesion that two readers find is reported once, by whom it is left to; and by the other where that one
fails or misses it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from inference.catalogue import Catalogue
from inference.engine import Engine
from inference.errors import UnreadableSeriesError
from inference.findings import Reading
from inference.readers import READERS, Reader
from inference.volume import Volume
from node.reading import read_study
from node.reading_room import ReadingRoom
from node.settings import RouteSettings
from node.workflow import plain_step
from storage import readings
from storage.actions import read_again
from storage.closing import close_quiet
from storage.database import Database, now
from storage.readings import StoredReading
from tests.node.results.phantoms import phantom
from tests.node.steps.bright_spots import READER, bright_spots, room_in, take_in
from training.phantoms.dicom import Series

BODY = "ct-lesions"
ROUTES = tuple(RouteSettings(reader=reader, match={"Modality": "CT"}) for reader in (BODY, READER))


def body(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Finds the same, the first in the lungs and the second in the liver."""
    reading = bright_spots(volume, engine, catalogue)
    kinds = ("lung", "liver")
    findings = tuple(replace(f, kind=kind) for f, kind in zip(reading.findings, kinds, strict=True))
    return replace(reading, reader=BODY, findings=findings)


def nodules(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    """Finds the first alone."""
    reading = bright_spots(volume, engine, catalogue)
    return replace(reading, findings=reading.findings[:1])


def nothing(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    return replace(bright_spots(volume, engine, catalogue), findings=())


def fails(volume: Volume, engine: Engine, catalogue: Catalogue) -> Reading:
    raise UnreadableSeriesError("no lungs to be seen")


@pytest.fixture
def room(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadingRoom:
    one = room_in(tmp_path, database, monkeypatch)
    reader = Reader(BODY, READERS[READER].models, body, yields_to=(READER,))
    monkeypatch.setitem(READERS, BODY, reader)
    monkeypatch.setitem(READERS, READER, replace(READERS[READER], read=nodules))
    return replace(one, settings=one.settings.model_copy(update={"routes": ROUTES}))


@pytest.fixture
def study(room: ReadingRoom, tmp_path: Path) -> str:
    phantom(tmp_path / "series", shape=(24, 40, 48))
    return take_in(room, tmp_path / "series")


def reported(room: ReadingRoom, study_uid: str, revision: int) -> dict[str, StoredReading]:
    """What was reported of a revision, by reader."""
    read_study(room, plain_step, study_uid, revision)
    with room.database.snapshot() as session:
        made = readings.readings_of(session, study_uid, revision)
    return {str(one.body["reader"]): one for one in made}


def again(room: ReadingRoom, study_uid: str) -> None:
    """Have a study read once more, as a person asks for it."""
    with room.database.session() as session:
        read_again(session, study_uid, "a test")
    with room.database.session() as session:
        close_quiet(session, now(), lambda study: False)


def sites(reading: StoredReading) -> list[str]:
    return [finding["kind"] for finding in reading.body["findings"]]


def uids(reading: StoredReading) -> set[str]:
    return {made.uid for made in reading.objects}


def test_a_lesion_of_the_lungs_is_reported_once(room: ReadingRoom, study: str) -> None:
    made = reported(room, study, 1)
    assert sites(made[BODY]) == ["liver"]
    assert len(made[READER].body["findings"]) == 1


def test_a_lesion_of_the_lungs_does_not_vanish_with_the_reader_that_failed(
    room: ReadingRoom, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, READER, replace(READERS[READER], read=fails))
    made = reported(room, study, 1)
    assert made.keys() == {BODY}
    assert sites(made[BODY]) == ["lung", "liver"]


def test_a_lesion_of_the_lungs_does_not_vanish_with_the_reader_that_missed_it(
    room: ReadingRoom, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, READER, replace(READERS[READER], read=nothing))
    assert sites(reported(room, study, 1)[BODY]) == ["lung", "liver"]


def test_who_leaves_out_all_it_found_says_to_whom(
    room: ReadingRoom, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, READER, replace(READERS[READER], read=bright_spots))
    made = reported(room, study, 1)[BODY]
    assert (sites(made), made.body["left_to"]) == ([], [READER])
    report = next(one for one in made.objects if one.kind == "sr")
    texts = [
        str(e.value) for e in dcmread(room.archive.path(report.path)).iterall() if e.keyword == "TextValue"
    ]
    assert f"No lesion but for the results of {READER}" in texts


def test_the_same_place_in_another_frame_of_reference_is_another_lesion(
    room: ReadingRoom, tmp_path: Path
) -> None:
    for number, reader in enumerate((BODY, READER), 1):
        series = Series(number=number, description=reader, frame_of_reference_uid=f"1.9.{number}")
        phantom(tmp_path / "series" / reader, shape=(16, 40, 48), series=series)
    routes = tuple(
        RouteSettings(reader=reader, match={"SeriesDescription": reader}) for reader in (BODY, READER)
    )
    room = replace(room, settings=room.settings.model_copy(update={"routes": routes}))
    made = reported(room, take_in(room, tmp_path / "series"), 1)
    assert made.keys() == {BODY, READER}
    assert sites(made[BODY]) == ["lung", "liver"]


def test_what_was_reported_for_another_is_left_to_it_once_it_reads(
    room: ReadingRoom, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setitem(READERS, READER, replace(READERS[READER], read=fails))
        alone = reported(room, study, 1)
    again(room, study)
    both = reported(room, study, 2)
    assert sites(both[BODY]) == ["liver"]
    assert not uids(both[BODY]) & uids(alone[BODY])
    again(room, study)
    assert uids(reported(room, study, 3)[BODY]) == uids(both[BODY])
