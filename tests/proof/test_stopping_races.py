"""Stops, pauses and second tries against workers and against each other (PostgreSQL): one outcome, no late effect."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from agentops.audit.verify import verify_tenant
from agentops.engine.events import (
    CallReconciled,
    CallStarted,
    CallUnknown,
    Event,
    RunCancelled,
    RunClaimed,
    RunFailed,
    RunPaused,
    RunRequeued,
    RunResumed,
    RunWaiting,
)
from agentops.halts import covering
from agentops.halts.models import Halt, Scope
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import load, record_outside, state_of
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from agentops.worker.sweeper import sweep
from approvals.models import Grant, Proposal
from approvals.stopping.halting import (
    AlreadyLifted,
    AlreadyStopped,
    Lifted,
    Stopped,
    Target,
    lift,
    settle_lifted,
    stop,
)
from approvals.stopping.intervention import (
    Answered,
    Cancelled,
    NotRequeueable,
    NotUnknown,
    Paused,
    Requeued,
    Verdict,
    cancel_run,
    pause_run,
    reconcile_call,
    requeue_run,
    resume_run,
)
from tests.approvals.threads import at_once
from tests.deciding import approve
from tests.keys import keys_of
from tests.proof.planning import events_of
from tests.shop import open_shop, start, task_type
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund, Ticket

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]

ROUNDS = 8
EVERYTHING = Target(Scope.TENANT, "", "Everything")


@pytest.fixture
def tenant(acme: Tenant) -> Tenant:
    with tenant_scope(acme):
        open_shop(acme, orders=3 * ROUNDS)
    return acme


@pytest.fixture
def reviewer(bob: User, tenant: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, tenant)


@pytest.fixture
def senior(sam: User, tenant: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, tenant)


def work(tenant: Tenant, run_id: UUID, worker: str = "w1") -> None:
    Driver(worker).drive(tenant, run_id)


def inside(tenant: Tenant, call: Callable[[], object]) -> Callable[[], object]:
    """Return a call that opens the tenant's scope in the thread it runs in."""

    def run() -> object:
        with tenant_scope(tenant):
            return call()

    return run


def approved(tenant: Tenant, number: int, reviewer: Actor) -> Run:
    """Return a queued run whose refund somebody has approved."""
    task: JSONObject = {"order_ref": f"A-{1001 + number}", "amount_minor": 100, "reason": "Late"}
    run = start("goodwill-refund", task)
    work(tenant, run.id)
    proposal = Proposal.objects.get(run_id=run.id)
    approve(proposal_id=proposal.pk, actor=reviewer, version=1, digest=proposal.digest)
    return Run.objects.get(pk=run.id)


def effects_have_their_grants(run: Run) -> None:
    refunds = Refund.objects.filter(idempotency_key__in=keys_of(run.pk, "shop.issue_refund")).count()
    consumed = Grant.objects.filter(run=run, tool="shop.issue_refund", consumed_at__isnull=False).count()
    assert refunds == consumed


def row_and_record_agree(run_id: UUID) -> Run:
    run, state = Run.objects.get(pk=run_id), state_of(run_id)
    assert (run.state, run.paused_at, str(run.halt_id or "")) == (
        *(state.state.value, state.paused_at, state.paused_by_halt),
    )
    calls = ToolCall.objects.filter(run_id=run_id).values_list("call_id", "state", "hook_asked")
    assert set(calls) == {(c.call_id, c.state.value, c.hook_asked) for c in state.calls.values()}
    return run


def nothing_started_after(run: Run, kind: type[RunPaused]) -> None:
    """Between a pause and the end of it, no effect was begun: by the order of the record, not by the clock."""
    held = 0
    for stamped in load(run.pk):
        held += isinstance(stamped.event, kind)
        held -= isinstance(stamped.event, RunResumed)
        assert not (held and isinstance(stamped.event, CallStarted))


