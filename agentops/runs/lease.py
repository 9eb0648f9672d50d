"""Who may work on a run: one worker at a time, until its lease ends, told apart by a fencing number."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import F, Q

from agentops.engine.transitions import RunState
from agentops.runs.models import Run
from agentops.runs.recording import Lease

LEASE: Final = timedelta(seconds=90)
"""Longer than any single model request may take; renewed with every commit, and longer for a slow tool."""

MARGIN: Final = timedelta(seconds=30)
"""How much longer than a tool's own deadline a lease lasts while its handler runs."""

MAX_ATTEMPTS: Final = 5
"""Claims without a single recorded step before a run is taken out as a dead letter."""


def due(now: datetime) -> Q:
    """Which runs of a tenant a worker could take up now."""
    return (
        Q(state__in=[s.value for s in RunState if s.claimable], paused_at__isnull=True)
        & (Q(lease_until__isnull=True) | Q(lease_until__lt=now))
        & (Q(not_before__isnull=True) | Q(not_before__lte=now))
    )


def claim(run_id: UUID, *, owner: str, now: datetime) -> tuple[Run, Lease] | None:
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
    return run, Lease(run_id, owner, run.fence, until)


def postpone(lease: Lease, until: datetime, *, error: str = "") -> None:
    """Give a lease back after an unexpected error; the run is due again at `until`, and its attempts count.

    `error` says what happened in words without secrets (`worker.mishap.told`); an engineer reads it in the dead letter.
    """
    Run.objects.filter(pk=lease.run_id, fence=lease.fence, lease_owner=lease.owner).update(
        lease_owner="", lease_until=None, not_before=until, rung_at=None, last_error=error[:300]
    )


def release(lease: Lease) -> None:
    """Give a lease back without having recorded anything more."""
    Run.objects.filter(pk=lease.run_id, fence=lease.fence, lease_owner=lease.owner).update(
        lease_owner="", lease_until=None
    )


def break_all() -> int:
    """Take every lease of the open tenant scope away and let each unfinished run be rung at once; return how many.

    Only for a process that knows that no other works on these runs. What a live worker still wanted to record is
    refused from the next claim on, because that raises the fence.
    """
    return Run.objects.filter(state__in=[s.value for s in RunState if s.claimable]).update(
        lease_owner="", lease_until=None, rung_at=None
    )
