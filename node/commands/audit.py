"""`overread audit`: the audit trail as JSON lines."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from node.commands.terminal import say_on_the_way
from node.security.umask import private_files
from node.settings import Settings
from storage.audit import AuditFilter, oldest_first
from storage.database import Database


class AuditError(RuntimeError):
    """The trail cannot be read; the message says why."""


@private_files()
def print_audit(settings: Settings, since: str, until: str) -> None:
    """Every line of the trail from one day to another, both included, the oldest first.

    Raises:
        AuditError: a day is none.
    """
    wanted = AuditFilter(since=_start(since), before=_start(until, days_later=1))
    database = Database(settings.database.url)
    database.upgrade()
    is_empty = True
    with database.snapshot() as session:
        for entry in oldest_first(session, wanted):
            is_empty = False
            print(json.dumps(vars(entry) | {"at": entry.at.isoformat()}, ensure_ascii=False))
    database.close()
    if is_empty:
        say_on_the_way(f"There is no such line in {database.named}.")


def _start(text: str, days_later: int = 0) -> datetime | None:
    """When that day begins here, or one so much later; a day on which clocks are put back has 25 hours.
    None where no day is given, and after the last there is."""
    if not text:
        return None
    try:
        return (datetime.strptime(text, "%Y-%m-%d") + timedelta(days=days_later)).astimezone()
    except OverflowError:
        return None
    except ValueError as error:
        raise AuditError(f"{text!r} is no day; write it as 2026-01-31.") from error
