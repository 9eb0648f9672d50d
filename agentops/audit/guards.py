"""Triggers that keep the record append-only, on both databases.

They stop mistakes and ordinary access. Whoever owns the tables can drop them; that is what the hash chain is for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


class Executor(Protocol):
    """Anything that runs one statement: a schema editor or a cursor."""

    def execute(self, sql: str, /) -> object: ...


_POSTGRESQL = (
    """create function audit_refuse_change() returns trigger language plpgsql as $$
    begin
        raise insufficient_privilege
            using message = lower(tg_op) || ' on ' || tg_table_name || ' refused: events are append-only';
    end $$""",
    """create function audit_refuse_rewind() returns trigger language plpgsql as $$
    begin
        if new.seq <= old.seq or new.id <> old.id or new.tenant_id <> old.tenant_id or new.name <> old.name then
            raise insufficient_privilege using message = 'update on audit_stream refused: a stream only grows';
        end if;
        return new;
    end $$""",
    """create trigger event_append_only before update or delete on audit_event
    for each row execute function audit_refuse_change()""",
    """create trigger event_no_truncate before truncate on audit_event
    for each statement execute function audit_refuse_change()""",
    """create trigger stream_only_grows before update on audit_stream
    for each row execute function audit_refuse_rewind()""",
    """create trigger stream_no_delete before delete on audit_stream
    for each row execute function audit_refuse_change()""",
    """create trigger stream_no_truncate before truncate on audit_stream
    for each statement execute function audit_refuse_change()""",
)
_POSTGRESQL_DROP = (
    "drop trigger event_append_only on audit_event",
    "drop trigger event_no_truncate on audit_event",
    "drop trigger stream_only_grows on audit_stream",
    "drop trigger stream_no_delete on audit_stream",
    "drop trigger stream_no_truncate on audit_stream",
    "drop function audit_refuse_change()",
    "drop function audit_refuse_rewind()",
)
_SQLITE = (
    """create trigger event_no_update before update on audit_event
    begin select raise(abort, 'update on audit_event refused: events are append-only'); end""",
    """create trigger event_no_delete before delete on audit_event
    begin select raise(abort, 'delete on audit_event refused: events are append-only'); end""",
    # INSERT OR REPLACE deletes without a delete trigger.
    """create trigger event_no_replace before insert on audit_event
    when exists (
        select 1 from audit_event where id = new.id or (stream_id = new.stream_id and seq = new.seq)
    )
    begin select raise(abort, 'replace in audit_event refused: events are append-only'); end""",
    """create trigger stream_no_replace before insert on audit_stream
    when exists (
        select 1 from audit_stream where id = new.id or (tenant_id = new.tenant_id and name = new.name)
    )
    begin select raise(abort, 'replace in audit_stream refused: a stream only grows'); end""",
    """create trigger stream_only_grows before update on audit_stream
    when new.seq <= old.seq or new.id <> old.id or new.tenant_id <> old.tenant_id or new.name <> old.name
    begin select raise(abort, 'update on audit_stream refused: a stream only grows'); end""",
    """create trigger stream_no_delete before delete on audit_stream
    begin select raise(abort, 'delete on audit_stream refused: events are append-only'); end""",
)
_SQLITE_DROP = (
    "drop trigger event_no_update",
    "drop trigger event_no_delete",
    "drop trigger event_no_replace",
    "drop trigger stream_no_replace",
    "drop trigger stream_only_grows",
    "drop trigger stream_no_delete",
)


def install(executor: Executor, vendor: str) -> None:
    """Create the triggers for one database vendor (postgresql or sqlite)."""
    for statement in _POSTGRESQL if vendor == "postgresql" else _SQLITE:
        executor.execute(statement)


def remove(executor: Executor, vendor: str) -> None:
    """Drop what `install` creates."""
    for statement in _POSTGRESQL_DROP if vendor == "postgresql" else _SQLITE_DROP:
        executor.execute(statement)


GUARDED: Final = (
    *("audit_event", "audit_stream", "audit_removedsegment"),
    *("payloads_payload", "payloads_removedtext", "retention_hold"),
)
"""Tables whose rows triggers keep: those of this module, of `payloads.guards` and of `retention.guards`."""


@contextmanager
def lifted(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Take the triggers away for a block: to empty a test database, or to play the forger in a test."""
    with connection.cursor() as cursor:
        there = _triggers(cursor, connection.vendor)
        for name, table, _ in there:
            cursor.execute(f"drop trigger {name}{f' on {table}' if connection.vendor == 'postgresql' else ''}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for _, _, definition in there:
                cursor.execute(definition)


def _triggers(cursor: CursorWrapper, vendor: str) -> list[tuple[str, str, str]]:
    """Return name, table and definition of every trigger on the guarded tables."""
    if vendor == "postgresql":
        cursor.execute(
            "select t.tgname, c.relname, pg_get_triggerdef(t.oid) from pg_trigger t"
            " join pg_class c on c.oid = t.tgrelid"
            " where not t.tgisinternal and c.relname = any(%s) and pg_table_is_visible(c.oid)",
            [list(GUARDED)],
        )
    else:
        marks = ", ".join(["%s"] * len(GUARDED))
        cursor.execute(
            f"select name, tbl_name, sql from sqlite_master where type = 'trigger' and tbl_name in ({marks})",  # noqa: S608
            GUARDED,
        )
    return list(cursor.fetchall())
