"""Connections to checked addresses only: resolve once, check every answer, dial what was checked.

The name goes into TLS (SNI and certificate), never to the dialler, so that a name which means something else a moment
later (DNS rebinding) changes nothing. Nothing here reads proxies from the environment.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpcore2
from httpcore2 import NetworkBackend, NetworkStream

from .addresses import not_public
from .refusals import Refused, Unreachable

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port -> every IP address the name has. Raises OSError."""

Dial = Callable[[str, int, float], NetworkStream]
"""IP address, port, seconds -> a connection. Raises exceptions of httpcore2."""


def system_resolve(host: str, port: int) -> list[str]:
    """Ask the resolver of this machine."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def system_dial(address: str, port: int, timeout: float) -> NetworkStream:
    """Open a TCP connection to an IP address."""
    return httpcore2.SyncBackend().connect_tcp(address, port, timeout=timeout)


@lru_cache(maxsize=1)
def system_tls() -> ssl.SSLContext:
    """Return the TLS settings: certificates of this machine's store, names checked."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class Network:
    """The outside world as this package uses it; tests bring their own."""

    resolve: Resolve = system_resolve
    dial: Dial = system_dial
    tls: Callable[[], ssl.SSLContext] = system_tls
    monotonic: Callable[[], float] = time.monotonic


@dataclass
class Wire:
    """One connection's deadline (`monotonic` seconds) and whether anything of the request was written to it."""

    network: Network
    ends: float
    sent: bool = False

    def left(self) -> float:
        """Return the seconds left. Raises `Unreachable` when there are none."""
        left = self.ends - self.network.monotonic()
        if left <= 0:
            raise Unreachable("The time for this request is over.", sent=self.sent, timed_out=True)
        return left


@dataclass
class PinnedBackend(NetworkBackend):
    """Gives httpcore2 connections whose address was checked, and whose every wait ends at the deadline."""

    wire: Wire
    dialled: list[str] = field(default_factory=list)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> NetworkStream:
        """Resolve `host`, refuse it if any address is not public, dial the first that answers."""
        wire = self.wire
        addresses = checked_addresses(host, port, wire)
        for place, address in enumerate(addresses, 1):
            # A dead first address must not use up the time of the second.
            share = wire.left() / (len(addresses) - place + 1)
            try:
                stream = wire.network.dial(address, port, share)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout, OSError):
                continue
            self.dialled.append(address)
            return _TimedStream(stream, wire)
        wire.left()
        raise Unreachable(f"{host} does not take connections.", sent=False)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> NetworkStream:
        """Refuse."""
        raise Refused("bad_scheme", "Only https and http addresses are asked.")


def checked_addresses(host: str, port: int, wire: Wire) -> list[str]:
    """Return all addresses of a host, every one of them public.

    Raises `Refused` when one is not, naming its kind and not the address; `Unreachable` when there is none in time.
    """
    found = _resolved(host, port, wire)
    if not found:
        raise Unreachable(f"{host} has no address.", sent=False)
    for address in found:
        if kind := not_public(address):
            raise Refused("not_public", f"{host} leads to an address that is not public ({kind}).")
    return list(found)


def _resolved(host: str, port: int, wire: Wire) -> Sequence[str]:
    """Resolve in a thread of its own, because the system's resolver knows no deadline."""
    answer: list[Sequence[str] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            answer.append(wire.network.resolve(host, port))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(wire.left())
    if not answer:
        raise Unreachable(f"The address of {host} was not found in time.", sent=False, timed_out=True)
    if isinstance(answer[0], OSError | UnicodeError):
        raise Unreachable(f"{host} has no address.", sent=False)
    return answer[0]


@dataclass
class _TimedStream(NetworkStream):
    """A stream whose reads and writes all end at one deadline, however slowly the other side drips."""

    inner: NetworkStream
    wire: Wire

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, timeout=self.wire.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self.wire.left()
        self.wire.sent = self.wire.sent or bool(buffer)
        self.inner.write(buffer, timeout=left)

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        secured = self.inner.start_tls(ssl_context, server_hostname=server_hostname, timeout=self.wire.left())
        return _TimedStream(secured, self.wire)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)
