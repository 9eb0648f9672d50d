"""What a run is, as a pure function of what happened to it: `apply(state, event) -> state`.

An event that the transition tables do not allow raises IllegalTransition: recorded histories never contain one,
because the driver applies every event before it commits it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agentops.engine import fallback, questions, refusals
from agentops.engine.events import (
    WAITS,
    AnswerBlocked,
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
    CriteriaUnmet,
    Event,
    LoopDetected,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalAnswered,
    ProposalAsked,
    ProposalDecided,
    ProposalExpired,
    ProposalUnanswered,
    ProposalUndone,
    ProposalWithdrawn,
    RunCancelled,
    RunClaimed,
    RunFailed,
    RunFellBack,
    RunPaused,
    RunRequeued,
    RunResumed,
    RunSubmitted,
    RunSucceeded,
    RunWaiting,
    RunWarned,
    SessionDropped,
    Stamped,
    StepSkipped,
    StepVerified,
    Usage,
)
from agentops.engine.limits import Limits
from agentops.engine.plan import parse_plan
from agentops.engine.state import Call, State, StepProgress, output_provenance, repeat_key
from agentops.engine.transitions import (
    REQUEUEABLE,
    CallState,
    IllegalTransition,
    Phase,
    RunState,
    change_call,
    change_run,
)
from agentops.guardrails.provenance import CONSTANT, UNSCREENED, Integrity, Provenance, join
from agentops.guardrails.sanitise import removed_of
from agentops.wire.parse import JSON, JSONObject

if TYPE_CHECKING:
    from dataclasses import replace  # so that names and types of fields are checked
else:
    from agentops.engine.copies import replace


LATE: Final = (
    *(ProposalWithdrawn, ProposalExpired, CallSucceeded, CallFailed, CallUnknown, CallReconciled),
    SessionDropped,
)
"""What may still be recorded after a run has ended: its open proposals close, effects under way end, notes are dropped.
"""


NOT_WHILE_PAUSED: Final = (
    RunClaimed,
    RunWaiting,
    RunSucceeded,
    RunFailed,
    AnswerBlocked,
    CallSelected,
    CallGranted,
    CallProposed,
    CallDeferred,
    CallStarted,
)
"""What a paused run cannot do. Effects under way end, people decide, deadlines pass, and it can be cancelled."""


def apply(state: State, stamped: Stamped) -> State:
    """Fold one recorded event; raises IllegalTransition if the history cannot be."""
    if stamped.seq != state.seq + 1:
        raise IllegalTransition(f"event {stamped.seq} cannot follow {state.seq}")
    if state.paused_at is not None and isinstance(stamped.event, NOT_WHILE_PAUSED):
        raise IllegalTransition(f"{stamped.event.type} while the run is paused")
    if state.state.terminal and not isinstance(stamped.event, (*LATE, RunRequeued)):
        raise IllegalTransition(f"{stamped.event.type} after the end of the run")
    if (state.submitted is None) != isinstance(stamped.event, RunSubmitted):
        raise IllegalTransition(f"{stamped.event.type} at event {stamped.seq}")
    clock = stamped.at if state.clock is None else max(state.clock, stamped.at)
    return _apply(replace(state, seq=stamped.seq, clock=clock), stamped.event)


def fold(events: Iterable[Stamped], state: State | None = None) -> State:
    """Fold a run's events in order."""
    folded = state or State()
    for stamped in events:
        folded = apply(folded, stamped)
    return folded


