"""Messages between the node and the process that decodes for it, with arrays of any size.

Arrays travel through the socket behind the message, into memory of whoever receives it. That is as fast as
memory that both see, whose pages the system clears and enters one by one; and nothing is shared with a
process that is not trusted.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
import time
from typing import Any

import numpy as np

_HEAD = struct.Struct("!QQ")  # bytes of the message, and how many arrays follow it
_LENGTH = struct.Struct("!Q")
_LONGEST = 1 << 28  # bytes, without the arrays
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


def send(connection: socket.socket, value: Any) -> None:
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    lengths = b"".join(_LENGTH.pack(array.nbytes) for array in arrays)
    connection.sendall(_HEAD.pack(len(body), len(arrays)) + lengths + body)
    for array in arrays:
        connection.sendall(array)


def receive(connection: socket.socket, most: int, until: float | None = None) -> Any:
    """The next message. most: bytes of its arrays together. until: of ``time.monotonic``.

    Raises:
        TimeoutError, OSError, EOFError, ValueError, pickle.UnpicklingError: there is none, or none that is
            as it should be.
    """
    length, count = _HEAD.unpack(_received(connection, _HEAD.size, until))
    if length > _LONGEST or count * _LENGTH.size > _LONGEST:
        raise ValueError("a message that is none")
    table = _received(connection, count * _LENGTH.size, until)
    lengths = [size for (size,) in _LENGTH.iter_unpack(table)]
    if sum(lengths) > most:
        raise ValueError(f"arrays of {sum(lengths) >> 20} MiB, more than may come")
    body = _received(connection, length, until)
    arrays = [_received(connection, size, until) for size in lengths]
    return Unpickler(io.BytesIO(body), buffers=arrays).load()


class Unpickler(pickle.Unpickler):
    """Takes arrays, paths and what ``inference`` defines, nothing else: the bytes come from a process that
    files of ill will may have taken over."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _EXPECTED:
            return super().find_class(module, name)
        found = super().find_class(module, name) if module.startswith("inference.") else None
        if isinstance(found, type) and found.__module__ == module:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is not expected")


def _received(connection: socket.socket, length: int, until: float | None) -> memoryview:
    """The next so many bytes."""
    received = np.empty(length, np.uint8).data  # unlike bytes, it is not filled first
    left = received
    while left:
        connection.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
        taken = connection.recv_into(left)
        if not taken:
            raise EOFError
        left = left[taken:]
    return received
