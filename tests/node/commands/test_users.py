"""`overread users` and `overread audit`: accounts without a browser, and who did what as lines."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.cli import app
from node.security.passwords import is_right
from storage import accounts, audit
from storage.database import Database
from storage.tables import AuditLine

ROOT = Path(__file__).parents[3]
PASSWORD = "correct horse battery"


pytestmark = pytest.mark.usefixtures("configured_database")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "overread.toml").touch()


def overread(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=typed)


@pytest.mark.parametrize("command", ["users add", "users list", "users password", "users remove", "audit"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"Example: overread {command}" in overread(*command.split(), "--help").output


def test_accounts_are_made_changed_listed_and_removed_and_all_of_it_is_recorded(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert overread("users", "add", "anna", typed=PASSWORD + "\n").exit_code == 0
    (tmp_path / "secret").write_text("another long password\n")
    assert overread("users", "add", "berta", "--role", "viewer", "--password-file", "secret").exit_code == 0
    listed = overread("users", "list").output
    assert "anna" in listed
    assert "viewer" in listed
    assert overread("users", "password", "anna", typed="a third long password\n").exit_code == 0
    monkeypatch.setenv("SUDO_USER", "carla")
    assert overread("users", "remove", "berta").exit_code == 0
    monkeypatch.setenv("SUDO_USER", "x" * 1000)
    assert overread("users", "password", "anna", typed="a third long password\n").exit_code == 0
    with database.snapshot() as session:
        (anna,) = accounts.accounts(session)
    assert is_right("a third long password", anna.password_hash)
    lines = [json.loads(line) for line in overread("audit").output.splitlines()]
    assert [line["text"] for line in lines] == [
        "made the account 'anna' (admin)",
        "made the account 'berta' (viewer)",
        "set the password of 'anna'",
        "removed the account 'berta'",
        "set the password of 'anna'",
    ]
    here = f"{pwd.getpwuid(os.getuid()).pw_name} (overread users)"
    *known, made_up = [line["who"] for line in lines]
    assert known == [here, here, here, f"carla, as {here}"]
    assert made_up.startswith("xxx")
    assert made_up.endswith(f"x, as {here}")


@pytest.mark.parametrize(
    ("web", "said"),
    [
        ("", 'asks nobody to log in yet, since it is shown to this machine alone: set web.login = "always"'),
        (
            'names = ["reads.hospital"]\nbehind_login = true',
            "web.behind_login leaves the login to your proxy",
        ),
        ('login = "always"', None),
    ],
)
def test_an_account_that_nobody_is_asked_for_is_said_to_wait_for_a_login(
    tmp_path: Path, web: str, said: str | None
) -> None:
    (tmp_path / "overread.toml").write_text(f"[web]\n{web}\n")
    made = overread("users", "add", "anna", typed=PASSWORD + "\n").output
    assert made.startswith("anna may log in as admin, by ")
    assert ("But" in made) == (said is not None)
    assert (said or "") in made


def test_accounts_are_said_to_be_in_the_database_they_are_in(database: Database) -> None:
    where = database.named
    assert overread("users", "list").output.startswith(f"Nobody yet in {where}.")
    assert f"may log in as admin, by {where}." in overread("users", "add", "anna", typed=PASSWORD).output


@pytest.mark.only_on("sqlite", "PostgreSQL keeps its files itself")
@pytest.mark.parametrize("command", [("users", "list"), ("audit",)])
def test_a_database_that_a_command_makes_is_nothing_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("OVERREAD_DATABASE__URL")
    before = os.umask(0o022)
    try:
        assert overread(*command).exit_code == 0
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    made = [tmp_path / "overread-data", *(tmp_path / "overread-data").iterdir()]
    assert len(made) > 1
    assert [path for path in made if path.stat().st_mode & 0o007] == []


@pytest.mark.only_on("postgresql", "SQLite knows no password")
def test_no_password_among_the_parameters_of_a_database_is_said(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database.url.update_query_dict({"sslpassword": "hunter2"})
    monkeypatch.setenv("OVERREAD_DATABASE__URL", url.render_as_string(hide_password=False))
    for said in (
        overread("users", "list").output,
        overread("users", "add", "anna", typed=PASSWORD).output,
        overread("audit", "--until", "2020-01-01").stderr,
    ):
        assert "sslpassword=***" in said
        assert "hunter2" not in said


def test_a_database_that_fails_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = "postgresql+psycopg://overread:secret@127.0.0.1:1/overread"
    monkeypatch.setenv("OVERREAD_DATABASE__URL", closed)
    failed = overread("users", "list")
    assert failed.exit_code == 1
    assert failed.stderr.startswith("overread: the database failed: connection failed")
    assert failed.stderr.endswith("`overread check` says how to mend it.\n")
    assert "secret" not in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["password", "zoe"], "no account 'zoe'"), (["add", "anna"], "an account 'anna' already")],
)
def test_nobody_is_asked_for_a_password_that_would_be_for_nothing(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    overread("users", "add", "anna", typed=PASSWORD + "\n")
    asked: list[object] = []
    monkeypatch.setattr("node.commands.users._password", asked.append)
    result = overread("users", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not asked


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (["add", "anna"], "short\n", "12 to 1024 characters"),
        (["add", "anna"], "", "12 to 1024 characters"),
        (["add", ""], PASSWORD, "1 to 64 characters"),
        (["password", "zoe"], PASSWORD, "no account 'zoe'"),
        (["remove", "zoe"], "", "no account 'zoe'"),
        (["add", "anna", "--password-file", "absent"], "", "No such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], typed: str, said: str) -> None:
    result = overread("users", *arguments, typed=typed)
    assert result.exit_code == 1
    assert said in result.stderr
    assert PASSWORD not in result.output + result.stderr


def test_who_did_what_is_printed_as_json_lines(database: Database) -> None:
    with database.session() as session:
        audit.note(session, "viewed", "anna", "looked at the study", address="10.0.0.1", study_uid="1.2.3")
    (line,) = overread("audit", "--since", "2020-01-01").output.splitlines()
    assert json.loads(line) | {"at": ""} == {
        "at": "",
        "kind": "viewed",
        "who": "anna",
        "address": "10.0.0.1",
        "study_uid": "1.2.3",
        "text": "looked at the study",
    }
    none = overread("audit", "--until", "2020-01-01")
    assert (none.stdout, none.exit_code) == ("", 0)
    assert f"no such line in {database.named}" in none.stderr
    assert "no day" in overread("audit", "--since", "yesterday").stderr


def test_a_password_that_is_no_text_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe\x00")
    failed = overread("users", "add", "anna", "--password-file", "secret")
    assert failed.exit_code == 1
    assert failed.stderr == "overread: secret is not text in UTF-8; nothing was changed.\n"


def test_a_password_that_is_piped_in_and_no_text_is_told_in_a_sentence() -> None:
    """In a process of its own: as the locale is, Python would take such bytes for text."""
    for locale in ("C", "C.UTF-8"):
        failed = subprocess.run(
            [sys.executable, "-c", "from node.cli import app; app()", "users", "add", "anna"],
            input=PASSWORD.encode() + b"\xff\n",
            capture_output=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": locale},
        )
        assert failed.returncode == 1
        assert failed.stderr == b"overread: what is piped in is not text in UTF-8; nothing was changed.\n"


def test_the_last_day_of_the_trail_is_whole_where_clocks_are_put_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        late = datetime(2026, 10, 25, 22, 30, tzinfo=UTC)  # 23:30 there, in the 25th hour of that day
        with database.session() as session:
            session.add(AuditLine(at=late, kind="action", who="anna", text="late"))
        for until, lines in (("2026-10-24", 0), ("2026-10-25", 1)):
            assert len(overread("audit", "--until", until).stdout.splitlines()) == lines
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("option", "day", "lines"),
    [
        ("--since", "0001-01-02", 1),
        ("--since", "9999-12-31", 0),
        ("--until", "9999-12-31", 1),
        ("--until", "9999-12-30", 1),
        ("--until", "0001-01-01", 0),
    ],
)
def test_the_trail_has_no_lines_before_the_first_day_or_after_the_last(
    database: Database, option: str, day: str, lines: int
) -> None:
    with database.session() as session:
        audit.note(session, "viewed", "anna", "looked at the study")
    read = overread("audit", option, day)
    assert read.exit_code == 0
    assert len(read.stdout.splitlines()) == lines


@pytest.mark.parametrize(
    ("option", "day"),
    [("--since", "0001-01-01"), ("--since", "2026-02-30"), ("--until", "2026-02-30"), ("--until", "9999-13")],
)
def test_a_day_that_no_calendar_here_has_is_told_in_a_sentence(option: str, day: str) -> None:
    said = overread("audit", option, day)
    assert said.exit_code == 1
    assert said.stderr == f"overread: '{day}' is no day; write it as 2026-01-31.\n"
