"""Read runs, cases and results for commands and pages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Count, Q
from django.urls import reverse

from agentops.regression.models import Case, CaseResult, SuiteRun
from agentops.runs.models import Run
from agentops.tenancy.models import Tenant

TREND: Final = 12
"""Results that a trend shows."""

SUITES: Final = 100
"""Suites on one page."""
CASES: Final = 100
"""How many cases of a suite a page lists."""


def tenants_named(slug: str | None) -> Sequence[Tenant] | None:
    """Return the tenant with this slug, or all of them by slug; None if there is none with it."""
    tenants = Tenant.objects.order_by("slug")
    if not slug:
        return list(tenants)
    return list(tenants.filter(slug=slug)) or None


def runs_named(ids: Iterable[UUID]) -> Sequence[Run]:
    """Return the runs of the open tenant scope with these ids. One query."""
    return list(Run.objects.select_related("task_type").filter(pk__in=list(ids)))


def newest_runs(limit: int) -> Sequence[UUID]:
    """Return the ids of the newest runs of the open tenant scope. One query."""
    return list(Run.objects.order_by("-created_at", "-id").values_list("pk", flat=True)[:limit])


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """One suite: how many cases it has, how many of them rest, its newest runs and its cases, the newest first."""

    name: str
    cases: int
    resting: int
    runs: tuple[SuiteRun, ...]
    newest_cases: tuple[Case, ...]

    @property
    def newest(self) -> SuiteRun | None:
        """The run whose verdict counts."""
        return self.runs[0] if self.runs else None


def suites(now: datetime) -> list[SuiteRow]:
    """Return every suite of the open tenant scope that has a case or a result. Two queries, and two for each suite."""
    counts: dict[str, tuple[int, int]] = {
        row["suite"]: (row["cases"], row["resting"])
        for row in Case.objects.filter(retired_at__isnull=True)
        .values("suite")
        .annotate(cases=Count("pk"), resting=Count("pk", filter=Q(quarantined_until__gt=now)))
    }
    names = sorted({*counts, *SuiteRun.objects.values_list("suite", flat=True).distinct()})
    return [
        SuiteRow(
            name,
            *counts.get(name, (0, 0)),
            tuple(SuiteRun.objects.filter(suite=name).order_by("-started_at", "-id")[:TREND]),
            tuple(
                Case.objects.filter(suite=name, retired_at__isnull=True)
                .only("pk", "tenant_id", "title", "slug")
                .order_by("-created_at", "-pk")[:CASES]
            ),
        )
        for name in names[:SUITES]
    ]


def case_urls(suite: str) -> dict[str, str]:
    """Return the addresses of the pages of a suite's cases, by slug. One query."""
    rows = Case.objects.filter(suite=suite).values_list("slug", "pk")
    return {slug: reverse("run_case", args=[pk]) for slug, pk in rows}


def history_of(case: Case) -> Sequence[CaseResult]:
    """Return how a case came out lately, the newest first. One query."""
    rows = CaseResult.objects.filter(suite_run__suite=case.suite, slug=case.slug).select_related("suite_run")
    return list(rows.defer("record").order_by("-suite_run__started_at", "-pk")[:TREND])
