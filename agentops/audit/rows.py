"""Read rows of the record as they are stored, and say quickly of most of them that they are what was written.

What is said here is only ever yes. Of any other row nothing is known, and `verify` looks at it thoroughly.
"""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from django.db import connection
from django.db.models import BinaryField, QuerySet, TextField
from django.db.models.functions import Cast
from psycopg import Cursor, DataError
from psycopg.rows import args_row
from psycopg.types.datetime import TimestamptzBinaryLoader

from agentops.audit.models import Event
from agentops.audit.packing import unpack_bytes
from agentops.payloads.references import MARK
from agentops.wire.canonical import read_canonical

PAGE: Final = 2_000
_MARK: Final = MARK.encode()


class Raw(NamedTuple):
    """A row as it is stored. `run` is spelled as the database does, with dashes or without.

    `at` is None where it is a moment that Python has no value for, such as `infinity`.
    """

    pk: int
    stream_id: int
    seq: int
    type: str
    at: datetime | None
    actor_kind: str
    actor_id: str
    run: str | None
    subject_kind: str
    subject_id: str
    tool: str
    stored: bytes
    hash: bytes


class _Moments(TimestamptzBinaryLoader):
    """One row that cannot be read must not keep the others from being looked at."""

    def load(self, data: Any) -> datetime | None:  # type: ignore[override]
        """Read a moment."""
        try:
            return super().load(data)
        except DataError:
            return None


_DIRECT: Final = ("pk", "stream_id", "seq", "type", "at", "actor_kind", "actor_id")
_ALSO_DIRECT: Final = ("subject_kind", "subject_id", "tool")


def read(rows: QuerySet[Event]) -> list[Raw]:
    """Read all rows of a query, which has to be a small one. One statement."""
    columns = rows.annotate(run=Cast("run_id", TextField()), stored=Cast("body", BinaryField())).values_list(
        *_DIRECT, "run", *_ALSO_DIRECT, "stored", "hash"
    )
    if connection.vendor != "postgresql":
        return [Raw._make(row) for row in columns]
    sql, given = columns.query.get_compiler(connection=connection).as_sql()
    # Django's own cursors are sent every value as text, which had to be written and read again.
    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection, row_factory=args_row(Raw)) as cursor:
        cursor.adapters.register_loader("timestamptz", _Moments)
        return cursor.execute(sql, given, binary=True).fetchall()


def pages(rows: QuerySet[Event]) -> Iterator[Raw]:
    """Read the rows of one stream by their number, a page at a time. Pages are read later than the walk began."""
    after = 0
    while page := read(rows.filter(seq__gt=after).order_by("seq")[:PAGE]):
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].seq


def proven(raw: Raw, *, tenant: str, stream: str, seq: int, head: bytes) -> bool:
    """Say that a row is certainly the one that was written after event `seq` with hash `head`; False says nothing.

    Text, hash, chain, columns and the spelling of the text are compared. A row that names texts beside it is left to
    others.
    """
    text = unpack_bytes(raw.stored)
    if text is None or sha256(head + text).digest() != raw.hash or _MARK in text:
        return False
    envelope = read_canonical(text)
    try:
        packed = envelope.get("events")
        held = len(packed) if type(packed) is list and packed else 1
        if raw.seq - held != seq:
            return False
        actor, subject, run = envelope["actor"], envelope["subject"], envelope["run"]
        return (
            envelope["seq"] == raw.seq
            and envelope["tenant"] == tenant
            and envelope["stream"] == stream
            and envelope["type"] == raw.type
            and actor["kind"] == raw.actor_kind
            and actor["id"] == raw.actor_id
            and (
                (subject["kind"] == raw.subject_kind and subject["id"] == raw.subject_id)
                if subject
                else (raw.subject_kind == "" and raw.subject_id == "")
            )
            and envelope["tool"] == raw.tool
            and (_same_run(run, raw.run) if run else raw.run is None)
            and datetime.fromisoformat(envelope["ts"]) == raw.at
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _same_run(run: Any, stored: str | None) -> bool:
    return stored is not None and (run == stored or (len(run) == 36 and run.replace("-", "") == stored))
