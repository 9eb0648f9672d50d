"""Remove what is past its period and not held, in pieces, behind the scenes. Nothing else ever deletes a record.

A pass over one class of records is made of pieces, each one transaction: it locks the tenant's door (`services`),
reads the holds, says in an event of the stream `retention` what it removes, writes the rows that open the triggers for
exactly that (`guards`), deletes it, and notes how far it has come. What dies in between is done again; what was done is
not.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection, router, transaction
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from agentops.audit import removals
from agentops.audit.models import Event, EventTerm, Export, RemovedSegment, Stream
from agentops.audit.selectors import together
from agentops.audit.services import TENANT_STREAM, NewEvent, append
from agentops.audit.terms import terms_of
from agentops.engine.transitions import CallState
from agentops.memory.models import OPEN, Fact
from agentops.payloads.models import Payload, PayloadUse, RemovedText
from agentops.retention import classes, holds, refusals, services
from agentops.retention.models import Pass
from agentops.runs.models import Run, ToolCall
from agentops.tenancy.access import SYSTEM
from agentops.wire.parse import JSON, JSONObject

logger = logging.getLogger(__name__)

EVERY: Final = timedelta(hours=24)
"""Between the beginnings of two passes over one class."""
TEXTS: Final = 100
STREAMS: Final = 100
EVENTS: Final = 2_000
"""Of one piece; a single longer run is removed as a whole."""
_RUN: Final = "run:"
_TENANT: Final = "tenant"


@dataclass
class Piece:
    """What one piece did: how many records it removed and found held, and where the next one begins.

    `refused` are those that the database did not let go, each with its reason.
    """

    removed: int = 0
    held: int = 0
    refused: Sequence[tuple[str, str]] = ()
    position: str = ""
    done: bool = False
    told: JSONObject = field(default_factory=dict)


Work = Callable[[str, holds.Holds, datetime, datetime], Piece]
Hear = Callable[[Sequence[UUID], datetime], None]
_HEAR: Final[list[Hear]] = []


def go_on(now: datetime) -> int:
    """Do one piece of each class where a pass is under way or due, in the open tenant scope; return what it removed.

    One query where nothing is. A class that breaks does not hold up the others.
    """
    ended = Pass.objects.filter(ended_at__isnull=False).values_list("record_class", "started_at")
    rests = {record_class for record_class, started_at in ended if _rests(started_at, now)}
    removed = 0
    for record_class, work in _WORK.items():
        if record_class in rests:
            continue
        try:
            removed += work_through(record_class, work, now)
        except Exception:
            logger.exception("removing %s that is past its period failed", record_class)
    return removed


def work_on(record_class: str, work: Work) -> None:
    """Have go_on remove this class as well, of an app above (idempotent)."""
    _WORK[record_class] = work


def tell_before(hear: Hear) -> None:
    """Have this one called with the ids of runs before their records are removed, in that transaction (idempotent)."""
    if hear not in _HEAR:
        _HEAR.append(hear)


def work_through(record_class: str, work: Work, now: datetime) -> int:
    """Do one piece of a pass over one class; return how many records it removed.

    `work` gets the position, the holds, the moment before which records are past their period, and now: by the clock
    of the database where that of this process is ahead, because what is removed too early does not come back.
    """
    with transaction.atomic():
        services.open_door()
        row, _ = Pass.objects.get_or_create(record_class=record_class, defaults={"started_at": now})
        if row.ended_at is not None:
            if _rests(row.started_at, now):
                return 0
            row.started_at, row.ended_at, row.position, row.removed, row.held = now, None, "", 0, 0
            row.refused = 0
        sure = min(now, _database_now())
        cutoff = services.in_force().cutoff(record_class, sure)
        piece = work(row.position, holds.in_force(), cutoff, sure)
        row.position, row.removed, row.held = piece.position, row.removed + piece.removed, row.held + piece.held
        if piece.refused:
            row.refused += len(piece.refused)
            told = list[JSON]({"record": name, "reason": reason} for name, reason in piece.refused)
            tell(record_class, {"records": told}, sure, event_type=refusals.TYPE)
        if piece.done:
            row.ended_at = now
        row.save()
    return piece.removed


def _rests(started_at: datetime, now: datetime) -> bool:
    """Say whether a pass that began then and has ended is the newest there should be.

    One that began in a far future was begun by a clock that was wrong.
    """
    return abs(started_at - now) < EVERY


def _database_now() -> datetime:
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("select now()")
        [now] = cursor.fetchone()
    found: datetime = now
    return found


def tell(record_class: str, data: JSONObject, now: datetime, *, event_type: str = removals.TYPE) -> int:
    """Write the event that says what is removed now; return the id of its row. Must run inside `atomic`."""
    event = NewEvent(event_type, {"class": record_class, **data}, ("retention", record_class))
    [told] = append(removals.STREAM, [event], actor=SYSTEM, at=now)
    return Event.objects.values_list("pk", flat=True).get(stream__name=removals.STREAM, seq=told.seq)


# --- texts ------------------------------------------------------------------------------------------------------------


def _texts(position: str, held: holds.Holds, cutoff: datetime, now: datetime) -> Piece:
    old = Q(created_at__lt=cutoff) & (Q(used_at__isnull=True) | Q(used_at__lt=cutoff))
    rows = Payload.objects.select_for_update().filter(old).defer("body").order_by("created_at", "pk")
    if position:
        moment, _, pk = position.rpartition(" ")
        after = parse_datetime(moment)
        assert after is not None
        rows = rows.filter(Q(created_at__gt=after) | Q(created_at=after, pk__gt=int(pk)))
    batch = list(rows[:TEXTS])
    kept = _held_texts(batch, held, cutoff)
    going = [one for one in batch if one.pk not in kept]
    refused = refusals.remove_each(going, lambda some: _remove_texts(some, now))
    position = f"{batch[-1].created_at.isoformat()} {batch[-1].pk}" if batch else position
    told = [(f"sha256:{one.sha256}", reason) for one, reason in refused]
    return Piece(len(going) - len(told), len(kept), told, position, len(batch) < TEXTS)


def _remove_texts(texts: Sequence[Payload], now: datetime) -> None:
    left = [
        RemovedText(
            tenant_id=one.tenant_id,
            sha256=one.sha256,
            payload_id=one.pk,
            size=one.size,
            stored_at=one.created_at,
            removed_at=now,
        )
        for one in texts
    ]
    told = list[JSON](removals.described_text(one) for one in left)
    event_id = tell(classes.BODIES.name, {"count": len(left), "texts": told}, now)
    for one in left:
        one.event_id = event_id
    RemovedText.objects.bulk_create(left)
    _delete(Payload.objects.filter(pk__in=[one.pk for one in texts]))


def _held_texts(batch: Sequence[Payload], held: holds.Holds, cutoff: datetime) -> set[int]:
    """Return the texts that a hold covers, or that a run which has not ended names.

    Where nobody noted when a text was named last, the last end of a run that names it counts.
    """
    uses: defaultdict[str, set[UUID]] = defaultdict(set)
    names = [one.sha256 for one in batch]
    for sha256, run_id in PayloadUse.objects.filter(sha256__in=names).values_list("sha256", "run_id"):
        uses[sha256].add(run_id)
    runs = _runs({run_id for found in uses.values() for run_id in found})
    kept_runs = held.held_runs(runs.values()) | {pk for pk, run in runs.items() if run.ended_at is None}
    young_runs = {pk for pk, run in runs.items() if run.ended_at is not None and run.ended_at >= cutoff}
    narrow = bool(held.runs or held.people)
    return {
        one.pk
        for one in batch
        if held.covers_time(one.created_at, one.used_at or one.created_at)
        or uses[one.sha256] & kept_runs
        or (one.used_at is None and uses[one.sha256] & young_runs)
        # Nobody knows whose it is: it may be what is held.
        or (narrow and not uses[one.sha256])
    }


# --- the record -------------------------------------------------------------------------------------------------------


def _record(position: str, held: holds.Holds, cutoff: datetime, now: datetime) -> Piece:
    """Remove whole streams of runs, and then the beginning of the tenant's own stream."""
    if position.startswith(_TENANT):
        return _beginning(held, cutoff, now)
    streams = Stream.objects.filter(pk__gt=int(position or 0), name__startswith=_RUN).order_by("pk")
    batch = list(streams[:STREAMS])
    if not batch:
        return Piece(position=_TENANT)
    first = Event.objects.filter(stream_id=batch[-1].pk).order_by("seq").values_list("at", flat=True).first()
    ids = {one.pk: UUID(one.name.removeprefix(_RUN)) for one in batch if _is_run(one.name)}
    runs = _runs(ids.values())
    past = {pk: run for pk, run in runs.items() if run.ended_at is not None and run.ended_at < cutoff}
    spans = {
        row["stream_id"]: row
        for row in Event.objects.filter(stream_id__in=[pk for pk, run_id in ids.items() if run_id in past])
        .values("stream_id")
        .annotate(oldest=Min("at"), newest=Max("at"), rows=Count("pk"))
    }
    # What was written of a run after its end may be what is held.
    kept = held.held_runs(past.values()) | {
        ids[pk] for pk, span in spans.items() if held.covers_time(span["oldest"], span["newest"])
    }
    free = past.keys() - kept - _needed(past.keys() - kept)
    going: list[Stream] = []
    rows = 0
    last = batch[-1].pk
    found_held = 0
    for stream in batch:
        span, run_id = spans.get(stream.pk), ids.get(stream.pk)
        if span is None or run_id is None:
            continue
        if run_id in free and span["newest"] < cutoff:
            if going and rows + span["rows"] > EVENTS:
                last = going[-1].pk
                break
            rows += span["rows"]
            going.append(stream)
        elif run_id in kept:
            found_held += 1
    locked = list(Stream.objects.select_for_update().filter(pk__in=[one.pk for one in going]).order_by("pk"))
    segments = [
        RemovedSegment(
            tenant_id=one.tenant_id,
            stream=one,
            upto=one.seq,
            events=one.seq,
            hash=bytes(one.head),
            newest_at=spans[one.pk]["newest"],
            removed_at=now,
        )
        for one in locked
        if one.seq == _last_seq(going, one.pk)
    ]
    refused = refusals.remove_each(segments, lambda some: _remove(some, now))
    told = [(one.stream.name, reason) for one, reason in refused]
    # Streams are made in the order of time: behind one whose beginning is too young there is nothing to do.
    through = last == batch[-1].pk and first is not None and first >= cutoff
    return Piece(len(segments) - len(told), found_held, told, _TENANT if through else str(last))


