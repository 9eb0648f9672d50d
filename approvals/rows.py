"""What a row of the queue prints: one proposal in two lines, as it is at the moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import User
from django.urls import reverse

from agentops.runs.models import TaskType
from agentops.wire.money import format_money
from approvals import freezing
from approvals.models import Proposal, Status
from approvals.names import people_of, task_types


def rows(proposals: Sequence[Proposal], *, me: int | None, now: datetime) -> list[dict[str, Any]]:
    """Return the items of `approvals/_items.html`. `proposals` come from `selectors`."""
    still = freezing.standing(proposals)
    people, kinds = people_of(proposals), task_types()
    address = reverse("proposal", args=[_ANY])
    return [_row(one, still, people, kinds, address, me, now) for one in proposals]


_ANY: Final = UUID(int=0)
"""Stands for a proposal in an address that is looked up once for all rows."""


def _row(
    one: Proposal,
    still: Mapping[UUID, datetime],
    people: Mapping[int, User],
    kinds: Mapping[int, TaskType],
    address: str,
    me: int | None,
    now: datetime,
) -> dict[str, Any]:
    def called(person: int | None) -> str:
        return people[person].get_username() if person is not None and person in people else ""

    pending = one.status == Status.PENDING
    leased = pending and one.leased_until is not None and one.leased_until > now
    held = one.held_until if pending and one.held_until is not None and one.held_until > now else None
    holder = called(one.leased_by_id) if leased else ""
    assignee = called(one.assigned_to_id) if pending else ""
    return {
        "id": one.pk,
        "state": f"{one.status} {holder} {assignee} {one.risk_score} {held.isoformat() if held else ''}",
        "band": one.risk_band,
        "score": one.risk_score,
        "sentence_parts": one.sentence,
        "magnitude": magnitude(one.consequence),
        "tainted": one.tainted,
        "task_type": kind.name if (kind := kinds.get(one.task_type_id)) is not None else one.task_type.name,
        "tool": one.tool,
        "age": one.created_at,
        "decide_by": one.decide_by,
        "still_since": still.get(one.pk),
        "status": one.status,
        "closed": None if pending else {"by": called(one.decided_by_id), "at": one.decided_at},
        "leased": {"by": holder, "mine": one.leased_by_id == me} if holder else None,
        "assigned": {"to": assignee, "mine": one.assigned_to_id == me} if assignee else None,
        "held_until": held,
        "url": address.replace(str(_ANY), str(one.pk)),
        "selected": False,
    }


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
