"""A private PostgreSQL server for the tests, without durability."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

from tests.programs import require

NAMED_SERVER = os.environ.get("OVERREAD_TEST_POSTGRES")


@contextmanager
def private_server(password: str = "", port: int | None = None) -> Iterator[URL]:
    """Start a server in a temporary folder; yields the URL of its maintenance database.

    It listens on a Unix socket, and on this port of 127.0.0.1 where one is given; ``password``: what it asks
    for, if anything.
    """
    initdb, pg_ctl = require("initdb"), require("pg_ctl")
    account = _account()
    # pytest's own temporary folder is closed to other accounts, and its path too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="overread-pg-"))
    data = folder / "data"
    if account:
        shutil.chown(folder, account.pw_name)

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            command,
            cwd=folder,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=[] if account else None,
            stdin=subprocess.DEVNULL,
            stdout=(folder / "output").open("a"),
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {(folder / 'output').read_text()}")

    (folder / "output").touch()
    try:
        (folder / "password").write_text(password)
        asks = ("--auth=scram-sha-256", f"--pwfile={folder / 'password'}") if password else ("--auth=trust",)
        options = (
            "--username=overread",
            *asks,
            *_sorting_as_people_do(initdb),
            "--encoding=UTF8",
            "--no-sync",
        )
        run(initdb, "--pgdata", data, *options)
        listens = f"-c listen_addresses=127.0.0.1 -p {port}" if port else "-c listen_addresses="
        serves = f"-k {folder} {listens} -c fsync=off -c full_page_writes=off -c max_connections=200"
        run(pg_ctl, "--pgdata", data, "--wait", "--log", folder / "log", "--options", serves, "start")
        try:
            yield URL.create(
                "postgresql+psycopg", "overread", database="postgres", query={"host": str(folder)}
            )
        finally:
            run(pg_ctl, "--pgdata", data, "--wait", "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def standing_still(private: URL) -> Iterator[None]:
    """All processes of a private server are stopped, as on a machine that hangs."""
    postmaster = int((Path(str(private.query["host"])) / "data" / "postmaster.pid").read_text().split()[0])
    pids = [postmaster]
    os.kill(postmaster, signal.SIGSTOP)
    try:
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            pids.append(int(child))
            os.kill(pids[-1], signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def server() -> Iterator[URL]:
    """The server at OVERREAD_TEST_POSTGRES, a URL whose account may create databases; else a private one."""
    if NAMED_SERVER:
        yield make_url(NAMED_SERVER).set(drivername="postgresql+psycopg")
    else:
        with private_server() as url:
            yield url


@contextmanager
def new_database(server: URL, template: str = "template1") -> Iterator[URL]:
    """Create a database like ``template``, which is empty where none is named, and drop it afterwards."""
    name = f"overread_{uuid.uuid4().hex}"
    maintenance = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield server.set(database=name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _sorting_as_people_do(initdb: Path) -> tuple[str, ...]:
    """Text in the order of a language, as most servers have it and SQLite has not; from PostgreSQL 15 on."""
    known = subprocess.run([initdb, "--help"], capture_output=True, text=True).stdout
    return ("--locale-provider=icu", "--icu-locale=en-US") if "--icu-locale" in known else ()


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then the account it was installed with, or nobody."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
