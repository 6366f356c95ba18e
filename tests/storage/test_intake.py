from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from storage.closing import ClosedStudy, close_quiet, open_studies
from storage.database import Database
from storage.deliveries import post
from storage.fetching import expect
from storage.intake import Received, Recorded, instances_of, record
from storage.overview import one_study
from storage.priors import PatientIdentity
from storage.readings import StoredObject
from storage.refusals import Refused, note_refusals
from storage.tables import Event, Instance, Patient, Refusal, Revision, Series, Study

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def image(number: int, study: str = "1.1", series: str = "1.1.1", **facts: object) -> Received:
    uid = f"{series}.{number}"
    basis = Received(
        uid=uid,
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax="1.2.840.10008.1.2.1",
        series_uid=series,
        study_uid=study,
        path=f"images/{study}/{uid}.dcm",
        size=100,
        received_at=START + timedelta(seconds=number),
        source="CT1",
        patient_id="P1",
        modality="CT",
    )
    return replace(basis, **facts)


def take_in(database: Database, *images: Received) -> Recorded:
    with database.session() as session:
        return record(session, images)


def close(database: Database, after: float, quiet: float = 10) -> list[ClosedStudy]:
    with database.session() as session:
        at = START + timedelta(seconds=after)
        return close_quiet(session, at, lambda study: study.last_image_at + timedelta(seconds=quiet) <= at)


def ask_to_read_now(database: Database, study: str = "1.1") -> None:
    with database.session() as session:
        session.scalars(select(Study).where(Study.uid == study)).one().read_now = True


def files(database: Database, revision: int, study: str = "1.1") -> dict[str, list[str]]:
    with database.snapshot() as session:
        return instances_of(session, study, revision)


def test_a_batch_becomes_patient_study_series_and_instances(database: Database) -> None:
    other = image(1, "1.2", "1.2.1", patient_id="P2", size=5_000_000_000)
    assert take_in(database, image(1), image(2), image(1, series="1.1.2"), other) == Recorded(4, 0)
    with database.snapshot() as session:
        assert len(session.scalars(select(Patient)).all()) == 2
        assert len(session.scalars(select(Study)).all()) == 2
        assert len(session.scalars(select(Series)).all()) == 3
        assert sorted(i.size for i in session.scalars(select(Instance))) == [100, 100, 100, 5_000_000_000]


def test_entering_an_image_twice_changes_nothing(database: Database) -> None:
    assert take_in(database, image(1), image(1)) == Recorded(1, 1)
    assert take_in(database, image(1)) == Recorded(0, 1)


def test_patients_without_an_id_are_never_the_same(database: Database) -> None:
    take_in(database, image(1, patient_id=""), image(1, "1.2", "1.2.1", patient_id=""))
    with database.snapshot() as session:
        assert len({study.patient_pk for study in session.scalars(select(Study))}) == 2


def test_one_id_of_two_issuers_is_two_patients(database: Database) -> None:
    take_in(database, image(1, issuer="A"), image(1, "1.2", "1.2.1", issuer="B"))
    with database.snapshot() as session:
        assert len({study.patient_pk for study in session.scalars(select(Study))}) == 2


def test_what_contradicts_the_known_is_a_misfit_and_the_rest_is_entered(database: Database) -> None:
    take_in(database, image(1))
    elsewhere = image(1, "1.2", "1.2.1", uid="1.1.1.1", path="images/1.2/x.dcm")
    wrong_series = image(7, "1.3", "1.1.1", uid="1.3.7")
    wrong_patient = image(8, patient_id="P2")
    recorded = take_in(database, elsewhere, wrong_series, wrong_patient, image(2))
    assert (recorded.new, recorded.known) == (1, 0)
    assert {misfit.received.uid for misfit in recorded.misfits} == {"1.1.1.1", "1.3.7", wrong_patient.uid}


def test_a_misfit_that_comes_twice_is_one_twice_and_keeps_nobody_out(database: Database) -> None:
    take_in(database, image(1))
    misfit = image(8, patient_id="P2")
    elsewhere = image(1, "1.2", "1.2.1", uid=misfit.uid, path="images/1.2/x.dcm")
    recorded = take_in(database, misfit, misfit, elsewhere)
    assert [one.received for one in recorded.misfits] == [misfit, misfit]
    assert (recorded.new, recorded.known) == (1, 0)


def test_a_misfit_claims_no_series_and_makes_no_study(database: Database) -> None:
    take_in(database, image(1))
    of_another, elsewhere = image(1, series="1.5", patient_id="P2"), image(2, "1.3", "1.6", uid="1.1.1.1")
    assert len(take_in(database, of_another, elsewhere).misfits) == 2
    with database.snapshot() as session:
        assert session.scalars(select(Study.uid)).all() == ["1.1"]
        assert session.scalars(select(Series.uid)).all() == ["1.1.1"]
        assert session.scalars(select(Patient.patient_id)).all() == ["P1"]
    assert take_in(database, image(1, "1.2", "1.5", patient_id="P2")) == Recorded(1, 0)


