"""Words for what the engine's rules made of a run: who plans it, why it went another way, what a check has shown."""

from typing import Literal

from agentops.engine import refusals
from agentops.engine.events import (
    AnswerBlocked,
    CallAdopted,
    CallConfirmed,
    CallWithdrawn,
    CriteriaUnmet,
    LoopDetected,
    ProposalAnswered,
    ProposalAsked,
    ProposalDecided,
    ProposalUnanswered,
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


def question_words(event: ProposalAsked | ProposalAnswered | ProposalUnanswered, tool: str, who: str) -> str:
    """Say what became of a question to the agent. The answer is the agent's, and stands only where it is marked so."""
    match event:
        case ProposalAsked(question=question):
            return f"{who} asked the agent about {tool}: {question}"
        case ProposalAnswered(planner=planner, digest=digest, version=version, refused=refused):
            wants = f" and wants other arguments; this is version {version}" if digest else ""
            wants = f" and wants other arguments, which were not taken: {refused}" if refused else wants
            words = f"{planner_words(planner)} answered about {tool}{wants}"
            return words[:1].upper() + words[1:]
        case ProposalUnanswered(code=code, message=message):
            return f"Nobody answered the question about {tool}, {code.replace('_', ' ')}: {message}"


REACH = {
    refusals.CALL: "this call only",
    refusals.STEP: "its step",
    refusals.RUN: "the run ends",
}
"""How far a rejection reaches -> what is said of it."""


def reach_words(event: ProposalDecided) -> str:
    """Say how far a rejection reaches, to be put behind it; empty for one that does not say."""
    again = "; the agent may not try it again" if event.retry == "no" else ""
    reach = REACH.get(event.scope, "")
    return f" ({reach}{again})" if reach else ""
