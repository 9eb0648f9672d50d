"""Tools with every kind of argument, and proposals of calls to them. None of them does anything."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import transaction

from agentops.engine.events import CallGranted, CallStarted, CallSucceeded, RunWaiting
from agentops.guardrails.provenance import Integrity, Provenance, Source, SourceKind, provenance
from agentops.runs.models import Run
from agentops.tenancy.access import WORKER
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSON, JSONObject
from approvals.gating.gate import Candidate, Gate, Pin, classify
from approvals.models import Proposal
from approvals.values.leaves import leaves
from tests.approvals.conftest import Desk, frozen
from tests.approvals.contracts import LOOK_UP, A, C, arguments, contract, do_nothing, no_trace
from tools.allowlist import AllowlistState, lookup
from tools.builtin.shapes import CURRENCY, closed, number, rows, text
from tools.contracts import Consequence, Sensitivity, ToolContract
from tools.registry import registry

LONG = 60_000

LETTER = contract(
    name="lab.letter",
    input_schema=closed(
        sender=text(LONG),
        reply_to=text(LONG),
        to=rows(text(LONG), 40),
        cc=rows(text(LONG), 40),
        subject=text(LONG),
        body=text(LONG),
        html=text(LONG),
        attachments=rows(closed(name=text(LONG), type=text(LONG), size=number(0, 10**9)), 9),
    ),
    sensitivity=frozenset({Sensitivity.EXTERNAL_COMMUNICATION}),
    roles={"sender": C, "reply_to": A, "to": A, "cc": A, "subject": C, "body": C, "html": C, "attachments": C},
    shows={"sender": "email.from", "reply_to": "email.reply_to", "cc": "email.cc"},
    sentence="Send an e-mail to {to|recipients} with the subject {subject|quote}",
    must_see=("to", "subject", "body"),
    egress=("subject", "body", "html", "attachments"),
)
REQUEST = contract(
    name="lab.request",
    input_schema=closed(
        method=text(LONG), url=text(LONG), headers=rows(closed(name=text(LONG), value=text(LONG)), 20), body=text(LONG)
    ),
    sensitivity=frozenset({Sensitivity.EXTERNAL_COMMUNICATION}),
    roles={"method": A, "url": A, "headers": C, "body": C},
    sentence="{method} {url|url}",
    must_see=("method", "url"),
    egress=("body",),
)
STATEMENT = contract(
    name="lab.statement",
    input_schema=closed(database=text(LONG), statement=text(LONG), values=rows(text(LONG), 20)),
    sensitivity=frozenset({Sensitivity.DATA_DELETION}),
    roles={"database": A, "statement": A, "values": C},
    shows={"statement": "sql.statement", "values": "sql.parameters"},
    sentence="Run {statement|sql} in {database}",
    must_see=("database", "statement"),
)
FILE = contract(
    name="lab.file",
    input_schema=closed(path=text(LONG), content=text(LONG), mode=text(LONG), command=text(LONG)),
    sensitivity=frozenset({Sensitivity.PERMISSION_CHANGE}),
    roles={"path": A, "content": C, "mode": A, "command": A},
    shows={"mode": "file.mode", "command": "command"},
    sentence="Write {path} and run {command}",
    must_see=("path", "command"),
)
TRANSFER = contract(
    name="lab.transfer",
    input_schema=closed(
        account=closed(holder=text(LONG), iban=text(LONG), notes=rows(text(LONG), 300)),
        amount_minor=number(-(10**12), 10**12),
        currency=CURRENCY,
        due=text(LONG),
        api_key=text(LONG),
    ),
    roles={"account": A, "amount_minor": A, "currency": A, "due": C, "api_key": C},
    shows={"due": "date"},
    sentence="Pay {amount_minor|money:currency} to {account}",
    must_see=("account", "amount_minor"),
)
EVERYTHING = contract(
    name="lab.everything",
    input_schema=closed(
        method=text(LONG),
        url=text(LONG),
        headers=rows(closed(name=text(LONG), value=text(LONG)), 9),
        request=text(LONG),
        sender=text(LONG),
        to=rows(text(LONG), 9),
        subject=text(LONG),
        letter=text(LONG),
        html=text(LONG),
        attachments=rows(closed(name=text(LONG), type=text(LONG)), 9),
        statement=text(LONG),
        bound=rows(text(LONG), 9),
        path=text(LONG),
        content=text(LONG),
        mode=text(LONG),
        command=text(LONG),
        link=text(LONG),
        due=text(LONG),
        account=closed(holder=text(LONG), notes=rows(text(LONG), 9)),
        plain=text(LONG),
    ),
    sensitivity=frozenset({Sensitivity.EXTERNAL_COMMUNICATION, Sensitivity.DATA_DELETION}),
    roles={
        **dict.fromkeys(("method", "url", "to", "statement", "path", "command", "link", "account"), A),
        **dict.fromkeys(("headers", "request", "sender", "subject", "letter", "html", "attachments", "bound"), C),
        **dict.fromkeys(("content", "mode", "due", "plain"), C),
    },
    shows={
        "method": "http.method",
        "url": "http.url",
        "headers": "http.headers",
        "request": "http.body",
        "sender": "email.from",
        "to": "email.to",
        "subject": "email.subject",
        "letter": "email.body",
        "html": "email.html",
        "attachments": "email.attachments",
        "statement": "sql.statement",
        "bound": "sql.parameters",
        "path": "file.path",
        "content": "file.content",
        "mode": "file.mode",
        "command": "command",
        "link": "url",
        "due": "date",
    },
    sentence="{method} {url|url}, write to {to|recipients}: {subject|quote}, run {statement|sql}",
    must_see=("to", "url", "statement"),
    egress=("subject", "letter", "html"),
)
TOOLS = (LETTER, REQUEST, STATEMENT, FILE, TRANSFER, EVERYTHING)

TYPED = provenance(SourceKind.OPERATOR, "user:1", "/input")


def letter(**changes: JSON) -> JSONObject:
    """Return what an ordinary letter is called with, with changes."""
    plain: JSONObject = {
        "sender": "desk@harbor.example",
        "reply_to": "",
        "to": ["maria@bank.example"],
        "cc": [],
        "subject": "Your refund",
        "body": "It is on its way.",
        "html": "",
        "attachments": [],
    }
    return plain | changes


@contextmanager
def registered(consequence: Consequence | None = None) -> Iterator[None]:
    """Register the tools; the preview of each answers `consequence`."""
    for one in TOOLS:
        describe = None if consequence is None else (lambda given: consequence)
        registry.register(one, do_nothing, reconcile=no_trace, describe=describe)
    try:
        yield
    finally:
        for one in TOOLS:
            registry.remove(one.name, one.version)


def put(
    desk: Desk,
    tool: ToolContract,
    given: JSONObject,
    *,
    known: Mapping[str, Provenance] | None = None,
    source: str = "",
    explanation: str = "",
    run: Run | None = None,
) -> Proposal:
    """Return an open proposal of a call.

    With a `source`, an earlier call has returned that text, and every value is said to come from it, untrusted, unless
    `known` says otherwise.
    """
    run = run or desk.run()
    desk.allow(tool.name, AllowlistState.GATED)
    origin = TYPED
    if source:
        seen = read(desk, run, source)
        origin = Provenance((Source(SourceKind.TOOL, f"lab.look_up:{seen}", "/text"),), Integrity.UNTRUSTED)
    known = known if known is not None else {path: origin for path, _ in leaves(given)}
    allow = lookup(desk.task_type.pk, tool.name)
    verdict = classify(Candidate(tool, Pin(tool.version, tool.digest), given, known, planned=True, allow=allow))
    assert isinstance(verdict, Gate), verdict
    call_id = desk.select(run, tool, given, known)
    with transaction.atomic():
        proposal, proposed = frozen(run, call_id, tool, given, known, verdict, explanation)
        desk.record(run, proposed, actor=WORKER)
    return proposal


def read(desk: Desk, run: Run, text: str) -> str:
    """Let a run have read an untrusted text; return the id of the call."""
    call_id = desk.select(run, LOOK_UP, arguments(), {})
    desk.record(
        run,
        CallGranted(call_id, str(uuid7())),
        CallStarted(call_id, str(uuid7()), 1),
        CallSucceeded(call_id, {"text": text}, "0" * 64, 1, {"": "untrusted"}),
    )
    return call_id


def wait(desk: Desk, run: Run) -> None:
    """Let a run wait for people."""
    desk.record(run, RunWaiting("awaiting_approval"))
