"""The sender that a node knows, and how fast it gets rid of CT images while others do their worst."""

from __future__ import annotations

import itertools
import shutil
import time
from io import BytesIO
from pathlib import Path

from storage.archive import Archive
from tests.faults.strangers import Target
from tests.node.intake.senders import ct_slice

ROOT = "1.2.826.0.1.3680043.10.999"
OF_THIS_STUDY = b"9999999999"  # in every UID of the images as they are made, and another number in each study


class KnownSender:
    """Sends studies of ``count`` images of 0.5 MB, each under UIDs of its own and over an association of its
    own. What the node has kept of a study is cleared away after the next: many of them fill a memory."""

    def __init__(self, target: Target, count: int) -> None:
        self._destination = target.destination("ct1")
        self._folder = target.folder / "out"
        self._folder.mkdir(exist_ok=True)
        self._archive = Archive(target.folder / "data", durable=False)
        self._images = [_image(number) for number in range(count)]
        self._studies = itertools.count(10 ** (len(OF_THIS_STUDY) - 1))
        self._kept: Path | None = None

    @property
    def count(self) -> int:
        return len(self._images)

    def send(self) -> float:
        """Send a study; returns the seconds it took.

        Raises:
            RuntimeError: an image was not taken.
        """
        study = str(next(self._studies))
        paths = [self._folder / f"{number}.dcm" for number in range(self.count)]
        for path, image in zip(paths, self._images, strict=True):
            path.write_bytes(image.replace(OF_THIS_STUDY, study.encode()))
        started = time.perf_counter()
        receipts = list(self._destination.send(paths))
        seconds = time.perf_counter() - started
        if bad := [receipt.reason for receipt in receipts if receipt.outcome != "sent"]:
            raise RuntimeError(f"{len(bad)} images were not taken: {bad[0]}")
        if self._kept is not None:
            shutil.rmtree(self._kept, ignore_errors=True)
        self._kept = self._archive.path(self._archive.image_path(_uid(1, study), _uid(3, study))).parent
        return seconds


def _uid(kind: int, study: str, number: int = 0) -> str:
    return f"{ROOT}.{kind}.{study}.{number}"


def _image(number: int) -> bytes:
    study = OF_THIS_STUDY.decode()
    image = ct_slice(_uid(1, study), _uid(2, study), number, size=512)
    image.SOPInstanceUID = _uid(3, study, number)
    with BytesIO() as file:
        image.save_as(file, enforce_file_format=True)
        return file.getvalue()
