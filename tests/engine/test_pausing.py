"""Pausing and trying again: what a held run may still record, what time counts, and where a failed run goes on."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.engine.codec import decode, encode
from agentops.engine.decide import Execute, MakePlan, Nothing, Reconcile, Wait, decide
from agentops.engine.events import (
    CallFailed,
    CallGranted,
    CallProposed,
    CallReconciled,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    Event,
    PlanFailed,
    ProposalDecided,
    ProposalExpired,
    ProposalWithdrawn,
    RunCancelled,
    RunClaimed,
    RunFailed,
    RunPaused,
    RunRequeued,
    RunResumed,
    RunSucceeded,
    RunWaiting,
)
from agentops.engine.folding import fold
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.wire.parse import JSONObject
from tests.engine.world import World

PLAN: JSONObject = {"steps": [{"id": "pay", "tool": "pay", "arguments": {"n": 1}}], "answers": [{"text": "paid"}]}
PAUSE = RunPaused("user:2", "wait")
RESUME = RunResumed("user:2", "go on")


def world(*, until: str = "") -> World:
    """Return a run that has been claimed and driven until a type of event was recorded last."""
    made = World(PLAN, draw=lambda choices: "propose" if "propose" in choices and until == "waits" else choices[0])
    made.add(RunClaimed("w1", 1))
    kinds = {"granted": CallGranted, "waits": RunWaiting}
    while until and not isinstance(made.history[-1].event, kinds[until]):
        made.turn()
    return made


def started() -> World:
    """Return a run with an effect under way."""
    made = world(until="granted")
    made.add(CallStarted("1.pay.0", "g-1.pay.0", 1))
    return made


def test_a_paused_run_has_nothing_to_do_and_goes_on_where_it_was() -> None:
    run = world(until="granted")
    run.add(PAUSE)
    assert decide(run.state) == Nothing()
    assert run.state.paused
    run.add(RESUME)
    assert run.state.state is RunState.QUEUED, "it needs a worker again"
    run.add(RunClaimed("w2", 1))
    assert decide(run.state) == Execute("1.pay.0")


@pytest.mark.parametrize(
    "event",
    [
        RunClaimed("w2", 2),
        CallStarted("1.pay.0", "g", 1),
        RunWaiting("waiting_retry", "2026-11-22T10:00:00+00:00"),
        RunSucceeded("done"),
        RunFailed("limit_steps", "no"),
        PAUSE,
    ],
    ids=lambda event: event.type,
)
def test_nothing_new_starts_in_a_paused_run(event: Event) -> None:
    run = world(until="granted")
    run.add(PAUSE)
    with pytest.raises(IllegalTransition):
        run.add(event)


@pytest.mark.parametrize(
    "event",
    [
        CallSucceeded("1.pay.0", {"ok": True}, "d", 3, {}, 1),
        CallFailed("1.pay.0", "conflict", "no", 3, "", 1),
        CallUnknown("1.pay.0", "connection lost"),
        CallReconciled("1.pay.0", "happened", "hook"),
        RunCancelled("user:2"),
    ],
    ids=lambda event: event.type,
)
def test_an_effect_under_way_still_ends_and_the_run_can_be_cancelled(event: Event) -> None:
    run = started()
    run.add(PAUSE)
    run.add(event)
    assert run.state.calls["1.pay.0"].state is not CallState.EXECUTING or run.state.state is RunState.CANCELLED
    assert run.state.paused == (run.state.state is not RunState.CANCELLED)


def test_people_decide_while_a_run_is_paused_and_nothing_happens_until_it_is_resumed() -> None:
    run = world(until="waits")
    run.add(PAUSE)
    run.add(ProposalDecided("p-1.pay.0", "1.pay.0", 1, "approve", "d", "user:2", grant_id="g"))
    assert (run.state.state, decide(run.state)) == (RunState.QUEUED, Nothing())
    run.add(RESUME)
    run.add(RunClaimed("w1", 1))
    assert decide(run.state) == Execute("1.pay.0")


def test_a_stop_and_a_pause_hold_a_run_together_and_each_is_lifted_by_itself() -> None:
    run = world(until="granted")
    run.add(RunPaused("halt", "fire", "7"), PAUSE)
    run.add(RunResumed("halt", "", "7"))
    assert run.state.paused, "the person's own pause still holds"
    run.add(RESUME)
    assert not run.state.paused


def test_another_stop_may_take_over_and_only_that_one_lets_go() -> None:
    run = world(until="granted")
    run.add(RunPaused("halt", "fire", "7"))
    run.add(RunPaused("halt", "flood", "8"))
    with pytest.raises(IllegalTransition):
        run.add(RunResumed("halt", "", "7"))
    with pytest.raises(IllegalTransition):
        run.add(RESUME)
    run.add(RunResumed("halt", "", "8"))
    assert not run.state.paused


@given(st.lists(st.sampled_from(["pause", "resume", "stop", "lift"]), max_size=12), st.integers(1, 5000))
def test_time_that_a_run_is_held_never_counts(holds: list[str], seconds: int) -> None:
    run = world(until="granted")
    before = run.state.wall_time
    events: dict[str, Event] = {
        "pause": PAUSE,
        "resume": RESUME,
        "stop": RunPaused("halt", "x", "7"),
        "lift": RunResumed("halt", "", "7"),
    }
    for one in holds:
        run.now += timedelta(seconds=seconds)
        event = events[one]
        counted = run.state.wall_time + (timedelta(0) if run.state.paused else timedelta(seconds=seconds))
        try:
            run.add(event, after=timedelta(0))
        except IllegalTransition:
            run.now -= timedelta(seconds=seconds)
            continue
        assert run.state.wall_time == counted
        before = run.state.wall_time
        if run.state.state is RunState.QUEUED and not run.state.paused:
            run.add(RunClaimed("w2", 1), after=timedelta(0))
    assert run.state.wall_time == before
    assert fold(run.history) == run.state


def test_a_pause_while_people_are_waited_for_is_not_counted_twice() -> None:
    run = world(until="waits")
    spent = run.state.wall_time
    run.now += timedelta(hours=1)
    run.add(PAUSE)
    run.now += timedelta(hours=1)
    run.add(RESUME)
    run.now += timedelta(hours=1)
    run.add(ProposalExpired("p-1.pay.0", "1.pay.0"), RunClaimed("w1", 1))
    assert run.state.wall_time - spent < timedelta(seconds=1)


def test_a_dead_letter_is_tried_again_with_everything_done_kept() -> None:
    run = started()
    run.add(CallSucceeded("1.pay.0", {"ok": True}, "d", 3, {"": "trusted"}, 1))
    run.add(RunFailed("dead_letter", "5 workers"))
    run.now += timedelta(days=1)
    run.add(RunRequeued("user:9", "fixed"))
    assert (run.state.state, run.state.failure_code, run.state.failure_message) == (RunState.QUEUED, "", "")
    run.add(RunClaimed("w2", 1))
    state = run.run()
    assert state.state is RunState.SUCCEEDED
    assert run.effects == [], "what was done is not done again"
    assert state.wall_time < timedelta(minutes=1), "the day until somebody tried it again does not count"


def test_an_unknown_effect_of_a_dead_letter_is_asked_about_first() -> None:
    run = started()
    run.add(CallUnknown("1.pay.0", "The run ended while this was under way.", asked=True))
    run.add(RunFailed("dead_letter", "5 workers"))
    run.add(RunRequeued("user:9", "fixed"), RunClaimed("w2", 1))
    assert decide(run.state) == Reconcile("1.pay.0")
    run.add(CallUnknown("1.pay.0", "no record", asked=True))
    assert decide(run.state) == Wait(RunState.AWAITING_RECONCILIATION)


def test_a_call_that_was_withdrawn_with_the_run_may_be_proposed_again() -> None:
    run = world(until="waits")
    run.add(ProposalWithdrawn("p-1.pay.0", "1.pay.0", "The run ended."), RunFailed("internal", "stuck"))
    run.add(RunRequeued("user:9", "fixed"))
    run.add(CallProposed("1.pay.0", "p-2", "d", "low", 10, "r", ""))
    run.add(RunClaimed("w2", 1))
    assert decide(run.state) == Wait(RunState.AWAITING_APPROVAL)


def test_a_model_that_was_out_of_order_is_asked_again() -> None:
    run = World(PLAN)
    run.add(RunClaimed("w1", 1), PlanFailed("model:x", "model_quota", "no quota left"))
    run.add(RunFailed("model_quota", "no quota left"))
    run.add(RunRequeued("user:9", "paid"), RunClaimed("w1", 1))
    assert decide(run.state) == MakePlan(1)


@pytest.mark.parametrize("code", ["limit_steps", "tool_failed", "criteria_not_met", "call_not_allowed", "plan_invalid"])
def test_what_is_true_of_the_run_itself_is_not_tried_again(code: str) -> None:
    run = world()
    run.add(RunFailed(code, "no"))
    with pytest.raises(IllegalTransition):
        run.add(RunRequeued("user:9", "please"))


@pytest.mark.parametrize("end", [RunSucceeded("done"), RunCancelled("user:2")], ids=lambda event: event.type)
def test_only_a_failed_run_is_tried_again_and_only_once_per_failure(end: Event) -> None:
    run = world()
    run.add(end)
    with pytest.raises(IllegalTransition):
        run.add(RunRequeued("user:9", "please"))
    other = world()
    other.add(RunFailed("dead_letter", "no"), RunRequeued("user:9", "please"))
    with pytest.raises(IllegalTransition):
        other.add(RunRequeued("user:9", "please"))


def test_every_new_event_reads_back_as_it_was_written() -> None:
    for event in (PAUSE, RunPaused("halt", "x", "7"), RESUME, RunResumed("halt", "", "7"), RunRequeued("user:1", "x")):
        assert decode(event.type, encode(event)) == event
    reconciled = CallReconciled("c", "happened", "user:1", reference="R-7")
    assert decode(reconciled.type, encode(reconciled)) == reconciled
