"""People stepping into a run: cancel, pause, resume, try a failed one again, say what became of an unknown effect.

Every outcome is a value, written under the run's lock: of two people at the same moment one is told what the other did.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from django.db import transaction

from agentops import clock
from agentops.budgets import services as budgets
from agentops.budgets.measures import Measure
from agentops.engine.events import (
    CallProposed,
    CallReconciled,
    Event,
    ProposalWithdrawn,
    RunCancelled,
    RunPaused,
    RunRequeued,
    RunResumed,
)
from agentops.engine.state import Call, State
from agentops.engine.transitions import REQUEUEABLE, CallState, RunState
from agentops.runs.models import Run
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import Actor
from agentops.wire.canonical import digest
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSON, WireError, clean_text, guard
from approvals.assessing.attention import review_seconds
from approvals.decisions.editing import as_it_stands
from approvals.gating.gate import Gate
from approvals.models import Proposal, Status
from approvals.permits import grants
from approvals.proposals.ending import withdraw_proposals
from approvals.proposals.freezing import FINAL, end_of_pause
from approvals.proposals.locking import lock_run
from approvals.proposals.proposing import Frozen, deadlines
from tools import schema
from tools.registry import registry

Verdict = Literal["happened", "did_not_happen", "gave_up"]

MAX_REASON: Final = 500
MAX_EVIDENCE: Final = 2000
MAX_REFERENCE: Final = 200


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run has ended; an effect that was under way is still recorded when it comes back."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing new starts in the run until it is resumed; an effect that was under way is still recorded."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class Resumed:
    """The person's pause is over. `stopped` says that a stop of the line still holds the run."""

    run_id: UUID
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Requeued:
    """The run is queued again; `asked_again` is how many calls are put before a person once more."""

    run_id: UUID
    asked_again: int = 0


@dataclass(frozen=True, slots=True)
class AlreadyEnded:
    """Nothing to do; `state` is how the run ended."""

    state: str


@dataclass(frozen=True, slots=True)
class AlreadyPaused:
    """Somebody has paused it: `by` as in events, such as `user:3`."""

    by: str


@dataclass(frozen=True, slots=True)
class NotPaused:
    """Nobody has paused it. `stopped`: a stop of the line holds it, which is lifted, not resumed."""

    stopped: bool = False


@dataclass(frozen=True, slots=True)
class NotRequeueable:
    """It did not fail, or for a reason that another try does not remove: `state` and `code` say how it is."""

    state: str
    code: str


@dataclass(frozen=True, slots=True)
class ReasonNeeded:
    """Nothing was done: the next person has only the reason to go by. `message` says what is wrong with it."""

    message: str = "Say why: the next person has only this to go by."


@dataclass(frozen=True, slots=True)
class NotYours:
    """A program may pause and cancel what it asked for itself, and resume only what it has paused itself."""


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


@dataclass(frozen=True, slots=True)
class InvalidAnswer:
    """Nothing was recorded. `issues` are (field, sentence): note, reference, verdict, or output with its pointer."""

    issues: tuple[tuple[str, str], ...]


# --- ending, holding, letting go ------------------------------------------------------------------------------------


def cancel_run(
    *, run_id: UUID, actor: Actor, reason: str = "", now: datetime | None = None
) -> Cancelled | AlreadyEnded | NotYours | NotFound:
    """End a run, paused or not. Its open proposals close with it, and its unused grants end."""
    moment = now or clock.now()
    with transaction.atomic():
        run = Run.objects.filter(pk=run_id).first()
        if run is None:
            return NotFound()
        if not _own(run, actor):
            return NotYours()
        lock_run(run_id)
        state = state_of(run_id)
        if ended := _ended(run_id, state):
            return AlreadyEnded(ended)
        events: list[Event] = [
            ProposalWithdrawn(call.proposal_id, call.call_id, "The run was cancelled.")
            for call in state.calls.values()
            if call.state is CallState.PROPOSED
        ]
        events.append(RunCancelled(_name(actor), reason[:2000]))
        record_outside(run_id, events, actor=actor, now=moment)
        withdraw_proposals(run_id, reason="The run was cancelled.", now=moment)
        grants.revoke_unused(run_id=run_id, now=moment)
    return Cancelled(run_id)


def pause_run(
    *, run_id: UUID, actor: Actor, reason: str, now: datetime | None = None
) -> Paused | AlreadyPaused | AlreadyEnded | ReasonNeeded | NotYours | NotFound:
    """Let nothing new start in a run until it is resumed; its deadlines stand still meanwhile.

    A worker that is in the middle of it notices at its next append, and an effect that was under way is recorded. A
    run that the line has stopped can be paused as well: then lifting the stop does not set it going.
    """
    moment = now or clock.now()
    if problem := _reason_problem(reason):
        return problem
    with transaction.atomic():
        run = Run.objects.filter(pk=run_id).first()
        if run is None:
            return NotFound()
        if not _own(run, actor):
            return NotYours()
        lock_run(run_id)
        state = state_of(run_id)
        if ended := _ended(run_id, state):
            return AlreadyEnded(ended)
        if state.paused_by:
            return AlreadyPaused(state.paused_by)
        record_outside(run_id, [RunPaused(_name(actor), clean_text(reason.strip()))], actor=actor, now=moment)
    return Paused(run_id)


