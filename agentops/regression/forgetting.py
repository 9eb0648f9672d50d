"""Forget what regression keeps beyond its period: imported records, and step-by-step records of trials that failed."""

from datetime import datetime

from django.db.models import Q

from agentops.regression.models import Case, CaseResult, ImportedRun
from agentops.retention import classes
from agentops.retention.holds import Holds
from agentops.retention.removal import Piece, tell, work_on

BATCH = 100


def register() -> None:
    """Have the removal do this as well."""
    work_on(classes.IMPORTS.name, _imports)
    work_on(classes.TRIALS.name, _trials)


def _imports(position: str, held: Holds, cutoff: datetime, now: datetime) -> Piece:
    rows = ImportedRun.objects.filter(imported_at__lt=cutoff).order_by("pk")
    batch = list((rows.filter(pk__gt=position) if position else rows)[:BATCH])
    free = [
        one
        for one in batch
        if not held.covers_time(one.imported_at, one.imported_at)
        and one.imported_by_id not in held.people
        # A record that came back, or another one that tells of what is held.
        and not held.names(f"{one.source} {one.body}")
    ]
    if free:
        tell(classes.IMPORTS.name, {"records": [one.digest for one in free]}, now)
        ImportedRun.objects.filter(pk__in=[one.pk for one in free]).delete()
    last = str(batch[-1].pk) if batch else position
    return Piece(len(free), len(batch) - len(free), position=last, done=len(batch) < BATCH)


def _trials(position: str, held: Holds, cutoff: datetime, now: datetime) -> Piece:
    rows = CaseResult.objects.filter(suite_run__started_at__lt=cutoff, pk__gt=int(position or 0)).exclude(record="")
    batch = list(rows.select_related("suite_run").order_by("pk")[:BATCH])
    kept = _held_cases(batch, held)
    free = [
        one
        for one in batch
        if not held.covers_time(one.suite_run.started_at, one.suite_run.ended_at)
        and one.suite_run.started_by_id not in held.people
        and (one.suite_run.suite, one.slug) not in kept
        and not held.names(one.record)
    ]
    if free:
        tell(classes.TRIALS.name, {"records": [f"{one.suite_run_id}/{one.slug}" for one in free]}, now)
        CaseResult.objects.filter(pk__in=[one.pk for one in free]).update(record="")
    last = str(batch[-1].pk) if batch else position
    return Piece(len(free), len(batch) - len(free), position=last, done=len(batch) < BATCH)


def _held_cases(results: list[CaseResult], held: Holds) -> set[tuple[str, str]]:
    """Return which of these results are of cases that come from what is held: (suite, slug)."""
    if not (held.runs or held.proposals or held.people):
        return set()
    among = Case.objects.filter(slug__in={one.slug for one in results})
    cases = among.filter(
        Q(source_run__in=held.runs) | Q(source_proposal__in=held.proposals) | Q(created_by_id__in=held.people)
    )
    return set(cases.values_list("suite", "slug"))
