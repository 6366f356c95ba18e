"""Receives with pynetdicom as it comes: slower than ``transport``, and nothing in it is ours."""

from __future__ import annotations

from io import BytesIO
from typing import cast

from pydicom import Dataset
from pynetdicom import AE, evt, register_uid
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class
from pynetdicom.transport import ThreadedAssociationServer

from node.intake.acceptance import Acceptance
from node.intake.callers import Caller
from node.intake.contexts import RETIRED_STORAGE_CLASSES, supported_contexts
from node.intake.door import Door
from node.intake.examination import Announcement
from node.intake.tally import Tally
from node.settings import DicomSettings
from storage.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

_REJECT_CALLER = (0x01, 0x01, 0x03)  # permanent, by the service user: calling AE title not recognised


class StockListener:
    """A listening socket whose associations pynetdicom serves, each with two polling threads."""

    def __init__(self, settings: DicomSettings, ae_title: str, acceptance: Acceptance, door: Door) -> None:
        self._settings = settings
        self._door = door
        self._acceptance = acceptance
        self._server: ThreadedAssociationServer | None = None
        self._tallies: dict[Association, Tally] = {}
        self._ae = AE(ae_title)
        self._ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION
        self._ae.maximum_associations = settings.maximum_associations
        self._ae.maximum_pdu_size = 256 * 1024
        self._ae.network_timeout = settings.network_timeout
        for uid in (*RETIRED_STORAGE_CLASSES, *settings.private_sop_classes):
            if uid_to_service_class(uid) is not StorageServiceClass:
                register_uid(uid, f"Storage_{uid.replace('.', '_')}", StorageServiceClass)

    def start(self) -> int:
        """Listen; return the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._server = self._ae.start_server(
            (self._settings.host, self._settings.port),
            block=False,
            contexts=supported_contexts(self._settings.private_sop_classes),
            evt_handlers=[
                (evt.EVT_REQUESTED, self._on_request),
                (evt.EVT_ACCEPTED, self._on_accepted),
                (evt.EVT_CONN_CLOSE, self._on_close),
                (evt.EVT_C_ECHO, self._on_echo),
                (evt.EVT_C_STORE, self._on_store),
            ],
        )
        assert self._server is not None  # since it does not block
        return int(self._server.server_address[1])

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            associations = server.active_associations
            server.shutdown()
            for association in associations:
                association.abort()
                association.join(timeout=5)

    def _on_request(self, event: Event) -> None:
        if not self._door.is_welcome(_caller(event)):
            event.assoc.acse.send_reject(*_REJECT_CALLER)
            event.assoc.kill()

    def _on_accepted(self, event: Event) -> None:
        self._tallies[event.assoc] = Tally(self._door, _caller(event))

    def _on_close(self, event: Event) -> None:
        tally = self._tallies.pop(event.assoc, None)
        if tally is not None:
            tally.tell()

    @staticmethod
    def _on_echo(_event: Event) -> int:
        return 0x0000

    def _on_store(self, event: Event) -> Dataset:
        caller = _caller(event)
        request = cast(C_STORE, event.request)
        announced = Announcement(
            sop_class=str(request.AffectedSOPClassUID or ""),
            uid=str(request.AffectedSOPInstanceUID or ""),
            transfer_syntax=str(event.context.transfer_syntax),
            caller=caller.ae_title,
            address=caller.address,
            fetched=str(request.MoveOriginatorApplicationEntityTitle or "").strip()
            in (self._ae.ae_title, caller.ae_title),
            abstract_syntax=str(event.context.abstract_syntax),
        )
        arrival = self._acceptance.begin(announced)
        arrival.write(cast(BytesIO, request.DataSet).getbuffer())
        answer = arrival.finish()
        self._tallies[event.assoc].add(answer)
        response = Dataset()
        response.Status = answer.status
        if answer.comment:
            response.ErrorComment = answer.comment[:64]
        return response


def _caller(event: Event) -> Caller:
    requestor = event.assoc.requestor
    primitive = requestor.primitive
    title = primitive.calling_ae_title if primitive else requestor.ae_title
    return Caller(str(title).strip(), str(requestor.address))
