"""Read every event once, in the order of row ids, behind those who write: for indexes and sums made afterwards.

Row ids are given out before their transactions commit, so a smaller id can appear after a larger one. A reader
therefore goes only up to a horizon below which nothing can appear any more: the newest id there was when it last
looked, once every transaction of this database that ran then has ended. Where one writer follows the other (SQLite)
that is at once.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Max

from agentops.audit.models import Event, Tail


def follow(reader: str, handle: Callable[[list[Event]], None], *, limit: int) -> int:
    """Hand the next events of the open tenant scope to `handle`, at most `limit`; return how many.

    Position and whatever `handle` writes are committed together: what dies between is done again, what was done is
    not. Readers of the same name take turns; one that finds another at work does nothing.
    """
    known = Tail.objects.filter(reader=reader).first()
    idle = known is not None and known.horizon <= known.position
    if known is not None and idle and not Event.objects.filter(pk__gt=known.position).exists():
        return 0
    with transaction.atomic():
        tail = _mine(reader)
        if tail is None:
            return 0
        before = (tail.position, tail.horizon)
        if tail.horizon <= tail.position:
            _look_ahead(tail)
        events: list[Event] = []
        if tail.horizon > tail.position and _settled(tail):
            ahead = Event.objects.filter(pk__gt=tail.position, pk__lte=tail.horizon).select_related("stream")
            events = list(ahead.order_by("pk")[:limit])
            if events:
                handle(events)
            tail.position = events[-1].pk if len(events) == limit else tail.horizon
            if tail.position == tail.horizon:
                _look_ahead(tail)
        if (tail.position, tail.horizon) != before:
            tail.save(update_fields=["position", "horizon", "seen_at"])
    return len(events)


def skip_to_end(reader: str, *, unless: Callable[[], bool]) -> int:
    """Let a reader go on at the end of the record, `unless` somebody needs what lies before; return the newest id.

    Inside a transaction; readers and others who skip wait until it ends.
    """
    Tail.objects.bulk_create([Tail(reader=reader)], ignore_conflicts=True)
    tail = Tail.objects.select_for_update().get(reader=reader)
    newest = Event.objects.aggregate(newest=Max("pk"))["newest"] or 0
    if newest > tail.position and not unless():
        tail.position = tail.horizon = newest
        tail.seen_at = None
        tail.save(update_fields=["position", "horizon", "seen_at"])
    return newest


def oldest_writer() -> datetime | None:
    """Return when the oldest other transaction of this database began that has written anything; None for none.

    Always None where one writer follows the other (SQLite). By the clock of the database. One query. What sessions of
    other roles do is hidden from us, but not that they are writing events: such a one counts as older than everything.
    """
    if connection.vendor != "postgresql":
        return None
    found: datetime | None = _one(_OLDEST_WRITER)
    return found


_OLDEST_WRITER: Final = """
select min(case when hidden then timestamptz 'epoch' else xact_start end)
from (
    select pid, xact_start, backend_xid, query = '<insufficient privilege>' as hidden from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
) as others
where backend_xid is not null or hidden and exists (
    select from pg_locks
    where locktype = 'relation' and relation = 'audit_event'::regclass and mode = 'RowExclusiveLock' and granted
        and pg_locks.pid = others.pid
)
"""


def _mine(reader: str) -> Tail | None:
    found = Tail.objects.select_for_update(skip_locked=_can_skip()).filter(reader=reader).first()
    if found is None and not Tail.objects.filter(reader=reader).exists():
        Tail.objects.bulk_create([Tail(reader=reader)], ignore_conflicts=True)
        found = Tail.objects.select_for_update(skip_locked=_can_skip()).filter(reader=reader).first()
    return found


def _can_skip() -> bool:
    return bool(connection.features.has_select_for_update_skip_locked)


def _look_ahead(tail: Tail) -> None:
    tail.horizon = Event.objects.aggregate(newest=Max("pk"))["newest"] or tail.position
    tail.seen_at = None
    if connection.vendor == "postgresql":
        # Asked afterwards: a number that is below the horizon was given to a transaction that had begun by now.
        tail.seen_at = _one("select clock_timestamp()")


def _settled(tail: Tail) -> bool:
    """Say whether every transaction that had begun when the horizon was seen, and wrote anything, has ended."""
    if tail.seen_at is None:
        return True
    oldest = oldest_writer()
    return oldest is None or oldest > tail.seen_at


def _one(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        [value] = cursor.fetchone()
    return value
