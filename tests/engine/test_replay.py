"""A record that is not what the engine says is found at its first event that does not follow."""

from dataclasses import dataclass, replace

import pytest

from agentops.engine.events import (
    CallGranted,
    CallReconciled,
    CallSelected,
    CallStarted,
    CallSucceeded,
    Event,
    PlanMade,
    ProposalWithdrawn,
    RunCancelled,
    RunClaimed,
    RunFailed,
    RunSucceeded,
    RunWaiting,
    Stamped,
    StepSkipped,
    StepVerified,
)
from agentops.engine.replay import Diverged, Identical, replay
from agentops.engine.transitions import CallState, RunState
from agentops.wire.parse import JSON, JSONObject
from tests.engine.test_decide import PAY, chooser, steps
from tests.engine.world import World

PLAN: JSONObject = steps(
    {"id": "look", "tool": "read", "arguments": {"n": 1}},
    {"id": "never", "tool": "read", "arguments": {}, "when": "steps.look.outcome == 'failed'"},
    PAY,
    answers=[{"text": "paid"}],
)


def recorded() -> list[Stamped]:
    world = World(PLAN)
    asked = iter(["grant", "propose"])
    world.draw = lambda choices: next(asked) if "propose" in choices else choices[0]
    world.run()
    return world.history


def place(events: list[Stamped], type_: type[Event], nth: int = 0) -> int:
    return [i for i, stamped in enumerate(events) if isinstance(stamped.event, type_)][nth]


def test_a_record_of_the_engine_is_identical_at_every_moment() -> None:
    events = recorded()
    assert events[-1].event == RunSucceeded("paid")
    for end in range(len(events) + 1):
        stop = replay(events[:end])
        # The selected call and what the gate says of it are committed together, so no record ends between them.
        halved = end > 0 and isinstance(events[end - 1].event, CallSelected)
        assert isinstance(stop, Diverged if halved else Identical), (end, stop)


@pytest.mark.parametrize(
    ("type_", "changes", "says"),
    [
        (PlanMade, {"version": 2}, "plan 1"),
        (CallSelected, {"arguments": {"n": 2}}, "'n': 1"),
        (CallSelected, {"provenance": {}}, "provenance"),
        (CallSelected, {"planned": False}, "call.selected"),
        (CallSelected, {"tool": "put"}, "'read'"),
        (CallGranted, {"call_id": "1.pay.0"}, "what the gate says of 1.look.0"),
        (CallSucceeded, {"call_id": "1.pay.0"}, "1.look.0"),
        (StepVerified, {"ok": False}, "'ok': True"),
        (StepSkipped, {"detail": "because"}, "steps.look.outcome"),
        (RunWaiting, {"state": "awaiting_reconciliation"}, "awaiting_approval"),
        (RunSucceeded, {"answer": "paid twice"}, "'paid'"),
    ],
)
def test_a_changed_event_is_named_with_both_sides(type_: type[Event], changes: dict[str, object], says: str) -> None:
    events = recorded()
    at = place(events, type_)
    events[at] = replace(events[at], event=replace(events[at].event, **changes))  # type: ignore[arg-type]
    verdict = replay(events)
    assert isinstance(verdict, Diverged)
    assert verdict.seq == events[at].seq
    assert says in verdict.expected
    assert events[at].event.type in verdict.recorded


def test_another_moment_of_the_next_try_is_a_difference() -> None:
    world = World(steps({"id": "r", "tool": "read", "arguments": {}}))
    tries = iter(["transient"])
    world.draw = lambda choices: next(tries, "ok") if "transient" in choices else choices[0]
    world.run()
    at = place(world.history, RunWaiting)
    wrong = replace(world.history[at], event=RunWaiting("waiting_retry", "2026-11-22T10:00:00.000000+00:00"))
    verdict = replay([*world.history[:at], wrong])
    assert isinstance(verdict, Diverged)
    assert (verdict.seq, "waiting_retry" in verdict.expected) == (at + 1, True)


def test_a_step_that_is_missing_or_too_many_is_a_difference() -> None:
    events = recorded()
    at = place(events, StepVerified)
    without = [*events[:at], *(replace(s, seq=s.seq - 1) for s in events[at + 1 :])]
    verdict = replay(without)
    assert isinstance(verdict, Diverged)
    assert (verdict.seq, "step.verified" in verdict.expected) == (at + 1, True)
    early = replay([*events[:at], Stamped(at + 1, events[at].at, RunFailed("internal_error", "because"))])
    assert isinstance(early, Diverged)
    assert "run.failed" in early.recorded


def test_what_cannot_be_is_a_difference_and_not_an_error() -> None:
    events = recorded()
    verdict = replay([events[0], replace(events[1], seq=7)])
    assert isinstance(verdict, Diverged)
    verdict = replay([*events, Stamped(len(events) + 1, events[-1].at, RunClaimed("w", 1))])
    assert isinstance(verdict, Diverged)


def test_what_others_write_may_stand_anywhere() -> None:
    world = World(PLAN, draw=chooser(gate="propose"))
    world.add(RunClaimed("w", 1))
    for _ in range(3):
        world.turn()
    proposal = next(iter(world.state.calls.values())).proposal_id
    world.add(ProposalWithdrawn(proposal, "1.look.0", "cancelled"), RunCancelled("user:1"))
    assert isinstance(replay(world.history), Identical)


def test_ends_that_no_command_asks_for_are_allowed() -> None:
    world = World(PLAN)
    world.add(RunClaimed("w", 6), RunFailed("dead_letter", "5 workers took the run up and none recorded a step."))
    assert isinstance(replay(world.history), Identical)


@dataclass
class Meanwhile(World):
    """Somebody approves another call while the first one is found not to have started."""

    done: bool = False

    def execute(self, call_id: str) -> None:
        call = self.state.calls[call_id]
        waiting = self.state.open_calls(CallState.PROPOSED)
        if self.done or not waiting:
            super().execute(call_id)
            return
        self.done = True
        self.add(CallStarted(call_id, call.grant_id, 1))
        [other] = waiting
        self.decide_proposal(other.call_id, other.proposal_id, other.digest)
        self.add(CallReconciled(call_id, "did_not_happen", "worker"))
        self.defer(self.state.calls[call_id])


def test_what_never_started_is_put_off_by_its_own_command_whatever_was_decided_meanwhile() -> None:
    asks: list[JSON] = [{"tool": "pay", "arguments": {"to": "x"}}, {"tool": "put", "arguments": {"n": 1}}]
    plan = steps({"id": "both", "calls": asks}, answers=[{"text": "Done."}])
    gate = iter(["propose", "grant"])
    world = Meanwhile(plan, draw=lambda choices: next(gate, choices[0]) if "propose" in choices else choices[0])
    assert world.run().state is RunState.SUCCEEDED
    assert world.done
    verdict = replay(world.history)
    assert isinstance(verdict, Identical), verdict
    assert list(verdict.commands) == world.commands
