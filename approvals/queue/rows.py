"""What a row of the queue prints: one proposal in two lines, as it is at the moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import User
from django.urls import reverse

from agentops.halts.covering import Stop, Work, recent_stops
from agentops.runs.models import TaskType, agent_of
from agentops.tenancy.people import called, people_with
from agentops.wire.money import format_money
from approvals.models import Status
from approvals.proposals import freezing
from approvals.proposals.names import task_types
from approvals.queue.selectors import QueueRow


def rows(found: Sequence[QueueRow], *, me: int | None, now: datetime) -> list[dict[str, Any]]:
    """Return the items of the tag `rows`. At most three queries: people, task types, stops; seldom any."""
    stops = recent_stops()
    people = people_with(
        {pk for one in found for pk in (one.decided_by_id, one.leased_by_id, one.assigned_to_id) if pk}
    )
    kinds = task_types()
    address = reverse("proposal", args=[_ANY]).removesuffix(str(_ANY))
    return [_item(one, stops, people, kinds, address, me, now) for one in found]


_ANY: Final = UUID(int=0)
"""Stands for a proposal in an address that is looked up once for all rows."""


def _item(
    one: QueueRow,
    stops: Sequence[Stop],
    people: Mapping[int, User],
    kinds: Mapping[int, TaskType],
    address: str,
    me: int | None,
    now: datetime,
) -> dict[str, Any]:
    pending = one.status == Status.PENDING
    leased = pending and one.leased_until is not None and one.leased_until > now
    held = one.held_until if pending and one.held_until is not None and one.held_until > now else None
    holder = called(people.get(one.leased_by_id or 0)) if leased else ""
    assignee = called(people.get(one.assigned_to_id or 0)) if pending else ""
    role = one.needs_role if pending else ""
    return {
        "id": one.pk,
        "state": f"{one.status} {holder} {assignee} {one.risk_score} {held.isoformat() if held else ''} {role}",
        "band": one.risk_band,
        "score": one.risk_score,
        "sentence": one.sentence,
        "consequence": one.consequence,
        "tainted": one.tainted,
        "task_type": kind.name if (kind := kinds.get(one.task_type_id)) is not None else _name_of(one.task_type_id),
        "age": one.created_at,
        "decide_by": one.decide_by,
        "still_since": _still_since(one, stops) if pending and (stops or one.paused_at is not None) else None,
        "status": one.status,
        "closed": None if pending else {"by": called(people.get(one.decided_by_id or 0)), "at": one.decided_at},
        "leased": {"by": holder, "mine": one.leased_by_id == me} if holder else None,
        "assigned": {"to": assignee, "mine": one.assigned_to_id == me} if assignee else None,
        "role": role,
        "held_until": held,
        "address": address,
        "now": now,
        "selected": False,
    }


def _name_of(task_type_id: int) -> str:
    """Ask for the name of a task type that is newer than what is remembered."""
    return TaskType.objects.values_list("name", flat=True).get(pk=task_type_id)


def _still_since(one: QueueRow, stops: Sequence[Stop]) -> datetime | None:
    work = Work(one.run_id, one.task_type_id, agent_of(one.requested_by_id, one.requested_by_token), one.tool)
    still = freezing.stands_since(stops, work, one.paused_at, born=one.created_at, thawed_to=one.thawed_to)
    return still if still is not None and still < one.decide_by else None


def magnitude(consequence: Any) -> str:
    """Return the one number of a row: the money, or else how many things are touched."""
    match consequence:
        case {"money": {"minor": int(minor), "currency": str(currency)}}:
            try:
                return format_money(minor, currency)
            except ValueError:
                return f"{minor} {currency}"
        case {"blast": [{"kind": str(kind), "count": int(count)}, *_]}:
            return f"{count:,} {kind.removesuffix('s') if count == 1 else kind}"
        case _:
            return ""
