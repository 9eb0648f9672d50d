"""Commit what several runs did in one transaction: events, projections, what belongs to them, and leases.

The runs share nothing but the transaction. One that somebody else has written to meanwhile, whose lease is gone or
whose permission is refused is left out and told so; the others are committed. Statements are few, prepared, and the
same for one run as for fifty, because every step of every run takes this path.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db import connection, transaction

from agentops.audit.services import Sealed, StreamConflict, actor_json, seal
from agentops.engine.events import Event, Stamped
from agentops.engine.folding import fold
from agentops.engine.state import State
from agentops.runs import statements
from agentops.runs.points import reached
from agentops.runs.recording import (
    Lease,
    LeaseLost,
    call_tables,
    event_table,
    insert_events,
    project_calls,
    rows,
    stream_of,
)
from agentops.runs.statements import Condition, Table
from agentops.tenancy.access import Actor
from agentops.tenancy.scope import current_tenant_slug

RUN_COLUMNS: Final[Mapping[str, str]] = {
    "state": "text",
    "phase": "text",
    "steps_used": "integer",
    "calls_used": "integer",
    "denied_calls": "integer",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "failure_code": "text",
    "failure_message": "text",
    "answer": "text",
    "not_before": "timestamptz",
    "rung_at": "timestamptz",
    "lease_owner": "text",
    "lease_until": "timestamptz",
    "attempts": "integer",
    "paused_at": "timestamptz",
    "halt_id": "bigint",
}
"""Column of a run that its worker writes -> its PostgreSQL type."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a run's stream ends: its row's id, the number of its last event and the hash of its last row."""

    stream_id: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What a write does besides, as rows: new ones of the run, and a condition with a single row of the run's.

    Where the condition does not hold nothing is written, and `inside` and `beside` find out why.
    """

    table: Table | None = None
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """What one run wants committed.

    `events` lead from the state as recorded to `after`. `columns` are all of `RUN_COLUMNS` as they will be. `inside`
    runs in the transaction before anything else is written; what it raises leaves this write out, and it must not
    have written anything then. `beside` runs after it, under the locks of the run's stream and row; the events it
    returns are recorded as well. `shortcut` says the same as both of them for the case that nothing stands in the way.
    """

    lease: Lease
    head: Head
    events: Sequence[Stamped]
    after: State
    actor: Actor
    columns: Mapping[str, Any]
    inside: Callable[[], None] | None = None
    beside: Callable[[], Sequence[Event]] | None = None
    shortcut: Shortcut | None = None

    @property
    def plain(self) -> bool:
        """Whether one statement can write all of it."""
        return self.shortcut is not None or (self.inside is None and self.beside is None)


def commit(writes: Sequence[Write]) -> list[Head | Exception]:
    """Commit the writes of the open tenant scope that can be; return for each its new head or why it was left out.

    Reasons: `StreamConflict` (somebody else has appended), `LeaseLost` (another worker has the run), or what `inside`
    raised. Anything else propagates, and then nothing was committed that is known of.
    """
    results: dict[int, Head | Exception] = {}
    pending = list(enumerate(writes))
    if connection.vendor == "postgresql":
        # What can be said in rows takes one statement, however many runs there are.
        plain = [(index, write) for index, write in pending if write.plain]
        if plain:
            results |= _at_once(plain)
            pending = [one for one in pending if one[0] not in results]
    while pending:
        try:
            with transaction.atomic():
                done = _attempt(pending)
            results |= done
            pending = [one for one in pending if one[0] not in done]
        except _LeftOut as left:
            results |= left.reasons
            pending = [one for one in pending if one[0] not in left.reasons]
    return [results[index] for index in range(len(writes))]


def _at_once(plain: Sequence[tuple[int, Write]]) -> dict[int, Head | Exception]:
    """Write what can be written; what is left out because its condition does not hold is not in the answer."""
    reached("in_transaction")
    shortcuts = [write.shortcut for _, write in plain if write.shortcut is not None]
    with _with_texts([write for _, write in plain]):
        sealed = {index: _sealed(write) for index, write in plain if write.events}
        heads = {index: _head_after(write, sealed.get(index, ())) for index, write in plain}
        told = [(write, sealed[index]) for index, write in plain if index in sealed]
        new, known = call_tables((write.lease.run_id, write.after, write.events) for write, _ in told)
        found = statements.write_steps(
            [
                (
                    *(write.lease.run_id, write.lease.fence, write.lease.owner),
                    *(write.head.stream_id, write.head.seq, heads[index].seq, heads[index].hash),
                    *(write.columns[name] for name in RUN_COLUMNS),
                )
                for index, write in plain
            ],
            RUN_COLUMNS,
            event_table((write.head.stream_id, write.lease.run_id, one) for write, one in told),
            known,
            more=[new, *_joined([one.table for one in shortcuts if one.table is not None])],
            condition=_of_all([one.condition for one in shortcuts if one.condition is not None]),
        )
    results: dict[int, Head | Exception] = {}
    for index, write in plain:
        one = found[write.lease.run_id]
        if not one.in_place:
            results[index] = StreamConflict(stream_of(write.lease.run_id), write.head.seq, -1)
        elif not one.allowed:
            continue
        elif not one.leased:
            results[index] = LeaseLost(f"run {write.lease.run_id} has another worker")
        else:
            results[index] = heads[index]
    return results


def _joined(tables: Sequence[Table]) -> list[Table]:
    """Put rows of the same table together."""
    by_name: dict[str, Table] = {}
    for table in tables:
        known = by_name.get(table.name)
        by_name[table.name] = table if known is None else replace(known, rows=[*known.rows, *table.rows])
    return list(by_name.values())


def _of_all(conditions: Sequence[Condition]) -> Condition | None:
    """Return the conditions of several runs as one; there is but one kind of them."""
    if not conditions:
        return None
    return replace(conditions[0], rows=[row for one in conditions for row in one.rows])


def _with_texts(writes: Sequence[Write]) -> AbstractContextManager[Any]:
    """A model's long texts are stored beside its events, in the same transaction; without one there is none to open."""
    by_model = any(getattr(s.event, "exchange", None) is not None for write in writes for s in write.events)
    return transaction.atomic() if by_model else nullcontext()


