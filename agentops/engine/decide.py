"""What to do next, as a pure function of the state: `decide(state) -> Command`.

The driver performs the command, records what came of it as events and asks again. Limits are checked here, before
the spend; stop criteria are the ones the task type declared, never inferred from prose.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agentops.engine import fallback, loops, questions, refusals
from agentops.engine.conditions import holds, steps_named_in
from agentops.engine.events import (
    AnswerBlocked,
    CallDenied,
    CriteriaUnmet,
    Event,
    LoopDetected,
    ProposalUnanswered,
    StepSkipped,
    StepVerified,
)
from agentops.engine.plan import Missing, OnFailure, Plan, PlannedCall, Step, confined, resolve
from agentops.engine.planner import CallView, PlanRequest, ToolView
from agentops.engine.spend import affordable, model_limit_reached, too_dear, warning
from agentops.engine.state import Call, State, StepProgress, output_provenance, repeat_key
from agentops.engine.transitions import CallState, RunState
from agentops.guardrails.provenance import Provenance, SourceKind, provenance
from agentops.guardrails.sanitise import cuts, stubbed, without
from agentops.wire.parse import JSON


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Ask the planner for plan `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class Record:
    """Nothing to do but to record what follows from the state."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A planned call with its arguments filled in, before the gate has seen it."""

    call_id: str
    step_id: str
    tool: str
    arguments: JSON
    provenance: Mapping[str, Provenance]
    planned: bool
    why: str
    adopts: str = ""
    """The earlier call that is taken over instead: nothing is asked and nothing executed."""
    idempotency_key: str = ""
    """The key of an earlier attempt at the same effect; empty: a new one."""
    barred: str = ""
    """Why it is denied whatever the gate says: a reviewer has said that it may not be tried again."""


@dataclass(frozen=True, slots=True)
class Select:
    """Put the calls of a step before the gate."""

    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Execute:
    """Run one granted call."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Reconcile:
    """A worker died inside an effect that must not be repeated: ask the contract's hook what became of it."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """A write has succeeded: read its effect back."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A person has asked about a call that waits for people: have the planner answer question `round`."""

    call_id: str
    round: int


@dataclass(frozen=True, slots=True)
class FallBack:
    """Hand the run to its fallback: record `events`, and close the proposals and permissions that go with them."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Let the run go until `until` (retry) or until people have answered."""

    state: RunState
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finalize:
    """Check the answer and end well. `untrusted`: parts of it are text that an attacker may have written."""

    answer: str
    untrusted: bool


@dataclass(frozen=True, slots=True)
class Fail:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """The run waits for people or has ended; a doorbell rang for nothing."""


Command = (
    MakePlan | Record | Select | Execute | Reconcile | Confirm | Reply | FallBack | Wait | Finalize | Fail | Nothing
)

REPLANNABLE: Final = frozenset({"failed", "rejected", "expired", "denied", "unverified", "missing"})
BUDGET_EXCEEDED: Final = "budget_exceeded"
"""Denied because there is no money, no attention or no call left; a run that ends for it carries the code itself."""

MAX_PLAN_FAILURES: Final = 3
"""The first answer and two repairs; for transient model failures as well, each after its wait."""


def decide(state: State) -> Command:
    """Return the next command of a run. Deterministic: the same state always gives the same command."""
    if state.submitted is None or state.state is not RunState.RUNNING or state.paused_at is not None:
        return Nothing()
    command = _decide(state)
    if isinstance(command, Fail) and fallback.takes_over(state, command.code):
        return FallBack(fallback.handing_over(state, command.code))
    return command


