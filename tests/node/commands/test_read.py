"""`overread read`: one study, offline; a sentence for whatever cannot be read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner, Result

from inference.catalogue import Catalogue
from inference.readers import READERS
from node.cli import app
from node.demo.patients import RECIPES, make
from node.demo.truth import compare
from node.offline import STAGES, OutputError, _write, enter_study
from node.web.presentation import STAGE_WORDS
from storage.database import Database
from storage.tables import Instance
from tests.programs import absent
from tests.tiny_models import make_repository
from training.phantoms.dicom import write_ct_series
from training.phantoms.fields import Grid

NODULES = next(recipe for recipe in RECIPES if recipe.nodules)


@pytest.fixture(autouse=True)
def _with_small_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("OVERREAD_ENGINE__MODELS", str(make_repository(tmp_path / "models")))


@pytest.fixture
def shipped_models(_with_small_models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The models that come with Overread, instead of the small ones."""
    if not set(READERS["lung-nodules"].models) <= set(Catalogue().names):
        absent("triton_models holds no models for lung-nodules")
    monkeypatch.delenv("OVERREAD_ENGINE__MODELS")


def read(study: Path, out: Path) -> Result:
    return CliRunner().invoke(app, ["read", str(study), "--out", str(out)])


def written(folder: Path, slices: int = 40, step_mm: float = 1.5) -> list[Path]:
    grid = Grid.centred((slices, 32, 32), (step_mm, 8.0, 8.0))
    z, y, x = grid.axes
    return write_ct_series(folder, (z + y + x).astype("int16"), grid.affine)


def is_one_sentence(result: Result) -> bool:
    return result.exit_code == 1 and bool(result.stderr.strip()) and "Traceback" not in result.stderr


def no_files(folder: Path) -> None:
    folder.mkdir()


def a_letter(folder: Path) -> None:
    folder.mkdir()
    (folder / "image.dcm").write_text("Dear colleague")


def pictures(folder: Path) -> None:
    folder.mkdir()
    for name in ("a.jpg", "b.JPG", "c.jpg", "notes.txt", "README"):
        (folder / name).write_text("no DICOM")


def packed(folder: Path) -> None:
    folder.mkdir()
    (folder / "study.ZIP").write_bytes(b"PK")


def one_slice(folder: Path) -> None:
    written(folder, slices=1)


def no_pixels(folder: Path) -> None:
    for path in written(folder):
        image = dcmread(path)
        del image.PixelData
        image.save_as(path)


def absurd_spacing(folder: Path) -> None:
    for path in written(folder):
        image = dcmread(path)
        image.PixelSpacing = [0, 1000000]
        image.save_as(path)


def two_studies(folder: Path) -> None:
    written(folder / "a")
    for path in written(folder / "b", slices=20):
        image = dcmread(path)
        image.StudyInstanceUID = "1.2.3"
        image.SOPInstanceUID = f"1.2.3.{image.InstanceNumber}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(path)


def says_in_a_sentence_and_leaves_nothing(folder: Path, make: Callable[[Path], None], said: str) -> None:
    make(folder / "study")
    result = read(folder / "study", folder / "results" / "out")
    assert is_one_sentence(result), result.output
    assert said in result.stderr
    assert not (folder / "results").exists()
    (folder / "mine").mkdir()
    assert is_one_sentence(read(folder / "study", folder / "mine"))
    assert (folder / "mine").is_dir()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_files, "no DICOM image in"),
        (a_letter, "image.dcm: it is not a DICOM file"),
        (pictures, "3 .jpg, 1 without ending, 1 .txt; pictures must be wrapped as DICOM first"),
        (packed, "study.ZIP: it is packed; unpack it first"),
        (one_slice, "overread: there is nothing to read: 1 image; a volume needs at least"),
        (two_studies, "holds 2 studies"),
    ],
)
def test_a_folder_without_a_study_to_read_is_said_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    says_in_a_sentence_and_leaves_nothing(tmp_path, make, said)


def test_a_folder_without_a_study_is_said_before_any_network_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERREAD_ENGINE__MODELS", str(tmp_path / "absent"))
    says_in_a_sentence_and_leaves_nothing(tmp_path, no_files, "no DICOM image in")


def test_images_that_contradict_the_others_are_named_and_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = written(tmp_path / "study", slices=2)
    image = dcmread(first)
    known, image.PatientID = str(image.PatientID), "OLD-12"
    image.save_as(first)
    result = read(tmp_path / "study", tmp_path / "out")
    assert is_one_sentence(result) and f"1 of 2 images in {tmp_path / 'study'} contradict" in result.stderr
    assert "its Patient ID is not that of the study" in result.stderr
    monkeypatch.setenv("OVERREAD_PRIORS__MERGED", json.dumps([["OLD-12", known]]))
    assert "there is nothing to read: 2 images;" in read(tmp_path / "study", tmp_path / "out").stderr


