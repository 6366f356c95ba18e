"""`overread read`: one study, offline; a sentence for whatever cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from typer.testing import CliRunner, Result

from node.cli import app
from tests.tiny_models import make_repository
from training.phantoms.dicom import write_ct_series
from training.phantoms.fields import Grid


@pytest.fixture(autouse=True)
def _with_small_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("OVERREAD_ENGINE__MODELS", str(make_repository(tmp_path / "models")))


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


@pytest.mark.parametrize(
    "make", [no_files, a_letter, one_slice, no_pixels, absurd_spacing, two_studies], ids=lambda f: f.__name__
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, make: object) -> None:
    make(tmp_path / "study")  # type: ignore[operator]
    result = read(tmp_path / "study", tmp_path / "out")
    assert is_one_sentence(result), result.output
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = read(tmp_path / "absent", tmp_path / "out")
    assert result.exit_code == 2
    assert "absent" in "".join(result.stderr.split())


def test_results_that_have_nowhere_to_go_are_said_before_reading(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = read(tmp_path, tmp_path / "file" / "out")
    assert is_one_sentence(result)
    assert "--out" in result.stderr
