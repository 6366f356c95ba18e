"""DICOM files that lie in a folder, as if they had been received."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from storage.archive import UnsafeUidError, checked_uid
from storage.intake import Received

_TAGS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyDescription",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "BodyPartExamined",
]


_PACKED = {".7z", ".rar", ".tar", ".tgz", ".zip"}


class NotReceivableError(ValueError):
    """A file that is no DICOM object one could receive; the message says why."""


def files_under(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file that is one of ``paths`` or lies below one, in order of its name; DICOMDIR and hidden
    files left out."""
    for path in paths:
        candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (
            f for f in candidates if f.is_file() and f.name != "DICOMDIR" and not f.name.startswith(".")
        )


def received_file(path: Path, received_at: datetime) -> Received:
    """The row for a file that stays where it is; its ``path`` is absolute.

    Raises:
        NotReceivableError: not DICOM, or without the UIDs of study, series and instance.
    """
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        study_uid, series_uid, uid = (
            checked_uid(str(header.get(keyword) or ""))
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        )
        return _received(path, header, study_uid, series_uid, uid, received_at)
    except InvalidDicomError:
        raise NotReceivableError(f"it is {why_no_dicom(path)}") from None
    except UnsafeUidError:
        raise NotReceivableError("it lacks the UID of its study, its series or itself") from None
    except Exception as error:  # noqa: BLE001  a damaged file can make the parser, late too, raise anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise NotReceivableError(f"it cannot be read: {why}") from None


def why_no_dicom(path: Path) -> str:
    """What a file is that is no DICOM file."""
    return "packed; unpack it first" if path.suffix.lower() in _PACKED else "not a DICOM file"


def _received(
    path: Path, header: Dataset, study_uid: str, series_uid: str, uid: str, received_at: datetime
) -> Received:
    return Received(
        uid=uid,
        sop_class=_text(header, "SOPClassUID"),
        transfer_syntax=str(header.file_meta.get("TransferSyntaxUID", "")),
        series_uid=series_uid,
        study_uid=study_uid,
        path=str(path.resolve()),
        size=path.stat().st_size,
        received_at=received_at,
        patient_id=_text(header, "PatientID"),
        issuer=_text(header, "IssuerOfPatientID"),
        birth_date=_text(header, "PatientBirthDate"),
        study_date=_text(header, "StudyDate"),
        study_time=_text(header, "StudyTime"),
        accession_number=_text(header, "AccessionNumber"),
        study_description=_text(header, "StudyDescription"),
        modality=_text(header, "Modality"),
        series_number=_number(header),
        series_description=_text(header, "SeriesDescription"),
        body_part=_text(header, "BodyPartExamined"),
    )


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def _number(header: Dataset) -> int | None:
    try:
        return int(header.SeriesNumber)
    except (AttributeError, TypeError, ValueError):
        return None
