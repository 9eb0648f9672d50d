"""How far a person's no reaches: this call only, its step, or the run, and whether the agent may try again. Pure.

    call    only this call does not happen; the plan goes on as it was made
    step    the step has failed: a model is asked for another plan, a playbook goes on as it says
    run     the run ends here, with what was done so far

An agent that may not try again is kept from calling the same tool in a later plan, and from the same call in this one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agentops.engine.events import ProposalDecided
from agentops.engine.transitions import CallState

if TYPE_CHECKING:
    from agentops.engine.state import Call, State

CALL: Final = "call"
STEP: Final = "step"
RUN: Final = "run"
SCOPES: Final = (CALL, STEP, RUN)

REJECTED: Final = "rejected"
"""What a run fails with that a person has ended by rejecting one of its calls."""


def told(tool: str, note: str, event: ProposalDecided) -> str:
    """Return what a planner is told of a rejection."""
    again = f" {tool} may not be tried again in this run." if event.retry == "no" else ""
    return f"A reviewer rejected {tool}: {note}{again}"


def ended_by(state: "State") -> "Call | None":
    """Return the call whose rejection ends the run."""
    return next((call for call in state.open_calls(CallState.REJECTED) if call.scope == RUN), None)


def goes_on(calls: "Sequence[Call]") -> bool:
    """Whether a step failed for nothing but rejections that reach no further than their calls."""
    failed = [call for call in calls if call.state is not CallState.SUCCEEDED]
    return bool(failed) and all(call.state is CallState.REJECTED and call.scope == CALL for call in failed)


def barred(state: "State", tool: str, key: str, plan: int) -> str:
    """Say why a call may not be made because a reviewer has said so; empty if it may.

    `key` is its `state.repeat_key`, `plan` the version of the plan that wants it.
    """
    for call in (state.calls[call_id] for call_id in state.barred):
        if key in call.keys or (call.tool == tool and plan > call.plan):
            return f"A reviewer rejected {tool} and said that it may not be tried again in this run."
    return ""