def _apply(state: State, event: Event) -> State:
    match event:
        case RunSubmitted():
            return replace(state, submitted=event, limits=Limits.from_json(event.limits))
        case RunClaimed(screened=screened):
            claimed = questions.taken_up(_claimed(state))
            if not screened:
                return claimed
            found = _suspected(screened)
            return _suspicious(replace(claimed, input_screened=MappingProxyType(found)), found)
        case RunWaiting():
            human = event.state != RunState.WAITING_RETRY.value or bool(state.open_calls(CallState.PROPOSED))
            waiting = replace(state, state=change_run(state.state, WAITS[event.state]))
            return replace(waiting, waiting_since=state.clock) if human else waiting
        case RunWarned(limit=limit):
            return replace(state, warned=state.warned | {limit})
        case RunSucceeded(answer=answer):
            return replace(
                state, state=change_run(state.state, RunState.SUCCEEDED), phase=Phase.FINALIZE, answer=answer
            )
        case RunFailed(code=code, message=message):
            return replace(
                state,
                state=change_run(state.state, RunState.FAILED),
                failure_code=code,
                failure_message=message,
                ended_at=state.clock,
            )
        case RunCancelled(reason=reason):
            return replace(
                _unpaused(state),
                state=change_run(state.state, RunState.CANCELLED),
                failure_code="cancelled",
                failure_message=reason,
            )
        case RunPaused() | RunResumed():
            return _held(state, event)
        case RunRequeued():
            return _requeued(state)
        case PlanMade() | PlanFinished() | PlanFailed():
            return _planned(state, event)
        case RunFellBack():
            return fallback.fell_back(state, event)
        case LoopDetected(message=message):
            return replace(state, loops=state.loops + 1, replan=True, feedback=(*state.feedback, message))
        case CriteriaUnmet(criterion=criterion):
            said = f"The work is not done: {criterion} does not hold."
            again = replace(state, unmet=state.unmet + 1, replan=True, finished=None)
            return replace(again, feedback=(*state.feedback, said))
        case AnswerBlocked(message=message):
            blocked = replace(state, held_back=event, answers_blocked=state.answers_blocked + 1, finished=None)
            return replace(blocked, replan=True, feedback=(*state.feedback, f"The answer was held back. {message}"))
        case CallAdopted():
            return fallback.adopted(state, event)
        case CallWithdrawn(call_id=call_id):
            return _put(state, fallback.withdrawn(_call(state, call_id)))
        case CallConfirmed(call_id=call_id, verdict=verdict):
            return _put(state, replace(_succeeded(state, call_id), confirmed=verdict))
        case StepSkipped(step_id=step_id, reason=reason, detail=detail):
            outcome = "skipped" if reason == "condition" else "missing"
            return _end_step(state, step_id, outcome, detail)
        case StepVerified(step_id=step_id, ok=ok, message=message):
            return _verified(state, step_id, ok, message)
        case CallSelected():
            return _selected(state, event)
        case ProposalAsked() | ProposalAnswered() | ProposalUnanswered():
            return _questioned(state, event)
        case ProposalDecided():
            return _resume_after_people(_decided(state, event))
        case ProposalUndone():
            return _undone(state, event)
        case ProposalExpired(call_id=call_id):
            expired = _closed(state, call_id, CallState.EXPIRED, "nobody_answered")
            return _resume_after_people(_attended(expired, call_id, 0))
        case ProposalWithdrawn(call_id=call_id):
            return _attended(_closed(state, call_id, CallState.WITHDRAWN, "withdrawn"), call_id, 0)
        case CallReconciled():
            return _resume_after_people(_reconciled(state, event))
        case SessionDropped():
            return state
        case _:
            return _called(state, event)


def _claimed(state: State) -> State:
    running = RunState.RUNNING if state.state is RunState.RUNNING else change_run(state.state, RunState.RUNNING)
    claimed = replace(state, state=running, started_at=state.started_at or state.clock)
    # While a person's question is answered, people are what the run waits for.
    return claimed if questions.waiting(claimed) else _wait_over(claimed)


def _wait_over(state: State) -> State:
    """Count the time that people took, which is none of the run's own."""
    if state.waiting_since is None or state.clock is None:
        return state
    return replace(state, waiting_since=None, human_wait=state.human_wait + (state.clock - state.waiting_since))


