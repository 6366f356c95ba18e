"""The containers: what compose.yaml says is valid, and the node starts with just what it passes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from node.commands.alive import NotAliveError, check_alive
from node.settings.file import load_settings, overridden
from tests import postgres
from tests.orthanc import free_port as any_free_port
from tests.programs import require

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy/compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES = COMPOSE["services"]
PASSWORD = "p@$s/w:rd?%20#&"


def filled_in(text: str, **variables: str) -> str:
    """As compose does it, ``variables`` being set, and nothing else."""

    def value(found: re.Match[str]) -> str:
        name, operator, word = found.groups()
        if name not in variables and operator == ":?":
            raise KeyError(f"{name}: {word}")
        return variables.get(name, word)

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value, text)


def passed_to(service: str, **variables: str) -> dict[str, str]:
    """The environment of a container; what is named without a value is passed on only where it is set."""
    given = SERVICES[service]["environment"].items()
    return {name: filled_in(str(value), **variables) for name, value in given if value is not None}


def of_the_image() -> dict[str, str]:
    return dict(re.findall(r"(OVERREAD_\w+)=(\S+)", (ROOT / "deploy/Dockerfile").read_text()))


@pytest.fixture
def as_in_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (of_the_image() | passed_to("node", POSTGRES_PASSWORD=PASSWORD)).items():
        monkeypatch.setenv(name, value)


def judged(path: Path) -> subprocess.CompletedProcess[str]:
    """By the specification's own schema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_file_is_as_the_compose_specification_asks(tmp_path: Path) -> None:
    accepted = judged(FILE)
    assert accepted.returncode == 0, accepted.stdout
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text(FILE.read_text().replace("depends_on:", "depend_on:"))
    assert judged(misspelt).returncode != 0


def docker_compose() -> list[str]:
    """Docker's compose, which needs no engine to say what it makes of a file; version 1 knows no such file.
    CI, too, is without it where its machines have none: Debian's packages of that age do not."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
            if version.returncode == 0 and not version.stdout.strip().lstrip("v").startswith("1."):
                return command
    pytest.skip("Docker's compose is not installed: the file was held to the schema alone")


@pytest.mark.parametrize("profile", ["", "pacs", "triton-cpu", "triton-gpu"])
def test_compose_makes_of_the_file_what_it_says(profile: str) -> None:
    environment = os.environ | {"POSTGRES_PASSWORD": PASSWORD, "COMPOSE_PROFILES": profile}
    command = [*docker_compose(), "--env-file", os.devnull, "--file", str(FILE), "config", "--format", "json"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    services = json.loads(made.stdout)["services"]
    wanted = {name for name, one in SERVICES.items() if {profile} & {*one.get("profiles", [profile])}}
    assert services.keys() == wanted
    assert services["node"]["environment"]["PGPASSWORD"] == PASSWORD.replace("$", "$$")
    unset = {name: value for name, value in environment.items() if name != "POSTGRES_PASSWORD"}
    refused = subprocess.run(command, env=unset, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "set it in deploy/.env" in refused.stderr


def test_whatever_a_service_names_is_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            known = (FILE.parent / source).exists() if "/" in source else source in COMPOSE["volumes"]
            assert known, f"{name}: {volume}"
    assert (FILE.parent / SERVICES["node"]["build"]["context"] / "deploy/Dockerfile").exists()


def test_a_password_that_is_not_set_is_asked_for() -> None:
    for service in ("node", "postgres"):
        with pytest.raises(KeyError, match=r"set it in deploy/\.env"):
            passed_to(service)


@pytest.mark.usefixtures("as_in_the_container")
def test_the_settings_of_the_containers_are_accepted() -> None:
    settings = load_settings(ROOT / "deploy/overread.toml")
    assert settings.node.data_dir == Path("/data")
    assert (settings.dicom.host, settings.dicom.port) == ("0.0.0.0", 11112)
    assert settings.database.url.startswith("postgresql+psycopg://")
    assert settings.engine.kind == "embedded"
    assert settings.web.proxies == ()


def test_a_proxy_before_the_container_has_an_address_that_can_be_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    gateway = ip_address(filled_in(network["gateway"]))
    assert gateway in ip_network(filled_in(network["subnet"]))
    assert SERVICES["node"]["environment"]["OVERREAD_WEB__PROXIES"] is None
    monkeypatch.setenv("OVERREAD_WEB__PROXIES", f'["{gateway}"]')
    assert load_settings(ROOT / "deploy/overread.toml").web.proxies == (str(gateway),)


@pytest.mark.usefixtures("as_in_the_container")
def test_a_proxy_that_the_file_of_the_containers_names_is_believed(tmp_path: Path) -> None:
    config = tmp_path / "overread.toml"
    config.write_text((ROOT / "deploy/overread.toml").read_text() + '\n[web]\nproxies = ["172.29.77.1"]\n')
    assert load_settings(config).web.proxies == ("172.29.77.1",)
    assert overridden(config) == []


@pytest.fixture
def server() -> Iterator[dict[str, Any]]:
    """A server as the image of PostgreSQL makes it from what compose passes to it: how to connect to it."""
    asked = passed_to("postgres", POSTGRES_PASSWORD=PASSWORD)
    port = any_free_port()
    assert not is_healthy(port)
    with postgres.private_server(asked["POSTGRES_PASSWORD"], port):
        where = {"host": "127.0.0.1", "port": port, "user": "overread", "password": PASSWORD}
        assert asked["POSTGRES_USER"] == where["user"]
        with psycopg.connect(**where, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {asked['POSTGRES_DB']}")
        assert is_healthy(port)
        yield where | {"dbname": asked["POSTGRES_DB"]}


def is_healthy(port: int) -> bool:
    """Whether compose would start the node, which waits for that."""
    assert SERVICES["node"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    kind, program, *arguments = SERVICES["postgres"]["healthcheck"]["test"]
    assert kind == "CMD"
    environment = os.environ | {"PGPORT": str(port)}
    return (
        subprocess.run([require(program), *arguments], env=environment, capture_output=True).returncode == 0
    )


@pytest.mark.usefixtures("as_in_the_container")
def test_the_node_works_with_the_database_that_compose_gives_it(
    server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {  # the same places, on this machine
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(server["port"]),
        "OVERREAD_CONFIG": str(ROOT / "deploy/overread.toml"),
        "OVERREAD_NODE__DATA_DIR": str(tmp_path / "data"),
        "OVERREAD_DICOM__PORT": str(any_free_port()),
        "OVERREAD_WEB__PORT": str(any_free_port()),
    }
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    log = tmp_path / "log"
    with log.open("w") as output:
        command = [sys.executable, "-c", "from node.cli import app; app()", "serve"]
        node = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        while not is_alive():
            assert node.poll() is None, log.read_text()
            time.sleep(0.2)
        with psycopg.connect(**server) as connection:
            (studies,) = connection.execute("SELECT count(*) FROM studies").fetchone() or (None,)
            (queued,) = connection.execute("SELECT count(*) FROM dbos.workflow_status").fetchone() or (None,)
        node.terminate()
        assert node.wait(timeout=60) == 0
    finally:
        node.kill()
        node.wait()
    assert (studies, queued) == (0, 0)
    assert PASSWORD not in log.read_text()
    assert list((tmp_path / "data").rglob("*.db")) == []


def is_alive() -> bool:
    """As the container's health check asks."""
    try:
        check_alive(load_settings(Path(os.environ["OVERREAD_CONFIG"])).web)
    except NotAliveError:
        return False
    return True