def test_of_one_batch_the_first_image_says_whose_a_study_and_a_series_are(database: Database) -> None:
    first, named = image(1, patient_id=""), image(2, patient_id="P1")
    of_another, elsewhere = image(3, patient_id="P2"), image(4, "1.2", patient_id="P2")
    recorded = take_in(database, first, named, of_another, elsewhere)
    assert [misfit.received for misfit in recorded.misfits] == [of_another, elsewhere]
    assert owner(database) == "P1"
    with database.snapshot() as session:
        assert session.scalars(select(Study.uid)).all() == ["1.1"]


def test_late_images_under_an_id_that_was_merged_with_the_studys_own_are_taken(database: Database) -> None:
    take_in(database, image(1), image(9, "1.2", "1.2.1", patient_id="P3"))
    late, strange = image(2, patient_id="P2"), image(3, patient_id="P3")
    with database.session() as session:
        recorded = record(session, [late, strange], merged=[("P2", "P1"), ("P3", "P4")])
    assert (recorded.new, [misfit.received for misfit in recorded.misfits]) == (1, [strange])
    with database.snapshot() as session:
        study = session.scalars(select(Study).where(Study.uid == "1.1")).one()
        assert study.patient.patient_id == "P1"
        assert "priors.merged" in recorded.misfits[0].reason


def test_texts_too_long_or_with_nul_are_entered_as_far_as_they_fit(database: Database) -> None:
    take_in(
        database, image(1, study_description="x" * 1000, series_description="A\0B", accession_number="9" * 99)
    )
    with database.snapshot() as session:
        study = session.scalars(select(Study)).one()
        assert (len(study.description), len(study.accession_number)) == (255, 64)
        assert study.series[0].description == "AB"


def test_a_study_closes_after_its_quiet_period_and_not_before(database: Database) -> None:
    take_in(database, image(1), image(3))
    assert close(database, after=12) == []
    assert close(database, after=13) == [ClosedStudy("1.1", 1)]
    assert close(database, after=99) == []
    with database.snapshot() as session:
        revision = session.scalars(select(Revision)).one()
        assert (revision.state, revision.image_count, revision.closed_at) == (
            "queued",
            2,
            START + timedelta(seconds=13),
        )


def test_only_what_is_quiet_is_closed_and_waits_no_longer(database: Database) -> None:
    take_in(database, image(0, source="FAST"), image(0, "1.2", "1.2.1", source="SLOW"))
    with database.session() as session:
        assert {study.uid for study in open_studies(session)} == {"1.1", "1.2"}
        assert close_quiet(session, START, lambda study: study.source == "FAST") == [ClosedStudy("1.1", 1)]
        assert [study.uid for study in open_studies(session)] == ["1.2"]


def test_an_image_after_the_clock_was_put_back_is_the_last(database: Database) -> None:
    take_in(database, image(3600))
    take_in(database, image(1))
    with database.snapshot() as session:
        assert [study.last_image_at for study in open_studies(session)] == [START + timedelta(seconds=1)]


def test_late_images_make_the_next_revision_which_stands_on_all_of_them(database: Database) -> None:
    take_in(database, image(1))
    close(database, after=20)
    take_in(database, image(30))
    assert close(database, after=50) == [ClosedStudy("1.1", 2)]
    first, second = image(1).path, image(30).path
    assert files(database, 1) == {"1.1.1": [first]}
    assert files(database, 2) == {"1.1.1": [first, second]}


def test_a_revision_still_queued_is_superseded_by_the_next(database: Database) -> None:
    take_in(database, image(1))
    close(database, after=20)
    take_in(database, image(30))
    close(database, after=50)
    take_in(database, image(60))
    with database.session() as session:
        session.scalars(select(Revision).where(Revision.number == 2)).one().state = "reading"
    close(database, after=80)
    with database.snapshot() as session:
        states = session.scalars(select(Revision.state).order_by(Revision.number)).all()
    assert states == ["superseded", "reading", "queued"]


def test_a_resend_of_known_images_is_not_read_again(database: Database) -> None:
    take_in(database, image(1))
    close(database, after=20)
    take_in(database, replace(image(1), received_at=START + timedelta(seconds=30)))
    assert close(database, after=99) == []
    with database.session() as session:
        session.scalars(select(Study)).one().is_open = True
    assert close(database, after=99) == []
    with database.snapshot() as session:
        assert not session.scalars(select(Study)).one().is_open


