"""``python -m tests.conformance``: brings the tables of docs/conformance.md up to what the code does.

A table stands between ``<!-- name -->`` and ``<!-- /name -->``; what lies around it is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydicom.uid import UID
from pynetdicom.sop_class import (
    ColorSoftcopyPresentationStateStorage,
    Comprehensive3DSRStorage,
    DeformableSpatialRegistrationStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    SpatialRegistrationStorage,
    StorageCommitmentPushModel,
    Verification,
)

from node.intake.contexts import LOSSLESS, LOSSY, NATIVE, RETIRED_STORAGE_CLASSES, VIDEO, storage_classes
from node.peers.archive import FETCHED_CLASSES, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from node.results import codes
from node.results.edition import SERIES
from node.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
RESULT_CLASSES: dict[str, tuple[UID, ...]] = {
    "seg": (SegmentationStorage,),
    "sr": (Comprehensive3DSRStorage, EnhancedSRStorage),
    "pr": (GrayscaleSoftcopyPresentationStateStorage, ColorSoftcopyPresentationStateStorage),
    "sc": (SecondaryCaptureImageStorage,),
    "ko": (KeyObjectSelectionDocumentStorage,),
    "reg": (SpatialRegistrationStorage, DeformableSpatialRegistrationStorage),
}
"""What each kind of result is stored as."""


def tables() -> dict[str, str]:
    """Every table of the page, by name."""
    return {
        "services": _services(),
        "storage-classes": _storage_classes(),
        "transfer-syntaxes": _transfer_syntaxes(),
        "fetched-classes": _table(("SOP class", "UID"), ((_name(uid), uid) for uid in FETCHED_CLASSES)),
        "series": _table(("number", "description", "role"), ((n, d, r) for r, (n, d) in SERIES.items())),
        "defaults": _defaults(),
        "private-codes": _codes(own=True),
        "codes": _codes(own=False),
    }


def with_tables(page: str) -> str:
    """The page with every table as the code has it.

    Raises:
        ValueError: a table has no place on the page.
    """
    for name, table in tables().items():
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not place.search(page):
            raise ValueError(f"docs/conformance.md has no place for the table {name!r}")
        page = place.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", page)
    return page


def _services() -> str:
    results = [(uid.name, uid, "yes", "yes") for uids in RESULT_CLASSES.values() for uid in uids]
    queries = [(_name(uid), uid, "yes", "no") for uid in (STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET)]
    rows = [
        (Verification.name, Verification, "yes", "yes"),
        *results,
        ("every other storage class of Annex A", "", "no", "yes"),
        *queries,
        (StorageCommitmentPushModel.name, StorageCommitmentPushModel, "yes", "no"),
    ]
    return _table(("SOP class", "UID", "as SCU", "as SCP"), rows)


def _storage_classes() -> str:
    rows = ((RETIRED_STORAGE_CLASSES.get(uid, _name(uid)), uid) for uid in storage_classes())
    return _table(("SOP class", "UID"), rows)


def _transfer_syntaxes() -> str:
    groups = {"native": NATIVE, "lossless": LOSSLESS, "lossy": LOSSY, "video": VIDEO}
    rows = ((syntax.name, syntax, group) for group, syntaxes in groups.items() for syntax in syntaxes)
    return _table(("transfer syntax", "UID", ""), rows)


def _defaults() -> str:
    dicom, node = Settings().dicom, Settings().node
    rows = (
        ("AE title", "node.ae_title", node.ae_title),
        ("address", "dicom.host", dicom.host),
        ("port", "dicom.port", dicom.port),
        ("associations at once", "dicom.maximum_associations", dicom.maximum_associations),
        (
            "… from one address",
            "dicom.maximum_associations_per_sender",
            dicom.maximum_associations_per_sender,
        ),
        ("silence before a connection is closed, s", "dicom.network_timeout", dicom.network_timeout),
        ("quiet period that completes a study, s", "dicom.quiet_seconds", dicom.quiet_seconds),
    )
    return _table(("parameter", "setting", "default"), rows)


def _codes(own: bool) -> str:
    terms = sorted(
        {t for t in codes.TABLE.values() if (t.scheme == codes.OWN_SCHEME) == own},
        key=lambda t: (t.scheme, t.value),
    )
    if own:
        return _table(("value", "meaning"), ((t.value, t.meaning) for t in terms))
    rows = ((t.scheme, t.value, t.meaning, t.source) for t in terms)
    return _table(("scheme", "value", "meaning", "source"), rows)


def _name(uid: str) -> str:
    return UID(uid).name


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
