"""Where every result UID comes from: a hash of all that a reading depends on.

Two readings of the same images by the same weights and settings have one identity, hence the same UIDs
and the same bytes; anything else has another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import UUID

from inference.findings import Finding, Model

try:
    SOFTWARE_VERSION = version("overread")
except PackageNotFoundError:  # run from a checkout that was never installed
    SOFTWARE_VERSION = "0"

FORMAT = 9
"""Of the result objects: raised with every change to what is written of the same reading, or objects of old
and of new would share a UID and differ in their bytes."""

METHOD = 9
"""Of reading and judging: raised with every change to what is found, measured or made of the same images by
the same weights, or a reading that was kept would stand for what is no longer said."""


def reading_identity(
    reader: str,
    series_uid: str,
    sop_uids: Iterable[str],
    models: Sequence[Model],
    settings: Mapping[str, Any],
) -> str:
    """SHA-256, in hex, of all that determines a reading's results.

    Args:
        sop_uids: the SOP Instance UIDs read, in any order.
        settings: whatever JSON can hold and a result depends on; further series and priors belong here too.
    """
    seed = {
        "software": SOFTWARE_VERSION,
        "method": METHOD,
        "reader": reader,
        "series": series_uid,
        "images": sorted(set(sop_uids)),
        "models": [[model.name, model.version, model.sha256] for model in models],
        "settings": settings,
    }
    return _sha256(json.dumps(seed, sort_keys=True, separators=(",", ":"), default=str))


def edition_identity(
    identity: str,
    kinds: Iterable[str],
    predecessors: Iterable[str] = (),
    udi: str = "",
    evidence: Iterable[str] = (),
) -> str:
    """The identity of one set of result objects: their bytes depend on ``FORMAT``, on which kinds refer to
    each other, on the SOP Instance UIDs of the objects they succeed, on the device they name, and on the SOP
    Instance UIDs of what they refer to of prior studies."""
    uids = [sorted(set(some)) for some in (kinds, predecessors, evidence)]
    return _sha256(json.dumps([FORMAT, identity, *uids, udi]))


def lesser_identity(identity: str, told: Iterable[str]) -> str:
    """The identity of what is reported of a reading where some of it is not: of the lesions with these
    tracking UIDs, where others are left to another reader; or by these guidelines alone."""
    return _sha256(json.dumps([identity, sorted(told)]))


def result_uid(role: str, identity: str) -> str:
    """A UID of the form 2.25.N (PS3.5 B.2), at most 44 characters, the same for the same arguments."""
    digest = hashlib.sha256(f"{role}|{identity}".encode()).digest()
    return f"2.25.{UUID(bytes=digest[:16], version=5).int}"


def tracking_uid(identity: str, finding: Finding) -> str:
    """The Tracking Unique Identifier of a finding seen for the first time; one linked to a prior keeps its
    own."""
    x, y, z = (round(mm, 2) + 0.0 for mm in finding.center_mm)
    frame = "" if finding.frame is None else finding.frame
    place = f"{finding.image_uid}|{frame}|{x:.2f}|{y:.2f}|{z:.2f}"
    return result_uid(f"tracking|{finding.label}|{place}", identity)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
