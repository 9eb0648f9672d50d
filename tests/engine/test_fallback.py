"""How a declared playbook takes over from a planner that cannot go on, and goes on from what is done."""

from datetime import timedelta

import pytest

from agentops.engine.events import (
    CallAdopted,
    CallDeferred,
    CallGranted,
    CallProposed,
    CallSelected,
    CallStarted,
    CallWithdrawn,
    Event,
    ProposalWithdrawn,
    RunClaimed,
    RunFellBack,
)
from agentops.engine.replay import Identical, replay
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.wire.parse import JSON, JSONObject
from tests.engine.test_decide import PAY, chooser, steps
from tests.engine.world import World, submitted

SPARE = "playbook:spare@2"
READ: JSONObject = {"id": "look", "tool": "read", "arguments": {"n": 1}}
PUT: JSONObject = {"id": "note", "tool": "put", "arguments": {"n": 1}}


def world(plan: JSONObject, spare: JSONObject, **task: object) -> World:
    made = World(plan, submitted(**({"planner": "model:m", "fallback": SPARE} | task)))
    made.fallback = spare
    return made


def events(world: World, *types: type[Event]) -> list[Event]:
    return [stamped.event for stamped in world.history if isinstance(stamped.event, types)]


def fell_back(world: World) -> RunFellBack:
    [event] = events(world, RunFellBack)
    assert isinstance(event, RunFellBack)
    assert isinstance(replay(world.history), Identical)
    return event


def by_turns(**answers: list[str]):  # type: ignore[no-untyped-def]
    """Draw each list's answers where they are among the choices, one after the other, then the friendliest one."""

    def draw(choices: list[str]) -> str:
        for wanted in answers.values():
            if wanted and wanted[0] in choices:
                return wanted.pop(0)
        return choices[0]

    return draw


def test_three_unusable_plans_hand_the_run_over() -> None:
    run = world(steps(PAY), steps(READ, answers=[{"text": "by the book"}]))
    run.draw = chooser(plan="invalid")
    state = run.run()
    assert fell_back(run) == RunFellBack("plan_invalid", "model:m", SPARE)
    assert (state.state, state.answer, state.planner) == (RunState.SUCCEEDED, "by the book", SPARE)


def test_a_used_up_model_budget_hands_the_run_over() -> None:
    run = world(steps(READ | {"expect": "output.ok == false"}), steps(PAY), limits={"plans": 1})
    state = run.run()
    assert fell_back(run).reason_code == "limit_plans"
    assert (state.state, run.effects) == (RunState.SUCCEEDED, ["1.look.0", "2.pay.0"])


@pytest.mark.parametrize("planner", ["model:m", "playbook:support@1"])
def test_an_open_breaker_hands_the_run_over_instead_of_waiting(planner: str) -> None:
    run = world(steps(READ, PAY), steps(READ | {"id": "again"}, PUT), planner=planner)
    run.draw = by_turns(door=["admitted", "refused"])
    state = run.run()
    assert fell_back(run).reason_code == "breaker_open"
    assert state.state is RunState.SUCCEEDED
    assert [type(command).__name__ for command in run.commands].count("Wait") == 0
    assert state.calls["1.pay.0"].state is CallState.WITHDRAWN
    assert [e.call_id for e in events(run, CallWithdrawn)] == ["1.pay.0"]  # type: ignore[union-attr]
    assert run.effects == ["1.look.0", "2.note.0"], "what was read is not read again"


def test_a_tool_whose_failure_does_not_matter_is_waited_for() -> None:
    run = world(steps(READ | {"on_failure": "continue"}), steps(PUT), planner="playbook:support@1")
    run.draw = by_turns(door=["refused"])
    assert run.run().state is RunState.SUCCEEDED
    assert not events(run, RunFellBack)


def test_without_a_fallback_an_open_breaker_is_waited_for_and_bad_plans_end_the_run() -> None:
    run = world(steps(PAY), steps(READ), fallback="")
    run.draw = by_turns(door=["refused"])
    assert run.run().state is RunState.SUCCEEDED
    assert [type(command).__name__ for command in run.commands].count("Wait") == 1
    run = world(steps(PAY), steps(READ), fallback="")
    run.draw = chooser(plan="invalid")
    assert run.run().failure_code == "plan_invalid"


def test_it_happens_once_and_the_fallback_waits_for_its_tools() -> None:
    run = world(steps(PAY), steps(PAY | {"id": "again"}), limits={"attempts": 2})
    run.draw = chooser(door="refused")
    state = run.run()
    assert fell_back(run).reason_code == "breaker_open"
    assert (state.failure_code, run.effects) == ("tool_failed", [])
    assert len(events(run, CallDeferred)) == 3


