"""Passwords of the status page: what they have to be, and how they are kept (argon2id, RFC 9106)."""

from __future__ import annotations

import os
import threading
import unicodedata
from base64 import b64encode

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

SHORTEST, LONGEST = 12, 1024  # characters
SECONDS_TO_WAIT = 5.0  # for others whose passwords are looked at


_hasher = PasswordHasher()


def _of_no_password() -> str:
    """Looks as a hash does and takes as long to compare with, and no password was hashed for it."""
    lengths = (_hasher.salt_len, _hasher.hash_len)
    salt, digest = (b64encode(os.urandom(length)).decode().rstrip("=") for length in lengths)
    cost = f"m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${digest}"


_NOBODYS = _of_no_password()  # so that an unknown name takes as long as a known one
_turns = threading.BoundedSemaphore(2)  # each takes 64 MiB and a core


class PasswordError(ValueError):
    """A password that will not do; the message says why."""


class BusyError(RuntimeError):
    """Too many passwords are being looked at."""


def hashed(name: str, password: str) -> str:
    """``password`` as it is kept.

    Raises:
        PasswordError: it is too short, too long, or the name.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise PasswordError(f"A password has {SHORTEST} to {LONGEST} characters.")
    if password.strip().lower() == name.lower() or len(set(password)) < 4:
        raise PasswordError("This password is too easy to guess; three or four words make a good one.")
    return _hasher.hash(_plain(password))


def is_right(password: str, kept: str | None) -> bool:
    """Whether ``password`` is the one ``kept``; None is nobody's, and never right.

    Raises:
        BusyError: too many are being looked at.
    """
    if len(password) > LONGEST:
        return False
    if not _turns.acquire(timeout=SECONDS_TO_WAIT):
        raise BusyError("Too many people are logging in at the moment. Try again in a minute.")
    try:
        return _hasher.verify(kept or _NOBODYS, _plain(password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False
    finally:
        _turns.release()


def is_outdated(kept: str) -> bool:
    """Whether it was made with less than is usual now."""
    return _hasher.check_needs_rehash(kept)


def _plain(password: str) -> bytes:
    """The same for every keyboard that can type it (NFKC)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")