@pytest.mark.parametrize("priors", [("prior", "copy"), ("study",)])
def test_a_study_that_is_given_twice_is_refused_in_a_sentence(
    tmp_path: Path, priors: tuple[str, ...]
) -> None:
    two_studies(tmp_path)
    for name, folder in (("study", "a"), ("prior", "b"), ("copy", "b")):
        shutil.copytree(tmp_path / folder, tmp_path / name)
    options = [part for name in priors for part in ("--prior", str(tmp_path / name))]
    result = CliRunner().invoke(
        app, ["read", str(tmp_path / "study"), *options, "--out", str(tmp_path / "out")]
    )
    assert is_one_sentence(result) and "were given before, in a folder of a prior" in result.stderr


def test_a_study_in_two_folders_is_one(tmp_path: Path, database: Database) -> None:
    halves = written(tmp_path / "study", slices=4)
    (tmp_path / "rest").mkdir()
    for path in halves[2:]:
        path.rename(tmp_path / "rest" / path.name)
    assert enter_study(database, tmp_path / "study") == enter_study(database, tmp_path / "rest")
    with database.snapshot() as session:
        assert len(session.scalars(select(Instance)).all()) == 4


def test_a_prior_with_the_very_images_of_the_study_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for path in written(tmp_path / "study", slices=2):
        image = dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        (tmp_path / "prior").mkdir(exist_ok=True)
        image.save_as(tmp_path / "prior" / path.name)
    options = ["--prior", str(tmp_path / "prior"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["read", str(tmp_path / "study"), *options])
    assert is_one_sentence(result) and "2 of 2 images in" in result.stderr
    assert "its SOP Instance UID belongs to an image of another study" in result.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [(no_pixels, "overread: inference failed: "), (absurd_spacing, "PixelSpacing of 0 x")],
)
def test_a_series_that_cannot_be_read_is_said_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, shipped_models: None, make: Callable[[Path], None], said: str
) -> None:
    says_in_a_sentence_and_leaves_nothing(tmp_path, make, said)


def test_stages_are_called_as_on_the_status_page_but_nothing_is_sent() -> None:
    words = {stage: word for stage, (word, _) in STAGES.items()}
    assert words == {stage: STAGE_WORDS[stage] for stage in STAGES} | {"deliver": "copying results"}


def test_a_chest_ct_is_read_to_objects_and_json(tmp_path: Path, shipped_models: None) -> None:
    made = make(NODULES, tmp_path / "study")
    result = read(tmp_path / "study", tmp_path / "out")
    assert result.exit_code == 0, result.output
    body = json.loads((tmp_path / "out" / "reading.json").read_text())
    assert body["study_uid"] == NODULES.study_uid
    objects = [dcmread(tmp_path / "out" / o["path"]) for r in body["readings"] for o in r["objects"]]
    assert {"SEG", "SR"} <= {o.Modality for o in objects}
    assert {o.StudyInstanceUID for o in objects} == {NODULES.study_uid}
    assert any(match.lesion and match.finding for match in compare(made.lesions, body["readings"]))
    assert "lung-nodules" in result.stdout
    told = result.stderr.splitlines()
    assert told[:2] == ["  0 % looking for the study", "  5 % choosing series"]
    assert told[-1] == "100 % done"


def test_a_step_around_the_reading_that_fails_is_said_in_a_sentence(
    tmp_path: Path, shipped_models: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.steps.select_series", full)
    written(tmp_path / "study")
    result = read(tmp_path / "study", tmp_path / "out")
    assert is_one_sentence(result), result.output
    assert "choosing series failed: " in result.stderr
    assert "No space left on device" in result.stderr


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = read(tmp_path / "absent", tmp_path / "out")
    assert result.exit_code == 2
    assert "absent" in "".join(result.stderr.replace("│", "").split())


def test_results_that_have_nowhere_to_go_are_said_before_reading(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = read(tmp_path, tmp_path / "file" / "out")
    assert is_one_sentence(result)
    assert "--out" in result.stderr


def test_a_folder_that_does_not_take_the_results_is_named(tmp_path: Path, shipped_models: None) -> None:
    written(tmp_path / "study")
    (tmp_path / "out" / "reading.json").mkdir(parents=True)
    result = read(tmp_path / "study", tmp_path / "out")
    assert is_one_sentence(result)
    assert (
        f"{tmp_path / 'out'} does not take reading.json: Is a directory; choose another folder."
        in result.stderr
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device here that is always full")
def test_only_a_folder_that_is_full_is_said_to_need_room(tmp_path: Path) -> None:
    (tmp_path / "reading.json").symlink_to("/dev/full")
    with pytest.raises(
        OutputError, match=r"does not take reading\.json: No space left on device; make room there"
    ):
        _write(tmp_path, "reading.json", b"{}")


def test_a_reading_whose_own_database_fails_names_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OperationalError("INSERT", None, Exception("database or disk is full"))

    monkeypatch.setattr("node.offline.record", full)
    written(tmp_path / "study", slices=2)
    result = read(tmp_path / "study", tmp_path / "out")
    assert is_one_sentence(result), result.output
    folder = tempfile.gettempdir()
    assert f"the temporary folder {folder} does not keep" in result.stderr
    assert "database or disk is full; make room there, or set TMPDIR" in result.stderr
    assert "overread check" not in result.stderr
