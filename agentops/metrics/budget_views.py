"""The page of budgets: what may be spent, what was, what is set aside, and where it is going."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agentops.budgets.measures import Period, duration_text, period_start
from agentops.budgets.selectors import standings
from agentops.metrics.cells import Grain, Kind
from agentops.metrics.dashboard import names
from agentops.metrics.models import Rollup
from agentops.metrics.panels import runs_url
from agentops.metrics.statistics import added
from agentops.runs.pages import unstored
from agentops.tenancy.access import require
from agentops.tenancy.requests import TenantRequest
from agentops.wire.money import format_micros


@require_safe
@require("metrics.view")
def budgets(request: TenantRequest) -> HttpResponse:
    """Show every budget, and what the runs that ended this month have used, limited or not.

    Context of `metrics/budgets.html`: `standings` [budgets.selectors.Standing], `used` [{name, url, cells [(title,
    text)]}] by task type, `total` the same over all, `month` its first moment.
    """
    now = timezone.now()
    month = period_start(Period.MONTH, now)
    rows = Rollup.objects.filter(grain=Grain.DAY, kind=Kind.RUN, start__gte=month, start__lte=now)
    by_type: dict[str, list[dict[str, int]]] = {}
    for task_type, counts in rows.values_list("task_type", "counts"):
        by_type.setdefault(task_type, []).append(counts)
    called = names() if by_type else {}
    used = [
        {
            "name": called.get(slug, slug),
            "url": runs_url(slug, since=month.isoformat()),
            "cells": used_cells(added(parts)),
        }
        for slug, parts in sorted(by_type.items())
    ]
    context: dict[str, Any] = {
        "standings": standings(now),
        "used": used,
        "total": used_cells(added(one for parts in by_type.values() for one in parts)),
        "month": month,
    }
    return unstored(render(request, "metrics/budgets.html", context))


def used_cells(counts: dict[str, int]) -> list[tuple[str, str]]:
    """Return what runs have used: title and amount."""
    money = counts.get("model_micros", 0) + counts.get("tool_micros", 0)
    return [
        ("Runs", f"{counts.get('all_runs', 0):,}"),
        ("Money", format_micros(money)),
        ("Tokens", f"{counts.get('tokens', 0):,}"),
        ("Steps", f"{counts.get('all_steps', 0):,}"),
        ("Time at work", duration_text(counts.get("wall_ms", 0) // 1000)),
        ("Reviewers", duration_text(counts.get("reviewer_s", 0))),
    ]
