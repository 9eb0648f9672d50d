"""web.fetch and http.request: what the outside says, and what is sent to it. Listed hosts only.

Reads and writes are two contracts because a contract has one effect: GET and HEAD may be repeated, the rest may not.
There is no parameter for headers; a host's credential comes from the tenant's list of hosts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from agentops import clock
from agentops.wire.parse import JSONObject, clean_text
from tools.contracts import (
    ArgumentRole,
    Barred,
    Blast,
    CallContext,
    CannotTell,
    Consequence,
    Effect,
    ErrorCode,
    Fact,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    ToolError,
    Trust,
)
from tools.network import hosts
from tools.network.asking import MAX_REDIRECTS, Access, Answer, Question, ask
from tools.network.bodies import MAX_TEXT, is_text, media_type, text_of
from tools.network.connecting import Network
from tools.network.refusals import Refused, Unreachable, Unusable
from tools.network.urls import MAX_URL, Target, parse_url
from tools.promises import Idempotency, Promises, Sink

from .shapes import YES_NO, choice, closed, nullable, number, text

_CODES = (
    *(ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.PERMISSION_DENIED),
    *(ErrorCode.RATE_LIMITED, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE, ErrorCode.POLICY_BLOCKED),
    ErrorCode.OUTPUT_INVALID,
)
_URL = text(MAX_URL, minimum=10, note="An https address of a host on the tenant's list, spelled plainly.")

FETCH = ToolContract(
    name="web.fetch",
    version="1.0.0",
    title="Fetch from the web",
    description=(
        "Read a page or an API answer from a host on the tenant's list, as text. HEAD looks at its head only. "
        "Everything it says was written outside."
    ),
    input_schema=closed(url=_URL, method=choice("GET", "HEAD")),
    output_schema=closed(
        url=text(MAX_URL),
        status=number(200, 299),
        content_type=text(100),
        text=text(MAX_TEXT),
        truncated=YES_NO,
        redirects=number(0, MAX_REDIRECTS),
    ),
    effect=Effect.READ,
    roles={"url": ArgumentRole.AUTHORITY, "method": ArgumentRole.AUTHORITY},
    output_trust={"": Trust.UNTRUSTED, "truncated": Trust.TRUSTED},
    error_codes=frozenset(_CODES),
    sentence="Fetch {url|url} by {method}",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Only reads."),
    must_see=("url",),
    egress=("url",),
    timeout_s=20.0,
    rate_per_minute=120,
    shows={"url": "http.url", "method": "http.method"},
    promises=Promises(sinks=frozenset({Sink.HTTP})),
)

REQUEST = ToolContract(
    name="http.request",
    version="1.0.0",
    title="Send an HTTP request",
    description=(
        "Send data to a host on the tenant's list that may be written to, with the call's idempotency key as "
        "Idempotency-Key. Redirects are not followed. To read, use web.fetch. The answer was written outside."
    ),
    input_schema=closed(
        method=choice("POST", "PUT", "PATCH"),
        url=_URL,
        content_type=choice(
            "application/json", "application/x-www-form-urlencoded", "application/xml", "text/plain; charset=utf-8"
        ),
        body=text(100_000),
    ),
    output_schema=closed(
        status=number(200, 399),
        location=nullable(text(MAX_URL)),
        content_type=nullable(text(100)),
        text=nullable(text(MAX_TEXT)),
        truncated=YES_NO,
        idempotency_key=text(200),
    ),
    effect=Effect.UNSAFE_WRITE,
    sensitivity=frozenset({Sensitivity.EXTERNAL_COMMUNICATION}),
    roles={
        "method": ArgumentRole.AUTHORITY,
        "url": ArgumentRole.AUTHORITY,
        "content_type": ArgumentRole.CONTENT,
        "body": ArgumentRole.CONTENT,
    },
    output_trust={"": Trust.UNTRUSTED, "truncated": Trust.TRUSTED, "idempotency_key": Trust.TRUSTED},
    error_codes=frozenset((*_CODES, ErrorCode.OUTCOME_UNKNOWN)),
    sentence="Send a {method} request to {url|url}",
    reversible=Reversibility(Reversal.IRREVERSIBLE, "What was sent cannot be called back."),
    must_see=("method", "url", "body"),
    egress=("url", "body"),
    timeout_s=20.0,
    rate_per_minute=60,
    shows={"url": "http.url", "method": "http.method", "body": "http.body"},
    # The key is sent along; whether the other side keeps it, nobody here knows.
    promises=Promises(idempotency=Idempotency.NONE, sinks=frozenset({Sink.HTTP}), attestations=("url",)),
)


@dataclass(frozen=True, slots=True)
class Web:
    """The two handlers, over one network."""

    network: Network = field(default_factory=Network)

    def fetch(self, ctx: CallContext, arguments: JSONObject) -> JSONObject:
        """Read one address, following redirects between listed hosts."""
        method = str(arguments["method"])
        answer = self._ask(ctx, Question(method, _target(arguments), (("Accept", _ACCEPTED),)), redirects=MAX_REDIRECTS)
        if not 200 <= answer.status < 300:
            raise _failed(answer, writes=False)
        header = answer.headers.get("content-type", "")
        if answer.body.content and not is_text(media_type(header)):
            raise ToolError(ErrorCode.OUTPUT_INVALID, f"{answer.target.host} answered with something that is no text.")
        words, cut = text_of(answer.body, header)
        return {
            "url": answer.target.url,
            "status": answer.status,
            "content_type": clean_text(media_type(header)),
            "text": words,
            "truncated": cut,
            "redirects": answer.redirects,
        }

    def request(self, ctx: CallContext, arguments: JSONObject) -> JSONObject:
        """Send one request under the call's idempotency key; an answer that says it arrived counts, whatever it is."""
        headers = (
            ("Accept", _ACCEPTED),
            ("Content-Type", str(arguments["content_type"])),
            ("Idempotency-Key", ctx.idempotency_key),
        )
        content = str(arguments["body"]).encode()
        answer = self._ask(ctx, Question(str(arguments["method"]), _target(arguments), headers, content), writes=True)
        if not 200 <= answer.status < 304:
            raise _failed(answer, writes=True)
        header = answer.headers.get("content-type", "")
        words, cut = text_of(answer.body, header) if is_text(media_type(header)) else (None, bool(answer.body.content))
        location = answer.headers.get("location")
        return {
            "status": answer.status,
            "location": None if location is None else clean_text(location[:MAX_URL]),
            "content_type": clean_text(media_type(header)) or None,
            "text": words,
            "truncated": cut or answer.body.cut,
            "idempotency_key": ctx.idempotency_key,
        }

    def _ask(self, ctx: CallContext, question: Question, *, redirects: int = 0, writes: bool = False) -> Answer:
        contract = REQUEST if writes else FETCH
        left = min(contract.timeout_s, (ctx.deadline - clock.now()).total_seconds())
        added: list[str] = []

        def admit(target: Target) -> Access:
            access = hosts.admit(target, question.method)
            added.extend(secret for _, secret in access.headers)
            return access

        try:
            answer = ask(question, admit=admit, network=self.network, seconds=left, redirects=redirects)
        except Refused as refused:
            raise ToolError(ErrorCode.POLICY_BLOCKED, refused.message) from None
        except Unreachable as lost:
            raise _lost(lost, writes=writes) from None
        except Unusable as bad:
            raise ToolError(ErrorCode.OUTPUT_INVALID, bad.message) from None
        return _without(answer, added)


