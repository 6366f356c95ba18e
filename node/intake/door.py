"""Who is let in, and how many at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from node.intake.callers import Caller, how_to_allow, is_allowed
from node.intake.negotiation import LIMIT_EXCEEDED
from node.intake.notes import RefusalNotes
from node.settings import DicomSettings
from node.wire.negotiation import CALLER_NOT_RECOGNISED
from storage.audit import AuditEntry
from storage.database import now
from storage.events import count_of
from storage.refusals import NO_STATUS, Refused
from storage.resends import Resent

MOST_TROUBLES, MOST_ADDRESSES = 10, 1000  # of refused callers that are told apart
PLACES_TO_WAIT = 256  # of connections that have yet to say who they are

Rejection = tuple[int, int, int]
"""Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""


class Guest(Protocol):
    """A connection."""

    @property
    def address(self) -> str: ...

    def cut(self) -> None: ...


class Door:
    """Counts connections, those that have yet to introduce themselves apart from associations, so that who
    says nothing takes no sender's place."""

    def __init__(self, settings: DicomSettings, notes: RefusalNotes) -> None:
        self._settings = settings
        self._notes = notes
        self._lock = threading.Lock()
        self._waiting: dict[Guest, bool] = {}  # in the order of their coming; True once told to go
        self._inside: dict[Guest, str] = {}
        self._by_address: Counter[str] = Counter()
        self._troubles: dict[str, set[tuple[str, str]]] = {}  # with those refused, by address

    def knock(self, guest: Guest) -> None:
        """Somebody connects. Where too many wait already, the one who has waited longest, of the address with
        the most of them, is sent away; who was rejected, and is only heard out, was noted then."""
        with self._lock:
            self._waiting[guest] = False
            if len(self._waiting) <= PLACES_TO_WAIT:
                return
            longest = self._longest_waiting()
            rejected = self._waiting.pop(longest)
        longest.cut()
        if not rejected:
            self.distrust(longest.address, "it kept silent, and others waited for its place")

    def admit(self, guest: Guest, caller: Caller) -> Rejection | None:
        """Somebody asks for an association. None: it is granted; else the guest keeps its place among those
        who wait until it leaves."""
        if not self.is_welcome(caller):
            self._told_to_go(guest)
            return CALLER_NOT_RECOGNISED
        with self._lock:
            limit = self._limit_reached(guest.address)
            if not limit:
                self._waiting.pop(guest, None)
                self._inside[guest] = guest.address
                self._by_address[guest.address] += 1
        if limit:
            self._told_to_go(guest)
            reason = f"{caller} was told to come back: {limit}, and as many associations are open"
            self._turn_away(caller, f"{reason}. Raise it if that is seen often", "too many")
            return LIMIT_EXCEEDED
        return None

    def is_welcome(self, caller: Caller) -> bool:
        """Whether the settings allow ``caller``; noted if not."""
        allowed = is_allowed(self._settings.allowed_callers, caller)
        if not allowed:
            reason = f"{caller} is not among dicom.allowed_callers, so its association was rejected"
            advice = how_to_allow(self._settings.allowed_callers, caller)
            self._turn_away(caller, f"{reason}. {advice}", "unknown")
        return allowed

    def leave(self, guest: Guest) -> None:
        with self._lock:
            self._waiting.pop(guest, None)
            address = self._inside.pop(guest, None)
            if address is not None:
                self._by_address[address] -= 1
                if not self._by_address[address]:
                    del self._by_address[address]

    def distrust(self, address: str, why: str) -> None:
        """Note a connection that never became an association: its certificate, its silence, or nonsense."""
        reason = f"a connection from {address} was ended: {why}"
        self._turn_away(Caller("", address), reason, why)

    def lose(self, caller: Caller, why: str) -> None:
        """Note an association that was aborted because the peer did not keep to the protocol."""
        reason = f"the association of {caller} was aborted: {why}"
        self._turn_away(caller, reason, why)

    def received(
        self, caller: Caller, objects: Mapping[str, int], were_here: Mapping[str, int], refused: int
    ) -> None:
        """Note in the audit trail what an association brought: how many objects of each study, and how many
        that were not accepted; and on the timelines, how many were here before."""
        who = f"{caller.ae_title} ({caller.certificate.subject})" if caller.certificate else caller.ae_title
        for study_uid, count in objects.items():
            text = f"sent {count_of(count, 'object')}"
            self._notes.enter(AuditEntry(now(), "received", who, caller.address, text, study_uid))
        for study_uid, count in were_here.items():
            self._notes.enter(Resent(now(), study_uid, caller.ae_title or "an unknown sender", count))
        if refused:
            text = f"sent {count_of(refused, 'object')} that could not be accepted"
            self._notes.enter(AuditEntry(now(), "received", who, caller.address, text))

    def _limit_reached(self, address: str) -> str:
        """The setting that lets nobody more in from ``address``; empty where there is room."""
        settings = self._settings
        if len(self._inside) >= settings.maximum_associations:
            return f"dicom.maximum_associations is {settings.maximum_associations}"
        if self._by_address[address] >= settings.maximum_associations_per_sender:
            return f"dicom.maximum_associations_per_sender is {settings.maximum_associations_per_sender}"
        return ""

    def _turn_away(self, caller: Caller, reason: str, why: str) -> None:
        moment = now()
        refused = Refused(moment, caller.ae_title, caller.address, NO_STATUS, reason)
        trouble = (caller.address, self._one_of_few(caller.address, caller.ae_title, why))
        if self._notes.now_and_then(refused, trouble):
            audit = AuditEntry(moment, "turned-away", caller.ae_title or "unknown", caller.address, reason)
            self._notes.enter(audit)

    def _one_of_few(self, address: str, name: str, why: str) -> tuple[str, str]:
        """Under which name it came, and why it is turned away, unless that is something else each time."""
        with self._lock:
            if len(self._troubles) > MOST_ADDRESSES:
                self._troubles.clear()
            met = self._troubles.setdefault(address, set())
            if len(met) < MOST_TROUBLES:
                met.add((name, why))
            return (name, why) if (name, why) in met else ("another", "")

    def _told_to_go(self, guest: Guest) -> None:
        with self._lock:
            if guest in self._waiting:  # else it was cut meanwhile
                self._waiting[guest] = True

    def _longest_waiting(self) -> Guest:
        most, _ = Counter(guest.address for guest in self._waiting).most_common(1)[0]
        return next(guest for guest in self._waiting if guest.address == most)
