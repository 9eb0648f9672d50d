"""How a declared playbook takes over from a planner that cannot go on, and goes on from what is done already.

It happens at most once per run, only where the task type names a fallback, and only after every effect of the
abandoned plan is settled: what was proposed or permitted and has not started is withdrawn, what is executing or
unknown comes first. The playbook is written as if it were alone. Of the calls it wants, those that this run has made
before are taken over instead of made again: the same tool with the same arguments, as they were selected or as a
person edited them. A success is taken over with its output and its provenance, a person's rejection with the note
(nobody is asked twice), and an effect of which nobody could say whether it happened as the failure it was recorded as.
A repeatable write that was tried without success is tried again under its first idempotency key.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from agentops.engine.events import CallAdopted, CallWithdrawn, Event, ProposalWithdrawn, RunFellBack
from agentops.engine.state import Call, State
from agentops.engine.transitions import CallState, IllegalTransition, Phase, change_call

BREAKER_OPEN: Final = "breaker_open"
WITHDRAWN: Final = "The fallback playbook took over."

OF_ANY_PLANNER: Final = frozenset({BREAKER_OPEN, "plan_invalid", "playbook_missing"})
OF_A_MODEL: Final = frozenset(
    {
        "limit_plans",
        "limit_model_calls",
        "limit_tokens",
        "limit_cost",
        "budget_exceeded",
        "limit_repeats",
        "loop_detected",
        "criteria_not_met",
    }
)
"""Reasons for which a run is handed over instead of failed; all codes that begin with `model_` are as well."""


def available(state: State) -> bool:
    """Whether a playbook could still take over."""
    return state.submitted is not None and bool(state.submitted.fallback) and state.fell_back is None


def takes_over(state: State, code: str) -> bool:
    """Whether a run that would fail with `code` goes on with its fallback instead."""
    if not available(state):
        return False
    of_model = state.planner.startswith("model:") and (code in OF_A_MODEL or code.startswith("model_"))
    return code in OF_ANY_PLANNER or of_model


def blocked(state: State, calls: list[Call]) -> bool:
    """Whether a step cannot go on because a tool keeps failing, and handing over leaves nothing unsettled.

    A repeatable write that was interrupted, or that nobody knows about, has to be settled first: it waits for its tool.
    """
    if not available(state) or any(call.state in (CallState.EXECUTING, CallState.UNKNOWN) for call in calls):
        return False
    return any(call.deferred == BREAKER_OPEN and call.state in _NOT_STARTED for call in calls)


_NOT_STARTED: Final = (CallState.GRANTED, CallState.RETRYING)


def handing_over(state: State, code: str) -> tuple[Event, ...]:
    """Return what is recorded when the fallback takes over: what is still open closes, in order, then the change."""
    assert state.submitted is not None
    events: list[Event] = []
    for call in state.calls.values():
        if call.state is CallState.PROPOSED:
            events.append(ProposalWithdrawn(call.proposal_id, call.call_id, WITHDRAWN))
        elif call.state in _NOT_STARTED:
            events.append(CallWithdrawn(call.call_id, WITHDRAWN))
    return (*events, RunFellBack(code, state.planner, state.submitted.fallback))


# --- taking over what is done ---------------------------------------------------------------------------------------


def adoptable(call: Call) -> bool:
    """Whether a call of the abandoned plan stands for one of the playbook: it must not happen, or be asked, again."""
    given_up = call.state is CallState.FAILED and call.effect == "unsafe_write" and call.code == "outcome_unknown"
    return call.state in (CallState.SUCCEEDED, CallState.REJECTED) or given_up


def earlier_call(state: State, key: str) -> Call | None:
    """Return the call of the abandoned plan that the fallback's call with this `repeat_key` takes over."""
    if state.fell_back is None:
        return None
    call_id = state.earlier.get(key)
    return state.calls[call_id] if call_id is not None else None


def key_to_keep(call: Call | None) -> str:
    """Return the idempotency key under which a repeatable write of the abandoned plan is tried again, if it was one."""
    tried = call is not None and call.effect == "idempotent_write" and call.attempts > 0
    return call.idempotency_key if call is not None and tried else ""


# --- folding --------------------------------------------------------------------------------------------------------


def fell_back(state: State, event: RunFellBack) -> State:
    """Give the run a new planner and a clean plan; what it has done and used stays."""
    if state.fell_back is not None:
        raise IllegalTransition("a run falls back once")
    if any(not call.state.terminal for call in state.calls.values()):
        raise IllegalTransition("a run falls back while a call is open")
    # An id with a number at its end cannot be written in a plan, so the playbook's own ids are free.
    steps = {f"{step.id}@{len(state.plans)}": step for step in state.steps.values()}
    kept = {
        name: replace(step, id=name, outcome=step.outcome if step.over else "withdrawn") for name, step in steps.items()
    }
    return replace(
        state,
        fell_back=event,
        earlier=MappingProxyType(dict(_index(state))),
        replan=True,
        phase=Phase.PLAN,
        cursor=len(state.plans[-1].steps) if state.plans else 0,
        steps=MappingProxyType(kept),
        repeats=MappingProxyType({}),
        calls_before=len(state.calls),
        finished=None,
        feedback=(),
        plan_failures=0,
        plan_retry_at=None,
        last_plan_failure=None,
    )


def _index(state: State) -> Iterator[tuple[str, str]]:
    """Yield every `repeat_key` with its call: the latest, and one that must not happen again before all others."""
    for wanted in (False, True):
        for call in state.calls.values():
            if adoptable(call) is wanted:
                yield from ((key, call.call_id) for key in call.keys)


def adopted(state: State, event: CallAdopted) -> State:
    """Let a step of the playbook take over an earlier call, in the place of one of its own."""
    call, step = state.calls.get(event.call_id), state.current_step
    if call is None or state.fell_back is None or not adoptable(call):
        raise IllegalTransition(f"call {event.call_id} cannot be taken over")
    if step is None or step.id != event.step_id or step.over:
        raise IllegalTransition(f"call for step {event.step_id}, which is not the current one")
    progress = replace(step, call_ids=(*step.call_ids, call.call_id))
    return replace(state, steps=MappingProxyType({**state.steps, step.id: progress}), phase=Phase.EXECUTE)


def withdrawn(call: Call) -> Call:
    """End a call that has not started and never will."""
    return replace(
        call, state=change_call(call.state, CallState.WITHDRAWN), code="withdrawn", retry_at=None, deferred=""
    )
