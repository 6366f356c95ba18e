"""Messages between the node and the process that decodes for it.

A question comes from whom one trusts, and is pickled. An answer does not. Its arrays travel through the
socket behind it, into memory of the node's own: nothing is shared with a process that is not trusted.
"""

from __future__ import annotations

import pickle
import socket
import struct
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from inference.header import Headers
from node.decoding.answers import Answer, Array, understood, written

Kind = Literal["series", "segmentation"]
Question = tuple[Kind, tuple[Path, ...], Headers]

_LENGTH = struct.Struct("!Q")
_LONGEST_DOCUMENT = 1 << 24  # bytes; it has a line for each image


def ask(connection: socket.socket, question: Question, until: float) -> None:
    """Raises: OSError, TimeoutError: it was not taken by this moment of ``time.monotonic``."""
    body = pickle.dumps(question)
    connection.settimeout(_left(until))
    connection.sendall(_LENGTH.pack(len(body)) + body)


def asked(connection: socket.socket) -> Question:
    """The next question.

    Raises:
        EOFError, OSError: the other end is closed.
    """
    (length,) = _LENGTH.unpack(_received(connection, _LENGTH.size))
    question: Question = pickle.loads(_received(connection, length))
    return question


def reply(connection: socket.socket, answer: Answer) -> None:
    document, arrays = written(answer)
    connection.sendall(_LENGTH.pack(len(document)) + document)
    for array in arrays:
        if array.size:
            connection.sendall(np.ascontiguousarray(array).data.cast("B"))


def answered(connection: socket.socket, most: int, until: float) -> Answer:
    """The answer. most: bytes of its arrays together. until: of ``time.monotonic``.

    Raises:
        TimeoutError: it was not there by then.
        OSError, EOFError, ValueError: there is none, or none that is as it should be.
    """
    (length,) = _LENGTH.unpack(_received(connection, _LENGTH.size, until))
    if length > _LONGEST_DOCUMENT:
        raise ValueError("an answer longer than any")
    document = understood(bytes(_received(connection, length, until)))
    if (size := sum(array.nbytes for array in document.arrays)) > most:
        raise ValueError(f"arrays of {size >> 20} MiB, more than may come")

    def take(described: Array) -> npt.NDArray[Any]:
        array = np.frombuffer(_received(connection, described.nbytes, until), described.dtype)
        return array.reshape(described.shape)

    return document.made(take)


def _received(connection: socket.socket, length: int, until: float | None = None) -> memoryview:
    """The next so many bytes."""
    received = np.empty(length, np.uint8).data  # unlike bytes, it is not filled first
    left = received
    while left:
        connection.settimeout(None if until is None else _left(until))
        taken = connection.recv_into(left)
        if not taken:
            raise EOFError
        left = left[taken:]
    return received


def _left(until: float) -> float:
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
