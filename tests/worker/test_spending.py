"""Runs that spend: what a budget does not cover is not done, and nobody is asked about it in vain."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agentops.audit.services import load as load_stream
from agentops.audit.verify import verify_tenant
from agentops.budgets.measures import Measure
from agentops.budgets.models import Budget, Reservation
from agentops.engine.events import CallDenied, CallStarted, Event, ProposalWithdrawn, RunFailed, RunWarned
from agentops.runs.models import Run
from agentops.runs.recording import record_outside, state_of
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from approvals.assessing.attention import REVIEW_S
from approvals.assessing.risk import Band
from approvals.models import Grant, Proposal
from approvals.services import Decided, withdraw_proposals
from approvals.stopping.intervention import requeue_run
from tests.budgets.lab import books, budget, contract
from tests.deciding import approve
from tests.shop import AGENT, only_proposal, task_type
from tests.worker.paid import (
    AUTO,
    COST,
    FREE,
    GATED,
    PAY,
    PUT,
    READ,
    Provider,
    begin,
    drive,
    events_of,
    job,
    open_purposes,
    steps,
    sweep,
    work,
)
from tools import health
from tools.contracts import CallContext, Effect, ErrorCode, ToolError
from tools.registry import registry


def test_runs_end_in_budget_exceeded_exactly_when_the_next_call_does_not_fit(provider: Provider) -> None:
    kind = job(PUT, PAY, PUT)
    made = budget(Measure.COST, 1000, task_type=kind)

    first = work(provider)
    assert first.state == "succeeded"
    assert books(made) == (0, 900)

    second = work(provider)
    assert (second.state, second.failure_code) == ("failed", "budget_exceeded")
    assert "“Job: USD 0.001000 a day”" in second.failure_message
    assert "USD 0.000100 left, USD 0.000300 needed" in second.failure_message
    assert "It renews at " in second.failure_message
    assert provider.requests == {"lab.put": 2, "lab.pay": 1}
    assert books(made) == (0, 900)

    Budget.objects.filter(pk=made.pk).update(hard=1300)
    third = work(provider)
    assert third.failure_code == "budget_exceeded"
    assert books(made) == (0, 1200), "raised: one more call fits, at once"

    provider.clock.forward(days=1)
    assert work(provider).state == "succeeded", "it has renewed"
    exhausted = [event for event in load_stream("tenant") if event.type == "budget.exhausted"]
    assert len(exhausted) == 2, "once for each limit that was reached"
    assert exhausted[0].run_id is None
    assert open_purposes() == []
    assert not verify_tenant().findings


def test_a_refused_write_has_no_intent_and_keeps_its_permission_unused(provider: Provider) -> None:
    budget(Measure.TOOL_CALLS, 1)
    job(PAY, PAY)
    run = work(provider)
    assert run.failure_code == "budget_exceeded"
    [started] = events_of(run, CallStarted)
    assert isinstance(started, CallStarted)
    assert started.call_id == "1.s0.0"
    [denied] = events_of(run, CallDenied)
    assert isinstance(denied, CallDenied)
    assert (denied.call_id, denied.code) == ("1.s1.0", "budget_exceeded")
    assert denied.rule.startswith("budget.")
    consumed = dict(Grant.objects.filter(run=run).values_list("call_id", "consumed_at"))
    assert consumed["1.s0.0"] is not None
    assert "1.s1.0" not in consumed, "what was never used needs no row"
    assert sum(provider.effects.values()) == 1


def test_no_effect_starts_before_its_money_is_set_aside(provider: Provider) -> None:
    made = budget(Measure.COST, 10 * COST)
    seen: list[tuple[str, tuple[int, int]]] = []

    def look(context: CallContext) -> None:
        seen.append((context.call_id, books(made)))

    provider.before = look
    job(READ, PUT, PAY, FREE)
    assert work(provider).state == "succeeded"
    assert seen == [
        ("1.s0.0", (COST, 0)),
        ("1.s1.0", (COST, COST)),
        ("1.s2.0", (COST, 2 * COST)),
        ("1.s3.0", (0, 3 * COST)),
    ]


def test_a_playbook_that_goes_on_after_a_refusal_does(provider: Provider) -> None:
    budget(Measure.COST, 1)
    listed = steps(PUT, FREE)
    listed[0]["on_failure"] = "continue"
    task_type(listed, {PUT.name: AUTO, FREE.name: AUTO})
    run = work(provider)
    assert run.state == "succeeded"
    assert provider.requests == {"lab.free": 1}


def test_every_attempt_that_reaches_the_tool_is_paid_for(provider: Provider) -> None:
    made = budget(Measure.COST, 10 * COST)
    times = iter([True, True])

    def handle(context: CallContext, arguments: JSONObject) -> JSONObject:
        if next(times, False):
            raise ToolError(ErrorCode.UNAVAILABLE, "not now")
        return {"receipt": "ok"}

    unsteady = contract("lab.flaky", Effect.IDEMPOTENT_WRITE, COST)
    flaky = replace(unsteady, error_codes=frozenset({ErrorCode.UNAVAILABLE}))
    registry.register(flaky, handle)
    try:
        task_type(steps(flaky), {flaky.name: AUTO})
        run = begin(provider)
        for _ in range(6):
            run = drive(run, provider)
            provider.clock.forward(minutes=2)
    finally:
        registry.remove(flaky.name, flaky.version)
    assert run.state == "succeeded"
    assert books(made) == (0, 3 * COST)
    assert Reservation.objects.filter(run=run, state="settled").count() == 3


def test_a_call_that_waits_for_its_tool_holds_no_money(provider: Provider) -> None:
    made = budget(Measure.COST, 10 * COST)
    job(PUT)
    for _ in range(PUT.breaker.failures):
        health.report(PUT.name, PUT, health.Admitted(), outcome_code="timeout", now=provider.clock())
    run = work(provider)
    assert run.state == "waiting_retry"
    assert open_purposes() == []
    assert not Reservation.objects.exists()
    provider.clock.forward(minutes=5)
    assert drive(run, provider).state == "succeeded"
    assert books(made) == (0, COST)


def test_nobody_is_asked_about_a_call_that_could_not_be_paid_for(provider: Provider) -> None:
    budget(Measure.COST, COST - 1)
    job(PAY, state=GATED)
    run = work(provider)
    assert run.failure_code == "budget_exceeded"
    assert not Proposal.objects.exists()
    assert not Reservation.objects.exists()


def test_an_approved_call_is_refused_when_the_budget_is_gone_by_then(
    provider: Provider, bob: User, scoped: Tenant, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    made = budget(Measure.COST, COST)
    job(PAY, state=GATED)
    one, two = work(provider), work(provider)
    assert [one.state, two.state] == ["awaiting_approval"] * 2, "nothing is held for a person's answer"
    for run in (one, two):
        proposal = Proposal.objects.get(run=run)
        decided = approve(
            proposal_id=proposal.pk,
            actor=actor_of(bob, scoped),
            version=1,
            digest=proposal.digest,
            now=provider.clock(),
        )
        assert isinstance(decided, Decided)
    ended = [drive(run, provider).state for run in (one, two)]
    assert ended == ["succeeded", "failed"]
    assert books(made) == (0, COST)
    assert sum(provider.effects.values()) == 1


def test_a_run_without_budgets_asks_the_database_nothing_about_them(provider: Provider) -> None:
    job(READ, PUT, PAY, FREE)
    run = begin(provider)
    with CaptureQueriesContext(connection) as queries:
        assert drive(run, provider).state == "succeeded"
    assert [q["sql"] for q in queries if "budgets_" in q["sql"]] == []


# --- attention -------------------------------------------------------------------------------------------------------


def test_attention_is_set_aside_and_counts_once_somebody_has_decided(
    provider: Provider, scoped: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    made = budget(Measure.REVIEWER, 10_000)
    job(PAY, state=GATED)
    run = work(provider)
    proposal = only_proposal()
    seconds = REVIEW_S[Band(proposal.risk_band)]
    sweep(scoped, provider)
    assert books(made) == (seconds, 0)
    approve(
        proposal_id=proposal.pk, actor=actor_of(bob, scoped), version=1, digest=proposal.digest, now=provider.clock()
    )
    sweep(scoped, provider)
    assert books(made) == (0, seconds)
    assert drive(run, provider).state == "succeeded"


def test_a_question_nobody_answered_gives_its_attention_back(provider: Provider, scoped: Tenant) -> None:
    made = budget(Measure.REVIEWER, 10_000, period="total")
    job(PAY, state=GATED, decide_within_s=60)
    work(provider)
    provider.clock.forward(hours=1)
    sweep(scoped, provider)  # expires the proposal
    sweep(scoped, provider)
    assert books(made) == (0, 0)


@pytest.mark.parametrize("seldom", [True, False])
def test_a_question_that_is_asked_again_takes_attention_again(
    provider: Provider, scoped: Tenant, bob: User, sam: User, actor_of: Callable[[User, Tenant], Actor], seldom: bool
) -> None:
    made = budget(Measure.REVIEWER, 10_000)
    job(PAY, state=GATED)
    run = work(provider)
    old = only_proposal()
    seconds = REVIEW_S[Band(old.risk_band)]
    ended: list[Event] = [ProposalWithdrawn(str(old.pk), old.call_id, "The run ended."), RunFailed("internal", "stuck")]
    with transaction.atomic():
        withdraw_proposals(run.pk, reason="The run ended.", now=provider.clock())
        record_outside(run.pk, ended, actor=WORKER, now=provider.clock())
    if not seldom:
        sweep(scoped, provider)
        assert books(made) == (0, 0)
    requeue_run(run_id=run.pk, actor=actor_of(sam, scoped), reason="fixed", now=provider.clock())
    sweep(scoped, provider)
    assert (books(made), state_of(run.pk).reviewer_s) == ((seconds, 0), seconds)
    new = only_proposal()
    approve(proposal_id=new.pk, actor=actor_of(bob, scoped), version=1, digest=new.digest, now=provider.clock())
    sweep(scoped, provider)
    assert books(made) == (0, seconds)
    assert drive(run, provider).state == "succeeded"


def test_people_are_not_asked_for_more_attention_than_there_is(provider: Provider, scoped: Tenant) -> None:
    budget(Measure.REVIEWER, max(REVIEW_S.values()))
    job(PAY, state=GATED)
    states = Counter(work(provider).state for _ in range(12))
    assert states["failed"] > 0
    assert states["awaiting_approval"] == Proposal.objects.filter(status="pending").count() > 0
    failed = Run.objects.filter(state="failed")
    assert {run.failure_code for run in failed} == {"budget_exceeded"}


def test_a_run_takes_only_so_much_of_peoples_attention(provider: Provider) -> None:
    two: list[JSON] = [{"tool": PAY.name, "arguments": {"n": i}} for i in range(2)]
    kind = task_type([{"id": "s", "calls": two}], {PAY.name: GATED})
    run = work(provider)
    band = Band(Proposal.objects.filter(run=run)[0].risk_band)
    kind.limits = {"reviewer_s": 2 * REVIEW_S[band] - 1}
    kind.save()
    run = work(provider)
    assert run.state == "awaiting_approval"
    assert Proposal.objects.filter(run=run).count() == 1
    [denied] = events_of(run, CallDenied)
    assert isinstance(denied, CallDenied)
    assert (denied.code, denied.rule) == ("budget_exceeded", "limit.reviewer_s")
    assert not events_of(run, RunWarned), "half of it is not most of it"


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_too_many_is_not_accepted(
    provider: Provider, alice: User, signed_in: Callable[[User], Client], scoped: Tenant
) -> None:
    kind = job(FREE)
    made = budget(Measure.RUNS, 2, task_type=kind, period="total")
    assert work(provider).state == "succeeded"
    begin(provider)
    refused = submit(task_type=kind, input={}, actor=AGENT, now=provider.clock())
    assert isinstance(refused, InvalidTask)
    assert [issue.code for issue in refused.issues] == ["budget_exceeded"]
    assert Run.objects.count() == 2
    assert books(made) == (0, 2)

    page = signed_in(alice).post("/t/acme/submit?task_type=job", {"title": ""})
    assert page.status_code == 422
    assert "does not cover it: 0 left, 1 needed" in page.content.decode()
    assert kind.runs.count() == 2
    Budget.objects.filter(pk=made.pk).update(hard=3)
    assert isinstance(submit(task_type=kind, input={}, actor=AGENT, now=provider.clock()), Run)