def resume_run(
    *, run_id: UUID, actor: Actor, reason: str, now: datetime | None = None
) -> Resumed | NotPaused | AlreadyEnded | ReasonNeeded | NotYours | NotFound:
    """End a person's pause: the run is queued again, and its deadlines move by the time it was paused.

    A program resumes only what it has paused itself. What a stop of the line holds stays held until that is lifted.
    """
    moment = now or clock.now()
    if problem := _reason_problem(reason):
        return problem
    with transaction.atomic():
        if not Run.objects.filter(pk=run_id).exists():
            return NotFound()
        lock_run(run_id)
        state = state_of(run_id)
        if ended := _ended(run_id, state):
            return AlreadyEnded(ended)
        if not state.paused_by:
            return NotPaused(stopped=bool(state.paused_by_halt))
        if actor.kind != "user" and state.paused_by != _name(actor):
            return NotYours()
        if not state.paused_by_halt:
            end_of_pause(Run.objects.get(pk=run_id), until=moment)
        resumed = RunResumed(_name(actor), clean_text(reason.strip()))
        record_outside(run_id, [resumed], actor=actor, now=moment)
    return Resumed(run_id, stopped=bool(state.paused_by_halt))


def requeue_run(
    *, run_id: UUID, actor: Actor, reason: str, now: datetime | None = None
) -> Requeued | NotRequeueable | ReasonNeeded | NotFound:
    """Try a failed run again from where it stands, when it failed for a cause outside of it (`REQUEUEABLE`).

    Everything done stays done and counts towards the same limits. Effects of which nobody knows are asked about first,
    and calls that were withdrawn because the run had failed are put before a person once more, with a new deadline.
    Permissions keep theirs.
    """
    moment = now or clock.now()
    if problem := _reason_problem(reason):
        return problem
    with transaction.atomic():
        run = Run.objects.select_related("task_type").filter(pk=run_id).first()
        if run is None:
            return NotFound()
        lock_run(run_id)
        state = state_of(run_id)
        if state.state is not RunState.FAILED or state.failure_code not in REQUEUEABLE:
            return NotRequeueable(state.state.value, state.failure_code)
        requeued = RunRequeued(_name(actor), clean_text(reason.strip()))
        asked = list(_ask_again(run, state, actor, moment))
        record_outside(run_id, [requeued, *asked], actor=actor, now=moment)
    return Requeued(run_id, len(asked))


def _ended(run_id: UUID, state: State) -> str:
    """Return how a run has ended, empty if it has not. Where retention has removed its record, its row says it."""
    if state.submitted is None:
        return str(Run.objects.values_list("state", flat=True).get(pk=run_id))
    return state.state.value if state.state.terminal else ""


def _ask_again(run: Run, state: State, actor: Actor, now: datetime) -> Iterator[CallProposed]:
    """Propose again, as it was, what the end of the run had withdrawn before anybody decided it.

    The attention it takes is set aside again. Where a budget has none left it is asked all the same, uncounted:
    somebody wants it to go on, and a call that nobody is asked about would only be missing.
    """
    for call in state.open_calls(CallState.WITHDRAWN):
        found = Proposal.objects.filter(run_id=run.pk, call_id=call.call_id, status=Status.WITHDRAWN)
        closed = found.order_by("-created_at", "-id").first()
        if closed is None:
            continue
        values = {field.attname: getattr(closed, field.attname) for field in Proposal._meta.concrete_fields}
        proposal = Proposal.objects.create(
            **values
            | {
                "id": uuid7(),
                "status": Status.PENDING,
                "created_at": now,
                "decided_at": None,
                "decided_by_id": None,
                "closing_note": "",
                "thawed_to": None,
                "reminded": 0,
                **_NOBODYS,
                **_times(closed, run, now),
            }
        )
        seconds = review_seconds(proposal.risk_band)
        budgets.reserve(
            run_id=run.pk,
            task_type_id=run.task_type_id,
            kind="review",
            purpose=f"review:{call.call_id}",
            call_id=call.call_id,
            amounts={Measure.REVIEWER: seconds},
            now=now,
            actor=actor,
        )
        yield CallProposed(
            call_id=call.call_id,
            proposal_id=str(proposal.pk),
            digest=proposal.digest,
            band=proposal.risk_band,
            score=proposal.risk_score,
            rule=proposal.policy_rule,
            decide_by=proposal.decide_by.isoformat(timespec="microseconds"),
            reviewer_s=seconds,
        )


