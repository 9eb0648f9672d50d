"""What models use: set aside at its most, settled with what it was, never beyond a limit."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from agentops.budgets.measures import Measure
from agentops.budgets.models import Reservation
from agentops.engine.events import PlanFailed, Usage
from agentops.engine.planner import Finished, Planned, PlannerAnswer, PlannerFailed, PlanRequest
from agentops.providers.models import ModelPrice
from agentops.providers.prices import Estimate
from agentops.runs.models import Run, TaskType
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON
from agentops.worker import spending
from agentops.worker.driver import Driver
from tests.budgets.lab import books, budget
from tests.worker.paid import (
    FREE,
    Killed,
    Provider,
    begin,
    events_of,
    job,
    open_purposes,
    sweep,
)


@dataclass
class Model:
    """A model planner that does what a test says, and remembers what it was asked."""

    answers: list[PlannerAnswer]
    name: str = "model:stub"
    bound: tuple[int, int] = (500, 500)
    asked: list[PlanRequest] = field(default_factory=list)
    dies: bool = False

    def estimate(self, request: PlanRequest, *, at: datetime) -> Estimate:
        return Estimate(*spending.unknown_price(*self.bound))

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
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"  # type: ignore[attr-defined]
    kind = job(FREE)
    kind.planner, kind.planning = "model", "reactive"
    kind.save()
    ModelPrice.objects.create(
        pattern="stub", input_micros=150_000_000, output_micros=600_000_000, valid_from=datetime(2026, 1, 1, tzinfo=UTC)
    )
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
    tokens, cost = spending.unknown_price(1000, 100)
    assert tokens == 1100
    assert cost == 1000 * 150 + 100 * 600
