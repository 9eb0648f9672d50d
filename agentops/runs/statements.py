"""The statements of the path that every step of every run takes, on both databases.

On PostgreSQL each is one prepared statement over arrays, whatever the number of rows; on SQLite one per row, which
costs no round trip there. They run in the caller's transaction. Rows of other tenants are out of reach of all of them:
row-level security on PostgreSQL, and ids that the caller read inside its tenant's scope.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, cast
from uuid import UUID

from django.db import connection, models

from agentops.tenancy.prepared import cursor_of_plans, fetch, watched
from agentops.tenancy.scope import TenantForeignKey


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its PostgreSQL type."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to be written into a table, in the order of its columns."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Change:
    """New values of rows that are there: the first column of the table is what they are found by."""

    table: Table


@dataclass(frozen=True, slots=True)
class Amend:
    """What is known by now of rows that are there: found by `key`, their first columns. A null overwrites nothing."""

    table: Table
    key: Sequence[str]


Writing = Table | Change | Amend
"""Rows of one table to be written."""


def _table(one: Writing) -> Table:
    return one if isinstance(one, Table) else one.table


def lock_streams(ids: Iterable[int]) -> dict[int, int]:
    """Lock streams until the transaction ends, in the order of their ids; return the last event's number of each."""
    wanted = sorted(set(ids))
    if connection.vendor == "postgresql":
        found = fetch("select id, seq from audit_stream where id = any(%s::bigint[]) order by id for update", [wanted])
    else:
        places = ", ".join(["%s"] * len(wanted))
        found = fetch(f"select id, seq from audit_stream where id in ({places})", wanted)  # noqa: S608 - places only
    return dict(cast("list[tuple[int, int]]", found))


def hold_stream(tenant_id: int, name: str) -> tuple[int, int, bytes] | None:
    """Lock a stream by name until the transaction ends; return its id, last number and hash, None if there is none."""
    locked = " for update" if connection.vendor == "postgresql" else ""
    sql = f"select id, seq, head from audit_stream where tenant_id = %s and name = %s{locked}"  # noqa: S608
    found = fetch(sql, [tenant_id, name])
    return (found[0][0], found[0][1], bytes(found[0][2])) if found else None


def stream_rows(tenant_id: int, names: Sequence[str]) -> list[tuple[str, int, bytes, bytes]]:
    """Return the rows of streams by name, in order: (name, stream id, packed text, hash)."""
    if connection.vendor == "postgresql":
        # Stream by stream, whatever the statistics of the tables say: a run has few rows, and they lie together.
        sql = (
            "select s.name, s.id, e.body, e.hash from audit_stream s cross join lateral"
            " (select body, hash from audit_event where stream_id = s.id and seq between 1 and s.seq order by seq) e"
            " where s.tenant_id = %s and s.name = any(%s)"
        )
        found = fetch(sql, [tenant_id, list(names)])
    else:
        places = ", ".join(["%s"] * len(names))
        sql = (
            "select s.name, s.id, e.body, e.hash from audit_stream s join audit_event e on e.stream_id = s.id"  # noqa: S608
            f" where s.tenant_id = %s and s.name in ({places}) order by s.id, e.seq"
        )
        found = fetch(sql, [tenant_id, *names])
    return cast("list[tuple[str, int, bytes, bytes]]", found)


def rows_of(stream_id: int, upto: int) -> list[tuple[bytes, bytes]]:
    """Return the rows of one stream up to the event of this number, in order: (packed text, hash)."""
    sql = "select body, hash from audit_event where stream_id = %s and seq between 1 and %s order by seq"
    return cast("list[tuple[bytes, bytes]]", fetch(sql, [stream_id, upto]))


def next_stream_id() -> int:
    """Set the id of a stream aside that is about to be written. PostgreSQL only."""
    [(number,)] = fetch("select nextval(pg_get_serial_sequence('audit_stream', 'id'))", [])
    return int(number)


def moved(heads: Sequence[tuple[int, int, bytes]]) -> Change:
    """Return the change of streams to their last event's number and hash: (id, seq, hash)."""
    columns = (Column("id", "bigint"), Column("seq", "bigint"), Column("head", "bytea"))
    return Change(Table("audit_stream", columns, heads))


