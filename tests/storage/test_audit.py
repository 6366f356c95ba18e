"""Who did what is kept in order, found again, and forgotten when it is old."""

from __future__ import annotations

from datetime import timedelta

from storage.audit import AuditEntry, AuditFilter, audit_page, enter, newest, note, oldest_first, prune
from storage.database import Database, now


def test_what_was_done_is_listed_newest_first_and_handed_out_oldest_first(database: Database) -> None:
    with database.session() as session:
        for who in ("anna", "berta", "carla"):
            note(session, "viewed", who, "looked at the study", address="10.0.0.1", study_uid="1.2.3")
    with database.snapshot() as session:
        assert [entry.who for entry in newest(session, AuditFilter(), limit=2)] == ["carla", "berta"]
        assert [entry.who for entry in oldest_first(session, AuditFilter())] == ["anna", "berta", "carla"]


def test_pages_follow_each_other_also_where_many_lines_are_of_one_moment(database: Database) -> None:
    moment = now()
    with database.session() as session:
        enter(session, [AuditEntry(moment, "login", str(number), "", "logged in") for number in range(5)])
        enter(session, [AuditEntry(moment, "logout", "5", "", "logged out")])
    told: list[str] = []
    with database.snapshot() as session:
        page = audit_page(session, AuditFilter(kind="login"), None, 2)
        while page.older is not None:
            told += [entry.who for entry in page.entries]
            page = audit_page(session, AuditFilter(kind="login"), page.older, 2)
    assert [*told, *(entry.who for entry in page.entries)] == ["4", "3", "2", "1", "0"]


def test_an_entry_is_found_by_kind_time_and_part_of_what_it_says(database: Database) -> None:
    moment = now()
    entries = [
        AuditEntry(moment - timedelta(days=2), "login", "anna", "10.0.0.1", "logged in"),
        AuditEntry(moment - timedelta(days=1), "viewed", "anna", "10.0.0.1", "looked at it", "1.2.3"),
        AuditEntry(moment, "turned-away", "CT_7", "10.0.0.9", "not among dicom.allowed_callers"),
    ]
    with database.session() as session:
        enter(session, entries)
    with database.snapshot() as session:
        assert newest(session, AuditFilter(kind="viewed")) == (entries[1],)
        assert newest(session, AuditFilter(text="ct_7")) == (entries[2],)
        assert newest(session, AuditFilter(text="1.2.3")) == (entries[1],)
        assert newest(session, AuditFilter(text="ct%7")) == ()
        yesterday = AuditFilter(since=moment - timedelta(hours=30), before=moment - timedelta(hours=20))
        assert newest(session, yesterday) == (entries[1],)


def test_only_what_is_old_is_forgotten(database: Database) -> None:
    moment = now()
    with database.session() as session:
        enter(
            session,
            [AuditEntry(moment - timedelta(days=age), "login", str(age), "", "") for age in (1, 10, 100)],
        )
        assert prune(session, moment - timedelta(days=30)) == 1
    with database.snapshot() as session:
        assert {entry.who for entry in newest(session, AuditFilter())} == {"1", "10"}


def test_whatever_a_stranger_calls_itself_can_be_entered(database: Database) -> None:
    with database.session() as session:
        note(session, "turned-away", "\0\ud800" + "W" * 900, "\0" + "x" * 5000, address="9" * 99)
    with database.snapshot() as session:
        (entry,) = newest(session, AuditFilter())
    assert entry.who == "?" + "W" * 63
    assert len(entry.text) == 2000
