"""What a run used of its limits, and what is left of the budgets it spends from, on its page."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.budgets.measures import Measure
from agentops.engine.events import RunWarned, Usage
from agentops.engine.limits import Limits
from agentops.engine.state import State
from agentops.runs.recording import record_outside
from agentops.runs.usage import usage_rows
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from approvals.stopping.intervention import cancel_run
from tests.budgets.lab import NOW, budget, hold
from tests.replaying import by_hand
from tests.shop import drive, open_shop, start

SignedIn = Callable[[User], Client]


@pytest.fixture
def desk(signed_in: SignedIn, bob: User, scoped: Tenant) -> Client:
    open_shop(scoped)
    return signed_in(bob)


def test_every_limit_is_shown_with_what_is_used_and_the_share() -> None:
    state = State(
        limits=Limits(tokens=1000, cost_micros=2_000_000, reviewer_s=600, steps=10),
        usage=Usage(3, 700, 150, 1_000_000),
        tool_cost_micros=500_000,
        reviewer_s=125,
        steps_used=2,
    )
    rows = {row.name: row for row in usage_rows(state)}
    assert (rows["Tokens"].used_text, rows["Tokens"].limit_text, rows["Tokens"].share) == ("850", "1,000", 85)
    assert rows["Tokens"].near
    assert (rows["Cost"].used_text, rows["Cost"].limit_text, rows["Cost"].near) == ("USD 1.50", "USD 2.00", False)
    assert (rows["Reviewers' time"].used_text, rows["Reviewers' time"].share) == ("2 min 5 s", 20)
    assert (rows["Steps"].share, rows["Calls"].share) == (20, None)


def test_what_is_neither_limited_nor_used_is_not_shown() -> None:
    names = [row.name for row in usage_rows(State())]
    assert names == ["Steps", "Plans", "Model calls", "Time at work", "Calls", "Denied calls"]
    assert "Tokens" in [row.name for row in usage_rows(State(usage=Usage(1, 5, 5)))]


def test_a_limit_of_a_million_times_too_much_still_fits_on_the_page() -> None:
    [row] = [row for row in usage_rows(State(limits=Limits(tokens=1), usage=Usage(1, 10**9))) if row.name == "Tokens"]
    assert row.share == 999


def test_the_page_shows_limits_and_warns_of_a_budget_that_is_nearly_used_up(desk: Client) -> None:
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    path = f"/t/acme/runs/{run.pk}"
    assert "a budget" not in desk.get(path).content.decode().lower()
    now = timezone.now()
    budget(Measure.TOKENS, 100, soft=50)
    budget(Measure.MODEL_CALLS, 1, period="total")
    budget(Measure.COST, 100, task_type=run.task_type)
    hold(run, "a", now, tokens=60)
    text = desk.get(path).content.decode()
    assert "A budget is nearly used up" in text
    assert "60 of 100, 60 %, 60 of it set aside" in text
    assert "A budget is used up" not in text
    hold(run, "b", now, model_calls=1)
    text = desk.get(path).content.decode()
    assert "A budget is used up" in text
    assert "It does not renew." in text
    assert "%</span><meter" in text


def test_a_run_that_has_ended_says_nothing_about_budgets_any_more(desk: Client) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-9999", "amount_minor": 1, "reason": "x"}).id)
    budget(Measure.TOKENS, 1, soft=1)
    hold(run, "a", NOW, tokens=1)
    if run.state not in ("failed", "succeeded"):
        cancel_run(run_id=run.pk, actor=SYSTEM)
    assert "budget is" not in desk.get(f"/t/acme/runs/{run.pk}").content.decode()


def test_a_warning_stands_in_the_timeline(desk: Client) -> None:
    run = start("support-email", {"message_id": "M-0001"})
    by_hand(run.pk)
    record_outside(run.pk, [RunWarned("cost_micros", 800_000, 1_000_000)], actor=SYSTEM, now=run.created_at)
    assert "Near its limit: Cost, USD 0.80 of USD 1.00" in desk.get(f"/t/acme/runs/{run.pk}").content.decode()
