"""Storage commitment (PS3.4 J): a destination takes responsibility for what it was sent, object by object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.dsutils import decode, encode

from storage import deliveries
from storage.database import Database
from storage.events import log_event

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
KIND = (PUSH_MODEL, str(ImplicitVRLittleEndian))
FAILURES = {  # PS3.3 C.14.1.1, Failure Reason
    0x0110: "it failed to process it",
    0x0112: "it does not have it",
    0x0119: "it has another class there",
    0x0122: "it does not support its class",
    0x0131: "it knows the transaction already",
    0x0213: "it lacks the resources",
}


class MalformedReportError(ValueError):
    """The bytes are no storage commitment result."""


@dataclass(frozen=True)
class Report:
    """What a destination says of a transaction: UIDs of the objects it keeps, and of those it does not, with
    the Failure Reason (0008,1197)."""

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int]


def encode_request(transaction_uid: str, references: Iterable[tuple[str, str]]) -> bytes:
    """The Action Information (PS3.4 Table J.3-1) for SOP class and instance UIDs, implicit little endian."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [_reference(*reference) for reference in references]
    data = encode(request, is_implicit_vr=True, is_little_endian=True)
    assert data is not None  # it holds UIDs alone
    return data


def decode_report(data: bytes, syntax: str) -> Report:
    """Read the Event Information (PS3.4 Table J.3-2), encoded in the transfer syntax ``syntax``.

    Raises:
        MalformedReportError: it is broken, or names no transaction.
    """
    try:
        uid = UID(syntax)
        report = decode(BytesIO(data), uid.is_implicit_VR, uid.is_little_endian, uid.is_deflated)
        return Report(
            str(report.TransactionUID),
            frozenset(
                str(item.ReferencedSOPInstanceUID) for item in report.get("ReferencedSOPSequence") or ()
            ),
            {
                str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or 0)
                for item in report.get("FailedSOPSequence") or ()
            },
        )
    except Exception as error:  # pydicom raises whatever bytes of ill will lead it to
        raise MalformedReportError(f"no storage commitment result: {error}") from error


def record(database: Database, report: Report) -> bool:
    """Write down what ``report`` says, and have sent again what was not committed.

    Returns whether the transaction is one that waits for its result.
    """
    with database.session() as session:
        asked = deliveries.in_transaction(session, report.transaction_uid)
        for delivery in asked:
            note = partial(
                log_event, session, "deliver", study_uid=delivery.study_uid, revision=delivery.revision
            )
            what = delivery.kind.upper()
            if delivery.object_uid in report.committed and delivery.object_uid not in report.failed:
                deliveries.record_confirmed(session, delivery.id)
                note(f"{delivery.destination} confirms that it keeps the {what}")
            elif delivery.object_uid in report.failed:
                reason = report.failed[delivery.object_uid]
                why = FAILURES.get(reason, f"reason 0x{reason:04X}")
                if deliveries.record_not_committed(session, delivery.id, f"not committed: {why}"):
                    text = f"{delivery.destination} did not commit the {what} ({why}): it is sent again"
                    note(text, level="warning")
                else:
                    text = f"{delivery.destination} did not commit the {what} ({why}), for the last time"
                    note(text, level="error")
            deliveries.settle(session, delivery.study_uid, delivery.revision)
    return bool(asked)


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item