_NOBODYS: Final = {
    "leased_by_id": None,
    "leased_until": None,
    "served_at": None,
    "held_by_id": None,
    "held_until": None,
    "held_note": "",
}
"""The columns of a proposal that nobody has and nobody has put off."""


def _times(closed: Proposal, run: Run, now: datetime) -> dict[str, datetime]:
    """Return the deadlines of a call that is asked again: those of its kind of task, and no longer than policy says."""
    within = run.task_type.decide_within_s
    stands = as_it_stands(closed, now=now)
    if isinstance(stands, Frozen) and isinstance(stands.verdict, Gate) and stands.verdict.decide_within_s is not None:
        within = min(within, stands.verdict.decide_within_s)
    return deadlines(now, within, run.task_type.execute_within_s)


# --- unknown effects ------------------------------------------------------------------------------------------------


def reconcile_call(
    *,
    run_id: UUID,
    call_id: str,
    verdict: Verdict,
    actor: Actor,
    note: str,
    reference: str = "",
    output: JSON = None,
    attempt: int | None = None,
    now: datetime | None = None,
) -> Answered | NotUnknown | InvalidAnswer | NotFound:
    """Record what a person found out about an unknown effect; `note` is the evidence and never empty.

    `did_not_happen` lets the run use the same grant again; `happened` and `gave_up` end the call. With `happened` go,
    where known, the `reference` under which the other system has it and the `output` of the call, which must fit the
    contract. `attempt` is the one the person was asked about: an answer about an earlier one says nothing about a
    later one. Nothing is ever repeated without this answer.
    """
    moment = now or clock.now()
    with transaction.atomic():
        lock_run(run_id)
        state = state_of(run_id)
        call = state.calls.get(call_id)
        if call is None:
            return NotFound()
        if call.state is not CallState.UNKNOWN:
            return NotUnknown(call.state.value)
        if attempt is not None and attempt != call.attempts:
            return NotUnknown("tried again since")
        if issues := tuple(_answer_issues(call, verdict, note, reference, output)):
            return InvalidAnswer(issues)
        said, found = clean_text(note.strip()), clean_text(reference.strip())
        event = CallReconciled(call_id, verdict, _name(actor), note=said, reference=found)
        if verdict == "happened" and output is not None:
            event = replace(event, output=output, digest=digest(output), trust=_trust(call))
        record_outside(run_id, [event], actor=actor, now=moment)
        if verdict == "did_not_happen":
            grants.rearm(run_id=run_id, call_id=call_id)
            if state.state.value in FINAL:
                # Its permission was not used after all, and after the end of the run nobody will.
                grants.revoke_unused(run_id=run_id, now=moment)
    return Answered(verdict)


def _answer_issues(call: Call, verdict: Verdict, note: str, reference: str, output: JSON) -> Iterator[tuple[str, str]]:
    if not note.strip():
        yield "note", "Say how you know; the next person has only this note."
    if len(note) > MAX_EVIDENCE:
        yield "note", f"Keep it within {MAX_EVIDENCE} characters."
    if len(reference) > MAX_REFERENCE:
        yield "reference", f"Keep it within {MAX_REFERENCE} characters."
    if verdict != "happened" and (reference.strip() or output is not None):
        yield "verdict", "Only what happened has a reference and a result."
    elif output is not None:
        yield from _output_issues(call, output)


def _output_issues(call: Call, output: JSON) -> Iterator[tuple[str, str]]:
    contract = registry.get(call.tool, call.version)
    if contract is None:
        yield "output", "The tool's contract is gone, so nobody can check this. Leave it empty."
        return
    try:
        guard(output)
    except WireError as error:
        yield f"output{error.path}", error.message
        return
    for issue in schema.compile(contract.output_schema).validate(output):
        yield f"output{issue.path}", issue.message


def _trust(call: Call) -> dict[str, str]:
    """Return the contract's trust of each output field: a person may have copied what somebody outside wrote."""
    contract = registry.get(call.tool, call.version)
    return {name: str(trust) for name, trust in contract.output_trust.items()} if contract else {}


# --- who may --------------------------------------------------------------------------------------------------------


def _name(actor: Actor) -> str:
    return f"{actor.kind}:{actor.id}"


def _own(run: Run, actor: Actor) -> bool:
    """Whether a program asked for the run itself; people and the system may step into any."""
    return actor.kind != "token" or run.requested_by_token == actor.id


def _reason_problem(reason: str) -> ReasonNeeded | None:
    if not reason.strip():
        return ReasonNeeded()
    if len(reason) > MAX_REASON:
        return ReasonNeeded(f"Keep the reason within {MAX_REASON} characters.")
    return None