def _decide(state: State) -> Command:
    unsettled = state.open_calls(CallState.EXECUTING, CallState.UNKNOWN)
    if state.wall_time.total_seconds() > state.limits.wall_time_s and not unsettled:
        # First comes what became of an effect that was interrupted; nothing new starts meanwhile.
        return Fail(
            "limit_wall_time", f"The run took longer than {state.limits.wall_time_s} s, waits for people apart."
        )
    if not unsettled and (refused := refusals.ended_by(state)) is not None:
        return Fail(refusals.REJECTED, f"A reviewer rejected {refused.tool} and ended the run: {refused.note}")
    if not unsettled and (near := warning(state)) is not None:
        return Record((near,))
    if state.held_back is not None:
        return _held_back(state, state.held_back)
    plan = state.plan
    if state.finished is not None and (plan is None or state.current_step is not None):
        return _final(state, plan)
    if plan is None or state.replan:
        return _plan(state)
    step = state.current_step
    if step is None:
        return _after_plan(state, plan)
    if step.call_ids:
        return _open_step(state, plan.steps[state.cursor], step)
    if state.cursor > 0 and (ended := _after_step(state, plan, plan.steps[state.cursor - 1])) is not None:
        return ended
    return _next_step(state, plan, plan.steps[state.cursor])


def _plan(state: State) -> Command:
    failure = state.last_plan_failure
    if state.plan_failures and failure is not None:
        if failure.code != "plan_invalid" and not failure.retry_at:
            return Fail(failure.code, failure.message)
        if state.plan_failures >= MAX_PLAN_FAILURES:
            return Fail(failure.code, f"{failure.message} (after {state.plan_failures} attempts)")
        if state.plan_retry_at is not None and state.clock is not None and state.plan_retry_at > state.clock:
            return Wait(RunState.WAITING_RETRY, state.plan_retry_at)
    version = len(state.plans) + 1
    if state.fell_back is not None:
        return MakePlan(version)  # asks no model and is the last plan
    if version > _plans_allowed(state):
        return Fail("limit_plans", f"The planner may make {_plans_allowed(state)} plans.")
    if state.usage.requests >= state.limits.model_calls:
        return Fail("limit_model_calls", f"The run may ask a model {state.limits.model_calls} times.")
    if _by_model(state) and (reached := model_limit_reached(state)) is not None:
        return Fail(*reached)
    return MakePlan(version)


def _held_back(state: State, blocked: AnswerBlocked) -> Command:
    """Let a model try again after its answer was not let out, within the limits of the run; a playbook cannot."""
    again = _plan(state) if _by_model(state) and state.answers_blocked <= state.limits.plans else None
    return Fail("output_blocked", blocked.message) if again is None or isinstance(again, Fail) else again


def _plans_allowed(state: State) -> int:
    """A reactive planner makes a plan per step and one to finish."""
    reactive = state.submitted is not None and state.submitted.planning == "reactive"
    return state.limits.steps + 1 if reactive and _by_model(state) else state.limits.plans


def _by_model(state: State) -> bool:
    return state.planner.startswith("model:")


# --- one step -------------------------------------------------------------------------------------------------------


def _next_step(state: State, plan: Plan, step: Step) -> Command:
    assert state.submitted is not None
    if (again := loops.same_plan(state)) and _by_model(state) and not _reactive(state):
        return _looped(state, loops.LOOP_DETECTED, f"Plan {plan.version} does the same as plan {again}.")
    if step.when and not holds(step.when, state.names(steps_named_in(step.when))):
        return Record((StepSkipped(step.id, "condition", step.when),))
    used_up = state.steps_used >= state.limits.steps
    if used_up and state.fell_back is None:
        return _limit_steps(state)
    if len(step.calls) > state.limits.calls_per_step:
        return Fail(
            "limit_calls", f"A step may make {state.limits.calls_per_step} calls; {step.id} has {len(step.calls)}."
        )
    if not affordable(state, tuple(call.tool for call in step.calls)):
        return Fail("limit_cost", too_dear(state))
    candidates: list[Candidate] = []
    repeats = dict(state.repeats)
    keys, times = loops.last_keys(state), loops.rounds(state)
    for index in range(len(step.calls)):
        wanted = candidate_of(state, plan, step, index)
        if isinstance(wanted, Missing):
            return Record((StepSkipped(step.id, "missing_value", str(wanted.ref)),))
        same = repeat_key(wanted.tool, wanted.arguments)
        before = fallback.earlier_call(state, same)
        adopts = before.call_id if before is not None and fallback.adoptable(before) else ""
        if not adopts:
            repeats[same] = repeats.get(same, 0) + 1
            keys.append(same)
        if repeats.get(same, 0) > state.limits.repeats:
            message = f"{wanted.tool} was called {state.limits.repeats} times with the same arguments."
            return _looped(state, "limit_repeats", message)
        if not adopts and (length := loops.period(keys, times)):
            tools = [candidate.tool for candidate in candidates if not candidate.adopts] + [wanted.tool]
            return _looped(state, loops.LOOP_DETECTED, loops.cycle_message(_last_tools(state, tools, length), times))
        barred = "" if adopts else refusals.barred(state, wanted.tool, same, plan.version)
        candidates.append(replace(wanted, adopts=adopts, idempotency_key=fallback.key_to_keep(before), barred=barred))
    if used_up and not all(candidate.adopts for candidate in candidates):
        return _limit_steps(state)
    return Select(tuple(candidates))


