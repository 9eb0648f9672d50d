"""Read runs for callers: one, a page of them by keyset, a page of one's events."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from agentops.audit.models import Event
from agentops.audit.removals import removal_of, words_of
from agentops.audit.services import Recorded, load, read
from agentops.gateway.answers import RunResult, run_result
from agentops.payloads.services import resolve_exchange
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import stream_of
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals.models import Proposal


class InvalidCursor(ValueError):
    """A cursor was not made by this API."""


class RecordRemoved(LookupError):
    """Retention has removed the record of the run that its result is read from."""


def find_run(run_id: UUID) -> Run | None:
    """Return a run of the open tenant scope with its task type."""
    return _runs().filter(pk=run_id).first()


def full_result(run: Run, tenant: Tenant) -> RunResult:
    """Return everything about a run. Two queries. Raises RecordRemoved."""
    proposals = list(Proposal.objects.filter(run_id=run.id).order_by("created_at", "id"))
    recorded = load(stream_of(run.id))
    if not recorded:
        _must_be_kept(run)
    return run_result(run, tenant, recorded, proposals)


def exchange_at(run: Run, seq: int) -> JSONObject | None:
    """Return what was said to the models for an event, with its long texts filled in; None where nothing was.

    Raises RecordRemoved, PayloadMissing, PayloadDamaged.
    """
    event = next((one for one in load(stream_of(run.id), seq - 1) if one.seq == seq), None)
    if event is None:
        _must_be_kept(run)
    exchange = event.data.get("exchange") if event is not None else None
    return resolve_exchange(exchange) if isinstance(exchange, dict) else None


def runs_page(*, state: str, task_type: str, after: str, limit: int) -> tuple[Sequence[Run], str | None]:
    """Return at most `limit` runs, newest first, and the cursor of the next page. Raises `InvalidCursor`."""
    runs = _runs().order_by("-created_at", "-id")
    if state:
        runs = runs.filter(state=state)
    if task_type:
        runs = runs.filter(task_type__slug=task_type)
    if after:
        at, run_id = _read_cursor(after)
        # The first condition alone lets the index start at the right place; the second one breaks ties.
        runs = runs.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(id__lt=run_id))
    found = list(runs[: limit + 1])
    shown = found[:limit]
    return shown, _cursor(shown[-1]) if len(found) > limit else None


def events_page(run: Run, *, after: int, limit: int) -> tuple[Sequence[Recorded], int | None]:
    """Return at most `limit` events of a run above a sequence number, oldest first, and where to go on.

    Raises RecordRemoved.
    """
    rows = Event.objects.filter(stream__name=stream_of(run.id), seq__gt=after).order_by("seq")
    stored = rows.values_list("body", "hash")[: limit + 1]
    found = [event for body, digest in stored for event in read(body, bytes(digest)) if event.seq > after]
    if not found:
        _must_be_kept(run)
    shown = found[:limit]
    return shown, shown[-1].seq if len(found) > limit else None


def open_task_types() -> Sequence[TaskType]:
    """Return the task types that are switched on, by slug."""
    return list(TaskType.objects.filter(enabled=True).order_by("slug"))


def _must_be_kept(run: Run) -> None:
    if (removed := removal_of(stream_of(run.id))) is not None:
        raise RecordRemoved(words_of(removed))


def _runs() -> QuerySet[Run]:
    return Run.objects.select_related("task_type")


def _cursor(run: Run) -> str:
    place = f"{run.created_at.isoformat()}~{run.id}"
    return base64.urlsafe_b64encode(place.encode("ascii")).decode("ascii").rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        at, _, run_id = place.partition("~")
        moment = datetime.fromisoformat(at)
        if moment.utcoffset() is None:
            raise InvalidCursor
        return moment.astimezone(UTC), UUID(run_id)
    except (ValueError, OverflowError, binascii.Error):
        raise InvalidCursor from None
