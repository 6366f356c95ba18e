"""`overread serve`: the node, until it is told to stop."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from node.app import Node
from node.commands.terminal import console
from node.log import set_up_logging
from node.security.umask import private_files
from node.settings import Settings

log = logging.getLogger(__name__)

FILES = 65536  # open at once, at most: each association and each page that follows the node takes some


@private_files()
def serve(settings: Settings) -> None:
    """Run a node until SIGTERM or SIGINT, then stop it cleanly."""
    set_up_logging(settings.log)
    _allow_many_files()
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    node = Node(settings)
    node.start()
    try:
        out = console()
        out.print(f"receiving  {settings.node.ae_title} at {settings.dicom.host}:{node.dicom_port}")
        out.print(f"status     {node.status_url}")
        for peer in settings.destinations:
            out.print(f"results    {peer.name}: {peer.ae_title} at {peer.host}:{peer.port}")
        out.print("Ctrl-C stops it; what is under way goes on at the next start.")
        told_to_stop.wait()
    finally:
        node.stop()
    log.info("stopped")
    _leave()


def _leave() -> NoReturn:
    """End the process: whatever may not be cut short is done. Python would else wait for a thread of the
    queue that tries to reach a database, for as long as that is away."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone, or it is closed
            stream.flush()
    os._exit(0)


def _allow_many_files() -> None:
    """Lift the limit that a shell sets, often 1024, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
