"""The tools of the chaos test. Each writes down what it did in a record of its own before it returns.

The record is a file beside the product's database that no rollback reaches, so an effect that happened twice stands
there twice. The unsafe tool never looks whether it has seen a key: what keeps it from being done twice is the product.
"""

import os
import random
import sqlite3
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from agentops.wire.parse import JSONObject
from tools.builtin.shapes import closed, number, text
from tools.contracts import (
    ArgumentRole,
    BreakerRules,
    CallContext,
    CannotTell,
    DidNotHappen,
    Effect,
    ErrorCode,
    Happened,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    ToolError,
    Trust,
)
from tools.registry import registry

DIRECTORY = "CHAOS_DIRECTORY"
FLAKY = 0.03
"""How often a tool that may be repeated fails for the moment."""
SLOWEST_S = 0.03
ANSWER: JSONObject = {"text": "done"}

_A, _C = ArgumentRole.AUTHORITY, ArgumentRole.CONTENT
# A breaker that opened for the failures here would only make everything wait.
_NEVER = BreakerRules(failures=100, window=100, share=1.0, cool_down_s=1, cool_down_cap_s=1)
_SHAPE = closed(n=number(0, 100), account=text(40, minimum=1))


def _contract(name: str, effect: Effect, *sensitivity: Sensitivity) -> ToolContract:
    return ToolContract(
        name=name,
        version="1.0.0",
        title=name,
        description="Writes down that it was called.",
        input_schema=_SHAPE,
        output_schema=closed(text=text(100)),
        effect=effect,
        sensitivity=frozenset(sensitivity),
        roles={"n": _C, "account": _A},
        output_trust={"": Trust.TRUSTED},
        error_codes=frozenset({ErrorCode.UNAVAILABLE}),
        sentence="Do it for {account}",
        reversible=Reversibility(Reversal.IRREVERSIBLE, "It stays written down."),
        timeout_s=2.0,
        breaker=_NEVER,
    )


LOOK = _contract("chaos.look", Effect.READ)
NOTE = _contract("chaos.note", Effect.IDEMPOTENT_WRITE)
PAY = _contract("chaos.pay", Effect.UNSAFE_WRITE, Sensitivity.FINANCIAL)


class Record:
    """What the tools did, by idempotency key, one row for each time."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "record.sqlite3"
        with closing(self._connect()) as connection:
            connection.execute("pragma journal_mode=WAL")
            connection.execute("create table if not exists effect (tool text, key text, run text, call text, at int)")
            connection.execute("create index if not exists effect_by_key on effect (key)")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30, isolation_level=None)

    def write(self, tool: str, ctx: CallContext) -> None:
        """Write down one effect; on disk when this returns, as far as a killed process is concerned."""
        with closing(self._connect()) as connection:
            row = (tool, ctx.idempotency_key, str(ctx.run_id), ctx.call_id, time.time_ns())
            connection.execute("insert into effect values (?, ?, ?, ?, ?)", row)

    def times(self, key: str) -> int:
        """Return how often the effect with this key happened."""
        with closing(self._connect()) as connection:
            return int(connection.execute("select count(*) from effect where key = ?", (key,)).fetchone()[0])

    def effects(self, tool: str) -> dict[str, int]:
        """Return how often each key happened."""
        with closing(self._connect()) as connection:
            rows = connection.execute("select key, count(*) from effect where tool = ? group by key", (tool,))
            return dict(rows.fetchall())


def record() -> Record:
    """Return the record of this deployment."""
    return Record(Path(os.environ[DIRECTORY]))


def hard_to_tell(key: str) -> bool:
    """Whether the tool cannot say what became of this key: for one key in four it asks a person."""
    return sha256(f"tell {key}".encode()).digest()[0] < 64


def _take_time() -> None:
    time.sleep(random.uniform(0, SLOWEST_S))


def look(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    if random.random() < FLAKY:
        raise ToolError(ErrorCode.UNAVAILABLE, "Not now.")
    return ANSWER


def note(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    if random.random() < FLAKY:
        raise ToolError(ErrorCode.UNAVAILABLE, "Not now.")
    record().write(NOTE.name, ctx)
    return ANSWER


def pay(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    _take_time()
    record().write(PAY.name, ctx)
    _take_time()
    return ANSWER


def paid(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    if hard_to_tell(ctx.idempotency_key):
        return CannotTell("The bank does not answer questions today.")
    return Happened(ANSWER) if record().times(ctx.idempotency_key) else DidNotHappen()


def register() -> None:
    """Make the tools known in this process; a second time changes nothing."""
    if registry.get(PAY.name) is None:
        registry.register(LOOK, look)
        registry.register(NOTE, note)
        registry.register(PAY, pay, reconcile=paid)
