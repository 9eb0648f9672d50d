"""Whatever tools, people and crashes do, a run ends, keeps its limits, and folds the same way every time."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agentops.engine.codec import decode, encode
from agentops.engine.decide import decide
from agentops.engine.events import CallDeferred, CallFailed, CallReconciled, CallStarted, RunWaiting
from agentops.engine.folding import apply, fold
from agentops.engine.replay import Identical, replay
from agentops.engine.state import State
from agentops.engine.transitions import CALL_TRANSITIONS, RUN_TRANSITIONS, CallState, RunState
from agentops.wire.parse import JSON, JSONObject, as_object
from tests.engine.world import World, submitted

tools = st.sampled_from(["read", "put", "pay"])


@st.composite
def plans(draw: st.DrawFn) -> JSONObject:
    steps: list[JSON] = []
    for i in range(draw(st.integers(1, 6))):
        step: JSONObject = {"id": f"s{i}", "on_failure": draw(st.sampled_from(["fail", "continue"]))}
        calls: list[JSON] = [
            {"tool": draw(tools), "arguments": {"n": draw(st.integers(0, 2)), "from": draw(arguments(i))}}
            for _ in range(draw(st.integers(1, 3)))
        ]
        if len(calls) == 1:
            step |= as_object(calls[0])
        else:
            step["calls"] = calls
        if i and draw(st.booleans()):
            step["when"] = f"steps.s{i - 1}.outcome == 'succeeded'"
        if draw(st.integers(0, 4)) == 0:
            step["expect"] = "output.ok == true"
        steps.append(step)
    return {"steps": steps, "answers": [{"text": {"$text": ["done ", {"$ref": "input.message_id"}]}}]}


def arguments(step: int) -> st.SearchStrategy[JSON]:
    literal = st.integers(0, 3)
    if not step:
        return literal
    return literal | st.integers(0, step - 1).map(lambda i: {"$ref": f"steps.s{i}.output.ok"})


def worlds(data: st.DataObject, **task: object) -> World:
    return World(data.draw(plans()), submitted(**task), draw=lambda choices: data.draw(st.sampled_from(choices)))


@given(st.data())
def test_every_run_ends_within_its_limits(data: st.DataObject) -> None:
    limits = {"steps": data.draw(st.integers(1, 6)), "calls_per_step": data.draw(st.integers(1, 3)), "attempts": 3}
    world = worlds(data, limits=limits)

    state = world.run()

    assert state.state.terminal
    assert state.steps_used <= limits["steps"]
    assert state.calls_used <= limits["steps"] * limits["calls_per_step"]
    # A crash is no failure of the call: how often those are taken up again is the lease's to bound.
    failures = Counter(s.event.call_id for s in world.history if isinstance(s.event, CallFailed))
    assert all(count <= limits["attempts"] for count in failures.values())
    assert all(call.deferrals <= limits["attempts"] for call in state.calls.values())
    assert max(state.repeats.values(), default=0) <= state.limits.repeats
    if state.state is RunState.FAILED:
        assert state.failure_code
        assert state.failure_message


@given(st.data())
def test_folding_the_record_gives_the_same_state_and_the_same_commands(data: st.DataObject) -> None:
    world = worlds(data)
    world.run()

    state, commands = State(), []
    for stamped in world.history:
        written = encode(stamped.event)
        assert decode(stamped.event.type, written) == stamped.event
        state = apply(state, stamped)
        commands.append(decide(state))

    assert state == world.state == fold(world.history)
    again, replayed = State(), []
    for stamped in world.history:
        again = apply(again, stamped)
        replayed.append(decide(again))
    assert replayed == commands


@given(st.data())
def test_an_unsafe_write_is_never_started_again_unless_it_is_known_not_to_have_happened(data: st.DataObject) -> None:
    world = worlds(data)
    world.run()

    started: Counter[str] = Counter()
    for stamped in world.history:
        match stamped.event:
            case CallStarted(call_id=call_id) if world.state.calls[call_id].effect == "unsafe_write":
                started[call_id] += 1
                assert started[call_id] == 1
            case CallReconciled(call_id=call_id, verdict="did_not_happen"):
                started[call_id] = 0
            case _:
                pass


@given(st.data())
def test_a_call_that_is_deferred_does_not_start_before_its_time_and_keeps_its_permission(data: st.DataObject) -> None:
    world = worlds(data)
    world.run()

    state = State()
    for stamped in world.history:
        before, state = state, apply(state, stamped)
        match stamped.event:
            case CallDeferred(call_id=call_id):
                old, new = before.calls[call_id], state.calls[call_id]
                assert (new.state, new.grant_id, new.attempts) == (old.state, old.grant_id, old.attempts)
            case CallStarted(call_id=call_id):
                earliest = before.calls[call_id].retry_at
                assert earliest is None or stamped.at >= earliest
                assert (state.calls[call_id].deferred, state.calls[call_id].retry_at) == ("", None)
            case RunWaiting(state="waiting_retry", until=until):
                assert until
            case _:
                pass


@given(st.data())
def test_only_transitions_of_the_table_occur(data: st.DataObject) -> None:
    world = worlds(data)
    world.run()

    state = State()
    for stamped in world.history:
        after = apply(state, stamped)
        assert after.state is state.state or after.state in RUN_TRANSITIONS[state.state]
        for call_id, call in after.calls.items():
            before = state.calls.get(call_id)
            old = before.state if before else CallState.SELECTED
            assert call.state is old or call.state in CALL_TRANSITIONS[old]
        state = after


@given(st.data())
def test_a_run_that_waits_for_people_asks_for_nothing_else(data: st.DataObject) -> None:
    world = worlds(data)
    world.run()

    state = State()
    for stamped in world.history:
        state = apply(state, stamped)
        if state.state in (RunState.AWAITING_APPROVAL, RunState.AWAITING_RECONCILIATION):
            assert type(decide(state)).__name__ == "Nothing"


@given(st.data())
def test_replaying_the_record_derives_every_command_again(data: st.DataObject) -> None:
    planner = data.draw(st.sampled_from(["playbook:support@1", "model:m"]))
    fallback = data.draw(st.sampled_from(["", "playbook:spare@1"]))
    world = worlds(data, planner=planner, fallback=fallback, success_when=data.draw(st.sampled_from(["", "1 == 2"])))
    world.fallback = data.draw(plans())
    world.run()

    verdict = replay(world.history)

    assert isinstance(verdict, Identical), verdict
    assert verdict.state == world.state
    assert list(verdict.commands) == world.commands


@given(st.data())
def test_a_fallback_takes_over_once_and_makes_no_call_again_that_is_done(data: st.DataObject) -> None:
    world = worlds(data, planner="model:m", fallback="playbook:spare@1")
    world.fallback = world.plan if data.draw(st.booleans()) else data.draw(plans())
    state = world.run()

    assert state.state.terminal
    assert sum(stamped.event.type == "run.fell_back" for stamped in world.history) <= 1
    if state.fell_back is None:
        return
    assert len(state.plans) <= state.limits.plans + 1
    before = {key for key, call_id in state.earlier.items() if state.calls[call_id].state is CallState.SUCCEEDED}
    since = list(state.calls.values())[state.calls_before :]
    assert not [call for call in since if call.keys[0] in before]
