"""Write what happened to a run: its events and their projection, in one transaction.

The worker that holds the lease records with `runs.commit`; everybody else (a decision, an expiry, a cancellation) with
`record_outside`. Both fold the events through the engine first, so a history that cannot be is never written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.transaction import TransactionManagementError

from agentops.audit.models import Stream, genesis
from agentops.audit.packing import pack, unpack
from agentops.audit.services import NewEvent, Packed, Recorded, Sealed, actor_json, read, seal
from agentops.audit.services import load as load_stream
from agentops.engine.codec import decode, encode
from agentops.engine.events import (
    CallAdopted,
    CallConfirmed,
    CallDeferred,
    CallDenied,
    CallFailed,
    CallGranted,
    CallProposed,
    CallReconciled,
    CallSelected,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    CallWithdrawn,
    Event,
    PlanMade,
    ProposalAnswered,
    ProposalAsked,
    ProposalDecided,
    ProposalExpired,
    ProposalUnanswered,
    ProposalUndone,
    ProposalWithdrawn,
    RunClaimed,
    RunSubmitted,
    RunWaiting,
    Stamped,
    StepSkipped,
    StepVerified,
)
from agentops.engine.folding import fold
from agentops.engine.questions import waiting as waiting_questions
from agentops.engine.refusals import ended_by
from agentops.engine.state import Call, State
from agentops.engine.transitions import CallState, RunState
from agentops.payloads.services import keep
from agentops.runs.dispatch import ring
from agentops.runs.endings import concerned, events_of_end
from agentops.runs.models import Run
from agentops.runs.statements import (
    Amend,
    Change,
    Column,
    Table,
    Writing,
    hold_stream,
    lock_row,
    moved,
    next_stream_id,
    rows_of,
    stream_rows,
    table_of,
    write,
)
from agentops.tenancy.access import Actor
from agentops.tenancy.scope import current_tenant_id, current_tenant_slug


class LeaseLost(Exception):
    """Another worker has taken the run over; nothing was written."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write a run's events: valid while the row still carries `fence`."""

    run_id: UUID
    owner: str
    fence: int
    until: datetime


def stream_of(run_id: UUID) -> str:
    return f"run:{run_id}"


def load(run_id: UUID) -> list[Stamped]:
    """Return the recorded events of a run of the open tenant scope, oldest first. One query."""
    return [stamped(recorded) for recorded in load_stream(stream_of(run_id))]


class History(NamedTuple):
    """What is on record of a run: the id of the stream, the hash of its last row and all its events."""

    stream_id: int
    last: bytes
    events: list[Stamped]


def history(stream_id: int | None, bodies: Sequence[bytes] | None, hashes: Sequence[bytes] | None) -> History | None:
    """Read the rows of a stream, as they are stored; None if there are none, or one of them cannot be read."""
    if stream_id is None or not bodies or not hashes:
        return None
    try:
        events = _events(zip(bodies, hashes, strict=True))
    except Exception:  # noqa: BLE001 - whoever reads it again finds out what is wrong with it
        return None
    return History(stream_id, bytes(hashes[-1]), events)


def load_many(run_ids: Iterable[UUID]) -> dict[UUID, History]:
    """Return the histories of runs of the open tenant scope. One query, whatever the number of runs."""
    by_name = {stream_of(run_id): run_id for run_id in run_ids}
    found = stream_rows(current_tenant_id(), list(by_name))
    loaded: dict[UUID, History] = {}
    for name, stream_id, body, digest in found:
        known = loaded.get(by_name[name])
        events = known.events if known else []
        events.extend(_events([(body, digest)]))
        loaded[by_name[name]] = History(stream_id, bytes(digest), events)
    return loaded


def _events(stored: Iterable[tuple[bytes, bytes]]) -> list[Stamped]:
    """Read rows of a stream as they are stored: (packed text, hash)."""
    return [stamped(one) for body, digest in stored for one in read(unpack(body), bytes(digest))]


def state_of(run_id: UUID) -> State:
    """Fold a run's recorded events."""
    return fold(load(run_id))


def stamped(recorded: Recorded) -> Stamped:
    """Read one recorded event as the engine's."""
    return Stamped(recorded.seq, recorded.at, decode(recorded.type, recorded.data))


