"""Accounts and logins as rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from storage import accounts
from storage.accounts import AccountError
from storage.database import Database, now
from storage.tables import WebSession
from tests.waiting import wait_for

LONG_AGO = datetime.min.replace(year=1990).astimezone()


@pytest.fixture(autouse=True)
def anna(database: Database) -> None:
    with database.session() as session:
        accounts.add(session, "anna", "admin", "hash")


@pytest.mark.only_on("postgresql", "SQLite has one writer at a time")
def test_two_admins_who_remove_each_other_leave_one(database: Database) -> None:
    with database.session() as session:
        accounts.add(session, "berta", "admin", "hash")
    with ThreadPoolExecutor() as pool, database.session() as session:
        accounts.remove(session, "berta")
        at_the_same_time = pool.submit(removed, database, "anna")
        until_somebody_waits(session)
        session.commit()
        with pytest.raises(AccountError, match="the only admin"):
            at_the_same_time.result(30)


def removed(database: Database, name: str) -> None:
    with database.session() as session:
        accounts.remove(session, name)


def until_somebody_waits(session: Session) -> None:
    """For a lock that this session holds."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    wait_for(lambda: session.scalar(waiting))


def log_in(database: Database, until: datetime | None = None) -> str:
    with database.session() as session:
        return accounts.log_in(session, "anna", "10.0.0.1", until or now() + timedelta(hours=1))


def is_in(database: Database, token: str, seen_after: datetime = LONG_AGO) -> bool:
    with database.snapshot() as session:
        login = accounts.who_is(session, token, seen_after)
    return login is not None and (login.name, login.role) == ("anna", "admin")


def test_a_token_is_good_until_it_is_given_back(database: Database) -> None:
    token, other = log_in(database), log_in(database)
    assert is_in(database, token)
    with database.session() as session:
        accounts.log_out(session, token)
    assert not is_in(database, token)
    assert is_in(database, other)
    assert not is_in(database, "")
    assert not is_in(database, "\ud800")


def test_a_login_ends_by_itself_and_when_it_is_not_used(database: Database) -> None:
    assert not is_in(database, log_in(database, until=now() - timedelta(seconds=1)))
    token = log_in(database)
    assert not is_in(database, token, seen_after=now() + timedelta(seconds=1))
    with database.session() as session:
        accounts.prune(session, seen_before=now() - timedelta(minutes=1))
        assert len(session.scalars(select(WebSession)).all()) == 1


def test_the_database_does_not_hold_what_a_browser_holds(database: Database) -> None:
    token = log_in(database)
    with database.snapshot() as session:
        (row,) = session.scalars(select(WebSession))
    assert token not in map(str, vars(row).values())


def test_a_new_password_ends_every_login(database: Database) -> None:
    token = log_in(database)
    with database.session() as session:
        accounts.set_password(session, "anna", "another hash")
    assert not is_in(database, token)


def test_the_last_admin_stays_and_who_is_removed_is_logged_out(database: Database) -> None:
    token = log_in(database)
    with database.session() as session:
        accounts.add(session, "berta", "viewer", "hash")
    with pytest.raises(AccountError, match="only admin"), database.session() as session:
        accounts.remove(session, "anna")
    assert is_in(database, token)
    with database.session() as session:
        accounts.add(session, "carla", "admin", "hash")
        accounts.remove(session, "anna")
    assert not is_in(database, token)
    with database.snapshot() as session:
        assert [account.name for account in accounts.accounts(session)] == ["berta", "carla"]


def test_a_name_is_given_once(database: Database) -> None:
    with pytest.raises(AccountError, match="already"), database.session() as session:
        accounts.add(session, "anna", "viewer", "hash")
    with pytest.raises(AccountError, match="no account 'zoe'"), database.session() as session:
        accounts.set_password(session, "zoe", "hash")
