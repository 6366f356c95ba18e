"""The command line: what a person types, what they are told, and the exit status."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.cli import app
from node.commands.send import peer_at
from node.demo.pacs import StandInPacs
from node.intake.receiver import Receiver
from node.settings import DicomSettings, Settings
from storage.archive import Archive
from storage.database import Database
from tests.tiny_models import make_repository
from training.phantoms.dicom import write_ct_series
from training.phantoms.fields import Grid

COMMANDS = [
    "serve",
    "check",
    "read",
    "send",
    "demo",
    *(f"models {c}" for c in ("list", "verify", "build", "roll-back")),
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StandInPacs]:
    with StandInPacs(tmp_path / "pacs") as pacs:
        yield pacs


def overread(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def is_one_sentence(result: Result) -> bool:
    """Fails with something a person can act on: no traceback."""
    return result.exit_code != 0 and bool(result.stderr.strip()) and "Traceback" not in result.stderr


def toml(folder: Path, **sections: str) -> Path:
    path = folder / "overread.toml"
    path.write_text("\n".join(sections.values()))
    return path


def written(folder: Path, slices: int = 3) -> list[Path]:
    grid = Grid.centred((slices, 8, 8), (1.0, 1.0, 1.0))
    z, y, x = grid.axes
    return write_ct_series(folder, (z + y + x).astype("int16"), grid.affine)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = overread(*command.split(), "--help")
    assert shown.exit_code == 0
    assert f"Example: overread {command}" in " ".join(shown.output.split())


@pytest.mark.parametrize("command", [*COMMANDS, "set-aside", "audit", "users add", "train polyps"])
def test_help_says_what_an_option_wants_in_words_of_the_field(command: str) -> None:
    shown = overread(*command.split(), "--help").output
    options = [line for line in shown.splitlines() if "--" in line]
    assert not [line for line in options if "<path>" in line or "<list[" in line]
    assert "…}" not in shown


@pytest.mark.parametrize("group", ["users", "models", "score"])
def test_every_group_of_commands_has_help_with_an_example(group: str) -> None:
    assert f"Example: overread {group} " in " ".join(overread(group, "--help").output.split())


def test_the_version_is_shown() -> None:
    assert re.match(r"overread \d+\.\d+", overread("--version").output)


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pydicom", "pydantic", "sqlalchemy", "onnxruntime", "dbos", "torch", "fastapi"}
    code = f"import node.cli, sys; print(sorted({heavy!r} & set(sys.modules)))"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert imported.stdout.strip() == "[]"


def test_an_unknown_command_is_refused() -> None:
    assert is_one_sentence(overread("reed"))


def test_a_sentence_by_default_and_the_traceback_on_request() -> None:
    assert is_one_sentence(overread("send", __file__, "--to", "nowhere"))
    assert (
        overread("send", __file__, "--to", "nowhere", "--debug").exception.__class__.__name__ == "SendError"
    )


# settings


@pytest.mark.parametrize("command", ["serve", "check", "models list"])
def test_an_unknown_key_is_named_with_its_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "o.toml").write_text("[dicom]\nprot = 104\n")
    result = overread(*command.split(), "--config", tmp_path / "o.toml")
    assert is_one_sentence(result)
    assert "line 2: dicom.prot = 104" in result.stderr
    assert "Did you mean port?" in result.stderr


def test_the_printed_settings_are_toml() -> None:
    import tomllib

    assert tomllib.loads(overread("check", "--print-config").stdout)["dicom"]["port"] == 11112


# serve and read


@pytest.mark.parametrize("section", ["dicom", "web"])
def test_a_port_that_is_taken_is_named_before_a_node_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    monkeypatch.setitem(sys.modules, "node.app", None)  # to import it is an error
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"dicom": 0, "web": 0, section: port}
        config = toml(tmp_path, **{name: f"[{name}]\nport = {number}" for name, number in ports.items()})
        result = overread("serve", "--config", config)
    assert result.stdout.split()[:2] == ["starting", "OVERREAD,"]
    assert str(config) in result.stdout
    assert is_one_sentence(result)
    assert f"127.0.0.1:{port}" in result.stderr
    assert f"{section}.port" in result.stderr


@pytest.mark.parametrize("command", ["serve", "read . --out results"])
def test_a_mistake_in_the_settings_is_told_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name in ("node.app", "node.commands.read"):
        monkeypatch.setitem(sys.modules, name, None)  # to import it is an error
    result = overread(*command.split(), "--config", toml(tmp_path, dicom="[dicom]\nport = 'no'"))
    assert "dicom.port = 'no' is not allowed" in result.stderr


# check


def peer(port: int, kind: str = "destinations") -> str:
    return f'[[{kind}]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'


def ready(tmp_path: Path, free_port: int, **more: str) -> Path:
    make_repository(tmp_path / "models")
    models = f'[engine]\nmodels = "{tmp_path / "models"}"\n'
    return toml(tmp_path, ports=f"[dicom]\nport = {free_port}\n[web]\nport = 0\n", models=models, **more)


def test_the_address_where_no_node_answers_can_be_opened_in_a_browser(tmp_path: Path, free_port: int) -> None:
    config = toml(tmp_path, web=f'[web]\nhost = "::1"\nport = {free_port}')
    result = overread("check", "--alive", "-c", config)
    assert is_one_sentence(result)
    assert f"no node answers at http://[::1]:{free_port}/;" in result.stderr


def test_a_model_that_is_not_there_is_told_of_before_any_plan_is_built(tmp_path: Path) -> None:
    make_repository(tmp_path / "models")
    config = toml(tmp_path, models='[engine]\nmodels = "models"')
    known = overread("models", "list", "-c", config).stdout.split("│")[1].strip()
    result = overread("models", "build", known, "absent", "-c", config)
    assert is_one_sentence(result)
    assert "there is no model 'absent'" in result.stderr
    assert "building" not in result.stderr


def test_nothing_to_build_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    result = overread("models", "build", "-c", toml(tmp_path, models='[engine]\nmodels = "models"'))
    assert is_one_sentence(result)
    assert "there are no models" in result.stderr


def test_check_passes_when_everything_is_there(tmp_path: Path, free_port: int, pacs: StandInPacs) -> None:
    result = overread("check", "-c", ready(tmp_path, free_port, pacs=peer(pacs.port)))
    assert result.exit_code == 0, result.output
    assert "destination pacs" in result.stdout
    assert not (tmp_path / "overread-data").exists()


@pytest.mark.parametrize(
    ("dicom", "told"),
    [
        ('host = "0.0.0.0"', True),
        ('host = "127.0.0.1"', False),
        ('host = "0.0.0.0"\nallowed_callers = ["CT1@10.0.0.5"]', False),
    ],
)
def test_check_says_where_anyone_may_send(tmp_path: Path, free_port: int, dicom: str, told: bool) -> None:
    config = ready(tmp_path, free_port)
    config.write_text(config.read_text().replace("[dicom]\n", f"[dicom]\n{dicom}\n"))
    result = overread("check", "-c", config)
    assert result.exit_code == 0, result.output
    assert ("may send" in result.stdout) is told


def test_check_looks_into_the_database_that_is_named(
    configured_database: str, tmp_path: Path, free_port: int
) -> None:
    result = overread("check", "-c", ready(tmp_path, free_port))
    assert result.exit_code == 0, result.output
    assert re.search(r"database .*(sqlite|postgresql)", result.stdout)


def test_check_names_what_the_file_says_in_vain_and_passes(
    tmp_path: Path, free_port: int, pacs: StandInPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERREAD_DICOM__PORT", "0")
    result = overread("check", "-c", ready(tmp_path, free_port, pacs=peer(pacs.port)))
    assert result.exit_code == 0, result.output
    assert "OVERREAD_DICOM__PORT" in result.stdout


def test_check_names_a_destination_that_does_not_answer(tmp_path: Path, free_port: int) -> None:
    with StandInPacs(tmp_path / "gone") as gone:
        port = gone.port
    result = overread("check", "-c", ready(tmp_path, free_port, pacs=peer(port) + peer(port, "archives")))
    assert is_one_sentence(result)
    assert "not ready: destination pacs, archive pacs" in result.stderr
    assert str(port) in result.stdout


def test_check_names_a_port_that_is_taken(tmp_path: Path, pacs: StandInPacs) -> None:
    result = overread("check", "-c", ready(tmp_path, pacs.port))
    assert is_one_sentence(result)
    assert "not ready: dicom port" in result.stderr


def test_check_names_a_data_folder_that_cannot_be_written_to(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "file").touch()
    node = f'[node]\ndata_dir = "{tmp_path / "file" / "data"}"\n'
    result = overread("check", "-c", ready(tmp_path, free_port, node=node))
    assert is_one_sentence(result)
    assert "disk" in result.stderr
    assert "see disk" in result.stdout


def test_check_names_weights_that_are_damaged(tmp_path: Path, free_port: int) -> None:
    config = ready(tmp_path, free_port)
    (tmp_path / "models" / "spots" / "1" / "model.onnx").write_bytes(b"damaged")
    result = overread("check", "-c", config)
    assert is_one_sentence(result)
    assert "models" in result.stderr


# models


def test_models_are_listed_and_verified(tmp_path: Path, free_port: int) -> None:
    config = ready(tmp_path, free_port)
    listed = overread("models", "list", "-c", config)
    assert listed.exit_code == 0
    assert "spots" in listed.stdout
    assert overread("models", "verify", "-c", config).exit_code == 0


def test_a_model_that_cannot_be_verified_is_named(tmp_path: Path, free_port: int) -> None:
    config = ready(tmp_path, free_port)
    (tmp_path / "models" / "grades" / "parity.npz").unlink()
    result = overread("models", "verify", "-c", config)
    assert is_one_sentence(result)
    assert "not as recorded: grades.\n" in result.stderr


# send


def test_a_folder_is_sent_and_what_is_not_dicom_is_named(tmp_path: Path, pacs: StandInPacs) -> None:
    written(tmp_path / "study" / "deep")
    (tmp_path / "study" / "a.dcm").write_text("a letter")
    (tmp_path / "study" / "b.txt").write_text("another")
    result = overread("send", tmp_path / "study", "--to", f"127.0.0.1:{pacs.port}", "--aec", "PACS")
    assert result.exit_code == 0, result.output
    assert len(pacs.objects()) == 3
    assert "Skipped 2 files" in result.stdout
    assert re.search(r"a\.dcm\s+\(not a DICOM file\)", result.stdout)
    assert "b.txt" in result.stdout
    assert " more" not in result.stdout
    assert re.search(r"sent +3", result.stdout)


def test_of_many_files_that_are_skipped_five_are_named(tmp_path: Path, pacs: StandInPacs) -> None:
    written(tmp_path / "study")
    for number in range(7):
        (tmp_path / "study" / f"letter-{number}.txt").write_text("a letter")
    result = overread("send", tmp_path / "study", "--to", f"127.0.0.1:{pacs.port}", "--aec", "PACS")
    assert result.exit_code == 0, result.output
    named = re.findall(r"letter-(\d)\.txt", result.stdout)
    assert named == ["0", "1", "2", "3", "4"]
    assert "and 2 more" in result.stdout


def test_a_node_that_rejects_the_caller_is_answered_by_how_to_be_let_in(
    database: Database, tmp_path: Path
) -> None:
    settings = DicomSettings.model_validate(
        {"port": 0, "allowed_callers": ["PACS"], "minimum_free_mb": 0, "durable": False}
    )
    receiver = Receiver(settings, "OVERREAD", Archive(tmp_path / "data", durable=False), database)
    port = receiver.start()
    try:
        to = ("--to", f"127.0.0.1:{port}")
        result = overread("send", *written(tmp_path / "study"), *to)
        assert is_one_sentence(result)
        assert "OVERREAD-SEND@127.0.0.1" in result.stderr
        assert "dicom.allowed_callers" in result.stderr
        assert "--aet" in result.stderr
        assert overread("send", tmp_path / "study", *to, "--aet", "PACS").exit_code == 0
    finally:
        receiver.stop()


@pytest.mark.parametrize("content", [None, "a letter"])
def test_a_folder_without_dicom_is_refused(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "study").mkdir()
    if content:
        (tmp_path / "study" / "a.dcm").write_text(content)
    result = overread("send", tmp_path / "study")
    assert is_one_sentence(result)
    assert "no DICOM file" in result.stderr


def test_a_wrong_port_is_said_once_for_all_files(tmp_path: Path, free_port: int) -> None:
    result = overread("send", *written(tmp_path / "study"), "--to", f"127.0.0.1:{free_port}")
    assert is_one_sentence(result)
    assert result.stdout.count("cannot be reached") == 1
    assert "3 of 3 files did not arrive" in result.stderr


def test_a_packed_study_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "study.zip").write_bytes(b"PK")
    result = overread("send", tmp_path / "study.zip")
    assert is_one_sentence(result)
    assert "unpack it first" in result.stdout


@pytest.mark.parametrize("port", ["0", "70000"])
def test_a_port_out_of_range_is_said_to_be_so(tmp_path: Path, port: str) -> None:
    result = overread("send", *written(tmp_path / "study"), "--to", f"127.0.0.1:{port}")
    assert is_one_sentence(result)
    assert f"the port {port} is out of range" in result.stderr


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:", "127.0.0.1:port", ":11112"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    result = overread("send", *written(tmp_path / "study"), "--to", address)
    assert is_one_sentence(result)
    assert "HOST:PORT" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "A@B@127.0.0.1:104"), "ae_title 'A@B' must be 1 to 16 characters"),
        (("--to", "127.0.0.1:104", "--aec", "A" * 17), "must be 1 to 16 characters"),
        (("--to", "a b:104"), "host 'a b' must be a host name or an address"),
        (("--aet", "A" * 17), f"--aet '{'A' * 17}' must be 1 to 16 characters"),
        (("--aet", "   "), "--aet '   ' must be 1 to 16 characters of plain ASCII, no blank at the start"),
        (("--aet", "CT\\1"), "no backslash"),
        (("--aet", "CT\t1"), "must be 1 to 16 characters"),
        (("--aet", "RÖNTGEN"), "plain ASCII"),
    ],
)
def test_a_title_or_a_host_that_is_none_is_refused(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = overread("send", *written(tmp_path / "study"), *options)
    assert is_one_sentence(result)
    assert said in result.stderr


def test_a_node_can_be_named_with_its_title(free_port: int) -> None:
    peer = peer_at(f"READER@127.0.0.1:{free_port}", None, Settings())
    assert (peer.ae_title, peer.host, peer.port) == ("READER", "127.0.0.1", free_port)
    assert peer_at("READER@127.0.0.1:104", "OTHER", Settings()).ae_title == "OTHER"


def test_what_is_not_there_cannot_be_sent(tmp_path: Path) -> None:
    assert is_one_sentence(overread("send", tmp_path / "absent"))
