"""A radiologist who opens the study in OHIF sees the segment, the outline and the numbers in their place.

``OVERREAD_SCREENSHOTS=docs/images`` keeps what was seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("playwright", reason="playwright is not installed; `make install` brings it")

from playwright.sync_api import Page

from inference.catalogue import SHIPPED_MODELS, Catalogue
from inference.findings import Finding, Reading
from inference.measure import measure
from inference.volume import Volume, load_volume
from node.results import codes
from node.results.identity import tracking_uid
from node.results.layout import AMBER, BLUE
from tests.node.results import ohif
from tests.node.results.phantoms import Case
from tests.orthanc import Orthanc
from tests.validators.cases import radiograph
from training.phantoms.chest import chest_phantom
from training.phantoms.dicom import Patient, write_ct_series
from training.phantoms.nodules import Lesion, Nodule

pytestmark = [
    pytest.mark.viewer,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.needs("npm", "chromium", "Orthanc", "orthanc-dicomweb"),
]

SHAPE, SPACING_MM = (24, 384, 384), (2.5, 0.95, 0.95)  # square pixels: OHIF misplaces others
MODEL = Catalogue(SHIPPED_MODELS).find("lung-nodules-characteriser").identity
GREEN = (0, 255, 0)  # of SR annotations
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A chest with a nodule, and what a perfect reader would say of it."""
    nodule = Nodule(center_mm=(-72.0, -48.0, -6.0), diameter_mm=17.0, spiculation=0.6, seed=4)
    chest = chest_phantom(4, SHAPE, SPACING_MM, [nodule])
    paths = write_ct_series(tmp_path_factory.mktemp("viewer"), chest.voxels, chest.affine)
    volume = load_volume(paths)
    case = Case(paths, volume, Reading("lung-nodules", volume.series_uid, (MODEL,)))
    finding = found(chest.lesions[0], volume)
    return case.with_findings(finding.tracked_as(tracking_uid(case.identity, finding)))


