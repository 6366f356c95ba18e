"""What an archive holds of a patient, and which of its series a reader would read."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from node.peers.archive import ArchiveAnswerError, DicomArchive
from node.results.edition import is_described_as_of
from node.routing.select import select
from node.routing.series import AXES, STRAIGHT, SeriesDescription, tags_of
from node.settings import RouteSettings
from storage.archive import UnsafeUidError, checked_uid
from storage.priors import PatientIdentity

_STUDY_KEYS = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "ModalitiesInStudy",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
)
_SERIES_KEYS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "StudyDescription",
    "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
)
_IMAGE_KEYS = (
    "SOPInstanceUID",
    "SOPClassUID",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "ConvolutionKernel",
    "Rows",
    "SamplesPerPixel",
    "Manufacturer",
)
_UNKNOWN_COVERAGE_MM = 200.0
_RESULTS = ("SEG", "SR")


@dataclass(frozen=True)
class RemoteStudy:
    """A study that an archive says it holds."""

    archive: DicomArchive
    uid: str
    date: str
    time: str
    description: str
    modalities: tuple[str, ...]
    patient: PatientIdentity


@dataclass(frozen=True)
class ChosenSeries:
    """The one series of a study that a reader would read, and the results that this node made of it."""

    series: SeriesDescription
    results: tuple[str, ...]


def search(archive: DicomArchive, patient_ids: Sequence[str], until: float) -> list[RemoteStudy]:
    """The studies under one of the IDs in an archive, asked ``until`` then by ``time.monotonic``. Answers
    that are about another ID, or that lack their UID, are left out.

    Raises:
        ArchiveAnswerError: see ``DicomArchive.find``.
    """
    found: dict[str, RemoteStudy] = {}
    for patient_id in patient_ids:
        keys = _keys(_STUDY_KEYS, PatientID=patient_id)
        for answer in archive.find("STUDY", keys, seconds_left(archive, until)):
            study = _study(archive, answer)
            if study is not None and study.patient.patient_id in patient_ids:
                found.setdefault(study.uid, study)
    return list(found.values())


def choose(
    study: RemoteStudy,
    reader: str,
    routes: Sequence[RouteSettings],
    readers: Collection[str],
    until: float,
) -> ChosenSeries | None:
    """What to fetch of a study, by its headers as far as the archive tells them; None where the reader would
    read nothing of it.

    Raises:
        ArchiveAnswerError: see ``DicomArchive.find``.
    """
    described, results = [], []
    archive, keys = study.archive, _keys(_SERIES_KEYS, StudyInstanceUID=study.uid)
    for answer in archive.find("SERIES", keys, seconds_left(archive, until)):
        uid = _uid(answer, "SeriesInstanceUID")
        if uid is None:
            continue
        if is_result(answer, reader):
            results.append(uid)
        elif answer.get("Modality") not in _RESULTS:
            keys = _keys(_IMAGE_KEYS, StudyInstanceUID=study.uid, SeriesInstanceUID=uid)
            images = archive.find("IMAGE", keys, seconds_left(archive, until))
            described.append(_described(uid, answer, images))
    chosen = next((c for c in select(described, routes, readers) if c.chosen and c.reader == reader), None)
    if chosen is None:
        return None
    series = next(one for one in described if one.series_uid == chosen.series_uid)
    return ChosenSeries(series, tuple(results))


def results_in(archive: DicomArchive, study_uid: str, reader: str, until: float) -> list[str]:
    """The series in which this node's own results for ``reader`` lie.

    Raises:
        ArchiveAnswerError: see ``DicomArchive.find``.
    """
    keys = _keys(_SERIES_KEYS, StudyInstanceUID=study_uid)
    answers = archive.find("SERIES", keys, seconds_left(archive, until))
    uids = (_uid(answer, "SeriesInstanceUID") for answer in answers if is_result(answer, reader))
    return [uid for uid in uids if uid is not None]


def seconds_left(archive: DicomArchive, until: float) -> float:
    """How long an archive may take that has to be done with ``until``.

    Raises:
        ArchiveAnswerError: no time is left.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise ArchiveAnswerError(f"{archive.name} was not asked further: the time limit is spent", away=True)
    return left


def is_result(series: Dataset, reader: str) -> bool:
    named = is_described_as_of(reader, str(series.get("SeriesDescription") or ""))
    return named and series.get("Modality") in _RESULTS


def _study(archive: DicomArchive, answer: Dataset) -> RemoteStudy | None:
    uid = _uid(answer, "StudyInstanceUID")
    if uid is None:
        return None
    modalities = tags_of(answer).get("ModalitiesInStudy", ())
    patient = PatientIdentity(
        _text(answer, "PatientID"), _text(answer, "IssuerOfPatientID"), _text(answer, "PatientBirthDate")
    )
    date, time, description = (_text(answer, f"Study{word}") for word in ("Date", "Time", "Description"))
    return RemoteStudy(archive, uid, date, time, description, modalities, patient)


def _described(uid: str, series: Dataset, images: Sequence[Dataset]) -> SeriesDescription:
    """A series as its archive tells of it; what it does not tell is taken to be no obstacle."""
    together = Dataset()
    together.update(series)
    if images:
        together.update({e.tag: e for e in images[len(images) // 2] if e.value not in (None, "")})
    tags = {"Rows": ("1",), **tags_of(together)}
    count = max(len(images), int(series.get("NumberOfSeriesRelatedInstances") or 0))
    placed = [image for image in images if _is_placed(image)]
    if len(placed) < 2:
        return SeriesDescription(uid, tags, count, coverage_mm=_UNKNOWN_COVERAGE_MM)
    places = np.array([image.ImagePositionPatient for image in placed], float)
    orientation = np.array(placed[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    heights = np.unique(np.round(places @ normal, 3))
    axis = int(np.abs(normal).argmax())
    return SeriesDescription(
        uid,
        tags,
        count,
        plane=AXES[axis] if abs(normal[axis]) > STRAIGHT else "oblique",
        spacing_mm=float(np.median(np.diff(heights))) if len(heights) > 1 else None,
        coverage_mm=float(np.ptp(heights)),
    )


def _is_placed(image: Dataset) -> bool:
    place, orientation = image.get("ImagePositionPatient"), image.get("ImageOrientationPatient")
    return bool(place and orientation and len(place) == 3 and len(orientation) == 6)


def _keys(keywords: Sequence[str], **given: str) -> Dataset:
    """An identifier: what is given has to match, the other keywords are to be answered."""
    keys = Dataset()
    for keyword in (*keywords, *given):
        setattr(keys, keyword, given.get(keyword))
    return keys


def _uid(answer: Dataset, keyword: str) -> str | None:
    try:
        return checked_uid(_text(answer, keyword))
    except UnsafeUidError:
        return None


def _text(answer: Dataset, keyword: str) -> str:
    return str(answer.get(keyword) or "").strip()
