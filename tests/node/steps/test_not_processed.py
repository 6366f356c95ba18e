"""Where the site wants it, a study that was not read says why in the PACS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from sqlalchemy import select

from inference.catalogue import Catalogue
from inference.engine import open_engine
from node.intake.files import received_file
from node.reading import read_study
from node.reading_room import ReadingRoom
from node.results import identity
from node.results.not_processed import not_processed
from node.settings import DestinationSettings, Settings
from node.settings.results import ResultsSettings
from node.workflow import plain_step
from storage import deliveries, readings
from storage.archive import Archive
from storage.closing import close_quiet
from storage.contents import name_of
from storage.database import Database, now
from storage.intake import record
from storage.tables import Study
from tests.validators import dciodvfy, dsrdump
from training.phantoms.dicom import Series, write_ct_series

PACS = DestinationSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=4242)


@pytest.mark.needs("dciodvfy", "dsrdump")
@pytest.mark.parametrize("wanted", [True, False])
def test_a_localizer_is_answered_with_the_reason_only_where_that_is_wanted(
    wanted: bool, database: Database, tmp_path: Path
) -> None:
    scout = Series(number=1, description="Topogram", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    (image,) = write_ct_series(tmp_path / "ct", np.zeros((1, 64, 64), np.int16), np.eye(4), series=scout)
    settings = Settings(destinations=(PACS,), results=ResultsSettings(not_processed=wanted))
    catalogue = Catalogue()
    engine = open_engine(settings.engine, catalogue)
    room = ReadingRoom(settings, database, Archive(tmp_path, durable=False), catalogue, engine)
    uid = str(pydicom.dcmread(image, stop_before_pixels=True).StudyInstanceUID)
    with database.session() as session:
        record(session, [received_file(image, now())])
        session.scalars(select(Study).where(Study.uid == uid)).one().read_now = True
        close_quiet(session, now(), lambda study: True)
    read_study(room, plain_step, uid, 1)

    with database.snapshot() as session:
        ended = readings.find_revision(session, uid, 1)
        assert (ended.state, ended.reason) == ("skipped", "nothing to read: a localizer (Topogram)")
        due = deliveries.due(session, "pacs")
    posted = [room.archive.path(one.path) for one in due]
    engine.close()
    assert [name_of(one.kind, one.path) for one in due] == ["SR (not processed)"] * wanted
    for path in posted:
        assert dciodvfy(path) == [] and dsrdump(path) == []
        assert b"Not processed: nothing to read" in path.read_bytes()


def test_the_report_of_another_release_device_or_reason_has_another_uid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = write_ct_series(tmp_path / "ct", np.zeros((1, 64, 64), np.int16), np.eye(4))

    def uid(reason: str = "a localizer", udi: str = "") -> str:
        return not_processed(image, reason, tmp_path / "out", when=now(), udi=udi).sop_instance_uid

    uids = {uid(), uid("a localizer"), uid(udi="(01)123"), uid("no route")}
    monkeypatch.setattr(identity, "FORMAT", identity.FORMAT + 1)
    assert len(uids) == 3 and uid() not in uids


def test_quotation_marks_of_a_reason_are_those_of_every_character_set(tmp_path: Path) -> None:
    (image,) = write_ct_series(tmp_path / "ct", np.zeros((1, 64, 64), np.int16), np.eye(4))
    header = pydicom.dcmread(image)
    header.SpecificCharacterSet = "ISO_IR 144"
    header.save_as(image)
    made = not_processed(image, "no route for series 2 “Грудь”", tmp_path / "out", when=now())
    report = pydicom.dcmread(made.path)
    texts = [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]
    assert 'Not processed: no route for series 2 "Грудь"' in texts
    assert report.SpecificCharacterSet == "ISO_IR 144"
