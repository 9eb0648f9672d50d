"""How runs go: rejections reach the plan, criteria end it, limits stop it before the spend."""

from datetime import timedelta

import pytest

from agentops.engine.decide import Reconcile
from agentops.engine.events import CallDeferred, CallStarted, RunClaimed
from agentops.engine.transitions import IllegalTransition, RunState
from agentops.wire.parse import JSON, JSONObject
from tests.engine.world import World, submitted


def chooser(**answers: str):  # type: ignore[no-untyped-def]
    """Draw the named answer where it is among the choices, the friendliest one otherwise."""

    def draw(choices: list[str]) -> str:
        return next((answer for answer in answers.values() if answer in choices), choices[0])

    return draw


def steps(*items: JSON, answers: list[JSON] | None = None) -> JSONObject:
    return {"steps": list(items), "answers": list(answers or [])}


def look(i: int, n: int) -> JSONObject:
    """A step that reads, the `i`th, with the argument `n`."""
    return {"id": f"s{i}", "tool": "read", "arguments": {"n": n}}


PAY: JSONObject = {"id": "pay", "tool": "pay", "arguments": {"n": 1}}


def test_a_rejection_is_a_value_the_plan_can_act_on() -> None:
    plan = steps(
        PAY,
        {
            "id": "ticket",
            "tool": "put",
            "arguments": {"title": {"$text": ["Refused: ", {"$ref": "steps.pay.note"}]}},
            "when": "steps.pay.outcome == 'rejected'",
        },
        answers=[{"when": "steps.ticket.outcome == 'succeeded'", "text": "ticket made"}],
    )
    world = World(plan, draw=chooser(gate="propose", verdict="reject"))
    asked = iter([True])
    world.draw = lambda choices: (
        "propose" if "propose" in choices and next(asked, False) else "reject" if "reject" in choices else choices[0]
    )
    state = world.run()
    assert state.answer == "ticket made"
    assert state.calls["1.ticket.0"].arguments == {"title": "Refused: other: no"}
    assert state.calls["1.ticket.0"].provenance["/title"].integrity.value == "trusted"


def test_silence_denies_and_the_run_says_that_nobody_answered() -> None:
    world = World(steps(PAY), draw=chooser(gate="propose", verdict="expire"))
    state = world.run()
    assert state.calls["1.pay.0"].code == "nobody_answered"
    assert not world.effects


def test_an_edit_is_what_executes() -> None:
    world = World(steps(PAY), draw=chooser(gate="propose", verdict="edit"))
    state = world.run()
    assert state.calls["1.pay.0"].arguments == {"edited": True}
    assert state.state is RunState.SUCCEEDED


def test_a_declared_stop_criterion_ends_the_run_early() -> None:
    plan = steps(PAY, {"id": "more", "tool": "read", "arguments": {}})
    world = World(plan, submitted(stop_when="steps.pay.outcome == 'succeeded'"))
    state = world.run()
    assert state.state is RunState.SUCCEEDED
    assert state.steps["more"].outcome == "pending"


def test_a_success_criterion_that_does_not_hold_fails_the_run() -> None:
    world = World(steps(PAY), submitted(success_when="steps.pay.output.refunded == true"))
    state = world.run()
    assert (state.state, state.failure_code) == (RunState.FAILED, "criteria_not_met")


def test_an_expectation_that_does_not_hold_stops_before_the_next_step() -> None:
    world = World(steps({**PAY, "expect": "output.ok == false"}, {"id": "more", "tool": "read", "arguments": {}}))
    state = world.run()
    assert state.failure_code == "verification_failed"
    assert state.steps["more"].outcome == "pending"


def test_limits_stop_the_run_before_the_spend() -> None:
    three = steps(*(look(i, i) for i in range(3)))
    assert World(three, submitted(limits={"steps": 2})).run().failure_code == "limit_steps"

    wide = steps({"id": "s", "calls": [{"tool": "read", "arguments": {"i": i}} for i in range(3)]})
    world = World(wide, submitted(limits={"calls_per_step": 2}))
    assert (world.run().failure_code, world.effects) == ("limit_calls", [])

    same = steps(*(look(i, 1) for i in range(3)))
    world = World(same, submitted(limits={"repeats": 2}))
    assert (world.run().failure_code, len(world.effects)) == ("limit_repeats", 2)


def test_wall_time_does_not_count_the_time_people_take() -> None:
    world = World(steps(PAY, {"id": "more", "tool": "read", "arguments": {}}), submitted(limits={"wall_time_s": 60}))
    world.draw = chooser(gate="propose")
    world.add(RunClaimed("w", 1))
    while world.state.state is RunState.RUNNING:
        world.turn()
    world.now += timedelta(days=3)
    world.draw = chooser()
    assert world.run().state is RunState.SUCCEEDED


