"""Whether a tool may be called now, for all workers of a tenant together: one row per tool, written by compare-and-set.

While a tool works and has no rate limit, this costs one query per call and writes nothing. Every change of the
breaker is an event of the stream "tenant", in the transaction of the change.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from agentops.audit.services import TENANT_STREAM, NewEvent, append
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.prepared import Query
from agentops.wire.parse import JSONObject

from . import breaker
from .breaker import HEALTHY, UNHEALTHY, Admission, Admitted, BreakerState, Change, Health, Refused
from .contracts import ErrorCode, ToolContract
from .models import ToolHealth

__all__ = [
    "Admission",
    "Admitted",
    "Refused",
    "admit",
    "ailing",
    "close",
    "forgo",
    "health_of",
    "hold",
    "report",
    "reset",
]

logger = logging.getLogger(__name__)

PROBE_MARGIN: Final = timedelta(seconds=30)
"""How much longer than its time-out a probe has the tool to itself."""

TRIES: Final = 100
"""Compare-and-sets before a caller gives up; with every loss another worker's write has gone through."""


def admit(
    tool: str,
    contract: ToolContract,
    *,
    now: datetime,
    rate_per_minute: int | None = None,
    promised: datetime | None = None,
    run_id: UUID | None = None,
    actor: Actor = WORKER,
) -> Admission:
    """Ask whether a call of the tool may start, in the open tenant scope and outside of any transaction.

    `rate_per_minute` replaces the contract's limit. A call that was refused with rate_limited comes again with the
    `retry_at` it was given as `promised`. Whoever is admitted says how it ended with `report`, or that the call never
    reached the tool with `forgo`; a probe of which nothing is heard makes room after its lease.
    """
    rate = contract.rate_per_minute if rate_per_minute is None else rate_per_minute
    lease = timedelta(seconds=contract.timeout_s) + PROBE_MARGIN
    for _ in range(TRIES):
        row = _row(tool)
        change, answer = breaker.admission(
            health_of(row), contract.breaker, now=now, lease=lease, rate=rate, promised=promised
        )
        if _write(tool, row, change, now=now, run_id=run_id, actor=actor):
            return answer
    return Refused(ErrorCode.RATE_LIMITED, now + timedelta(seconds=1), "Too many workers ask for this tool at once.")


def ailing() -> frozenset[str]:
    """Return the tools of the open tenant scope that `admit` has to be asked about even without a rate limit."""
    return frozenset(tool for (tool,) in _AILING())


_UNWELL: Final = ~Q(window="") | ~Q(state=BreakerState.CLOSED.value)
_AILING: Final = Query(lambda: ToolHealth.objects.filter(_UNWELL).values_list("tool"))


def report(
    tool: str,
    contract: ToolContract,
    admitted: Admitted,
    *,
    outcome_code: str | None,
    now: datetime,
    run_id: UUID | None = None,
    actor: Actor = WORKER,
) -> None:
    """Say how an admitted call ended: `outcome_code` is None when it succeeded, else its error code.

    A success writes only if there is something to forget, and costs nothing at all after a clean admission.
    """
    if outcome_code is not None and outcome_code not in HEALTHY | UNHEALTHY:
        forgo(tool, admitted, now=now)
        return
    failed = outcome_code in UNHEALTHY
    if admitted.clean and not failed:
        return

    def change(health: Health) -> Change:
        return breaker.judged(health, contract.breaker, failed=failed, probe=admitted.probe, now=now)

    _change(tool, change, now=now, run_id=run_id, actor=actor, code=outcome_code or "")


def forgo(tool: str, admitted: Admitted, *, now: datetime) -> None:
    """Say that an admitted call never reached the tool; if it was the probe, the next call is."""
    if admitted.probe:
        _change(tool, lambda health: breaker.forgone(health, probe=admitted.probe, now=now), now=now)


def hold(tool: str, *, actor: Actor, now: datetime) -> bool:
    """Keep calls away from the tool until somebody closes its breaker; False if that is so already."""
    return _change(tool, lambda health: breaker.held(health, now=now), now=now, actor=actor)


def close(tool: str, *, actor: Actor, now: datetime) -> bool:
    """Let calls through again; False if the breaker is closed already."""
    return _change(tool, lambda health: breaker.closed(health, "by hand"), now=now, actor=actor)


def reset(tool: str, *, actor: Actor, now: datetime) -> bool:
    """Forget failures, pauses and promised turns; False if there is nothing to forget."""
    return _change(tool, breaker.reset, now=now, actor=actor)


def _change(
    tool: str,
    decide: Callable[[Health], Change],
    *,
    now: datetime,
    actor: Actor = WORKER,
    run_id: UUID | None = None,
    code: str = "",
) -> bool:
    for _ in range(TRIES):
        row = _row(tool)
        before = health_of(row)
        change = decide(before)
        if _write(tool, row, change, now=now, run_id=run_id, actor=actor, code=code):
            return change.health != before
    logger.error("the health of %s could not be written after %s tries", tool, TRIES)
    return False


def _row(tool: str) -> ToolHealth | None:
    return ToolHealth.objects.filter(tool=tool).first()


def health_of(row: ToolHealth | None) -> Health:
    """Return what a row says about its tool; no row says that it is well."""
    if row is None:
        return Health()
    return Health(**{name: getattr(row, name) for name in _COLUMNS} | {"state": BreakerState(row.state)})


_COLUMNS: Final = tuple(member.name for member in fields(Health))


def _write(
    tool: str,
    row: ToolHealth | None,
    change: Change,
    *,
    now: datetime,
    run_id: UUID | None,
    actor: Actor,
    code: str = "",
) -> bool:
    """Replace what was read, with the event of the change; False if somebody else has been quicker."""
    if change.health == health_of(row):
        return True
    if row is None:
        ToolHealth.objects.bulk_create([ToolHealth(tool=tool)], ignore_conflicts=True)
        return False
    values = asdict(change.health) | {"state": change.health.state.value, "revision": F("revision") + 1}
    with transaction.atomic():
        if not ToolHealth.objects.filter(pk=row.pk, revision=row.revision).update(**values):
            return False
        if change.event:
            data = _told(health_of(row), change, code)
            event = NewEvent(change.event, data | {"tool": tool}, ("toolhealth", str(row.pk)), tool=tool)
            append(TENANT_STREAM, [event], actor=actor, run_id=run_id, at=now)
    return True


def _told(before: Health, change: Change, code: str) -> JSONObject:
    """What an event says: the counts that led to it, and what follows."""
    after = change.health
    counted = after if change.event == "breaker.opened" else before
    data: JSONObject = {
        "reason": change.reason,
        "failures_in_a_row": counted.failures,
        "failed": counted.failed,
        "calls": len(counted.window),
    }
    if code:
        data["code"] = code
    if after.state is BreakerState.OPEN:
        data["until"] = after.open_until.isoformat() if after.open_until else None
        data["cool_down_s"] = after.cool_down_s
    if after.state is BreakerState.HALF_OPEN or before.state is BreakerState.HALF_OPEN:
        data["probe"] = after.probe
    return data