def _held(state: State, event: RunPaused | RunResumed) -> State:
    """Set or remove one of the two causes of a pause: a person's own, or a stop of the line.

    A stop may take the place of another one, because a run that two stops cover stays paused when the first is lifted.
    """
    match event:
        case RunPaused(by=by, halt=halt):
            if (halt and state.paused_by_halt == halt) or (not halt and state.paused_by):
                raise IllegalTransition("the run is paused already")
            paused = replace(state, paused_at=state.paused_at or state.clock)
            return replace(paused, paused_by_halt=halt) if halt else replace(paused, paused_by=by)
        case RunResumed(halt=halt):
            if (halt and state.paused_by_halt != halt) or (not halt and not state.paused_by):
                raise IllegalTransition("the run is not paused by that")
            left = replace(state, paused_by_halt="") if halt else replace(state, paused_by="")
            return left if left.paused_by or left.paused_by_halt else _unpaused(left)


def _unpaused(state: State) -> State:
    """End a pause: the time counts as wait, and a run that had a worker needs one again."""
    if state.paused_at is None or state.clock is None:
        return state
    # While people are waited for, that wait covers the pause already.
    paused = timedelta(0) if state.waiting_since else state.clock - state.paused_at
    running = change_run(state.state, RunState.QUEUED) if state.state is RunState.RUNNING else state.state
    return replace(
        state,
        state=running,
        human_wait=state.human_wait + paused if state.started_at else state.human_wait,
        paused_at=None,
        paused_by="",
        paused_by_halt="",
    )


def _requeued(state: State) -> State:
    """Take a failed run up again where it stands. Unknown effects stay unknown; their tools are asked once more."""
    if state.state is not RunState.FAILED or state.failure_code not in REQUEUEABLE:
        raise IllegalTransition(f"a run that is {state.state} ({state.failure_code}) is not tried again")
    calls = {
        call_id: replace(call, hook_asked=False) if call.state is CallState.UNKNOWN else call
        for call_id, call in state.calls.items()
    }
    return replace(
        state,
        state=change_run(state.state, RunState.QUEUED),
        calls=MappingProxyType(calls),
        plan_failures=0,
        plan_retry_at=None,
        last_plan_failure=None,
        failure_code="",
        failure_message="",
        # From its end on, the run has waited for the person who tries it again.
        waiting_since=(state.waiting_since or state.ended_at) if state.started_at else None,
        ended_at=None,
    )


def _planned(state: State, event: PlanMade | PlanFinished | PlanFailed) -> State:
    usage = _add(state.usage, event.usage)
    match event:
        case PlanMade(version=version, planner=planner, plan=raw, tainted=tainted):
            if version != len(state.plans) + 1:
                raise IllegalTransition(f"plan {version} after {len(state.plans)} plans")
            plan = parse_plan(raw, version=version, planner=planner, known_steps=frozenset(state.steps))
            steps = {**state.steps, **{step.id: StepProgress(step.id) for step in plan.steps}}
            return replace(
                state,
                plans=(*state.plans, plan),
                cursor=0,
                steps=MappingProxyType(steps),
                phase=Phase.SELECT,
                usage=usage,
                feedback=(),
                replan=False,
                held_back=None,
                plan_failures=0,
                plan_retry_at=None,
                tainted=state.tainted or tainted,
            )
        case PlanFinished():
            done = replace(state, finished=event, phase=Phase.FINALIZE, usage=usage, plan_retry_at=None)
            return replace(done, replan=False, held_back=None)
        case PlanFailed(code=code, message=message, retry_at=retry_at):
            return replace(
                state,
                plan_failures=state.plan_failures + 1,
                plan_retry_at=datetime.fromisoformat(retry_at) if retry_at else None,
                last_plan_failure=event,
                feedback=(*state.feedback, f"{code}: {message}") if code == "plan_invalid" else state.feedback,
                usage=usage,
            )


def _add(total: Usage, more: Usage | None) -> Usage:
    return total.plus(more)


