"""What a web process sends is sent at once, also where several share one socket."""

import asyncio
import socket

import uvicorn
from uvicorn.server import ServerState

from agentops.connections import Connection


def nodelay_of(protocol: type[Connection]) -> list[bool]:
    """Let somebody connect to a socket as uvicorn makes it for its workers; say whether small pieces go out at once."""
    config = uvicorn.Config(lambda scope: None, http=protocol, ws="none", lifespan="off", log_config=None)
    config.load()
    found: list[bool] = []

    class Watched(protocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            found.append(bool(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
            transport.close()

    async def meet(listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Watched(config, ServerState(), {}), sock=listener)
        async with server:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()
            await writer.wait_closed()

    # As in `uvicorn.Config.bind_socket`: without saying that it is TCP.
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        asyncio.run(meet(listener))
    return found


def test_the_end_of_an_answer_does_not_wait_until_its_beginning_is_confirmed() -> None:
    assert nodelay_of(Connection) == [True]