def candidate_of(state: State, plan: Plan, step: Step, index: int) -> Candidate | Missing:
    """Fill in one call of a step: its arguments, where each comes from, and whether the plan covers it."""
    call = step.calls[index]
    resolved = resolve(call.arguments, state.lookup, _literal(state, plan))
    if isinstance(resolved, Missing):
        return resolved
    return Candidate(
        call_id=f"{plan.version}.{step.id}.{index}",
        step_id=step.id,
        tool=call.tool,
        arguments=resolved.value,
        provenance=resolved.provenance,
        planned=_planned(state, plan, call),
        why=step.why,
    )


def _limit_steps(state: State) -> Fail:
    return Fail("limit_steps", f"The run may take {state.limits.steps} steps.")


def _looped(state: State, code: str, message: str) -> Command:
    """Tell a model the first time that it goes round in circles; end the run the second time, a playbook's at once."""
    if _by_model(state) and state.loops + 1 < loops.MAX_DETECTIONS:
        return Record((LoopDetected(code, message),))
    return Fail(code, message)


def _last_tools(state: State, new: list[str], length: int) -> list[str]:
    return ([call.tool for call in state.calls.values()][-length:] + new)[-length:]


def _reactive(state: State) -> bool:
    return state.submitted is not None and state.submitted.planning == "reactive"


def _literal(state: State, plan: Plan) -> Provenance:
    """What a planner wrote itself: a constant of the playbook, or the model's words, tainted if it had read taint."""
    if not plan.planner.startswith("model:"):
        return provenance(SourceKind.CONSTANT, plan.planner)
    # Plan 1 is made before any tool has answered; every later one may have seen what tools returned.
    tainted = state.tainted and plan.version > 1
    made = provenance(SourceKind.MODEL, f"{plan.planner}#plan{plan.version}", untrusted=tainted)
    return replace(made, suspicion=state.suspicion) if tainted and state.suspicion else made


def _planned(state: State, plan: Plan, call: PlannedCall) -> bool:
    """Whether the call is in a plan that nothing untrusted could have widened."""
    assert state.submitted is not None
    if plan.version == 1 or not state.tainted or state.submitted.planning == "reactive":
        return True
    if not plan.planner.startswith("model:"):
        return True  # an admin wrote it before anything was read
    authority = {
        tool: frozenset(str(name) for name in names)
        for tool, pin in state.submitted.tools.items()
        if isinstance(names := pin.get("authority", []), list)
    }
    return confined(call, state.plans[:-1], authority)


