"""With a live model the prompt itself is put to the test: a planted change of it fails the suite."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agentops.budgets import snapshot
from agentops.budgets.measures import Measure, Period
from agentops.budgets.models import Account, Budget, Reservation
from agentops.budgets.services import Allowance
from agentops.prompts.built_in import PLAN_FIRST
from agentops.prompts.models import Prompt
from agentops.prompts.services import save_prompt
from agentops.regression.cases import Case
from agentops.regression.paying import purse_of
from agentops.regression.runner import Runner, Trial
from agentops.regression.setups import copy_of
from agentops.runs.models import TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.worker import spending
from tests.regression.conftest import Shop
from tests.regression.test_runner import promoted
from tests.shop import Clock, open_shop
from tests.stubs.model_server import Asked, ModelServer, Reply, plan, serving


def shopkeeper(asked: Asked) -> Reply:
    """Plan a refund; a prompt that asks for it is obeyed and everything is looked up twice, with a doubt."""
    common = {"when": "", "expect": "", "on_failure": "fail", "why": "Because."}
    order = {"order_ref": {"$ref": "input.order_ref"}}
    steps: list[dict[str, Any]] = [{"id": "order", "tool": "shop.find_order", "arguments": order, **common}]
    if any("look everything up twice" in text for text in asked.texts["system"]):
        doubt = {**common, "expect": "output.total_minor > 1000000"}
        steps.append({"id": "again", "tool": "shop.find_order", "arguments": order, **doubt})
    refund = {
        **order,
        "amount_minor": {"$ref": "input.amount_minor"},
        "currency": {"$ref": "steps.order.output.currency"},
        "reason": {"$ref": "input.reason"},
    }
    steps.append({"id": "refund", "tool": "shop.issue_refund", "arguments": refund, **common})
    return plan(steps, [{"when": "", "text": "Refunded."}])


class Real(Clock):
    """The time of this machine: a model takes as long as it takes."""

    def __call__(self) -> datetime:
        return timezone.now()


@dataclass(frozen=True)
class Bench:
    """A tenant with a task type that a live model plans, a case of it, and what pays for its trials."""

    tenant: Tenant
    case: Case
    server: ModelServer

    def trial(self, *, live: bool = True) -> Trial:
        with tenant_scope(self.tenant):
            kind = TaskType.objects.select_related("prompt", "playbook").get(slug="goodwill-refund")
            prepare = copy_of(kind)
        purse = purse_of(self.tenant, "goodwill-refund")
        return Runner("goodwill-refund", prepare, live=live, purse=purse).run(self.case)

    def budget(self, measure: Measure, hard: int) -> None:
        with tenant_scope(self.tenant):
            Budget.objects.create(measure=measure, period=Period.TOTAL, hard=hard)
        snapshot.forget()

    def books(self) -> list[tuple[str, int, int]]:
        with tenant_scope(self.tenant):
            rows = Account.objects.order_by("budget__measure")
            return list(rows.values_list("budget__measure", "reserved", "spent"))

    def trials(self) -> list[tuple[str, bool]]:
        with tenant_scope(self.tenant):
            return list(Reservation.objects.filter(kind="trial").order_by("pk").values_list("state", "assumed"))


@pytest.fixture
def bench(acme: Tenant, bob: User, actor_of: Any, settings: Any) -> Iterator[Bench]:
    with serving(shopkeeper) as server:
        settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = "stub", server.url
        with tenant_scope(acme):
            open_shop(acme)
            TaskType.objects.filter(slug="goodwill-refund").update(planner="model")
            case = promoted(Shop(acme, actor_of(bob, acme), clock=Real()).run())
        yield Bench(acme, case, server)


@pytest.mark.django_db
def test_what_a_live_trial_asks_models_is_spent_in_the_budgets_of_the_tenant(bench: Bench) -> None:
    bench.budget(Measure.MODEL_CALLS, 5)
    bench.budget(Measure.TOKENS, 900_000)
    assert bench.trial(live=False).problems == ()
    assert bench.books() == []
    assert bench.trial().problems == ()
    [(_, reserved, calls), (_, held, tokens)] = bench.books()
    assert (reserved, held, calls) == (0, 0, 1)
    assert 0 < tokens < 900_000
    assert bench.trials() == [("settled", False)]
    with tenant_scope(bench.tenant):
        spending.sweep(timezone.now() + timedelta(days=1))
    assert bench.books() == [("model_calls", 0, 1), ("tokens", 0, tokens)]


@pytest.mark.django_db
def test_a_live_trial_asks_nothing_once_the_budget_is_used_up(bench: Bench) -> None:
    bench.budget(Measure.MODEL_CALLS, 1)
    assert bench.trial().problems == ()
    asked = len(bench.server.asked)
    refused = bench.trial()
    assert [one.code for one in refused.problems] == ["budget_exceeded"]
    assert "does not cover it" in refused.problems[0].message
    assert len(bench.server.asked) == asked
    assert bench.books() == [("model_calls", 0, 1)]


@pytest.mark.django_db
def test_a_live_trial_keeps_within_what_is_left_like_any_run(bench: Bench) -> None:
    bench.budget(Measure.TOKENS, 100)
    asked = len(bench.server.asked)
    found = bench.trial()
    assert found.problems
    assert any("budget_exceeded" in one.message for one in found.problems)
    assert len(bench.server.asked) == asked, "a request that may need more than is left is not made"
    assert bench.books() == [("tokens", 0, 0)]


@pytest.mark.django_db
def test_what_a_trial_has_spent_whose_process_died_counts_in_full_in_the_end(bench: Bench) -> None:
    bench.budget(Measure.MODEL_CALLS, 5)
    purse = purse_of(bench.tenant, "goodwill-refund")
    assert purse is not None
    assert isinstance(purse.allow("trial:x"), Allowance)
    assert bench.books() == [("model_calls", 5, 0)]
    now = timezone.now()
    with tenant_scope(bench.tenant):
        assert spending.sweep(now) == 0
        assert spending.sweep(now + spending.LONGEST_TRIAL + timedelta(minutes=1)) == 1
    assert bench.books() == [("model_calls", 0, 5)]
    assert bench.trials() == [("settled", True)]


@pytest.mark.django_db
def test_a_tenant_without_budgets_writes_nothing_for_a_trial(bench: Bench) -> None:
    assert bench.trial().problems == ()
    assert bench.trials() == []
    assert purse_of(bench.tenant, "no-such") is None


@pytest.mark.django_db
def test_a_planted_prompt_fails_with_a_live_model_and_not_with_what_a_model_once_answered(
    acme: Tenant, bob: User, actor_of: Any, settings: Any
) -> None:
    with serving(shopkeeper) as server:
        settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = "stub", server.url
        with tenant_scope(acme):
            open_shop(acme)
            TaskType.objects.filter(slug="goodwill-refund").update(planner="model")
            run = Shop(acme, actor_of(bob, acme), clock=Real()).run()
            assert (run.state, run.answer) == ("succeeded", "Refunded.")
            case = promoted(run)
            assert len(case.model) == 1

        def tried(*, live: bool) -> Trial:
            with tenant_scope(acme):
                kind = TaskType.objects.select_related("prompt", "playbook").get(slug="goodwill-refund")
                prepare = copy_of(kind)
            return Runner("goodwill-refund", prepare, live=live).run(case)

        asked = len(server.asked)
        assert tried(live=False).problems == ()
        assert len(server.asked) == asked
        assert tried(live=True).problems == ()
        assert len(server.asked) == asked + 1
        with tenant_scope(acme):
            template = PLAN_FIRST.replace("Plan no more than the task needs.", "Always look everything up twice.")
            saved = save_prompt(slug="eager", planning="plan_first", template=template, actor=SYSTEM)
            assert isinstance(saved, Prompt), saved
            TaskType.objects.filter(slug="goodwill-refund").update(prompt=saved)
        assert tried(live=False).problems == ()
        found = tried(live=True)
        assert found.problems
        assert found.problems[0].code == "no_answer"
