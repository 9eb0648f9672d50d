"""Read runs for people: the list by keyset, one run with its story."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from agentops.audit.models import RemovedSegment
from agentops.audit.removals import removal_of
from agentops.audit.services import Recorded, load
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import stream_of
from agentops.tenancy.models import ServiceToken
from agentops.tenancy.people import called

PAGE = 50


@dataclass(frozen=True, slots=True)
class RunPage:
    """At most 50 runs, newest first; `next` is the place to continue from, empty at the end."""

    runs: tuple[Run, ...]
    next: str


def run_page(
    *, state: str = "", task_type: str = "", only: str = "", before: tuple[datetime, UUID] | None = None
) -> RunPage:
    """Return the newest matching runs of the open tenant scope, or those before a place. One query, nothing counted.

    `only` is dead_letter (runs that were taken out and wait for an engineer), paused, or empty.
    """
    runs = Run.objects.select_related("task_type", "requested_by").order_by("-created_at", "-id")
    if state:
        runs = runs.filter(state=state)
    if task_type:
        runs = runs.filter(task_type__slug=task_type)
    if only == "dead_letter":
        runs = runs.filter(failure_code="dead_letter")
    elif only == "paused":
        runs = runs.filter(paused_at__isnull=False)
    if before is not None:
        at, run_id = before
        # The first condition alone lets the index start at the right place; the second one breaks ties.
        runs = runs.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(id__lt=run_id))
    found = list(runs[: PAGE + 1])
    shown = tuple(found[:PAGE])
    return RunPage(shown, f"{shown[-1].created_at.isoformat()}~{shown[-1].id}" if len(found) > PAGE else "")


def task_types() -> Sequence[TaskType]:
    """Return every task type of the open tenant scope, by name."""
    return list(TaskType.objects.order_by("name", "pk"))


def record_of(run: Run) -> Sequence[Recorded]:
    """Return the recorded events of a run, oldest first. One query."""
    return load(stream_of(run.id))


def removal_of_record(run: Run) -> RemovedSegment | None:
    """Return what retention has left of the record of a run; None where it has removed nothing. One query."""
    return removal_of(stream_of(run.id))


def session_notes(run: Run) -> Sequence[Mapping[str, Any]]:
    """Return what stands in the scratch area of a live run, by name. One query; the rows are of the layer above."""
    return list(run.session_notes.order_by("name").values("name", "kind", "value", "size", "untrusted", "source_call"))


def duration(run: Run) -> timedelta | None:
    """Return how long a run took, or has taken so far; None before a worker took it up."""
    if run.started_at is None:
        return None
    return (run.ended_at or timezone.now()) - run.started_at


def token_names(runs: Iterable[Run]) -> dict[str, str]:
    """Return the names of the service tokens that submitted these runs, by id. One query, none without tokens."""
    wanted = {int(run.requested_by_token) for run in runs if run.requested_by_token.isdecimal()}
    if not wanted:
        return {}
    return {str(pk): name for pk, name in ServiceToken.objects.filter(pk__in=wanted).values_list("pk", "name")}


def requester(run: Run, names: Mapping[str, str]) -> str:
    """Name the person or program that submitted a run."""
    if run.requested_by is not None:
        return called(run.requested_by)
    token = run.requested_by_token
    return f"token {names.get(token, token)}" if token else ""