def test_a_pause_and_a_worker_that_executes(tenant: Tenant, reviewer: Actor, senior: Actor) -> None:
    seen: set[bool] = set()
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            run = approved(tenant, number, reviewer)
            pause = inside(tenant, partial(pause_run, run_id=run.pk, actor=senior, reason="wait"))
            calls: Sequence[Callable[[], object]] = [partial(work, tenant, run.pk), pause]
            at_once(calls)
            work(tenant, run.pk, "w2")
            run = row_and_record_agree(run.pk)
            nothing_started_after(run, RunPaused)
            effects_have_their_grants(run)
            seen.add(Refund.objects.filter(order__ref=f"A-{1001 + number}").exists())
            if run.paused_at is not None:
                assert run.lease_owner == ""
                resume_run(run_id=run.pk, actor=senior, reason="go")
                work(tenant, run.pk, "w3")
            assert row_and_record_agree(run.pk).state == "succeeded"
            assert Refund.objects.filter(order__ref=f"A-{1001 + number}").count() == 1
        assert not verify_tenant().findings
    assert seen


def test_a_pause_and_a_cancellation(tenant: Tenant, reviewer: Actor, senior: Actor) -> None:
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            run = approved(tenant, number, reviewer)
            outcomes = at_once(
                [
                    inside(tenant, partial(pause_run, run_id=run.pk, actor=senior, reason="wait")),
                    inside(tenant, partial(cancel_run, run_id=run.pk, actor=reviewer)),
                ]
            )
            assert isinstance(outcomes[1], Cancelled), "cancelling wins over a pause, whoever was first"
            run = row_and_record_agree(run.pk)
            assert (run.state, run.paused_at) == ("cancelled", None)
            assert len(events_of(run, RunPaused)) == isinstance(outcomes[0], Paused)
            assert len(events_of(run, RunCancelled)) == 1


def test_two_pauses_and_two_resumptions(tenant: Tenant, reviewer: Actor, senior: Actor) -> None:
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            run = approved(tenant, number, reviewer)
            for step_in, kind in ((pause_run, RunPaused), (resume_run, RunResumed)):
                at_once(
                    [
                        inside(tenant, partial(step_in, run_id=run.pk, actor=who, reason="x"))
                        for who in (senior, reviewer)
                    ]
                )
                assert len(events_of(run, kind)) == 1
            row_and_record_agree(run.pk)


def test_a_stop_and_workers_that_execute(tenant: Tenant, reviewer: Actor, senior: Actor) -> None:
    """After `stop` has returned, no grant is consumed; what was let through before it is not lost."""
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            runs = [approved(tenant, 2 * number, reviewer), approved(tenant, 2 * number + 1, reviewer)]
            returned: list[datetime] = []

            def halt(returned: list[datetime] = returned) -> object:
                outcome = stop(target=EVERYTHING, reason="fire", actor=senior)
                returned.append(timezone.now())
                return outcome

            calls: list[Callable[[], object]] = [partial(work, tenant, run.pk, f"w{i}") for i, run in enumerate(runs)]
            *_, outcome = at_once([*calls, inside(tenant, halt)])
            assert isinstance(outcome, Stopped)
            for i, run in enumerate(runs):
                work(tenant, run.pk, f"v{i}")
            late = Grant.objects.filter(run__in=runs, consumed_at__gt=returned[0])
            assert not late.exists()
            for run in runs:
                effects_have_their_grants(row_and_record_agree(run.pk))
                nothing_started_after(run, RunPaused)
            assert isinstance(lift(halt_id=outcome.halt_id, reason="out", actor=senior), Lifted)
            for run in runs:
                work(tenant, run.pk, "u")
                assert row_and_record_agree(run.pk).state == "succeeded"
                effects_have_their_grants(run)
        assert not verify_tenant().findings