def _selected(state: State, event: CallSelected) -> State:
    if event.call_id in state.calls:
        raise IllegalTransition(f"call {event.call_id} selected twice")
    step = state.current_step
    if step is None or step.id != event.step_id or step.over:
        raise IllegalTransition(f"call for step {event.step_id}, which is not the current one")
    same = repeat_key(event.tool, event.arguments)
    call = Call(
        call_id=event.call_id,
        step_id=event.step_id,
        tool=event.tool,
        version=event.version,
        effect=event.effect,
        state=CallState.SELECTED,
        arguments=event.arguments,
        digest=event.digest,
        idempotency_key=event.idempotency_key,
        provenance={path: Provenance.from_json(raw) for path, raw in event.provenance.items()},
        planned=event.planned,
        keys=(same,),
        plan=len(state.plans),
    )
    first = all(call_id in state.earlier.values() for call_id in step.call_ids)
    progress = replace(step, call_ids=(*step.call_ids, event.call_id))
    repeats = {**state.repeats, same: state.repeats.get(same, 0) + 1}
    return replace(
        state,
        calls=MappingProxyType({**state.calls, event.call_id: call}),
        steps=MappingProxyType({**state.steps, step.id: progress}),
        repeats=MappingProxyType(repeats),
        steps_used=state.steps_used + first,
        calls_used=state.calls_used + 1,
        phase=Phase.EXECUTE,
    )


def tool_cost(state: State, tool: str) -> int:
    """What one attempt at a tool costs by the contract the run started with, in millionths of a US dollar."""
    pin = state.submitted.tools.get(tool, {}) if state.submitted is not None else {}
    cost = pin.get("cost_micros", 0)
    return cost if isinstance(cost, int) else 0


def _charged(state: State, call: Call, attempt: int) -> tuple[State, Call]:
    """Add what an attempt costs, unless it is one that has been added before."""
    if attempt <= call.attempts or not (cost := tool_cost(state, call.tool)):
        return state, call
    charged = replace(call, cost_micros=call.cost_micros + cost)
    return replace(state, tool_cost_micros=state.tool_cost_micros + cost), charged


def _not_charged(state: State, call: Call) -> tuple[State, Call]:
    """Take back what the last attempt cost, because it is known not to have happened."""
    cost = min(tool_cost(state, call.tool), call.cost_micros)
    unspent = replace(call, cost_micros=call.cost_micros - cost)
    return replace(state, tool_cost_micros=state.tool_cost_micros - cost), unspent


def _attended(state: State, call_id: str, reviewer_s: int | None) -> State:
    """Replace the attention set aside for a call by what it took; None keeps it."""
    call = state.calls[call_id]
    if reviewer_s is None or reviewer_s == call.reviewer_s:
        return state
    changed = _put(state, replace(call, reviewer_s=reviewer_s))
    return replace(changed, reviewer_s=state.reviewer_s - call.reviewer_s + reviewer_s)


def _call(state: State, call_id: str) -> Call:
    try:
        return state.calls[call_id]
    except KeyError:
        raise IllegalTransition(f"no call {call_id}") from None


def _succeeded(state: State, call_id: str) -> Call:
    call = _call(state, call_id)
    if call.state is not CallState.SUCCEEDED:
        raise IllegalTransition(f"call {call_id} is {call.state}: there is nothing to read back")
    return call


def _put(state: State, call: Call) -> State:
    return replace(state, calls=MappingProxyType({**state.calls, call.call_id: call}))


