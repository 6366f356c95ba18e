"""Which presentation contexts the receiver accepts: every storage class, every encoding, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.uid import (
    HEVCM10P51,
    HEVCMP51,
    HTJ2K,
    JPEG2000,
    MPEG2MPHL,
    MPEG2MPHLF,
    MPEG2MPML,
    MPEG2MPMLF,
    MPEG4HP41,
    MPEG4HP41BD,
    MPEG4HP41BDF,
    MPEG4HP41F,
    MPEG4HP42STEREO,
    MPEG4HP42STEREOF,
    MPEG4HP422D,
    MPEG4HP422DF,
    MPEG4HP423D,
    MPEG4HP423DF,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import build_context
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    Verification,
)

NATIVE = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
LOSSLESS = (
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGLosslessSV1,
    JPEGLossless,
    RLELossless,
)
LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
VIDEO = (
    MPEG2MPML,
    MPEG2MPMLF,
    MPEG2MPHL,
    MPEG2MPHLF,
    MPEG4HP41,
    MPEG4HP41F,
    MPEG4HP41BD,
    MPEG4HP41BDF,
    MPEG4HP422D,
    MPEG4HP422DF,
    MPEG4HP423D,
    MPEG4HP423DF,
    MPEG4HP42STEREO,
    MPEG4HP42STEREOF,
    HEVCMP51,
    HEVCM10P51,
)
TRANSFER_SYNTAXES = NATIVE + LOSSLESS + LOSSY + VIDEO
"""In the order of our preference, where a sender offers several in one context."""

RETIRED_STORAGE_CLASSES = {  # PS3.6 A, still sent by old modalities and archives
    "1.2.840.10008.5.1.4.1.1.3": "Ultrasound Multi-frame Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.5": "Nuclear Medicine Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.6": "Ultrasound Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.12.3": "X-Ray Angiographic Bi-Plane Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.77.1": "VL Image Storage (Retired)",
    "1.2.840.10008.5.1.4.1.1.77.2": "VL Multi-frame Image Storage (Retired)",
}

_IS_IMAGE = re.compile(r"Image Storage( - For (Presentation|Processing))?$")
IMAGE_CLASSES = frozenset(
    str(context.abstract_syntax)
    for context in AllStoragePresentationContexts
    if context.abstract_syntax and _IS_IMAGE.search(context.abstract_syntax.name)
)
"""The classes whose objects are images with rows and columns."""


def storage_classes(private: Iterable[str] = ()) -> list[str]:
    """The SOP classes of every storable object: the standard's, retired ones, and a site's private ones."""
    standard = [str(c.abstract_syntax) for c in AllStoragePresentationContexts]
    return list(dict.fromkeys([*standard, *RETIRED_STORAGE_CLASSES, *private]))


def supported_contexts(private: Iterable[str] = ()) -> list[PresentationContext]:
    """What the receiver supports: verification, each storage class in each transfer syntax, and storage
    commitment results from a peer that is their SCP though it asks for the association."""
    storage = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in storage_classes(private)]
    results = build_context(StorageCommitmentPushModel)
    results.scu_role, results.scp_role = True, True
    return [build_context(Verification, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]), *storage, results]
