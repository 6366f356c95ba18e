"""Decodes pixels in a process that may die: what was sent is not trusted, nor are the decoders.

The process is kept from series to series. It is given file names and answers with a volume, whose arrays come
in shared memory and are not copied. It has a cap on its memory, and each series one on its time; should it
die or pass one of them, that series cannot be read, and the next one gets a new process.
"""

from __future__ import annotations

import fcntl
import io
import logging
import mmap
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from inference.errors import UnreadableSeriesError
from inference.header import NO_HEADERS, Headers, read_slices
from inference.segmentation import load_frames
from inference.series import load_series
from inference.volume import Volume
from node.quoting import silence_quotes
from node.stopping import Stopping

log = logging.getLogger(__name__)

Kind = Literal["series", "segmentation"]

_HEAD = struct.Struct("!QB")  # bytes that follow; whether arrays follow in a file
_LONGEST_ANSWER = 1 << 28  # bytes, without the arrays
_ALIGNMENT = 64
_EXPECTED = frozenset(
    {
        ("pathlib", "PosixPath"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
_SEALS = (
    getattr(fcntl, "F_SEAL_SHRINK", 0) | getattr(fcntl, "F_SEAL_GROW", 0) | getattr(fcntl, "F_SEAL_WRITE", 0)
)


class DecodingProcess:
    """Loads series in a process of its own.

    memory: bytes that it may take. seconds: that one series may take.
    """

    def __init__(self, memory: int, seconds: float) -> None:
        self._memory = memory
        self._seconds = seconds
        self._one_at_a_time = threading.Lock()
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Start the process ahead of the first series."""
        self._stopping = False
        with self._one_at_a_time:
            self._start()

    def stop(self) -> None:
        """End the process, also within a series, which is not to blame for it."""
        self._stopping = True
        process = self._process
        if process is not None:
            process.kill()
        with self._one_at_a_time:
            self._end()

    def load(self, paths: Sequence[Path]) -> Volume:
        """What ``inference.series.load_series`` makes of these files.

        Raises:
            UnreadableSeriesError: as that says; or the process died of the files, or passed its cap.
            Stopping: the process was stopped.
        """
        answer = self._ask("series", paths, _headers(paths))
        if not isinstance(answer, Volume):
            raise UnreadableSeriesError("The process that decodes pixels gave no volume.")
        return answer

    def load_frames(self, path: Path) -> npt.NDArray[np.bool_]:
        """What ``inference.segmentation.load_frames`` makes of a file.

        Raises:
            UnreadableSeriesError: as ``load``.
            Stopping: as ``load``.
        """
        answer = self._ask("segmentation", [path])
        if not isinstance(answer, np.ndarray) or answer.dtype != bool or answer.ndim != 3:
            raise UnreadableSeriesError("The process that decodes pixels gave no frames.")
        return answer

    def _ask(self, kind: Kind, paths: Sequence[Path], headers: Headers = NO_HEADERS) -> Any:
        with self._one_at_a_time:
            connection = None if self._stopping else self._start()
            if connection is None or self._stopping:  # also since it was started
                self._end()
                raise Stopping
            try:
                _send(connection, pickle.dumps([kind, [str(path) for path in paths], dict(headers)]))
                answer = _receive(connection, time.monotonic() + self._seconds)
            except TimeoutError:
                self._end()
                raise UnreadableSeriesError(
                    f"The pixels of the series were not decoded within {self._seconds:g} s, the most that "
                    "pixels.seconds allows; its files may be damaged, send it again."
                ) from None
            except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
                if self._stopping:
                    raise Stopping from error
                how = self._end() or " ".join(str(error).split()) or type(error).__name__
                log.warning("the process that decodes pixels ended (%s)", how)
                raise UnreadableSeriesError(
                    f"The pixels of the series took the process down that decodes them ({how}); its files "
                    "may be damaged, send it again."
                ) from error
            if isinstance(answer, str):
                self._end()  # what failed may have left it with little memory: the next series gets a new one
        if isinstance(answer, str):
            raise UnreadableSeriesError(answer)
        return answer

    def _start(self) -> socket.socket:
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return self._socket
        self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno()), str(self._memory)]
            self._process = subprocess.Popen(
                [*command, str(self._seconds)], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._socket = ours
        return ours

    def _end(self) -> str:
        """End the process, and say how it ended by itself, if it did."""
        process, self._process = self._process, None
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        if process is None:
            return ""
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return ""
        if process.returncode >= 0:
            return f"exit status {process.returncode}" if process.returncode else ""
        return f"signal {signal.Signals(-process.returncode).name}"


def _headers(paths: Sequence[Path]) -> Headers:
    """Of CT and PET, which were read to choose the series and are remembered; none of what is not sound."""
    try:
        return {path: read_slices(path) for path in paths}
    except UnreadableSeriesError:
        return NO_HEADERS


class _Unpickler(pickle.Unpickler):
    """Takes arrays, paths and what ``inference`` defines, nothing else: the bytes come from a process that
    files of ill will may have taken over."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _EXPECTED:
            return super().find_class(module, name)
        found = super().find_class(module, name) if module.startswith("inference.") else None
        if isinstance(found, type) and found.__module__ == module:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is not expected")


def _send(connection: socket.socket, body: bytes, arrays: int | None = None) -> None:
    head = _HEAD.pack(len(body), arrays is not None)
    if arrays is None:
        connection.sendall(head)
    else:
        socket.send_fds(connection, [head], [arrays])
    connection.sendall(body)


def _receive(connection: socket.socket, until: float | None = None) -> Any:
    """The next message, with its arrays in the memory that the sender shares with us."""
    connection.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
    head, fds, _, _ = socket.recv_fds(connection, _HEAD.size, 1, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    try:
        if len(head) < _HEAD.size:
            raise EOFError
        length, has_arrays = _HEAD.unpack(head)
        if length > _LONGEST_ANSWER or bool(fds) != bool(has_arrays):
            raise ValueError("an answer that is none")
        body = bytearray()
        while len(body) < length:
            connection.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
            piece = connection.recv(min(length - len(body), 1 << 20))
            if not piece:
                raise EOFError
            body += piece
        if not fds:
            return _Unpickler(io.BytesIO(body)).load()
        return _with_arrays(fds[0], body)
    finally:
        for fd in fds:
            os.close(fd)


def _with_arrays(fd: int, body: bytes | bytearray) -> Any:
    """Unpickle ``body``, which begins with the number of its arrays and their lengths in the file."""
    if _SEALS:  # what could still shrink would take us down with it
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    count = int(struct.unpack_from("!Q", body)[0])
    lengths = struct.unpack_from(f"!{count}Q", body, 8)
    places = _places(lengths)
    if os.fstat(fd).st_size < places[-1]:
        raise ValueError("arrays that are not all there")
    shared = memoryview(mmap.mmap(fd, max(places[-1], 1), flags=mmap.MAP_PRIVATE))
    buffers = [shared[start : start + length] for start, length in zip(places, lengths, strict=False)]
    return _Unpickler(io.BytesIO(body[8 + 8 * count :]), buffers=buffers).load()


def _places(lengths: Sequence[int]) -> list[int]:
    """Where arrays of these lengths begin, one after another, and where the last ends."""
    places = [0]
    for length in lengths:
        places.append(places[-1] + -(-length // _ALIGNMENT) * _ALIGNMENT)
    return places


def _answer(connection: socket.socket, loaded: Volume | npt.NDArray[np.bool_]) -> None:
    out_of_band: list[pickle.PickleBuffer] = []
    body = pickle.dumps(loaded, protocol=5, buffer_callback=out_of_band.append)
    arrays = [buffer.raw() for buffer in out_of_band]
    lengths = [array.nbytes for array in arrays]
    with _shared_file() as file:
        for place, array in zip(_places(lengths), arrays, strict=False):
            file.seek(place)
            file.write(array)
        file.truncate(_places(lengths)[-1])
        file.flush()
        table = struct.pack(f"!{1 + len(lengths)}Q", len(lengths), *lengths)
        _send(connection, table + body, file.fileno())


def _shared_file() -> Any:
    """A file that lies in memory, where there are such."""
    if hasattr(os, "memfd_create"):
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        return os.fdopen(os.memfd_create("overread-pixels", flags), "r+b")
    return tempfile.TemporaryFile()


def _cap(memory: int) -> None:
    """Limit the memory this process may have of its own, and leave no core behind."""
    for name, limit in (("RLIMIT_DATA", memory), ("RLIMIT_CORE", 0)):
        _, hard = resource.getrlimit(getattr(resource, name))
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(getattr(resource, name), (lower, lower))


def main(fd: int, memory: int, seconds: float) -> None:
    """Serve until the other end of the socket ``fd`` is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the node, which closes the socket in the end
        signal.signal(number, signal.SIG_IGN)
    silence_quotes()
    _cap(memory)
    with socket.socket(fileno=fd) as connection:
        while True:
            try:
                kind, names, headers = _receive(connection)
            except (EOFError, OSError):
                return
            signal.setitimer(signal.ITIMER_REAL, 2 * seconds)  # should the node be gone by then
            try:
                paths = [Path(name) for name in names]
                loaded = load_series(paths, headers) if kind == "series" else load_frames(paths[0])
            except UnreadableSeriesError as error:
                _send(connection, pickle.dumps(str(error)))
            except MemoryError:
                _send(connection, pickle.dumps(f"The series takes more than {memory >> 20} MiB to read."))
            except Exception as error:  # the study is seen to have failed with it
                log.exception("a series could not be loaded")
                _send(
                    connection, pickle.dumps(f"The series cannot be read ({type(error).__name__}: {error}).")
                )
            else:
                _answer(connection, loaded)
                del loaded
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
