"""Every way a run can end is declared and comes about: nothing ends a run that is not in the table."""

import ast
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agentops.engine import ends, loops
from agentops.engine.decide import BUDGET_EXCEEDED
from agentops.engine.events import PlanFailed, PlanMade, RunClaimed, Usage
from agentops.engine.replay import Identical, replay
from agentops.engine.state import State
from agentops.engine.transitions import RunState
from agentops.wire.parse import JSON, JSONObject
from tests.engine.test_decide import PAY, chooser, look, steps
from tests.engine.test_loops import calls, failing, planned, step_by_step
from tests.engine.world import World, submitted

ROOT = Path(__file__).parents[2]
LOOK = look(1, 1)


def late() -> World:
    world = World(steps(PAY, LOOK), submitted(limits={"wall_time_s": 60}))
    world.add(RunClaimed("w", 1))
    world.turn()
    world.now += timedelta(minutes=2)
    world.add(RunClaimed("w2", 2))
    return world


def wide() -> World:
    several: list[JSON] = [{"tool": "read", "arguments": {"n": n}} for n in range(3)]
    return World(steps({"id": "s", "calls": several}), submitted(limits={"calls_per_step": 2}))


def with_answers(code: str, times: int = 1, retry: bool = False, **task: object) -> Callable[[], World]:
    """A planner that fails with a code."""

    def make() -> World:
        world = World(steps(LOOK), submitted(**({"planner": "model:m"} | task)))
        world.add(RunClaimed("w", 1))
        for _ in range(times):
            until = (world.now + timedelta(milliseconds=1)).isoformat(timespec="microseconds") if retry else ""
            world.add(PlanFailed(world.state.planner, code, "so it said", until))
        return world

    return make


def used_up() -> World:
    world = World(steps(LOOK), submitted(planner="model:m", limits={"model_calls": 2}))
    world.add(RunClaimed("w", 1), PlanFailed("model:m", "plan_invalid", "no", usage=Usage(requests=2)))
    return world


def dear(**limits: int) -> World:
    """A model whose one plan used tokens and money, and that would be asked again."""
    world = World(steps(LOOK), submitted(planner="model:m", planning="reactive", limits=limits))
    world.add(RunClaimed("w", 1), PlanMade(1, "model:m", steps(LOOK), usage=Usage(1, 900, 100, cost_micros=50)))
    return world


def ended_by_a_reviewer() -> World:
    world = World(steps(PAY, LOOK), draw=chooser(gate="propose", verdict="reject"))
    draw = world.draw
    world.draw = lambda options: "run" if "run" in options else draw(options)
    return world


WAYS: dict[str, Callable[[], World]] = {
    "limit_wall_time": late,
    "rejected": ended_by_a_reviewer,
    "limit_steps": lambda: World(calls(1, 2, 3), submitted(limits={"steps": 2})),
    "limit_calls": wide,
    "limit_repeats": lambda: World(calls(1, 1, 1)),
    "limit_plans": lambda: planned(failing(1, "a"), failing(2, "b"), limits={"plans": 2}),
    "limit_model_calls": used_up,
    "limit_tokens": lambda: dear(tokens=1000),
    "limit_cost": lambda: dear(cost_micros=50),
    "budget_exceeded": with_answers("budget_exceeded"),
    "loop_detected": lambda: World(calls(1, 2, 1, 2)),
    "plan_invalid": with_answers("plan_invalid", 3),
    "playbook_missing": with_answers("playbook_missing", planner="playbook:gone@1"),
    "tool_failed": lambda: World(steps(PAY), draw=chooser(outcome="fail")),
    "verification_failed": lambda: World(steps(PAY | {"expect": "output.ok == false"})),
    "criteria_not_met": lambda: World(steps(PAY), submitted(success_when="steps.pay.outcome == 'failed'")),
    "model_auth": with_answers("model_auth"),
    "model_unavailable": with_answers("model_unavailable", 3, retry=True),
    "model_not_configured": with_answers("model_not_configured", planner="model:"),
    "call_not_allowed": lambda: World(steps(PAY), draw=chooser(gate="deny")),
}
ELSEWHERE = {
    "dead_letter": "tests/worker/test_driver.py",
    "internal": "tests/worker/test_ends.py",
    "output_blocked": "tests/worker/test_ends.py",
}
"""Ends that the driver and the output policy bring about."""


