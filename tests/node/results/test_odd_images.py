"""Results of any image that can be read are valid, however odd the image."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.errors import InvalidDicomError

from inference.errors import UnreadableSeriesError
from inference.findings import Finding, Mask, Model, Reading
from inference.measure import measure
from inference.picture import Pictures
from inference.series import load_series
from inference.volume import Volume
from node.results import codes
from node.results.identity import tracking_uid
from tests.node.results.phantoms import Case
from tests.validators import dciodvfy, dsrdump
from tests.validators.cases import in_pixels, radiograph

KINDS = ("seg", "sr", "pr", "sc", "ko")


def series_under(folder: Path) -> list[list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            image = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "Rows"]
            )
        except (InvalidDicomError, AttributeError):
            continue
        if image.get("Rows"):
            found[str(image.get("SeriesInstanceUID") or path)].append(path)
    return list(found.values())


def finding_in(volume: Volume) -> Finding:
    """A rectangle in the first quarter of the middle image."""
    index = min(
        (k for k, image in enumerate(volume.images) if image), key=lambda k: abs(k - len(volume.images) // 2)
    )
    rows, columns = volume.shape[1:]
    box = np.ones((1, max(rows // 8, 1), max(columns // 8, 1)), bool)
    mask = Mask((index, rows // 4, columns // 4), box)
    if isinstance(volume, Pictures):
        finding = in_pixels(volume, codes.POLYP_OF_COLON, (columns * 5 / 16, rows * 5 / 16), mask)
        image_uid, frame = volume.images[index] or ("", None)
        return replace(finding, image_uid=image_uid, frame=frame)
    return measure(mask, volume).finding("Nodule", codes.PULMONARY_NODULE.code, 0.5, mask)


def errors_of(case: Case, out: Path) -> list[str]:
    errors = []
    for name, file in case.write(out, *KINDS).items():
        errors += [f"{name}: {error}" for error in dciodvfy(file.path)]
        errors += dsrdump(file.path) if file.kind in ("sr", "ko") else []
    return [f"{case.paths[0].name}, {error}" for error in errors]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.needs("dciodvfy", "dsrdump")
def test_whatever_can_be_read_has_valid_results(shared_data: Path, tmp_path: Path) -> None:
    readable, errors = 0, []
    for number, paths in enumerate(series_under(shared_data / "odd_dicom")):
        try:
            volume = load_series(paths)
        except UnreadableSeriesError:
            continue
        readable += 1
        reading = Reading("lung-nodules", volume.series_uid, (Model("model", "1.0.0", "ab" * 32),))
        case = Case(paths, volume, reading)
        finding = finding_in(volume)
        case = case.with_findings(finding.tracked_as(tracking_uid(case.identity, finding)))
        errors += errors_of(case, tmp_path / str(number))
    assert errors == []
    assert readable > 15


@pytest.mark.needs("dciodvfy", "dsrdump")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagerPixelSpacing", None),
        ("PatientOrientation", None),
        ("PatientOrientation", ""),
        ("Laterality", None),
        ("BodyPartExamined", None),
        ("WindowCenter", None),
    ],
)
def test_results_of_a_radiograph_are_valid_without(keyword: str, value: str | None, tmp_path: Path) -> None:
    case = radiograph(tmp_path / "dx")
    image = pydicom.dcmread(case.paths[0])
    if value is None:
        delattr(image, keyword)
    else:
        setattr(image, keyword, value)
    image.save_as(case.paths[0])
    assert errors_of(case, tmp_path / "out") == []
