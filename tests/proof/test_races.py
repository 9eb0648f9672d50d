"""Things that happen to one run at the same moment (PostgreSQL): one outcome each, and no effect without its grant."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from agentops.audit.models import Event as EventRow
from agentops.audit.verify import verify_tenant
from agentops.engine.events import (
    CallReconciled,
    CallStarted,
    ProposalDecided,
    ProposalExpired,
    ProposalWithdrawn,
    RunFellBack,
)
from agentops.engine.transitions import RunState
from agentops.runs.models import Playbook, Run, ToolCall
from agentops.runs.recording import state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from agentops.worker.sweeper import RING_AGAIN, sweep
from approvals.models import Grant, Proposal
from approvals.services import Decided, Expired, Lost, Outcome, expire
from approvals.stopping.intervention import Answered, NotUnknown, Verdict, cancel_run, reconcile_call
from tests.approvals.threads import at_once
from tests.deciding import approve
from tests.keys import key_of, keys_of
from tests.proof.planning import events_of
from tests.shop import Clock, open_shop, start, task_type
from tools import executor, health
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]

ROUNDS = 8
UNKNOWN = 4
"""Fewer than the failures that make the breaker of a tool open."""
GATED = AllowlistState.GATED


@pytest.fixture
def tenant(acme: Tenant) -> Tenant:
    with tenant_scope(acme):
        open_shop(acme, orders=3 * ROUNDS)
    return acme


@pytest.fixture
def reviewer(bob: User, tenant: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, tenant)


@pytest.fixture
def second(sam: User, tenant: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, tenant)


def work(tenant: Tenant, run_id: UUID, worker: str = "w1") -> None:
    Driver(worker).drive(tenant, run_id)


def waiting(tenant: Tenant, number: int) -> Proposal:
    """Return the proposal of a fresh run that refunds an order of its own."""
    task: JSONObject = {"order_ref": f"A-{1001 + number}", "amount_minor": 100, "reason": "Late"}
    run = start("goodwill-refund", task)
    work(tenant, run.id)
    return Proposal.objects.get(run_id=run.id)


def approving(tenant: Tenant, proposal: Proposal, actor: Actor, now: datetime | None = None) -> Callable[[], Outcome]:
    def decide() -> Outcome:
        with tenant_scope(tenant):
            return approve(
                proposal_id=proposal.id, actor=actor, version=proposal.version, digest=proposal.digest, now=now
            )

    return decide


def effects_have_their_grants(run: Run) -> None:
    """As many refunds as grants that were consumed, and as intents that were recorded."""
    refunds = Refund.objects.filter(idempotency_key__in=keys_of(run.pk, "shop.issue_refund")).count()
    consumed = Grant.objects.filter(run=run, tool="shop.issue_refund", consumed_at__isnull=False).count()
    started = [e for e in events_of(run, CallStarted) if isinstance(e, CallStarted)]
    assert refunds == consumed == len({e.call_id for e in started if "refund" in e.call_id})


def row_and_record_agree(run: Run) -> None:
    state = state_of(run.id)
    assert run.state == state.state.value
    calls = ToolCall.objects.filter(run=run).values_list("call_id", "state")
    assert dict(calls) == {call.call_id: call.state.value for call in state.calls.values()}


def test_an_approval_and_a_cancellation(tenant: Tenant, reviewer: Actor, second: Actor) -> None:
    seen: set[bool] = set()
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            proposal = waiting(tenant, number)

            def cancel(run_id: UUID = proposal.run_id) -> object:
                with tenant_scope(tenant):
                    return cancel_run(run_id=run_id, actor=second, reason="not needed")

            calls: Sequence[Callable[[], object]] = [approving(tenant, proposal, reviewer), cancel]
            decided, _ = at_once(calls)
            work(tenant, proposal.run_id)
            run = Run.objects.get(pk=proposal.run_id)
            assert run.state == "cancelled", "nobody had started to execute"
            assert not Refund.objects.exists()
            proposal.refresh_from_db()
            assert proposal.status == ("approved" if isinstance(decided, Decided) else "withdrawn")
            assert len(events_of(run, ProposalDecided, ProposalWithdrawn)) == 1
            unused = Grant.objects.filter(proposal=proposal, consumed_at=None)
            assert unused.count() == isinstance(decided, Decided)
            assert not unused.filter(expires_at__gt=timezone.now()).exists(), "a permission outlived its run"
            effects_have_their_grants(run)
            row_and_record_agree(run)
            seen.add(isinstance(decided, Decided))
        assert not verify_tenant().findings
    assert seen


def test_a_worker_that_executes_and_a_cancellation(tenant: Tenant, reviewer: Actor, second: Actor) -> None:
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            proposal = waiting(tenant, number)
            assert isinstance(approving(tenant, proposal, reviewer)(), Decided)

            def cancel(run_id: UUID = proposal.run_id) -> object:
                with tenant_scope(tenant):
                    return cancel_run(run_id=run_id, actor=second)

            calls: Sequence[Callable[[], object]] = [partial(work, tenant, proposal.run_id), cancel]
            at_once(calls)
            work(tenant, proposal.run_id, "w2")
            run = Run.objects.get(pk=proposal.run_id)
            assert run.state in {"cancelled", "succeeded"}
            effects_have_their_grants(run)
            row_and_record_agree(run)
            call = ToolCall.objects.get(run=run, tool="shop.issue_refund")
            made = Refund.objects.filter(idempotency_key=key_of(call)).exists()
            assert (call.state == "succeeded") == made, "an effect that happened is on record, also after the end"
        assert not verify_tenant().findings


def test_an_approval_and_the_deadline(tenant: Tenant, reviewer: Actor) -> None:
    with tenant_scope(tenant):
        for number in range(ROUNDS):
            proposal = waiting(tenant, number)
            last_moment = proposal.decide_by - timedelta(seconds=1)

            def late(proposal: Proposal = proposal) -> bool:
                with tenant_scope(tenant):
                    return expire(proposal_id=proposal.id, now=proposal.decide_by)

            calls: Sequence[Callable[[], object]] = [approving(tenant, proposal, reviewer, now=last_moment), late]
            decided, expired = at_once(calls)
            assert isinstance(decided, Decided) != expired
            assert isinstance(decided, Decided | Expired)
            run = Run.objects.get(pk=proposal.run_id)
            assert len(events_of(run, ProposalDecided, ProposalExpired)) == 1
            Driver("w1", now=Clock(proposal.decide_by + timedelta(seconds=1))).drive(tenant, run.id)
            run.refresh_from_db()
            assert RunState(run.state).terminal
            made = Refund.objects.filter(order__ref=f"A-{1001 + number}").count()
            assert made == isinstance(decided, Decided)
            effects_have_their_grants(run)
            row_and_record_agree(run)
        assert not verify_tenant().findings


def refund(order: int) -> JSONObject:
    arguments: JSONObject = {"order_ref": f"A-{1001 + order}", "amount_minor": 100, "currency": "EUR", "reason": "Late"}
    return {"tool": "shop.issue_refund", "arguments": arguments}


def test_a_worker_that_records_and_a_decision(tenant: Tenant, reviewer: Actor, second: Actor) -> None:
    """Three refunds of one step: while a worker executes the first, people decide about the other two."""
    with tenant_scope(tenant):
        kind = task_type([], {"shop.issue_refund": GATED})
        for number in range(ROUNDS):
            step: JSONObject = {"id": "refund", "calls": [refund(3 * number + i) for i in range(3)]}
            playbook = kind.playbook
            assert playbook is not None
            playbook.body = canonical({"steps": [step], "answers": [{"text": "done"}]})
            playbook.save()
            run = start("job", {})
            work(tenant, run.id)
            first, *others = Proposal.objects.filter(run=run).order_by("call_id")
            assert isinstance(approving(tenant, first, reviewer)(), Decided)
            calls: Sequence[Callable[[], object]] = [
                partial(work, tenant, run.id),
                approving(tenant, others[0], reviewer),
                approving(tenant, others[1], second),
            ]
            _, *outcomes = at_once(calls)
            assert all(isinstance(outcome, Decided) for outcome in outcomes)
            run.refresh_from_db()
            if not RunState(run.state).terminal:
                assert run.state == "queued", "a decision on a run that nobody works on wakes a worker"
                work(tenant, run.id, "w2")
                run.refresh_from_db()
            assert run.state == "succeeded"
            assert Refund.objects.count() == 3 * (number + 1)
            effects_have_their_grants(run)
            row_and_record_agree(run)
        assert not verify_tenant().findings


def test_an_approval_and_a_fallback(tenant: Tenant, reviewer: Actor, second: Actor) -> None:
    """The tool of three refunds is down: while its worker hands the run over, somebody approves one that is open."""
    seen: set[str] = set()
    with tenant_scope(tenant):
        ticket: JSONObject = {"title": "By the book", "priority": "low"}
        note: JSONObject = {"id": "note", "tool": "create_ticket", "arguments": ticket}
        spare = Playbook.objects.create(slug="spare", version=1, body=canonical({"steps": [note]}))
        step: JSONObject = {"id": "refund", "calls": [refund(i) for i in range(3)]}
        allow = {"shop.issue_refund": GATED, "create_ticket": AllowlistState.AUTO}
        task_type([step], allow, critical=True, fallback=spare)
        health.hold("shop.issue_refund", actor=second, now=timezone.now())
        for _ in range(ROUNDS):
            run = start("job", {})
            work(tenant, run.id)
            first, *others = Proposal.objects.filter(run=run).order_by("call_id")
            assert isinstance(approving(tenant, first, reviewer)(), Decided)
            calls: Sequence[Callable[[], object]] = [
                partial(work, tenant, run.id),
                approving(tenant, others[0], reviewer),
                approving(tenant, others[1], second),
            ]
            _, *outcomes = at_once(calls)
            seen |= {type(outcome).__name__ for outcome in outcomes}
            assert {type(outcome) for outcome in outcomes} <= {Decided, Lost}
            work(tenant, run.id, "w2")
            run.refresh_from_db()
            assert run.state == "succeeded"
            assert len(events_of(run, RunFellBack)) == 1
            closed = events_of(run, ProposalDecided, ProposalWithdrawn)
            assert len(closed) == 3
            assert sum(isinstance(event, ProposalDecided) for event in closed) == 1 + sum(
                isinstance(outcome, Decided) for outcome in outcomes
            )
            unused = Grant.objects.filter(run=run, tool="shop.issue_refund")
            assert not unused.filter(expires_at__gt=timezone.now()).exists(), "a permission outlived its plan"
            assert not unused.filter(consumed_at__isnull=False).exists()
            row_and_record_agree(run)
        assert not Refund.objects.exists()
        assert not verify_tenant().findings
    assert seen


def test_two_sweepers_and_the_workers_they_ring_for(
    tenant: Tenant, reviewer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentops.celery import app

    rings: list[str] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, **options: rings.append(args[1]))
    with tenant_scope(tenant):
        overdue = [waiting(tenant, number) for number in range(ROUNDS)]
    later = max(proposal.decide_by for proposal in overdue) + RING_AGAIN * 2
    rings.clear()
    at_once([partial(sweep, later)] * 3)
    with tenant_scope(tenant):
        expired = EventRow.objects.filter(type="proposal.expired").values_list("subject_id", flat=True)
        assert sorted(expired) == sorted(str(proposal.pk) for proposal in overdue)
        assert set(rings) == {str(proposal.run_id) for proposal in overdue}
        clock = timezone.now() + timedelta(days=30)

        def answer(worker: str) -> None:
            for run_id in rings:
                Driver(worker, now=lambda: clock).drive(tenant, UUID(run_id))

        at_once([partial(answer, "w1"), partial(answer, "w2")])
        runs = Run.objects.filter(pk__in=[proposal.run_id for proposal in overdue])
        assert {run.state for run in runs} == {"succeeded"}
        ends = EventRow.objects.filter(type="run.succeeded").values_list("run_id", flat=True)
        assert len(ends) == len(set(ends)) == ROUNDS
        for run in runs:
            row_and_record_agree(run)
        assert not Refund.objects.exists()
        assert not verify_tenant().findings


def test_two_people_say_what_became_of_a_call(
    tenant: Tenant, reviewer: Actor, second: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = executor.execute

    def lost(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        if request.tool != "shop.issue_refund":
            return execute(request, consume)
        consume(request)
        return executor.Unknown("the connection broke")

    with tenant_scope(tenant):
        unknown: list[Run] = []
        for number in range(UNKNOWN):
            proposal = waiting(tenant, number)
            assert isinstance(approving(tenant, proposal, reviewer)(), Decided)
            with monkeypatch.context() as broken:
                broken.setattr(executor, "execute", lost)
                broken.setattr(executor, "reconcile", lambda request: executor.CannotTell("no record"))
                work(tenant, proposal.run_id)
            unknown.append(Run.objects.get(pk=proposal.run_id))
        assert {run.state for run in unknown} == {"awaiting_reconciliation"}

        def say(run: Run, actor: Actor, verdict: Verdict) -> object:
            with tenant_scope(tenant):
                return reconcile_call(
                    run_id=run.id, call_id="1.refund.0", verdict=verdict, actor=actor, note="I have asked the bank"
                )

        for run in unknown:
            answers = at_once([partial(say, run, reviewer, "happened"), partial(say, run, second, "did_not_happen")])
            [won] = [answer for answer in answers if isinstance(answer, Answered)]
            [late] = [answer for answer in answers if isinstance(answer, NotUnknown)]
            assert late.state in {"succeeded", "granted"}
            [event] = events_of(run, CallReconciled)
            assert isinstance(event, CallReconciled)
            assert event.verdict == won.verdict
            work(tenant, run.id)
            run.refresh_from_db()
            assert run.state == "succeeded"
            assert Refund.objects.filter(idempotency_key__in=keys_of(run.pk)).count() == (
                won.verdict == "did_not_happen"
            )
            row_and_record_agree(run)
        assert not verify_tenant().findings
