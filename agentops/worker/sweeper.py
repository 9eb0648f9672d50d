"""What makes every ring dispensable: find runs that are due and nobody works on, and proposals nobody answered."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import F, Q

from agentops import clock
from agentops.audit import exports, verification
from agentops.audit.indexing import index_new
from agentops.engine.events import CallReconciled
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.memory.services import expire_due as expire_facts
from agentops.memory.session import sweep as sweep_session_notes
from agentops.metrics import deliveries, rollup
from agentops.retention import removal
from agentops.runs import lease
from agentops.runs.dispatch import ring_now
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import WORKER
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.webhooks import noting, sending
from agentops.worker import spending
from agentops.worker.calls import ask_hook, request_of
from approvals.cards.readings import record_due as record_readings
from approvals.decisions.notices import send_due
from approvals.decisions.reminders import remind_due
from approvals.permits import grants
from approvals.proposals.deadlines import expire_due
from approvals.proposals.freezing import FINAL
from approvals.queue import term_index
from approvals.queue.claims import end_holds
from approvals.stopping.halting import settle_lifted
from tools.contracts import Effect

logger = logging.getLogger(__name__)

_UPKEEP: list[Callable[[datetime], object]] = []
"""What apps above have done in every sweep of a tenant, in its scope (`upkeep_with`)."""

RING_AGAIN: Final = timedelta(seconds=5)
BATCH: Final = 200
MAILS: Final = 20
"""E-mails of one tenant in one sweep; a mail server that is slow holds nothing else up for long."""


def sweep(now: datetime | None = None, *, upkeep: bool = True) -> int:
    """Ring for due runs, expire overdue proposals and facts of every tenant, taking turns; return how often it rang.

    Safe to run anywhere at any time: claiming and expiring are conditional updates. One tenant's error does not keep
    the others waiting. `upkeep` is what nobody waits for as well: indexes, figures, checks, exports, alarms.
    """
    moment = now or clock.now()
    rings = 0
    for tenant in Tenant.objects.order_by("pk"):
        try:
            rings += sweep_tenant(tenant, moment, upkeep=upkeep)
        except Exception:
            logger.exception("sweeping tenant %s failed", tenant.slug)
    return rings


def sweep_tenant(tenant: Tenant, now: datetime, *, upkeep: bool = True) -> int:
    """Sweep one tenant; return the number of rings. A duty that breaks keeps neither the others nor the rings."""
    with tenant_scope(tenant):
        _each(
            tenant,
            partial(settle_lifted, now, BATCH),
            partial(expire_due, now, BATCH),
            partial(end_holds, now, BATCH),
            partial(remind_due, now, BATCH),
            partial(send_due, now, MAILS),
            partial(record_readings, now, BATCH),
            partial(settle_leftovers, now),
            partial(expire_facts, now, BATCH),
            partial(spending.sweep, now),
            partial(sweep_session_notes, BATCH),
        )
        quiet = Q(rung_at__isnull=True) | Q(rung_at__lt=now - RING_AGAIN)
        overdue = Run.objects.filter(lease.due(now), quiet).order_by(F("not_before").asc(nulls_first=True))
        run_ids = list(overdue.values_list("pk", flat=True)[:BATCH])
        if run_ids:
            Run.objects.filter(pk__in=run_ids).update(rung_at=now)
        for run_id in run_ids:
            ring_now(tenant.pk, run_id)
        if upkeep:
            _keep_up(tenant, now)
    return len(run_ids)


def _keep_up(tenant: Tenant, now: datetime) -> None:
    """Do what nobody waits for, last."""
    _each(
        tenant,
        index_new,
        term_index.mend,
        partial(verification.go_on, now),
        partial(exports.go_on, now),
        partial(rollup.sweep, now),
        partial(deliveries.send_due, now, MAILS),
        partial(noting.note_new, now),
        partial(sending.send_due, now),
        partial(removal.go_on, now),
        *(partial(more, now) for more in _UPKEEP),
    )


def _each(tenant: Tenant, *duties: Callable[[], object]) -> None:
    """Do one after the other; one that breaks is logged, and the next sweep tries it again."""
    for duty in duties:
        try:
            duty()
        except Exception:
            logger.exception("a duty of the sweeper failed for tenant %s", tenant.slug)


def upkeep_with(task: Callable[[datetime], object]) -> None:
    """Have this one done as well, in every sweep from now on (idempotent)."""
    if task not in _UPKEEP:
        _UPKEEP.append(task)


def settle_leftovers(now: datetime) -> int:
    """Find out what became of effects that no worker will ask about: their run has ended, or is paused.

    Their worker never came back, or came back without knowing. The contract's hook is asked; what it cannot tell waits
    in the queue for a person. Nothing is repeated. Of a paused run only what must not be repeated is asked about. One
    whose record cannot be read is logged and keeps no other from being asked about.
    """
    ended = Q(run__state__in=[state.value for state in RunState if state.terminal])
    held = Q(run__paused_at__isnull=False, effect=Effect.UNSAFE_WRITE.value)
    free = Q(run__lease_until__isnull=True) | Q(run__lease_until__lt=now)
    left = ToolCall.objects.filter(ended | held, free, unsettled=True).select_related("run")
    under_way = left.filter(state=CallState.EXECUTING.value)[:BATCH]
    not_asked = left.filter(state=CallState.UNKNOWN.value, hook_asked=False)[:BATCH]
    settled = 0
    for row in (*under_way, *not_asked):
        try:
            settled += _settle(row, now)
        except Exception:
            logger.exception("nobody can tell what became of call %s of run %s", row.call_id, row.run_id)
    return settled


def _settle(row: ToolCall, now: datetime) -> bool:
    call = state_of(row.run_id).calls[row.call_id]
    event = ask_hook(call, request_of(row.run, call, now))
    with suppress(IllegalTransition), transaction.atomic():
        record_outside(row.run_id, [event], actor=WORKER, now=now)
        if isinstance(event, CallReconciled) and event.verdict == "did_not_happen":
            # Its permission was not used after all, and after the end of the run nobody will. A run that is
            # paused, or that failed and may be tried again, keeps it until its own deadline.
            grants.rearm(run_id=row.run_id, call_id=row.call_id)
            if row.run.state in FINAL:
                grants.revoke_unused(run_id=row.run_id, now=now)
        return True
    return False


def take_over() -> int:
    """Free the runs of every tenant that a worker held when it was killed; return how many are unfinished.

    Otherwise they would wait for their leases to end. Only for the one process that has a database to itself.
    """
    freed = 0
    for tenant in Tenant.objects.order_by("pk"):
        with tenant_scope(tenant):
            freed += lease.break_all()
    return freed
