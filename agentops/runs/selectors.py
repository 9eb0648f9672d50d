"""Read runs for people: the list by keyset, one run with its story."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from agentops.audit.services import load
from agentops.engine.state import State
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import stream_of
from agentops.runs.timeline import Told, tell
from agentops.tenancy.models import ServiceToken

PAGE = 50


@dataclass(frozen=True, slots=True)
class RunPage:
    """At most 50 runs, newest first; `next` is the place to continue from, empty at the end."""

    runs: tuple[Run, ...]
    next: str


def run_page(*, state: str = "", task_type: str = "", before: tuple[datetime, UUID] | None = None) -> RunPage:
    """Return the newest matching runs of the open tenant scope, or those before a place. One query, nothing counted."""
    runs = Run.objects.select_related("task_type", "requested_by").order_by("-created_at", "-id")
    if state:
        runs = runs.filter(state=state)
    if task_type:
        runs = runs.filter(task_type__slug=task_type)
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


def story(run: Run, proposal_url: Callable[[str], str], exchange_url: Callable[[int], str] = lambda _: "") -> Told:
    """Return what happened to a run, from its events. One query."""
    return tell(load(stream_of(run.id)), proposal_url, exchange_url)


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
        return run.requested_by.get_full_name() or run.requested_by.get_username()
    token = run.requested_by_token
    return f"token {names.get(token, token)}" if token else ""


def spent(state: State) -> tuple[tuple[str, int, int | None], ...]:
    """Return what a run has used of its limits: (name, used, limit); None where there is no limit."""
    limits = state.limits
    rows: list[tuple[str, int, int | None]] = [
        ("Steps", state.steps_used, limits.steps),
        ("Plans", len(state.plans), limits.plans),
        ("Model calls", state.usage.requests, limits.model_calls),
        ("Seconds at work", int(state.wall_time.total_seconds()), limits.wall_time_s),
        ("Calls", state.calls_used, None),
        ("Denied calls", state.denied_calls, None),
    ]
    if state.usage.input_tokens or state.usage.output_tokens:
        rows.append(("Tokens", state.usage.input_tokens + state.usage.output_tokens, None))
    if state.usage.unpriced:
        rows.append(("Model calls of unknown cost", state.usage.unpriced, None))
    return tuple(rows)
