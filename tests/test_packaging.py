"""An installation: locked dependencies, the interpreter found, steps that say why they failed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import IO

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from node.security.tls import identity_of
from node.settings.file import load_settings
from node.web.app import create_app
from node.web.server import WebServer
from storage.database import Database
from tests.certificates import Authority
from tests.orthanc import free_port as any_free_port
from tests.programs import require

ROOT = Path(__file__).parents[1]
LOCKS = {name: ROOT / "requirements" / f"{name}.txt" for name in ("runtime", "develop")}
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)
UNLOCKED = (ROOT / "requirements" / "unlocked.txt").read_text().split()


def pins(lock: str) -> dict[str, set[str]]:
    """Each locked distribution and its versions; it may have several, for different Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall(LOCKS[lock].read_text()):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def wanted(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    for extra in extras:
        lines += project["project"]["optional-dependencies"][extra]
    return [requirement for requirement in map(Requirement, lines) if requirement.name not in UNLOCKED]


@pytest.mark.parametrize(
    ("lock", "extras"), [("runtime", ["triton"]), ("develop", ["triton", "openvino", "test", "train"])]
)
def test_every_dependency_is_locked_at_a_version_that_is_allowed(lock: str, extras: list[str]) -> None:
    locked = pins(lock)
    for requirement in wanted(*extras):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement} is not in {LOCKS[lock].name}: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_both_locks_agree() -> None:
    runtime, develop = pins("runtime"), pins("develop")
    assert runtime == {name: develop[name] for name in runtime}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_hash_for_every_pin_and_names_no_place_to_download_from(lock: str) -> None:
    text = LOCKS[lock].read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "--index" not in text


def test_no_dependency_at_run_time_is_torch() -> None:
    assert "torch" not in pins("runtime")


def find_python(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PATH": str(path)} if path else {})}
    command = ["/bin/sh", str(ROOT / "deploy/find-python.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_python_that_is_named_is_taken() -> None:
    found = find_python(sys.executable)
    assert found.returncode == 0
    assert Path(found.stdout.strip()).samefile(sys.executable)


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    found = find_python(path=tmp_path)
    assert found.returncode != 0
    assert "needs Python 3.11 or newer, and none was found" in found.stderr


def test_a_python_that_cannot_make_environments_is_named_with_the_package_that_mends_it(
    tmp_path: Path,
) -> None:
    crippled = tmp_path / "python3"
    crippled.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    crippled.chmod(0o755)
    found = find_python(path=tmp_path)
    assert found.returncode != 0
    assert f"{crippled} cannot make virtual environments" in found.stderr
    assert re.search(r"apt-get install python3\.\d+-venv", found.stderr)


def step(*command: str, stdout: int | IO[str] = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, str(ROOT / "deploy/step.py"), "a step", "--", *command]
    return subprocess.run(arguments, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_a_step_that_works_is_one_line() -> None:
    done = step(sys.executable, "-c", "print('much detail')")
    assert done.returncode == 0
    assert done.stderr == ""
    assert re.fullmatch(r"  a step \(\d+ s\)\n", done.stdout)


def test_a_step_that_fails_shows_all_it_said_and_its_exit_status() -> None:
    done = step("/bin/sh", "-c", "echo why; echo where >&2; exit 7")
    assert done.returncode == 7
    assert "why" in done.stderr
    assert "where" in done.stderr
    assert "exit status 7" in done.stderr


def test_a_step_whose_program_is_not_there_says_so(tmp_path: Path) -> None:
    """As in a folder that was moved, whose environment names the old one."""
    done = step(str(tmp_path / "absent"))
    assert done.returncode == 1
    assert "absent cannot be run: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux alone has a disk that is always full")
def test_a_step_that_ran_is_not_called_one_that_cannot_be_run() -> None:
    with Path("/dev/full").open("w") as full:
        done = step(sys.executable, "-c", "", stdout=full)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "cannot be run" not in done.stderr


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_programs_that_cannot_be_installed_are_listed_and_in_ci_that_is_an_error(
    ci: str, status: int, tmp_path: Path
) -> None:
    nothing_there = {"PATH": str(tmp_path), "CI": ci}
    command = [sys.executable, str(ROOT / "deploy/system_packages.py")]
    done = subprocess.run(command, env=nothing_there, capture_output=True, text=True)
    assert done.returncode == status
    assert "the tests that need them are skipped" in done.stderr
    assert re.search(r"dcmtk +sends, prints and checks DICOM objects", done.stderr)
    assert "apt-get install gcc dcmtk" in done.stderr


@pytest.mark.needs("hadolint")
def test_the_dockerfile_is_written_as_its_linter_asks() -> None:
    command = [str(require("hadolint")), str(ROOT / "deploy/Dockerfile")]
    linted = subprocess.run(command, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("secure", [False, True])
def test_the_containers_health_check_speaks_as_the_page_does(
    secure: bool, database: Database, tmp_path: Path
) -> None:
    tls = ""
    if secure:
        pair = Authority(tmp_path).issue("node")
        tls = f'[web.tls]\ncertificate = "{pair.certificate}"\nprivate_key = "{pair.private_key}"\n'
    config = tmp_path / "overread.toml"
    config.write_text(f'[web]\nhost = "0.0.0.0"\nport = {any_free_port()}\n{tls}')
    settings = load_settings(config)
    page = create_app(settings, database, tmp_path, lambda: ())
    server = WebServer(page, settings.web.host, settings.web.port, identity_of(settings.web.tls.files))
    server.start()
    answered = health_check(config)
    server.stop()
    unanswered = health_check(config)
    assert (answered.returncode, answered.stderr) == (0, "")
    assert unanswered.returncode == 1
    assert f"no node answers at {'https' if secure else 'http'}://0.0.0.0" in unanswered.stderr


def health_check(config: Path) -> subprocess.CompletedProcess[str]:
    """What the container is asked, of a node with these settings."""
    text = (ROOT / "deploy/Dockerfile").read_text()
    found = re.search(r"^HEALTHCHECK [^\n]*\\\n +CMD (\[.*\])$", text, re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "overread"
    command = [sys.executable, "-c", "from node.cli import app; app()", *arguments]
    return subprocess.run(
        command, env=os.environ | {"OVERREAD_CONFIG": str(config)}, capture_output=True, text=True
    )


def test_the_settings_of_the_service_are_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unit = (ROOT / "deploy/overread.service").read_text()
    for name, value in re.findall(r"^Environment=(OVERREAD_\w+)=(\S+)$", unit, re.MULTILINE):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert load_settings().node.data_dir == Path("/var/lib/overread")
