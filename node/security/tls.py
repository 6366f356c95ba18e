"""TLS as BCP 195 (RFC 8996, RFC 9325) and DICOM's profile of it (PS3.15 B.12) want it, for both directions.

The files are read anew when one of them changes; should they not fit then, the earlier ones stay in force.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.security.distinguished_name import Attribute, as_text, attributes_in
from node.security.terms import Term, terms_in

log = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"  # of TLS 1.2: forward secret, AEAD; RSA from 2048 bits
NO_TLS = {
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "BAD_RECORD_TYPE",
}
REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks only TLS older than 1.2",
    "VERSION_TOO_LOW": "it speaks only TLS older than 1.2",
    "NO_SHARED_CIPHER": "it knows none of the ciphers of BCP 195",
}


class TlsError(RuntimeError):
    """Certificates that cannot be used, or a peer's that is not accepted; the message says why."""


@dataclass(frozen=True)
class PeerCertificate:
    """What a verified certificate says of a peer: the ``attributes`` of its subject, and as ``fingerprint``
    the SHA-256 of the certificate in hexadecimal digits."""

    attributes: tuple[Attribute, ...]
    fingerprint: str

    @property
    def subject(self) -> str:
        """As ``O=Hospital,CN=ct1``."""
        return as_text(self.attributes)

    def is_as(self, wanted: str) -> bool:
        """Whether it is the certificate ``sha256:…``, or its subject has every part of ``CN=…,O=…``."""
        kind, _, digits = wanted.partition(":")
        if kind.lower() == "sha256":
            return self.fingerprint == digits.replace(":", "").lower()
        return set(attributes_in(wanted)) <= set(self.attributes)


@dataclass(frozen=True)
class Files:
    """PEM files. ``authorities`` makes certificates of the other side compulsory; ``revoked`` are lists of
    those that are no longer good."""

    certificate: Path
    private_key: Path
    password: Path | None = None
    authorities: Path | None = None
    revoked: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        places = (self.certificate, self.private_key, self.password, self.authorities, self.revoked)
        return tuple(place for place in places if place is not None)


