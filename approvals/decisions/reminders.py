"""What happens while nobody decides: after half of the time people are reminded, after four fifths the seniors decide.

Silence never approves anything; at the end it denies (`proposals.deadlines`). While a stop or a pause keeps the clock
still, nobody is reminded.
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from agentops.tenancy.access import SYSTEM, roles_with
from agentops.tenancy.models import Membership, Role
from approvals.decisions.handling import escalate_by_itself, record
from approvals.models import Absence, Handling, Notification, Preference, Proposal, Shift, Status
from approvals.proposals import freezing
from approvals.proposals.ending import locked, run_ended

logger = logging.getLogger(__name__)

RUNGS: Final = (0.5, 0.8)
"""Shares of the time to decide after which something is done; the last one escalates."""

MOST_PEOPLE: Final = 50
MOST_HOPS: Final = 5
"""Of delegates who are away themselves."""


def remind_due(now: datetime, limit: int) -> int:
    """Do what is due for up to `limit` pending proposals of the open tenant scope; return for how many.

    One transaction each, safe to run anywhere at any time. Trouble with one is logged and does not keep the others.
    """
    due = Proposal.objects.filter(freezing.going(), status=Status.PENDING, remind_at__lte=now)
    done = 0
    for proposal_id in list(due.order_by("remind_at").values_list("pk", flat=True)[:limit]):
        try:
            done += _remind(proposal_id, now)
        except Exception:
            logger.exception("nobody could be reminded of proposal %s", proposal_id)
    return done


def _remind(proposal_id: UUID, now: datetime) -> bool:
    with transaction.atomic():
        proposal = locked(proposal_id)
        remind_at, reminded = Proposal.objects.values_list("remind_at", "reminded").get(pk=proposal_id)
        if proposal.status != Status.PENDING or run_ended(proposal) or remind_at is None or remind_at > now:
            return False
        rung = min(reminded, len(RUNGS) - 1)
        last = rung == len(RUNGS) - 1
        following = None if last else max(now, remind_at + (proposal.decide_by - remind_at) * _share_of_rest(rung))
        Proposal.objects.filter(pk=proposal.pk).update(reminded=rung + 1, remind_at=following)
        if last:
            escalate_by_itself(proposal.pk, now)
            proposal.needs_role = Role.SENIOR
        people = told_about(proposal, now)
        Notification.objects.bulk_create(
            [Notification(user_id=one, proposal=proposal, rung=rung + 1, created_at=now) for one in people],
            ignore_conflicts=True,
        )
        record(proposal, SYSTEM, Handling.Kind.REMIND, now)
    return True


def _share_of_rest(rung: int) -> float:
    """Return how much of the time that is left after a rung passes until the next one."""
    return (RUNGS[rung + 1] - RUNGS[rung]) / (1 - RUNGS[rung])


def told_about(proposal: Proposal, now: datetime) -> list[int]:
    """Return the ids of those who are reminded: who is on call, else everybody who may decide it.

    Whoever is away is replaced by their delegate; whoever wants no e-mails is left out. Nobody is told who could not
    decide.
    """
    roles = (Role.SENIOR.value,) if proposal.needs_role else _DECIDING
    able = set(Membership.objects.filter(role__in=roles, user__is_active=True).values_list("user_id", flat=True))
    if proposal.requested_by_id is not None:
        able.discard(proposal.requested_by_id)
    on_call = Shift.objects.filter(starts_at__lte=now, ends_at__gt=now).values_list("user_id", flat=True)
    chosen = [user for user in on_call if user in able] or sorted(able)
    away = dict(Absence.objects.filter(starts_at__lte=now, ends_at__gt=now).values_list("user_id", "delegate_id"))
    quiet = set(Preference.objects.filter(reminders=False).values_list("user_id", flat=True))
    stand_ins = dict.fromkeys(_stand_in(user, away) for user in chosen)
    return [user for user in stand_ins if user in able and user not in quiet][:MOST_PEOPLE]


_DECIDING: Final = roles_with("proposal.decide")


def _stand_in(user: int, away: dict[int, int]) -> int:
    for _ in range(MOST_HOPS):
        if user not in away:
            break
        user = away[user]
    return user


def on_call_now(now: datetime) -> Iterable[User]:
    """Return who is on call, for pages."""
    shifts = Shift.objects.filter(starts_at__lte=now, ends_at__gt=now).select_related("user").order_by("ends_at")
    return [shift.user for shift in shifts]
