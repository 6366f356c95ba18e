"""Chest radiographs with labels: CheXpert, MIMIC-CXR-JPG, NIH ChestX-ray14, and the layout nih."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from tests.training.datasets.pictures import picture, text
from training.chest_xray.sources import labelled_in
from training.datasets.chest_labels import (
    CLASSES,
    Uncertain,
    read_chexpert,
    read_mimic_cxr,
    read_nih14,
    read_nih_folder,
)
from training.datasets.layouts import read_cases
from training.errors import BrokenDataError

CHEXPERT = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,"
    "Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
LABELS = ",,1.0,,,-1.0,0.0,,-1.0,,1.0,,,"


@pytest.fixture
def chexpert(tmp_path: Path) -> Path:
    root = tmp_path / "CheXpert-v1.0-small"
    header = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT}"
    study = "CheXpert-v1.0-small/{}/patient{}/study1/view{}.jpg"
    rows = [
        f"{study.format('train', '00001', '1_frontal')},Female,68,Frontal,AP,{LABELS}",
        f"{study.format('train', '00001', '2_lateral')},Female,68,Lateral,,{LABELS}",
    ]
    text(root / "train.csv", header, *rows)
    text(
        root / "valid.csv",
        header,
        f"{study.format('valid', '64541', '1_frontal')},Male,73,Frontal,PA,1.0{',0.0' * 13}",
    )
    for name in (
        "train/patient00001/study1/view1_frontal",
        "train/patient00001/study1/view2_lateral",
        "valid/patient64541/study1/view1_frontal",
    ):
        picture(root / f"{name}.jpg")
    return root


def test_chexpert_frontal_views_with_patients_and_splits(chexpert: Path) -> None:
    first, second = read_chexpert(chexpert)
    assert (first.patient, first.split, first.notes["view"]) == ("patient00001", "train", "AP")
    assert (second.patient, second.split) == ("patient64541", "validation")
    assert second.labels["no_finding"] == 1
    assert first.load().pixels.shape == (6, 8)
    assert len(read_chexpert(chexpert, lateral=True)) == 3


def test_chexperts_test_set_has_a_table_of_labels_alone(chexpert: Path) -> None:
    path = "test/patient64741/study1/view{}.jpg"
    rows = [f"{path.format(view)}{',0' * 13},1" for view in ("1_frontal", "2_lateral")]
    names = CHEXPERT.removeprefix("No Finding,")
    text(chexpert / "test.csv", f"Path,{names},No Finding", *rows)
    for view in ("1_frontal", "2_lateral"):
        picture(chexpert / path.format(view))
    *_, last = read_chexpert(chexpert)
    assert (last.id, last.split) == ("test/patient64741/study1/view1_frontal", "test")
    assert (last.labels["no_finding"], last.labels["edema"]) == (1, 0)


@pytest.mark.parametrize(("policy", "value"), [("ignore", math.nan), ("zeros", 0.0), ("ones", 1.0)])
def test_uncertain_labels_follow_the_policy(chexpert: Path, policy: Uncertain, value: float) -> None:
    labels = read_chexpert(chexpert, uncertain=policy)[0].labels
    assert labels["edema"] == pytest.approx(value, nan_ok=True)
    assert labels["atelectasis"] == pytest.approx(value, nan_ok=True)
    assert (labels["cardiomegaly"], labels["effusion"], labels["consolidation"]) == (1, 1, 0)
    assert labels["no_finding"] == 0


def test_what_chexpert_lacks_is_named(chexpert: Path) -> None:
    (chexpert / "train/patient00001/study1/view1_frontal.jpg").unlink()
    with pytest.raises(BrokenDataError, match=r"view1_frontal\.jpg is missing, though .*train\.csv, line 2"):
        read_chexpert(chexpert)
    (chexpert / "train.csv").unlink()
    with pytest.raises(BrokenDataError, match=r"train\.csv is missing"):
        read_chexpert(chexpert)


@pytest.fixture
def batches(chexpert: Path) -> Path:
    """The same in the batches that the release at its full size comes in."""
    first = chexpert / "CheXpert-v1.0 batch 1 (validate & csv)"
    first.mkdir()
    for name in ("train.csv", "valid.csv", "valid"):
        (chexpert / name).rename(first / name)
    (chexpert / "train").rename(chexpert / "CheXpert-v1.0 batch 2 (train 1)")
    (chexpert / "CheXpert-v1.0 batch 3 (train 2)").mkdir()
    return chexpert


def test_chexperts_batches_are_read_as_they_come(batches: Path) -> None:
    assert labelled_in(batches, "chexpert") == labelled_in(batches.parent, "chexpert") == [batches]
    cases = read_cases("chexpert", batches)
    assert [(case.id, case.split) for case in cases] == [
        ("train/patient00001/study1/view1_frontal", "train"),
        ("valid/patient64541/study1/view1_frontal", "validation"),
    ]
    assert [case.load().pixels.shape for case in cases] == [(6, 8)] * 2


def test_a_chexpert_put_together_by_hand_is_read_with_what_else_lies_there(chexpert: Path) -> None:
    text(chexpert / "CheXpert-v1.0 batch 2 (train 1)/.DS_Store", "")
    text(chexpert / "CheXpert-v1.0 batch 3 (train 2)", "")
    assert [case.patient for case in read_chexpert(chexpert)] == ["patient00001", "patient64541"]
    (chexpert / "train/patient00001/study1/view1_frontal.jpg").unlink()
    with pytest.raises(BrokenDataError, match=r"small/train/patient00001/.* is missing"):
        read_chexpert(chexpert)


def test_a_patient_in_two_of_chexperts_batches_is_read_from_both(batches: Path) -> None:
    table = batches / "CheXpert-v1.0 batch 1 (validate & csv)/train.csv"
    text(
        table,
        table.read_text().strip() + "\n" + table.read_text().splitlines()[1].replace("study1", "study2"),
    )
    picture(batches / "CheXpert-v1.0 batch 3 (train 2)/patient00001/study2/view1_frontal.jpg")
    assert [case.id.split("/")[2] for case in read_chexpert(batches)] == ["study1", "study2", "study1"]


def test_what_chexperts_batches_lack_is_named(batches: Path) -> None:
    lies = "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg"
    (batches / lies).unlink()
    said = r"view1_frontal\.jpg is missing, .*csv\)/train\.csv, line 2, names it"
    with pytest.raises(BrokenDataError, match=rf"\(train \*\)/patient00001/study1/{said}"):
        read_chexpert(batches)
    (batches / "CheXpert-v1.0 batch 1 (validate & csv)/train.csv").unlink()
    with pytest.raises(BrokenDataError, match=r"csv\)/train\.csv is missing"):
        read_chexpert(batches)


@pytest.mark.parametrize("lost", [1, 12, 30])
def test_a_table_that_is_cut_short_is_named_by_its_line(chexpert: Path, lost: int) -> None:
    table = chexpert / "train.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:2])[:-lost])
    with pytest.raises(BrokenDataError, match=r"train\.csv, line 2: the line ends before its last column"):
        read_chexpert(chexpert)


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    tables = {
        "chexpert": [f"subject_id,study_id,{CHEXPERT}", f"10000032,50414267,{LABELS}"],
        "metadata": [
            "dicom_id,subject_id,study_id,ViewPosition",
            "02aa-ff,10000032,50414267,PA",
            "174f-ee,10000032,50414267,LATERAL",
        ],
        "split": ["dicom_id,study_id,subject_id,split", "02aa-ff,50414267,10000032,validate"],
    }
    for name, lines in tables.items():
        with gzip.open(tmp_path / f"mimic-cxr-2.0.0-{name}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    picture(tmp_path / "files/p10/p10000032/s50414267/02aa-ff.jpg")
    return tmp_path


def test_mimic_cxr(mimic: Path) -> None:
    (case,) = read_mimic_cxr(mimic, uncertain="ones")
    assert (case.patient, case.split, case.notes["view"]) == ("10000032", "validation", "PA")
    assert case.labels["edema"] == 1
    assert case.load().pixels.shape == (6, 8)


def test_a_damaged_gzip_is_named(mimic: Path) -> None:
    table = mimic / "mimic-cxr-2.0.0-metadata.csv.gz"
    stored = bytearray(table.read_bytes())
    stored[len(table.stem) + 11] |= 0b110  # the first block's type, behind a header that ends with the name
    table.write_bytes(stored)
    with pytest.raises(BrokenDataError, match=r"metadata\.csv\.gz is not a table: .*invalid block type"):
        read_mimic_cxr(mimic)


def test_what_mimic_cxr_lacks_is_named(mimic: Path) -> None:
    (mimic / "files/p10/p10000032/s50414267/02aa-ff.jpg").unlink()
    with pytest.raises(BrokenDataError, match=r"02aa-ff\.jpg is missing"):
        read_mimic_cxr(mimic)
    (mimic / "mimic-cxr-2.0.0-split.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(BrokenDataError, match=r"split\.csv\.gz is not a table"):
        read_mimic_cxr(mimic)
    (mimic / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    with pytest.raises(BrokenDataError, match=r"mimic-cxr-2\.0\.0-split\.csv"):
        read_mimic_cxr(mimic)


@pytest.fixture
def nih14(tmp_path: Path) -> Path:
    text(
        tmp_path / "Data_Entry_2017.csv",
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],",
        "00000001_000.png,Cardiomegaly|Effusion,0,1,58,M,PA,2682,2749,0.143,0.143,",
        "00000002_000.png,No Finding,0,2,81,M,AP,2500,2048,0.171,0.171,",
    )
    picture(tmp_path / "images_001/images/00000001_000.png")
    picture(tmp_path / "images_002/images/00000002_000.png")
    text(tmp_path / "train_val_list.txt", "00000001_000.png")
    text(tmp_path / "test_list.txt", "00000002_000.png")
    return tmp_path


def test_nih_chestxray14(nih14: Path) -> None:
    first, second = read_nih14(nih14)
    assert [name for name in CLASSES if first.labels[name]] == ["cardiomegaly", "effusion"]
    assert [name for name in CLASSES if second.labels[name]] == ["no_finding"]
    assert (first.split, second.split, second.patient, second.notes["view"]) == ("train", "test", "2", "AP")


def test_images_of_nih_chestxray14_may_be_called_png_in_capitals(nih14: Path) -> None:
    path = nih14 / "images_002/images/00000002_000.png"
    path.rename(path.with_suffix(".PNG"))
    assert [case.patient for case in read_nih14(nih14)] == ["1", "2"]


def test_what_nih_chestxray14_lacks_is_named(nih14: Path) -> None:
    text(nih14 / "test_list.txt", "")
    with pytest.raises(BrokenDataError, match=r"00000002_000\.png is neither in train_val_list"):
        read_nih14(nih14)
    path = nih14 / "images_002/images/00000002_000.png"
    path.rename(path.with_name("00000003_000.png"))
    with pytest.raises(BrokenDataError, match=r"00000002_000\.png is in no folder"):
        read_nih14(nih14)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("00000001_000.png,Cardiomeg,0,1,58,M,PA,1,1,0.1,0.1", "Finding Labels has 'Cardiomeg'"),
        ("00000001_000.png,,0,1,58,M,PA,1,1,0.1,0.1", "Finding Labels has ''"),
        ("00000001_000.png,Hernia,0,,58,M,PA,1,1,0.1,0.1", "Patient ID is empty"),
        ("00000001_000.png,Hernia,0,1,58,M,PA,1,1", "the line ends before its last column"),
    ],
)
def test_a_line_of_nih_chestxray14_that_says_nothing_known_is_named(
    nih14: Path, line: str, message: str
) -> None:
    table = nih14 / "Data_Entry_2017.csv"
    table.write_text(table.read_text().splitlines()[0] + f"\n{line}\n")
    with pytest.raises(BrokenDataError, match=rf"Data_Entry_2017\.csv, line 2: {message}"):
        read_nih14(nih14)


def test_a_comma_after_the_last_column_of_either_header_or_line_is_no_cell(nih14: Path) -> None:
    table = nih14 / "Data_Entry_2017.csv"
    head, *lines = table.read_text().splitlines()
    for written in ([head, *(line[:-1] for line in lines)], [head[:-1], *lines]):
        text(table, *written)
        assert len(read_nih14(nih14)) == 2


def test_the_real_nih_folders_can_be_read(shared_data: Path) -> None:
    cases = read_nih_folder(shared_data / "cxr_nih")
    assert (len(cases), len({case.patient for case in cases})) == (792, 535)
    assert sum(case.labels["no_finding"] for case in cases) == 375
    assert cases[0].load().pixels.shape == (448, 448)


def test_a_label_that_is_none_is_named(tmp_path: Path) -> None:
    text(tmp_path / "labels.csv", "file,patient_id,view," + ",".join(CLASSES), "a.jpg,1,PA,0,yes,0,0,0,0")
    picture(tmp_path / "images/a.jpg")
    with pytest.raises(BrokenDataError, match=r"labels\.csv, line 2: effusion is 'yes'"):
        read_nih_folder(tmp_path)


def test_a_radiograph_of_nobody_is_named(tmp_path: Path) -> None:
    text(tmp_path / "labels.csv", "file,patient_id,view," + ",".join(CLASSES), "a.jpg,,PA,0,1,0,0,0,0")
    picture(tmp_path / "images/a.jpg")
    with pytest.raises(BrokenDataError, match=r"labels\.csv, line 2: patient_id is empty"):
        read_nih_folder(tmp_path)


def test_an_uncertain_label_is_left_empty(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    header = "file,patient_id,view," + ",".join(CLASSES)
    text(tmp_path / "labels.csv", header, "a.jpg,1,PA,0,,1,0,0,0")
    (case,) = read_nih_folder(tmp_path)
    assert math.isnan(case.labels["effusion"])
    assert case.labels["atelectasis"] == 1
    text(tmp_path / "labels.csv", header, "a.jpg,1,PA,0,-1,1,0,0,0")
    with pytest.raises(BrokenDataError, match=r"line 2: effusion is -1, not 1 or 0; leave it empty"):
        read_nih_folder(tmp_path)