def test_two_people_stop_the_same_and_two_lift_it(tenant: Tenant, senior: Actor, alice: User) -> None:
    admin = Actor("user", str(alice.pk), "alice", frozenset({"admin"}), alice.pk)
    with tenant_scope(tenant):
        for _ in range(ROUNDS):
            outcomes = at_once(
                [inside(tenant, partial(stop, target=EVERYTHING, reason="fire", actor=who)) for who in (senior, admin)]
            )
            assert {type(one) for one in outcomes} == {Stopped, AlreadyStopped}
            halt = Halt.objects.get(lifted_at=None)
            outcomes = at_once(
                [inside(tenant, partial(lift, halt_id=halt.pk, reason="out", actor=who)) for who in (senior, admin)]
            )
            assert {type(one) for one in outcomes} == {Lifted, AlreadyLifted}
        assert Halt.objects.filter(settled_at=None).count() == 0


def test_a_lift_and_a_new_stop_of_the_same(tenant: Tenant, senior: Actor, reviewer: Actor) -> None:
    """Whichever comes first, a run is held exactly while some stop is open, and only by an open one."""
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            outcome = stop(target=EVERYTHING, reason="fire", actor=senior)
            assert isinstance(outcome, Stopped)
            run = start("goodwill-refund", {"order_ref": f"A-{1001 + number}", "amount_minor": 1, "reason": "x"})
            work(tenant, run.pk)
            again = Target(Scope.TASK_TYPE, str(run.task_type_id), "kind")
            at_once(
                [
                    inside(tenant, partial(lift, halt_id=outcome.halt_id, reason="out", actor=senior)),
                    inside(tenant, partial(stop, target=again, reason="again", actor=senior)),
                ]
            )
            settle_lifted(timezone.now())
            covering.forget()
            work(tenant, run.pk, "w2")
            run = row_and_record_agree(run.pk)
            second = Halt.objects.get(lifted_at=None)
            assert run.halt_id == second.pk
            assert isinstance(lift(halt_id=second.pk, reason="out", actor=senior), Lifted)
            work(tenant, run.pk, "w3")
            assert row_and_record_agree(run.pk).state == "awaiting_approval"


def test_two_sweepers_settle_the_same_lift(tenant: Tenant, senior: Actor, reviewer: Actor) -> None:
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            run = approved(tenant, number, reviewer)
            grant = Grant.objects.get(run=run, proposal__isnull=False)
            outcome = stop(target=EVERYTHING, reason="fire", actor=senior)
            assert isinstance(outcome, Stopped)
            work(tenant, run.pk)
            with transaction.atomic():  # as if the web process had died right after the commit
                lift(halt_id=outcome.halt_id, reason="out", actor=senior)
            at_once([partial(sweep, timezone.now()), partial(sweep, timezone.now())])
            halt = Halt.objects.get(pk=outcome.halt_id)
            assert halt.lifted_at is not None
            assert halt.settled_at is not None
            assert len(events_of(run, RunResumed)) == 1
            moved = Grant.objects.get(pk=grant.pk).expires_at - grant.expires_at
            assert (
                halt.lifted_at - halt.started_at
                <= moved
                < halt.lifted_at - halt.started_at + (timezone.now() - halt.lifted_at)
            )
            work(tenant, run.pk, "w2")
            effects_have_their_grants(run)


def test_a_dead_letter_is_queued_again_once(tenant: Tenant, senior: Actor, reviewer: Actor) -> None:
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            run = start("goodwill-refund", {"order_ref": f"A-{1001 + number}", "amount_minor": 1, "reason": "x"})
            with transaction.atomic():
                record_outside(run.pk, [RunFailed("dead_letter", "x")], actor=WORKER, now=timezone.now())
            outcomes = at_once(
                [
                    inside(tenant, partial(requeue_run, run_id=run.pk, actor=who, reason="fixed"))
                    for who in (senior, reviewer)
                ]
            )
            assert {type(one) for one in outcomes} == {Requeued, NotRequeueable}
            assert len(events_of(run, RunRequeued)) == 1
            at_once([partial(work, tenant, run.pk, "w1"), partial(work, tenant, run.pk, "w2")])
            assert row_and_record_agree(run.pk).state == "awaiting_approval"
            assert len(events_of(run, RunClaimed)) == 1


