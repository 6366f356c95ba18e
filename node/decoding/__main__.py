"""The process that decodes: it loads what it is asked to, one after another, until nobody asks any more."""

from __future__ import annotations

import logging
import resource
import signal
import socket
import sys
from contextlib import suppress

from inference.errors import UnreadableSeriesError
from inference.segmentation import load_frames
from inference.series import load_series
from node.decoding.answers import Answer
from node.decoding.messages import Question, asked, reply
from node.quoting import silence_quotes

log = logging.getLogger(__name__)


def main(fd: int, memory: int, seconds: float) -> None:
    """Serve until the other end of the socket ``fd`` is closed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the node, which closes the socket in the end
        signal.signal(number, signal.SIG_IGN)
    silence_quotes()
    _cap(memory)
    with socket.socket(fileno=fd) as connection, suppress(EOFError, OSError):  # its other end is closed
        while True:
            question = asked(connection)
            signal.setitimer(signal.ITIMER_REAL, 2 * seconds)  # should the node be gone by then
            reply(connection, _answer(question, memory))
            signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(question: Question, memory: int) -> Answer:
    kind, paths, headers = question
    try:
        return load_series(paths, headers) if kind == "series" else load_frames(paths[0])
    except UnreadableSeriesError as error:
        return str(error)
    except MemoryError:
        return f"The series takes more than {memory >> 20} MiB to read."
    except Exception as error:  # the study is seen to have failed with it
        log.exception("a series could not be loaded")
        return f"The series cannot be read ({type(error).__name__}: {error})."


def _cap(memory: int) -> None:
    """Limit the memory this process may have of its own, and leave no core behind."""
    for name, limit in (("RLIMIT_DATA", memory), ("RLIMIT_CORE", 0)):
        _, hard = resource.getrlimit(getattr(resource, name))
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(getattr(resource, name), (lower, lower))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
