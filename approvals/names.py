"""What people and task types are called: remembered for a moment, so that no list has to join for it."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from django.contrib.auth.models import User

from agentops.runs.models import TaskType
from agentops.tenancy.scope import current_tenant_id
from approvals.models import Proposal

FRESH_S: Final = 10.0
"""How old a name may be in another process than the one that changed it."""

MOST: Final = 10_000
"""Beyond so many people everybody is forgotten, which costs one query for each list."""

IN_A_ROW: Final = ("decided_by", "leased_by", "assigned_to")
ON_A_CARD: Final = (*IN_A_ROW, "held_by")

_people: dict[tuple[int, int], tuple[float, User]] = {}
_kinds: dict[int, tuple[float, Mapping[int, TaskType]]] = {}
_guard = threading.Lock()


def people_of(proposals: Iterable[Proposal], fields: Sequence[str] = IN_A_ROW) -> dict[int, User]:
    """Return whom these fields of the proposals name, with user name and full name; at most one query."""
    return people_with({getattr(one, f"{field}_id") for one in proposals for field in fields} - {None})


def people_with(ids: Iterable[int]) -> dict[int, User]:
    """Return the people with these ids, with user name and full name; at most one query."""
    tenant_id, now = current_tenant_id(), time.monotonic()
    found: dict[int, User] = {}
    missing: set[int] = set()
    for user_id in ids:
        seen = _people.get((tenant_id, user_id))
        if seen is None or now - seen[0] >= FRESH_S:
            missing.add(user_id)
        else:
            found[user_id] = seen[1]
    if missing:
        read = User.objects.only("username", "first_name", "last_name").in_bulk(sorted(missing))
        with _guard:
            if len(_people) > MOST:
                _people.clear()
            _people.update({(tenant_id, user_id): (now, user) for user_id, user in read.items()})
        found |= read
    return found


def introduce(proposal: Proposal) -> Proposal:
    """Attach whom people have made part of a proposal, as `select_related` would; at most one query."""
    people = people_of([proposal], ON_A_CARD)
    for field in ON_A_CARD:
        person = people.get(getattr(proposal, f"{field}_id"))
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
        _people.clear()
        _kinds.clear()
