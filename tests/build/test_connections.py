"""What a web process sends is sent at once, and several that share one socket share what comes in."""

import asyncio
import socket
import threading
import time
from collections import Counter

import pytest
import uvicorn
from uvicorn.server import ServerState

from agentops.connections import Connection, Loop


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


# --- several processes ------------------------------------------------------------------------------------------------


class Greeting(asyncio.Protocol):
    """Says who has answered, and stays."""

    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._name.encode())


class Serving:
    """An event loop in a thread of its own, which listens on a socket that others listen on too."""

    def __init__(self, listener: socket.socket, name: str) -> None:
        self._loop = Loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        opening = self._loop.create_server(lambda: Greeting(name), sock=listener.dup(), backlog=64)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)

    def close(self) -> None:
        """Take no more connections, and end."""
        asyncio.run_coroutine_threadsafe(self._closed(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _closed(self) -> None:
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
def listener() -> socket.socket:
    made = socket.socket(socket.AF_INET)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_connections_are_shared_about_evenly(listener: socket.socket) -> None:
    with listener:
        serving = [Serving(listener, name) for name in ("a", "b")]
        visitors = []
        for _ in range(8):
            visitors.append(socket.create_connection(listener.getsockname(), timeout=10))
            time.sleep(0.02)  # people do not come in the same millisecond
        found = Counter(one.recv(1) for one in visitors)
        for one in visitors:
            one.close()
        for each in serving:
            each.close()
    assert min(found[b"a"], found[b"b"]) >= 3


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_who_has_left_does_not_count_and_a_closed_server_takes_nobody(listener: socket.socket) -> None:
    with listener:
        place = listener.getsockname()
        one = Serving(listener, "a")
        for _ in range(30):
            with socket.create_connection(place, timeout=10) as visitor:
                assert visitor.recv(1) == b"a"
        other = Serving(listener, "b")
        one.close()
        with socket.create_connection(place, timeout=10) as visitor:
            assert visitor.recv(1) == b"b"
        other.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=1)
