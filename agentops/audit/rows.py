"""Read rows of the record as they are stored, many at a time and with as little work for each as there can be."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias, cast

from django.db import connection
from django.db.models import BinaryField, BooleanField, QuerySet, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast
from psycopg import Cursor
from psycopg.types.numeric import Int8BinaryLoader

from agentops.audit.models import Event

PAGE: Final = 2_000

Raw: TypeAlias = tuple[int, int, int, str, int, str, str, str | None, str, str, str, bytes, bytes]
"""A row as it is stored: id, stream, seq, type, at, kind and id of the actor, run, kind and id of the subject, tool,
body, hash. `at` counts microseconds since `EPOCH`; `run` is spelled as the database does, with dashes or without.
"""

PK: Final = 0
STREAM: Final = 1
SEQ: Final = 2
AT: Final = 4
HASH: Final = 12
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_BEFORE_RUN: Final = ("pk", "stream_id", "seq", "type", "at", "actor_kind", "actor_id")
_BEHIND_RUN: Final = ("subject_kind", "subject_id", "tool")


def moment(at: int) -> datetime | None:
    """Return when a row says that it was; None for what Python has no value for, such as `infinity`."""
    try:
        return EPOCH + timedelta(microseconds=at)
    except OverflowError:
        return None


def of_streams(streams: Sequence[int]) -> QuerySet[Event]:
    """Return all rows of these streams, in their order."""
    rows = Event.objects.order_by("stream_id", "seq")
    if connection.vendor != "postgresql":
        return rows.filter(stream_id__in=streams)
    # One parameter: hundreds take longer to be written and planned than their rows to be found.
    return rows.filter(RawSQL("stream_id = any(%s::bigint[])", (streams,), BooleanField()))


def read(rows: QuerySet[Event]) -> list[Raw]:
    """Read all rows of a query, which has to be a small one. One statement."""
    columns = rows.annotate(run=Cast("run_id", TextField()), stored=Cast("body", BinaryField())).values_list(
        *_BEFORE_RUN, "run", *_BEHIND_RUN, "stored", "hash"
    )
    if connection.vendor != "postgresql":
        return [cast(Raw, (*row[:4], (row[4] - EPOCH) // _MICROSECOND, *row[5:])) for row in columns]
    sql, given = columns.query.get_compiler(connection=connection).as_sql()
    # Django's own cursors are sent every value as text, which had to be written and read again.
    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        # That is how PostgreSQL sends a moment. To make one of it takes longer than all other columns together, and
        # one that cannot be made must not keep the other rows from being looked at.
        cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
        return cast(list[Raw], cursor.execute(sql, given, binary=True).fetchall())


def pages(rows: QuerySet[Event]) -> Iterator[Raw]:
    """Read the rows of one stream by their number, a page at a time. Pages are read later than the walk began."""
    after = 0
    while page := read(rows.filter(seq__gt=after).order_by("seq")[:PAGE]):
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][SEQ]