def _open_step(state: State, step: Step, progress: StepProgress) -> Command:
    calls = [state.calls[call_id] for call_id in progress.call_ids]
    for call in calls:
        if call.state is CallState.EXECUTING and _due(state, call):
            return _interrupted(call)
        if call.unsure and not call.hook_asked:
            return Reconcile(call.call_id)
        if call.state is CallState.UNKNOWN and not call.unsure and _due(state, call):
            return Execute(call.call_id)
        if _unconfirmed(state, call):
            return Confirm(call.call_id)
    for call in questions.waiting(state):
        return _reply(state, call)
    if any(call.unsure for call in calls):
        return Wait(RunState.AWAITING_RECONCILIATION)
    if step.on_failure is OnFailure.FAIL and fallback.blocked(state, calls):
        return FallBack(fallback.handing_over(state, fallback.BREAKER_OPEN))
    for waiting in (CallState.GRANTED, CallState.RETRYING):
        for call in calls:
            if call.state is waiting and _due(state, call):
                if not affordable(state, (call.tool,)):
                    return Record((CallDenied(call.call_id, BUDGET_EXCEEDED, too_dear(state), "limit.cost_micros"),))
                return Execute(call.call_id)
    # What people have to decide can wait; the moment of a call that may start then cannot.
    retries = [call.retry_at for call in calls if not call.state.terminal and call.retry_at is not None]
    if retries:
        return Wait(RunState.WAITING_RETRY, min(retries))
    if any(call.state is CallState.PROPOSED for call in calls):
        return Wait(RunState.AWAITING_APPROVAL)
    return Record((_verify(state, step, calls),))


def _reply(state: State, call: Call) -> Command:
    """Have a question answered, unless that would take more than the run may use: then nobody answers it."""
    question = call.questions[-1]
    by_model = state.plan is not None and state.plan.planner.startswith("model:")
    planner = state.plan.planner if state.plan is not None else state.planner
    why: tuple[str, str] | None = None
    if question.tries > questions.MAX_TRIES:
        why = ("interrupted", f"{questions.MAX_TRIES} workers were interrupted while the agent was asked.")
    elif by_model and state.usage.requests >= state.limits.model_calls:
        why = ("limit_model_calls", f"The run may ask a model {state.limits.model_calls} times.")
    elif by_model:
        why = model_limit_reached(state)
    if why is None:
        return Reply(call.call_id, question.round)
    return Record((ProposalUnanswered(call.proposal_id, call.call_id, question.round, planner, *why),))


def _due(state: State, call: Call) -> bool:
    return call.retry_at is None or state.clock is None or call.retry_at <= state.clock


def _interrupted(call: Call) -> Command:
    """The intent is recorded and no outcome is: repeat what is safe to repeat, ask about everything else."""
    return Reconcile(call.call_id) if call.effect == "unsafe_write" else Execute(call.call_id)


def _unconfirmed(state: State, call: Call) -> bool:
    """Whether a write has succeeded whose contract can read its effect back, and nobody has looked yet."""
    if call.state is not CallState.SUCCEEDED or call.confirmed or call.effect == "read":
        return False
    pin = state.submitted.tools.get(call.tool) if state.submitted is not None else None
    return pin is not None and pin.get("reads_back") is True


def _verify(state: State, step: Step, calls: list[Call]) -> StepVerified:
    if any(call.state is not CallState.SUCCEEDED for call in calls):
        return StepVerified(step.id, ok=False, message=next((c.note for c in calls if c.note), ""))
    for call in calls:
        if call.confirmed == "contradicted":
            # In our words: what the hook said stays with its event, because it may quote anything.
            return StepVerified(
                step.id, ok=False, message=f"{call.tool} said that it had succeeded; reading it back says otherwise"
            )
    if not step.expect:
        return StepVerified(step.id, ok=True)
    names = state.names(steps_named_in(step.expect))
    outputs = [call.output for call in calls]
    ok = holds(step.expect, {**names, "output": outputs[0] if len(outputs) == 1 else outputs})
    return StepVerified(step.id, ok, "" if ok else f"expected {step.expect}")


# --- between steps and at the end -----------------------------------------------------------------------------------


