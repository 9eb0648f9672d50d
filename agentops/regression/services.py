"""Change what a tenant's suites are, and keep what they have shown. Every change writes its event with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from agentops import clock
from agentops.audit.removals import removal_of, words_of
from agentops.audit.services import record_in_tenant_stream
from agentops.regression.cases import BadCases
from agentops.regression.cases import Case as WrittenCase
from agentops.regression.models import Case, CaseResult, CaseSource, SuiteRun, Verdict
from agentops.regression.promoting import NotPromotable, case_of_rejection, case_of_run, slug_of
from agentops.regression.rules import of_now, told
from agentops.regression.statistics import Outcome
from agentops.regression.suites import Shown
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import load, stream_of
from agentops.tenancy.access import Actor, demand
from agentops.wire.parse import JSON, JSONObject, clean_text
from approvals.models import Proposal

MAX_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class Promoted:
    """The case, and whether it is a new one: promoting the same thing twice is one case."""

    case: Case
    new: bool


def promote_run(*, run: Run, actor: Actor, now: datetime | None = None) -> Promoted:
    """Make a case of a run that has ended, in the suite of its task type.

    Raises NotPromotable with the reason, and PermissionDenied.
    """
    demand(actor, "regression.manage")
    _still_there(run)
    slug = slug_of(run.title or run.task_type.slug, str(run.id)[-12:])
    written = case_of_run(load(run.id), case_id=slug, title=run.title or run.task_type.name)
    return _keep(written, run, CaseSource.RUN, None, actor, now)


def case_from_rejection(*, proposal: Proposal, actor: Actor, now: datetime | None = None) -> Promoted:
    """Make a case of a rejected proposal: its call must not be asked for again.

    Raises NotPromotable with the reason, and PermissionDenied.
    """
    demand(actor, "regression.manage")
    run = Run.objects.select_related("task_type").get(pk=proposal.run_id)
    _still_there(run)
    slug = slug_of("not", proposal.tool, str(proposal.pk)[-12:])
    title = f"Not again: {proposal.tool}, rejected in {run.title or run.task_type.name}"
    written = case_of_rejection(load(run.id), str(proposal.pk), case_id=slug, title=title)
    return _keep(written, run, CaseSource.REJECTION, proposal.pk, actor, now)


def quarantine_case(*, case_id: UUID, until: datetime | None, reason: str, actor: Actor) -> Case:
    """Let the failures of a case fail nothing until a moment, for a reason; None ends that.

    Raises Case.DoesNotExist, ValueError for a missing reason, and PermissionDenied.
    """
    demand(actor, "regression.manage")
    why = clean_text(reason.strip())[:MAX_REASON]
    if until is not None and not why:
        raise ValueError("Say why: a quarantine without a reason is never lifted.")
    with transaction.atomic():
        case = Case.objects.select_for_update().get(pk=case_id)
        data: JSONObject = {
            "suite": case.suite,
            "case": case.slug,
            "before": case.quarantined_until.isoformat() if case.quarantined_until else None,
            "until": until.isoformat() if until else None,
            "reason": why,
        }
        case.quarantined_until, case.quarantine_reason = until, why if until else ""
        case.save(update_fields=["quarantined_until", "quarantine_reason"])
        record_in_tenant_stream("case.quarantined", data, subject=("case", str(case.pk)), actor=actor)
    return case


def retire_case(*, case_id: UUID, retired: bool, actor: Actor, now: datetime | None = None) -> Case:
    """Take a case out of its suite, or put it back; what it has shown stays. Raises like `quarantine_case`."""
    demand(actor, "regression.manage")
    with transaction.atomic():
        case = Case.objects.select_for_update().get(pk=case_id)
        if (case.retired_at is not None) == retired:
            return case
        case.retired_at = (now or clock.now()) if retired else None
        case.save(update_fields=["retired_at"])
        data: JSONObject = {"suite": case.suite, "case": case.slug, "retired": retired}
        record_in_tenant_stream("case.retired", data, subject=("case", str(case.pk)), actor=actor)
    return case


def pin_rules(*, suite: str, actor: Actor, now: datetime | None = None) -> int:
    """Let every case of a suite be decided by the rules of now, from now on; return how many were not already.

    Raises PermissionDenied, and Case.DoesNotExist for a suite without cases.
    """
    demand(actor, "regression.manage")
    moment = now or clock.now()
    with transaction.atomic():
        rows = Case.objects.select_for_update(of=("self",)).filter(suite=suite, retired_at__isnull=True)
        cases = list(rows.select_related("rules").order_by("pk"))
        if not cases:
            raise Case.DoesNotExist
        changed = 0
        for kind in TaskType.objects.filter(slug__in={case.task_type for case in cases}):
            rules = of_now(kind, moment)
            mine = [case for case in cases if case.task_type == kind.slug and case.rules_id != rules.pk]
            if not mine:
                continue
            Case.objects.filter(pk__in=[case.pk for case in mine]).update(rules=rules)
            changed += len(mine)
            data: JSONObject = {
                "suite": suite,
                "cases": list[JSON](case.slug for case in mine),
                "before": {case.slug: told(case.rules) for case in mine},
                "after": told(rules),
            }
            record_in_tenant_stream("suite.rules_pinned", data, subject=("suite", suite), actor=actor)
    return changed


def baseline_of(suite: str, release: str, wanted: str = "") -> SuiteRun | None:
    """Return what a release is compared with: the newest run on the release that is wanted, else on any other one."""
    runs = SuiteRun.objects.filter(suite=suite).order_by("-started_at", "-id")
    return (runs.filter(release=wanted) if wanted else runs.exclude(release=release)).first()


def outcomes_of(suite_run: SuiteRun) -> Mapping[str, Outcome]:
    """Return how the cases of a run of a suite came out."""
    rows = CaseResult.objects.filter(suite_run=suite_run).values_list("slug", "passes", "trials", "quarantined")
    return {slug: Outcome(passes, trials, quarantined) for slug, passes, trials, quarantined in rows}


def record_suite_run(
    *,
    shown: Shown,
    release: str,
    baseline: SuiteRun | None,
    actor: Actor,
    started_at: datetime,
    now: datetime,
    asked_by: int | None = None,
) -> SuiteRun:
    """Keep what a suite has shown; `asked_by` is who wanted it, if not the actor. Raises PermissionDenied."""
    demand(actor, "regression.manage")
    with transaction.atomic():
        row = SuiteRun.objects.create(
            suite=shown.planned.suite,
            release=release,
            repeat=shown.repeat,
            verdict=Verdict.PASSED if shown.passed else Verdict.FAILED,
            baseline=baseline,
            summary=shown.summary(),
            started_at=started_at,
            ended_at=now,
            started_by_id=asked_by or actor.user_id,
        )
        CaseResult.objects.bulk_create(
            CaseResult(
                tenant_id=row.tenant_id,
                suite_run=row,
                slug=one.case.id,
                title=one.case.title,
                passes=one.outcome.passes,
                trials=one.outcome.trials,
                quarantined=one.outcome.quarantined,
                problems=[problem.to_json() for problem in one.failing.problems] if one.failing else [],
                steps=one.shown.steps,
                calls=one.shown.calls,
                duration_ms=one.duration_ms,
                record=one.failing.record.text() if one.failing and one.failing.record else "",
            )
            for one in shown.cases
        )
        data: JSONObject = {"suite": row.suite, "release": release, "verdict": str(row.verdict), "repeat": shown.repeat}
        record_in_tenant_stream("suite.run", data, subject=("suite", str(row.pk)), actor=actor)
    return row


def _keep(
    written: WrittenCase, run: Run, source: CaseSource, proposal: UUID | None, actor: Actor, now: datetime | None
) -> Promoted:
    moment = now or clock.now()
    with transaction.atomic():
        rules = of_now(run.task_type, moment)
        case, new = Case.objects.get_or_create(
            suite=run.task_type.slug,
            slug=written.id,
            defaults={
                "task_type": run.task_type.slug,
                "title": clean_text(written.title)[:200],
                "body": written.text(),
                "source": source,
                "source_run": run.id,
                "source_proposal": proposal,
                "created_by_id": actor.user_id,
                "created_at": moment,
                "rules": rules,
            },
        )
        if new:
            data: JSONObject = {"suite": case.suite, "case": case.slug, "run": str(run.id), "source": str(source)}
            data |= told(rules)
            record_in_tenant_stream("case.promoted", data, subject=("case", str(case.pk)), actor=actor)
    return Promoted(case, new)


def _still_there(run: Run) -> None:
    removed = removal_of(stream_of(run.id))
    if removed is not None:
        raise NotPromotable(f"Its record is not there any more: {words_of(removed)}")


__all__ = [
    "BadCases",
    "NotPromotable",
    "Promoted",
    "baseline_of",
    "case_from_rejection",
    "outcomes_of",
    "pin_rules",
    "promote_run",
    "quarantine_case",
    "record_suite_run",
    "retire_case",
]
