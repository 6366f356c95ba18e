"""A patient's studies over time, and what is remembered of their lesions."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from inference.findings import Axis, Code, Finding
from storage import priors, readings
from storage.database import Database
from storage.readings import State
from storage.tables import Revision
from tests.storage.test_fetching import closed, coming, expect, take_in


@pytest.mark.parametrize(
    ("issuer", "known", "taken"),
    [
        ("", {""}, {""}),
        ("", {"A"}, {"", "A"}),
        ("A", {""}, {"", "A"}),
        ("A", {"", "A"}, {"", "A"}),
        ("A", {"B"}, {"A"}),
        ("A", {"", "A", "B"}, {"A"}),
        ("", {"", "A", "B"}, {""}),
    ],
)
def test_an_id_without_issuer_is_the_patients_while_only_one_has_given_it_out(
    issuer: str, known: set[str], taken: set[str]
) -> None:
    assert priors.issuers_of_one(issuer, known) == taken


def test_an_id_of_another_issuer_is_another_patient(database: Database) -> None:
    take_in(
        database,
        coming(1, "1.1", study_date="20230101", issuer="A"),
        coming(2, "1.2", study_date="20240101", issuer="B"),
        coming(3, "1.3", study_date="20220101"),
        coming(4, "1.4", study_date="20210101", patient_id="OLD", issuer="A"),
        coming(5, "1.5", study_date="20200101", patient_id=""),
    )
    with database.snapshot() as session:
        assert priors.known_issuers(session, ["P1"]) == {"A", "B", ""}
        assert [s.uid for s in priors.studies_of(session, ["P1"], ["A"])] == ["1.1"]
        assert [s.uid for s in priors.studies_of(session, ["P1", "OLD"], ["A", ""])] == ["1.1", "1.3", "1.4"]
        assert priors.known_issuers(session, [""]) == set()
        assert priors.studies_of(session, [""], ["", "1.5"]) == []


def test_each_study_keeps_the_birth_date_of_its_own_images(database: Database) -> None:
    take_in(database, coming(1, "1.1", birth_date="19500101"), coming(2, "1.2", birth_date="19770707"))
    with database.snapshot() as session:
        known = {study.uid: study.birth_date for study in priors.studies_of(session, ["P1"], [""])}
        study, patient = priors.study_and_patient(session, "1.2")
    assert known == {"1.1": "19500101", "1.2": "19770707"}
    assert study.birth_date == patient.birth_date == "19770707"


def test_a_priors_reading_is_remembered_as_stored_and_found_again(database: Database) -> None:
    expect(database)
    take_in(database, coming(1))
    found = finding("2.25.1", 300.0)
    with database.session() as session:
        body = {"reader": "lung-nodules", "series_uid": "1.1.1"}
        for _ in range(2):  # a step may run again
            priors.save_prior_reading(session, "1.1", "identity", body, [found])
    with database.snapshot() as session:
        kept = priors.newest_reading(session, "1.1", "lung-nodules")
        assert kept is not None and kept.identity == "identity"
        assert session.scalars(select(Revision.state)).all() == ["stored"]


def test_only_a_study_that_was_read_and_has_ended_is_compared_again(database: Database) -> None:
    take_in(database, coming(1))
    again = lambda: _compare_again(database)  # noqa: E731
    assert not again()
    closed(database)
    assert not again()
    with database.session() as session:
        readings.finish(session, "1.1", 1, "delivered")
    assert again()
    assert not again()


@pytest.mark.parametrize(("ended", "waits"), [("delivered", True), ("failed", False)])
def test_a_comparison_waits_for_all_others_unless_nobody_has_results_of_the_study(
    database: Database, ended: State, waits: bool
) -> None:
    take_in(database, coming(1))
    closed(database)
    with database.session() as session:
        readings.finish(session, "1.1", 1, ended)
    assert _compare_again(database)
    assert closed(database) == ["1.1"]
    with database.snapshot() as session:
        assert readings.find_revision(session, "1.1", 2).compares_again == waits


def _compare_again(database: Database) -> bool:
    with database.session() as session:
        return priors.compare_again(session, "1.1")


def finding(tracking_uid: str, volume_mm3: float) -> Finding:
    axis = Axis((0.0, 0.0, 0.0), (10.0, 0.0, 0.0))
    return Finding(
        label="nodule",
        code=Code("SCT", "27925004", "Nodule"),
        center_mm=(0.0, 0.0, 0.0),
        box_mm=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        image_uid="1.1.1.1",
        score=0.9,
        long_axis=axis,
        short_axis=axis,
        volume_mm3=volume_mm3,
        tracking_uid=tracking_uid,
    )


def read(database: Database, uid: str, revision: int, *findings: Finding) -> None:
    body = {"reader": "lung-nodules", "series_uid": f"{uid}.1"}
    with database.session() as session:
        readings.save_reading(session, uid, revision, "identity", body, findings, [""] * len(findings), [])
