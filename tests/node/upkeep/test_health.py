"""Health: each part looked at says whether it is up, and how to mend it when it is not."""

from __future__ import annotations

import errno
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from node.demo.pacs import StandInPacs
from node.peers.sending import DicomDestination
from node.security.tls import Files, Identity
from node.settings import Peer, Settings
from node.upkeep.health import (
    NodeHealth,
    check_certificate,
    check_comparisons,
    check_database,
    check_disk,
    check_engine,
    check_models,
    check_peer,
)
from node.upkeep.probe import Probe
from storage.archive import Archive
from storage.database import Database, now
from storage.events import log_event
from storage.tables import Event, Revision
from tests.certificates import Authority
from tests.node.web import rows
from tests.tiny_models import make_repository


def pacs_at(port: int) -> DicomDestination:
    return DicomDestination(
        Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port), "TEST", timeout=3
    )


def says_how_to_mend(probe: Probe) -> bool:
    return not probe.ok and bool(probe.detail) and bool(probe.hint)


def test_a_database_that_answers_is_well(database: Database) -> None:
    assert check_database(database).ok


def test_a_database_that_is_gone_is_named_without_its_password(free_port: int) -> None:
    database = Database(
        f"postgresql+psycopg://node:hunter2@127.0.0.1:{free_port}/overread?sslpassword=hunter2"
    )
    probe = check_database(database)
    assert says_how_to_mend(probe)
    assert "hunter2" not in probe.detail
    assert str(free_port) in probe.detail


def test_comparisons_that_failed_within_a_day_are_a_problem(database: Database) -> None:
    assert check_comparisons(database).ok
    with database.session() as session:
        for study, stage, level in (
            ("1.1", "compare", "error"),
            ("1.1", "priors", "error"),
            ("1.2", "compare", "warning"),
            ("1.3", "deliver", "error"),
        ):
            log_event(session, stage, "…", study_uid=study, level=level)  # type: ignore[arg-type]
    probe = check_comparisons(database)
    assert says_how_to_mend(probe)
    assert probe.detail.startswith("1 study went out")
    with database.session() as session:
        for event in session.scalars(select(Event)):
            event.at = now() - timedelta(hours=25)
    assert check_comparisons(database).ok


def test_a_comparison_that_came_about_when_the_study_was_read_again_is_no_problem(database: Database) -> None:
    with database.session() as session:
        study, other = rows.add_study(session), rows.add_study(session)
        for one in (study, other):
            rows.close(session, one)
            log_event(session, "compare", "…", study_uid=one.uid, revision=1, level="error")
    assert check_comparisons(database).detail.startswith("2 studies went out")
    with database.session() as session:
        session.add(Revision(study_pk=study.id, number=2, closed_at=now()))
    assert check_comparisons(database).detail.startswith("1 study went out")
    with database.session() as session:
        log_event(session, "compare", "…", study_uid=study.uid, revision=2, level="error")
    assert check_comparisons(database).detail.startswith("2 studies went out")


def test_a_folder_yet_to_be_made_is_judged_by_where_it_will_be(tmp_path: Path) -> None:
    probe = check_disk(tmp_path / "not" / "yet")
    assert "free in" in probe.detail
    assert not (tmp_path / "not").exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    probe = check_disk(tmp_path / "file" / "data")
    assert says_how_to_mend(probe)
    assert "file/data cannot be made" in probe.detail
    assert "right to write" not in probe.hint


@pytest.mark.parametrize("name", ["quarantine", "set-aside", "incoming"])
def test_a_folder_of_the_archive_that_cannot_be_written_to_is_named(tmp_path: Path, name: str) -> None:
    Archive(tmp_path)
    (tmp_path / name).rmdir()
    (tmp_path / name).touch()
    probe = check_disk(tmp_path)
    assert says_how_to_mend(probe)
    assert f"{tmp_path / name} cannot be written to" in probe.detail


def test_a_peer_that_answers_is_well_and_one_that_does_not_is_named(tmp_path: Path, free_port: int) -> None:
    with StandInPacs(tmp_path / "pacs") as pacs:
        assert check_peer("pacs", pacs_at(pacs.port).echo) == Probe("pacs", True, "answers a C-ECHO")
    probe = check_peer("pacs", pacs_at(free_port).echo)
    assert says_how_to_mend(probe)
    assert str(free_port) in probe.detail


