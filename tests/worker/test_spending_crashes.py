"""Whatever dies between setting aside, spending and recording, the books are right in the end."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from agentops.budgets.measures import Measure
from agentops.budgets.models import Reservation
from agentops.engine.events import Stamped
from agentops.runs import lease
from agentops.runs.models import Run
from agentops.runs.recording import load
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.worker import spending
from agentops.worker.driver import Driver
from approvals.permits import grants
from approvals.stopping.intervention import Answered, Verdict, cancel_run, reconcile_call
from tests.budgets.lab import books, budget
from tests.shop import AGENT
from tests.worker.paid import (
    COST,
    GATED,
    PAY,
    PUT,
    READ,
    Killed,
    Provider,
    begin,
    drive,
    job,
    open_purposes,
    sweep,
    work,
)
from tools import executor
from tools.contracts import CallContext, ErrorCode, ToolContract, ToolError
from tools.models import ToolHealth


def kill_at(point: str, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first call die at a point; what comes after it lives."""

    def die(*args: object, **more: object) -> object:
        raise Killed

    if point == "before the intent":
        monkeypatch.setattr(grants, "consume", die)
    elif point == "after the intent":
        provider.before = die  # type: ignore[assignment]
    elif point == "after the effect":
        provider.after = die  # type: ignore[assignment]
    else:
        monkeypatch.setattr(spending, "after_call", die)


@pytest.mark.parametrize("tool", [PAY, PUT], ids=["unsafe", "idempotent"])
@pytest.mark.parametrize(
    ("point", "attempts"),
    [("before the intent", 1), ("after the intent", 2), ("after the effect", 2), ("after the outcome", 1)],
)
def test_a_worker_that_dies_leaves_right_books(
    provider: Provider,
    scoped: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    tool: ToolContract,
    point: str,
    attempts: int,
) -> None:
    made = budget(Measure.COST, 10 * COST)
    job(tool)
    run = begin(provider)
    kill_at(point, provider, monkeypatch)
    with pytest.raises(Killed):
        drive(run, provider)
    monkeypatch.undo()
    provider.before = provider.after = lambda context: None
    assert books(made) == (COST, 0), "set aside before it died"

    sweep(scoped, provider)
    assert open_purposes() != [], "the dead worker's lease still holds: it may only be slow"
    provider.clock.forward(minutes=5)
    run = drive(run, provider, "w2")
    assert run.state == "succeeded"
    sweep(scoped, provider)

    assert open_purposes() == []
    by_state = Counter(Reservation.objects.values_list("state", flat=True))
    if tool is PAY:
        # What is on record with the provider was paid for once; what was not was given back.
        assert sum(provider.effects.values()) == 1
        assert books(made) == (0, COST)
        assert by_state["settled"] == 1
    else:
        # An idempotent write is made again with the same key: the provider was asked as often as it was started.
        assert books(made) == (0, attempts * COST)
        assert by_state == {"settled": attempts}


def test_a_read_whose_worker_died_counts_and_so_does_the_one_that_replaces_it(
    provider: Provider, scoped: Tenant
) -> None:
    made = budget(Measure.COST, 10 * COST)
    job(READ)
    run = begin(provider)

    def die(context: CallContext) -> None:
        raise Killed

    provider.after = die
    with pytest.raises(Killed):
        drive(run, provider)
    provider.after = lambda context: None
    provider.clock.forward(minutes=5)
    assert drive(run, provider, "w2").state == "succeeded"
    sweep(scoped, provider)
    assert provider.requests["lab.read"] == 2
    assert books(made) == (0, 2 * COST)
    assert Reservation.objects.filter(assumed=True).count() == 1


@pytest.mark.parametrize("verdict", ["happened", "gave_up", "did_not_happen"])
def test_an_unknown_effect_stays_set_aside_until_somebody_knows(
    provider: Provider,
    scoped: Tenant,
    sam: User,
    actor_of: Callable[[User, Tenant], Actor],
    verdict: Verdict,
) -> None:
    made = budget(Measure.COST, 10 * COST)
    provider.knows = False

    def lose(context: CallContext) -> None:
        raise ToolError(ErrorCode.OUTCOME_UNKNOWN, "The connection broke.")

    provider.after = lose
    job(PAY)
    run = work(provider)
    assert run.state == "awaiting_reconciliation"
    provider.clock.forward(minutes=20)
    sweep(scoped, provider)
    assert books(made) == (COST, 0), "nobody knows yet"

    provider.after = lambda context: None
    answer = reconcile_call(
        run_id=run.id,
        call_id="1.s0.0",
        verdict=verdict,
        actor=actor_of(sam, scoped),
        note="The bank says so",
        now=provider.clock(),
    )
    assert isinstance(answer, Answered)
    drive(run, provider)
    sweep(scoped, provider)
    assert open_purposes() == []
    states = list(Reservation.objects.order_by("pk").values_list("state", flat=True))
    assert states == (["released", "settled"] if verdict == "did_not_happen" else ["settled"])
    assert books(made) == (0, COST)