def test_a_write_that_is_done_is_taken_over_without_a_second_approval() -> None:
    """The model's refund was approved and paid; then it gave no usable plan; the playbook wants the same refund."""
    run = world(
        steps(PAY | {"expect": "output.ok == false"}),
        steps(
            PAY,
            {"id": "note", "tool": "put", "arguments": {"about": {"$ref": "steps.pay.output.receipt"}}},
            answers=[{"when": "steps.pay.outcome == 'succeeded'", "text": "paid"}],
        ),
    )
    run.outputs = {"pay": {"receipt": "R-1"}}
    run.trust = {"": "untrusted"}
    run.draw = by_turns(gate=["propose"], plan=["plan", "invalid", "invalid", "invalid"])
    state = run.run()
    fell_back(run)
    assert run.effects == ["1.pay.0", "2.note.0"]
    assert len(events(run, CallProposed)) == 1
    assert len([e for e in events(run, CallStarted) if e.call_id.endswith("pay.0")]) == 1  # type: ignore[union-attr]
    assert [(e.call_id, e.step_id) for e in events(run, CallAdopted)] == [("1.pay.0", "pay")]  # type: ignore[union-attr]
    assert (state.answer, state.steps["pay"].call_ids) == ("paid", ("1.pay.0",))
    about = state.calls["2.note.0"]
    assert about.arguments == {"about": "R-1"}
    assert about.untrusted, "what was untrusted stays so, whoever takes it over"
    assert state.repeats.keys() == {about.keys[0]}, "what is taken over is no call"


def test_what_a_person_rejected_or_edited_is_not_asked_again() -> None:
    first = steps({"id": "two", "calls": [{"tool": "pay", "arguments": {"n": n}} for n in (1, 2)]})
    both: JSONObject = {"id": "both", "calls": [{"tool": "pay", "arguments": {"n": n}} for n in (2, 1)]}
    run = world(first, steps(both, answers=[{"text": {"$ref": "steps.both.outcome"}}]))
    run.draw = by_turns(
        gate=["propose", "propose"], verdict=["reject", "edit"], plan=["plan", "invalid", "invalid", "invalid"]
    )
    state = run.run()
    fell_back(run)
    assert len(events(run, CallProposed)) == 2
    assert state.steps["both"].call_ids == ("1.two.1", "1.two.0"), "in the order of the playbook"
    assert state.calls["1.two.1"].arguments == {"edited": True}
    assert (state.answer, run.effects) == ("rejected", ["1.two.1"])


def test_an_effect_nobody_could_tell_of_is_not_made_again() -> None:
    run = world(steps(PAY), steps(PAY | {"on_failure": "continue"}, PUT))
    run.draw = by_turns(
        outcome=["unknown"], hook=["cannot_tell"], person=["gave_up"], plan=["plan", "invalid", "invalid", "invalid"]
    )
    state = run.run()
    fell_back(run)
    assert (state.steps["pay"].outcome, run.effects) == ("failed", ["2.note.0"])
    assert len(events(run, CallStarted)) == 2


def test_a_failure_without_an_effect_is_tried_again_and_a_repeatable_write_under_its_first_key() -> None:
    run = world(steps(PUT), steps(PUT), limits={"attempts": 1})
    run.draw = by_turns(outcome=["transient"], plan=["plan", "invalid", "invalid", "invalid"])
    run.run()
    fell_back(run)
    keys = [e.idempotency_key for e in events(run, CallSelected)]  # type: ignore[union-attr]
    assert keys == ["key-1.note.0", "key-1.note.0"]
    assert run.effects == ["2.note.0"]


def test_an_interrupted_write_is_settled_before_the_fallback_takes_over() -> None:
    """A repeatable write was interrupted, its tool is down: the run waits, and only then goes on with the playbook."""
    both: JSONObject = {
        "id": "both",
        "calls": [{"tool": "put", "arguments": {"n": 1}}, {"tool": "read", "arguments": {"n": 1}}],
    }
    run = world(steps(both), steps(PUT))
    run.draw = by_turns(outcome=["crash"], door=["admitted", "refused", "refused", "admitted", "admitted"])
    state = run.run()
    handed = run.history[[s.event for s in run.history].index(fell_back(run))]
    done = next(s for s in run.history if s.event.type == "call.succeeded")
    assert done.seq < handed.seq
    assert (state.state, run.effects) == (RunState.SUCCEEDED, ["1.both.0"])


