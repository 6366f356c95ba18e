"""Lets pynetdicom ask its sockets with poll(2): its select(2) knows none beyond the 1024th file, and
takes such a connection for one that was closed. A node with many senders has more than that open."""

from __future__ import annotations

import select
import ssl
from typing import Any

from pynetdicom import evt
from pynetdicom.transport import AssociationSocket


class PolledSocket(AssociationSocket):
    """A socket of pynetdicom's that is asked with poll(2)."""

    @property
    def ready(self) -> bool:
        """As the one it stands for: whether there is something to be read, also that it was closed."""
        if self.socket is None:
            return False
        waiting = select.poll()
        try:
            waiting.register(self.socket, select.POLLIN)
            ready = bool(waiting.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # transport connection closed (PS3.8 Table 9-10)
            return False
        return ready or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0)


def _poll(event: evt.Event) -> None:
    connection: Any = event.assoc.dul.socket
    if type(connection) is AssociationSocket:
        connection.__class__ = PolledSocket


POLLED: tuple[Any, Any] = (evt.EVT_CONN_OPEN, _poll)
"""A handler for an association that is asked for."""
