"""What this node sent of a study before it lost its memory, fetched back from the archives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inference.findings import Finding, Reading
from node.peers.archive import ArchiveAnswerError, FetchedObject, Take
from node.priors.search import results_in, seconds_left
from node.reading_room import ReadingRoom
from storage.archive import UnsafeUidError, checked_uid
from storage.part10 import encode_head

_SUCCESS, _OUT_OF_RESOURCES = 0x0000, 0xA700


def fetch_own_results(room: ReadingRoom, study_uid: str, reader: str, folder: Path) -> list[Path]:
    """The SEG and SR of a study that archives hold, each in a file of ``folder``. By C-GET alone: what came
    by C-MOVE would be taken for late images. An archive that gives no answer has none."""
    until = time.monotonic() + room.settings.priors.time_limit_seconds
    for archive in room.archives:
        try:
            series = results_in(archive, study_uid, reader, until)
            if series:
                archive.get(study_uid, series, _into(folder), seconds_left(archive, until))
        except ArchiveAnswerError:
            continue  # it is asked for priors next, where its silence is told
    return kept_results(folder)


def kept_results(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def under_known_uids(reading: Reading, known: Reading) -> Reading:
    """The reading with the tracking UIDs of those ``known`` findings that lie in the same place, each given
    once, the nearest first. Both are of the same images."""
    uids: dict[int, str] = {}
    taken: set[int] = set()
    for _, here, there in sorted(_near(reading.findings, known.findings)):
        if here not in uids and there not in taken:
            uids[here] = known.findings[there].tracking_uid
            taken.add(there)
    findings = [f.tracked_as(uids.get(n, f.tracking_uid), f.change) for n, f in enumerate(reading.findings)]
    return replace(reading, findings=tuple(findings))


def _near(here: Sequence[Finding], there: Sequence[Finding]) -> list[tuple[float, int, int]]:
    """Distance in mm (pixels on a picture) and both numbers of every two findings whose centres lie within
    one of the two; on pictures, of the same one."""
    return [
        (apart, one, other)
        for one, finding in enumerate(here)
        for other, known in enumerate(there)
        if not finding.in_pixels or (finding.image_uid, finding.frame) == (known.image_uid, known.frame)
        if (apart := float(np.linalg.norm(np.subtract(finding.center_mm, known.center_mm))))
        <= max(finding.long_axis_mm, known.long_axis_mm) / 2
    ]


def _into(folder: Path) -> Take:
    folder.mkdir(parents=True, exist_ok=True)

    def take(fetched: FetchedObject) -> int:
        head = encode_head(fetched.sop_class, fetched.uid, fetched.transfer_syntax, "")
        try:
            whole = folder / f"{checked_uid(fetched.uid)}.dcm"
            part = whole.with_suffix(".part")  # a crash or a full disk leaves no half of a result
            part.write_bytes(head + fetched.data_set)
            part.rename(whole)
        except (OSError, UnsafeUidError):
            return _OUT_OF_RESOURCES
        return _SUCCESS

    return take
