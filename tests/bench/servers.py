"""The servers of a benchmark: the ones that listen on this machine, else our own."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.proof.brokers import corner
from tests.proof.processes import eventually, free_port
from tests.run import listens, postgresql


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL server we may create databases on, and a Redis database that is ours alone."""

    postgresql: str
    redis: str
    origins: dict[str, str]


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Give both."""
    with postgresql() as (url, origin), redis() as (broker, redis_origin), corner(broker) as own:
        yield Servers(url, own.url, {"PostgreSQL": origin, "Redis": redis_origin})


@contextlib.contextmanager
def redis() -> Iterator[tuple[str, str]]:
    """Give the URL of a Redis server and where it comes from: listening, installed, or written in Python."""
    if listens(6379):
        yield "redis://127.0.0.1:6379/0", "the one listening on 127.0.0.1:6379"
    elif shutil.which("redis-server") is not None:
        with own_redis() as server:
            yield server.url, "our own"
    else:
        with _python_redis() as url:
            yield url, "our own, written in Python (slower)"


class OwnRedis:
    """A Redis server that can be killed and started again; it keeps nothing over that."""

    def __init__(self, program: str, directory: Path) -> None:
        self.program = program
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [self.program, *words, "--dir", str(self.directory)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._answers, within_s=20)

    def _answers(self) -> bool:
        import redis as client

        connection: Any = client.Redis.from_url(self.url, socket_timeout=1)
        try:
            return bool(connection.ping())
        except client.RedisError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """Kill it with everything it holds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """Run a Redis server of our own; needs the program to be installed."""
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed"
    with tempfile.TemporaryDirectory(prefix="agentops-redis-") as directory:
        server = OwnRedis(program, Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def _python_redis() -> Iterator[str]:
    port = free_port()
    code = f"from fakeredis import TcpFakeServer; TcpFakeServer(('127.0.0.1', {port})).serve_forever()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: listens(port), within_s=20)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait(10)