def test_results_of_this_nodes_that_come_back_are_no_images_and_not_read(database: Database) -> None:
    take_in(database, image(1), image(2))
    close(database, after=60)
    report = StoredObject("sr", "1.2.840.10008.5.1.4.1.1.88.34", "1.7.1", "results/sr.dcm")
    with database.session() as session:
        post(session, "1.1", 1, "pacs", [report])
    take_in(database, image(100, series="1.7", uid=report.uid, modality="SR"))
    assert close(database, after=160) == []
    with database.snapshot() as session:
        line = one_study(session, "1.1")
        assert line is not None and (line.image_count, line.revision) == (2, 1)
    take_in(database, image(200, series="1.8", uid="1.8.1", modality="SR"), image(3))
    assert close(database, after=260) == [ClosedStudy("1.1", 2)]
    with database.snapshot() as session:
        assert session.scalars(select(Revision.image_count).order_by(Revision.number)).all() == [2, 4]


def test_a_resend_prolongs_the_quiet_period_of_an_open_study(database: Database) -> None:
    take_in(database, image(1))
    take_in(database, replace(image(1), received_at=START + timedelta(seconds=8)))
    assert close(database, after=12) == []
    assert close(database, after=18) == [ClosedStudy("1.1", 1)]


def test_read_now_does_not_wait(database: Database) -> None:
    take_in(database, image(1))
    ask_to_read_now(database)
    assert close(database, after=1.5) == [ClosedStudy("1.1", 1)]
    assert close(database, after=1.5) == []


def test_read_now_reads_a_closed_study_again(database: Database) -> None:
    take_in(database, image(1))
    close(database, after=20)
    ask_to_read_now(database)
    assert close(database, after=21) == [ClosedStudy("1.1", 2)]
    assert files(database, 2) == {"1.1.1": [image(1).path]}


def test_the_timeline_tells_opening_and_closing_and_names_nobody(database: Database) -> None:
    take_in(database, image(1), image(2))
    take_in(database, image(3))
    close(database, after=20)
    take_in(database, image(30))
    close(database, after=50)
    with database.snapshot() as session:
        events = session.scalars(select(Event).order_by(Event.id)).all()
    assert [(event.text, event.revision) for event in events] == [
        ("Receiving from CT1.", None),
        ("Closed after its quiet period: 3 images in 1 series, 3 of them new.", 1),
        ("Receiving late images from CT1.", None),
        ("Closed after its quiet period: 4 images in 1 series, 1 of them new.", 2),
    ]


def test_refusals_are_entered_and_told_on_the_timeline_of_a_known_study(database: Database) -> None:
    take_in(database, image(1))
    known = Refused(START, "CT1", "10.0.0.1", 0xC000, "it is cut short", study_uid="1.1", uid="1.2.3")
    unknown = Refused(START, "X" * 99, "10.0.0.1", 0xA900, "y" * 3000, study_uid="7.7")
    with database.session() as session:
        note_refusals(session, [known, known, unknown])
    with database.snapshot() as session:
        assert [r.status for r in session.scalars(select(Refusal).order_by(Refusal.id))] == [
            0xC000,
            0xC000,
            0xA900,
        ]
        warnings = session.scalars(select(Event.text).where(Event.level == "warning")).all()
    assert warnings == ["Refused 2 objects from CT1: it is cut short."]


def test_what_was_refused_for_a_uid_that_is_none_is_entered_and_on_no_timeline(database: Database) -> None:
    take_in(database, image(1))
    uids = ("1.1\0", "1.1\0.2", "\ud800", "9" * 99)
    refused = [Refused(START, "CT1", "10.0.0.1", 0xC000, "no usable UID", study_uid=uid) for uid in uids]
    with database.session() as session:
        note_refusals(session, refused)
    with database.snapshot() as session:
        assert len(session.scalars(select(Refusal)).all()) == len(uids)
        assert session.scalars(select(Event).where(Event.level == "warning")).all() == []


def owner(database: Database, study: str = "1.1") -> str:
    with database.snapshot() as session:
        return session.scalars(select(Study).where(Study.uid == study)).one().patient.patient_id


def test_a_study_without_a_patient_id_becomes_that_of_the_first_image_that_has_one(
    database: Database,
) -> None:
    take_in(database, image(1, patient_id=""))
    later = [image(number, patient_id=one) for number, one in enumerate(("P1", "P2", "", "P1"), 2)]
    recorded = take_in(database, *later)
    assert [misfit.received for misfit in recorded.misfits] == [later[1]]
    assert owner(database) == "P1"
    assert take_in(database, image(9, patient_id="P3")).misfits


def test_a_study_that_is_only_expected_becomes_that_of_its_first_image(database: Database) -> None:
    with database.session() as session:
        until = START + timedelta(hours=1)
        expect(session, "1.1", PatientIdentity("NEW"), "20200101", "", "", until)
    first = image(1, patient_id="OLD", fetched=True)
    assert take_in(database, first).misfits == ()
    assert owner(database) == "OLD"
    assert take_in(database, image(2, patient_id="NEW", fetched=True)).misfits
