"""Messages are signed, and go to nothing inside our own network, whatever a name or a redirect says."""

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from agentops.webhooks import posting
from agentops.webhooks.posting import Refused, Target, checked, post
from agentops.webhooks.signing import secret_of, signature

OPEN = Target("hooks.example.com", 443, "/a", "93.184.215.14")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "https:///x",
        "https://user:pw@hooks.example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[::7f00:1]/",
        "https://168.63.129.16/metadata",
        "https://10.1.2.3:8443/x",
        "https://169.254.169.254/latest/meta-data",
        "https://hooks.example.com/a b",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com/#x",
        "https://224.0.0.1/",
        f"https://{'a' * 64}.example.com/",
        "https://hooks..example.com/",
        "https://hooks.example.com/für",
        "https://b\u00fccher.example.com/",
    ],
)
def test_addresses_that_nothing_is_posted_to(url: str) -> None:
    with pytest.raises(Refused):
        checked(url)


@pytest.mark.parametrize(
    "found",
    [
        ["10.0.0.1"],
        ["93.184.215.14", "127.0.0.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:192.168.0.1"],
        ["2002:0a00:0001::1"],
        ["64:ff9b:1::a00:1"],
        [],
    ],
)
def test_a_name_that_leads_inside_is_refused(found: list[str]) -> None:
    with pytest.raises(Refused):
        checked("https://hooks.example.com/a?b=c", lookup=lambda host, port: found)


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    target = checked("https://hooks.example.com:8443/a?b=c", lookup=lambda host, port: ["93.184.215.14"])
    assert target == Target("hooks.example.com", 8443, "/a?b=c", "93.184.215.14")


def test_it_connects_to_that_address_and_speaks_to_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def connect(address: Any, timeout: float) -> Any:
        asked.append((address, timeout))
        raise ConnectionRefusedError

    monkeypatch.setattr("agentops.webhooks.posting.socket.create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        post(OPEN, b"{}", {})
    assert asked == [(("93.184.215.14", 443), posting.TIMEOUT_S)]


class Plain(socket.socket):
    """Stands for a socket with TLS."""

    def do_handshake(self) -> None:
        """Do nothing."""


class NoTls:
    """Stands for TLS settings."""

    verify_mode, check_hostname, post_handshake_auth = ssl.CERT_NONE, False, None

    def wrap_socket(self, raw: socket.socket, **_: object) -> Plain:
        return Plain(fileno=raw.detach())


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
def test_who_drips_an_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(posting.TIMEOUT_S)
    over = threading.Event()

    def drip() -> None:
        theirs.sendall(head)
        with suppress(OSError):
            while not over.wait(0.02):
                theirs.sendall(b"x")

    monkeypatch.setattr(posting, "TOTAL_S", 0.2)
    monkeypatch.setattr("agentops.webhooks.posting.socket.create_connection", lambda address, timeout: ours)
    monkeypatch.setattr("agentops.webhooks.posting.ssl.create_default_context", NoTls)
    other = threading.Thread(target=drip)
    other.start()
    began = time.monotonic()
    try:
        with suppress(OSError, http.client.HTTPException):
            post(OPEN, b"{}", {})
    finally:
        over.set()
        other.join()
        theirs.close()
    assert time.monotonic() - began < posting.TIMEOUT_S / 2


def test_the_signature_is_that_of_standard_webhooks() -> None:
    secret = secret_of(7, 1, 1)
    assert secret.startswith("whsec_")
    assert len({secret, secret_of(7, 2, 1), secret_of(8, 1, 1), secret_of(7, 1, 2)}) == 4
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, b'm1.12.{"a":1}', hashlib.sha256).digest()).decode()
    assert signature(secret, "m1", 12, b'{"a":1}') == f"v1,{wanted}"


def test_a_name_that_no_resolver_takes_is_refused() -> None:
    def lookup(host: str, port: int) -> list[str]:
        raise UnicodeError("label empty or too long")

    with pytest.raises(Refused, match="cannot be found"):
        checked("https://hooks.example.com/", lookup=lookup)
