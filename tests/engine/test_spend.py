"""What a run has used: tokens, money, attention. Warned of once, and never exceeded."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.engine.codec import decode, encode
from agentops.engine.decide import Fail, MakePlan, Record, decide
from agentops.engine.events import (
    CallDenied,
    CallProposed,
    CallReconciled,
    CallSucceeded,
    PlanFailed,
    PlanMade,
    ProposalDecided,
    ProposalExpired,
    RunClaimed,
    RunWarned,
    Stamped,
    Usage,
)
from agentops.engine.folding import apply
from agentops.engine.limits import HARD_MAXIMA, InvalidLimits, Limits
from agentops.engine.spend import MEASURES, model_limit_reached, review_refused
from agentops.engine.state import State
from agentops.engine.transitions import CallState, RunState
from agentops.wire.parse import JSON, JSONObject
from tests.engine.world import EFFECTS, World, submitted

PAY_COST = 700


def pins(**costs: int) -> dict[str, JSONObject]:
    found: dict[str, JSONObject] = {name: {"version": "1.0.0", "digest": "d", "authority": []} for name in EFFECTS}
    for name, cost in costs.items():
        found[name]["cost_micros"] = cost
    return found


def steps(*tools: str) -> JSONObject:
    listed: list[JSON] = [{"id": f"s{i}", "tool": tool, "arguments": {"n": i}} for i, tool in enumerate(tools)]
    return {"steps": listed, "answers": [{"text": "done"}]}


def chooser(*answers: str):  # type: ignore[no-untyped-def]
    return lambda choices: next((one for one in answers if one in choices), choices[0])


def warnings(world: World) -> list[RunWarned]:
    return [s.event for s in world.history if isinstance(s.event, RunWarned)]


# --- limits as they are written --------------------------------------------------------------------------------------


def test_limits_on_tokens_money_and_attention_are_off_unless_somebody_sets_them() -> None:
    assert Limits.from_json({}) == Limits()
    assert (Limits().tokens, Limits().cost_micros, Limits().reviewer_s) == (0, 0, 0)
    assert Limits.from_json({"tokens": 0, "cost_micros": 5, "reviewer_s": 60}).cost_micros == 5


def test_a_run_from_before_there_were_such_limits_still_folds() -> None:
    old = {"steps": 8, "calls_per_step": 4, "plans": 4, "model_calls": 16, "repeats": 2, "attempts": 4}
    state = World(steps("read"), submitted(limits=old | {"wall_time_s": 900})).run()
    assert state.state is RunState.SUCCEEDED


@pytest.mark.parametrize("name", ["tokens", "cost_micros", "reviewer_s", "soft_percent"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "5", None])
def test_a_limit_that_makes_no_sense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidLimits) as error:
        Limits.from_json({name: value})
    assert error.value.field == name


@pytest.mark.parametrize(("name", "value"), [*((n, HARD_MAXIMA[n] + 1) for n in HARD_MAXIMA), ("soft_percent", 0)])
def test_no_limit_goes_beyond_what_the_product_allows(name: str, value: int) -> None:
    with pytest.raises(InvalidLimits, match="between"):
        Limits.from_json({name: value})


# --- models ----------------------------------------------------------------------------------------------------------


def by_model(**limits: int) -> World:
    world = World(steps("read"), submitted(planner="model:m", planning="reactive", limits=limits))
    world.add(RunClaimed("w", 1))
    return world


def planned(world: World, usage: Usage) -> None:
    version = len(world.state.plans) + 1
    plan: JSONObject = {"steps": [{"id": f"v{version}", "tool": "read", "arguments": {"n": version}}]}
    world.add(PlanMade(version, "model:m", plan, usage=usage))
    while not isinstance(decide(world.state), MakePlan | Fail):
        world.turn()


@pytest.mark.parametrize(
    ("limits", "usage", "code"),
    [
        ({"tokens": 1000}, Usage(1, 900, 100), "limit_tokens"),
        ({"tokens": 1000}, Usage(1, 5000, 1), "limit_tokens"),
        ({"cost_micros": 50}, Usage(1, 9, 9, 50), "limit_cost"),
    ],
)
def test_a_model_is_not_asked_again_once_its_limit_is_used_up(limits: dict[str, int], usage: Usage, code: str) -> None:
    world = by_model(**limits)
    assert isinstance(decide(world.state), MakePlan)
    planned(world, usage)
    command = decide(world.state)
    assert isinstance(command, Fail)
    assert command.code == code


def test_a_model_is_asked_while_something_is_left() -> None:
    world = by_model(tokens=1000, soft_percent=100)
    planned(world, Usage(1, 900, 99))
    assert isinstance(decide(world.state), MakePlan)
    assert model_limit_reached(world.state, tokens=1) is None
    assert model_limit_reached(world.state, tokens=2) is not None


def test_a_request_that_does_not_fit_ends_the_run_with_the_limits_own_code() -> None:
    world = by_model(tokens=1000)
    reached = model_limit_reached(world.state, tokens=1001)
    assert reached is not None
    world.add(PlanFailed("model:m", *reached))
    command = decide(world.state)
    assert isinstance(command, Fail)
    assert (command.code, command.message) == ("limit_tokens", reached[1])
    assert "1001" in command.message


def test_playbooks_do_not_care_how_many_tokens_are_left() -> None:
    assert World(steps("read"), submitted(limits={"tokens": 1})).run().state is RunState.SUCCEEDED


# --- money that tools cost -------------------------------------------------------------------------------------------


def test_a_step_that_does_not_fit_into_the_money_is_not_selected() -> None:
    world = World(steps("pay", "pay"), submitted(tools=pins(pay=PAY_COST), limits={"cost_micros": 1000}))
    state = world.run()
    assert (state.failure_code, world.effects, state.cost_micros) == ("limit_cost", ["1.s0.0"], PAY_COST)


def test_calls_beside_each_other_are_paid_for_together() -> None:
    two: list[JSON] = [{"tool": "pay", "arguments": {"n": i}} for i in range(2)]
    plan: JSONObject = {"steps": [{"id": "s", "calls": two}]}
    world = World(plan, submitted(tools=pins(pay=PAY_COST), limits={"cost_micros": 1000}))
    assert (world.run().failure_code, world.effects) == ("limit_cost", [])


def test_every_attempt_costs_and_the_one_that_does_not_fit_is_denied() -> None:
    world = World(steps("read"), submitted(tools=pins(read=400), limits={"cost_micros": 1000, "attempts": 9}))
    world.draw = chooser("transient")
    state = world.run()
    call = state.calls["1.s0.0"]
    assert (call.state, call.code, call.attempts) == (CallState.DENIED, "budget_exceeded", 2)
    assert (state.failure_code, state.cost_micros) == ("budget_exceeded", 800)


def test_an_effect_that_did_not_happen_costs_nothing() -> None:
    world = World(steps("pay"), submitted(tools=pins(pay=PAY_COST), limits={"cost_micros": 1000}))
    world.draw = chooser("crash", "did_not_happen")
    world.add(RunClaimed("w", 1))
    for _ in range(3):
        world.turn()
    assert world.state.cost_micros == PAY_COST
    world.turn()
    assert any(isinstance(s.event, CallReconciled) for s in world.history)
    assert world.state.cost_micros == 0
    world.draw = chooser()
    assert (world.run().state, world.state.cost_micros) == (RunState.SUCCEEDED, PAY_COST)


@given(st.data())
def test_tools_never_cost_more_than_the_run_may(data: st.DataObject) -> None:
    tools = data.draw(st.lists(st.sampled_from(["read", "put", "pay"]), min_size=1, max_size=8))
    limit = data.draw(st.integers(1, 3000))
    costs = {name: data.draw(st.integers(0, 900)) for name in EFFECTS}
    world = World(steps(*tools), submitted(tools=pins(**costs), limits={"cost_micros": limit}))
    interrupted = False

    def draw(choices: list[str]) -> str:
        nonlocal interrupted
        drawn = data.draw(st.sampled_from(choices))
        interrupted = interrupted or drawn == "crash"
        return drawn

    world.draw = draw
    state = world.run()
    assert state.state.terminal
    # What was interrupted is repeated to learn what became of it, whatever is left.
    assert state.cost_micros <= limit or interrupted
    assert state.cost_micros == state.tool_cost_micros == sum(call.cost_micros for call in state.calls.values())
    assert len({w.limit for w in warnings(world)}) == len(warnings(world))


# --- attention -------------------------------------------------------------------------------------------------------


def asked(reviewer_s: int | None) -> World:
    world = World(steps("pay"), submitted(limits={"reviewer_s": 100, "soft_percent": 100}))
    world.draw = chooser("propose")
    world.add(RunClaimed("w", 1))
    world.turn()
    command = decide(world.state)
    world.commands.append(command)
    world.turn()
    history = world.history
    proposed = history[-1].event
    assert isinstance(proposed, CallProposed)
    fresh = World(steps("pay"), world.task)
    for stamped in history[1:-1]:
        fresh.add(stamped.event)
    fresh.add(CallProposed(proposed.call_id, proposed.proposal_id, "d", "low", 10, "r", "", reviewer_s=reviewer_s))
    return fresh


def test_attention_is_set_aside_when_somebody_is_asked_and_settled_when_they_have_decided() -> None:
    world = asked(60)
    assert world.state.reviewer_s == 60
    assert review_refused(world.state, 40) == ""
    assert "60 s" in review_refused(world.state, 41)
    call = world.state.calls["1.s0.0"]
    decided = ProposalDecided(call.proposal_id, call.call_id, 1, "approve", "d", "user:2", grant_id="g")
    after = apply(world.state, stamped_after(world, decided))
    assert after.reviewer_s == 60, "nobody measured it, so what was set aside counts"
    measured = ProposalDecided(call.proposal_id, call.call_id, 1, "reject", "d", "user:2", reviewer_s=95)
    assert apply(world.state, stamped_after(world, measured)).reviewer_s == 95


def test_a_question_that_nobody_answered_took_no_attention() -> None:
    world = asked(60)
    call = world.state.calls["1.s0.0"]
    world.add(ProposalExpired(call.proposal_id, call.call_id))
    assert world.state.reviewer_s == 0


def test_proposals_from_before_attention_was_counted_take_none() -> None:
    world = asked(None)
    assert world.state.reviewer_s == 0
    written = encode(world.history[-1].event)
    assert "reviewer_s" not in written
    assert decode("call.proposed", written) == world.history[-1].event


def stamped_after(world: World, event: ProposalDecided) -> Stamped:
    return Stamped(world.state.seq + 1, world.now, event)


# --- warnings --------------------------------------------------------------------------------------------------------


def test_most_of_a_limit_is_said_once_and_the_run_goes_on() -> None:
    world = World(steps(*["read"] * 5), submitted(tools=pins(read=100), limits={"steps": 5, "cost_micros": 600}))
    state = world.run()
    assert state.state is RunState.SUCCEEDED
    assert warnings(world) == [RunWarned("steps", 4, 5), RunWarned("cost_micros", 500, 600)]


def test_using_all_of_a_count_is_no_warning() -> None:
    world = World(steps("read", "read"), submitted(limits={"steps": 2}))
    world.run()
    assert warnings(world) == []


def test_a_hundred_percent_never_warns() -> None:
    world = World(steps(*["read"] * 7), submitted(limits={"soft_percent": 100}))
    world.run()
    assert warnings(world) == []


def test_wall_time_warns_before_it_ends_the_run() -> None:
    world = World(steps("read", "read", "read"), submitted(limits={"wall_time_s": 100}))
    world.add(RunClaimed("w", 1))
    world.turn()
    world.now += timedelta(seconds=85)
    world.turn()
    command = decide(world.state)
    assert isinstance(command, Record)
    assert command.events[0] == RunWarned("wall_time_s", 85, 100)


def test_every_measure_reads_a_limit_that_exists() -> None:
    state = State()
    for measure in MEASURES:
        assert measure.allowed(state) >= 0
        assert measure.used(state) == 0


def test_denials_for_money_and_successes_are_told_apart_in_the_record() -> None:
    world = World(steps("read"), submitted(tools=pins(read=400), limits={"cost_micros": 500}))
    world.draw = chooser("transient")
    world.run()
    denied = [s.event for s in world.history if isinstance(s.event, CallDenied)]
    assert [event.rule for event in denied] == ["limit.cost_micros"]
    assert not [s for s in world.history if isinstance(s.event, CallSucceeded)]
