"""The tools that a benchmark calls, in every process of it: two hundred bytes back, and a note of when they started.

Imported by workers (`celery worker -I tests.bench.contracts`), by whoever submits and by whoever decides. The notes go
to files in the directory that BENCH_NOTES names, one a process; they are the tools' own record of what happened.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

from agentops.wire.parse import JSONObject
from tools.builtin.shapes import closed, number, text
from tools.contracts import (
    ArgumentRole,
    CallContext,
    DidNotHappen,
    Effect,
    Happened,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    Trust,
)
from tools.registry import registry

NOTES = "BENCH_NOTES"
ANSWER: JSONObject = {"text": "x" * 189}
"""Two hundred bytes of JSON."""

LOOK = ToolContract(
    name="bench.look",
    version="1.0.0",
    title="Look",
    description="Returns two hundred bytes.",
    input_schema=closed(n=number(0, 10_000), account=text(40, minimum=1)),
    output_schema=closed(text=text(400)),
    effect=Effect.READ,
    roles={"n": ArgumentRole.CONTENT, "account": ArgumentRole.AUTHORITY},
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset(),
    sentence="Look at {account}",
    reversible=Reversibility(Reversal.NONE_NEEDED, ""),
)
PAY = ToolContract(
    name="bench.pay",
    version="1.0.0",
    title="Pay",
    description="Notes that it paid, and returns two hundred bytes.",
    input_schema=closed(n=number(0, 10_000), account=text(40, minimum=1), amount_minor=number(1, 10_000_000)),
    output_schema=closed(text=text(400)),
    effect=Effect.UNSAFE_WRITE,
    sensitivity=frozenset({Sensitivity.FINANCIAL}),
    roles={"n": ArgumentRole.CONTENT, "account": ArgumentRole.AUTHORITY, "amount_minor": ArgumentRole.AUTHORITY},
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset(),
    sentence="Pay {amount_minor} to {account}",
    reversible=Reversibility(Reversal.IRREVERSIBLE, "The money leaves at once."),
    must_see=("account", "amount_minor"),
)


@dataclass(frozen=True, slots=True)
class Note:
    """One start of a handler: which step of which run, under which key, in nanoseconds since 1970."""

    run_id: UUID
    n: int
    tool: str
    key: str
    at_ns: int


@cache
def _file(pid: int) -> int:
    """Return this process's own file; asked by process id, because a forked child must not write to its parent's."""
    path = Path(os.environ[NOTES]) / f"{pid}.notes"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _note(tool: str, ctx: CallContext, n: object) -> None:
    line = f"{ctx.run_id}\t{n}\t{tool}\t{ctx.idempotency_key}\t{time.time_ns()}\n"
    os.write(_file(os.getpid()), line.encode())


def look(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    _note(LOOK.name, ctx, arguments["n"])
    return ANSWER


def pay(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    _note(PAY.name, ctx, arguments["n"])
    return ANSWER


def paid(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look into the notes."""
    known = any(note.key == ctx.idempotency_key for note in notes(Path(os.environ[NOTES])))
    return Happened(ANSWER) if known else DidNotHappen()


def notes(directory: Path) -> Iterator[Note]:
    """Read what every process noted; order within one process only."""
    for path in sorted(directory.glob("*.notes")):
        for line in path.read_text().splitlines():
            run, n, tool, key, at = line.split("\t")
            yield Note(UUID(run), int(n), tool, key, int(at))


def register() -> None:
    """Make the tools known in this process; a second time changes nothing."""
    if registry.get(LOOK.name) is None:
        registry.register(LOOK, look)
        registry.register(PAY, pay, reconcile=paid)


def remove() -> None:
    """Take them out again."""
    for contract in (LOOK, PAY):
        registry.remove(contract.name, contract.version)


if NOTES in os.environ:
    register()
