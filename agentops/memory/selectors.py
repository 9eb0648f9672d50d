"""Read facts for people: the list by keyset, the curation queue, one fact with what its page names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from agentops.memory.models import Descent, Fact, FactStatus
from agentops.runs.models import TaskType

PAGE = 50
COUNTED = 100
"""Nothing is counted beyond this."""


@dataclass(frozen=True, slots=True)
class FactPage:
    """At most 50 facts; `next` is the id to continue from, None at the end."""

    facts: tuple[Fact, ...]
    next: int | None


def fact_page(*, status: str = "", task_type: str = "", before: int | None = None) -> FactPage:
    """Return the newest matching facts of the open tenant scope, or those before an id. One query, nothing counted."""
    facts = _named().order_by("-pk")
    if status:
        facts = facts.filter(status=status)
    if task_type:
        facts = facts.filter(task_type__slug=task_type)
    return _page(facts.filter(pk__lt=before) if before is not None else facts)


def waiting_page(*, after: int | None = None) -> FactPage:
    """Return what waits for a curator, the oldest first. One query."""
    facts = _named().filter(status=FactStatus.PROPOSED).order_by("pk")
    return _page(facts.filter(pk__gt=after) if after is not None else facts)


def waiting_count() -> int:
    """Count what waits for a curator, up to 100."""
    return Fact.objects.filter(status=FactStatus.PROPOSED).order_by()[:COUNTED].count()


def find(fact_id: int) -> Fact | None:
    """Return a fact of the open tenant with what its page names. One query."""
    return _named().filter(pk=fact_id).first()


def related(fact: Fact) -> Mapping[str, Sequence[Fact]]:
    """Return the facts this one descends from (`ancestors`) and those made from it (`descendants`). Two queries."""
    above = Descent.objects.filter(fact=fact).values("ancestor_id")
    below = Descent.objects.filter(ancestor=fact).values("fact_id")
    return {
        "ancestors": list(Fact.objects.filter(pk__in=above).order_by("pk")[:PAGE]),
        "descendants": list(Fact.objects.filter(pk__in=below).order_by("pk")[:PAGE]),
    }


def task_types() -> list[TaskType]:
    """Return every task type of the open tenant scope, by name."""
    return list(TaskType.objects.order_by("name", "pk"))


def _named() -> QuerySet[Fact, Any]:
    return Fact.objects.select_related("task_type", "source_run", "source_run__task_type", "curated_by")


def _page(facts: QuerySet[Fact, Any]) -> FactPage:
    found = list(facts[: PAGE + 1])
    shown = tuple(found[:PAGE])
    return FactPage(shown, shown[-1].pk if len(found) > PAGE else None)
