"""Read the record behind those who write it, and note in the outbox what endpoints want to hear of runs.

Position and messages are committed together (`audit.tail`): nothing is missed, and a run costs nothing more.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from agentops.audit import tail
from agentops.audit.models import Event
from agentops.audit.selectors import together
from agentops.audit.services import Recorded
from agentops.engine.events import ProposalUndone, RunCancelled, RunFailed, RunSucceeded, RunWaiting
from agentops.runs.models import Run
from agentops.tenancy.links import global_url, told_outside
from agentops.tenancy.scope import current_tenant_slug
from agentops.webhooks.models import Endpoint, Kind
from agentops.webhooks.outbox import Notice, put, wants
from agentops.wire.parse import JSONObject

READER: Final = "webhooks"
BATCH: Final = 1_000
_ENDS: Final = {one.type: Kind(one.type) for one in (RunSucceeded, RunFailed, RunCancelled)}
_TOLD: Final = tuple(f'"{one.type}"' for one in (RunSucceeded, RunFailed, RunCancelled, RunWaiting, ProposalUndone))


def note_new(now: datetime, limit: int = BATCH) -> int:
    """Note what the next events of the open tenant scope tell of; return how many rows were read. Safe to race."""
    if not hearing():
        return 0
    return tail.follow(READER, partial(_note, now), limit=limit)


def hearing() -> list[Endpoint]:
    """Return the endpoints for which the record is read."""
    return [one for one in Endpoint.objects.filter(enabled=True) if one.hears_runs]


def _note(now: datetime, rows: Sequence[Event]) -> None:
    endpoints = hearing()
    first = min((one.from_event for one in endpoints), default=0)
    found: list[tuple[Event, Recorded, Kind]] = []
    for row in rows:
        if row.run_id is not None and row.pk > first and any(name in row.body for name in _TOLD):
            found += [(row, one, kind) for one in together(row) if (kind := kind_of(one)) is not None]
    if not endpoints or not found:
        return
    of_runs = Run.objects.filter(pk__in={row.run_id for row, _, _ in found})
    types: dict[UUID, str] = dict(of_runs.values_list("pk", "task_type__slug"))
    notices = (
        notice(row.run_id, types[row.run_id], one, kind, event_id=row.pk)
        for row, one, kind in found
        if row.run_id is not None and row.run_id in types
    )
    put([one for one in notices if any(wants(endpoint, one) for endpoint in endpoints)], now, endpoints=endpoints)


def kind_of(event: Recorded) -> Kind | None:
    """Return what an event of a run is to those who listen; None for what nobody can hear of."""
    if event.type == RunWaiting.type:
        waits = f"run.{event.data.get('state')}"
        return Kind(waits) if waits in (Kind.AWAITING_APPROVAL, Kind.AWAITING_RECONCILIATION) else None
    if event.type == ProposalUndone.type:
        return Kind.AWAITING_APPROVAL
    return _ENDS.get(event.type)


def notice(run_id: UUID, task_type: str, event: Recorded, kind: Kind, *, event_id: int) -> Notice:
    """Return what is told of a run: ids and states, nothing of what it is about."""
    data: JSONObject = {
        "tenant": current_tenant_slug(),
        "run_id": str(run_id),
        "task_type": task_type,
        "state": kind.value.removeprefix("run."),
        "seq": event.seq,
        "url": told_outside(global_url("api-run", run_id)),
    }
    if kind == Kind.FAILED:
        data["code"] = str(event.data.get("code", ""))[:40]
    return Notice(kind, f"run-{run_id}-{event.seq}", event.at, task_type, data, event_id)
