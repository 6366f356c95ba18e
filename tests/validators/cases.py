"""A reading of every reader, and those that say least and most, as a perfect model would make them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from inference.findings import (
    Axis,
    Caveat,
    Change,
    ClassProbability,
    Finding,
    Mask,
    Measurement,
    Model,
    Point,
    Reading,
    Segment,
    Uptake,
)
from inference.growth.assess import assessed
from inference.picture import Pictures, load_pictures
from node.results import codes
from node.results.identity import tracking_uid
from tests.inference.pictures import DX, ENDOSCOPIC, chest, write_picture
from tests.node.results.phantoms import ORIENTATIONS, Case, phantom
from training.phantoms.dicom import uid

GROWN = replace(
    Change("1.2.3.4", "20230115", 365, "increased", 62.5, 521.0, True, 0.97),
    prior_long_axis_mm=9.0,
    prior_short_axis_mm=8.0,
)


def cases(folder: Path) -> dict[str, Case]:
    lesions = phantom(folder / "ct")
    nodule, not_compared = lesions.reading.findings
    nodule = replace(nodule, change=GROWN, side="right", kind="part-solid")
    oblique = phantom(folder / "oblique", ORIENTATIONS["oblique"])
    generic = tuple(
        replace(f, label="Lesion", code=codes.LESION.code, site=codes.LIVER.code, malignancy=None)
        for f in oblique.reading.findings
    )
    hot = tuple(replace(f, site=None, mean_hu=None, uptake=Uptake(8.1, 4.2, 7.3, 12.5, 3.3)) for f in generic)
    return {
        "lung-nodules": assessed_by_guidelines(lesions.with_findings(nodule, not_compared)),
        "lung-nodules, none": assessed_by_guidelines(lesions.with_findings()),
        "lung-nodules, incomplete": assessed_by_guidelines(incomplete(lesions)),
        "ct-lesions": replace(
            oblique, reading=replace(oblique.reading, reader="ct-lesions", findings=generic)
        ),
        "pet-ct": replace(oblique, reading=replace(oblique.reading, reader="pet-ct", findings=hot)),
        "chest-xray": radiograph(folder / "dx"),
        "chest-xray, none": without_findings(radiograph(folder / "dx-none")),
        "polyps": endoscopy(folder / "es"),
    }


def assessed_by_guidelines(case: Case) -> Case:
    return replace(case, reading=assessed(case.reading, case.volume))


def incomplete(case: Case) -> Case:
    """Nothing found in a scan of which a part was not read."""
    unread = Caveat("unread", "2 images were not read, 6 to 8 mm below the slices that were.", 2)
    gap = Caveat("interpolated", "1 missing slice interpolated from the neighbours.", 1)
    return replace(case, reading=replace(case.reading, findings=(), caveats=(gap, unread)))


def radiograph(folder: Path) -> Case:
    """An effusion by a box around its evidence, both lungs and the heart with its ratio and diameters, a
    class of each presence and one that is never claimed; air is white."""
    folder.mkdir(parents=True)
    path = write_picture(
        folder / "1.dcm",
        4095 - np.rint(chest() * 4095).astype(np.uint16),
        "DX",
        DX,
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
        BodyPartExamined="CHEST",
        ViewPosition="PA",
        ImagerPixelSpacing=[1.2, 1.2],
        PatientOrientation=["L", "F"],
        Laterality="",
        WindowCenter=2048,
        WindowWidth=4096,
        **_uids(folder),
    )
    pictures = load_pictures([path])
    lungs = []
    for term, left in ((codes.RIGHT_LUNG, 50), (codes.LEFT_LUNG, 190)):
        mask = np.zeros((1, 320, 320), bool)
        mask[0, 60:250, left : left + 80] = True
        lungs.append(Segment(term.meaning, term.code, area_mm2=21_888.0, mask=Mask((0, 0, 0), mask)))
    heart = np.zeros((1, 320, 320), bool)
    heart[0, 140:250, 110:200] = True
    structures = (*lungs, Segment("Heart", codes.HEART.code, area_mm2=14_256.0, mask=Mask((0, 0, 0), heart)))
    effusion = replace(in_pixels(pictures, codes.PLEURAL_EFFUSION, (60.0, 200.0), None), side="right")
    classes = (
        ClassProbability("Pleural effusion", codes.PLEURAL_EFFUSION.code, 0.71, 0.5, 0.1),
        ClassProbability("Pneumothorax", codes.PNEUMOTHORAX.code, 0.01, 0.5, 0.1),
        ClassProbability("Cardiomegaly", codes.CARDIOMEGALY.code, 0.3, 0.5, 0.1),
        ClassProbability("Normal", codes.NORMAL.code, 0.2),
    )
    models = (Model("chest-xray-findings", "1.0.0", "cd" * 32), Model("chest-xray-lungs", "1.0.0", "ef" * 32))
    return _case(
        path,
        pictures,
        "chest-xray",
        models,
        effusion,
        classes=classes,
        segments=structures,
        measurements=ratio_of(pictures),
    )


def ratio_of(pictures: Pictures) -> tuple[Measurement, ...]:
    """The cardiothoracic ratio of an AP view, and its diameters."""
    assert pictures.images[0] is not None
    uid, frame = pictures.images[0]
    right = Axis((109.5, 200.0, 0.0), (159.5, 200.0, 0.0))
    left = Axis((159.5, 220.0, 0.0), (199.5, 220.0, 0.0))
    chest = Axis((49.5, 240.0, 0.0), (269.5, 240.0, 0.0))
    said = "The ratio is exaggerated."
    ratio, of_heart, of_chest = (
        term.code for term in (codes.CARDIOTHORACIC_RATIO, codes.HEART_WIDTH, codes.CHEST_WIDTH)
    )
    heart, thorax = codes.HEART.code, codes.CHEST.code
    return (
        Measurement(ratio.meaning, ratio, 90 / 220, "{ratio}", uid, (right, left, chest), frame, heart, said),
        Measurement(of_heart.meaning, of_heart, 108.0, "mm", uid, (right, left), frame, heart),
        Measurement(of_chest.meaning, of_chest, 264.0, "mm", uid, (chest,), frame, thorax),
    )


def endoscopy(folder: Path) -> Case:
    """A polyp, outlined, on a colour frame."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    pixels = rng.normal((150, 80, 70), 10, (160, 200, 3)).clip(0, 255).astype(np.uint8)
    path = write_picture(
        folder / "1.dcm",
        pixels,
        "ES",
        ENDOSCOPIC,
        PatientOrientation="",
        LossyImageCompression="00",
        **_uids(folder),
    )
    pictures = load_pictures([path])
    rows, columns = np.indices((31, 41))
    mask = Mask((0, 65, 80), (((rows - 15) / 15) ** 2 + ((columns - 20) / 20) ** 2 <= 1)[None])
    polyp = in_pixels(pictures, codes.POLYP_OF_COLON, (100.0, 80.0), mask)
    return _case(path, pictures, "polyps", (Model("polyps", "1.0.0", "12" * 32),), polyp)


