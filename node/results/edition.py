"""One set of result objects in the making: what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import highdicom as hd
import pydicom
from pydicom import DataElement, Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, DT, TM

from inference.findings import Model, Reading
from inference.volume import Volume
from node.results import codes
from node.results.identity import SOFTWARE_VERSION, result_uid
from node.results.source import Sources, middle_image_uid
from node.results.texts import put_in_letters
from storage.contents import CONTENTS
from storage.part10 import IMPLEMENTATION_CLASS_UID

MANUFACTURER = "Overread"
DISCLAIMER = "AI result, not verified"
NOTICE = f"{DISCLAIMER}. For research, not for diagnosis."
_CLOCKS = (
    ("InstanceCreation", ""),
    ("Series", ""),
    ("Content", ""),
    ("PresentationCreation", ""),
    ("", "OfSecondaryCapture"),
)
_ALWAYS_DATED = ("InstanceCreation", "Series")
_REPORT_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
KINDS = ("seg", "sr", "pr", "sc", "ko", "reg")
REPORTS = ("sr", "sr-outlines", "sr-classes", "sr-changes")
_SERIES_NUMBERS = {
    "seg": 9001,
    "seg-structures": 9002,
    "sr": 9003,
    "sr-outlines": 9004,
    "sr-classes": 9005,
    "sr-changes": 9009,
    "pr": 9006,
    "sc": 9007,
    "ko": 9008,
    "reg": 9010,
    "reg-deformable": 9011,
    "sr-not-processed": 9012,
}
SERIES = {role: (number, CONTENTS[role]) for role, number in _SERIES_NUMBERS.items()}


@dataclass(frozen=True, order=True)
class Predecessor:
    """A result object of an earlier edition, which a new one succeeds."""

    study_uid: str
    series_uid: str
    sop_class: str
    sop_instance_uid: str

    @classmethod
    def from_file(cls, path: Path) -> Self:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        return cls(
            str(header.StudyInstanceUID),
            str(header.SeriesInstanceUID),
            str(header.SOPClassUID),
            str(header.SOPInstanceUID),
        )

    @property
    def is_report(self) -> bool:
        return self.sop_class == _REPORT_CLASS


@dataclass(frozen=True)
class ResultFile:
    """A result object on disk. ``kind``: one of ``KINDS``."""

    kind: str
    sop_class: str
    sop_instance_uid: str
    path: Path


@dataclass(frozen=True, eq=False)
class Edition:
    """A reading, the images it was made from, and the moment its results are dated with.

    identity: hash of all that the objects' bytes depend on, ``when`` excepted: whoever makes an edition
        again gives the same ``when``.
    udi: the Unique Device Identifier of the installation, empty without one.
    """

    reading: Reading
    volume: Volume
    sources: Sources
    identity: str
    when: datetime
    predecessors: tuple[Predecessor, ...] = ()
    udi: str = ""

    def uid(self, role: str) -> str:
        return result_uid(role, self.identity)

    def tracking_uid(self, what: str) -> str:
        """The Tracking Unique Identifier of what a reader tells of a study that is no lesion: it stays when
        the study is read again."""
        study_uid = self.sources.first.StudyInstanceUID
        return result_uid(f"tracking-{what}", f"{study_uid}|{self.reading.reader}")

    def series(self, role: str) -> dict[str, Any]:
        """Constructor arguments that place an object in its series: one of its own for each role, since
        viewers show only the first segmentation or report of a series."""
        number, content = SERIES[role]
        return {
            "series_instance_uid": self.uid(f"series-{role}"),
            "series_number": number,
            "series_description": described_as(self.reading.reader, content),
        }

    def device(self) -> dict[str, Any]:
        """Constructor arguments that say what made an object: the reader's own model."""
        model = self.reading.model
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": model.name[:64],
            "software_versions": SOFTWARE_VERSION,
            "device_serial_number": self.device_serial_number(),
        }

    def key_image_uids(self) -> list[str]:
        return key_image_uids(self.reading, self.volume)

    def predecessor_references(self) -> list[Dataset]:
        """Items that name the reports among the predecessors, by study and by series (PS3.3 10.5)."""
        studies: dict[str, dict[str, list[Dataset]]] = {}
        for predecessor in self.predecessors:
            if not predecessor.is_report:
                continue
            item = Dataset()
            item.ReferencedSOPClassUID = predecessor.sop_class
            item.ReferencedSOPInstanceUID = predecessor.sop_instance_uid
            studies.setdefault(predecessor.study_uid, {}).setdefault(predecessor.series_uid, []).append(item)
        return [_study_reference(study_uid, series) for study_uid, series in studies.items()]

    def algorithms(self) -> hd.AlgorithmIdentificationSequence:
        """Algorithm Identification macro (PS3.3 10.16) of the reader's own model."""
        model = self.reading.model
        return hd.AlgorithmIdentificationSequence(
            name=model.name,
            family=codes.ARTIFICIAL_INTELLIGENCE.concept,
            version=model.version,
            source=MANUFACTURER,
            parameters={"weights": f"sha256:{model.sha256}"},
        )

    def equipment(self) -> list[hd.ContributingEquipment]:
        return [self._equipment_of(model) for model in self.reading.models]

    def _equipment_of(self, model: Model) -> hd.ContributingEquipment:
        return hd.ContributingEquipment(
            manufacturer=MANUFACTURER,
            purpose_of_reference=codes.PROCESSING_EQUIPMENT.concept,
            manufacturer_model_name=model.name[:64],
            software_versions=model.version[:64],
            contribution_description=f"weights sha256:{model.sha256}",
        )

    def device_serial_number(self) -> str:
        return self.reading.model.sha256[:16] or "0"

    def settle(self, instance: Dataset) -> Dataset:
        """Replaces, in place, all that a library drew from the clock or from chance; dates the object with
        ``when``, keeps the source's names, character set and request, and says that no one verified it."""
        source = self.sources.first
        moment = self.when.astimezone(UTC) if self.when.tzinfo else self.when
        date, time = DA(moment.date()), TM(moment.time().replace(tzinfo=None))
        for before, after in _CLOCKS:
            if f"{before}Date{after}" in instance or before in _ALWAYS_DATED:
                instance[f"{before}Date{after}"] = DataElement(f"{before}Date{after}", "DA", date)
                instance[f"{before}Time{after}"] = DataElement(f"{before}Time{after}", "TM", time)
        instance.ContentQualification = "RESEARCH"
        for item in instance.get("ContributingEquipmentSequence", []):
            if item.get("Manufacturer") != source.get("Manufacturer"):  # the scanner keeps its own
                item.ContributionDateTime = DT(moment.replace(tzinfo=None))
        for keyword in ("StudyDescription", "PatientAge", "IssuerOfPatientID"):
            if keyword in source and keyword not in instance:
                instance[keyword] = source[keyword]
        if self.udi:
            device = Dataset()
            device.UniqueDeviceIdentifier = self.udi
            instance.UDISequence = [device]
        put_in_letters(instance, self.sources.names, source, self.sources.character_set)
        self._settle_file_meta(instance)
        return instance

    def _settle_file_meta(self, instance: Dataset) -> None:
        instance.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
        instance.file_meta.ImplementationVersionName = f"OVERREAD {SOFTWARE_VERSION}"[:16]

    def requests(self) -> list[Dataset]:
        """Items of the Referenced Request Sequence (PS3.3 C.17.2), one per request the images answer."""
        source = self.sources.first
        attributes: Sequence[Dataset] = source.get("RequestAttributesSequence") or []
        if not attributes and not source.AccessionNumber:
            return []
        return [self._request(item) for item in attributes or [Dataset()]]

    def _request(self, attributes: Dataset) -> Dataset:
        source, item = self.sources.first, Dataset()
        item.StudyInstanceUID = source.StudyInstanceUID
        item.ReferencedStudySequence = []
        item.AccessionNumber = attributes.get("AccessionNumber") or source.AccessionNumber
        item.PlacerOrderNumberImagingServiceRequest = ""
        item.FillerOrderNumberImagingServiceRequest = ""
        item.RequestedProcedureID = attributes.get("RequestedProcedureID", "")
        item.RequestedProcedureDescription = attributes.get("RequestedProcedureDescription", "")
        item.RequestedProcedureCodeSequence = attributes.get("RequestedProcedureCodeSequence", [])
        return item


def described_as(reader: str, content: str) -> str:
    """The description of a series of results: what it holds comes first, since lists cut the end off."""
    return f"AI {content}, {reader} ({MANUFACTURER})"[:64]


def is_described_as_of(reader: str, description: str) -> bool:
    """Whether a series with this description holds results of ``reader``; up to 0.1 the reader came first."""
    return description.startswith(f"{MANUFACTURER} {reader}:") or description in {
        described_as(reader, content) for _, content in SERIES.values()
    }


def key_image_uids(reading: Reading, volume: Volume) -> list[str]:
    """SOP Instance UIDs of the findings' key images, each once, in the findings' order; without findings, of
    the images that were read or, where those are all, of the middle one that was sent."""
    uids = list(dict.fromkeys(finding.image_uid for finding in reading.findings))
    return uids or list(reading.image_uids) or [middle_image_uid(volume)]


def _study_reference(study_uid: str, series: dict[str, list[Dataset]]) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID = study_uid
    study.ReferencedSeriesSequence = []
    for series_uid, instances in series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_uid
        item.ReferencedSOPSequence = instances
        study.ReferencedSeriesSequence.append(item)
    return study
