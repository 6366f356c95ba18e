"""Chest radiographs with labels: CheXpert, MIMIC-CXR-JPG and NIH ChestX-ray14, each as released.

The labels are of the project's six classes. Where a labeller was uncertain (-1; CheXpert and MIMIC-CXR),
``Uncertain`` decides: ``ignore`` leaves the label open (NaN), the default, since it claims nothing;
``zeros`` and ``ones`` are U-Zeros and U-Ones of the CheXpert paper (arXiv:1901.07031). What a report does
not mention counts as absent, as it does there.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Literal

from training.datasets.case import Case
from training.datasets.files import by_stem, first_there, grey, there
from training.errors import BrokenDataError
from training.tables import Row, read_table

Uncertain = Literal["ignore", "zeros", "ones"]

CLASSES = ("cardiomegaly", "effusion", "atelectasis", "consolidation", "edema", "no_finding")

CHEXPERT_TABLES = "CheXpert-v1.0 batch 1 (validate & csv)"
CHEXPERT_TRAIN = "CheXpert-v1.0 batch * (train *)"
"""CheXpert's batches: the folder of the tables and of ``valid``, and those of the patients of train."""

_CHEXPERT = {
    "cardiomegaly": "Cardiomegaly",
    "effusion": "Pleural Effusion",
    "atelectasis": "Atelectasis",
    "consolidation": "Consolidation",
    "edema": "Edema",
    "no_finding": "No Finding",
}
_NIH = {name: name.capitalize() for name in CLASSES[:-1]} | {"no_finding": "No Finding"}
_NIH_FINDINGS = {
    *_NIH.values(),
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
}


def read_chexpert(folder: Path, *, uncertain: Uncertain = "ignore", lateral: bool = False) -> list[Case]:
    """``train.csv`` and ``valid.csv`` (and ``test.csv`` where it is), whose paths start with the folder's
    name, as ``CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg``, or with the part's. Where a
    table says nothing of views, as that of the test set, the file's name does.

    The full size comes in batches, and may lie so: tables and ``valid`` in ``CHEXPERT_TABLES``, the patients
    of train in folders ``CHEXPERT_TRAIN``. Where some were put together by hand, each file is taken from
    where it lies.

    lateral: lateral views, too.
    """
    cases = []
    columns = ("Path", *_CHEXPERT.values())
    first = folder / CHEXPERT_TABLES
    home = first if first.is_dir() and not (folder / "train.csv").exists() else folder
    batches = [batch for batch in sorted(folder.glob(CHEXPERT_TRAIN)) if batch.is_dir()]
    tables = [home / name for name in ("train.csv", "valid.csv", "test.csv")]
    there(tables[0])
    for table in (t for t in tables if t.exists()):
        for row in read_table(table, columns):
            inner = _inner(Path(row.text("Path")))
            view = row.text("Frontal/Lateral") or inner.stem.rpartition("_")[2].capitalize()
            if view != "Frontal" and not lateral:
                continue
            patient = next((part for part in inner.parts if part.startswith("patient")), "")
            if not patient:
                raise row.broken(f"Path is {row.text('Path')!r}: no part of it names a patient")
            path = home / inner
            if batches and inner.parts[0] == "train" and not path.exists():
                places = [batch.joinpath(*inner.parts[1:]) for batch in batches]
                nowhere = folder.joinpath(CHEXPERT_TRAIN, *inner.parts[1:]) if home == first else path
                path = next((place for place in places if place.exists()), nowhere)
            there(path, f"{table}, line {row.line},")
            cases.append(
                Case(
                    str(inner.with_suffix("")),
                    patient,
                    partial(grey, path),
                    labels=_labels(row, uncertain),
                    split={"valid": "validation"}.get(table.stem, table.stem),
                    notes={"view": row.text("AP/PA") or view},
                    file=path,
                )
            )
    return cases


def _inner(path: Path) -> Path:
    """A path of CheXpert's tables within its folder."""
    return path if path.parts[:1] in (("train",), ("valid",), ("test",)) else Path(*path.parts[1:])


