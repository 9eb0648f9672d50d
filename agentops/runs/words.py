"""Words for what the engine's rules made of a run: who plans it, why it went another way, what a check has shown."""

from typing import Literal

from agentops.engine.events import (
    AnswerBlocked,
    CallAdopted,
    CallConfirmed,
    CallWithdrawn,
    CriteriaUnmet,
    LoopDetected,
    RunFellBack,
)
from agentops.engine.state import State
from agentops.engine.transitions import CallState

Tone = Literal["", "ok", "error", "wait", "gate", "taint"]


def planner_words(planner: str) -> str:
    """Name a planner such as `playbook:support@3` or `model:gpt` for people."""
    kind, _, name = planner.partition(":")
    if kind == "playbook" and name:
        slug, _, version = name.rpartition("@")
        return f"playbook {slug} version {version}" if slug else f"playbook {name}"
    return f"the model {name}" if kind == "model" and name else planner


def turn_words(event: RunFellBack | LoopDetected | CriteriaUnmet | AnswerBlocked) -> tuple[str, Tone]:
    """Say why a run went another way."""
    match event:
        case RunFellBack(reason_code=code, from_planner=old, to_planner=new):
            words = f"{planner_words(new)} takes over from {planner_words(old)}, {code}"
            return words[:1].upper() + words[1:], "wait"
        case LoopDetected(message=message):
            return f"{message} The planner is told.", "wait"
        case CriteriaUnmet(criterion=criterion):
            return f"The success criterion does not hold yet, and the planner is told: {criterion}", "wait"
        case AnswerBlocked(message=message):
            return f"The answer was held back. {message}", "error"


def rule_words(event: CallConfirmed | CallAdopted | CallWithdrawn, tool: str, state: State) -> tuple[str, Tone]:
    """Say what the engine's rules made of a call."""
    match event:
        case CallConfirmed(verdict="confirmed"):
            return f"Read back: the effect of {tool} is there", "ok"
        case CallConfirmed(verdict="contradicted", message=message):
            return f"Read back: {tool} said that it had succeeded, and that is not so: {message}", "error"
        case CallConfirmed(message=message):
            return f"Reading {tool} back shows nothing: {message}", ""
        case CallAdopted(call_id=call_id):
            call = state.calls.get(call_id)
            if call is not None and call.state is CallState.REJECTED:
                return f"{tool} was rejected before with these arguments; nobody is asked again", "error"
            return f"{tool} was done before with these arguments; its result is used again", "ok"
        case CallWithdrawn(reason=reason):
            return f"{tool} will not start{': ' + reason if reason else ''}", ""
