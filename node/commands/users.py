"""`overread users`: who may log in to the status page."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from rich.table import Table

from node.commands.asking import whoever_asks
from node.commands.terminal import console
from node.security.passwords import hashed
from node.security.umask import private_files
from node.settings import Settings, WebSettings
from node.web.logins import checked_name
from storage import accounts, audit
from storage.accounts import Role
from storage.database import Database

COMMAND = "overread users"


class UsersError(RuntimeError):
    """The account cannot be made or changed; the message says why."""


def list_users(settings: Settings) -> None:
    database = _database(settings)
    with database.snapshot() as session:
        known = accounts.accounts(session)
    database.close()
    table = Table("name", "role", "made", "last login")
    for account in known:
        last = f"{account.last_login_at:%Y-%m-%d %H:%M} UTC" if account.last_login_at else "never"
        table.add_row(account.name, account.role, f"{account.created_at:%Y-%m-%d}", last)
    nobody = f"Nobody yet in {database.named}. `overread users add NAME` makes the first account."
    console().print(table if known else nobody, soft_wrap=not known)


def add_user(settings: Settings, name: str, role: Role, password_file: Path | None) -> None:
    """
    Raises:
        ValueError: the name is taken or will not do, or the password will not do.
        UsersError: the two passwords differ, or there is none.
    """
    name = checked_name(name)
    database = _database(settings)
    with database.snapshot() as session:
        accounts.check_free(session, name)
    kept = hashed(name, _password(password_file))
    with database.session() as session:
        accounts.add(session, name, role, kept)
        audit.note(session, "account", whoever_asks(COMMAND), f"made the account {name!r} ({role})")
    database.close()
    console().print(
        f"{name} may log in as {role}, by {database.named}.{_not_yet(settings.web)}", soft_wrap=True
    )


def set_password(settings: Settings, name: str, password_file: Path | None) -> None:
    """As ``add_user``, of an account that there is; every login of it ends."""
    database = _database(settings)
    with database.snapshot() as session:
        accounts.check_known(session, name)
    kept = hashed(name, _password(password_file))
    with database.session() as session:
        accounts.set_password(session, name, kept)
        audit.note(session, "account", whoever_asks(COMMAND), f"set the password of {name!r}")
    database.close()
    console().print(f"{name} has a new password, and was logged out everywhere.")


def remove_user(settings: Settings, name: str) -> None:
    """
    Raises:
        AccountError: there is no such account, or it is the only admin.
    """
    database = _database(settings)
    with database.session() as session:
        accounts.remove(session, name)
        audit.note(session, "account", whoever_asks(COMMAND), f"removed the account {name!r}")
    database.close()
    console().print(f"{name} may not log in any more, and was logged out.")


def _not_yet(web: WebSettings) -> str:
    """That nobody is asked to log in, as the settings are now, and what to set; empty where they are."""
    if web.asks_login:
        return ""
    if web.behind_login:
        return " But web.behind_login leaves the login to your proxy: the status page asks nobody for one."
    return (
        " But the status page asks nobody to log in yet, since it is shown to this machine alone: set "
        'web.login = "always", or web.host to another address, and restart the node.'
    )


def _password(file: Path | None) -> str:
    """From a file, from the terminal without showing it, or the first line of what is piped in."""
    try:
        if file is not None:
            return file.read_text(encoding="utf-8").strip("\r\n")
        if not sys.stdin.isatty():
            return sys.stdin.buffer.readline().decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise UsersError(f"{file or 'what is piped in'} is not text in UTF-8; nothing was changed.") from None
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("The same again: "):
        raise UsersError("the two passwords differ; nothing was changed.")
    return password


@private_files()
def _database(settings: Settings) -> Database:
    database = Database(settings.database.url)
    database.upgrade()
    return database