@dataclass(frozen=True, slots=True)
class Held:
    """A run's stream, locked until the transaction ends: its id, the number of its last event, its last row's hash."""

    stream_id: int
    seq: int
    head: bytes


def record_outside(
    run_id: UUID,
    events: Sequence[Event],
    *,
    actor: Actor,
    now: datetime,
    beside: Sequence[Writing] = (),
) -> State:
    """Append events to a run without holding its lease, and wake a worker if the run has work again.

    Must run inside `atomic`, before anything that depends on nobody else writing to the run: it locks the run's stream
    until the transaction ends. What is `beside` is written together with the
    events. Raises IllegalTransition if the history does not allow the events; nothing is written then.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("Events are appended in the transaction of the change they tell about.")
    held = _hold(run_id)
    state = fold(_events(rows_of(held.stream_id, held.seq)))
    stamps = _stamps(state, events, now)
    after = fold(stamps, state)  # raises IllegalTransition before anything is written
    if concerned(after) and after.state.terminal and not state.state.terminal:
        # Whoever adds to what ends with a run locks its row first.
        lock_row("runs_run", run_id)
    if late := events_of_end(run_id, state, after):
        stamps += _stamps(after, late, after.clock or now)
        after = fold(stamps[len(events) :], after)
    sealed = _sealed(run_id, held, stamps, after, actor, now)
    changes = projection(state, after, stamps)
    run = Table("runs_run", [Column("id", "uuid"), *(_RUN[name] for name in changes)], [(run_id, *changes.values())])
    write(
        [
            *beside,
            event_table([(held.stream_id, run_id, sealed)]),
            moved([(held.stream_id, sealed[-1].seq, sealed[-1].hash)]),
            *([Change(run)] if changes else ()),
            *call_tables([(run_id, after, stamps)]),
        ]
    )
    if after.state is RunState.QUEUED and not after.paused and _ready_at(after) == after.clock:
        ring(current_tenant_id(), run_id)
    return after


def record_new(run: Run, submitted: RunSubmitted, *, actor: Actor, now: datetime) -> None:
    """Write a run that is not there yet, with its stream and its first event, and wake a worker.

    Must run inside `atomic`.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("Events are appended in the transaction of the change they tell about.")
    name, slug = stream_of(run.pk), current_tenant_slug()
    stream = Stream(name=name, head=genesis(slug, name), tenant_id=current_tenant_id())
    if connection.vendor == "postgresql":
        stream.pk = next_stream_id()
    else:
        stream.save(force_insert=True)
    stamps = _stamps(State(), [submitted], now)
    after = fold(stamps)
    sealed = _sealed(run.pk, Held(stream.pk, 0, bytes(stream.head)), stamps, after, actor, now)
    for column, value in projection(State(), after, stamps).items():
        setattr(run, column, value)
    last = (stream.pk, sealed[-1].seq, sealed[-1].hash)
    new = Table("audit_stream", _STREAM_COLUMNS, [(stream.tenant_id, name, *last)])
    write(
        [
            table_of([run]),
            new if connection.vendor == "postgresql" else moved([last]),
            event_table([(stream.pk, run.pk, sealed)]),
        ]
    )
    ring(current_tenant_id(), run.pk)


def _sealed(
    run_id: UUID, held: Held, stamps: Sequence[Stamped], after: State, actor: Actor, now: datetime
) -> list[Sealed]:
    return seal(
        rows(run_id, stamps, after),
        tenant=current_tenant_slug(),
        stream=stream_of(run_id),
        seq=held.seq,
        head=held.head,
        actor=actor_json(actor),
        run_id=run_id,
        at=now,
    )


def _hold(run_id: UUID) -> Held:
    """Lock the run's stream until the transaction ends, made if it is the first event's."""
    name, tenant = stream_of(run_id), current_tenant_id()
    found = hold_stream(tenant, name)
    if found is None:
        # Two first writers may meet here; the second one's insert waits for the first and then does nothing.
        new = Stream(name=name, head=genesis(current_tenant_slug(), name))
        Stream.objects.bulk_create([new], ignore_conflicts=True)
        found = hold_stream(tenant, name)
    assert found is not None
    return Held(*found)