def read_mimic_cxr(folder: Path, *, uncertain: Uncertain = "ignore") -> list[Case]:
    """MIMIC-CXR-JPG: ``mimic-cxr-2.0.0-{chexpert,metadata,split}.csv`` (``.gz`` or not) and
    ``files/p10/p10000032/s50414267/DICOM_ID.jpg``; AP and PA views."""

    def table(name: str) -> Path:
        return first_there(
            folder, [f"mimic-cxr-2.{n}-{name}.csv{gz}" for n in ("0.0", "1.0") for gz in ("", ".gz")]
        )

    labels = {
        row.text("study_id"): row for row in read_table(table("chexpert"), ("study_id", *_CHEXPERT.values()))
    }
    splits = {
        row.text("dicom_id"): row.text("split") for row in read_table(table("split"), ("dicom_id", "split"))
    }
    cases = []
    for row in read_table(table("metadata"), ("dicom_id", "subject_id", "study_id", "ViewPosition")):
        name, subject, study = row.text("dicom_id"), row.required("subject_id"), row.text("study_id")
        if row.text("ViewPosition") not in ("AP", "PA") or study not in labels:
            continue  # laterals, and the few studies without a report to label
        if name not in splits:
            raise row.broken(f"{name} is in no split of {table('split')}")
        path = folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{name}.jpg"
        cases.append(
            Case(
                name,
                subject,
                partial(grey, there(path, f"{row.file}, line {row.line},")),
                labels=_labels(labels[study], uncertain),
                split={"validate": "validation"}.get(splits[name], splits[name]),
                notes={"view": row.text("ViewPosition"), "study": study},
                file=path,
            )
        )
    return cases


def read_nih14(folder: Path) -> list[Case]:
    """``Data_Entry_2017.csv`` (or ``_v2020``), images in ``images_001/images`` to ``images_012/images`` or
    ``images``, ``train_val_list.txt`` and ``test_list.txt``.

    Raises:
        BrokenDataError: an image that the table names is in none of the folders, or in no list; or a finding
            is none of the release's 15, "No Finding" among them.
    """
    images = {
        stem: path
        for part in ("images", "images_*/images")
        for held in sorted(folder.glob(part))
        for stem, path in by_stem(held, (".png",)).items()
    }
    splits = {
        name: split
        for split, file in (("train", "train_val_list.txt"), ("test", "test_list.txt"))
        for name in there(folder / file).read_text(encoding="utf-8").split()
    }
    table = first_there(folder, ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"))
    cases = []
    for row in read_table(table, ("Image Index", "Finding Labels", "Patient ID", "View Position")):
        name, said = row.text("Image Index"), row.text("Finding Labels").split("|")
        path = images.get(Path(name).stem)
        if path is None:
            raise BrokenDataError(f"{name} is in no folder of images in {folder}, though {table} names it")
        if name not in splits:
            raise row.broken(f"{name} is neither in train_val_list.txt nor in test_list.txt")
        if unknown := [finding for finding in said if finding not in _NIH_FINDINGS]:
            raise row.broken(f"Finding Labels has {unknown[0]!r}, which is none of the release's findings")
        cases.append(
            Case(
                Path(name).stem,
                row.required("Patient ID"),
                partial(grey, path),
                labels={label: float(_NIH[label] in said) for label in CLASSES},
                split=splits[name],
                notes={"view": row.text("View Position")},
                file=path,
            )
        )
    return cases


def read_nih_folder(folder: Path) -> list[Case]:
    """The layout ``nih``: ``labels.csv`` with a column per class (1, 0, or nothing where it is open) beside
    ``images/FILE``."""
    table = folder / "labels.csv"
    cases = []
    for row in read_table(table, ("file", "patient_id", "view", *CLASSES)):
        path = there(folder / "images" / row.text("file"), f"{table}, line {row.line},")
        cases.append(
            Case(
                path.stem,
                row.required("patient_id"),
                partial(grey, path),
                labels={name: row.label(name) for name in CLASSES},
                notes={"view": row.text("view")},
                file=path,
            )
        )
    return cases


def _labels(row: Row, uncertain: Uncertain) -> dict[str, float]:
    open_label = {"ignore": math.nan, "zeros": 0.0, "ones": 1.0}[uncertain]
    found = {}
    for name, column in _CHEXPERT.items():
        value = row.number(column) if row.text(column) else 0.0
        if value not in (-1.0, 0.0, 1.0):
            raise row.broken(f"{column} is {value:g}, not 1, 0, -1 or nothing")
        found[name] = open_label if value == -1 else value
    return found
