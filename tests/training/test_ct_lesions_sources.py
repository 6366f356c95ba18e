"""The list of real scans that ct-lesions draws lesions into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.ct_lesions.sources import scans_in
from training.errors import BrokenDataError
from training.phantoms.dicom import write_ct_series
from training.phantoms.fields import Grid

SCAN = {"name": "one", "folder": "one", "license": "CC BY 4.0", "kept_clear": [[[-46, -12.5, -120], 60]]}


def listed(folder: Path, *rows: Any) -> Path:
    (folder / "one").mkdir(exist_ok=True)
    (folder / "backgrounds.json").write_text(json.dumps(rows))
    return folder


def test_a_scan_is_listed_with_what_is_known_of_it(tmp_path: Path) -> None:
    (scan,) = scans_in(listed(tmp_path, SCAN))
    assert (scan.name, scan.folder, scan.license) == ("one", tmp_path / "one", "CC BY 4.0")
    assert scan.kept_clear == (((-46.0, -12.5, -120.0), 60.0),)


def test_a_scan_becomes_a_background_at_2_mm(tmp_path: Path) -> None:
    grid = Grid.centred((24, 40, 60), (5.0, 6.0, 6.0))
    (scan,) = scans_in(listed(tmp_path, SCAN))
    write_ct_series(scan.folder, np.zeros(grid.shape, np.int16), grid.affine)
    background = scan.background()
    assert background.grid.spacing_mm == (2.0, 2.0, 2.0)
    assert background.grid.shape == background.hu.shape == (58, 118, 178)
    assert background.hu.dtype == np.int16
    assert background.kept_clear == scan.kept_clear


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((SCAN, SCAN), "two scans of the name 'one'"),
        (({**SCAN, "folder": "two"},), "two, which is not a folder"),
        (({"name": "one", "folder": "one"},), "each with name, folder, license and kept_clear"),
        (({**SCAN, "kept_clear": [[1, 2, 3]]},), "is not a list of scans"),
        (("one",), "is not a list of scans"),
    ],
)
def test_a_list_that_is_broken_gets_a_sentence(tmp_path: Path, rows: tuple[Any, ...], said: str) -> None:
    with pytest.raises(BrokenDataError, match=said):
        scans_in(listed(tmp_path, *rows))


def test_a_list_that_is_missing_or_no_json_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BrokenDataError, match=r"backgrounds\.json is missing: a list of scans"):
        scans_in(tmp_path)
    (tmp_path / "backgrounds.json").write_text("name,folder")
    with pytest.raises(BrokenDataError, match="is not a list of scans"):
        scans_in(tmp_path)
