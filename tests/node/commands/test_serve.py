"""`overread serve`: a process that says where it listens, and stops when told to."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.peers.sending import DicomDestination
from node.settings import Peer
from tests.tiny_models import make_repository
from training.phantoms.dicom import Patient, write_ct_series
from training.phantoms.fields import Grid

ROOT = Path(__file__).parents[3]


pytestmark = pytest.mark.usefixtures("configured_database")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "overread.toml"
    path.write_text(
        "[dicom]\nport = 0\nquiet_seconds = 0.5\n[web]\nport = 0\n[log]\nformat = 'json'\n"
        f"[engine]\nmodels = '{make_repository(tmp_path / 'models')}'\n"
    )
    return path


START = "from node.cli import app; app()"


def command(config: Path, start: str = START) -> list[str]:
    return [sys.executable, "-c", start, "serve", "--config", str(config)]


@contextmanager
def serving(config: Path, log: Path, start: str = START) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A running node: its process, its DICOM port and the address of its status page."""
    with log.open("w") as errors:
        node = subprocess.Popen(
            command(config, start),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            umask=0o022,
        )
    try:
        assert node.stdout is not None
        starting, receiving, status = (node.stdout.readline() for _ in range(3))
        assert str(config) in starting
        assert "receiving" in receiving, log.read_text()
        yield node, int(receiving.rsplit(":", 1)[1]), status.split()[-1]
    finally:
        node.kill()
        node.wait()


def refused(config: Path) -> str:
    """What a node that cannot start says."""
    ended = subprocess.run(command(config), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_it_answers_where_it_says_stops_cleanly_and_starts_again(tmp_path: Path, config: Path) -> None:
    for told in (signal.SIGTERM, signal.SIGINT):
        with serving(config, tmp_path / "log") as (node, port, status):
            peer = Peer(name="node", ae_title="OVERREAD", host="127.0.0.1", port=port)
            DicomDestination(peer, "TEST").echo()
            with urlopen(status + "api/studies") as answer:
                assert json.load(answer)["studies"] == []
            soft, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
            assert soft >= min(hard, 65536) or hard == resource.RLIM_INFINITY
            kept = [tmp_path / "overread-data", *(tmp_path / "overread-data").rglob("*")]
            assert [path for path in kept if path.stat().st_mode & 0o007] == []
            node.send_signal(told)
            assert node.wait(timeout=60) == 0


def test_a_stop_waits_for_no_thread_that_waits_for_a_database(tmp_path: Path, config: Path) -> None:
    waits = "import threading, time; threading.Thread(target=time.sleep, args=(3600,)).start()"
    with serving(config, tmp_path / "log", f"{waits}; {START}") as (node, _port, _status):
        node.terminate()
        assert node.wait(timeout=60) == 0
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["text"] == "stopped"


def test_a_stop_needs_nobody_who_reads_what_it_printed() -> None:
    leave = "from node.commands import serve; print('x' * 10); serve._leave()"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-c", leave],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=120,
        )
    assert ended.returncode == 0, ended.stderr


def test_check_tells_the_running_node_from_one_with_other_data_on_its_ports(
    tmp_path: Path, config: Path, free_port: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        web_port = other.getsockname()[1]
    ports = f"[dicom]\nport = {free_port}\n[web]\nport = {web_port}\n"
    config.write_text(ports + config.read_text()[config.read_text().index("[log]") :])
    other = tmp_path / "other.toml"
    other.write_text(f"[node]\ndata_dir = 'other-data'\n{config.read_text()}")
    with serving(config, tmp_path / "log"):
        ours, others = (CliRunner().invoke(app, ["check", "--config", str(file)]) for file in (config, other))
    assert ours.exit_code == 0, ours.output
    assert "a node is running" in ours.stdout
    assert others.exit_code == 1
    assert "not ready: dicom port, web port" in others.stderr
    assert "another Overread" in " ".join(others.stdout.replace("│", " ").split())


def test_the_log_is_json_and_names_no_patient(tmp_path: Path, config: Path) -> None:
    grid = Grid.centred((3, 8, 8), (1.0, 1.0, 1.0))
    z, y, x = grid.axes
    patient = Patient("SECRET-ID", "Secret^Sally")
    paths = write_ct_series(tmp_path / "study", (z + y + x).astype("int16"), grid.affine, patient=patient)
    (tmp_path / "overread.toml").write_text(config.read_text().replace("'json'", "'json'\nlevel = 'debug'"))
    with serving(config, tmp_path / "log") as (node, port, status):
        peer = Peer(name="node", ae_title="OVERREAD", host="127.0.0.1", port=port)
        assert {r.outcome for r in DicomDestination(peer, "TEST").send(paths)} == {"sent"}
        while "skipped" not in urlopen(status + "api/studies").read().decode():
            assert node.poll() is None
        node.terminate()
        node.wait(timeout=60)
    log = (tmp_path / "log").read_text()
    assert log
    assert all({"at", "level", "logger", "text"} <= json.loads(line).keys() for line in log.splitlines())
    assert not re.search("secret", log, re.IGNORECASE)


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, config: Path) -> None:
    (tmp_path / "file").touch()
    config.write_text(f"[node]\ndata_dir = 'file/data'\n{config.read_text()}")
    assert "file/data" in refused(config)


def test_a_second_node_on_the_same_data_is_refused(tmp_path: Path, config: Path) -> None:
    with serving(config, tmp_path / "log"):
        assert str(tmp_path / "overread-data") in refused(config)
