"""Who may log in to the status page, and who is logged in. Passwords come here as hashes only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from secrets import token_urlsafe
from typing import Literal, cast

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session, joinedload

from storage.columns import clip
from storage.database import now
from storage.tables import User, WebSession

Role = Literal["admin", "viewer"]
"""An admin may act and read the audit trail; a viewer only looks."""


class AccountError(ValueError):
    """What was asked for cannot be done; the message says why."""


@dataclass(frozen=True)
class Account:
    name: str
    role: Role
    password_hash: str
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True)
class Login:
    """Somebody who is logged in, from ``created_at`` to ``ends_at`` at the latest."""

    name: str
    role: Role
    created_at: datetime
    seen_at: datetime
    ends_at: datetime


def is_any(session: Session) -> bool:
    """Whether there is any account at all."""
    return session.scalar(select(User.id).limit(1)) is not None


def accounts(session: Session) -> tuple[Account, ...]:
    return tuple(_account(user) for user in session.scalars(select(User).order_by(User.name)))


def find(session: Session, name: str) -> Account | None:
    user = _user(session, name)
    return _account(user) if user else None


def check_free(session: Session, name: str) -> None:
    """
    Raises:
        AccountError: the name is taken.
    """
    if _user(session, name) is not None:
        raise AccountError(f"There is an account {name!r} already.")


def check_known(session: Session, name: str) -> None:
    """
    Raises:
        AccountError: there is no such account.
    """
    _existing(session, name)


def add(session: Session, name: str, role: Role, password_hash: str) -> None:
    """Raises: AccountError: the name is taken."""
    check_free(session, name)
    session.add(User(name=name, role=role, password_hash=password_hash, created_at=now()))
    session.flush()


def set_password(session: Session, name: str, password_hash: str, *, log_out: bool = True) -> None:
    """
    Raises:
        AccountError: there is no such account.
    """
    user = _existing(session, name)
    user.password_hash = password_hash
    if log_out:
        session.execute(delete(WebSession).where(WebSession.user_pk == user.id))


def remove(session: Session, name: str) -> None:
    """Remove an account and end its logins.

    Raises:
        AccountError: there is none, or it is the last that may act.
    """
    user = _existing(session, name)
    admins = select(User).where(User.role == "admin").order_by(User.id)
    others_wait = admins.with_for_update()  # two who remove each other would else leave none
    if session.scalars(others_wait).all() == [user]:
        raise AccountError(f"{name!r} is the only admin. Add another before you remove this one.")
    session.execute(delete(WebSession).where(WebSession.user_pk == user.id))
    session.delete(user)


def log_in(session: Session, name: str, address: str, until: datetime) -> str:
    """Start a login and return its token, which is kept nowhere else.

    Raises:
        AccountError: there is no such account.
    """
    user, token, moment = _existing(session, name), token_urlsafe(32), now()
    user.last_login_at = moment
    session.add(
        WebSession(
            token_sha256=_digest(token),
            user_pk=user.id,
            address=clip(WebSession.address, address),
            created_at=moment,
            seen_at=moment,
            ends_at=until,
        )
    )
    return token


def who_is(session: Session, token: str, seen_after: datetime) -> Login | None:
    """Whose token it is; None if it is nobody's, has ended, or was not used since ``seen_after``."""
    query = select(WebSession).where(WebSession.token_sha256 == _digest(token))
    found = session.scalars(query.options(joinedload(WebSession.user))).one_or_none()
    if found is None or found.ends_at <= now() or found.seen_at < seen_after:
        return None
    role = cast(Role, found.user.role)
    return Login(found.user.name, role, found.created_at, found.seen_at, found.ends_at)


def seen(session: Session, token: str) -> None:
    """Note that the token was used just now."""
    mine = WebSession.token_sha256 == _digest(token)
    session.execute(update(WebSession).where(mine).values(seen_at=now()))


def log_out(session: Session, token: str) -> None:
    session.execute(delete(WebSession).where(WebSession.token_sha256 == _digest(token)))


def prune(session: Session, seen_before: datetime) -> None:
    """Forget logins that have ended, or were not used since ``seen_before``."""
    session.execute(
        delete(WebSession).where(or_(WebSession.ends_at <= now(), WebSession.seen_at < seen_before))
    )


def _user(session: Session, name: str) -> User | None:
    return session.scalars(select(User).where(User.name == name)).one_or_none()


def _existing(session: Session, name: str) -> User:
    user = _user(session, name)
    if user is None:
        raise AccountError(f"There is no account {name!r}.")
    return user


def _account(user: User) -> Account:
    role = cast(Role, user.role)
    return Account(user.name, role, user.password_hash, user.created_at, user.last_login_at)


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()
