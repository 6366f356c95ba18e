"""A stand-in PACS: keeps what is sent to it and serves it again. For the demo and tests, not for patients."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydicom import Dataset, dcmread
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from node.demo.query import answers, matching
from node.intake.contexts import TRANSFER_SYNTAXES

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
SUCCESS, PENDING, CANCEL = 0x0000, 0xFF00, 0xFE00
NO_RESOURCES, NOT_MATCHING = 0xA700, 0xA900
MOST_CONTEXTS = 128  # of one association, PS3.8 9.3.2.2


class StandInPacs:
    """Stores by C-STORE, finds by C-FIND and sends by C-MOVE to the ``destinations`` it knows by AE title.

    folder: where the files are kept; those found there at the start are served too.
    port: 0 takes a free one, which ``port`` names after ``start``.
    """

    def __init__(
        self,
        folder: Path,
        ae_title: str = "PACS",
        port: int = 0,
        destinations: Mapping[str, tuple[str, int]] | None = None,
    ) -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.port = port
        self.destinations = dict(destinations or {})
        self._held: dict[str, tuple[Path, Dataset]] = {}
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.dcm")):
            self._hold(path)
        ae = AE(ae_title=self.ae_title)
        ae.maximum_pdu_size = 256 * 1024
        services = (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_MOVE)
        ae.supported_contexts = [build_context(uid) for uid in services] + [
            build_context(c.abstract_syntax or "", list(TRANSFER_SYNTAXES))
            for c in AllStoragePresentationContexts
        ]
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_MOVE, self._move),
        ]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        assert server is not None  # as it does not block
        self._server, self.port = server, server.server_address[1]
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def objects(self, study_uid: str | None = None) -> list[Dataset]:
        """What it holds, without pixel data, in the order of arrival."""
        with self._lock:
            headers = [header for _, header in self._held.values()]
        return [h for h in headers if study_uid in (None, h.get("StudyInstanceUID"))]

    def path_of(self, sop_instance_uid: str) -> Path:
        """
        Raises:
            KeyError: it holds no such object.
        """
        return self._held[sop_instance_uid][0]

    def _hold(self, path: Path) -> None:
        header = dcmread(path, stop_before_pixels=True)
        with self._lock:
            self._held[str(header.SOPInstanceUID)] = (path, header)

    def _store(self, event: evt.Event) -> int:
        request: Any = event.request
        name = hashlib.sha256(str(request.AffectedSOPInstanceUID).encode()).hexdigest()[:32]
        path = self.folder / f"{name}.dcm"
        try:
            path.write_bytes(event.encoded_dataset())
        except OSError:
            return NO_RESOURCES
        self._hold(path)
        return SUCCESS

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        try:
            for answer in answers(event.identifier, self.objects()):
                if event.is_cancelled:
                    yield CANCEL, None
                    return
                yield PENDING, answer
        except ValueError:
            yield NOT_MATCHING, None

    def _move(self, event: evt.Event) -> Iterator[Any]:
        address = self.destinations.get(str(event.move_destination).strip())
        if address is None:
            yield None, None  # pynetdicom answers 0xA801, move destination unknown
            return
        chosen = matching(event.identifier, self.objects())
        images = [dcmread(self.path_of(str(header.SOPInstanceUID))) for header in chosen]
        yield *address, {"contexts": _contexts(images)}
        yield len(images)
        for image in images:
            if event.is_cancelled:
                yield CANCEL, None
                return
            yield PENDING, image


def _contexts(images: Sequence[Dataset]) -> list[PresentationContext]:
    kinds = sorted({(str(image.SOPClassUID), str(image.file_meta.TransferSyntaxUID)) for image in images})
    return [build_context(sop_class, syntax) for sop_class, syntax in kinds[:MOST_CONTEXTS]]