def _without(answer: Answer, secrets: list[str]) -> Answer:
    """Take credentials of the desk out of what the other side says back."""
    content, headers = answer.body.content, dict(answer.headers)
    for secret in secrets:
        for part in {secret, secret.rpartition(" ")[2]} - {""}:
            content = content.replace(part.encode(), b"[credential]")
            headers = {name: value.replace(part, "[credential]") for name, value in headers.items()}
    return Answer(answer.target, answer.status, headers, type(answer.body)(content, answer.body.cut), answer.redirects)


_ACCEPTED = "application/json, text/html;q=0.9, text/*;q=0.8, application/xml;q=0.8, */*;q=0.1"
_STATUS = {
    400: ErrorCode.INVALID_INPUT,
    401: ErrorCode.PERMISSION_DENIED,
    403: ErrorCode.PERMISSION_DENIED,
    404: ErrorCode.NOT_FOUND,
    407: ErrorCode.PERMISSION_DENIED,
    409: ErrorCode.CONFLICT,
    410: ErrorCode.NOT_FOUND,
    412: ErrorCode.CONFLICT,
    423: ErrorCode.CONFLICT,
    428: ErrorCode.CONFLICT,
    429: ErrorCode.RATE_LIMITED,
    451: ErrorCode.PERMISSION_DENIED,
}