def _head_after(write: Write, sealed: Sequence[Sealed]) -> Head:
    return Head(write.head.stream_id, sealed[-1].seq, sealed[-1].hash) if sealed else write.head


class _LeftOut(Exception):
    """Some writes turned out to be impossible after others had begun: roll back, and go on without them."""

    def __init__(self, reasons: Mapping[int, Exception]) -> None:
        super().__init__("left out")
        self.reasons = reasons


def _attempt(pending: Sequence[tuple[int, Write]]) -> dict[int, Head | Exception]:
    results: dict[int, Head | Exception] = {}
    heads = statements.lock_streams([write.head.stream_id for _, write in pending])
    going: list[tuple[int, Write]] = []
    for index, write in pending:
        actual = heads.get(write.head.stream_id, 0)
        if actual != write.head.seq:
            results[index] = StreamConflict(stream_of(write.lease.run_id), write.head.seq, actual)
            continue
        try:
            if write.inside is not None:
                write.inside()
        except Exception as refusal:
            if connection.needs_rollback:
                raise _LeftOut({index: refusal}) from refusal
            results[index] = refusal
            continue
        going.append((index, write))
    if not going:
        return results
    reached("in_transaction")
    kept = statements.update_runs(
        [(w.lease.run_id, w.lease.fence, w.lease.owner, *(w.columns[name] for name in RUN_COLUMNS)) for _, w in going],
        RUN_COLUMNS,
    )
    lost = {
        index: LeaseLost(f"run {write.lease.run_id} has another worker")
        for index, write in going
        if write.lease.run_id not in kept
    }
    if lost:
        raise _LeftOut(lost)
    going = [(index, _beside(write)) for index, write in going]
    for index, write in going:
        results[index] = write.head
    sealed = {index: _sealed(write) for index, write in going if write.events}
    if sealed:
        told = [(write, sealed[index]) for index, write in going if index in sealed]
        insert_events([(write.head.stream_id, write.lease.run_id, one) for write, one in told])
        project_calls([(write.lease.run_id, write.after, write.events) for write, _ in told])
        for index, write in going:
            if index in sealed:
                results[index] = _head_after(write, sealed[index])
    reached("in_transaction")
    return results


def _beside(write: Write) -> Write:
    """Do what belongs into the same transaction, and record what comes of it."""
    events = write.beside() if write.beside is not None else ()
    if not events:
        return write
    at = write.events[-1].at
    more = [Stamped(write.after.seq + number, at, event) for number, event in enumerate(events, start=1)]
    return replace(write, events=(*write.events, *more), after=fold(more, write.after))


def _sealed(write: Write) -> list[Sealed]:
    run_id = write.lease.run_id
    return seal(
        rows(run_id, write.events, write.after),
        tenant=current_tenant_slug(),
        stream=stream_of(run_id),
        seq=write.head.seq,
        head=write.head.hash,
        actor=actor_json(write.actor),
        run_id=run_id,
        at=write.events[-1].at,
    )