class Identity:
    """Who this node is on the network, and whom it trusts.

    Raises:
        TlsError: a file is absent, or they do not fit together.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self._lock = threading.Lock()
        self._state = self._look()
        self._accepting, self._calling = self._read()
        self.problem: str | None = None
        """Why the files that changed last are not in force; None when they are."""

    def accepting(self) -> ssl.SSLContext:
        """For connections that others make."""
        return self._current()[0]

    def calling(self) -> ssl.SSLContext:
        """For connections to others, whose certificate has to bear the name they are called by."""
        return self._current()[1]

    def valid_until(self) -> datetime:
        """When the certificate ends.

        Raises:
            TlsError: it has ended, or not begun.
        """
        trusting = _context(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname = False
        trusting.load_verify_locations(self.files.certificate)
        open_ = _context(ssl.PROTOCOL_TLS_SERVER)
        _load_own(open_, self.files)
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting.wrap_bio(to_client, to_server)
        server = open_.wrap_bio(to_server, to_client, server_side=True)
        try:
            for side in (client, server, client):
                _handshake_as_far_as_it_goes(side)
        except ssl.SSLCertVerificationError as error:
            raise TlsError(f"{self.files.certificate}: {error.verify_message}") from error
        ends = (client.getpeercert() or {})["notAfter"]
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(ends)), UTC)

    def terms(self) -> list[tuple[Path, Term]]:
        """How long what others are trusted by is in force, and in which file it is.

        Raises:
            TlsError: a file cannot be read.
        """
        found: list[tuple[Path, Term]] = []
        for place in (self.files.authorities, self.files.revoked):
            if place is None:
                continue
            try:
                found += [(place, term) for term in terms_in(place.read_bytes(), datetime.now(UTC))]
            except OSError as error:
                raise TlsError(f"{place} cannot be read: {error.strerror}") from error
            except ValueError as error:
                raise TlsError(f"{place} cannot be understood: {error}") from error
        return found

    def _current(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        with self._lock:
            state = self._look()
            if state != self._state:
                self._state = state
                try:
                    self._accepting, self._calling = self._read()
                except TlsError as error:
                    self.problem = f"the TLS files changed, and the earlier ones stay in force: {error}"
                    log.error("%s", self.problem)
                else:
                    self.problem = None
                    log.info("The TLS files changed and were read anew.")
            return self._accepting, self._calling

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_state_of(place) for place in self.files.all)

    def _read(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        accepting, calling = _context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT)
        accepting.num_tickets = 0  # a resumed session would outlive its certificate
        accepting.options |= ssl.OP_NO_TICKET
        for context in (accepting, calling):
            _load_own(context, self.files)
            _load_trusted(context, self.files)
        accepting.verify_mode = ssl.CERT_REQUIRED if self.files.authorities else ssl.CERT_NONE
        return accepting, calling


def identity_of(files: Files | None) -> Identity | None:
    """Who this node is by these files; None where none are set.

    Raises:
        TlsError: a file is absent, or they do not fit together.
    """
    return None if files is None else Identity(files)


def certificate_of(connection: ssl.SSLSocket) -> PeerCertificate | None:
    """What the peer showed in the handshake, after it was verified; None where none was asked for."""
    said: dict[str, Any] = connection.getpeercert() or {}
    raw = connection.getpeercert(binary_form=True)
    if not said or not raw:
        return None
    attributes = tuple((kind, value) for part in said["subject"] for kind, value in part)
    return PeerCertificate(attributes, hashlib.sha256(raw).hexdigest())


def in_words(error: OSError) -> str:
    """Why a handshake, or what came after it, failed: a sentence about the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it did not finish the TLS handshake in time"
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return "it hung up; does it accept this node's certificate?"
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error) or "it hung up"
    reason = error.reason or ""
    if reason in NO_TLS:
        return "it speaks no TLS"
    if "ALERT" in reason:
        said = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"it does not accept this node's certificate or ciphers ({said})"
    return REASONS.get(reason, f"the TLS handshake failed ({reason.replace('_', ' ').lower() or error})")


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF  # a PDU tells its length: a cut is seen without TLS
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a peer's own certificate may be trusted by itself
    return context


def _load_own(context: ssl.SSLContext, files: Files) -> None:
    def password() -> str:
        return _told(files.password) if files.password else ""

    try:
        context.load_cert_chain(files.certificate, files.private_key, password)
    except FileNotFoundError as error:
        missing = next((f for f in (files.certificate, files.private_key) if not f.exists()), error.filename)
        raise TlsError(f"{missing} does not exist") from error
    except ssl.SSLError as error:
        raise TlsError(
            f"{files.certificate} and {files.private_key} are no certificate and its key in PEM, or the key "
            f"wants another password ({_reason(error)})"
        ) from error
    except OSError as error:
        raise TlsError(f"{files.private_key} cannot be read: {error.strerror or error}") from error


def _load_trusted(context: ssl.SSLContext, files: Files) -> None:
    for place, what in ((files.authorities, "certificate"), (files.revoked, "revocation list")):
        if place is None:
            continue
        try:
            context.load_verify_locations(place)
        except FileNotFoundError as error:
            raise TlsError(f"{place} does not exist") from error
        except OSError as error:
            raise TlsError(f"{place} holds no {what} in PEM ({_reason(error)})") from error
    if files.revoked is not None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or str(error)).replace("_", " ").lower()


def _told(place: Path) -> str:
    try:
        return place.read_text().strip()
    except OSError as error:
        raise TlsError(f"{place} cannot be read: {error.strerror}") from error


def _state_of(place: Path) -> tuple[int, int, int] | None:
    try:
        status = place.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _handshake_as_far_as_it_goes(side: ssl.SSLObject) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return
