"""Many recorded runs replay to what they were; with a rule of the engine changed, each run it concerns is named.

`REPLAY_RUNS=1000` records a thousand; the suite does with a few. The real worker drives the runs on the shop, and they
are decided, answered late, failed and retried as dice say.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from agentops.engine import decide as deciding
from agentops.engine.events import Stamped, StepVerified
from agentops.engine.plan import Step
from agentops.engine.state import Call, State
from agentops.regression.verdicts import Outcome, Verdict, verdict_of
from agentops.runs.models import Run
from agentops.runs.recording import load
from agentops.wire.parse import JSONObject
from tests.regression.conftest import Shop
from tools import executor
from tools.contracts import ErrorCode

RUNS = int(os.environ.get("REPLAY_RUNS", "24"))
VERDICTS = ("approve", "approve", "approve", "edit", "reject", "expire", "wait")


@contextmanager
def flaky(rng: random.Random) -> Iterator[None]:
    """Have some reads of a tool fail, for good or for a while."""
    execute = executor.execute

    def sometimes(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        if request.tool == "shop.find_order" and rng.random() < 0.2:
            code = rng.choice([ErrorCode.UNAVAILABLE, ErrorCode.NOT_FOUND])
            return executor.Failed(code, "not now", 3)
        return execute(request, consume)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executor, "execute", sometimes)
        yield


@contextmanager
def changed_rule() -> Iterator[None]:
    """Have an engine that lets a step whose call was rejected pass, which this one does not."""
    original: Callable[[State, Step, list[Call]], StepVerified] = deciding._verify

    def verify(state: State, step: Step, calls: list[Call]) -> StepVerified:
        found = original(state, step, calls)
        return StepVerified(step.id, ok=True) if any(call.code == "rejected" for call in calls) else found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deciding, "_verify", verify)
        yield


def recorded(shop: Shop) -> dict[str, list[Stamped]]:
    rng = random.Random(7)
    found: dict[str, list[Stamped]] = {}
    with flaky(rng):
        for number in range(RUNS):
            verdicts = [rng.choice(VERDICTS) for _ in range(3)]
            if number % 3:
                task: JSONObject = {
                    "order_ref": f"A-{1001 + rng.randrange(3)}",
                    "amount_minor": 1 + rng.randrange(4),
                    "reason": "x",
                }
                run = shop.run("goodwill-refund", task, *verdicts)
            else:
                run = shop.run("support-email", {"message_id": "M-0001"}, *verdicts)
            found[str(run.id)] = load(run.id)
    return found


def test_every_recorded_run_is_identical_and_a_changed_rule_is_named_where_it_concerns_a_run(shop: Shop) -> None:
    runs = recorded(shop)
    states = set(Run.objects.values_list("state", flat=True))
    assert {"succeeded", "failed", "awaiting_approval"} <= states, states
    verdicts = {run_id: verdict_of(events) for run_id, events in runs.items()}
    assert [v for v in verdicts.values() if v.outcome is not Outcome.IDENTICAL] == []
    assert len(verdicts) == RUNS
    with changed_rule():
        after = {run_id: verdict_of(events) for run_id, events in runs.items()}
    concerned = {run_id: first for run_id, events in runs.items() if (first := first_rejected_step(events))}
    assert concerned
    assert {run_id for run_id, v in after.items() if v.outcome is Outcome.DIVERGED} == set(concerned)
    for run_id, seq in concerned.items():
        verdict: Verdict = after[run_id]
        assert verdict.seq == seq
        assert "'ok': True" in verdict.expected
        assert "'ok': False" in verdict.recorded


def first_rejected_step(events: list[Stamped]) -> int:
    """Return the number of the event that checks the first step with a rejected call; 0 if there is none."""
    rejected = False
    for stamped in events:
        if stamped.event.type == "proposal.decided":
            rejected = rejected or getattr(stamped.event, "verdict", "") == "reject"
        if rejected and isinstance(stamped.event, StepVerified):
            return stamped.seq
    return 0
