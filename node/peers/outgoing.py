"""Files on their way out: what each is, by its head alone, and its data set as a stream."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from node.wire.negotiation import MAXIMUM_CONTEXTS, Kind
from storage.files import is_of_file
from storage.part10 import NotPart10Error, decode_head

HEAD = 4096  # bytes that hold the File Meta Information of nearly every file
OBJECTS_PER_ASSOCIATION = 2000
VERIFICATION: Kind = ("1.2.840.10008.1.1", str(ImplicitVRLittleEndian))


class UnsendableError(ValueError):
    """The file cannot be sent; the message says why."""


@dataclass(frozen=True)
class Outgoing:
    """A file to be sent. ``offset`` is where its data set starts; None where only pydicom can tell."""

    path: Path
    sop_class: UID
    uid: str
    syntax: UID
    offset: int | None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The ways it can travel, the best first: as it is, or with its value representations left out."""
        as_it_is = (str(self.sop_class), str(self.syntax))
        if self.syntax == ExplicitVRLittleEndian:
            return as_it_is, (str(self.sop_class), str(ImplicitVRLittleEndian))
        return (as_it_is,)

    @contextmanager
    def data_set(self, syntax: str) -> Iterator[tuple[BinaryIO, int]]:
        """The data set in ``syntax``, one of ``kinds``, and its size in bytes.

        Raises:
            UnsendableError: it is gone, or cannot be encoded in ``syntax``.
            OSError: it cannot be read for now.
        """
        if syntax == self.syntax and self.offset is not None:
            with self._opened() as file:
                file.seek(self.offset)
                yield file, os.fstat(file.fileno()).st_size - self.offset
            return
        data = _encoded(self.path, UID(syntax))
        yield io.BytesIO(data), len(data)

    def _opened(self) -> BinaryIO:
        try:
            return cast(BinaryIO, self.path.open("rb", buffering=0))
        except OSError as error:
            if not is_of_file(self.path, error):
                raise
            raise UnsendableError(f"it cannot be opened: {error.strerror or error}") from error


def outgoing(path: Path) -> Outgoing:
    """What ``path`` holds.

    Raises:
        UnsendableError: it is gone, or no DICOM file.
        OSError: it cannot be read for now.
    """
    try:
        with path.open("rb") as file:
            start = file.read(HEAD)
        try:
            head = decode_head(start)
        except (NotPart10Error, struct.error):
            meta = read_file_meta_info(path)
            sop_class, uid = meta.MediaStorageSOPClassUID, str(meta.MediaStorageSOPInstanceUID)
            return Outgoing(path, sop_class, uid, meta.TransferSyntaxUID, None)
    except Exception as error:  # pydicom raises whatever a damaged element leads it to
        if not is_of_file(path, error):
            raise
        raise UnsendableError(f"not a DICOM file that can be sent: {error}") from error
    if not (head.sop_class and head.uid and head.transfer_syntax):
        raise UnsendableError("not a DICOM file that can be sent: its head lacks a UID")
    return Outgoing(path, UID(head.sop_class), head.uid, UID(head.transfer_syntax), head.offset)


def association_batches(objects: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """The objects in order, split where one association could not hold the contexts they need."""
    batch: list[Outgoing] = []
    kinds: set[Kind] = {VERIFICATION}
    for each in objects:
        full = len(kinds.union(each.kinds)) > MAXIMUM_CONTEXTS
        if full or len(batch) == OBJECTS_PER_ASSOCIATION:
            yield batch
            batch, kinds = [], {VERIFICATION}
        batch.append(each)
        kinds.update(each.kinds)
    if batch:
        yield batch


def contexts(batch: Sequence[Outgoing]) -> list[Kind]:
    """One context for each way an object can go. Verification is asked for beside them, or a peer that
    accepts none would end the association, and could not be told from one that is away."""
    return [VERIFICATION, *sorted({kind for each in batch for kind in each.kinds})]


def _encoded(path: Path, syntax: UID) -> bytes:
    try:
        data = encode(dcmread(path), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    except Exception as error:  # as above
        if not is_of_file(path, error):
            raise
        raise UnsendableError(f"it cannot be encoded as {syntax.name}: {error}") from error
    if data is None:
        raise UnsendableError(f"it cannot be encoded as {syntax.name}")
    return data