def test_transient_failures_of_repeatable_calls_are_retried_and_unsafe_ones_never() -> None:
    tries = iter(["transient", "transient"])
    read = World(steps({"id": "r", "tool": "read", "arguments": {}}))
    read.draw = lambda choices: next(tries, "ok") if "transient" in choices else choices[0]
    assert read.run().state is RunState.SUCCEEDED
    assert read.state.calls["1.r.0"].attempts == 3

    pay = World(steps(PAY), draw=chooser(outcome="transient"))
    state = pay.run()
    assert (state.failure_code, state.calls["1.pay.0"].attempts) == ("tool_failed", 1)


def test_a_crash_inside_an_unsafe_write_asks_before_it_does_anything_again() -> None:
    world = World(steps(PAY), draw=chooser(outcome="crash", hook="cannot_tell", person="did_not_happen"))
    world.add(RunClaimed("w", 1))
    for _ in range(3):
        world.turn()
    kinds = [type(command).__name__ for command in world.commands]
    assert kinds == ["MakePlan", "Select", "Execute"]
    world.turn()
    world.turn()
    assert [type(command).__name__ for command in world.commands[3:]] == ["Reconcile", "Wait"]
    assert world.state.state is RunState.AWAITING_RECONCILIATION
    world.draw = chooser(person="did_not_happen")
    assert world.run().state is RunState.SUCCEEDED
    starts = [s for s in world.history if isinstance(s.event, CallStarted)]
    assert len(starts) == 2


def test_a_deferred_call_waits_is_asked_about_again_and_then_ends_without_having_started() -> None:
    world = World(steps(PAY), submitted(limits={"attempts": 2}), draw=chooser(door="refused"))
    state = world.run()
    names = [type(command).__name__ for command in world.commands]
    assert names == ["MakePlan", "Select", "Execute", "Wait", "Execute", "Wait", "Execute", "Record", "Fail"]
    assert (state.failure_code, state.calls["1.pay.0"].code) == ("tool_failed", "breaker_open")
    assert (state.calls["1.pay.0"].attempts, world.effects) == (0, [])


def test_a_deferred_call_does_not_keep_the_others_of_its_step_waiting() -> None:
    step: JSONObject = {"id": "s", "calls": [{"tool": "read", "arguments": {"i": i}} for i in range(2)]}
    doors = iter(["refused"])
    world = World(steps(step))
    world.draw = lambda choices: next(doors, choices[0]) if "refused" in choices else choices[0]
    assert world.run().state is RunState.SUCCEEDED
    assert world.effects == ["1.s.1", "1.s.0"]


def test_an_unsafe_write_that_was_interrupted_cannot_be_deferred() -> None:
    world = World(steps(PAY), draw=chooser(outcome="crash"))
    world.add(RunClaimed("w", 1))
    for _ in range(3):
        world.turn()
    with pytest.raises(IllegalTransition):
        world.add(CallDeferred("1.pay.0", "breaker_open", "no", world.now.isoformat()))


def test_a_denied_call_fails_a_playbook_with_the_gates_code() -> None:
    world = World(steps(PAY), draw=chooser(gate="deny"))
    state = world.run()
    assert (state.failure_code, state.denied_calls) == ("call_not_allowed", 1)


def test_a_model_that_fails_to_plan_is_asked_three_times() -> None:
    world = World(steps(PAY), submitted(planner="model:m"), draw=chooser(plan="invalid"))
    state = world.run()
    assert state.failure_code == "plan_invalid"
    assert sum(type(command).__name__ == "MakePlan" for command in world.commands) == 3


def test_calls_beside_each_other_in_one_step_count_as_repeats() -> None:
    same: list[JSON] = [{"tool": "read", "arguments": {"n": 1}} for _ in range(3)]
    world = World(steps({"id": "s", "calls": same}), submitted(limits={"repeats": 2}))
    assert (world.run().failure_code, world.effects) == ("limit_repeats", [])


def test_an_interrupted_effect_is_settled_before_the_time_limit_ends_the_run() -> None:
    world = World(steps(PAY), submitted(limits={"wall_time_s": 60}), draw=chooser(outcome="crash"))
    world.add(RunClaimed("w", 1))
    for _ in range(3):
        world.turn()
    world.now += timedelta(hours=1)
    world.add(RunClaimed("w2", 2))
    world.draw = chooser(hook="happened")
    state = world.run()
    assert isinstance(world.commands[3], Reconcile)
    assert (state.calls["1.pay.0"].state, state.failure_code) == ("succeeded", "limit_wall_time")


def test_what_a_tool_says_about_its_failure_is_not_a_reviewers_word() -> None:
    plan = steps(
        {**PAY, "on_failure": "continue"},
        {"id": "more", "tool": "read", "arguments": {"why": {"$ref": "steps.pay.note"}}},
    )
    world = World(plan)
    ends = iter(["fail"])
    world.draw = lambda choices: next(ends, "ok") if "fail" in choices else choices[0]
    state = world.run()
    assert state.calls["1.more.0"].provenance["/why"].untrusted
