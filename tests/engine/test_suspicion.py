"""What guardrails flagged is folded like everything else, and travels with every value that comes from there."""

from dataclasses import replace

from agentops.engine.events import CallSucceeded, RunClaimed
from agentops.engine.folding import fold
from agentops.engine.plan import Missing, Ref
from agentops.engine.state import State, suspicion_at
from agentops.guardrails.provenance import UNSCREENED
from agentops.wire.parse import JSONObject
from tests.engine.test_replay import place, recorded

FLAGGED: JSONObject = {"path": "/mails/0/body", "score": 90, "flagged": True, "families": ["instruction", "forgery"]}
SLIGHT: JSONObject = {"path": "/mails/1/body", "score": 10, "flagged": False, "families": ["smuggling"]}


def state_with(*screened: JSONObject) -> State:
    events = recorded()
    at = place(events, CallSucceeded)
    event = events[at].event
    assert isinstance(event, CallSucceeded)
    output: JSONObject = {"mails": [{"body": "one"}, {"body": "two"}]}
    events[at] = replace(events[at], event=replace(event, output=output, screened=list(screened)))
    return fold(events[: at + 2])


def suspicion(state: State, *path: str) -> tuple[str, ...]:
    found = state.lookup(Ref("steps.look.output", tuple(path)))
    assert not isinstance(found, Missing)
    return found[1].suspicion


def test_a_flagged_place_marks_what_is_in_it_and_what_it_is_in() -> None:
    state = state_with(FLAGGED, SLIGHT)
    assert suspicion(state, "mails", "0", "body") == ("forgery", "instruction")
    assert suspicion(state, "mails") == ("forgery", "instruction")
    assert suspicion(state, "mails", "1", "body") == ()
    assert state.suspicion == ("forgery", "instruction")


def test_a_broken_guardrail_marks_the_run() -> None:
    state = state_with({"path": "/mails", "failed": "MemoryError"})
    assert suspicion(state, "mails", "1", "body") == (UNSCREENED,)
    assert UNSCREENED in state.suspicion


def test_a_run_without_findings_is_what_it_was() -> None:
    assert state_with().suspicion == ()


def test_findings_in_the_input_travel_with_its_values() -> None:
    events = recorded()
    at = place(events, RunClaimed)
    claimed = events[at].event
    assert isinstance(claimed, RunClaimed)
    events[at] = replace(events[at], event=replace(claimed, screened=[{**FLAGGED, "path": ""}]))
    state = fold(events[: at + 1])
    assert state.suspicion == ("forgery", "instruction")
    assert state.submitted is not None
    name = next(iter(state.submitted.input), "")
    found = state.lookup(Ref("input", (name,) if name else ()))
    assert not isinstance(found, Missing)
    assert found[1].suspicion == ("forgery", "instruction")


def test_neighbours_with_like_names_are_not_confused() -> None:
    assert suspicion_at({"/a": ("instruction",)}, "/ab") == ()
    assert suspicion_at({"/a": ("instruction",)}, "/a/b") == ("instruction",)
    assert suspicion_at({"/a/b": ("instruction",)}, "/a") == ("instruction",)