def _called(
    state: State,
    event: CallDenied
    | CallGranted
    | CallProposed
    | CallDeferred
    | CallStarted
    | CallSucceeded
    | CallFailed
    | CallUnknown,
) -> State:
    call = _call(state, event.call_id)
    match event:
        case CallDenied(code=code, message=message):
            denied = replace(
                call, state=change_call(call.state, CallState.DENIED), code=code, note=message, deferred=""
            )
            feedback = (*state.feedback, f"{call.tool} was denied ({code}): {message}")
            return replace(_put(state, denied), denied_calls=state.denied_calls + 1, feedback=feedback)
        case CallGranted(grant_id=grant_id):
            return _put(state, replace(call, state=change_call(call.state, CallState.GRANTED), grant_id=grant_id))
        case CallProposed(proposal_id=proposal_id):
            proposed = replace(
                call, state=change_call(call.state, CallState.PROPOSED), proposal_id=proposal_id, questions=()
            )
            return _attended(_put(state, proposed), call.call_id, event.reviewer_s)
        case CallDeferred():
            return _put(state, _deferred(call, event))
        case CallStarted(attempt=attempt):
            if call.unsure:
                raise IllegalTransition(f"call {call.call_id} is unknown and cannot be repeated")
            started = change_call(call.state, CallState.EXECUTING)
            state, call = _charged(state, call, attempt)
            return _put(
                state, replace(call, state=started, attempts=attempt, retry_at=None, deferred="", hook_asked=False)
            )
        case CallSucceeded(output=output, trust=trust, attempt=attempt, screened=screened):
            state, call = _charged(state, call, attempt)
            ended = replace(
                call,
                state=change_call(call.state, CallState.SUCCEEDED),
                output=output,
                trust=trust,
                screened=_suspected(screened),
                removed=removed_of(screened),
                carried=_carried(state, output, trust),
                code="",
                attempts=attempt,
                retry_at=None,
                deferred="",
            )
            return _suspicious(_taint(_put(state, ended), ended), ended.screened)
        case CallFailed(code=code, message=message, retry_at=retry_at, attempt=attempt):
            state, call = _charged(state, call, attempt)
            failed = replace(
                call,
                state=change_call(call.state, CallState.RETRYING if retry_at else CallState.FAILED),
                code=code,
                note=message,
                attempts=attempt,
                retry_at=datetime.fromisoformat(retry_at) if retry_at else None,
                deferred="",
            )
            if retry_at:
                return _put(state, failed)
            # Only the closed code: a message may hold text that an attacker wrote, and feedback is not marked as such.
            feedback = (*state.feedback, f"{call.tool} failed with {code}.")
            return replace(_put(state, failed), feedback=feedback)
        case CallUnknown(message=message, asked=asked, retry_at=retry_at):
            if retry_at and call.effect != "idempotent_write":
                raise IllegalTransition(f"call {call.call_id} is unknown and cannot be repeated")
            new = call.state if call.state is CallState.UNKNOWN else change_call(call.state, CallState.UNKNOWN)
            unknown = replace(call, state=new, code="outcome_unknown", note=message, hook_asked=asked)
            again = datetime.fromisoformat(retry_at) if retry_at else None
            return _put(state, replace(unknown, retry_at=again, deferred=""))


def _deferred(call: Call, event: CallDeferred) -> Call:
    """Let a call wait in the state it is in: permitted, to be tried again, or interrupted and to be repeated."""
    interrupted = call.state is CallState.EXECUTING and call.effect != "unsafe_write"
    repeatable = call.state is CallState.UNKNOWN and not call.unsure
    if not interrupted and not repeatable and call.state not in (CallState.GRANTED, CallState.RETRYING):
        raise IllegalTransition(f"call: {call.state} cannot be deferred")
    return replace(
        call,
        retry_at=datetime.fromisoformat(event.until),
        deferrals=call.deferrals + 1,
        deferred=event.code,
    )


def _taint(state: State, call: Call) -> State:
    return state if state.tainted or not output_provenance(call, ()).untrusted else replace(state, tainted=True)


def _decided(state: State, event: ProposalDecided) -> State:
    call = _call(state, event.call_id)
    if call.proposal_id != event.proposal_id:
        raise IllegalTransition(f"{event.proposal_id} is not the proposal of {event.call_id}")
    state = _unasked(_attended(state, event.call_id, event.reviewer_s), event.call_id)
    call = state.calls[event.call_id]
    if event.verdict == "reject":
        note = f"{event.reason_code}: {event.note}" if event.note else event.reason_code
        rejected = replace(
            call,
            state=change_call(call.state, CallState.REJECTED),
            code="rejected",
            note=note,
            scope=event.scope,
            barred=event.retry == "no",
        )
        told = refusals.told(call.tool, note, event)
        barred = (*state.barred, call.call_id) if rejected.barred else state.barred
        return replace(_put(state, rejected), feedback=(*state.feedback, told), barred=barred)
    granted = replace(call, state=change_call(call.state, CallState.GRANTED), grant_id=event.grant_id, note=event.note)
    if event.release_at:
        granted = replace(granted, retry_at=datetime.fromisoformat(event.release_at))
    if event.verdict == "edit":
        granted = replace(
            granted,
            arguments=event.arguments,
            digest=event.digest,
            provenance={path: Provenance.from_json(raw) for path, raw in event.provenance.items()},
            keys=(*call.keys, repeat_key(call.tool, event.arguments)),
            edited=tuple(str(change["path"]) for change in event.patch if "path" in change),
        )
    return _put(state, granted)


