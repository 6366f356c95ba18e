"""Decodes pixels in a process that may die: what was sent is not trusted, nor are the decoders.

The process is kept from series to series. It is given file names and answers with a volume. It has a cap on
its memory, and each series one on its time; should it die or pass one of them, that series cannot be read,
and the next one gets a new process.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.errors import UnreadableSeriesError
from inference.header import NO_HEADERS, Headers, read_slices
from inference.volume import Volume
from node.decoding.answers import Answer
from node.decoding.belonging import belongs
from node.decoding.messages import Question, answered, ask
from node.stopping import Stopping

log = logging.getLogger(__name__)

OF_THE_NODE = ("OVERREAD_", "PG")  # begin the names of variables that may hold a password


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
            UnreadableSeriesError: as that says; or the process died of the files, passed its cap, or answered
                of other images than theirs.
            Stopping: the process was stopped.
        """
        answer = self._ask(("series", tuple(paths), _headers(paths)))
        if not isinstance(answer, Volume):
            raise UnreadableSeriesError("The process that decodes pixels gave no volume.")
        return answer

    def load_frames(self, path: Path) -> npt.NDArray[np.bool_]:
        """What ``inference.segmentation.load_frames`` makes of a file.

        Raises:
            UnreadableSeriesError: as ``load``.
            Stopping: as ``load``.
        """
        answer = self._ask(("segmentation", (path,), NO_HEADERS))
        if not isinstance(answer, np.ndarray):
            raise UnreadableSeriesError("The process that decodes pixels gave no frames.")
        return answer

    def _ask(self, question: Question) -> Answer:
        with self._one_at_a_time:
            connection = None if self._stopping else self._start()
            if connection is None or self._stopping:  # also since it was started
                self._end()
                raise Stopping
            until = time.monotonic() + self._seconds
            try:
                ask(connection, question, until)
                answer = answered(connection, self._memory, until)
            except TimeoutError:
                self._end()
                raise UnreadableSeriesError(
                    f"The pixels of the series were not decoded within {self._seconds:g} s, the most that "
                    "pixels.seconds allows; its files may be damaged, send it again."
                ) from None
            except (OSError, EOFError, ValueError) as error:
                if self._stopping:
                    raise Stopping from error
                how = self._end() or " ".join(str(error).split()) or type(error).__name__
                log.warning("the process that decodes pixels ended (%s)", how)
                raise UnreadableSeriesError(
                    f"The pixels of the series took the process down that decodes them ({how}); its files "
                    "may be damaged, send it again."
                ) from error
            except MemoryError as error:
                self._end()
                raise UnreadableSeriesError(
                    "The series takes more memory than is left here; read it again when less else runs."
                ) from error
            except BaseException:
                self._end()  # what is left of this answer is not the next one's
                raise
            if isinstance(answer, str):
                self._end()  # what failed may have left it with little memory: the next series gets a new one
            if isinstance(answer, Volume) and not belongs(answer, *question[1:]):
                self._end()
                raise UnreadableSeriesError(
                    "The process that decodes pixels answered of other images than it was asked about: one "
                    "of the files may be made to mislead it. None of them is read; find out who sent them."
                )
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
                [*command, str(self._seconds)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if not name.startswith(OF_THE_NODE)},
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
