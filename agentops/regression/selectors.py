"""Read runs, cases and results for commands and pages."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from agentops.runs.models import Run
from agentops.tenancy.models import Tenant


def tenants_named(slug: str | None) -> Sequence[Tenant] | None:
    """Return the tenant with this slug, or all of them by slug; None if there is none with it."""
    tenants = Tenant.objects.order_by("slug")
    if not slug:
        return list(tenants)
    return list(tenants.filter(slug=slug)) or None


def runs_named(ids: Iterable[UUID]) -> Sequence[Run]:
    """Return the runs of the open tenant scope with these ids. One query."""
    return list(Run.objects.select_related("task_type").filter(pk__in=list(ids)))


def newest_runs(limit: int) -> Sequence[UUID]:
    """Return the ids of the newest runs of the open tenant scope. One query."""
    return list(Run.objects.order_by("-created_at", "-id").values_list("pk", flat=True)[:limit])
