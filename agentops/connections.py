"""How a web process talks to a browser: `uvicorn --http agentops.connections:Connection`, needed with `--workers`."""

import asyncio
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol


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
