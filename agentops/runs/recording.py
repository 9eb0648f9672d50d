"""Write what happened to a run: its events and their projection, in one transaction.

The worker that holds the lease records with `record`; everybody else (a decision, an expiry, a cancellation) with
`record_outside`. Both fold the events through the engine first, so a history that cannot be is never written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from agentops.audit.services import NewEvent, Recorded, StreamConflict, append
from agentops.audit.services import load as load_stream
from agentops.engine.events import (
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
    Event,
    ProposalDecided,
    ProposalExpired,
    ProposalWithdrawn,
    RunClaimed,
    Stamped,
    StepSkipped,
    StepVerified,
    decode,
    encode,
)
from agentops.engine.state import Call, State, fold
from agentops.engine.transitions import CallState, RunState
from agentops.runs.dispatch import ring
from agentops.runs.endings import events_of_end
from agentops.runs.models import Run, ToolCall
from agentops.tenancy.access import Actor
from agentops.tenancy.scope import current_tenant_id


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


def state_of(run_id: UUID) -> State:
    """Fold a run's recorded events."""
    return fold(load(run_id))


def stamped(recorded: Recorded) -> Stamped:
    """Read one recorded event as the engine's."""
    return Stamped(recorded.seq, recorded.at, decode(recorded.type, recorded.data))


def record(
    base: State, events: Sequence[Stamped], *, lease: Lease, actor: Actor, release: bool = False
) -> tuple[State, Lease]:
    """Append events to the run whose lease the caller holds; `base` is the state as recorded so far.

    Must run inside `atomic`. Extends the lease to `lease.until`, or gives it back with `release`. Raises LeaseLost,
    or StreamConflict when somebody else has appended since `base`; nothing is written then.
    """
    state = _append(lease.run_id, base, events, actor=actor, expected_seq=base.seq)
    changes = _projection(base, state, events)
    if release:
        changes |= {"lease_owner": "", "lease_until": None}
    else:
        changes |= {"lease_until": lease.until}
    if any(not isinstance(s.event, RunClaimed) for s in events):
        changes["attempts"] = 0
    written = Run.objects.filter(pk=lease.run_id, fence=lease.fence, lease_owner=lease.owner).update(**changes)
    if not written:
        raise LeaseLost(f"run {lease.run_id} has another worker")
    _project_calls(lease.run_id, state, events)
    return _ended(lease.run_id, base, state, actor), lease


def record_outside(run_id: UUID, events: Sequence[Event], *, actor: Actor, now: datetime) -> State:
    """Append events to a run without holding its lease, and wake a worker if the run has work again.

    Must run inside `atomic`, before anything that depends on nobody else writing to the run: the first append locks
    the run's stream until the transaction ends. Raises IllegalTransition if the history does not allow the events.
    """
    state = state_of(run_id)
    stamps = _stamps(state, events, now)
    try:
        after = _append(run_id, state, stamps, actor=actor, expected_seq=state.seq)
    except StreamConflict:
        # The stream is locked since the conflict was found, so the second look is the last one.
        state = state_of(run_id)
        stamps = _stamps(state, events, now)
        after = _append(run_id, state, stamps, actor=actor, expected_seq=state.seq)
    changes = _projection(state, after, stamps)
    if changes:
        Run.objects.filter(pk=run_id).update(**changes)
    _project_calls(run_id, after, stamps)
    after = _ended(run_id, state, after, actor)
    if after.state is RunState.QUEUED:
        ring(current_tenant_id(), run_id)
    return after


def _ended(run_id: UUID, before: State, after: State, actor: Actor) -> State:
    """Record what ends with a run that has just ended."""
    events = events_of_end(run_id, before, after)
    if not events or after.clock is None:
        return after
    return _append(run_id, after, _stamps(after, events, after.clock), actor=actor, expected_seq=after.seq)


def _stamps(state: State, events: Sequence[Event], now: datetime) -> list[Stamped]:
    return [Stamped(state.seq + i, now, event) for i, event in enumerate(events, start=1)]


def _append(run_id: UUID, base: State, events: Sequence[Stamped], *, actor: Actor, expected_seq: int) -> State:
    after = fold(events, base)  # raises IllegalTransition before anything is written
    append(
        stream_of(run_id),
        [
            NewEvent(
                s.event.type, encode(s.event), subject=_subject(run_id, s.event), tool=_tool(after, s.event), at=s.at
            )
            for s in events
        ],
        actor=actor,
        run_id=run_id,
        expected_seq=expected_seq,
    )
    return after


def _subject(run_id: UUID, event: Event) -> tuple[str, str]:
    match event:
        case CallProposed() | ProposalDecided() | ProposalExpired() | ProposalWithdrawn():
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
            | ProposalDecided()
            | ProposalExpired()
            | ProposalWithdrawn()
        ):
            return event.call_id
        case _:
            return None


def _tool(state: State, event: Event) -> str:
    call_id = _call_id(event)
    call = state.calls.get(call_id) if call_id is not None else None
    return call.tool if call is not None else ""


def _projection(before: State, after: State, events: Sequence[Stamped]) -> dict[str, object]:
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
    elif after.state is RunState.QUEUED and before.state is not RunState.QUEUED:
        changes |= {"not_before": after.clock, "rung_at": after.clock}
    return changes


def _retry_at(state: State) -> datetime | None:
    waiting = state.open_calls(CallState.GRANTED, CallState.RETRYING, CallState.EXECUTING)
    retries = [call.retry_at for call in waiting if call.retry_at is not None]
    if state.plan_retry_at is not None:
        retries.append(state.plan_retry_at)
    return min(retries, default=state.clock)


def _project_calls(run_id: UUID, state: State, events: Sequence[Stamped]) -> None:
    touched = {call_id: None for s in events if (call_id := _call_id(s.event)) is not None}
    created = {s.event.call_id for s in events if isinstance(s.event, CallSelected)}
    times = _times(events)
    rows = []
    for call_id in touched:
        call = state.calls[call_id]
        values = _row(call) | times.get(call_id, {})
        if call_id in created:
            rows.append(ToolCall(run_id=run_id, call_id=call_id, **values))
        else:
            ToolCall.objects.filter(run_id=run_id, call_id=call_id).update(**values)
    if rows:
        ToolCall.objects.bulk_create(rows)


def _row(call: Call) -> dict[str, object]:
    return {
        "step_id": call.step_id,
        "tool": call.tool,
        "version": call.version,
        "effect": call.effect,
        "digest": call.digest,
        "state": call.state.value,
        "code": call.deferred or call.code,
        "idempotency_key": call.idempotency_key,
        "attempts": call.attempts,
    }


def _times(events: Sequence[Stamped]) -> dict[str, dict[str, object]]:
    times: dict[str, dict[str, object]] = {}
    for s in events:
        match s.event:
            case CallStarted(call_id=call_id):
                times.setdefault(call_id, {})["started_at"] = s.at
            case CallSucceeded(call_id=call_id) | CallFailed(call_id=call_id) | CallReconciled(call_id=call_id):
                times.setdefault(call_id, {})["ended_at"] = s.at
            case _:
                pass
    return times
