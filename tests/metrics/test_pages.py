"""The dashboard says what the cells say, every point opens its rows, and nobody sees more than they may."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.budgets.models import Account, Budget
from agentops.metrics.cells import Kind
from agentops.metrics.dashboard import WINDOWS, Cells, Counts, load_cells
from agentops.metrics.models import RunFact
from agentops.metrics.panels import Panels, false_alarms
from agentops.runs.models import TaskType
from agentops.tenancy.scope import tenant_scope
from tests.conftest import person
from tests.metrics.conftest import Week

Signed = Callable[[User], Client]


def page(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(f"/t/acme/{path}")
    assert answer.status_code == status, answer.content.decode()[:500]
    return answer.content.decode()


def test_the_dashboard_shows_figures_with_their_denominators(week: Week, bob: User, signed_in: Signed) -> None:
    text = page(signed_in(bob), "metrics?window=28d")
    with tenant_scope(week.tenant):
        counts = load_cells(WINDOWS["28d"], "", timezone.now()).now(Kind.RUN)
    assert counts["ended"] > 20
    assert f"{counts['ended']:,} runs" in text
    for title in ("Task success", "Human override", "Cost per completed task", "Tool errors", "Gate yield", "Drift"):
        assert title in text
    assert "playbook:support@1" in text
    assert "style=" not in text


def test_every_point_opens_exactly_its_runs(week: Week, bob: User, signed_in: Signed) -> None:
    client = signed_in(bob)
    text = page(client, "metrics?window=7d")
    section = text[text.index('id="success-title"') :]
    rows = re.findall(
        r'<tr><th scope="row"><a href="([^"]+)">[^<]+</a></th>(.*?)</tr>', section[: section.index("</section>")]
    )
    assert len(rows) == 7
    seen = 0
    for url, cells in rows:
        n = int(re.findall(r"<td[^>]*>([^<]*)</td>", cells)[1])
        answer = client.get(unescape(url))
        assert answer.status_code == 200
        assert len(answer.context["facts"]) == min(n, 50), url
        seen += n
    assert seen > 20


def test_the_rows_go_on_on_the_next_page(week: Week, bob: User, signed_in: Signed) -> None:
    client = signed_in(bob)
    first = client.get("/t/acme/metrics/runs")
    second = client.get(first.context["next_url"])
    both = [fact["id"] for answer in (first, second) for fact in answer.context["facts"]]
    with tenant_scope(week.tenant):
        wanted = RunFact.objects.filter(ended_at__isnull=False, counted=True).count()
    assert len(both) == len(set(both)) == wanted


def test_few_statements_make_the_page(
    week: Week, bob: User, signed_in: Signed, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(bob)
    page(client, "metrics")
    with django_assert_max_num_queries(16):
        page(client, "metrics?window=28d&task_type=support")
    with django_assert_max_num_queries(10):
        page(client, "metrics/runs?task_type=support&outcome=failed")


@pytest.mark.parametrize(
    "query",
    ["window=9y", "task_type=%3Cscript%3E", "window=7d&task_type=" + "x" * 65],
)
def test_a_bad_filter_is_said(acme: Any, bob: User, signed_in: Signed, query: str) -> None:
    page(signed_in(bob), f"metrics?{query}", 400)


@pytest.mark.parametrize(
    "query", ["since=yesterday", "before=x~y", "outcome=great", "until=2026-01-01T00:00", "only=all"]
)
def test_a_damaged_address_of_rows_is_said(acme: Any, bob: User, signed_in: Signed, query: str) -> None:
    assert "cannot be read" in page(signed_in(bob), f"metrics/runs?{query}", 400)


def test_a_tenant_without_runs_says_so(acme: Any, bob: User, signed_in: Signed) -> None:
    text = page(signed_in(bob), "metrics")
    assert "No run has ended in this time." in text
    assert "0 of 0" in text


def test_another_tenant_sees_nothing_of_it(week: Week, charlie: User, signed_in: Signed) -> None:
    assert signed_in(charlie).get("/t/acme/metrics").status_code == 404
    text = signed_in(charlie).get("/t/globex/metrics").content.decode()
    assert "playbook:support@1" not in text


def test_the_rail_leads_there(week: Week, signed_in: Signed) -> None:
    viewer = person("vera", week.tenant, "viewer")
    text = page(signed_in(viewer), "runs")
    assert 'href="/t/acme/metrics"' in text
    assert 'href="/t/acme/budgets"' in text


def test_budgets_show_what_is_spent_set_aside_and_projected(week: Week, bob: User, signed_in: Signed) -> None:
    with tenant_scope(week.tenant):
        row = Budget.objects.create(measure="cost_micros", period="total", hard=10_000_000, soft=8_000_000)
        Account.objects.create(budget=row, period_start="1970-01-01T00:00:00Z", spent=8_500_000, reserved=250_000)
        monthly = Budget.objects.create(measure="reviewer_s", period="day", hard=3600)
        Budget.objects.filter(pk=monthly.pk).update(created_at=timezone.now() - timedelta(days=9))
    text = page(signed_in(bob), "budgets")
    for words in (
        "USD 8.50",
        "USD 0.25",
        "USD 10.00",
        "87 %",
        "near its limit",
        "it has no end",
        "60 min",
        "Time at work",
    ):
        assert words in text, words
    with tenant_scope(week.tenant):
        tokens = sum(
            counts.get("tokens", 0)
            for counts in load_cells(WINDOWS["28d"], "", timezone.now()).by_task_type(Kind.RUN).values()
        )
    if timezone.now().day > 6:
        assert f"{tokens:,}" in text


def test_pages_call_a_task_type_by_its_name(week: Week, bob: User, signed_in: Signed) -> None:
    with tenant_scope(week.tenant):
        TaskType.objects.create(slug="support", name="Letters of customers", input_schema={})
    client = signed_in(bob)
    text = page(client, "metrics?window=28d")
    assert re.search(r'<option value="support"[^>]*>Letters of customers</option>', text)
    assert re.search(r'<a href="[^"]*task_type=support[^"]*">Letters of customers</a>', text)
    assert "Letters of customers: failures" in text
    assert "Letters of customers <span" in page(client, "metrics/runs")
    if timezone.now().day > 6:
        assert "Letters of customers" in page(client, "budgets")


def test_without_budgets_the_page_says_what_can_be_limited(acme: Any, bob: User, signed_in: Signed) -> None:
    assert "Nothing is limited." in page(signed_in(bob), "budgets")


@pytest.mark.urls("agentops.tenant_urls")
def test_a_kind_of_task_without_a_criterion_has_no_success() -> None:
    now = timezone.now()
    runs: dict[str, Counts] = {"checked": {"ended": 3, "verified": 1}, "unchecked": {"ended": 3, "unchecked": 3}}
    cells = Cells(WINDOWS["7d"], now, [(now, Kind.RUN, name, "", counts) for name, counts in runs.items()])
    rows = Panels(cells, "", now, [], {"checked": "Letters"}).by_task_type()
    assert [(row["name"], row["unchecked"]) for row in rows] == [("Letters", False), ("unchecked", True)]
    assert "task_type=checked" in rows[0]["url"]


@pytest.mark.parametrize(
    ("runs_a_day", "words"),
    [
        (0.0, "about once in 20,000 runs of a task type"),
        (1.25, "about once in 20,000 runs, at the present pace every 44 years"),
        (200.0, "about once in 20,000 runs, at the present pace every 3 months"),
        (1_000.0, "about once in 20,000 runs, at the present pace every 20 days"),
        (40_000.0, "about once in 20,000 runs, at the present pace every day"),
    ],
)
def test_how_often_an_alarm_is_false_is_said_in_runs_and_days(runs_a_day: float, words: str) -> None:
    assert false_alarms(1, runs_a_day) == words