def _failed(answer: Answer, *, writes: bool) -> ToolError:
    """Return the error that a status stands for (RFC 9110, section 15); its text is the other side's and not repeated.

    Of a write, only a status that says that nothing was done is a failure; after any other nobody knows.
    """
    status, wait = answer.status, retry_after(answer.headers.get("retry-after", ""))
    said = f"{answer.target.host} answered with {status}."
    if status in _STATUS:
        return ToolError(_STATUS[status], said, wait if status == 429 else None)
    if status in (307, 308):
        return ToolError(ErrorCode.POLICY_BLOCKED, f"{said} A request that writes does not follow redirects.")
    if status == 503 and (not writes or wait is not None):
        return ToolError(ErrorCode.UNAVAILABLE, said, wait)
    if 400 <= status < 500 and status != 408:
        return ToolError(ErrorCode.INVALID_INPUT, said)
    if writes:
        return ToolError(ErrorCode.OUTCOME_UNKNOWN, f"{said} Whether it acted on the request is not known.")
    if status == 408 or status == 504:
        return ToolError(ErrorCode.TIMEOUT, said, wait)
    if status >= 500:
        return ToolError(ErrorCode.UNAVAILABLE, said, wait)
    return ToolError(ErrorCode.OUTPUT_INVALID, said)


def _lost(lost: Unreachable, *, writes: bool) -> ToolError:
    if writes and lost.sent:
        return ToolError(ErrorCode.OUTCOME_UNKNOWN, f"{lost.message} Whether it acted on the request is not known.")
    return ToolError(ErrorCode.TIMEOUT if lost.timed_out else ErrorCode.UNAVAILABLE, lost.message)


def retry_after(header: str) -> float | None:
    """Return the seconds that a Retry-After header asks for (a number or a date), at most an hour; None without one."""
    value = header.strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:9]), 3600))
    try:
        seconds = (parsedate_to_datetime(value) - clock.now()).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(0.0, seconds), 3600.0)


def _target(arguments: JSONObject) -> Target:
    try:
        return parse_url(str(arguments["url"]))
    except Refused as refused:
        raise ToolError(ErrorCode.POLICY_BLOCKED, refused.message) from None


def reconcile(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Say that only the other side knows, and by what to ask it."""
    return CannotTell(f"The other side keeps the record; ask it for the Idempotency-Key {ctx.idempotency_key}.")


def bars(arguments: JSONObject) -> Barred | None:
    """Refuse before anybody is asked: a URL in an odd form, or a host that the tenant's list does not allow."""
    try:
        hosts.admit(parse_url(str(arguments["url"])), str(arguments["method"]))
    except Refused as refused:
        return Barred(refused.reason, refused.message)
    return None


def describe_fetch(arguments: JSONObject) -> Consequence:
    """Say which host is asked."""
    return _described(arguments, lambda host: f"Reads one address of {host}", "addresses read", ("url",))


def describe_request(arguments: JSONObject) -> Consequence:
    """Say which host gets how much."""
    size = len(str(arguments["body"]).encode())
    say = f"Sends {size:,} bytes to "
    return _described(arguments, lambda host: f"{say}{host}", "requests that write", ("url", "body"))


def _described(arguments: JSONObject, summary: Callable[[str], str], kind: str, egress: tuple[str, ...]) -> Consequence:
    try:
        target = parse_url(str(arguments["url"]))
    except Refused as refused:
        return Consequence("Asks nobody", blast=(Blast(kind, 0),), warnings=(f"{refused.message} The call will fail.",))
    facts, warnings = [Fact("Host", target.host)], []
    row = hosts.look_up(target.host)
    if row is not None:
        by = f", changed last by {row.updated_by}" if row.updated_by is not None else ""
        facts.append(Fact("On the list of hosts", f"{row.host}, {row.get_access_display().lower()}{by}"))
        added = row.credential_header if row.credential and row.host == target.host else ""
        facts.append(Fact("Credential", f"the desk adds {added}" if added else "none"))
    if (bar := bars(arguments)) is not None:
        warnings.append(f"{bar.message} The call will fail.")
    if target.scheme == "http":
        warnings.append("Without encryption: anybody on the way reads it and can change the answer.")
    return Consequence(
        summary(target.host),
        (Blast(kind, 1, target.host),),
        egress=egress,
        facts=tuple(facts),
        warnings=tuple(warnings),
    )
