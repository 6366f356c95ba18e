"""HTTP for strangers: who says nothing, or never ends what they say, keeps no connection."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from weakref import WeakSet

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from node.wire.listening import plain_address

REQUEST_SECONDS = 20.0  # for a whole request, from the last answer on; and for a handshake before the first
CLOSING_SECONDS = 20.0  # for the end of an answer to leave over TLS, and for the other side to agree to it
MOST_CONNECTIONS = 500  # at once, in their handshake too; a page that follows the node keeps one


class Door(socket.socket):
    """A listening socket that lets in ``MOST_CONNECTIONS`` at once, and hangs up on others as they come:
    before TLS, in whose handshake there is no protocol yet that could."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.detach())
        self._inside: WeakSet[socket.socket] = WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        """
        Raises:
            ConnectionAbortedError: there is no room; the event loop goes on to the next.
        """
        connection, address = super().accept()
        if len(self._inside) >= MOST_CONNECTIONS:
            self._inside = WeakSet(one for one in self._inside if one.fileno() != -1)  # who has not left
        if len(self._inside) >= MOST_CONNECTIONS:
            connection.close()
            raise ConnectionAbortedError
        self._inside.add(connection)
        return connection, address


class DeadlineServer(uvicorn.Server):
    """Serves at ``door``, and gives a TLS handshake ``REQUEST_SECONDS``, its end ``CLOSING_SECONDS``."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self._door = door

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        server = await asyncio.get_running_loop().create_server(
            lambda: DeadlineProtocol(self.config, self.server_state, self.lifespan.state),
            sock=self._door,
            ssl=self.config.ssl,
            ssl_handshake_timeout=REQUEST_SECONDS if self.config.ssl else None,
            ssl_shutdown_timeout=CLOSING_SECONDS if self.config.ssl else None,
            backlog=self.config.backlog,
        )
        self.servers.append(server)


class DeadlineProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, within ``REQUEST_SECONDS``."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None:  # before it is asked whether that is a proxy
            self.client = plain_address(self.client[0]), self.client[1]
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
