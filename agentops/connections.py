"""How a web process talks to a browser, needed with `--workers`.

`uvicorn --loop agentops.connections:Loop --http agentops.connections:Connection`
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)

WAIT_S: Final = 0.001
LONGEST_WAIT_S: Final = 0.01
AGAIN_S: Final = 1.0
"""How long no connection is taken when there are no more files to be had."""


class Connection(H11Protocol):
    """A connection on which the end of an answer does not wait until the browser has confirmed its beginning.

    An answer is sent as two pieces, head and body. asyncio switches that waiting off (Nagle's algorithm, RFC 896), but
    not for the socket that uvicorn shares between several workers, of which it does not know that it speaks TCP. There
    every answer but the first few of a connection came 40 ms late: as long as the other side may put off confirming.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        found: socket.socket | None = transport.get_extra_info("socket")
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)


class Loop(asyncio.SelectorEventLoop):
    """An event loop that shares new connections fairly with the other processes that listen on the same socket.

    asyncio takes every connection that has come, so the process that looks first may get all eight of a browser and its
    neighbours, and keep them: one core works while another waits. Here they are taken one at a time, and a process
    waits a millisecond for each connection that it has already (ten at most), so that whoever has fewer is sooner.
    """

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> asyncio.Server:
        """Listen; on a socket that is given, which is how one is shared, take connections fairly."""
        listener: socket.socket | None = options.get("sock")
        if listener is None:
            return await super().create_server(protocol_factory, *args, **options)
        server = await super().create_server(protocol_factory, *args, **options, start_serving=False)
        listener.listen(options.get("backlog", 100))
        _Door(self, listener, protocol_factory, options.get("ssl")).open()
        return server


class _Door:
    """Where connections come in. Closing the server closes it: it takes the reader of the socket away."""

    def __init__(self, loop: Loop, listener: socket.socket, factory: Callable[[], asyncio.Protocol], ssl: Any) -> None:
        self._loop = loop
        self._listener = listener
        self._factory = factory
        self._ssl = ssl
        self._inside = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        if self._listener.fileno() != -1:
            self._loop.add_reader(self._listener, self._knocked)

    def _knocked(self) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(min(self._inside * WAIT_S, LONGEST_WAIT_S), self._take)

    def _take(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self.open()
        except OSError:
            if self._listener.fileno() != -1:
                logger.exception("no connection can be taken")
                self._loop.call_later(AGAIN_S, self.open)
        else:
            self._inside += 1
            connection.setblocking(False)
            task = self._loop.create_task(self._let_in(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self.open()

    async def _let_in(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._ssl)
        except Exception:
            # A handshake that failed, or somebody who has gone already.
            logger.debug("a connection was not made", exc_info=True)
            self._inside -= 1
            connection.close()

    def _protocol(self) -> asyncio.Protocol:
        protocol = self._factory()
        lost = protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            self._inside -= 1
            lost(error)

        protocol.connection_lost = connection_lost  # type: ignore[method-assign, assignment]
        return protocol