def _beginning(held: holds.Holds, cutoff: datetime, now: datetime) -> Piece:
    stream = Stream.objects.select_for_update().filter(name=TENANT_STREAM).first()
    if stream is None:
        return Piece(position=_TENANT, done=True)
    batch = list(Event.objects.filter(stream=stream).order_by("seq")[:EVENTS])
    going: list[Event] = []
    blocked = 0
    for row in batch:
        if row.at >= cutoff:
            break
        if held.covers_row(row):
            blocked = 1
            break
        going.append(row)
    refused = refusals.remove_beginning(going, lambda some: _remove([_segment(stream, some, now)], now))
    told = [(f"{TENANT_STREAM} event {row.seq}", reason) for row, reason in refused]
    removed = 1 if going and not (refused and refused[0][0] is going[0]) else 0
    return Piece(removed, blocked, told, _TENANT, done=len(going) < EVENTS or bool(told))


def _segment(stream: Stream, rows: Sequence[Event], now: datetime) -> RemovedSegment:
    before = removals.removal_of(TENANT_STREAM)
    return RemovedSegment(
        tenant_id=stream.tenant_id,
        stream=stream,
        upto=rows[-1].seq,
        events=rows[-1].seq - (before.upto if before is not None else 0),
        hash=bytes(rows[-1].hash),
        newest_at=max(row.at for row in rows),
        removed_at=now,
    )


