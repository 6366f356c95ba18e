"""What was acknowledged and contradicts its study is listed, and a person says what becomes of it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from node.commands import set_aside
from node.settings import Settings
from storage.audit import AuditFilter, newest
from storage.set_aside import count
from tests.node.intake.conftest import Intake
from tests.node.intake.senders import ct_slice, send


@pytest.fixture
def contradicting(start_intake: Callable[..., Intake], transport: str) -> tuple[Intake, str]:
    """A UID that came in one study and, after a new start, in another, which is seen only after it was
    acknowledged."""
    first, second = ct_slice(), ct_slice()
    second.SOPInstanceUID = first.SOPInstanceUID
    earlier = start_intake(transport)
    assert send(earlier.port, [first]) == [0x0000]
    earlier.receiver.stop()
    intake = start_intake(transport)
    assert send(intake.port, [second], caller="CT9") == [0x0000]
    assert len(intake.instances()) == 1
    return intake, str(second.StudyInstanceUID)


@pytest.fixture
def settings(contradicting: tuple[Intake, str], database_url: str) -> Settings:
    intake, _ = contradicting
    return Settings.model_validate(
        {
            "node": {"data_dir": intake.archive.root},
            "dicom": {"port": intake.port},
            "database": {"url": database_url},
        }
    )


def test_what_was_set_aside_is_listed_with_its_sender_and_reason(
    contradicting: tuple[Intake, str], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    set_aside.show(settings)
    said = capsys.readouterr().out
    assert "CT9" in said
    assert contradicting[1] in said
    assert "its SOP Instance UID belongs to an image of another study" in said
    told = " ".join(said.split())
    assert "If both IDs are one person's, and only then, name them in priors.merged" in told
    assert "under somebody else's ID, have it sent again under the right one, with new UIDs" in told


def test_what_still_contradicts_stays_and_what_no_longer_does_is_taken_in(
    contradicting: tuple[Intake, str], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    intake, study_uid = contradicting
    folder = intake.archive.set_aside
    [path] = intake.files(folder)
    with pytest.raises(set_aside.SetAsideError, match="that of an image in another study"):
        set_aside.send_again(settings, "ADMIN")
    assert "Taken in: 0 of 1" in capsys.readouterr().out
    assert intake.files(folder) == [path]  # not even sent: it would be acknowledged, and set aside once more
    [first] = intake.instances()
    intake.archive.path(first.path).unlink()
    with intake.database.session() as session:
        session.delete(session.merge(first))
    set_aside.send_again(settings, "ADMIN")
    assert [Path(row.path).parent.name for row in intake.instances()] == [study_uid]
    assert count(folder) == 0
    with intake.database.snapshot() as session:
        [line] = newest(session, AuditFilter(kind="action"))
    assert line.text == f"sent again an image that was set aside, {path.name} from CT9"
    assert line.study_uid == study_uid


def test_what_the_node_refuses_stays(contradicting: tuple[Intake, str], settings: Settings) -> None:
    intake, study_uid = contradicting
    stranger = ct_slice(study_uid)
    stranger.PatientID = "P2"
    place = intake.archive.set_aside / "2026-01-01" / "1.dcm"
    sound = ct_slice(study_uid)
    assert send(intake.port, [sound]) == [0x0000]
    intake.receiver.settle()
    place.parent.mkdir()
    stranger.save_as(place, enforce_file_format=True)
    with pytest.raises(set_aside.SetAsideError, match=r"2 were not taken.*not that of the study"):
        set_aside.send_again(settings, "ADMIN")
    assert place.exists()


def test_what_a_person_deletes_is_gone_and_the_audit_trail_says_so(
    contradicting: tuple[Intake, str],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intake, study_uid = contradicting
    monkeypatch.setenv("SUDO_USER", "carla")
    [path] = intake.files(intake.archive.set_aside)
    with pytest.raises(set_aside.SetAsideError, match="was not set aside"):
        set_aside.delete(settings, [path, path.with_name("another.dcm")])
    assert path.exists()
    set_aside.delete(settings, [path, path])
    assert list(intake.archive.set_aside.iterdir()) == []
    with intake.database.snapshot() as session:
        [line] = newest(session, AuditFilter(kind="action"))
    assert path.name in line.text
    assert line.study_uid == study_uid
    assert line.who == f"carla, as {pwd.getpwuid(os.getuid()).pw_name} (overread set-aside)"
    set_aside.show(settings)
    assert f"Nothing is set aside in {intake.archive.root}:" in capsys.readouterr().out


@pytest.mark.parametrize("act", [set_aside.show, partial(set_aside.send_again, calling_ae_title="ADMIN")])
def test_a_folder_that_is_no_nodes_is_named_and_not_made(
    tmp_path: Path, act: Callable[[Settings], None]
) -> None:
    elsewhere = tmp_path / "overread-data"
    with pytest.raises(
        set_aside.SetAsideError, match=f"no data folder {elsewhere}; name the node's settings"
    ):
        act(Settings.model_validate({"node": {"data_dir": elsewhere}}))
    assert not elsewhere.exists()
