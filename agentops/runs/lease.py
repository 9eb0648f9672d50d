"""Who may work on a run: one worker at a time, until its lease ends, told apart by a fencing number."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import F, Q

from agentops.engine.transitions import RunState
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import History, Lease, history
from agentops.tenancy.prepared import Query, fetch
from agentops.tenancy.scope import current_tenant_id

LEASE: Final = timedelta(seconds=90)
"""Longer than any single model request may take; renewed with every commit, and longer for a slow tool."""

MARGIN: Final = timedelta(seconds=30)
"""How much longer than a tool's own deadline a lease lasts while its handler runs."""

MAX_ATTEMPTS: Final = 5
"""Claims without a single recorded step before a run is taken out as a dead letter."""


def due(now: datetime) -> Q:
    """Which runs of a tenant a worker could take up now."""
    return (
        Q(claimable=True)
        & (Q(lease_until__isnull=True) | Q(lease_until__lt=now))
        & (Q(not_before__isnull=True) | Q(not_before__lte=now))
    )


class Claimed(NamedTuple):
    """A run that was taken up, the lease, and what is on record of it, where that was read in the same breath."""

    run: Run
    lease: Lease
    history: History | None = None


def claim(run_id: UUID, *, owner: str, now: datetime) -> Claimed | None:
    """Take the lease of a due run under one conditional update; None if there is nothing to take."""
    until = now + LEASE
    taken = Run.objects.filter(due(now), pk=run_id).update(
        lease_owner=owner,
        lease_until=until,
        fence=F("fence") + 1,
        attempts=F("attempts") + 1,
        last_owner=F("lease_owner"),
    )
    if not taken:
        return None
    run = Run.objects.select_related("task_type").get(pk=run_id)
    return Claimed(run, Lease(run.pk, owner, run.fence, until))


def claim_due(*, owner: str, now: datetime, limit: int, kinds: dict[int, TaskType] | None = None) -> list[Claimed]:
    """Take the leases of up to `limit` due runs, urgent kinds of task first, then those that have waited longest.

    What other workers are about to take is passed over. `kinds` keeps task types that were looked up already. On
    PostgreSQL it is one statement, and the histories come with it; one that was read just before somebody appended to
    it is too short, which the first commit finds out.
    """
    until = now + LEASE
    if connection.vendor == "postgresql":
        fields = Run._meta.concrete_fields
        columns = [field.column for field in fields]
        sql = _CLAIM.format(
            columns=", ".join(f"r.{name}" for name in columns),
            claimed=", ".join(f"c.{name}" for name in columns),
        )
        rows = fetch(sql, [current_tenant_id(), now, now, limit, owner, until])
        names = [field.attname for field in fields]
        taken = [Run.from_db(connection.alias, names, row[: len(names)]) for row in rows]
        histories: list[History | None] = [history(*row[len(names) : -1]) for row in rows]
    else:
        waiting = Run.objects.filter(due(now)).order_by("-priority", "not_before").values_list("pk", flat=True)
        found = (claim(run_id, owner=owner, now=now) for run_id in list(waiting[:limit]))
        taken = [one[0] for one in found if one is not None]
        histories = [None] * len(taken)
    known = {} if kinds is None else kinds
    missing = {run.task_type_id for run in taken} - set(known)
    if missing:
        known |= {kind.pk: kind for task_type_id in missing for kind in _KIND(task_type_id)}
    for run in taken:
        run.task_type = known[run.task_type_id]
    return [
        Claimed(run, Lease(run.pk, owner, run.fence, until), known_so_far)
        for run, known_so_far in zip(taken, histories, strict=True)
    ]


_KIND: Final = Query(lambda pk: TaskType.objects.filter(pk=pk))

_CLAIM: Final = """
with due as (
    select id from runs_run
    where tenant_id = %s and claimable
      and (lease_until is null or lease_until < %s) and (not_before is null or not_before <= %s)
    order by priority desc, not_before limit %s for update skip locked
),
claimed as (
    update runs_run r
    set lease_owner = %s, lease_until = %s, fence = r.fence + 1, attempts = r.attempts + 1, last_owner = r.lease_owner
    from due where r.id = due.id returning {columns}, 'run:' || r.id as stream
)
select {claimed}, s.id, e.bodies, e.hashes, set_config('synchronous_commit', 'off', true)
from claimed c
left join audit_stream s on s.tenant_id = c.tenant_id and s.name = c.stream
left join lateral (
    select array_agg(body) as bodies, array_agg(hash) as hashes
    from (select body, hash from audit_event where stream_id = s.id and seq between 1 and s.seq order by seq) rows
) e on true
order by c.priority desc, c.not_before
"""
# Row-level security lets an index be asked for what is there already, not for what has yet to be put together, as the
# name of a stream. That the events of a stream are few the planner of a young table sees by their numbers alone.
# A claim need not wait for the disk: the log is in order, so whatever its worker records later makes it durable too.


def renew(leases: Sequence[Lease], until: datetime) -> set[UUID]:
    """Extend leases that are still held; return the ids of their runs.

    Held is the lease with its fence: a worker's name may be that of another one, or its own of an earlier claim.
    """
    held = Q()
    for lease in leases:
        held |= Q(pk=lease.run_id, fence=lease.fence, lease_owner=lease.owner)
    if not held or not Run.objects.filter(held).update(lease_until=until):
        return set()
    return set(Run.objects.filter(held).values_list("pk", flat=True))


def any_due(now: datetime) -> bool:
    """Say whether the open tenant scope has a run that a worker could take up now."""
    return Run.objects.filter(due(now)).exists()


def hand_back(lease: Lease) -> None:
    """Give a lease back so that any worker may take the run up at once; the attempt does not count."""
    Run.objects.filter(pk=lease.run_id, fence=lease.fence, lease_owner=lease.owner).update(
        lease_owner="", lease_until=None, rung_at=None, attempts=0
    )


def postpone(lease: Lease, until: datetime, *, error: str = "") -> None:
    """Give a lease back after an unexpected error; the run is due again at `until`, and its attempts count.

    `error` says what happened in words without secrets (`worker.mishap.told`); an engineer reads it in the dead letter.
    """
    Run.objects.filter(pk=lease.run_id, fence=lease.fence, lease_owner=lease.owner).update(
        lease_owner="", lease_until=None, not_before=until, rung_at=None, last_error=error[:300]
    )


def break_all() -> int:
    """Take every lease of the open tenant scope away and let each unfinished run be rung at once; return how many.

    Only for a process that knows that no other works on these runs. What a live worker still wanted to record is
    refused from the next claim on, because that raises the fence.
    """
    return Run.objects.filter(state__in=[s.value for s in RunState if s.claimable]).update(
        lease_owner="", lease_until=None, rung_at=None
    )
