"""`overread serve`: the node, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading

from node.app import Node
from node.commands.terminal import console
from node.log import set_up_logging
from node.settings import Settings

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run a node until SIGTERM or SIGINT, then stop it cleanly."""
    set_up_logging(settings.log)
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
