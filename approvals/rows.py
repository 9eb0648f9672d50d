"""What a row of the queue prints: one proposal in two lines, as it is at the moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse

from agentops.wire.money import format_money
from approvals import freezing
from approvals.models import Proposal, Status


def rows(proposals: Sequence[Proposal], *, me: int | None, now: datetime) -> list[dict[str, Any]]:
    """Return the items of `approvals/_row.html`. `proposals` come from `selectors`."""
    still = freezing.standing(proposals)
    return [_row(one, still, me, now) for one in proposals]


def _row(one: Proposal, still: Mapping[UUID, datetime], me: int | None, now: datetime) -> dict[str, Any]:
    pending = one.status == Status.PENDING
    leased = pending and one.leased_until is not None and one.leased_until > now
    held = pending and one.held_until is not None and one.held_until > now
    return {
        "id": one.pk,
        "band": one.risk_band,
        "score": one.risk_score,
        "sentence_parts": one.sentence,
        "magnitude": magnitude(one.consequence),
        "tainted": one.tainted,
        "task_type": one.task_type.name,
        "tool": one.tool,
        "age": one.created_at,
        "decide_by": one.decide_by,
        "still_since": still.get(one.pk),
        "status": one.status,
        "closed": None if pending else {"by": one.decided_by and one.decided_by.get_username(), "at": one.decided_at},
        "leased": {"by": one.leased_by.get_username(), "mine": one.leased_by_id == me}
        if leased and one.leased_by is not None
        else None,
        "assigned": {"to": one.assigned_to.get_username(), "mine": one.assigned_to_id == me}
        if pending and one.assigned_to is not None
        else None,
        "held_until": one.held_until if held else None,
        "url": reverse("proposal", args=[one.pk]),
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
