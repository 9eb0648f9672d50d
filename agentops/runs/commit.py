"""Commit what several runs did in one transaction: events, projections, what belongs to them, and leases.

The runs share nothing but the transaction. One that somebody else has written to meanwhile, whose lease is gone or
whose permission is refused is left out and told so; the others are committed. Statements are few, prepared, and the
same for one run as for fifty, because every step of every run takes this path.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction

from agentops.audit.services import Sealed, StreamConflict, actor_json, seal
from agentops.engine.events import Stamped
from agentops.engine.state import State
from agentops.runs import statements
from agentops.runs.points import reached
from agentops.runs.recording import Lease, LeaseLost, insert_events, project_calls, rows, stream_of
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
}
"""Column of a run that its worker writes -> its PostgreSQL type."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a run's stream ends: its row's id, the number of its last event and the hash of its last row."""

    stream_id: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Write:
    """What one run wants committed.

    `events` lead from the state as recorded to `after`. `columns` are all of `RUN_COLUMNS` as they will be. `inside`
    runs in the transaction before anything else is written; what it raises leaves this write out, and it must not
    have written anything then. `beside` runs after it, under the lock of the run's stream.
    """

    lease: Lease
    head: Head
    events: Sequence[Stamped]
    after: State
    actor: Actor
    columns: Mapping[str, Any]
    inside: Callable[[], None] | None = None
    beside: Callable[[], None] | None = None


class Refused(Exception):
    """`inside` said no; nothing of this write was committed. The reason is the cause."""


def commit(writes: Sequence[Write]) -> list[Head | Exception]:
    """Commit the writes of the open tenant scope that can be; return for each its new head or why it was left out.

    Reasons: `StreamConflict` (somebody else has appended), `LeaseLost` (another worker has the run), or what `inside`
    raised. Anything else propagates, and then nothing was committed that is known of.
    """
    results: dict[int, Head | Exception] = {}
    pending = list(enumerate(writes))
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
    for index, write in going:
        if write.beside is not None:
            write.beside()
        results[index] = write.head
    sealed = {index: _sealed(write) for index, write in going if write.events}
    if sealed:
        told = [(write, sealed[index]) for index, write in going if index in sealed]
        insert_events([(write.head.stream_id, write.lease.run_id, one) for write, one in told])
        project_calls([(write.lease.run_id, write.after, write.events) for write, _ in told])
        for index, write in going:
            if index in sealed:
                last = sealed[index][-1]
                results[index] = Head(write.head.stream_id, last.seq, last.hash)
    reached("in_transaction")
    return results


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
