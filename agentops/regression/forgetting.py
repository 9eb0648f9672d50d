"""Forget what regression keeps beyond its period: imported records, and step-by-step records of trials that failed."""

from datetime import datetime

from agentops.regression.models import CaseResult, ImportedRun
from agentops.retention import classes
from agentops.retention.holds import Holds
from agentops.retention.removal import Piece, tell, work_on

BATCH = 100


def register() -> None:
    """Have the removal do this as well."""
    work_on(classes.IMPORTS.name, _imports)
    work_on(classes.TRIALS.name, _trials)


def _imports(position: str, held: Holds, cutoff: datetime, now: datetime) -> Piece:
    rows = ImportedRun.objects.filter(imported_at__lt=cutoff).defer("body").order_by("pk")
    batch = list((rows.filter(pk__gt=position) if position else rows)[:BATCH])
    free = [
        one
        for one in batch
        if not held.covers_time(one.imported_at, one.imported_at) and one.imported_by_id not in held.people
    ]
    if free:
        tell(classes.IMPORTS.name, {"records": [one.digest for one in free]}, now)
        ImportedRun.objects.filter(pk__in=[one.pk for one in free]).delete()
    last = str(batch[-1].pk) if batch else position
    return Piece(len(free), len(batch) - len(free), position=last, done=len(batch) < BATCH)


def _trials(position: str, held: Holds, cutoff: datetime, now: datetime) -> Piece:
    rows = CaseResult.objects.filter(suite_run__started_at__lt=cutoff, pk__gt=int(position or 0)).exclude(record="")
    batch = list(rows.select_related("suite_run").defer("record").order_by("pk")[:BATCH])
    free = [one for one in batch if not held.covers_time(one.suite_run.started_at, one.suite_run.started_at)]
    if free:
        tell(classes.TRIALS.name, {"records": [f"{one.suite_run_id}/{one.slug}" for one in free]}, now)
        CaseResult.objects.filter(pk__in=[one.pk for one in free]).update(record="")
    last = str(batch[-1].pk) if batch else position
    return Piece(len(free), len(batch) - len(free), position=last, done=len(batch) < BATCH)