def _after_step(state: State, plan: Plan, step: Step) -> Command | None:
    """Look at the step that has just ended: stop, replan, fail, or None to go on."""
    assert state.submitted is not None
    stop = state.submitted.stop_when
    if stop and holds(stop, state.names(steps_named_in(stop))):
        return _finalize(state, plan)
    progress = state.steps[step.id]
    if progress.outcome == "rejected" and refusals.goes_on([state.calls[c] for c in progress.call_ids]):
        return None
    if progress.outcome in REPLANNABLE and _by_model(state) and plan.planner.startswith("model:"):
        return _plan(state)
    if step.on_failure is OnFailure.CONTINUE:
        return None
    match progress.outcome:
        case "failed":
            call = next(state.calls[c] for c in progress.call_ids if state.calls[c].state is CallState.FAILED)
            if call.code == fallback.BREAKER_OPEN and fallback.available(state):
                return Fail(call.code, call.note)
            return Fail("tool_failed", f"{call.tool} failed with {call.code}: {call.note}")
        case "denied":
            call = next(state.calls[c] for c in progress.call_ids if state.calls[c].state is CallState.DENIED)
            message = f"{call.tool} was denied: {call.note}"
            return (
                Fail(BUDGET_EXCEEDED, message) if call.code == BUDGET_EXCEEDED else Fail(f"call_{call.code}", message)
            )
        case "unverified":
            return Fail("verification_failed", f"Step {step.id}: {progress.message}")
        case _:
            return None


def _after_plan(state: State, plan: Plan) -> Command:
    assert state.submitted is not None
    if plan.steps and (ended := _after_step(state, plan, plan.steps[-1])) is not None:
        return ended
    if state.submitted.planning == "reactive" and plan.planner.startswith("model:") and state.finished is None:
        return _plan(state)
    return _final(state, plan)


def _final(state: State, plan: Plan | None) -> Command:
    assert state.submitted is not None
    criterion = state.submitted.success_when
    if criterion and not holds(criterion, state.names(steps_named_in(criterion))):
        if _by_model(state) and state.unmet < state.limits.plans and isinstance(_plan(state), MakePlan):
            return Record((CriteriaUnmet(criterion),))
        return Fail("criteria_not_met", f"The task type's success criterion does not hold: {criterion}")
    return _finalize(state, plan)


def _finalize(state: State, plan: Plan | None) -> Command:
    if state.finished is not None:
        return Finalize(state.finished.answer, untrusted=state.tainted)
    for answer in plan.answers if plan is not None else ():
        if not holds(answer.when, state.names(steps_named_in(answer.when))):
            continue
        resolved = resolve(answer.text, state.lookup, provenance(SourceKind.CONSTANT, "answer"))
        if not isinstance(resolved, Missing):
            text = resolved.value if isinstance(resolved.value, str) else str(resolved.value)
            return Finalize(text, resolved.joined.untrusted)
    return Finalize("", untrusted=False)


def plan_request(state: State, run_id: str, tools: tuple[ToolView, ...]) -> PlanRequest:
    """Tell the planner what it may know. `tools` are the ToolViews of the task type's allowed contracts."""
    assert state.submitted is not None
    submitted = state.submitted
    copied = {
        original: marker
        for call in state.calls.values()
        for original, marker in cuts(call.output, call.removed).items()
    }
    return PlanRequest(
        run_id=run_id,
        task_type=submitted.task_type,
        instructions=submitted.instructions,
        input=submitted.input,
        planning=submitted.planning,
        version=len(state.plans) + 1,
        tools=tools,
        calls=tuple(_view(call, copied) for call in state.calls.values()),
        feedback=state.feedback,
        tainted=state.tainted,
        max_steps=state.limits.steps,
        calls_per_step=state.limits.calls_per_step,
        steps_left=max(0, state.limits.steps - state.steps_used),
        canary=submitted.canary,
    )


def _view(call: Call, copied: Mapping[str, str]) -> CallView:
    """Show a call; what guardrails took out of outputs is a stub there and in whatever was made of them."""
    untrusted = call.state is CallState.SUCCEEDED and output_provenance(call, ()).untrusted
    by_reviewer = bool(call.proposal_id) and call.state in (CallState.REJECTED, CallState.SUCCEEDED)
    return CallView(
        call.call_id,
        call.step_id,
        call.tool,
        without(call.arguments, copied),
        call.state.value,
        without(stubbed(call.output, call.removed), copied),
        call.code,
        call.note if by_reviewer else "",
        untrusted,
    )
