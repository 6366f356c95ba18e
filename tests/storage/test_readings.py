"""What was read of a study before."""

from __future__ import annotations

from storage import readings
from storage.database import Database
from storage.readings import StoredObject
from tests.node.web import rows

REPORT = StoredObject("sr", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.9", "results/sr.dcm")


def test_a_study_fetched_as_a_prior_and_then_sent_has_no_earlier_results(database: Database) -> None:
    body = {"reader": "lung-nodules", "series_uid": "1.1"}
    with database.session() as session:
        study = rows.add_study(session)
        for number, objects in ((1, [REPORT]), (2, []), (3, [])):
            rows.close(session, study, number=number)
            readings.save_reading(session, study.uid, number, f"identity {number}", body, [], [], objects)
    with database.snapshot() as session:
        last = readings.earlier_reading(session, study.uid, 3, "lung-nodules")
        sent = readings.earlier_reading(session, study.uid, 3, "lung-nodules", with_objects=True)
    assert last is not None and (last.identity, last.objects) == ("identity 2", ())
    assert sent is not None and (sent.identity, sent.objects) == ("identity 1", (REPORT,))
