"""An outside world on loopback: names that mean what a test says, a server that says what a test wants, and a record
of every connection that this process opens, kept by the interpreter itself."""

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpcore2
from httpcore2 import NetworkStream

from tools.network.asking import Access
from tools.network.connecting import Network
from tools.network.urls import Target

PUBLIC = "93.184.216.34"
OTHER = "151.101.1.69"

_watching: list[list[Any]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1])


sys.addaudithook(_audit)


@contextmanager
def connections() -> Iterator[list[Any]]:
    """Yield the addresses that any code of this process connects to meanwhile."""
    seen: list[Any] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


@dataclass
class Asked:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes


Say = Callable[[Asked], Iterable[bytes]]


def answer(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """Return an answer as bytes; `content_type` becomes Content-Type."""
    lines = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}Connection: close\r\n\r\n".encode("latin-1") + body


class Server:
    """Answers every connection on a port of loopback with what `say` returns; `asked` has what came."""

    def __init__(self, say: Say, *, certificate_for: str = "") -> None:
        self.asked: list[Asked] = []
        self.accepted = 0
        self.names: list[str | None] = []
        self._say = say
        self._context = server_tls(certificate_for) if certificate_for else None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                self._one(client)
            except (OSError, ValueError):
                client.close()

    def _one(self, client: socket.socket) -> None:
        client.settimeout(5)
        if self._context is not None:
            self._context.sni_callback = lambda _s, name, _c: self.names.append(name)
            client = self._context.wrap_socket(client, server_side=True)
        raw = b""
        while b"\r\n\r\n" not in raw:
            got = client.recv(65536)
            if not got:
                client.close()
                return
            raw += got
        head, _, body = raw.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
        while len(body) < int(headers.get("content-length", "0")):
            body += client.recv(65536)
        asked = Asked(line, headers, body)
        self.asked.append(asked)
        for part in self._say(asked):
            client.sendall(part)
        client.close()

    def close(self) -> None:
        # A blocked accept does not notice close(); a shutdown ends it.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@dataclass
class Outside:
    """Names and what they mean (a list of addresses, or a list of such lists: another one each time), and a server."""

    port: int
    names: dict[str, Any] = field(default_factory=dict)
    dialled: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    clock: Callable[[], float] | None = None
    tls: bool = False

    def network(self) -> Network:
        more: dict[str, Any] = {} if self.clock is None else {"monotonic": self.clock}
        if self.tls:
            more["tls"] = client_tls
        return Network(resolve=self.resolve, dial=self.dial, **more)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        found = self.names.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answered: list[str] = found.pop(0) if found and isinstance(found[0], list) else found
        return answered

    def dial(self, address: str, port: int, timeout: float) -> NetworkStream:
        self.dialled.append(address)
        return httpcore2.SyncBackend().connect_tcp("127.0.0.1", self.port, timeout=timeout)


def everything(target: Target) -> Access:
    """Admit every host, so that only the checks of addresses stand in the way."""
    return Access()


# --- certificates ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _issued(host: str) -> Path:
    """Return a file with a certificate for `host`, its key, and the certificate of the authority that signed both."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    ca_key, ca_name = _authority()
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]))
        .issuer_name(ca_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    path = Path(mkdtemp()) / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@lru_cache(maxsize=1)
def _authority() -> tuple[Any, Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    return ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test")])


@lru_cache(maxsize=1)
def _authority_pem() -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key, name = _authority()
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def server_tls(host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_issued(host))
    return context


def client_tls() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=_authority_pem())