@pytest.mark.parametrize("code", WAYS)
def test_a_run_fails_for_this_reason(code: str) -> None:
    world = WAYS[code]()
    state = world.run()
    assert (state.state, state.failure_code) == (RunState.FAILED, code)
    assert state.failure_message
    assert ends.explained(code)
    assert isinstance(replay(world.history), Identical)


@pytest.mark.parametrize(
    ("world", "answer"),
    [
        (lambda: World(steps(LOOK, answers=[{"text": "read"}])), "read"),
        (lambda: World(steps(LOOK)), ""),
        (lambda: World(steps(answers=[{"text": "nothing to do"}])), "nothing to do"),
        (lambda: World(steps(answers=[{"when": "1 == 2", "text": "no"}, {"text": "else"}])), "else"),
        (
            lambda: World(steps(LOOK, PAY, answers=[{"text": "early"}]), submitted(stop_when="steps.s1.output.ok")),
            "early",
        ),
        (lambda: World(steps(LOOK), submitted(success_when="steps.s1.output.ok")), ""),
        (lambda: step_by_step(1, 2), "that is all"),
        (lambda: step_by_step(), "that is all"),
    ],
)
def test_a_run_ends_well(world: Callable[[], World], answer: str) -> None:
    made = world()
    state = made.run()
    assert (state.state, state.answer) == (RunState.SUCCEEDED, answer)
    assert isinstance(replay(made.history), Identical)


def test_a_criterion_that_does_not_hold_goes_back_to_a_model_as_often_as_it_may_plan() -> None:
    def unmet(*answers: JSONObject, **limits: int) -> State:
        world = planned(*answers, limits=limits, success_when="steps.c.outcome == 'succeeded'")
        state = world.run()
        assert isinstance(replay(world.history), Identical)
        return state

    there: JSONObject = {"id": "c", "tool": "read", "arguments": {"n": 3}}
    state = unmet(steps(look(1, 1)), steps(look(2, 2)), steps(there))
    assert (state.state, state.unmet, len(state.plans)) == (RunState.SUCCEEDED, 2, 3)
    state = unmet(steps(look(1, 1)), steps(look(2, 2)), plans=2)
    assert (state.failure_code, state.unmet) == ("criteria_not_met", 1)


def test_a_model_that_insists_that_it_is_done_is_asked_again_and_then_fails() -> None:
    world = step_by_step(limits={"plans": 3}, success_when="steps.c.outcome == 'succeeded'")
    world.plans = ["done"] * 9
    state = world.run()
    assert (state.failure_code, state.unmet) == ("criteria_not_met", 3)
    assert len(world.plans) == 5
    assert isinstance(replay(world.history), Identical)


def test_what_the_model_is_told_of_a_criterion_is_the_task_types_own_words() -> None:
    world = step_by_step(1, success_when="steps.c.outcome == 'succeeded'")
    while not world.state.unmet:
        world.resume() if world.state.state is not RunState.RUNNING else world.turn()
    assert world.state.feedback == ("The work is not done: steps.c.outcome == 'succeeded' does not hold.",)


# --- the table ------------------------------------------------------------------------------------------------------


def codes_in(path: Path) -> Iterator[str]:
    """Yield the codes with which a module fails runs, wherever they are written out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        position = {"Fail": 0, "RunFailed": 0, "Unaffordable": 0, "_looped": 1}.get(name)
        if position is None or len(node.args) <= position:
            continue
        match node.args[position]:
            case ast.Constant(value=str(code)):
                yield code
            case ast.Attribute(attr="LOOP_DETECTED"):
                yield loops.LOOP_DETECTED
            case ast.Name(id="BUDGET_EXCEEDED"):
                yield BUDGET_EXCEEDED
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
                yield start


def test_every_code_that_fails_a_run_in_the_source_is_in_the_table_and_comes_about() -> None:
    places = [*(ROOT / "agentops" / "engine").glob("*.py"), *(ROOT / "agentops" / "worker").glob("*.py")]
    written = {code for path in places for code in codes_in(path)}
    assert {"limit_steps", "loop_detected", "dead_letter", "call_", "output_blocked", "budget_exceeded"} <= written
    undeclared = {code for code in written if not ends.explained(code)}
    assert not undeclared, f"declare them in engine/ends.py and give each a way in this test: {undeclared}"
    proven = set(WAYS) | set(ELSEWHERE)
    assert set(ends.ENDS) <= proven, set(ends.ENDS) - proven
    assert all(any(code.startswith(start) for code in WAYS) for start in ends.FAMILIES)
    for code, where in ELSEWHERE.items():
        assert f'"{code}"' in (ROOT / where).read_text(), f"{where} proves {code}"
