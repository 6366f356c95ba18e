"""Who is logged in to the status page, and who may become so."""

from __future__ import annotations

import hmac
import logging
import secrets
from datetime import datetime, timedelta

from node.security.passwords import hashed, is_outdated, is_right
from node.settings import WebSettings
from node.web.attempts import Attempts
from storage import accounts, audit
from storage.accounts import Login
from storage.database import Database, now

log = logging.getLogger(__name__)

NOTE_USE_EVERY = timedelta(seconds=60)
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is taken for another
LONGEST_NAME = 64


class LoginError(Exception):
    """Nobody is logged in; the message is for the page. ``wait``: seconds until it may be tried again."""

    def __init__(self, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait = wait


class Logins:
    """``settings`` say how long a login lasts. The first admin is made with a code that only this run of the
    node knows, and that the log tells once."""

    def __init__(self, settings: WebSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._attempts = Attempts()
        self._is_set_up = False
        self._code = "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(4))

    @property
    def is_set_up(self) -> bool:
        """Whether there is anybody who could log in."""
        if not self._is_set_up:
            with self._database.snapshot() as session:
                self._is_set_up = accounts.is_any(session)
        return self._is_set_up

    def invite(self, url: str) -> None:
        """Tell the log how the first admin is made, if nobody is."""
        if not self.is_set_up:
            log.warning(
                "Nobody can log in yet. Open %ssetup and give the code %s, or run `overread users add NAME`.",
                url,
                self._code,
            )

    def who_is(self, token: str, is_active: bool) -> Login | None:
        """Whose token it is. ``is_active``: somebody asks, not a page that keeps itself up to date."""
        if not token:
            return None
        idle = timedelta(minutes=self._settings.idle_minutes)
        with self._database.snapshot() as session:
            login = accounts.who_is(session, token, seen_after=now() - idle)
        if login is not None and is_active and now() - login.seen_at > min(NOTE_USE_EVERY, idle / 4):
            with self._database.session() as session:
                accounts.seen(session, token)
        return login

    def may_stay(self, token: str) -> bool:
        """Whether an open page is still told of changes; without a token, where nobody has to log in."""
        return not token or self.who_is(token, is_active=False) is not None

    def turn_away(self, name: str, address: str) -> None:
        """Spend nothing on who was told to wait, and does not.

        Raises:
            LoginError: that is so.
        """
        if wait := self._attempts.turned_away(address, name.strip()[:LONGEST_NAME]):
            raise _too_many(wait)

    def log_in(self, name: str, password: str, address: str) -> str:
        """The token of a new login.

        Raises:
            LoginError: the password is wrong, the name unknown, or too many attempts were made.
            BusyError: too many passwords are being looked at.
        """
        name = name.strip()[:LONGEST_NAME]
        self._count(address, name)
        with self._database.snapshot() as session:
            account = accounts.find(session, name)
        if not is_right(password, account.password_hash if account else None):
            self._note("login-refused", name, address, "a wrong name or password was given")
            raise LoginError("This name and password do not belong together.")
        assert account is not None  # or no password would have been right
        self._attempts.succeeded(address, name)
        with self._database.session() as session:
            if is_outdated(account.password_hash):
                accounts.set_password(session, name, hashed(name, password), log_out=False)
            token = accounts.log_in(session, name, address, self._until())
            audit.note(session, "login", name, "logged in", address=address)
        return token

    def set_up(self, code: str, name: str, password: str, address: str) -> str:
        """Make the first admin and log them in.

        Raises:
            LoginError: the code is wrong, the name will not do, or there is somebody already.
            PasswordError: the password will not do.
        """
        if self.is_set_up:
            raise LoginError("There is an admin already. Log in, or ask for an account.")
        self._count(address, "")
        if not hmac.compare_digest(_letters(code), _letters(self._code)):
            self._note("login-refused", "", address, "a wrong code for the first admin was given")
            raise LoginError("This is not the code of the running node. Its log has it.")
        name = checked_name(name)
        kept = hashed(name, password)
        with self._database.session() as session:
            if accounts.is_any(session):
                raise LoginError("There is an admin already. Log in, or ask for an account.")
            accounts.add(session, name, "admin", kept)
            token = accounts.log_in(session, name, address, self._until())
            audit.note(session, "account", name, "made the first admin", address=address)
        self._attempts.succeeded(address, "")
        return token

    def change_password(self, login: Login, old: str, new: str, address: str) -> str:
        """Set a new password, end every login of the account, and return the token of a new one.

        Raises:
            LoginError: the old password is wrong.
            PasswordError: the new one will not do.
        """
        self._count(address, login.name)
        with self._database.snapshot() as session:
            account = accounts.find(session, login.name)
        if account is None or not is_right(old, account.password_hash):
            self._note("login-refused", login.name, address, "a wrong password was given to change it")
            raise LoginError("The present password is another one.")
        kept = hashed(login.name, new)
        self._attempts.succeeded(address, login.name)
        with self._database.session() as session:
            accounts.set_password(session, login.name, kept)
            audit.note(session, "account", login.name, "changed the password", address=address)
            return accounts.log_in(session, login.name, address, self._until())

    def log_out(self, token: str, name: str, address: str) -> None:
        with self._database.session() as session:
            accounts.log_out(session, token)
            audit.note(session, "logout", name, "logged out", address=address)

    def _count(self, address: str, name: str) -> None:
        wait = self._attempts.begin(address, name)
        if wait:
            if self._attempts.is_news(address):
                text = f"too many attempts; all from there are refused for {wait / 60:.0f} minutes"
                self._note("login-refused", name, address, text)
            raise _too_many(wait)

    def _note(self, kind: audit.AuditKind, name: str, address: str, text: str) -> None:
        log.warning("Login as %r from %s: %s", name, address, text)
        with self._database.session() as session:
            audit.note(session, kind, name, text, address=address)

    def _until(self) -> datetime:
        return now() + timedelta(hours=self._settings.session_hours)


def _too_many(wait: float) -> LoginError:
    minutes = max(1, round(wait / 60))
    plural = "minute" if minutes == 1 else "minutes"
    return LoginError(f"Too many attempts. Try again in {minutes} {plural}.", wait)


def checked_name(name: str) -> str:
    """An account's name as it is kept.

    Raises:
        LoginError: it is empty, too long, or holds what cannot be seen.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise LoginError(f"A name has 1 to {LONGEST_NAME} characters.")
    return name


def _letters(code: str) -> bytes:
    return "".join(letter for letter in code.upper() if letter.isalnum()).encode("utf-8", "replace")
