"""What people and task types are called: remembered for a moment, so that no list has to join for it."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from django.contrib.auth.models import User

from agentops.runs.models import TaskType
from agentops.tenancy import people
from agentops.tenancy.people import FRESH_S, people_with
from agentops.tenancy.scope import current_tenant_id
from approvals.models import Proposal

IN_A_ROW: Final = ("decided_by", "leased_by", "assigned_to")
ON_A_CARD: Final = (*IN_A_ROW, "held_by")

_kinds: dict[int, tuple[float, Mapping[int, TaskType]]] = {}
_guard = threading.Lock()


def people_of(proposals: Iterable[Proposal], fields: Sequence[str] = IN_A_ROW) -> dict[int, User]:
    """Return whom these fields of the proposals name, with user name and full name; at most one query."""
    return people_with({getattr(one, f"{field}_id") for one in proposals for field in fields} - {None})


def introduce(proposal: Proposal) -> Proposal:
    """Attach whom people have made part of a proposal, as `select_related` would; at most one query."""
    found = people_of([proposal], ON_A_CARD)
    for field in ON_A_CARD:
        person = found.get(getattr(proposal, f"{field}_id"))
        if person is not None:
            setattr(proposal, field, person)
    return proposal


def task_types() -> Mapping[int, TaskType]:
    """Return the task types of the open tenant by id and in the order of their names, with slug and name alone."""
    tenant_id, now = current_tenant_id(), time.monotonic()
    seen = _kinds.get(tenant_id)
    if seen is None or now - seen[0] >= FRESH_S:
        rows = TaskType.objects.only("tenant", "slug", "name").order_by("name", "pk")
        seen = (now, {one.pk: one for one in rows})
        with _guard:
            _kinds[tenant_id] = seen
    return seen[1]


def forget() -> None:
    """Ask again the next time."""
    with _guard:
        _kinds.clear()
    people.forget()