def _undone(state: State, event: ProposalUndone) -> State:
    """Put a call that was approved before a person again; a run that waited for its moment waits for people."""
    call = _call(state, event.call_id)
    if call.proposal_id != event.proposal_id or call.attempts:
        raise IllegalTransition(f"the decision about {event.call_id} cannot be taken back any more")
    asked = replace(call, state=change_call(call.state, CallState.PROPOSED), grant_id="", note="", retry_at=None)
    state = _put(state, replace(asked, deferred=""))
    if state.state not in (RunState.QUEUED, RunState.WAITING_RETRY) or questions.waiting(state) or _can_start(state):
        return state
    waiting = change_run(state.state, RunState.AWAITING_APPROVAL)
    return replace(state, state=waiting, waiting_since=state.waiting_since or state.clock)


def _closed(state: State, call_id: str, new: CallState, code: str) -> State:
    state = _unasked(state, call_id)
    call = _call(state, call_id)
    return _put(state, replace(call, state=change_call(call.state, new), code=code))


def _questioned(state: State, event: ProposalAsked | ProposalAnswered | ProposalUnanswered) -> State:
    """Put a question to the agent, which wakes a run that waits, or close it."""
    call = _call(state, event.call_id)
    if call.proposal_id != event.proposal_id:
        raise IllegalTransition(f"{event.proposal_id} is not the proposal of {event.call_id}")
    if isinstance(event, ProposalAsked):
        asked = _put(state, questions.asked(call, event, state.clock))
        return replace(asked, state=change_run(asked.state, RunState.QUEUED)) if asked.state in _WAITING else asked
    answered = questions.closed(call, event, state.clock)
    if isinstance(event, ProposalAnswered) and event.digest:
        answered = replace(
            answered,
            arguments=event.arguments,
            digest=event.digest,
            provenance={path: Provenance.from_json(raw) for path, raw in event.provenance.items()},
            keys=(*call.keys, repeat_key(call.tool, event.arguments)),
        )
    return _after_question(replace(_put(state, answered), usage=_add(state.usage, event.usage)))


def _unasked(state: State, call_id: str) -> State:
    """Drop the question that is open about a call: it has been closed without the answer."""
    call = _call(state, call_id)
    if questions.open_one(call) is None:
        return state
    return _after_question(_put(state, questions.dropped(call)))


def _after_question(state: State) -> State:
    """Go on counting the run's own time, if it has a worker and no other question is open."""
    return _wait_over(state) if state.state is RunState.RUNNING and not questions.waiting(state) else state


_WAITING: Final = frozenset(WAITS.values())


def _reconciled(state: State, event: CallReconciled) -> State:
    call = _call(state, event.call_id)
    if call.state not in (CallState.EXECUTING, CallState.UNKNOWN):
        raise IllegalTransition(f"call {call.call_id} is {call.state} and needs no reconciliation")
    match event.verdict:
        case "happened":
            done = replace(
                call,
                state=change_call(call.state, CallState.SUCCEEDED),
                output=event.output,
                trust=event.trust,
                screened=_suspected(event.screened),
                removed=removed_of(event.screened),
                carried=_carried(state, event.output, event.trust),
                code="",
                note=event.note,
                confirmed="confirmed",  # the tool's own record says so, or a person, who outranks it
                retry_at=None,
                deferred="",
            )
            return _suspicious(_taint(_put(state, done), done), done.screened)
        case "did_not_happen":
            granted = change_call(call.state, CallState.GRANTED)
            state, call = _not_charged(state, call)
            return _put(state, replace(call, state=granted, code="", note=event.note, retry_at=None, deferred=""))
        case "gave_up":
            gone = change_call(call.state, CallState.FAILED)
            return _put(state, replace(call, state=gone, note=event.note, retry_at=None, deferred=""))


