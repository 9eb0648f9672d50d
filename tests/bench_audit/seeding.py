"""Fill a database with a record of ten million events: `python -m tests.bench_audit seed`.

A few real runs in each tenant (`world`) are copied with COPY by several processes, every copy with its events, hash
chain, terms and facts (`tests.bench.copies`); the cells of the metrics are those of the templates, as often as they
were copied. That all of it is what the product would have made of these events is what `test_tiny` compares.
"""

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agentops.metrics.cells import Cells, Grain, cells_of, start_of
from agentops.metrics.reading import read_run
from agentops.metrics.units import Units
from agentops.runs.recording import load
from agentops.tenancy.scope import tenant_scope
from tests.bench.copies import Copies, Template
from tests.bench.indexes import drop_indexes
from tests.bench_audit.world import make_place, scenes_of
from tests.bench_ui.world import Place

TABLES = frozenset({"audit_stream", "audit_event", "audit_eventterm", "runs_run", "metrics_runfact"})
"""What the pages of the record and of the metrics read. Nothing else of an ended run is copied at full size."""
PERIOD = timedelta(days=57)
"""Two of the longest windows of the dashboard, and today."""
STARTS_WITHIN_S = 3_000
LONGEST = timedelta(minutes=9)
"""Runs begin in the first fifty minutes of an hour and are shorter than the rest, so that each lies in one hour."""
SLICES = 60


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `share` of the runs is in the first tenant."""

    tenants: int = 40
    runs: int = 1_000_000
    share: float = 0.2
    waiting: int = 2_000
    records: int = 2_000
    slices: int = SLICES

    def scaled(self, by: float) -> "Size":
        """Return the same with fewer rows; the tenants stay."""
        few = {"runs": self.runs, "waiting": self.waiting, "records": self.records}
        return replace(self, **{name: max(int(count * by), 40) for name, count in few.items()})


TINY = Size(tenants=2, runs=60, share=0.6, waiting=6, records=30, slices=3)


@dataclass(frozen=True, slots=True)
class Job:
    """So many copies of some templates of one tenant, of runs that began between two moments."""

    place: Place
    names: tuple[str, ...]
    weights: tuple[int, ...]
    count: int
    since: datetime
    until: datetime
    seed: int
    tables: frozenset[str] | None


ONCE = "alter table audit_eventterm add constraint event_term_once unique (tenant_id, term, event_id)"
Made = Counter[tuple[int, str, datetime]]
"""How many copies of a template there are: by tenant, name and hour."""


def seed(
    size: Size, connect: Callable[[], Any], say: Callable[[str], None], tables: frozenset[str] | None = TABLES
) -> None:
    """Make everything. `connect` opens a connection as the superuser of the database, with autocommit."""
    from django.db import connections

    began = time.monotonic()
    with connect() as sql:
        places = [
            make_place(number, size.records if number == 0 else max(size.records // 20, 20), sql)
            for number in range(size.tenants)
        ]
        say(f"{size.tenants} tenants and {sum(len(one.templates) for one in places)} real runs: {_since(began)}")
        units = {
            (place.tenant.pk, name): _units(place, template)
            for place in places
            for name, template in place.templates.items()
        }
        connections.close_all()
        indexes = [*drop_indexes(sql, "(audit|metrics|runs)_%"), ONCE]
        sql.execute("alter table audit_eventterm drop constraint event_term_once")
        [(oldest,)] = sql.execute("select max(id) from audit_event").fetchall()
    began = time.monotonic()
    made = _copy_all(list(_jobs(size, places, datetime.now(UTC), tables)), connect)
    say(f"{sum(made.values()):,} runs copied: {_since(began)}")
    began = time.monotonic()
    with connect() as sql:
        _put_last(sql, oldest)
        cells = _write_cells(sql, made, units)
        say(f"{cells:,} cells of the metrics: {_since(began)}")
        began = time.monotonic()
        sql.execute("set maintenance_work_mem = '512MB'")
        for definition in indexes:
            sql.execute(definition)
        say(f"{len(indexes)} indexes made: {_since(began)}")
        began = time.monotonic()
        _all_read(sql)
        sql.execute("create schema bench")
        sql.execute("create table bench.seeded as select now() as at")
        sql.execute("vacuum (analyze)")
        say(f"vacuum and analyze: {_since(began)}")


def counts(sql: Any) -> dict[str, int]:
    """Return how much there is, by what it is."""
    [row] = sql.execute(
        "select (select count(*) from tenancy_tenant), (select count(*) from runs_run), "
        "(select sum(seq) from audit_stream), (select count(*) from audit_event), (select count(*) from "
        "audit_eventterm), (select count(*) from metrics_rollup), pg_database_size(current_database()) / 1000000"
    ).fetchall()
    names = ("tenants", "runs", "events", "rows of events", "terms", "cells of the metrics", "MB")
    return dict(zip(names, map(int, row), strict=True))


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


def _units(place: Place, template: Template) -> Units:
    """Return what a template contributes, as if it had been submitted on the hour it was submitted in."""
    with tenant_scope(place.tenant):
        units = read_run(template.run_id, load(template.run_id), 0).after
    assert units is not None
    began = template.created_at
    ends = [call.at for call in units.calls] + [proposal.at for proposal in units.proposals]
    ends += [units.run.at] if units.run is not None else []
    assert all(began - timedelta(seconds=1) < at < began + LONGEST for at in ends), f"{template.run_id} took too long"
    by = start_of(Grain.HOUR, began) - began.replace(microsecond=0)
    return replace(
        units,
        run=replace(units.run, at=units.run.at + by) if units.run is not None else None,
        calls=tuple(replace(one, at=one.at + by) for one in units.calls),
        proposals=tuple(replace(one, at=one.at + by) for one in units.proposals),
        submitted_at=units.submitted_at + by,
    )


# --- copies -----------------------------------------------------------------------------------------------------------


def _jobs(size: Size, places: Sequence[Place], now: datetime, tables: frozenset[str] | None) -> Iterator[Job]:
    """Yield the work in the order of time, the tenants in turns, so that their rows lie as those of a busy site do."""
    begin = now - PERIOD
    first = int(size.runs * size.share)
    other = (size.runs - first) // max(len(places) - 1, 1)
    step = PERIOD / size.slices
    rng = random.Random(4711)
    for number in range(size.slices):
        since = begin + step * number
        for index, place in enumerate(places):
            whole = first if index == 0 else other
            count = whole // size.slices + (number < whole % size.slices)
            yield _job(place, index, 0, count, (since, since + step), rng.getrandbits(32), tables)
    # What waits can be decided, so it is copied whole.
    recent = (now - timedelta(hours=20), now - timedelta(hours=2))
    yield _job(places[0], 0, 1, size.waiting, recent, rng.getrandbits(32), None)


def _job(
    place: Place,
    index: int,
    which: int,
    count: int,
    between: tuple[datetime, datetime],
    seed: int,
    tables: frozenset[str] | None,
) -> Job:
    scenes = [scene for scene in scenes_of(index)[which] if scene.name in place.templates]
    names, weights = tuple(one.name for one in scenes), tuple(one.share for one in scenes)
    return Job(place, names, weights, count, *between, seed, tables)


def moments(count: int, since: datetime, until: datetime, rng: random.Random) -> list[datetime]:
    """Return so many moments of a span, oldest first, in the first fifty minutes of their hours."""
    first = start_of(Grain.HOUR, since)
    hours = max(round((until - first).total_seconds() / 3600), 1)
    last = until - LONGEST
    picked = (
        first + timedelta(hours=rng.randrange(hours), seconds=rng.randrange(STARTS_WITHIN_S)) for _ in range(count)
    )
    return sorted(one if one < last else first - timedelta(hours=1) for one in picked)


_here: dict[str, Any] = {}


def _copy_all(jobs: list[Job], connect: Callable[[], Any]) -> Made:
    # The processes are forked with the jobs in them: what a copy changes is a function.
    _here["jobs"] = jobs
    context = multiprocessing.get_context("fork")
    made: Made = Counter()
    with context.Pool(min(os.cpu_count() or 1, 8), _begin, (connect,)) as pool:
        for part in pool.imap_unordered(_copy, range(len(jobs))):
            made += part
    return made


def _begin(connect: Callable[[], Any]) -> None:
    _here["sql"] = connect()
    _here["sql"].execute("set synchronous_commit = off")
    _here["copies"] = {}


def _copy(number: int) -> Made:
    job: Job = _here["jobs"][number]
    rng = random.Random(job.seed)
    when = moments(job.count, job.since, job.until, rng)
    chosen = rng.choices(range(len(job.names)), job.weights, k=job.count)
    key = (job.place.tenant.pk, job.names, job.tables)
    copies: Copies | None = _here["copies"].get(key)
    if copies is None:
        templates = [job.place.templates[name] for name in job.names]
        copies = _here["copies"][key] = Copies(_here["sql"], templates, tables=job.tables)
    copies.rng.seed(job.seed)
    copies.write(zip(chosen, when, strict=True))
    hours = (start_of(Grain.HOUR, at) for at in when)
    return Counter(
        (job.place.tenant.pk, job.names[template], hour) for template, hour in zip(chosen, hours, strict=True)
    )


# --- what the product keeps beside the record -------------------------------------------------------------------------


def _write_cells(sql: Any, made: Made, units: dict[tuple[int, str], Units]) -> int:
    """Add what the copies contribute to the cells that the templates are in already; return how many there are."""
    from psycopg.types.json import Jsonb

    each = {key: cells_of(one) for key, one in units.items()}
    sums: dict[int, Cells] = {}
    for (tenant, name, hour), times in made.items():
        cells = sums.setdefault(tenant, {})
        for key, found in each[tenant, name].items():
            into = cells.setdefault(replace(key, start=start_of(Grain(key.grain), hour)), {})
            for count, value in found.items():
                into[count] = into.get(count, 0) + times * value
    with sql.transaction():
        sql.execute("create temp table cells (like metrics_rollup) on commit drop")
        sql.execute("alter table cells alter id drop not null")
        columns = "tenant_id, grain, start, task_type, kind, key, counts"
        with sql.cursor().copy(f"copy cells ({columns}) from stdin") as copy:
            for tenant, cells in sums.items():
                for key, found in sorted(cells.items()):
                    row = (tenant, key.grain, key.start, key.task_type, key.kind, key.key, Jsonb(found))
                    copy.write_row(row)
        sql.execute(
            f"insert into metrics_rollup as r ({columns}) select {columns} from cells on conflict "
            "(tenant_id, grain, kind, start, task_type, key) do update set counts = (select jsonb_object_agg(name, n) "
            "from (select name, sum(value::bigint) as n from (select * from jsonb_each_text(r.counts) a(name, value) "
            "union all select * from jsonb_each_text(excluded.counts) b(name, value)) added group by name) sums)"
        )
    return sum(len(cells) for cells in sums.values())


def _put_last(sql: Any, upto: int) -> None:
    """Give what really happened just now the highest ids, as it would have them; ids are no part of the chains."""
    sql.execute("set session_replication_role = replica")
    sql.execute(
        "create temp table moved as select id as before, nextval(pg_get_serial_sequence('audit_event', 'id')) as after "
        "from (select id from audit_event where id <= %s order by id) first",
        (upto,),
    )
    sql.execute("update audit_event set id = after from moved where id = before")
    sql.execute("update audit_eventterm set event_id = after from moved where event_id = before")
    sql.execute("drop table moved")
    sql.execute("set session_replication_role = origin")


def _all_read(sql: Any) -> None:
    """Say that everything has been indexed and counted, and between which ids each hour lies."""
    sql.execute("delete from audit_hour")
    sql.execute(
        "insert into audit_hour as h (tenant_id, start, first, last) select tenant_id, "
        "date_trunc('hour', at at time zone 'UTC') at time zone 'UTC', min(id), max(id) from audit_event "
        "group by 1, 2 on conflict (tenant_id, start) do update "
        "set first = least(h.first, excluded.first), last = greatest(h.last, excluded.last)"
    )
    newest = "(select coalesce(max(id), 0) from audit_event)"
    sql.execute(f"update audit_tail set position = {newest}, horizon = {newest}")
    sql.execute(f"update metrics_reader set position = {newest}, behind_since = null")
