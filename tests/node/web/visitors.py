"""Who comes to the status page as a hospital sees it: how they log in, and what the trail has of them."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.testclient import TestClient

from storage.audit import AuditEntry, AuditFilter, newest
from storage.database import Database

PASSWORD = "correct horse battery"
SEARCHING = {"hx-request": "true", "hx-trigger": "search"}
REFRESHING = {"hx-request": "true", "hx-trigger": "board"}

Browse = Callable[..., TestClient]


def log_in(browser: TestClient, name: str = "anna", password: str = PASSWORD, **more: str) -> int:
    return browser.post("/login", data={"name": name, "password": password, **more}).status_code


def trail(database: Database, kind: str = "") -> list[AuditEntry]:
    """The newest first."""
    with database.snapshot() as session:
        return [entry for entry in newest(session, AuditFilter()) if not kind or entry.kind == kind]