def _remove(segments: Sequence[RemovedSegment], now: datetime) -> None:
    runs = [UUID(one.stream.name.removeprefix(_RUN)) for one in segments if _is_run(one.stream.name)]
    for hear in _HEAR if runs else ():
        hear(runs, now)
    events = Event.objects.none()
    for one in segments:
        events |= Event.objects.filter(stream_id=one.stream_id, seq__lte=one.upto)
    _forget_terms(events.select_related("stream"))
    told = list[JSON](removals.described(one) for one in segments)
    count = sum(one.events for one in segments)
    event_id = tell(classes.RECORD.name, {"count": count, "segments": told}, now)
    for one in segments:
        one.pk, one.event_id = None, event_id
    RemovedSegment.objects.bulk_create(segments)
    _delete(events)


def _forget_terms(rows: Iterable[Event]) -> None:
    """Take events out of the index, by the terms they have."""
    for row in rows:
        terms = {term for found in terms_of(together(row)) for term in found}
        EventTerm.objects.filter(term__in=terms, event_id=row.pk).delete()


def _needed(run_ids: Iterable[UUID]) -> set[UUID]:
    """Return the runs that something still goes back to: a statement that counts, or an effect nobody has settled."""
    among = list(run_ids)
    open_calls = ToolCall.objects.filter(
        run_id__in=among, state__in=(CallState.EXECUTING.value, CallState.UNKNOWN.value)
    )
    facts = Fact.objects.filter(source_run_id__in=among, status__in=OPEN)
    return {*open_calls.values_list("run_id", flat=True), *facts.values_list("source_run_id", flat=True)}


def _runs(run_ids: Iterable[UUID]) -> Mapping[UUID, Run]:
    columns = ("pk", "tenant_id", "created_at", "ended_at", "requested_by_id", "requested_by_token")
    rows = Run.objects.filter(pk__in=list(run_ids)).only(*columns)
    return {run.pk: run for run in rows}


def _last_seq(streams: Iterable[Stream], pk: int) -> int:
    return next(one.seq for one in streams if one.pk == pk)


def _is_run(name: str) -> bool:
    try:
        UUID(name.removeprefix(_RUN))
    except ValueError:
        return False
    return True


# --- copies -----------------------------------------------------------------------------------------------------------


def _exports(position: str, held: holds.Holds, cutoff: datetime, now: datetime) -> Piece:
    """Forget exported files: copies, so no hold is needed for them."""
    old = list(Export.objects.filter(requested_at__lt=cutoff).order_by("pk")[:5])
    for one in old:
        one.delete()
    return Piece(len(old), done=len(old) < 5)


def _delete(rows: "QuerySet[Event] | QuerySet[Payload]") -> None:
    # No signal and no cascade: the triggers look at every row.
    rows._raw_delete(router.db_for_write(rows.model))  # noqa: SLF001


_WORK: Final[dict[str, Work]] = {
    classes.BODIES.name: _texts,
    classes.RECORD.name: _record,
    classes.EXPORTS.name: _exports,
}
