"""The file archive: images as they were sent, results of readings, what was refused and what was set aside.

Files are the truth and rows follow. An image is written under a unique name in ``incoming``, made durable,
then linked to its place under ``images``; the name in ``incoming`` stays until its row is committed. What is
kept already and comes again stays a file of its own there as long, under a name that says so. What lies in
``incoming`` on start is therefore all that a crash can have left: a file with a second link is an image
without a row, one that came again opens its study where it has to, and any other is debris.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

from storage.durable import GroupSync, sync_files
from storage.part10 import data_set_offset

FOLDERS = ("images", "results", "quarantine", "set-aside", "incoming")
_LOCK = "incoming.lock"  # in an archive's root; whoever receives holds it
_FETCHED = "-fetched"  # ends the name in incoming of what this node asked for
_AGAIN = ".again"  # suffix of the name in incoming of what was kept before
_CHUNK = 1 << 20
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_UID = re.compile(r"[0-9]+(\.[0-9]+)*\Z")


class ArchiveError(RuntimeError):
    """The archive's folder cannot be used; the message says what to do."""


class UnsafeUidError(ValueError):
    """A UID that is not digits and dots, at most 64 of them (PS3.5 9.1), and so never becomes a path."""


class ContentConflictError(ValueError):
    """Another object is already kept under the same UID; the first stays."""


@dataclass(frozen=True)
class Kept:
    """An image in its place. ``path`` is relative to the archive's root; ``incoming_name`` is what is left
    in ``incoming``; ``is_new`` is False when the very same object was there before."""

    path: str
    size: int
    incoming_name: str
    is_new: bool


