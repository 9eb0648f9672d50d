"""One request and its answer: allowed at every hop, to checked addresses, in bounded time and size."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpcore2

from .bodies import Body, read_body
from .connecting import Network, PinnedBackend, Wire
from .refusals import Refused, Unreachable, Unusable
from .urls import Target, follow

MAX_REDIRECTS: Final = 5
AGENT: Final = "AgentOpsDesk/1.0"
READS: Final = frozenset({"GET", "HEAD"})
_MOVED: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Access:
    """What the tenant's list says about a host: headers that the desk adds for it (its credential), never shown."""

    headers: tuple[tuple[str, str], ...] = ()


Admit = Callable[[Target], Access]
"""Asked before every hop. Raises `Refused`."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request. `headers` are the caller's own, without credentials."""

    method: str
    target: Target
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from the last hop. `headers` has lower-case names, of several equal ones the last."""

    target: Target
    status: int
    headers: Mapping[str, str]
    body: Body
    redirects: int = 0


def ask(question: Question, *, admit: Admit, network: Network, seconds: float, redirects: int = 0) -> Answer:
    """Send a request and return the answer, following at most `redirects` redirects (for reads only).

    `seconds` is for everything together. A hop is admitted, resolved, checked and connected to like a first request,
    and gets the headers of its own host only. Raises `Refused`, `Unreachable`, `Unusable`.
    """
    wire = Wire(network, network.monotonic() + seconds)
    hop = 0
    target = question.target
    while True:
        access = admit(target)
        answer = _exchange(question, target, access, wire, hop)
        if answer.status not in _MOVED or not redirects:
            return answer
        if hop == redirects:
            raise Refused("redirects", f"It redirects more than {redirects} times.")
        target, hop = follow(target, answer.headers.get("location", "")), hop + 1


def _exchange(question: Question, target: Target, access: Access, wire: Wire, hop: int) -> Answer:
    backend = PinnedBackend(wire)
    scheme, host = target.scheme.encode(), target.host.encode()
    connection = httpcore2.HTTPConnection(
        httpcore2.Origin(scheme, host, target.port),
        ssl_context=wire.network.tls() if target.scheme == "https" else None,
        network_backend=backend,
    )
    headers = [("Host", target.host), ("User-Agent", AGENT), ("Accept-Encoding", "gzip"), *question.headers]
    headers += access.headers
    if question.content is not None:
        headers.append(("Content-Length", str(len(question.content))))
    request = httpcore2.Request(
        question.method,
        httpcore2.URL(scheme=scheme, host=host, port=target.port, target=target.path.encode()),
        headers=[(name.encode(), value.encode()) for name, value in headers],
        content=question.content,
    )
    try:
        response = connection.handle_request(request)
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        body = Body(b"", False)
        if 200 <= response.status < 300 and question.method != "HEAD":
            body = _body(response, found, writes=question.method not in READS)
        return Answer(target, response.status, found, body, hop)
    except httpcore2.TimeoutException:
        raise Unreachable(f"{target.host} did not answer in time.", sent=wire.sent, timed_out=True) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError) as error:
        if isinstance(error.__cause__ or error, ssl.SSLCertVerificationError):
            raise Refused("certificate", f"The certificate of {target.host} is not good.") from None
        raise Unreachable(f"{target.host} did not answer properly.", sent=wire.sent) from None
    finally:
        connection.close()


def _body(response: httpcore2.Response, headers: Mapping[str, str], *, writes: bool) -> Body:
    """Read the body. What a write answered after it said that it succeeded is no reason to call its outcome unknown."""
    try:
        return read_body(response.iter_stream(), headers.get("content-encoding", ""))
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, Unreachable, Unusable):
        if not writes:
            raise
        return Body(b"", True)
