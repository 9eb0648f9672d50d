"""How often rules of the policy have let calls run lately: counted where a permission is used, in its transaction.

What is counted under one name (`policy.Rate.key`) is one row, with the calls of its time and no older ones. All rows of
a tenant are changed under one lock, so that several workers never let more run together than a rule says, and never
wait for each other in a circle.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection, transaction

from agentops.tenancy.scope import current_tenant_id
from approvals.gating.policy import Quota, Spent
from approvals.models import RuleUse

_LOCK: Final = 0x72617465 << 32
"""The upper half of the advisory lock's key ("rate"); the lower half is the tenant."""


class UsedUp(Exception):
    """So many calls were let run by a rule that it lets none more run now."""


def spent(run_id: UUID, now: datetime) -> Spent:
    """Return the function that says how much of a quota calls other than the one asked for have used. One query."""

    def found(key: str, within_s: int, call_id: str) -> int:
        uses = RuleUse.objects.filter(key=key).values_list("uses", flat=True).first() or []
        return len(_others(uses, _call(run_id, call_id), now - timedelta(seconds=within_s)))

    return found


def spend(quotas: Iterable[Quota], *, run_id: UUID, call_id: str, now: datetime) -> None:
    """Count a call, once however often it is tried. Raises UsedUp, and then counts nothing.

    Must run in the transaction that uses its permission; the count is exact from here to the commit.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("A use is counted in the transaction of its permission.")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_xact_lock(%s)", [_LOCK | (current_tenant_id() & 0xFFFFFFFF)])
    call, counted = _call(run_id, call_id), []
    for quota in quotas:
        row = RuleUse.objects.filter(key=quota.key).first() or RuleUse(key=quota.key, uses=[])
        row.uses = _others(row.uses, call, now - timedelta(seconds=quota.within_s))
        if len(row.uses) >= quota.calls:
            raise UsedUp
        row.uses = [*row.uses, [now.timestamp(), call]]
        counted.append(row)
    for row in counted:
        row.save()


def _call(run_id: UUID, call_id: str) -> str:
    return f"{run_id}/{call_id}"


def _others(uses: list[list[float | str]], call: str, since: datetime) -> list[list[float | str]]:
    """Return the uses after a moment that are of other calls."""
    return [one for one in uses if float(one[0]) > since.timestamp() and one[1] != call]
