"""People stepping into a run that is under way: cancel it, or say what became of an effect nobody could confirm."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agentops.engine.events import CallReconciled, Event, ProposalWithdrawn, RunCancelled
from agentops.engine.transitions import CallState
from agentops.runs.models import Run
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import Actor
from approvals import grants
from approvals.services import lock_run, withdraw_proposals

Verdict = Literal["happened", "did_not_happen", "gave_up"]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run has ended; an effect that was under way is still recorded when it comes back."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class AlreadyEnded:
    """Nothing to cancel; `state` is how the run ended."""

    state: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such run or call in this tenant."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is recorded and the run goes on."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class NotUnknown:
    """The call's outcome is known already; `state` says what it is."""

    state: str


def cancel_run(
    *, run_id: UUID, actor: Actor, reason: str = "", now: datetime | None = None
) -> Cancelled | AlreadyEnded | NotFound:
    """End a run. Its open proposals close with it, and its unused grants end."""
    moment = now or timezone.now()
    with transaction.atomic():
        run = Run.objects.filter(pk=run_id).first()
        if run is None:
            return NotFound()
        lock_run(run_id)
        state = state_of(run_id)
        if state.state.terminal:
            return AlreadyEnded(state.state.value)
        events: list[Event] = [
            ProposalWithdrawn(call.proposal_id, call.call_id, "The run was cancelled.")
            for call in state.calls.values()
            if call.state is CallState.PROPOSED
        ]
        events.append(RunCancelled(f"{actor.kind}:{actor.id}", reason[:2000]))
        record_outside(run_id, events, actor=actor, now=moment)
        withdraw_proposals(run_id, reason="The run was cancelled.", now=moment)
        grants.revoke_unused(run_id=run_id, now=moment)
    return Cancelled(run_id)


def reconcile_call(
    *,
    run_id: UUID,
    call_id: str,
    verdict: Verdict,
    actor: Actor,
    note: str,
    attempt: int | None = None,
    now: datetime | None = None,
) -> Answered | NotUnknown | NotFound:
    """Record what a person found out about an unknown effect.

    `did_not_happen` lets the run use the same grant again; `happened` and `gave_up` end the call. `attempt` is the one
    the person was asked about: an answer about an earlier one says nothing about a later one. Nothing is ever repeated
    without this answer.
    """
    moment = now or timezone.now()
    with transaction.atomic():
        lock_run(run_id)
        call = state_of(run_id).calls.get(call_id)
        if call is None:
            return NotFound()
        if call.state is not CallState.UNKNOWN:
            return NotUnknown(call.state.value)
        if attempt is not None and attempt != call.attempts:
            return NotUnknown("tried again since")
        event = CallReconciled(call_id, verdict, f"{actor.kind}:{actor.id}", note=note[:2000])
        record_outside(run_id, [event], actor=actor, now=moment)
        if verdict == "did_not_happen":
            grants.rearm(run_id=run_id, call_id=call_id)
    return Answered(verdict)