def _stamps(state: State, events: Sequence[Event], now: datetime) -> list[Stamped]:
    return [Stamped(state.seq + i, now, event) for i, event in enumerate(events, start=1)]


_RUN: Final = {
    column.name: column
    for column in (
        *(Column("state", "text"), Column("phase", "text"), Column("steps_used", "integer")),
        *(Column("calls_used", "integer"), Column("denied_calls", "integer"), Column("attempts", "integer")),
        *(Column("started_at", "timestamptz"), Column("ended_at", "timestamptz"), Column("paused_at", "timestamptz")),
        *(Column("not_before", "timestamptz"), Column("rung_at", "timestamptz"), Column("halt_id", "bigint")),
        *(Column("failure_code", "text"), Column("failure_message", "text"), Column("answer", "text")),
    )
}
"""The columns of a run that its events project to."""

_EVENT_COLUMNS: Final = (
    Column("tenant_id", "bigint"),
    Column("stream_id", "bigint"),
    Column("run_id", "uuid"),
    Column("seq", "bigint"),
    Column("type", "text"),
    Column("at", "timestamptz"),
    Column("actor_kind", "text"),
    Column("actor_id", "text"),
    Column("subject_kind", "text"),
    Column("subject_id", "text"),
    Column("tool", "text"),
    Column("body", "bytea"),
    Column("hash", "bytea"),
)
_STREAM_COLUMNS: Final = (
    Column("tenant_id", "bigint"),
    Column("name", "text"),
    Column("id", "bigint"),
    Column("seq", "bigint"),
    Column("head", "bytea"),
)
_SEARCHED: Final = ("type", "at", "actor_kind", "actor_id", "subject_kind", "subject_id", "tool")


def event_table(written: Iterable[tuple[int, UUID, Sequence[Sealed]]]) -> Table:
    """Return sealed rows of runs, given as (stream id, run id, rows), as they are stored."""
    tenant = current_tenant_id()
    return Table(
        "audit_event",
        _EVENT_COLUMNS,
        [
            (tenant, stream_id, run_id, one.seq, *(one.columns[name] for name in _SEARCHED), pack(one.body), one.hash)
            for stream_id, run_id, sealed in written
            for one in sealed
        ],
    )


def insert_events(written: Sequence[tuple[int, UUID, Sequence[Sealed]]]) -> None:
    """Store sealed rows of runs, given as (stream id, run id, rows), and move the streams on. The streams are held."""
    heads = [(stream_id, sealed[-1].seq, sealed[-1].hash) for stream_id, _, sealed in written]
    write([event_table(written), moved(heads)])


def rows(run_id: UUID, events: Sequence[Stamped], after: State) -> list[NewEvent | Packed]:
    """Group events into the rows they are recorded in, and store the long texts that are kept beside them.

    Must run in the transaction that stores the rows. A row tells about one call at most and has one notable event at
    most: that is what it is found by.
    """
    groups: list[list[Stamped]] = []
    notable = call = None
    for stamped_ in events:
        event = stamped_.event
        is_notable, call_id = _notable(event), _call_id(event)
        if not groups or (is_notable and notable) or (call_id and call and call_id != call):
            groups.append([])
            notable = call = None
        groups[-1].append(stamped_)
        notable = stamped_ if is_notable else notable
        call = call_id or call
    return [_together(run_id, group, after) for group in groups]


def _together(run_id: UUID, group: Sequence[Stamped], after: State) -> NewEvent | Packed:
    written = tuple(
        NewEvent(s.event.type, data, subject=_subject(run_id, s.event), tool=_tool(after, s.event), at=s.at)
        for s, data in zip(group, keep([encode(s.event) for s in group], run_id=run_id), strict=True)
    )
    if len(written) == 1:
        return written[0]
    found = next((index for index, s in enumerate(group) if _notable(s.event)), len(group) - 1)
    return Packed(written, found)


def _notable(event: Event) -> bool:
    """Whether people look for this event by its type."""
    match event:
        case RunClaimed() | CallSelected() | CallGranted() | CallDeferred() | StepVerified() | StepSkipped():
            return False
        case PlanMade(exchange=None):
            return False
        case RunWaiting(state=state):
            return state == RunState.WAITING_RETRY.value
        case _:
            return True


