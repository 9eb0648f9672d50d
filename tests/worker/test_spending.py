"""Runs that spend: what a budget does not cover is not done, and whatever dies in between, the books are right."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentops.audit.services import load as load_stream
from agentops.audit.verify import verify_tenant
from agentops.budgets.measures import Measure
from agentops.budgets.models import Budget, Reservation
from agentops.engine.events import CallDenied, CallStarted, Event, PlanFailed, RunWarned, Usage
from agentops.engine.planner import Finished, Planned, PlannerAnswer, PlannerFailed, PlanRequest
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import load
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from agentops.worker import spending
from agentops.worker.driver import Driver
from agentops.worker.sweeper import sweep_tenant
from approvals import grants
from approvals.attention import REVIEW_S
from approvals.intervention import Answered, Verdict, cancel_run, reconcile_call
from approvals.models import Grant, Proposal
from approvals.risk import Band
from approvals.services import Decided, approve
from tests.budgets.lab import books, budget, contract
from tests.shop import AGENT, Clock, only_proposal, start, task_type
from tools import executor, health
from tools.allowlist import AllowlistState
from tools.contracts import (
    CallContext,
    CannotTell,
    DidNotHappen,
    Effect,
    ErrorCode,
    Happened,
    Reconciled,
    ToolContract,
    ToolError,
)
from tools.registry import registry

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
COST = 300
READ = contract("lab.read", Effect.READ, COST)
PUT = contract("lab.put", Effect.IDEMPOTENT_WRITE, COST)
PAY = contract("lab.pay", Effect.UNSAFE_WRITE, COST)
FREE = contract("lab.free", Effect.IDEMPOTENT_WRITE, 0)
TOOLS = (READ, PUT, PAY, FREE)


class Killed(BaseException):
    """Stands for SIGKILL: nothing that handles exceptions may catch it."""


def noon() -> Clock:
    """A clock that no test moves past midnight by accident: budgets renew then."""
    return Clock((timezone.now() + timedelta(days=1)).replace(hour=9, minute=0))


@dataclass
class Provider:
    """What the tools reach, and the bill it will send."""

    clock: Clock = field(default_factory=noon)
    requests: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    before: Callable[[CallContext], None] = lambda context: None
    after: Callable[[CallContext], None] = lambda context: None
    knows: bool = True

    def handler(self, tool: str) -> Callable[[CallContext, JSONObject], JSONObject]:
        def handle(context: CallContext, arguments: JSONObject) -> JSONObject:
            self.before(context)
            self.requests[tool] += 1
            self.effects[context.idempotency_key] += 1
            self.after(context)
            return {"receipt": "ok"}

        return handle

    def look_up(self, context: CallContext, arguments: JSONObject) -> Reconciled:
        if not self.knows:
            return CannotTell("The provider keeps no record.")
        return Happened({"receipt": "ok"}) if self.effects[context.idempotency_key] else DidNotHappen()


@pytest.fixture
def provider(scoped: Tenant) -> Iterator[Provider]:
    made = Provider()
    for tool in TOOLS:
        hook = made.look_up if tool.effect is Effect.UNSAFE_WRITE else None
        registry.register(tool, made.handler(tool.name), reconcile=hook)
    yield made
    for tool in TOOLS:
        registry.remove(tool.name, tool.version)


def steps(*tools: ToolContract) -> list[JSONObject]:
    return [{"id": f"s{i}", "tool": tool.name, "arguments": {"n": i}} for i, tool in enumerate(tools)]


def job(*tools: ToolContract, state: AllowlistState = AUTO, **more: object) -> TaskType:
    return task_type(steps(*tools), {tool.name: state for tool in tools}, **more)


def begin(provider: Provider) -> Run:
    return start("job", {}, now=provider.clock())


def drive(run: Run, provider: Provider, owner: str = "w1") -> Run:
    Driver(owner, now=provider.clock).drive(run.tenant_id, run.id)
    return Run.objects.get(pk=run.pk)


def work(provider: Provider) -> Run:
    return drive(begin(provider), provider)


def events_of(run: Run, type_: type[Event]) -> list[Event]:
    return [stamped.event for stamped in load(run.id) if isinstance(stamped.event, type_)]


def sweep(tenant: Tenant, provider: Provider) -> None:
    sweep_tenant(tenant, provider.clock())


def open_purposes() -> list[str]:
    return list(Reservation.objects.filter(state="open").order_by("pk").values_list("purpose", flat=True))


# --- budgets that stop calls -----------------------------------------------------------------------------------------


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
    assert consumed["1.s1.0"] is None
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


# --- death in between ------------------------------------------------------------------------------------------------


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


# --- models ----------------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """A model planner that does what a test says, and remembers what it was asked."""

    answers: list[PlannerAnswer]
    name: str = "model:stub"
    bound: tuple[int, int] = (500, 500)
    asked: list[PlanRequest] = field(default_factory=list)
    dies: bool = False

    def most(self, request: PlanRequest) -> tuple[int, int]:
        return self.bound

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        self.asked.append(request)
        if self.dies:
            raise Killed
        return self.answers.pop(0)


def plan(n: int) -> JSON:
    return {"steps": [{"id": f"p{n}", "tool": FREE.name, "arguments": {"n": n}}]}


@pytest.fixture
def reactive(provider: Provider, settings: object) -> TaskType:
    settings.AGENTOPS_MODEL = "stub"  # type: ignore[attr-defined]
    kind = job(FREE)
    kind.planner, kind.planning = "model", "reactive"
    kind.save()
    return kind


def ask(run: Run, provider: Provider, model: Model, owner: str = "w1") -> Run:
    Driver(owner, now=provider.clock, planners=lambda run, state: model).drive(run.tenant_id, run.id)
    return Run.objects.get(pk=run.pk)


def test_a_model_request_is_set_aside_at_its_most_and_settled_with_its_usage(
    provider: Provider, reactive: TaskType
) -> None:
    tokens, cost = budget(Measure.TOKENS, 10_000), budget(Measure.COST, 10**9)
    calls = budget(Measure.MODEL_CALLS, 10)
    model = Model([Planned(plan(1), Usage(1, 300, 50, 700)), Finished("done", Usage(1, 400, 20, 800))])
    run = ask(begin(provider), provider, model)
    assert run.state == "succeeded"
    assert (books(tokens), books(cost), books(calls)) == ((0, 770), (0, 1500), (0, 2))
    assert open_purposes() == []


def test_a_model_is_not_asked_when_the_budget_does_not_cover_the_most_it_can_use(
    provider: Provider, reactive: TaskType
) -> None:
    made = budget(Measure.TOKENS, 1700)
    model = Model([Planned(plan(1), Usage(1, 600, 200))])
    run = ask(begin(provider), provider, model)
    assert (run.state, run.failure_code) == ("failed", "budget_exceeded")
    assert len(model.asked) == 1
    [failed] = events_of(run, PlanFailed)
    assert isinstance(failed, PlanFailed)
    assert failed.usage is None
    assert "900 left, 1,000 needed" in run.failure_message
    assert books(made) == (0, 800)


@pytest.mark.parametrize(
    ("limits", "code"), [({"tokens": 1500}, "limit_tokens"), ({"cost_micros": 400_000}, "limit_cost")]
)
def test_a_run_never_uses_more_than_its_own_limits(
    provider: Provider, reactive: TaskType, limits: dict[str, int], code: str
) -> None:
    reactive.limits = limits
    reactive.save()
    model = Model([Planned(plan(i), Usage(1, 300, 300, 100_000)) for i in range(1, 9)])
    run = ask(begin(provider), provider, model)
    assert run.failure_code == code
    assert len(model.asked) == 1, "the second could use up to 1,000 tokens or USD 0.375"
    assert not Reservation.objects.exists()


def test_a_request_that_timed_out_counts_in_full_and_one_that_was_never_sent_not_at_all(
    provider: Provider, reactive: TaskType
) -> None:
    made = budget(Measure.TOKENS, 10_000)
    late = PlannerFailed("model_timeout", "The model did not answer in time.", usage=Usage(1))
    assert ask(begin(provider), provider, Model([late])).failure_code == "model_timeout"
    assert books(made) == (0, 1000)
    unsent = PlannerFailed("model_not_configured", "no key")
    assert ask(begin(provider), provider, Model([unsent])).failure_code == "model_not_configured"
    assert books(made) == (0, 1000)


def test_a_worker_that_dies_while_a_model_answers_is_charged_for_both_requests(
    provider: Provider, reactive: TaskType, scoped: Tenant
) -> None:
    made = budget(Measure.TOKENS, 10_000)
    run = begin(provider)
    with pytest.raises(Killed):
        ask(run, provider, Model([], dies=True))
    assert books(made) == (1000, 0)
    provider.clock.forward(minutes=5)
    assert ask(run, provider, Model([Finished("done", Usage(1, 10, 10))]), "w2").state == "succeeded"
    sweep(scoped, provider)
    assert books(made) == (0, 1020)


def test_an_answer_that_was_recorded_settles_what_a_dead_worker_could_not(
    provider: Provider, reactive: TaskType, scoped: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = budget(Measure.TOKENS, 10_000)
    run = begin(provider)
    monkeypatch.setattr(spending, "after_plan", lambda *args, **more: None)
    ask(run, provider, Model([Finished("done", Usage(1, 10, 10))]))
    monkeypatch.undo()
    assert books(made) == (1000, 0)
    provider.clock.forward(minutes=5)
    sweep(scoped, provider)
    assert books(made) == (0, 20)


def test_without_a_price_the_estimate_is_above_every_price_there_is() -> None:
    tokens, cost = spending.unknown_price("nobody-knows", 1000, 100)
    assert tokens == 1100
    assert cost == 1000 * 150 + 100 * 600


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