def test_an_unknown_effect_is_answered_once_also_while_the_run_is_cancelled(
    tenant: Tenant, senior: Actor, reviewer: Actor
) -> None:
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            run = approved(tenant, number, reviewer)
            call = state_of(run.pk).calls["1.refund.0"]
            Grant.objects.filter(run=run, call_id=call.call_id).update(consumed_at=timezone.now())
            lost: list[Event] = [
                RunClaimed("w1", 1),
                CallStarted(call.call_id, call.grant_id, 1),
                CallUnknown(call.call_id, "gone", asked=True),
                RunWaiting("awaiting_reconciliation"),
            ]
            with transaction.atomic():
                record_outside(run.pk, lost, actor=WORKER, now=timezone.now())
            said: tuple[tuple[Verdict, Actor], ...] = (("happened", senior), ("did_not_happen", reviewer))
            answers: list[Callable[[], object]] = [
                partial(reconcile_call, run_id=run.pk, call_id=call.call_id, verdict=verdict, actor=who, note="seen")
                for verdict, who in said
            ]
            outcomes = at_once(
                [
                    *(inside(tenant, one) for one in answers),
                    inside(tenant, partial(cancel_run, run_id=run.pk, actor=senior)),
                ]
            )
            assert {type(one) for one in outcomes[:2]} == {Answered, NotUnknown}
            assert len(events_of(run, CallReconciled)) == 1
            assert row_and_record_agree(run.pk).state == "cancelled"
            assert not Grant.objects.filter(run=run, consumed_at=None, expires_at__gt=timezone.now()).exists()
            assert not Refund.objects.filter(order__ref=f"A-{1001 + number}").exists()


def test_nothing_happens_later_than_two_seconds_after_the_line_was_stopped(tenant: Tenant, senior: Actor) -> None:
    """Four workers file tickets as fast as they can; then the line is stopped in the middle of it."""
    with tenant_scope(tenant):
        ticket: JSONObject = {"tool": "create_ticket", "arguments": {"title": "t", "priority": "low"}}
        look: JSONObject = {"tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}
        steps = [{"id": "look", **look}, {"id": "file", **ticket}]
        task_type(steps, {"create_ticket": AllowlistState.AUTO, "shop.find_order": AllowlistState.AUTO})
        runs = [start("job", {}).id for _ in range(30)]
    due = list(runs)
    stopping = threading.Event()

    def worker(number: int) -> int:
        done = 0
        give_up = time.monotonic() + 60
        while due and time.monotonic() < give_up:
            try:
                run_id = due.pop()
            except IndexError:
                break
            work(tenant, run_id, f"w{number}")
            done += 1
            if done == 2:
                stopping.set()
        return done

    moments: list[tuple[datetime, int]] = []

    def halt() -> None:
        assert stopping.wait(60)
        with tenant_scope(tenant):
            outcome = stop(target=EVERYTHING, reason="fire", actor=senior)
            assert isinstance(outcome, Stopped)
            moments.append((timezone.now(), outcome.halt_id))

    calls: Sequence[Callable[[], object]] = [*(partial(worker, number) for number in range(4)), halt]
    at_once(calls)
    [(stopped_at, halt_id)] = moments
    with tenant_scope(tenant):
        assert 0 < Ticket.objects.count() < len(runs), "the stop came in the middle"
        assert not Grant.objects.filter(consumed_at__gt=stopped_at, tool="create_ticket").exists()
        held = Run.objects.filter(halt_id=halt_id).count()
        assert held + Run.objects.filter(state="succeeded").count() == len(runs)
        started = [
            (stamped.event, stamped.at)
            for run_id in runs
            for stamped in load(run_id)
            if isinstance(stamped.event, CallStarted)
        ]
        assert not [at for _, at in started if at > stopped_at]
        assert Ticket.objects.count() == len(started)
        lift(halt_id=halt_id, reason="out", actor=senior)
        while settle_lifted(timezone.now()):
            pass
        for run_id in runs:
            work(tenant, run_id, "last")
        assert Ticket.objects.count() == len(runs), "nothing is lost, and nothing is done twice"
        assert not verify_tenant().findings
