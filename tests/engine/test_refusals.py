"""How far a person's no reaches, and what may not be tried again."""

from collections.abc import Callable

import pytest

from agentops.engine.events import CallDenied, ProposalDecided, RunClaimed
from agentops.engine.replay import Identical, replay
from agentops.engine.state import State
from agentops.engine.transitions import CallState, RunState
from agentops.wire.parse import JSON, JSONObject
from tests.engine.test_decide import chooser, look, steps
from tests.engine.world import World, submitted

PAY: JSONObject = {"id": "pay", "tool": "pay", "arguments": {"n": 1}}
LOOK = look(9, 9)


def pay(name: str, n: int) -> JSONObject:
    return {"id": name, "tool": "pay", "arguments": {"n": n}}


def refusing(scope: str, retry: str) -> Callable[[list[str]], str]:
    """Draw so that whatever is asked about is refused with this reach."""
    friendly: Callable[[list[str]], str] = chooser(verdict="reject")

    def draw(choices: list[str]) -> str:
        if "run" in choices and "call" in choices:
            return scope
        if choices == ["yes", "no"]:
            return retry
        return friendly(choices)

    return draw


def world(plan: JSONObject, scope: str, retry: str = "yes", **task: object) -> World:
    made = World(plan, submitted(**task), draw=refusing(scope, retry))
    before = made.draw

    def draw(choices: list[str]) -> str:
        if "propose" in choices:
            return "propose" if made.state.current_step and _pays(made) else "grant"
        return before(choices)

    made.draw = draw
    return made


def _pays(made: World) -> bool:
    return list(made.state.calls.values())[-1].tool == "pay"


def now(made: World) -> str:
    return made.state.state.value


def ended(made: World) -> State:
    state = made.run()
    assert isinstance(replay(made.history), Identical)
    return state


def test_this_call_only_lets_a_models_plan_go_on_without_asking_it_again() -> None:
    state = ended(world(steps(PAY, LOOK), "call", planner="model:m"))
    assert state.state is RunState.SUCCEEDED
    assert len(state.plans) == 1
    assert [call.state for call in state.calls.values()] == [CallState.REJECTED, CallState.SUCCEEDED]


def test_the_step_lets_a_model_plan_again_and_tells_it_why() -> None:
    made = world(steps(PAY, LOOK), "step", planner="model:m")
    made.plans = [steps(PAY, LOOK), steps(look(5, 5))]
    state = ended(made)
    assert state.state is RunState.SUCCEEDED
    assert len(state.plans) == 2
    assert "s9" not in {call.step_id for call in state.calls.values()}


def test_a_playbook_goes_on_after_a_refused_step_as_it_says() -> None:
    for scope in ("call", "step"):
        state = ended(world(steps(PAY, LOOK), scope))
        assert state.state is RunState.SUCCEEDED
        assert len(state.calls) == 2


def test_the_run_ends_and_what_else_is_asked_is_withdrawn() -> None:
    both: JSONObject = {"id": "pay", "calls": [{"tool": "pay", "arguments": {"n": n}} for n in (1, 2)]}
    made = world(steps(both, LOOK), "run", planner="model:m")
    state = ended(made)
    assert (state.state, state.failure_code) == (RunState.FAILED, "rejected")
    assert "other: no" in state.failure_message
    assert len(state.plans) == 1


def test_a_rejection_that_ends_the_run_wakes_it_although_another_call_still_waits() -> None:
    both: JSONObject = {"id": "pay", "calls": [{"tool": "pay", "arguments": {"n": n}} for n in (1, 2)]}
    made = world(steps(both), "run")
    made.add(RunClaimed("w1", 1))
    while now(made) == "running":
        made.turn()
    first, second = made.state.calls.values()
    assert now(made) == "awaiting_approval"
    made.add(ProposalDecided(first.proposal_id, first.call_id, 1, "reject", "d", "user:2", "other", scope="run"))
    assert now(made) == "queued"
    assert made.state.calls[second.call_id].state is CallState.PROPOSED
    state = ended(made)
    assert state.failure_code == "rejected"
    assert state.calls[second.call_id].state is CallState.WITHDRAWN


@pytest.mark.parametrize(("retry", "denied"), [("no", True), ("yes", False)])
def test_a_tool_that_may_not_be_tried_again_is_denied_in_a_later_plan(retry: str, denied: bool) -> None:
    made = world(steps(PAY), "step", retry, planner="model:m")
    made.plans = [steps(PAY), steps(pay("more", 2)), steps(LOOK)]
    state = ended(made)
    later = state.calls["2.more.0"]
    assert (later.state is CallState.DENIED) is denied
    told = [stamped.event for stamped in made.history if isinstance(stamped.event, CallDenied)]
    assert ["may not be tried again" in event.message for event in told] == [True] * denied


def test_another_call_of_the_same_plan_is_no_second_try_but_the_same_call_is() -> None:
    made = world(steps(PAY, pay("other", 2), pay("same", 1)), "call", "no", planner="model:m")
    state = ended(made)
    found = {call.step_id: call.state for call in state.calls.values() if call.plan == 1}
    assert found == {"pay": CallState.REJECTED, "other": CallState.REJECTED, "same": CallState.DENIED}


def test_records_of_earlier_programs_reach_as_far_as_they_did() -> None:
    plain: list[JSON] = [PAY, LOOK]
    state = ended(world(steps(*plain), "", planner="playbook:support@1"))
    assert state.state is RunState.SUCCEEDED
    assert state.feedback == ("A reviewer rejected pay: other: no",)