@pytest.fixture(scope="module")
def negative(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Another patient's chest, in which nothing was found."""
    chest = chest_phantom(5, SHAPE, SPACING_MM, [])
    patient = Patient("PHANTOM-0002", "Phantom^Two")
    paths = write_ct_series(tmp_path_factory.mktemp("none"), chest.voxels, chest.affine, patient=patient)
    volume = load_volume(paths)
    return Case(paths, volume, Reading("lung-nodules", volume.series_uid, (MODEL,)))


def found(lesion: Lesion, volume: Volume) -> Finding:
    nodule = measure(lesion.mask, volume).finding("Nodule", codes.PULMONARY_NODULE.code, 0.97, lesion.mask)
    return replace(nodule, malignancy=0.71, kind="solid", side="right")


@pytest.fixture(scope="module")
def chest_xray(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return radiograph(tmp_path_factory.mktemp("radiograph") / "dx")


@pytest.fixture(scope="module")
def opened(
    study: Case, negative: Case, chest_xray: Case, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Page]]:
    """Opens a study in the viewer, by its UID."""
    folder = tmp_path_factory.mktemp("pacs")
    pacs = Orthanc(folder / "orthanc")
    pacs.start()
    try:
        results = study.write(folder / "results", "seg", "sr", "sc")
        nothing = negative.write(folder / "negative", "sr")
        classes = chest_xray.write(folder / "classes", "sr")
        made = [file.path for each in (results, nothing, classes) for file in each.values()]
        for path in [*study.paths, *negative.paths, *chest_xray.paths, *made]:
            pacs.upload(path)
        with ohif.served(pacs.url) as address, ohif.browser(address) as opened:
            yield opened
    finally:
        pacs.stop()


@pytest.fixture(scope="module")
def page(opened: Callable[[str], Page], study: Case) -> Page:
    return opened(uid_of(study))


def uid_of(case: Case) -> str:
    return str(pydicom.dcmread(case.paths[0], stop_before_pixels=True).StudyInstanceUID)


def show(page: Page, *words: str) -> None:
    """Double-clicks the thumbnail with these words."""
    thumbnail = page.locator(ohif.THUMBNAIL)
    for word in words:
        thumbnail = thumbnail.filter(has_text=word)
    thumbnail.first.dblclick(timeout=PATIENCE_MS)


def seen(page: Page, name: str, there: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The screen, as soon as ``there`` holds for it; kept as a picture where wanted."""
    for _ in range(PATIENCE_MS // 1000):
        pixels = ohif.pixels(page)
        if there(pixels):
            break
        page.wait_for_timeout(1000)
    if folder := os.environ.get("OVERREAD_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
    return pixels


def of_colour(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 60) -> np.ndarray:
    """(row, column) of the pixels of a colour in the viewport, which ends at the side panels."""
    near = (np.abs(pixels.astype(int) - colour) <= tolerance).all(axis=-1)
    near[:, :300] = near[:, 1180:] = False
    return np.argwhere(near)


def tinted(pixels: np.ndarray) -> np.ndarray:
    """(row, column) of the pixels that are neither grey, nor green, nor the blue of the viewer's frame."""
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    warm = (red - blue > 40) & (red >= green)
    warm[:50] = warm[:, :300] = warm[:, 1340:] = False
    return np.argwhere(warm)


def projected(page: Page, study: Case) -> np.ndarray:
    """Where the lesion's centre is on screen, (row, column), while the whole slice fills the viewport."""
    box = page.locator('[data-cy="viewport-pane"], .viewport-element').first.bounding_box()
    assert box is not None
    rows, columns = study.volume.voxels.shape[1:]
    scale = min(box["height"] / rows, box["width"] / columns)
    _, row, column = study.volume.to_index(np.array(study.reading.findings[0].center_mm))
    return np.array(
        [
            box["y"] + box["height"] / 2 + (row + 0.5 - rows / 2) * scale,
            box["x"] + box["width"] / 2 + (column + 0.5 - columns / 2) * scale,
        ]
    )


def test_the_segment_covers_the_lesion(page: Page, study: Case) -> None:
    show(page, "SEG")
    overlay = tinted(seen(page, "ohif-seg", lambda pixels: len(tinted(pixels)) > 300))
    assert len(overlay) > 300
    assert np.abs(overlay.mean(axis=0) - projected(page, study)).max() < 12


@pytest.mark.parametrize(("words", "name"), [("measurements", "ohif-sr"), ("outlines", "ohif-outlines")])
def test_the_report_outlines_the_lesion_with_its_numbers(
    page: Page, study: Case, words: str, name: str
) -> None:
    finding = study.reading.findings[0]
    numbers = (
        f"Volume: {round(finding.volume_mm3, 1):.2f} mm3",
        f"Long axis: {round(finding.long_axis_mm, 1):.2f} mm",
    )

    def drawn(pixels: np.ndarray) -> bool:
        said = page.locator("svg text").all_text_contents()
        told = all(any(number in text for text in said) for number in numbers)
        return told and len(of_colour(pixels, GREEN)) > 200

    show(page, words)
    pixels = seen(page, name, drawn)
    assert drawn(pixels)
    where = projected(page, study)
    near = of_colour(pixels, GREEN)
    assert np.abs(near - where).max(axis=1).min() < 40


def test_the_summary_is_an_image_like_any_other(page: Page) -> None:
    show(page, "summary")
    pixels = seen(page, "ohif-summary", lambda pixels: len(of_colour(pixels, AMBER)) > 1000)
    assert len(of_colour(pixels, AMBER)) > 1000
    assert len(of_colour(pixels, BLUE)) > 20


def test_series_can_be_told_apart_in_the_list(page: Page) -> None:
    listed = page.locator(ohif.THUMBNAIL).all_inner_texts()
    beginnings = [text for text in listed if "AI " in text]
    for what in ("AI segmentation", "AI measurements", "AI outlines", "AI summary"):
        assert sum(what in text for text in beginnings) == 1


def test_the_classes_of_a_radiograph_are_shown_as_text(
    opened: Callable[[str], Page], chest_xray: Case
) -> None:
    page = opened(uid_of(chest_xray))
    show(page, "AI classes")
    page.get_by_text("Pneumothorax").first.wait_for(timeout=PATIENCE_MS)
    seen(page, "ohif-classes", lambda _: True)
    for said in ("Pleural effusion", "Present", "Absent", "Undetermined"):
        assert page.get_by_text(said).count() > 0


def test_a_negative_report_is_shown_as_text(opened: Callable[[str], Page], negative: Case) -> None:
    page = opened(uid_of(negative))
    show(page, "measurements")
    page.get_by_text("No pulmonary nodule").first.wait_for(timeout=PATIENCE_MS)
    seen(page, "ohif-negative", lambda _: True)
    assert page.get_by_text("Absent").count() > 0
