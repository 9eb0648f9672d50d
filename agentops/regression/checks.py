"""Whether a run came out as its case expects: every difference in a sentence. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from agentops.engine.events import CallProposed, Stamped
from agentops.engine.state import Call, State
from agentops.regression.cases import AnswerCheck, Expected, ExpectedCall, compiled
from agentops.regression.scripts import contained
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject

MAX_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that came out otherwise: a stable code and a sentence."""

    code: str
    message: str

    def to_json(self) -> JSONObject:
        return {"code": self.code, "message": self.message}


def problems(expected: Expected, events: Sequence[Stamped], state: State) -> Iterator[Problem]:
    """Yield what is not as expected, the most telling first."""
    if state.state.value != expected.state:
        why = f" with {state.failure_code}: {state.failure_message}" if state.failure_code else ""
        yield Problem("state", _cut(f"The run {_words(state)}{why}; expected is {expected.state}."))
    elif expected.failure_code is not None and state.failure_code != expected.failure_code:
        yield Problem("failure_code", f"It failed with {state.failure_code}; expected is {expected.failure_code}.")
    calls = list(state.calls.values())
    for forbidden in expected.never:
        for call in calls:
            if call.tool == forbidden.tool and contained(forbidden.arguments or {}, call.arguments):
                yield Problem("forbidden_call", _cut(f"{_call(call)} must not be asked for again."))
    if expected.calls is not None:
        yield from _calls(expected.calls, calls)
    if expected.approvals is not None:
        asked = [state.calls[s.event.call_id].tool for s in events if isinstance(s.event, CallProposed)]
        if asked != expected.approvals:
            yield Problem(
                "approvals", _cut(f"Put before a person: {_list(asked)}; expected: {_list(expected.approvals)}.")
            )
    if expected.answer is not None:
        yield from _answer(expected.answer, state.answer)
    if expected.steps_at_most is not None and state.steps_used > expected.steps_at_most:
        yield Problem("steps", f"It took {state.steps_used} steps; at most {expected.steps_at_most} are expected.")
    if expected.calls_at_most is not None and state.calls_used > expected.calls_at_most:
        yield Problem("too_many_calls", f"It made {state.calls_used} calls; at most {expected.calls_at_most}.")


def _calls(expected: Sequence[ExpectedCall], calls: Sequence[Call]) -> Iterator[Problem]:
    for number, (wanted, call) in enumerate(zip_longest(expected, calls), start=1):
        if wanted is None:
            yield Problem("extra_call", _cut(f"Call {number}, {_call(call)}, is not expected."))
        elif call is None:
            yield Problem("missing_call", f"Call {number}, {wanted.tool}, is missing.")
        elif call.tool != wanted.tool or (wanted.step and call.step_id != wanted.step):
            named = f"{wanted.tool} of step {wanted.step}" if wanted.step else wanted.tool
            yield Problem(
                "other_call", _cut(f"Call {number} is {_call(call)} of step {call.step_id}; expected is {named}.")
            )
        elif wanted.arguments is not None and not contained(wanted.arguments, call.arguments):
            yield Problem(
                "arguments", _cut(f"Call {number} is {_call(call)}; expected are {canonical(wanted.arguments)}.")
            )
        elif wanted.outcome and call.state.value != wanted.outcome:
            yield Problem("outcome", f"Call {number}, {call.tool}, {call.state.value}; expected is {wanted.outcome}.")
        else:
            continue
        return  # what comes after the first difference follows from it


def _answer(check: AnswerCheck, answer: str) -> Iterator[Problem]:
    shown = _cut(answer)
    if check.equals is not None and answer != check.equals:
        yield Problem("answer", _cut(f"The answer is {shown!r}; expected is {check.equals!r}."))
    if check.contains is not None and check.contains not in answer:
        yield Problem("answer", _cut(f"The answer is {shown!r}; it should contain {check.contains!r}."))
    if check.lacks is not None and check.lacks in answer:
        yield Problem("answer", _cut(f"The answer is {shown!r}; it should not contain {check.lacks!r}."))
    if check.matches is not None and compiled(check.matches).search(answer) is None:
        yield Problem("answer", _cut(f"The answer is {shown!r}; it should match {check.matches}."))


def _words(state: State) -> str:
    return state.state.value if state.state.terminal else f"stands at {state.state.value}"


def _call(call: Call) -> str:
    return f"{call.tool} with {_cut(canonical(call.arguments))}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN * 3 else f"{text[: MAX_SHOWN * 3 - 1]}…"