def test_a_cancelled_run_gives_back_what_it_never_spent(
    provider: Provider, scoped: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = budget(Measure.COST, 10 * COST)
    job(PAY)
    run = begin(provider)
    kill_at("before the intent", provider, monkeypatch)
    with pytest.raises(Killed):
        drive(run, provider)
    monkeypatch.undo()
    cancel_run(run_id=run.id, actor=AGENT, now=provider.clock())
    provider.clock.forward(minutes=5)
    sweep(scoped, provider)
    assert books(made) == (0, 0)
    assert not provider.effects


def test_a_record_that_cannot_be_read_holds_nobody_elses_money(
    provider: Provider, scoped: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(PAY, state=GATED)
    budget(Measure.REVIEWER, 10_000)
    runs = [work(provider).pk, work(provider).pk]
    for run_id in runs:
        cancel_run(run_id=run_id, actor=SYSTEM, now=provider.clock())
    assert open_purposes() == ["review:1.s0.0"] * 2

    def unreadable(run_id: UUID) -> list[Stamped]:
        if run_id == runs[0]:
            raise ValueError("a row cannot be read")
        return load(run_id)

    monkeypatch.setattr(spending, "load", unreadable)
    sweep(scoped, provider)
    assert list(Reservation.objects.filter(state="open").values_list("run_id", flat=True)) == [runs[0]]


def test_a_failed_look_does_not_hold_what_a_read_was_refused(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = budget(Measure.COST, 10 * COST)
    job(READ)
    run = begin(provider)

    def broken(*args: object, **more: object) -> executor.Outcome:
        raise RuntimeError("the database went away")

    with monkeypatch.context() as patched:
        patched.setattr(executor, "execute", broken)
        drive(run, provider)
    assert books(made) == (0, 0)
    provider.clock.forward(minutes=10)
    assert drive(run, provider).state == "succeeded"
    assert books(made) == (0, COST)


@pytest.mark.parametrize("tool", [PAY, PUT], ids=["unsafe", "idempotent"])
def test_an_attempt_that_did_not_reach_its_tool_costs_nothing_although_its_worker_lost_the_run(
    provider: Provider, scoped: Tenant, tool: ToolContract
) -> None:
    """The deadline passes before the handler starts, and so does the lease: nobody can record that it did not."""
    made = budget(Measure.COST, 10 * COST)
    job(tool)
    run = begin(provider)

    class Late:
        def execute(self, request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
            provider.clock.forward(minutes=5)
            assert lease.claim(run.pk, owner="w2", now=provider.clock()) is not None
            return executor.Failed(ErrorCode.TIMEOUT, "The deadline has passed.", reached=False)

        reconcile = staticmethod(executor.reconcile)
        read_back = staticmethod(executor.read_back)

    Driver("w1", now=provider.clock, tools=Late()).drive(scoped, run.pk)
    assert Reservation.objects.get().state == "released"
    assert books(made) == (0, 0)

    provider.clock.forward(minutes=5)
    assert drive(run, provider, "w3").state == "succeeded"
    sweep(scoped, provider)
    assert open_purposes() == []
    assert sum(provider.effects.values()) == 1
    assert books(made) == (0, COST)


def test_a_read_that_did_not_reach_its_tool_costs_nothing_and_says_nothing_about_the_tool(
    provider: Provider, scoped: Tenant
) -> None:
    made = budget(Measure.COST, 10 * COST)
    job(READ)
    run = begin(provider)

    class Late:
        def execute(self, request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
            return executor.Failed(ErrorCode.TIMEOUT, "The deadline has passed.", reached=False)

        reconcile = staticmethod(executor.reconcile)
        read_back = staticmethod(executor.read_back)

    Driver("w1", now=provider.clock, tools=Late()).drive(scoped, run.pk)
    assert Run.objects.get(pk=run.pk).state == "waiting_retry"
    assert books(made) == (0, 0)
    assert not ToolHealth.objects.exists()
    provider.clock.forward(minutes=5)
    assert drive(run, provider).state == "succeeded"
    assert books(made) == (0, COST)