def lock_row(table: str, row_id: UUID) -> None:
    """Lock a row until the transaction ends. On SQLite a transaction that writes has the database to itself."""
    if connection.vendor == "postgresql":
        fetch(f"select 1 from {table} where id = %s for update", [row_id])  # noqa: S608 - our own names


def update_runs(written: Sequence[tuple[Any, ...]], columns: Mapping[str, str]) -> set[UUID]:
    """Write the columns of runs whose lease is still held; rows are (id, fence, owner, *columns). Return their ids."""
    sets = ", ".join(f"{name} = v.c_{name}" for name in columns)
    if connection.vendor == "postgresql":
        keys = [Column("id", "uuid"), Column("held_fence", "bigint"), Column("held_by", "text")]
        all_columns = [*keys, *(Column(f"c_{name}", kind) for name, kind in columns.items())]
        found = fetch(
            f"update runs_run r set {sets} from {_recordset(all_columns)}"  # noqa: S608 - our own names
            " where r.id = v.id and r.fence = v.held_fence and r.lease_owner = v.held_by returning r.id",
            [_packed(all_columns, written)],
        )
        return {run_id for (run_id,) in found}
    sets = ", ".join(f"{name} = %s" for name in columns)
    kept: set[UUID] = set()
    for run_id, fence, owner, *values in written:
        sql = f"update runs_run set {sets} where id = %s and fence = %s and lease_owner = %s returning id"  # noqa: S608
        if fetch(sql, [*values, run_id, fence, owner]):
            kept.add(run_id)
    return kept


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to hold, in the same statement, for a run to be written at all, and what is used up with it.

    `rows` have the run's id first, as `run_id`. `lock` is a statement that comes first in the same transaction: what it
    waits for is seen by `holds`, a query for the ids of the runs that may go on, over the rows as `v` in `{rows}`.
    `uses` changes what they use up, from `{rows}` joined with the runs that were written (`kept`, by `id`).
    """

    columns: Sequence[Column]
    rows: Sequence[tuple[Any, ...]]
    lock: tuple[str, Sequence[Any]]
    holds: str
    uses: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one run: whether its stream was where it should be, its condition held, its lease was held."""

    in_place: bool
    allowed: bool
    leased: bool


def write_steps(
    runs: Sequence[tuple[Any, ...]],
    columns: Mapping[str, str],
    events: Table,
    calls: Amend,
    *,
    more: Sequence[Table] = (),
    condition: Condition | None = None,
) -> dict[UUID, Written]:
    """Write what several runs did in one statement, which outside of a transaction is a transaction of its own.

    PostgreSQL only. `runs` are (id, fence, owner, stream id, number of the last event before, after, hash after,
    *columns). A run whose stream has moved on, whose lease is gone or whose condition does not hold is left out whole.
    Events are the stream's; calls and the rows of `more` are the run's, by their column `run_id`.
    """
    keys = (
        *(Column("run_id", "uuid"), Column("held_fence", "bigint"), Column("held_by", "text")),
        *(Column("stream_id", "bigint"), Column("from_seq", "bigint"), Column("to_seq", "bigint")),
        Column("head", "bytea"),
    )
    known = calls.table
    wanted = [*keys, *(Column(f"c_{name}", kind) for name, kind in columns.items())]
    sets = ", ".join(f"{name} = w.c_{name}" for name in columns)
    ready, allowed, used = "", "true", ""
    # Locks are taken in the order of the streams, so that two who write several runs never wait for each other.
    params = [_packed(wanted, sorted(runs, key=lambda run: run[3]))]
    if condition is not None:
        rows = _recordset(condition.columns)
        names = _names(condition.columns)
        ready = f"""asked as materialized (select {names} from {rows}),
        ready as (
            select a.run_id, y.run_id is not null as holds
            from asked a left join ({condition.holds.format(rows="asked as v")}) y on y.run_id = a.run_id
        ),"""  # noqa: S608 - our own names
        allowed = "not exists (select 1 from ready y where y.run_id = w.run_id and not y.holds)"
        used = f"used as ({condition.uses.format(rows='asked as v')}),"
        params.append(_packed(condition.columns, condition.rows))
    also = "".join(
        f"""also_{number} as (
        insert into {table.name} ({_names(table.columns)})
        select {_values(table.columns)} from {_recordset(table.columns)} join kept k on k.id = v.run_id
    ),
    """  # noqa: S608 - our own names
        for number, table in enumerate(more)
    )
    sql = f"""
    with wanted as (select * from {_recordset(wanted)}),
    {ready}
    held as (
        select h.id from wanted w cross join lateral (
            select s.id from audit_stream s where s.id = w.stream_id and s.seq = w.from_seq for update of s
        ) h
    ),
    kept as (
        update runs_run r set {sets} from wanted w join held h on h.id = w.stream_id
        where r.id = w.run_id and r.fence = w.held_fence and r.lease_owner = w.held_by and {allowed}
        returning r.id, w.stream_id
    ),
    {used}
    moved as (
        update audit_stream s set seq = w.to_seq, head = decode(w.head, 'hex')
        from wanted w join kept k on k.stream_id = w.stream_id where s.id = w.stream_id and w.to_seq > w.from_seq
    ),
    {also}
    told as (
        insert into {events.name} ({_names(events.columns)})
        select {_values(events.columns)} from {_recordset(events.columns)} join kept k on k.stream_id = v.stream_id
        order by v.stream_id, v.seq
    ),
    called as (
        update {known.name} t set {_amended(calls)} from {_recordset(known.columns)} join kept k on k.id = v.run_id
        where {_found(calls)}
    )
    select w.run_id, h.id is not null, {allowed}, k.id is not null
    from wanted w left join held h on h.id = w.stream_id left join kept k on k.id = w.run_id
    """  # noqa: S608 - our own names
    params += [_packed(table.columns, table.rows) for table in (*more, events, known)]
    found = fetch(sql, params) if condition is None else _after(condition.lock, sql, params)
    return {run_id: Written(*told) for run_id, *told in found}


