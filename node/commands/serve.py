"""`overread serve`: the node, until it is told to stop."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from node.commands.terminal import console
from node.security.umask import private_files
from node.settings import Settings
from node.settings.file import in_a_line
from node.upkeep.ports import check_port
from storage.archive import is_received_into

log = logging.getLogger(__name__)

FILES = 65536  # open at once, at most: each association and each page that follows the node takes some


class ServeError(RuntimeError):
    """A node cannot listen where its settings say; the message says what to do."""


@private_files()
def serve(settings: Settings, file: Path | None = None) -> None:
    """Run a node by the settings of ``file`` until SIGTERM or SIGINT, then stop it cleanly.

    Raises:
        ServeError: a port is taken; told before anything is loaded, which takes its time.
    """
    out = console()
    out.print(f"starting   {in_a_line(settings, file)}", soft_wrap=True)
    _look_at_ports(settings)
    from node.app import Node
    from node.log import set_up_logging

    set_up_logging(settings.log)
    _allow_many_files()
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    node = Node(settings)
    node.start()
    try:
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


def _look_at_ports(settings: Settings) -> None:
    for name, place in (("dicom", settings.dicom), ("web", settings.web)):
        probe = check_port(name, place.host, place.port)
        if not probe.ok and is_received_into(settings.node.data_dir):
            raise ServeError(
                f"{probe.detail}; an Overread is running with the same {settings.node.data_dir}."
            )
        if not probe.ok:
            raise ServeError(f"{probe.detail}; {probe.hint}.")


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