@dataclass(frozen=True)
class IncomingFile:
    """A file being received, open for writing and reading under a name nobody else uses."""

    path: str
    name: str
    fd: int

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of ``data``; a short write goes on where it stopped.

        Raises:
            OSError: the disk is full or failed.
        """
        written = os.write(self.fd, data)
        while written < len(data):
            written += os.write(self.fd, memoryview(data)[written:])

    def discard(self) -> None:
        """Close it, and leave nothing of it, unless it has its place among the images already: with its name
        here, it is entered by the next start."""
        has_its_place = os.fstat(self.fd).st_nlink > 1
        os.close(self.fd)
        if not has_its_place:
            Path(self.path).unlink(missing_ok=True)


class Archive:
    """The folders under ``root``: images, results, quarantine, set-aside, incoming.

    ``durable`` False leaves out every fsync, for a site whose storage survives a power cut by itself.
    """

    def __init__(self, root: Path, durable: bool = True) -> None:
        self.root = root
        self.durable = durable
        self.images = root / "images"
        self.results = root / "results"
        self.quarantine = root / "quarantine"
        self.set_aside = root / "set-aside"
        self.incoming = root / "incoming"
        self._root, self._incoming = str(self.root), str(self.incoming)  # Path costs more than a system call
        self._sync = GroupSync()
        self._session = f"{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(3)}"
        self._numbers = itertools.count(1)
        self._lock_fd: int | None = None
        self._known_folders: set[str] = set()
        try:
            for name in FOLDERS:
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            may = ", or give this user the right to write there" if isinstance(error, PermissionError) else ""
            raise ArchiveError(
                f"The archive's folder {root} cannot be made ({error.strerror}). "
                f"Choose another node.data_dir{may}."
            ) from error

    # who may receive

    def claim(self) -> Self:
        """Make this process the one that receives into the archive, and make sure that it can.

        Raises:
            ArchiveError: another process receives here, or the folder does not take files and links.
        """
        if self._lock_fd is not None:
            return self
        try:
            lock = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(lock)
                raise ArchiveError(
                    f"Another Overread already receives into {self.root}. "
                    "Stop it, or choose another node.data_dir."
                ) from error
            self._lock_fd = lock
            probe = self.receive()
            probe.write(b"probe")
            second = self.incoming / "probe"
            second.unlink(missing_ok=True)
            os.link(probe.path, second)
            second.unlink()
            probe.discard()
        except OSError as error:
            self.release()
            raise ArchiveError(
                f"The archive's folder {self.root} does not take files with links ({error.strerror}). "
                "node.data_dir has to be writable and have room, on a local file system such as ext4 or XFS."
            ) from error
        return self

    def release(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    # receiving

    def receive(self, fetched: bool = False) -> IncomingFile:
        """Open a new file in ``incoming``, whose name tells whether this node asked for it.

        Raises:
            OSError: the folder takes no file.
        """
        name = f"{self._session}-{next(self._numbers):09d}{_FETCHED if fetched else ''}.part"
        path = f"{self._incoming}/{name}"
        return IncomingFile(path, name, os.open(path, _CREATE, 0o640))

    def keep(self, incoming: IncomingFile, study_uid: str, uid: str) -> Kept:
        """Give a received file its place, durably, and close it. A name of it in ``incoming`` stays
        until ``recorded``; on an error the file is still the caller's, open.

        Raises:
            UnsafeUidError: a UID that may not become a path.
            ContentConflictError: another object is kept under this UID.
            OSError: the disk failed or is full.
        """
        relative = self.image_path(study_uid, uid)
        folder, place = f"{self._root}/{relative.rpartition('/')[0]}", f"{self._root}/{relative}"
        size = os.fstat(incoming.fd).st_size
        if self.durable:
            os.fsync(incoming.fd)
        name = incoming.name
        try:
            self._link(incoming.path, folder, place)
        except FileExistsError:
            if not _same_object(incoming.fd, Path(place)):
                raise ContentConflictError(
                    f"another object with the SOP Instance UID {uid} was received before; the first is kept"
                ) from None
            name = f"{Path(incoming.name).stem}{_AGAIN}"
            os.rename(incoming.path, f"{self._incoming}/{name}")  # noqa: PTH104
        if self.durable:
            try:
                self._sync.folders(Path(folder), self.incoming)
            except OSError:
                os.rename(f"{self._incoming}/{name}", incoming.path)  # noqa: PTH104
                raise
        os.close(incoming.fd)
        return Kept(relative, size, name, is_new=name == incoming.name)

    def recorded(self, incoming_name: str, path: str = "") -> None:
        """The image's row, at ``path``, is committed: its name in ``incoming`` has done its work. Should the
        image have been deleted meanwhile as one received before, it is put back."""
        source, place = f"{self._incoming}/{incoming_name}", f"{self._root}/{path}"
        if path and not os.path.exists(place) and os.path.exists(source):  # noqa: PTH110
            self._link(source, place.rpartition("/")[0], place)
        with suppress(FileNotFoundError):
            os.unlink(source)  # noqa: PTH108

    def refuse(self, incoming: IncomingFile) -> str:
        """Move a received file into quarantine and close it; return its path relative to the root."""
        relative = f"quarantine/{_day_and_name(incoming.name)}"
        os.close(incoming.fd)
        self._move(Path(incoming.path), self.root / relative)
        return relative

    def withdraw(self, path: str, incoming_name: str) -> str:
        """Set an image aside that was kept, and that its sender was told is kept, so that nobody but a person
        deletes it; return where it lies now, empty where the very same was set aside before. Twice is as
        once."""
        relative = f"set-aside/{_day_and_name(incoming_name)}"
        moved = next(self.set_aside.glob(f"*/{Path(relative).name}"), None)  # perhaps on another day
        if moved is not None:
            relative = self.relative(moved)
        elif (self.root / path).exists():
            self._move(self.root / path, self.root / relative)
        else:
            relative = ""
        self.recorded(incoming_name)
        return relative

    def delete_images(self, paths: Iterable[str]) -> dict[str, OSError]:
        """Delete images, and their folders once these are empty; what is gone already is no error. Returns
        those that cannot be deleted, and why not; they keep no others here."""
        images = {relative: self.root / relative for relative in paths}
        if strange := [relative for relative, path in images.items() if not path.is_relative_to(self.images)]:
            raise ValueError(f"{strange[0]} is no image of the archive")
        stuck, folders = {}, set()
        for relative, path in images.items():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                stuck[relative] = error
            folders.add(path.parent)
        for folder in folders:
            self._known_folders.discard(str(folder))
            with suppress(OSError):  # something else is in it, or it was gone
                folder.rmdir()
            if self.durable and folder.parent.exists():
                self._sync.folders(folder.parent)
        return stuck

    def left_behind(self) -> Iterator[Path]:
        """What an earlier run received and did not record, oldest first. Debris is removed on the way.
        The cost is that of the files in ``incoming``, whatever the size of the archive."""
        with os.scandir(self.incoming) as entries:
            found = sorted(e.name for e in entries if not e.name.startswith(self._session))
        for name in found:
            path = self.incoming / name
            if path.stat().st_nlink > 1 or path.suffix == _AGAIN:
                yield path
            else:
                path.unlink()

    @staticmethod
    def was_fetched(left_behind: Path) -> bool:
        """Whether this node had asked for what it left behind."""
        return left_behind.stem.endswith(_FETCHED)

    def make_durable(self, folder: Path) -> None:
        """Return when the files in ``folder``, its entries and its own name are on the disk."""
        if self.durable:
            sync_files([path for path in folder.iterdir() if path.is_file()])
            self._sync.folders(folder, folder.parent)

    # where things lie

    def path(self, relative: str) -> Path:
        return self.root / relative

    def image_path(self, study_uid: str, uid: str) -> str:
        """Where an image lies, relative to the root.

        Raises:
            UnsafeUidError: a UID that may not become a path.
        """
        return f"images/{_study_folder(study_uid)}/{checked_uid(uid)}.dcm"

    def results_folder(self, study_uid: str, revision: int) -> Path:
        """The folder, made if need be, for what the reading of one revision of a study writes."""
        folder = self.results / _study_folder(study_uid) / str(revision)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def reading_folder(self, identity: str) -> Path:
        """Where the reading with this identity, its ``reading.json`` and masks, is kept."""
        return self.root / "readings" / identity[:2] / identity[2:4] / identity

    def has_reading(self, identity: str) -> bool:
        return (self.reading_folder(identity) / "reading.json").exists()

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def free_bytes(self) -> int:
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize

    def _link(self, source: str, folder: str, place: str) -> None:
        if folder not in self._known_folders:
            self._make_folder(Path(folder))
        try:
            os.link(source, place)
        except FileNotFoundError:  # the folder was cleared away meanwhile
            self._make_folder(Path(folder))
            os.link(source, place)

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.durable:
            self._sync.folders(folder.parent, folder.parent.parent, self.images)
        if len(self._known_folders) > 10_000:
            self._known_folders.clear()
        self._known_folders.add(str(folder))

    def _move(self, source: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        source.rename(place)
        if self.durable:
            self._sync.folders(place.parent, source.parent)


def is_received_into(root: Path) -> bool:
    """Whether a process has claimed the archive there, or may have done so where this user may not look."""
    try:
        lock = os.open(root / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def checked_uid(uid: str) -> str:
    """The UID itself, if it is one.

    Raises:
        UnsafeUidError: it is not.
    """
    if len(uid) > 64 or not _UID.match(uid):
        raise UnsafeUidError(f"{uid[:80]!r} is not a UID: at most 64 digits and dots are allowed")
    return uid


def _day_and_name(incoming_name: str) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}/{Path(incoming_name).stem}.dcm"


@lru_cache(maxsize=1024)
def _study_folder(study_uid: str) -> str:
    """Two levels of 256, so that every folder stays flat with millions of studies."""
    shard = hashlib.sha256(checked_uid(study_uid).encode()).hexdigest()
    return f"{shard[:2]}/{shard[2:4]}/{study_uid}"


def _same_object(fd: int, kept: Path) -> bool:
    """Whether two Part-10 files hold the same data set in the same encoding, whoever sent them."""
    with kept.open("rb") as file:
        first_offset, second_offset = data_set_offset(os.pread(fd, 4096, 0)), data_set_offset(file.read(4096))
        first_size, second_size = os.fstat(fd).st_size, os.fstat(file.fileno()).st_size
        if first_size - first_offset != second_size - second_offset:
            return False
        for start in range(0, first_size - first_offset, _CHUNK):
            here, there = start + first_offset, start + second_offset
            if os.pread(fd, _CHUNK, here) != os.pread(file.fileno(), _CHUNK, there):
                return False
        return True