def _after(lock: tuple[str, Sequence[Any]], sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a lock and the statement that needs it in one transaction, sent in one go where none is open already."""
    if connection.in_atomic_block:
        fetch(*lock)
        return fetch(sql, params)
    first, then = cursor_of_plans(), cursor_of_plans()
    raw = first.connection

    def in_one_go(sql: str, params: Sequence[Any], many: bool, context: Any) -> None:
        try:
            with connection.wrap_database_errors, raw.pipeline():
                raw.execute("begin")
                first.execute(cast(Any, lock[0]), lock[1], prepare=True)
                then.execute(cast(Any, sql), params, prepare=True)
                raw.execute("commit")
        except BaseException:
            raw.rollback()
            raise

    watched(in_one_go, then, sql, params)
    return then.fetchall()


def table_of(rows: Sequence[models.Model]) -> Table:
    """Return new rows of one model as a table to be written, all columns as they are."""
    fields, columns = _columns_of(type(rows[0]), connection.vendor)
    return Table(rows[0]._meta.db_table, columns, [tuple(_value(field, row) for field in fields) for row in rows])


def change_of(row: models.Model, names: Iterable[str]) -> Change:
    """Return the change of these fields of a row to what its object says."""
    fields, columns = _chosen_of(type(row), tuple(names), connection.vendor)
    return Change(Table(row._meta.db_table, columns, [tuple(getattr(row, field.attname) for field in fields)]))


Fields = tuple["models.Field[Any, Any]", ...]


@lru_cache(maxsize=256)
def _columns_of(model: type[models.Model], vendor: str) -> tuple[Fields, tuple[Column, ...]]:
    written = (field for field in model._meta.concrete_fields if not field.generated)
    fields = tuple(field for field in written if not isinstance(field, models.AutoField))
    return fields, tuple(Column(str(field.column), _kind(field)) for field in fields)


@lru_cache(maxsize=256)
def _chosen_of(model: type[models.Model], names: tuple[str, ...], vendor: str) -> tuple[Fields, tuple[Column, ...]]:
    named = (cast("models.Field[Any, Any]", model._meta.get_field(name)) for name in names)
    fields = (model._meta.pk, *named)
    return fields, tuple(Column(str(field.column), _kind(field)) for field in fields)


def _value(field: "models.Field[Any, Any]", row: models.Model) -> Any:
    value = field.pre_save(row, add=True)
    if isinstance(field, TenantForeignKey):
        field.get_db_prep_save(value, connection)  # raises where the row is another tenant's
    return value


def _kind(field: "models.Field[Any, Any]") -> str:
    kind = str(field.db_type(connection))
    return "text" if kind.startswith("varchar") else kind


def write(statements: Sequence[Writing]) -> None:
    """Insert, change and amend rows of tables, none of which sees the others: one statement on PostgreSQL."""
    wanted = [one for one in statements if _table(one).rows]
    if not wanted:
        return
    if connection.vendor == "postgresql":
        written = [_written(one) for one in wanted]
        before = ", ".join(f"w{number} as ({sql})" for number, sql in enumerate(written[:-1]))
        sql = f"with {before} {written[-1]}" if before else written[-1]
        fetch(sql, [_packed(table.columns, table.rows) for table in map(_table, wanted)])
        return
    for one in wanted:
        sql = _lite_statement(one)
        # What rows are found by comes first in them, and last in a statement that changes them.
        keys = 1 if isinstance(one, Change) else len(one.key) if isinstance(one, Amend) else 0
        for row in _table(one).rows:
            fetch(sql, [*row[keys:], *row[:keys]])


def _written(one: Writing) -> str:
    table = _table(one)
    if isinstance(one, Change):
        found_by = table.columns[0].name
        sets = ", ".join(f"{c.name} = {_read(c.name, c.kind)}" for c in table.columns[1:])
        source = _recordset(table.columns)
        return f"update {table.name} t set {sets} from {source} where t.{found_by} = v.{found_by}"  # noqa: S608
    if isinstance(one, Amend):
        return f"update {table.name} t set {_amended(one)} from {_recordset(table.columns)} where {_found(one)}"  # noqa: S608
    values, source = _values(table.columns), _recordset(table.columns)
    return f"insert into {table.name} ({_names(table.columns)}) select {values} from {source}"  # noqa: S608


def _lite_statement(one: Writing) -> str:
    table = _table(one)
    if isinstance(one, Change):
        sets = ", ".join(f"{column.name} = %s" for column in table.columns[1:])
        return f"update {table.name} set {sets} where {table.columns[0].name} = %s"  # noqa: S608 - our own names
    if isinstance(one, Amend):
        names = [column.name for column in table.columns if column.name not in one.key]
        sets = ", ".join(f"{name} = coalesce(%s, {name})" for name in names)
        found = " and ".join(f"{name} = %s" for name in one.key)
        return f"update {table.name} set {sets} where {found}"  # noqa: S608 - our own names
    places = ", ".join(["%s"] * len(table.columns))
    return f"insert into {table.name} ({_names(table.columns)}) values ({places})"  # noqa: S608 - our own names


def _amended(one: Amend) -> str:
    columns = [column for column in one.table.columns if column.name not in one.key]
    return ", ".join(f"{c.name} = coalesce({_read(c.name, c.kind)}, t.{c.name})" for c in columns)


def _found(one: Amend) -> str:
    return " and ".join(f"t.{name} = v.{name}" for name in one.key)


# --- rows as one parameter: JSON, which is written in C here and read in C there --------------------------------------


_EVERY: Final = {
    "bigint": "between 0 and 9223372036854775807",
    "uuid": "between '00000000-0000-0000-0000-000000000000' and 'ffffffff-ffff-ffff-ffff-ffffffffffff'",
}
"""What every id is. The planner takes it for a narrow choice, hence looks the few rows there are up one by one."""


def _recordset(columns: Sequence[Column]) -> str:
    typed = ", ".join(f"{c.name} {'text' if c.kind == 'bytea' else c.kind}" for c in columns)
    few = f"{columns[0].name} {_EVERY[columns[0].kind]}"
    return f"(select * from json_to_recordset(%s::json) as r({typed}) where {few}) v"  # noqa: S608 - our own names


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns)


def _values(columns: Sequence[Column]) -> str:
    return ", ".join(_read(column.name, column.kind) for column in columns)


def _read(name: str, kind: str) -> str:
    return f"decode(v.{name}, 'hex')" if kind == "bytea" else f"v.{name}"


def _packed(columns: Sequence[Column], written: Sequence[tuple[Any, ...]]) -> str:
    names = [column.name for column in columns]
    return json.dumps([dict(zip(names, row, strict=True)) for row in written], default=_plain, separators=(",", ":"))


def _plain(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