def _resume_after_people(state: State) -> State:
    """Queue a waiting run once there is something to do in it, or no call of its step waits for a person any more.

    What was approved does not wait for what is decided beside it: its permission would end meanwhile.
    """
    if state.state not in _WAITING:
        return state
    unsure = any(call.unsure for call in state.open_calls(CallState.UNKNOWN))
    proposed = state.open_calls(CallState.PROPOSED)
    if unsure or (proposed and not _can_start(state) and not refusals.ended_by(state)):
        return state
    return replace(state, state=change_run(state.state, RunState.QUEUED))


def _can_start(state: State) -> bool:
    """Whether a call of the step may start, now or at its moment, whatever people say of the others."""
    return bool(state.open_calls(CallState.GRANTED, CallState.RETRYING))


def _verified(state: State, step_id: str, ok: bool, message: str) -> State:
    progress = state.steps.get(step_id)
    if progress is None or not progress.call_ids:
        raise IllegalTransition(f"step {step_id} verified before it was called")
    calls = [state.calls[c] for c in progress.call_ids]
    if not all(call.state.terminal for call in calls):
        raise IllegalTransition(f"step {step_id} verified while a call is open")
    outcome = next((call.state.value for call in calls if call.state is not CallState.SUCCEEDED), "succeeded")
    if outcome == "succeeded" and not ok:
        outcome = "unverified"
    ended = _end_step(state, step_id, outcome, message)
    if outcome == "unverified":
        # A condition of a later plan may quote text that its model had read, so it is not told as ours.
        said = "" if state.tainted and len(state.plans) > 1 else f": {message}"
        ended = replace(ended, feedback=(*ended.feedback, f"Step {step_id} did not pass its check{said}"))
    return ended


def _end_step(state: State, step_id: str, outcome: str, message: str) -> State:
    step = state.current_step
    if step is None or step.id != step_id or step.over:
        raise IllegalTransition(f"step {step_id} is not the current one")
    ended = replace(step, outcome=outcome, message=message)
    steps = MappingProxyType({**state.steps, step_id: ended})
    return replace(state, steps=steps, cursor=state.cursor + 1, phase=Phase.SELECT)


# --- where outputs come from ----------------------------------------------------------------------------------------


def _suspected(screened: Iterable[JSONObject]) -> dict[str, tuple[str, ...]]:
    """Read the `screened` of an event: of flagged texts their families, UNSCREENED of those nobody could look at."""
    found: dict[str, tuple[str, ...]] = {}
    for one in screened:
        families = one.get("families")
        if one.get("failed"):
            found[str(one.get("path", ""))] = (UNSCREENED,)
        elif one.get("flagged") and isinstance(families, list):
            found[str(one.get("path", ""))] = tuple(sorted({str(family) for family in families}))
    return found


def _suspicious(state: State, screened: Mapping[str, tuple[str, ...]]) -> State:
    if not screened:
        return state
    return replace(
        state, suspicion=tuple(sorted({*state.suspicion, *(c for codes in screened.values() for c in codes)}))
    )


def _carried(state: State, output: JSON, trust: Mapping[str, str]) -> Provenance | None:
    """Return the provenance of what an output hands back, None where it says nothing about that; unknown is untrusted.

    An output without a writer handed nothing back.
    """
    if "carried" not in trust.values():
        return None
    writer = output.get("written_by") if isinstance(output, dict) else None
    if writer is None:
        return CONSTANT
    call = state.calls.get(writer) if isinstance(writer, str) else None
    return join(call.provenance.values()) if call is not None else Provenance((), Integrity.UNTRUSTED)