def test_a_certificate_about_to_end_is_a_problem(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for days, ok, said in ((60, True, "valid until"), (5.5, False, "in 5 days"), (-1, False, "has expired")):
        pair = authority.issue("node", days=days)
        probe = check_certificate("DICOM certificate", Identity(Files(pair.certificate, pair.private_key)))
        assert (probe.ok, said in probe.detail) == (ok, True)
        assert ok or says_how_to_mend(probe)


@pytest.mark.parametrize(
    ("age", "days", "says"),
    [
        (8, -1, "ended on"),
        (6.9, 0.1, "ends on"),
        (3, 4, ""),  # made anew each week
        (351, 13, "ends on"),
        (1, 300, ""),
        (-1, 20, "is the machine's clock right?"),
    ],
)
def test_a_revocation_list_whose_end_refuses_every_peer_is_a_problem_before(
    tmp_path: Path, age: float, days: float, says: str
) -> None:
    authority = Authority(tmp_path)
    pair, revoked = authority.issue("node", days=60), authority.revoke(age=age, days=days)
    files = Files(pair.certificate, pair.private_key, authorities=authority.certificate, revoked=revoked)
    probe = check_certificate("DICOM certificate", Identity(files))
    assert (probe.ok, says in probe.detail) == (not says, True)
    if says:
        assert f"the revocation list of Hospital CA in {revoked}" in probe.detail
        assert str(revoked) in probe.hint


@pytest.mark.parametrize(("days", "ok"), [(60, True), (13, False), (-1, False)])
def test_an_authority_about_to_end_is_a_problem(tmp_path: Path, days: float, ok: bool) -> None:
    pair, other = Authority(tmp_path).issue("node", days=60), Authority(tmp_path, "Vendor CA", days=days)
    files = Files(pair.certificate, pair.private_key, authorities=other.certificate)
    probe = check_certificate("DICOM certificate", Identity(files))
    assert (probe.ok, "trusted certificate of Vendor CA" in probe.detail) == (ok, not ok)


def test_files_that_changed_and_do_not_fit_are_a_problem(tmp_path: Path) -> None:
    pair, other = (Authority(tmp_path).issue(name) for name in ("node", "other"))
    identity = Identity(Files(pair.certificate, pair.private_key))
    pair.private_key.write_bytes(other.private_key.read_bytes())
    identity.accepting()
    assert identity.problem is not None
    assert "earlier ones stay in force" in identity.problem


def test_sound_models_are_listed_and_damaged_weights_are_named(tmp_path: Path) -> None:
    root = make_repository(tmp_path)
    assert check_models(Catalogue(root)) == Probe("models", True, "grades, spots")
    assert check_engine(EmbeddedEngine(Catalogue(root)), "embedded").ok
    (root / "spots" / "1" / "model.onnx").write_bytes(b"no longer a network")
    for probe in (check_models(Catalogue(root)), check_engine(EmbeddedEngine(Catalogue(root)), "embedded")):
        assert says_how_to_mend(probe)
        assert "spots" in probe.detail


def test_a_reader_that_lacks_one_of_its_models_is_named(tmp_path: Path) -> None:
    shutil.copytree(Catalogue().root / "ct-lesions", tmp_path / "ct-lesions")
    probe = check_models(Catalogue(tmp_path))
    assert says_how_to_mend(probe)
    assert "ct-lesions does not read: it lacks ct-lesions-characteriser" in probe.detail
    assert check_models(Catalogue()).ok


def test_an_empty_model_repository_is_said(tmp_path: Path) -> None:
    assert says_how_to_mend(check_models(Catalogue(tmp_path)))


def test_a_part_that_cannot_be_looked_at_is_told_and_hides_no_other(
    database: Database, tmp_path: Path
) -> None:
    def on_a_dead_disk() -> Probe:
        raise OSError(errno.EIO, "Input/output error", "/data/set-aside")

    settings, catalogue = Settings.model_validate({"node": {"data_dir": tmp_path}}), Catalogue(tmp_path)
    parts = [on_a_dead_disk, lambda: Probe("retention", True, "images are kept for good")]
    health = NodeHealth(settings, database, catalogue, EmbeddedEngine(catalogue), lambda: None, {}, parts)
    *_, comparisons, dead, retention = health()
    assert (comparisons.name, retention.name) == ("comparisons", "retention")
    assert not dead.ok and "/data/set-aside" in dead.detail and dead.hint


@pytest.mark.parametrize("receiving", [None, "The database cannot be written; received images wait."])
def test_every_part_of_a_node_is_looked_at(
    database: Database, tmp_path: Path, free_port: int, receiving: str | None
) -> None:
    settings = Settings.model_validate({"node": {"data_dir": tmp_path}})
    catalogue = Catalogue(tmp_path)
    engine = EmbeddedEngine(catalogue)
    with StandInPacs(tmp_path / "pacs") as pacs:
        echoes = {"pacs": pacs_at(pacs.port).echo, "old": pacs_at(free_port).echo}
        health = NodeHealth(settings, database, catalogue, engine, lambda: receiving, echoes)
        probes = {probe.name: probe.ok for probe in health()}
    assert list(probes) == ["receiver", "database", "disk", "engine", "models", "comparisons", "pacs", "old"]
    assert (probes["receiver"], probes["pacs"], probes["old"]) == (receiving is None, True, False)
    assert not probes["models"]
