"""What people ask the agent about a call that waits for them, and what became of each question. Pure.

A question wakes the run that waits for people; its worker has the run's planner answer, records that, and the run waits
on. What the agent says changes nothing by itself: arguments that it wants instead are a new version of the proposal.
"""

from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from agentops.engine.events import ProposalAnswered, ProposalAsked, ProposalUnanswered
from agentops.engine.state import Call, Question, State
from agentops.engine.transitions import CallState, IllegalTransition

MAX_ROUNDS: Final = 3
"""Questions about one proposal that are answered at most; then people approve, reject or escalate."""

MAX_QUESTIONS: Final = 9
"""Questions about one proposal at most, with those that nobody could answer."""

MAX_TRIES: Final = 3
"""Workers that take a question up at most: one that ends each of them must not end the run."""


def open_one(call: Call) -> Question | None:
    """Return the question about a call that waits for its answer."""
    last = call.questions[-1] if call.questions else None
    return last if last is not None and last.outcome == "open" else None


def waiting(state: State) -> tuple[Call, ...]:
    """Return the calls of the current step about which a question is open."""
    return tuple(call for call in state.open_calls(CallState.PROPOSED) if open_one(call) is not None)


def answered(call: Call) -> int:
    """Count the questions about a call that were answered."""
    return sum(one.outcome == "answered" for one in call.questions)


def asked(call: Call, event: ProposalAsked, at: datetime | None) -> Call:
    """Put a question about a call that waits for people. Raises IllegalTransition."""
    if call.state is not CallState.PROPOSED:
        raise IllegalTransition(f"call {call.call_id} is {call.state}: nobody asks about it")
    if open_one(call) is not None or event.round != len(call.questions) + 1:
        raise IllegalTransition(f"question {event.round} about {call.call_id} after {len(call.questions)}")
    new = Question(event.round, event.version, event.by, event.question, at)
    return _with(call, (*call.questions, new))


def closed(call: Call, event: ProposalAnswered | ProposalUnanswered, at: datetime | None) -> Call:
    """Record the end of a question. An answer may come after the proposal was closed, but changes nothing then.

    Raises IllegalTransition.
    """
    last = call.questions[-1] if call.questions else None
    if last is None or last.round != event.round or last.outcome not in ("open", "dropped"):
        raise IllegalTransition(f"question {event.round} about {call.call_id} is not open")
    if isinstance(event, ProposalUnanswered):
        ended = replace(last, outcome="unanswered", answer=event.message, code=event.code)
    elif event.digest and last.outcome != "open":
        raise IllegalTransition(f"call {call.call_id} is {call.state}: its arguments cannot change")
    else:
        ended = replace(
            last,
            outcome="answered",
            answer=event.answer,
            tainted=event.tainted,
            changed=tuple(event.patch),
            refused=event.refused,
        )
    ended = replace(ended, answered_by=event.planner, answered_at=at)
    return _with(call, (*call.questions[:-1], ended))


def dropped(call: Call) -> Call:
    """Close the open question about a call whose proposal was closed."""
    return _with(call, (*call.questions[:-1], replace(call.questions[-1], outcome="dropped")))


def taken_up(state: State) -> State:
    """Count a worker that takes the run up for every question that is open."""
    calls = waiting(state)
    if not calls:
        return state
    tried = {
        call.call_id: _with(
            call, (*call.questions[:-1], replace(call.questions[-1], tries=call.questions[-1].tries + 1))
        )
        for call in calls
    }
    return replace(state, calls=MappingProxyType({**state.calls, **tried}))


def _with(call: Call, questions: tuple[Question, ...]) -> Call:
    return replace(call, questions=questions)
