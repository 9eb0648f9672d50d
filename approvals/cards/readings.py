"""Who looked at which version of a proposal, and when: one event for each person and version.

What a proposal shows may be sensitive, so reading it is on record. The card notes it with one statement; the sweeper
tells the audit trail, so that a page does not wait for the stream that everybody in the tenant appends to.
"""

from datetime import datetime
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction

from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy.access import Actor
from agentops.tenancy.prepared import fetch
from agentops.tenancy.scope import current_tenant_id
from approvals.models import Proposal, Reading

VIEWED: Final = "proposal.viewed"

_NOTE: Final = """
insert into approvals_reading (tenant_id, proposal_id, version, user_id, at) values (%s, %s, %s, %s, %s)
on conflict do nothing
"""


def note_reading(proposal: Proposal, actor: Actor, now: datetime) -> None:
    """Note that a person has been shown a version of a proposal, once. One statement."""
    if actor.user_id is not None:
        fetch(_NOTE, [current_tenant_id(), proposal.pk, proposal.version, actor.user_id, now])


def record_due(now: datetime, limit: int) -> int:
    """Tell the audit trail of the open tenant who has read what; return how many readings. Safe to repeat."""
    waiting = Reading.objects.filter(recorded_at__isnull=True).order_by("pk").select_related("user", "proposal")
    told = 0
    for row in list(waiting.only("version", "at", "user__username", "proposal__run", "proposal__call_id")[:limit]):
        with transaction.atomic():
            if Reading.objects.filter(pk=row.pk, recorded_at__isnull=True).update(recorded_at=now):
                _record(row, row.user)
                told += 1
    return told


def _record(row: Reading, user: User) -> None:
    record_in_tenant_stream(
        VIEWED,
        {
            "run": str(row.proposal.run_id),
            "call_id": row.proposal.call_id,
            "version": row.version,
            "at": row.at.isoformat(),
        },
        subject=("proposal", str(row.proposal_id)),
        actor=Actor.user(user, ()),
    )
