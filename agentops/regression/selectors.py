"""Read runs, cases and results for commands and pages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Q
from django.urls import reverse

from agentops import clock
from agentops.regression.models import UNDER_WAY, Case, CaseResult, Rehearsal, RehearsalState, Rules, SuiteRun
from agentops.regression.rules import as_they_are, differences
from agentops.runs.models import Run, TaskType
from agentops.tenancy.models import Tenant

TREND: Final = 12
"""Results that a trend shows."""

SUITES: Final = 100
"""Suites on one page."""
CHOICES: Final = 50
"""Runs of a suite that one can be compared with."""

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
    in_quarantine: tuple[Case, ...] = ()
    under_way: Rehearsal | None = None
    """What somebody has asked for and has not ended."""
    last: Rehearsal | None = None
    """The newest one that did not end with a result."""
    rules: tuple[Rules, ...] = ()
    """What its cases are decided by; several where they were promoted under different ones."""
    loose: int = 0
    """Cases that are decided by the rules of the day."""
    rules_changed: tuple[str, ...] = ()
    """What of these is not what is in force now, in sentences."""

    @property
    def trend(self) -> tuple[SuiteRun, ...]:
        """Its runs, the oldest first."""
        return self.runs[::-1]

    @property
    def newest(self) -> SuiteRun | None:
        """The run whose verdict counts."""
        return self.runs[0] if self.runs else None


def suites(now: datetime) -> list[SuiteRow]:
    """Return every suite of the open tenant scope that has a case or a result. Four queries, and some for each."""
    counts: dict[str, tuple[int, int]] = {
        row["suite"]: (row["cases"], row["resting"])
        for row in Case.objects.filter(retired_at__isnull=True)
        .values("suite")
        .annotate(cases=Count("pk"), resting=Count("pk", filter=Q(quarantined_until__gt=now)))
    }
    names = sorted({*counts, *SuiteRun.objects.values_list("suite", flat=True).distinct()})
    kinds = {kind.slug: kind for kind in TaskType.objects.all()}
    under_way = {one.suite: one for one in Rehearsal.objects.filter(state__in=UNDER_WAY).select_related("asked_by")}
    return [_suite(name, counts.get(name, (0, 0)), under_way.get(name), kinds, now) for name in names[:SUITES]]


def _suite(
    name: str, counts: tuple[int, int], under_way: Rehearsal | None, kinds: Mapping[str, TaskType], now: datetime
) -> SuiteRow:
    active = Case.objects.filter(suite=name, retired_at__isnull=True)
    rules = list(Rules.objects.filter(pk__in=active.values("rules")).order_by("-made_at"))
    last = Rehearsal.objects.filter(suite=name).exclude(state__in=UNDER_WAY).order_by("-asked_at").first()
    changed: dict[str, None] = {}
    for one in rules:
        if one.task_type in kinds:
            changed |= dict.fromkeys(differences(one, as_they_are(kinds[one.task_type], now)))
    return SuiteRow(
        name,
        *counts,
        tuple(SuiteRun.objects.filter(suite=name).order_by("-started_at", "-id")[:TREND]),
        tuple(active.only("pk", "tenant_id", "title", "slug").order_by("-created_at", "-pk")[:CASES]),
        tuple(active.filter(quarantined_until__gt=now).order_by("quarantined_until", "pk")[:CASES]),
        under_way,
        last if last is not None and last.state in (RehearsalState.CANCELLED, RehearsalState.FAILED) else None,
        tuple(rules),
        active.filter(rules__isnull=True).count() if counts[0] else 0,
        tuple(changed),
    )


def rules_changed(case: Case) -> list[str]:
    """Say what of the rules that a case is decided by is not what is in force now. Four queries."""
    kind = TaskType.objects.filter(slug=case.task_type).first()
    if kind is None or case.rules is None:
        return []
    return differences(case.rules, as_they_are(kind, clock.now()))


@dataclass(frozen=True, slots=True)
class Pair:
    """One case in two runs of its suite. `change` is one of worse, better, flaky, new, gone, same."""

    slug: str
    title: str
    url: str
    before: CaseResult | None
    after: CaseResult | None
    change: str


_ORDER: Final = ("worse", "flaky", "better", "new", "gone", "same")


def pairs(before: SuiteRun, after: SuiteRun) -> list[Pair]:
    """Return every case that either run has, those that got worse first. Three queries."""
    was, now = (
        {one.slug: one for one in CaseResult.objects.filter(suite_run=run).defer("record")} for run in (before, after)
    )
    urls = case_urls(after.suite)
    found = [
        Pair(
            slug,
            (now.get(slug) or was[slug]).title,
            urls.get(slug, ""),
            was.get(slug),
            now.get(slug),
            _change(was.get(slug), now.get(slug)),
        )
        for slug in sorted({*was, *now})
    ]
    return sorted(found, key=lambda one: (_ORDER.index(one.change), one.slug))


def _change(before: CaseResult | None, after: CaseResult | None) -> str:
    if before is None:
        return "new"
    if after is None:
        return "gone"
    was, now = before.passes == before.trials, after.passes == after.trials
    if was and not now:
        return "flaky" if after.passes else "worse"
    return "better" if now and not was else "same"


def estimates_of(before: SuiteRun, after: SuiteRun) -> list[tuple[str, Any, Any]]:
    """Return pass^k of two runs for every k that either has: (k, before, after), None where it cannot be said."""
    was, now = (run.summary.get("pass_hat", {}) for run in (before, after))
    return [(k, was.get(k), now.get(k)) for k in sorted({*was, *now}, key=int)]


def earlier_than(run: SuiteRun) -> SuiteRun | None:
    """Return what a run of a suite is compared with: its baseline, else the newest one before it."""
    if run.baseline_id is not None:
        return run.baseline
    earlier = SuiteRun.objects.filter(suite=run.suite, started_at__lt=run.started_at)
    return earlier.order_by("-started_at", "-pk").first()


def case_urls(suite: str) -> dict[str, str]:
    """Return the addresses of the pages of a suite's cases, by slug. One query."""
    rows = Case.objects.filter(suite=suite).values_list("slug", "pk")
    return {slug: reverse("run_case", args=[pk]) for slug, pk in rows}


def history_of(case: Case) -> Sequence[CaseResult]:
    """Return how a case came out lately, the newest first. One query."""
    rows = CaseResult.objects.filter(suite_run__suite=case.suite, slug=case.slug).select_related("suite_run")
    return list(rows.defer("record").order_by("-suite_run__started_at", "-pk")[:TREND])
