"""What is shown of a database's URL says where it is, and no password."""

from __future__ import annotations

import pytest

from storage.database import Database
from storage.urls import without_secrets


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:hunter2@h/db",
        "postgresql+psycopg://u:p%40hunter2@h/db",
        "postgresql+psycopg://h/db?user=u&password=hunter2",
        "postgresql+psycopg://h/db?password=hunter2&user=u",
        "postgresql+psycopg://u:hunter2@h/db?sslmode=verify-full&sslpassword=hunter2%26",
        "postgresql+psycopg://h/db?scram_client_key=hunter2&oauth_client_secret=hunter2",
    ],
)
def test_passwords_before_the_host_and_among_the_parameters_are_hidden(url: str) -> None:
    for shown in (without_secrets(url), without_secrets(repr(url)), Database(url).named):
        assert "hunter2" not in shown
        assert "***" in shown
        assert "@h/db" in shown or "//h/db" in shown
        for harmless in ("user=u", "sslmode=verify-full"):
            assert (harmless in shown) == (harmless in url)


@pytest.mark.parametrize(
    "url",
    ["sqlite:////srv/overread.db", "postgresql+psycopg://u@h:5432/db?sslmode=require&passfile=%2Fetc%2Fpass"],
)
def test_a_url_without_a_password_stays_as_it_is(url: str) -> None:
    assert without_secrets(url) == url


def test_a_password_with_an_at_sign_that_is_not_escaped_is_hidden_whole() -> None:
    assert without_secrets("postgresql+psycopg://u:p@hunter2@h/db") == "postgresql+psycopg://u:***@h/db"
