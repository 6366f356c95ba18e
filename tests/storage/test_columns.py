"""Whatever text a peer, an archive or an error brings is kept as far as a database can hold it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from storage import deliveries, fetching, priors
from storage.columns import clip
from storage.database import Database, now
from storage.events import log_event
from storage.priors import PatientIdentity
from storage.readings import StoredObject
from storage.tables import Delivery, Event, Study
from tests.node.web import rows

ODD = "A\0B\ud800" + "x" * 3000
"""With NUL, which PostgreSQL refuses, and half of a surrogate pair, which no database takes."""


def test_a_text_is_cut_and_cleaned_as_its_column_has_it() -> None:
    assert clip(Study.study_date, "20230101") == "20230101"
    assert clip(Study.study_date, ODD) == "AB?" + "x" * 13


def test_a_reason_that_a_peer_gives_keeps_nothing_from_being_written_down(database: Database) -> None:
    with database.session() as session:
        study = rows.add_study(session)
        rows.close(session, study, state="delivering")
        deliveries.post(session, study.uid, 1, "pacs", [StoredObject("sr", "1.2", "1.2.9", "results/sr.dcm")])
        (due,) = deliveries.due(session, "pacs")
        deliveries.record_failed(session, due.id, ODD, timedelta(seconds=1))
        log_event(session, "deliver", ODD, study_uid=study.uid)
    with database.snapshot() as session:
        told = session.scalars(select(Delivery.last_error)).one()
        event = session.scalars(select(Event.text).where(Event.stage == "deliver")).one()
    assert told == event == "AB?" + "x" * 1997


def test_a_prior_that_an_archive_tells_of_in_odd_words_can_be_expected(database: Database) -> None:
    with database.session() as session:
        patient = PatientIdentity("P" * 300, ODD, ODD)
        fetching.expect(session, "1.2.3", patient, "20230101", ODD, ODD, now())
    with database.snapshot() as session:
        known, owner = priors.study_and_patient(session, "1.2.3")
    assert (known.birth_date, known.time) == ("AB?" + "x" * 13, "AB?" + "x" * 29)
    assert (owner.patient_id, owner.issuer) == ("P" * 255, "AB?" + "x" * 252)
