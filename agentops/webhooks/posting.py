"""Post a message to an address an admin has named, and to nothing that lies inside our own network.

The name is looked up once, every address it has must be public, and the connection goes to
the address that was checked; certificates are verified for the name. Redirects are not followed.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tools.network.addresses import not_public

TIMEOUT_S: Final = 5.0
TOTAL_S: Final = 15.0
"""Seconds that one message may take with everything, however slowly the other side drips its answer."""
_ANSWER: Final = 1024
_LABEL: Final = 63
"""Characters of one part of a name (RFC 1035)."""

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes: host and port of the URL, its path, and the address that was checked."""

    host: str
    port: int
    path: str
    address: str


class Refused(Exception):
    """The address may not be posted to, or did not take the message."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Return every address of a name."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def checked(url: str, *, lookup: Resolve | None = None) -> Target:
    """Return where a URL leads; raise `Refused` for anything that is not https to public addresses only.

    Without `lookup` only the form of the URL is checked.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        raise Refused("This is no address.") from None
    host = parts.hostname or ""
    if parts.scheme != "https" or not host:
        raise Refused("The address has to begin with https://.")
    if parts.username is not None or parts.password is not None:
        raise Refused("The address must not hold a password.")
    if parts.fragment or any(ord(c) <= 32 or ord(c) >= 127 for c in url):
        raise Refused("The address has characters that do not belong there.")
    if not all(1 <= len(label) <= _LABEL for label in host.removesuffix(".").split(".")):
        raise Refused("This is no address.")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if literal is not None and not public(literal):
        raise Refused("The address lies inside a private network.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if lookup is None:
        return Target(host, port, path, "")
    try:
        found = lookup(host, port)
    except (OSError, UnicodeError):
        raise Refused("The name cannot be found.") from None
    if not found:
        raise Refused("The name cannot be found.")
    if not all(public(ipaddress.ip_address(one.partition("%")[0])) for one in found):
        raise Refused("The name leads into a private network.")
    return Target(host, port, path, found[0])


def public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the open internet, also where it is an IPv4 address in the clothes of IPv6."""
    return not not_public(str(address))


class _Pinned(http.client.HTTPSConnection):
    """Connects to one address and speaks to it by another name."""

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        super().__init__(target.host, target.port, timeout=TIMEOUT_S, context=context)
        self._address, self._tls = target.address, context
        self._wire: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the address that was checked."""
        raw = socket.create_connection((self._address, self.port), TIMEOUT_S)
        secured = self._tls.wrap_socket(raw, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self._wire = secured
        secured.do_handshake()

    def cut(self) -> None:
        """End whatever is under way, from another thread: who waits for the other side is told that it is gone."""
        if self._wire is not None:
            with suppress(OSError):
                self._wire.shutdown(socket.SHUT_RDWR)


def post(target: Target, body: bytes, headers: dict[str, str]) -> int:
    """Post a message; return the status. Raises OSError or http.client.HTTPException where nothing answers."""
    connection = _Pinned(target, ssl.create_default_context())
    end = threading.Timer(TOTAL_S, connection.cut)
    end.daemon = True
    end.start()
    try:
        connection.request("POST", target.path, body, {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read(_ANSWER)
        return answer.status
    finally:
        end.cancel()
        connection.close()
