"""Runs that go round in circles are noticed: by their calls, and by plans that are an earlier one again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.engine.events import LoopDetected, PlanMade
from agentops.engine.loops import period, shape_of
from agentops.engine.plan import parse_plan
from agentops.engine.replay import Identical, replay
from agentops.engine.transitions import RunState
from agentops.wire.parse import JSONObject
from tests.engine.test_decide import look, steps
from tests.engine.world import World, submitted


def calls(*numbers: int) -> JSONObject:
    return steps(*(look(i, n) for i, n in enumerate(numbers)))


def step_by_step(*numbers: int, **task: object) -> World:
    """A reactive model that makes one call after the other."""
    world = World(
        steps(), submitted(**({"planner": "model:m", "planning": "reactive", "limits": {"steps": 12}} | task))
    )
    world.plans = [steps(look(i, n)) for i, n in enumerate(numbers)] + ["that is all"]
    return world


@pytest.mark.parametrize(
    ("keys", "times", "length"),
    [
        ("ABAB", 2, 2),
        ("XABAB", 2, 2),
        ("ABCABC", 2, 3),
        ("ABCDABCD", 2, 4),
        ("AABAAB", 2, 3),
        ("ABABAB", 3, 2),
        ("", 2, 0),
        ("ABA", 2, 0),
        ("ABAC", 2, 0),
        ("ABABC", 2, 0),
        ("ABAB", 3, 0),
        ("AAAA", 2, 0),
        ("ABCDEABCDE", 2, 0),
    ],
)
def test_a_cycle_is_two_to_four_calls_at_the_end_over_and_over(keys: str, times: int, length: int) -> None:
    assert period(list(keys), times) == length


@given(st.text("ABC", max_size=12), st.integers(2, 3))
def test_what_is_called_a_cycle_is_one(keys: str, times: int) -> None:
    length = period(list(keys), times)
    if length:
        assert keys.endswith(keys[-length:] * times)
        assert len(set(keys[-length:])) > 1


def test_a_playbook_that_goes_round_is_ended_before_the_last_call_of_the_second_round() -> None:
    world = World(calls(1, 2, 1, 2, 3))
    state = world.run()
    assert (state.state, state.failure_code) == (RunState.FAILED, "loop_detected")
    assert state.failure_message == "The run goes round in circles: read, read, 2 times with the same arguments."
    assert len(world.effects) == 3


def test_a_limit_of_repeats_that_is_wider_lets_a_cycle_go_on_as_long() -> None:
    assert World(calls(1, 2, 1, 2, 3), submitted(limits={"repeats": 3})).run().state is RunState.SUCCEEDED
    world = World(calls(1, 2, 1, 2, 1, 2), submitted(limits={"repeats": 3}))
    assert (world.run().failure_code, len(world.effects)) == ("loop_detected", 5)


def test_a_cycle_within_one_step_is_one_as_well() -> None:
    wide: JSONObject = {"id": "s", "calls": [{"tool": "read", "arguments": {"n": n}} for n in (1, 2, 1, 2)]}
    world = World(steps(wide))
    assert (world.run().failure_code, world.effects) == ("loop_detected", [])


def test_a_model_is_told_once_and_may_do_something_else() -> None:
    world = step_by_step(1, 2, 1, 2, 7)
    state = world.run()
    [told] = [s.event for s in world.history if isinstance(s.event, LoopDetected)]
    assert isinstance(told, LoopDetected)
    assert told.code == "loop_detected"
    assert (state.state, state.answer, len(world.effects)) == (RunState.SUCCEEDED, "that is all", 4)
    assert isinstance(replay(world.history), Identical)


def test_a_model_that_is_told_hears_which_calls_it_repeats() -> None:
    world = step_by_step(1, 2, 1, 2, 7)
    while not any(isinstance(s.event, LoopDetected) for s in world.history):
        if world.state.state is not RunState.RUNNING:
            world.resume()
        world.turn()
    assert world.state.feedback == ("The run goes round in circles: read, read, 2 times with the same arguments.",)


@pytest.mark.parametrize(("numbers", "code"), [((1, 2, 1, 2, 2), "loop_detected"), ((1, 1, 1, 1), "limit_repeats")])
def test_a_model_that_goes_on_in_circles_is_ended_the_second_time(numbers: tuple[int, ...], code: str) -> None:
    world = step_by_step(*numbers)
    state = world.run()
    assert (state.state, state.failure_code, state.loops) == (RunState.FAILED, code, 1)
    assert isinstance(replay(world.history), Identical)


def test_a_critical_task_goes_on_with_its_playbook_instead() -> None:
    world = step_by_step(1, 1, 1, 1, fallback="playbook:spare@1")
    world.fallback = calls(1, 5)
    state = world.run()
    assert state.fell_back is not None
    assert (state.fell_back.reason_code, state.state) == ("limit_repeats", RunState.SUCCEEDED)
    assert len(world.effects) == 3, "the first step of the playbook was done already"


def planned(*answers: JSONObject, **task: object) -> World:
    world = World(steps(), submitted(**({"planner": "model:m"} | task)))
    world.plans = list(answers)
    return world


def failing(n: int, prefix: str) -> JSONObject:
    """A plan whose check does not hold."""
    first: JSONObject = {"id": f"{prefix}1", "tool": "read", "arguments": {"n": n}, "expect": "output.ok == false"}
    second: JSONObject = {
        "id": f"{prefix}2",
        "tool": "read",
        "arguments": {"of": {"$ref": f"steps.{prefix}1.output.ok"}},
    }
    return steps(first, second)


def test_a_plan_that_is_an_earlier_one_again_is_sent_back_before_it_starts() -> None:
    world = planned(failing(1, "a"), failing(1, "b"), steps({"id": "c", "tool": "read", "arguments": {"n": 9}}))
    state = world.run()
    told = [s.event.message for s in world.history if isinstance(s.event, LoopDetected)]
    assert told == ["Plan 2 does the same as plan 1."]
    assert (state.state, world.effects) == (RunState.SUCCEEDED, ["1.a1.0", "3.c.0"])
    assert isinstance(replay(world.history), Identical)


def test_a_second_plan_of_that_kind_ends_the_run() -> None:
    world = planned(failing(1, "a"), failing(1, "b"), failing(1, "c"))
    state = world.run()
    assert (state.failure_code, state.failure_message) == ("loop_detected", "Plan 3 does the same as plan 2.")
    assert len([s for s in world.history if isinstance(s.event, PlanMade)]) == 3


def test_another_argument_or_another_reference_is_another_plan() -> None:
    def shape(raw: JSONObject) -> str:
        return shape_of(parse_plan(raw, version=1, planner="model:m", known_steps=frozenset({"old"})))

    assert shape(failing(1, "a")) == shape(failing(1, "b"))
    assert shape(failing(1, "a")) != shape(failing(2, "a"))
    when: JSONObject = {"id": "x", "tool": "read", "arguments": {}, "when": "steps.old.outcome == 'failed'"}
    assert shape(steps(when)) != shape(steps({**when, "when": ""}))
    asking: JSONObject = {
        "id": "x",
        "tool": "read",
        "arguments": {"n": [{"$ref": "steps.old.output.n"}, {"$text": ["a"]}]},
    }
    assert shape(steps(asking)) == shape(steps({**asking, "id": "y", "why": "another reason"}))
    assert "steps.old.output.n" in shape(steps(asking))
