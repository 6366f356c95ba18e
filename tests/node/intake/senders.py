"""Objects to send and ways to send them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode


def ct_slice(
    study_uid: str | None = None,
    series_uid: str | None = None,
    number: int = 1,
    *,
    size: int = 32,
    seed: int = 0,
) -> Dataset:
    """One CT image that is complete, as a sender holds it."""
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID = study_uid or generate_uid()
    image.SeriesInstanceUID = series_uid or generate_uid()
    image.PatientID, image.PatientName = "P1", "Test^Patient"
    image.PatientBirthDate, image.PatientSex = "19600101", "O"
    image.StudyDate, image.StudyTime, image.AccessionNumber = "20240102", "101112", "A1"
    image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 2, number
    image.StudyDescription, image.SeriesDescription, image.BodyPartExamined = "CT chest", "thin", "CHEST"
    image.Rows = image.Columns = size
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 1
    pixels = np.random.default_rng(seed + number).integers(-1000, 1000, (size, size), dtype=np.int16)
    image.PixelData = pixels.tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def ct_series(count: int, study_uid: str | None = None, *, size: int = 32) -> list[Dataset]:
    study_uid, series_uid = study_uid or generate_uid(), generate_uid()
    return [ct_slice(study_uid, series_uid, number, size=size) for number in range(1, count + 1)]


def connect(
    port: int,
    contexts: Iterable[tuple[str, str]] = ((CTImageStorage, ExplicitVRLittleEndian),),
    caller: str = "CT1",
) -> Association:
    """Ask for an association, for (SOP class, transfer syntax) pairs."""
    sender = AE(caller)
    sender.acse_timeout = sender.dimse_timeout = sender.network_timeout = 30
    for sop_class, transfer_syntax in contexts:
        sender.add_requested_context(sop_class, transfer_syntax)
    return sender.associate("127.0.0.1", port, ae_title="OVERREAD")


def send(port: int, images: Sequence[Dataset], caller: str = "CT1") -> list[int]:
    """Send over one association; return the status of each image."""
    contexts = {(str(i.SOPClassUID), str(i.file_meta.TransferSyntaxUID)) for i in images}
    association = connect(port, contexts, caller)
    assert association.is_established
    try:
        return [association.send_c_store(image).Status for image in images]
    finally:
        association.release()


def encoded(image: Dataset) -> bytes:
    """The data set as it goes over the wire."""
    transfer_syntax = image.file_meta.TransferSyntaxUID
    data = encode(image, transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)
    assert data is not None
    return data


def in_transfer_syntax(image: Dataset, transfer_syntax: UID) -> tuple[str, bytes]:
    """The image's UID, and its data set in ``transfer_syntax``; what is compressed in it is made up."""
    image.file_meta.TransferSyntaxUID = transfer_syntax
    if not transfer_syntax.is_encapsulated:
        data = encode(image, transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)
        assert data is not None
        if transfer_syntax.is_deflated:
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            data = deflater.compress(data) + deflater.flush()
        return str(image.SOPInstanceUID), data
    image.PixelData = encapsulate([b"\xff\xd8 not really an image \xff\xd9"])
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    return str(image.SOPInstanceUID), encoded(image)
