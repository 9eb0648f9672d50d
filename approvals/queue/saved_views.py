"""Filters of the queue that have a name: those everybody has, those of the tenant, and a person's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy.access import Actor, can
from agentops.tenancy.prepared import Ask, Query
from agentops.wire.parse import JSONObject, clean_text
from approvals.models import SavedView
from approvals.queue.filters import BadFilter, Filters, parse

SHARE: Final = "queue.share"
MOST: Final = 12
"""So many a person may have, and so many a tenant: each is counted whenever the queue is shown."""

MAX_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class View:
    """One named filter. `id` is None for those that everybody has; `removable` by whoever asked."""

    name: str
    query: str
    filters: Filters
    id: int | None = None
    shared: bool = False
    removable: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """It is there now."""

    id: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was saved: `field` (name, query, shared or empty) and why."""

    field: str
    message: str


BUILT_IN: Final[Sequence[tuple[str, str]]] = (
    ("All", ""),
    ("Mine", "mine:yes"),
    ("High and critical", "band:high,critical"),
    ("Untrusted", "taint:yes"),
    ("Held", "held:yes"),
)


def asked_for(actor: Actor) -> Ask:
    """Return what `views_of` will ask, so that it can go along with another query."""
    return _SEEN_BY, (actor.user_id,)


def views_of(actor: Actor) -> list[View]:
    """Return the views a person sees: everybody's, the tenant's, their own, each by name. One query."""
    views = list(_built_in(actor.user_id))
    shared = can(actor, SHARE)
    seen, values = asked_for(actor)
    for pk, owner, name, query in sorted(seen(*values), key=lambda one: (one[1] is not None, one[2])):
        try:
            filters = _read(query, actor.user_id)
        except BadFilter:
            continue  # the grammar has moved on; what it said then means nothing now
        mine = owner is not None
        views.append(View(name, query, filters, pk, shared=not mine, removable=mine or shared))
    return views


_SEEN_BY: Final = Query(
    lambda owner: (
        SavedView.objects.filter(Q(owner=owner) | Q(owner__isnull=True))
        .order_by("owner", "name", "pk")
        .values_list("pk", "owner_id", "name", "query")[: 2 * MOST]
    )
)

_read = lru_cache(1_000)(parse)


@lru_cache(1_000)
def _built_in(me: int | None) -> tuple[View, ...]:
    return tuple(View(name, query, parse(query, me)) for name, query in BUILT_IN)


def save(*, actor: Actor, name: str, query: str, shared: bool) -> Saved | Refused:
    """Keep a filter under a name, for the actor or for everybody in the tenant; the same name is replaced."""
    called = clean_text(" ".join(name.split()))
    if not called or len(called) > MAX_NAME:
        return Refused("name", f"Give it a name of at most {MAX_NAME} characters.")
    if shared and not can(actor, SHARE):
        return Refused("shared", "Seniors and admins save views for everybody.")
    try:
        filters = parse(query, actor.user_id)
    except BadFilter as bad:
        return Refused("query", bad.problems[0].message)
    if not filters.active:
        return Refused("query", "There is no filter to save.")
    owner = None if shared else actor.user_id
    if owner is None and not shared:
        return Refused("", "Only people have views.")
    mine = SavedView.objects.filter(owner=owner) if owner is not None else SavedView.objects.filter(owner__isnull=True)
    known = mine.filter(name=called).first()
    if known is None and mine.count() >= MOST:
        return Refused("name", f"There are {MOST} views already. Remove one first.")
    try:
        with transaction.atomic():
            values = {"query": filters.query, "created_by_id": actor.user_id, "created_at": timezone.now()}
            row, _ = SavedView.objects.update_or_create(owner_id=owner, name=called, defaults=values)
            _record("queue_view.saved", row, actor)
    except IntegrityError:
        return Refused("name", "There is a view of this name already.")
    return Saved(row.pk)


def remove(*, view_id: int, actor: Actor) -> bool:
    """Remove one's own view, or with the right to share one of the tenant's; return whether there was one."""
    removable = Q(owner=actor.user_id) | Q(owner__isnull=True) if can(actor, SHARE) else Q(owner=actor.user_id)
    with transaction.atomic():
        row = SavedView.objects.filter(removable, pk=view_id).first()
        if row is None:
            return False
        _record("queue_view.removed", row, actor)
        row.delete()
    return True


def _record(event: str, row: SavedView, actor: Actor) -> None:
    data: JSONObject = {"name": row.name, "query": row.query, "shared": row.owner_id is None}
    record_in_tenant_stream(event, data, subject=("queue_view", str(row.pk)), actor=actor)