def test_an_open_question_of_the_abandoned_plan_is_withdrawn() -> None:
    both: JSONObject = {"id": "both", "calls": [{"tool": tool, "arguments": {"n": 1}} for tool in ("pay", "read")]}
    run = world(steps(both), steps(PUT))
    run.draw = by_turns(gate=["propose", "grant"], door=["refused"])
    state = run.run()
    fell_back(run)
    assert [e.call_id for e in events(run, ProposalWithdrawn)] == ["1.both.0"]  # type: ignore[union-attr]
    assert (state.calls["1.both.0"].state, run.effects) == (CallState.WITHDRAWN, ["2.note.0"])
    assert {step.id: step.outcome for step in state.steps.values()} == {"both@1": "withdrawn", "note": "succeeded"}


def test_a_playbook_can_ask_what_is_done() -> None:
    again: JSONObject = {"id": "pay2", "tool": "pay", "arguments": {"n": 2}, "when": "!('pay' in done)"}
    fits = "done['pay'].exists(c, c.arguments.n == 1 && c.output.ok)"
    run = world(
        steps(PAY), steps(again, PUT | {"when": fits}), success_when="1 == 2 || steps.note.outcome == 'succeeded'"
    )
    run.plans = [steps(PAY)]
    state = run.run()
    assert fell_back(run).reason_code in ("criteria_not_met", "limit_plans", "plan_invalid", "loop_detected")
    assert state.steps["pay2"].outcome == "skipped"
    assert state.state is RunState.SUCCEEDED

    plain = World(steps(again | {"id": "a"}, PUT | {"when": "'pay' in done"}))
    state = plain.run()
    assert (state.steps["a"].outcome, state.steps["note"].outcome) == ("succeeded", "skipped")


def test_steps_that_only_take_over_use_no_step_of_the_limit() -> None:
    run = world(steps(READ, PAY | {"expect": "output.ok == false"}), steps(READ, PAY), limits={"steps": 2, "plans": 1})
    state = run.run()
    fell_back(run)
    assert (state.state, state.steps_used) == (RunState.SUCCEEDED, 2)
    beyond = world(steps(READ, PAY | {"expect": "output.ok == false"}), steps(PUT), limits={"steps": 2, "plans": 1})
    assert beyond.run().failure_code == "limit_steps"


def test_the_playbook_is_not_confined_by_what_the_model_had_planned() -> None:
    """An admin wrote it before anything untrusted was read, so its calls are planned and its literals constants."""
    run = world(steps(READ, PAY | {"expect": "output.ok == false"}), steps(PUT), limits={"plans": 1})
    run.trust = {"": "untrusted"}
    state = run.run()
    fell_back(run)
    note = state.calls["2.note.0"]
    assert state.tainted
    assert note.planned
    assert not note.untrusted


def test_what_ends_a_run_for_other_reasons_ends_it_all_the_same() -> None:
    late = world(steps(READ, PAY), steps(PUT), limits={"wall_time_s": 60})
    late.add(RunClaimed("w", 1))
    for _ in range(3):
        late.turn()
    late.now += timedelta(hours=1)
    late.add(RunClaimed("w2", 2))
    assert late.run().failure_code == "limit_wall_time"
    assert world(steps(READ), steps(PUT), limits={"steps": 1, "plans": 1}, planner="playbook:p@1").run().state is (
        RunState.SUCCEEDED
    )
    denied = world(steps(PAY), steps(PUT), planner="playbook:p@1")
    denied.draw = chooser(gate="deny")
    assert denied.run().failure_code == "call_not_allowed"


@pytest.mark.parametrize("kind", ["twice", "open", "adopt_early", "adopt_failed", "no_fallback_step"])
def test_a_history_that_falls_back_wrongly_is_refused(kind: str) -> None:
    event: Event = RunFellBack("breaker_open", "model:m", SPARE)
    run = world(steps(READ, PAY), steps(READ))
    run.add(RunClaimed("w", 1))
    for _ in range(3):
        run.turn()
    if kind == "open":
        run.turn()
        run.add(CallSelected("1.pay.0", "pay", "pay", "1.0.0", "unsafe_write", {}, "d", "k", {}))
        run.add(CallGranted("1.pay.0", "g"))
    if kind in ("twice", "no_fallback_step"):
        run.add(event)
    if kind == "no_fallback_step":
        event = CallAdopted("1.look.0", "elsewhere")
    if kind == "adopt_early":
        event = CallAdopted("1.look.0", "look")
    if kind == "adopt_failed":
        run.add(event)
        event = CallAdopted("1.nothing.0", "look")
    with pytest.raises(IllegalTransition):
        run.add(event)


def test_a_plan_that_only_answers_can_take_over() -> None:
    said: list[JSON] = [{"text": "A person will look at it."}]
    run = world(steps(PAY), {"steps": [], "answers": said})
    run.draw = chooser(plan="invalid")
    assert run.run().answer == "A person will look at it."
