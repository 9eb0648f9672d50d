"""What the database pays: write commits, write-ahead log and table bytes of our own database, whoever else writes.

With the extension `pg_walinspect` the log is read record by record and everything of other databases is left out.
Without it (our own server does not bring it) the server's counters are used, and nobody else may write meanwhile.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the log, with what the counters and tables said there."""

    lsn: str
    xid: int
    fpi: int
    tables: dict[str, int]


@dataclass(frozen=True, slots=True)
class Costs:
    """Between two marks. `wal` contains the full-page images (`fpi`), which follow a checkpoint, not the work."""

    exact: bool
    commits: int
    wal: int
    fpi: int
    tables: dict[str, int]
    kinds: dict[str, int]
    """Bytes of the log by table or index, without full-page images."""

    @property
    def grown(self) -> int:
        return sum(self.tables.values())


_SIZES = """
select c.relname, pg_total_relation_size(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname = 'public' and c.relname not like 'floor%'
"""

_READ = """
with records as materialized (
    select xid, record_type, record_length, fpi_length, resource_manager, block_ref,
           block_ref like %(ours)s as ours
    from pg_get_wal_records_info(%(start)s, %(stop)s)
), mine as (select distinct xid from records where ours and xid::text <> '0')
select
    count(*) filter (where resource_manager = 'Transaction' and record_type like 'COMMIT%%' and xid in (table mine)),
    coalesce(sum(record_length) filter (where ours or xid in (table mine)), 0),
    coalesce(sum(fpi_length) filter (where ours or xid in (table mine)), 0)
from records
"""

_KINDS = """
select coalesce(c.relname, '?'), sum(r.record_length - r.fpi_length)
from pg_get_wal_records_info(%(start)s, %(stop)s) r
left join pg_class c
  on c.relfilenode = (substring(r.block_ref from '^blkref #[0-9]+: rel [0-9]+/[0-9]+/([0-9]+)'))::oid
where r.block_ref like %(ours)s group by 1
"""


class Meter:
    """Marks places in the log of one database and tells what happened between them."""

    def __init__(self, connection: Any) -> None:
        import psycopg

        self._connection = connection
        [(self._oid,)] = self._rows("select oid from pg_database where datname = current_database()")
        try:
            self._rows("create extension if not exists pg_walinspect")
            self.exact = True
        except psycopg.Error:
            self.exact = False

    def mark(self, *, checkpoint: bool = False) -> Mark:
        """Return the place where the log is now."""
        if checkpoint:
            self._rows("checkpoint")
        # Whatever was written before is flushed by this commit, and what is written after it lies behind the mark.
        self._rows("create table if not exists floor_mark (n int)")
        self._rows("insert into floor_mark values (1)")
        [(lsn, xid, fpi)] = self._rows(
            "select pg_current_wal_flush_lsn()::text, pg_snapshot_xmax(pg_current_snapshot())::text::bigint, "
            "(select wal_fpi from pg_stat_wal)"
        )
        return Mark(lsn, int(xid), int(fpi), dict(self._rows(_SIZES)))

    def between(self, start: Mark, stop: Mark) -> Costs:
        """Return what was paid between two marks."""
        tables = {name: size - start.tables.get(name, 0) for name, size in stop.tables.items()}
        tables = {name: size for name, size in tables.items() if size}
        if not self.exact:
            [(wal,)] = self._rows("select pg_wal_lsn_diff(%s, %s)::bigint", stop.lsn, start.lsn)
            return Costs(False, stop.xid - start.xid, wal, (stop.fpi - start.fpi) * 8192, tables, {})
        named = {"start": start.lsn, "stop": stop.lsn, "ours": f"%/{self._oid}/%"}
        [(commits, wal, fpi)] = self._connection.execute(_READ, named).fetchall()
        kinds = {name: int(size) for name, size in self._connection.execute(_KINDS, named).fetchall()}
        # The second mark's own insert lies between the marks.
        return Costs(True, commits - 1, int(wal), int(fpi), tables, kinds)

    def _rows(self, query: str, *values: object) -> list[Any]:
        cursor = self._connection.execute(query, values or None)
        return list(cursor.fetchall()) if cursor.description else []