def _subject(run_id: UUID, event: Event) -> tuple[str, str]:
    match event:
        case CallProposed() | ProposalDecided() | ProposalUndone() | ProposalExpired() | ProposalWithdrawn():
            return "proposal", event.proposal_id
        case ProposalAsked() | ProposalAnswered() | ProposalUnanswered():
            return "proposal", event.proposal_id
        case _ if (call_id := _call_id(event)) is not None:
            return "call", call_id
        case StepSkipped() | StepVerified():
            return "step", event.step_id
        case _:
            return "run", str(run_id)


def _call_id(event: Event) -> str | None:
    match event:
        case (
            CallSelected()
            | CallDenied()
            | CallGranted()
            | CallProposed()
            | CallDeferred()
            | CallStarted()
            | CallSucceeded()
            | CallFailed()
            | CallUnknown()
            | CallReconciled()
            | CallConfirmed()
            | CallAdopted()
            | CallWithdrawn()
            | ProposalDecided()
            | ProposalUndone()
            | ProposalExpired()
            | ProposalWithdrawn()
            | ProposalAsked()
            | ProposalAnswered()
            | ProposalUnanswered()
        ):
            return event.call_id
        case _:
            return None


def _tool(state: State, event: Event) -> str:
    call_id = _call_id(event)
    call = state.calls.get(call_id) if call_id is not None else None
    return call.tool if call is not None else ""


def projection(before: State, after: State, events: Sequence[Stamped]) -> dict[str, object]:
    """Columns of the run row that changed. Queued and retrying runs are due as soon as `not_before` has come."""
    if not events:
        return {}
    changes: dict[str, object] = {
        "state": after.state.value,
        "phase": after.phase.value,
        "steps_used": after.steps_used,
        "calls_used": after.calls_used,
        "denied_calls": after.denied_calls,
    }
    if before.started_at is None and after.started_at is not None:
        changes["started_at"] = after.started_at
    if (before.paused_at, before.paused_by_halt) != (after.paused_at, after.paused_by_halt):
        changes |= {"paused_at": after.paused_at, "halt_id": int(after.paused_by_halt or 0) or None}
        if not after.paused:
            # Workers who found the run paused have gone again without a step; that is no failure of theirs.
            changes |= {"attempts": 0, "rung_at": None}
    if before.state.terminal and not after.state.terminal:
        changes |= {"ended_at": None, "failure_code": "", "failure_message": "", "answer": "", "attempts": 0}
    if after.state.terminal and not before.state.terminal:
        changes |= {
            "ended_at": after.clock,
            "failure_code": after.failure_code,
            "failure_message": after.failure_message[:2000],
            "answer": after.answer,
            "not_before": None,
        }
    elif after.state is RunState.WAITING_RETRY:
        changes |= {"not_before": _retry_at(after), "rung_at": None}
    elif after.state is RunState.QUEUED and (before.state is not RunState.QUEUED or _sooner(before, after)):
        ready = _ready_at(after)
        changes |= {"not_before": ready, "rung_at": after.clock if ready == after.clock else None}
    return changes


def agrees(run: Run, state: State) -> bool:
    """Whether a run's row, as it was read, says what the record says. Of the columns that tell the two apart."""
    said = (run.state, run.phase, run.steps_used, run.calls_used, run.denied_calls, run.paused_at, run.halt_id)
    halt = int(state.paused_by_halt or 0) or None
    used = (state.steps_used, state.calls_used, state.denied_calls)
    return said == (state.state.value, state.phase.value, *used, state.paused_at, halt)


def _sooner(before: State, after: State) -> bool:
    """Whether a queued run that waits for a moment has something to do earlier than that."""
    then, now = _ready_at(before), _ready_at(after)
    return then is not None and now is not None and now < then


def _ready_at(state: State) -> datetime | None:
    """When a queued run has something to do: now, or once all that is open in its step may start."""
    if waiting_questions(state) or ended_by(state):
        return state.clock
    waiting = state.open_calls(CallState.GRANTED, CallState.RETRYING, CallState.EXECUTING)
    moments = [call.retry_at for call in waiting if call.retry_at is not None]
    if state.clock is None or not moments or len(moments) < len(waiting):
        return state.clock
    return max(state.clock, min(moments))


