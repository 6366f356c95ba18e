"""HTTP for strangers: who says nothing, or never ends what they say, keeps no connection."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from node.wire.listening import plain_address

REQUEST_SECONDS = 20.0  # for a whole request, from the connection or the last answer on
MOST_CONNECTIONS = 500  # at once; a page that follows the node keeps one


class DeadlineProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, within ``REQUEST_SECONDS`` and ``MOST_CONNECTIONS``."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None:  # before it is asked whether that is a proxy
            self.client = plain_address(self.client[0]), self.client[1]
        if len(self.connections) > MOST_CONNECTIONS:
            transport.close()
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_request()

    def _await_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._hang_up_unless_asked)

    def _hang_up_unless_asked(self) -> None:
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.close()
