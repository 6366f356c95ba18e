"""A study that was not read gets a report that says why, where the site wants one (PS3.3 A.35.2)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from highdicom import sr
from pydicom import dcmread

from inference.findings import Model, Reading
from inference.picture import PLANE, Pictures
from node.results import codes
from node.results.edition import Edition, ResultFile
from node.results.encoding import save
from node.results.identity import SOFTWARE_VERSION, edition_identity, reading_identity
from node.results.report import device_observer
from node.results.source import read_sources

_ROLE = "sr-not-processed"
_PLAIN = str.maketrans("“”‘’–", "\"\"''-")  # noqa: RUF001 - as our sentences have them
_CONTAINS = sr.RelationshipTypeValues.CONTAINS


def not_processed(image: Path, reason: str, out: Path, *, when: datetime, udi: str = "") -> ResultFile:
    """Writes the report into ``out``; the same arguments give the same bytes. ``image``: any object of the
    study; nothing but its header is read.

    Raises:
        UnusableSourceError: it has no Study Instance UID.
        InvalidDicomError, OSError: it cannot be read.
    """
    header = dcmread(image, stop_before_pixels=True)
    uid = str(header.SOPInstanceUID)
    alone = Pictures(
        voxels=np.zeros((1, 1, 1), np.uint8),  # type: ignore[arg-type]  # as in load_pictures
        affine=PLANE,
        series_uid=str(header.SeriesInstanceUID),
        frame_of_reference_uid="",
        images=((uid, None),),
    )
    node = Model("overread", SOFTWARE_VERSION, "")
    identity = reading_identity("node", alone.series_uid, [uid], [node], {"not processed": reason})
    edition = Edition(
        reading=Reading("node", alone.series_uid, (node,)),
        volume=alone,
        sources=read_sources([image], alone),
        identity=edition_identity(identity, {"sr"}, udi=udi),
        when=when,
        udi=udi,
    )
    report = _report(edition, reason)
    path = out / f"{_ROLE}.dcm"
    save(report, path)
    return ResultFile("sr", str(report.SOPClassUID), str(report.SOPInstanceUID), path)


def _report(edition: Edition, reason: str) -> sr.EnhancedSR:
    root = sr.ContainerContentItem(codes.IMAGING_REPORT.concept, template_id="2000")
    findings = sr.ContainerContentItem(codes.FINDINGS.concept, relationship_type=_CONTAINS)
    said = sr.TextContentItem(
        codes.FINDING.concept, f"Not processed: {reason.translate(_PLAIN)}", relationship_type=_CONTAINS
    )
    findings.ContentSequence = sr.ContentSequence([said])
    language = sr.LanguageOfContentItemAndDescendants(codes.ENGLISH.concept)
    root.ContentSequence = sr.ContentSequence([*language, *device_observer(edition), findings])
    report = sr.EnhancedSR(
        evidence=[edition.sources.first],
        content=root,
        sop_instance_uid=edition.uid(_ROLE),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        requested_procedures=edition.requests() or None,
        **edition.series(_ROLE),
        **edition.device(),
    )
    edition.settle(report)
    return report