def _retry_at(state: State) -> datetime | None:
    waiting = state.open_calls(CallState.GRANTED, CallState.RETRYING, CallState.EXECUTING)
    retries = [call.retry_at for call in waiting if call.retry_at is not None]
    if state.plan_retry_at is not None:
        retries.append(state.plan_retry_at)
    return min(retries, default=state.clock)


_CALLS: Final = "runs_toolcall"
_CALL_KEY: Final = (Column("tenant_id", "bigint"), Column("run_id", "uuid"), Column("call_id", "text"))
_CALL_ORIGIN: Final = (
    Column("step_id", "text"),
    Column("tool", "text"),
    Column("version", "text"),
    Column("effect", "text"),
)
_CALL_PROGRESS: Final = (
    Column("state", "text"),
    Column("code", "text"),
    Column("attempts", "integer"),
    Column("hook_asked", "boolean"),
    Column("unsettled", "boolean"),
    Column("started_at", "timestamptz"),
    Column("ended_at", "timestamptz"),
)


def call_tables(told: Iterable[tuple[UUID, State, Sequence[Stamped]]]) -> tuple[Table, Amend]:
    """Return the rows of the calls that events of runs tell about: those that are new, and those that are there.

    `told` is (run id, state after the events, events). A call is selected once, and first: one that is selected here
    has no row, every other one has.
    """
    tenant = current_tenant_id()
    new: list[tuple[Any, ...]] = []
    known: list[tuple[Any, ...]] = []
    for run_id, state, events in told:
        selected = {s.event.call_id for s in events if isinstance(s.event, CallSelected)}
        times = _times(events)
        for call in _touched(state, events):
            key = (tenant, run_id, call.call_id)
            progress = _progress(state, call, times.get(call.call_id, {}))
            if call.call_id in selected:
                new.append((*key, call.step_id, call.tool, call.version, call.effect, *progress))
            else:
                known.append((*key, *progress))
    return (
        Table(_CALLS, (*_CALL_KEY, *_CALL_ORIGIN, *_CALL_PROGRESS), new),
        Amend(Table(_CALLS, (*_CALL_KEY, *_CALL_PROGRESS), known), tuple(column.name for column in _CALL_KEY)),
    )


def project_calls(told: Iterable[tuple[UUID, State, Sequence[Stamped]]]) -> None:
    """Write the rows of the calls that events of runs tell about: (run id, state after them, events)."""
    write(call_tables(told))


def _touched(state: State, events: Sequence[Stamped]) -> list[Call]:
    """Return the calls whose rows may have to change, each once."""
    touched = {call_id: None for s in events if (call_id := _call_id(s.event)) is not None}
    if _left_alone(state):
        touched |= {call.call_id: None for call in state.calls.values() if call.state in _OPEN}
    return [state.calls[call_id] for call_id in touched]


def _progress(state: State, call: Call, when: Mapping[str, datetime]) -> tuple[Any, ...]:
    asked = call.state is CallState.UNKNOWN and call.hook_asked
    return (
        call.state.value,
        call.deferred or call.code,
        call.attempts,
        call.hook_asked,
        asked or (call.state in _OPEN and _left_alone(state)),
        when.get("started_at"),
        when.get("ended_at"),
    )


_OPEN: Final = frozenset({CallState.EXECUTING, CallState.UNKNOWN})
"""What a call is in while nobody knows what became of it."""


def _left_alone(state: State) -> bool:
    """Whether no worker takes the run up as it is now, to find out what became of its calls."""
    return state.state.terminal or state.paused


def _times(events: Sequence[Stamped]) -> dict[str, dict[str, datetime]]:
    times: dict[str, dict[str, datetime]] = {}
    for s in events:
        match s.event:
            case CallStarted(call_id=call_id):
                times.setdefault(call_id, {})["started_at"] = s.at
            case CallSucceeded(call_id=call_id) | CallFailed(call_id=call_id) | CallReconciled(call_id=call_id):
                times.setdefault(call_id, {})["ended_at"] = s.at
            case _:
                pass
    return times