def in_pixels(
    pictures: Pictures, term: codes.Term, center: tuple[float, float], mask: Mask | None
) -> Finding:
    """40 x 30 pixels around a centre (column, row)."""
    (column, row), (image_uid, frame) = center, pictures.images[0] or ("", None)

    def point(right: float, down: float) -> Point:
        return column + right, row + down, 0.0

    return Finding(
        label=term.meaning,
        code=term.code,
        center_mm=point(0, 0),
        box_mm=(point(-20, -15), point(20, 15)),
        image_uid=image_uid,
        frame=frame,
        score=0.71,
        long_axis=Axis(point(-20, 0), point(20, 0)),
        short_axis=Axis(point(0, -15), point(0, 15)),
        volume_mm3=float(mask.voxels.sum()) if mask else 1200.0,
        in_pixels=True,
        mask=mask,
    )


def _uids(folder: Path) -> dict[str, str]:
    """Of a picture in a folder of this name, the same each time."""
    levels = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return {level: uid(folder.name, level) for level in levels}


def _case(
    path: Path,
    pictures: Pictures,
    reader: str,
    models: tuple[Model, ...],
    finding: Finding,
    *,
    classes: tuple[ClassProbability, ...] = (),
    segments: tuple[Segment, ...] = (),
    measurements: tuple[Measurement, ...] = (),
) -> Case:
    read = ((pictures.images[0] or ("", None))[0],)
    reading = Reading(
        reader,
        pictures.series_uid,
        models,
        classes=classes,
        segments=segments,
        image_uids=read,
        measurements=measurements,
    )
    case = Case([path], pictures, reading)
    return case.with_findings(finding.tracked_as(tracking_uid(case.identity, finding)))


def without_findings(case: Case) -> Case:
    absent = tuple(replace(found, probability=0.02) for found in case.reading.classes)
    return replace(case, reading=replace(case.reading, findings=(), classes=absent))
