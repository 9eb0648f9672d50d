"""Fill a database with what a desk has in front of it after a year: `python -m tests.bench_ui seed`.

Forty tenants, a million proposals at full size, 100,000 of them waiting in one tenant. A few real runs in each tenant
(`world`) are copied with COPY by several processes, every copy with its events, hash chain, digests, decision and
grant. Indexes that serve no constraint are made again afterwards, which is much faster than keeping them.
"""

import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.bench.copies import Copies, Template, spread
from tests.bench.indexes import drop_indexes
from tests.bench.report import Row
from tests.bench_ui.world import DECIDED, WAITING, Place, Scene, open_place, play

FRESH = timedelta(minutes=10)
OLDEST_WAITING = timedelta(hours=23, minutes=20)
YEAR = timedelta(days=365)
SHARES = {scene.name: scene.share for scene in (*WAITING, *DECIDED)}
FEW = {"low note", "medium refund", "high access", "note approved", "refund approved", "access rejected"}
"""What is copied in tenants that are only there to be many."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. The first tenant's queue is the long one."""

    tenants: int = 40
    proposals: int = 1_000_000
    waiting: int = 100_000
    waiting_elsewhere: int = 500
    decided: int = 100_000
    records: int = 5_000

    def scaled(self, by: float) -> "Size":
        """Return the same mixture with fewer rows; the tenants stay."""
        numbers = (self.proposals, self.waiting, self.waiting_elsewhere, self.decided, self.records)
        return Size(self.tenants, *(max(int(number * by), 20) for number in numbers))


TINY = Size(tenants=3, proposals=600, waiting=200, waiting_elsewhere=20, decided=100, records=30)


@dataclass(frozen=True, slots=True)
class Job:
    """So many copies of some templates, of runs that began between two ages."""

    templates: tuple[Template, ...]
    weights: tuple[int, ...]
    count: int
    since: timedelta
    until: timedelta
    seed: int


def seed(size: Size, connect: Callable[[], Any], say: Callable[[str], None]) -> None:
    """Make everything. `connect` opens a connection as the superuser of the database, with autocommit."""
    from django.db import connections

    began = time.monotonic()
    with connect() as sql:
        places = []
        for number in range(size.tenants):
            place = open_place(number, size.records if number == 0 else max(size.records // 10, 20))
            play(place, _scenes(number), sql)
            places.append(place)
        say(f"{size.tenants} tenants and {sum(len(one.templates) for one in places)} real runs: {_since(began)}")
        connections.close_all()
        jobs = list(_jobs(size, places))
        indexes = drop_indexes(sql, "(approvals|audit|runs)_%")
        # Beside the product's own tables, which belong to another role. Ages are counted from here on.
        sql.execute("create schema bench")
        sql.execute("create table bench.seeded as select now() as at")
    began = time.monotonic()
    # Largest last would leave one process alone with it.
    jobs.sort(key=lambda job: -job.count)
    # The processes are forked with the jobs in them: what a copy changes is a function.
    _here["jobs"] = jobs
    context = multiprocessing.get_context("fork")
    with context.Pool(min(os.cpu_count() or 1, 8), _begin, (connect,)) as pool:
        made = sum(pool.imap_unordered(_copy, range(len(jobs))))
    say(f"{made:,} runs copied: {_since(began)}")
    began = time.monotonic()
    with connect() as sql:
        sql.execute("set maintenance_work_mem = '512MB'")
        for definition in indexes:
            sql.execute(definition)
        _index_is_whole(sql)
        say(f"{len(indexes)} indexes made: {_since(began)}")
        began = time.monotonic()
        sql.execute("vacuum (analyze)")
        say(f"vacuum and analyze: {_since(began)}")


def fill(sql: Any, place: Place, mix: Mapping[str, int], *, seed: int = 1) -> None:
    """Let exactly so many copies of each scene wait in a tenant, in any order, all of them due in the same bucket."""
    rng = random.Random(seed)
    names = list(mix)
    chosen = [number for number, name in enumerate(names) for _ in range(mix[name])]
    rng.shuffle(chosen)
    moments = spread(len(chosen), since=timedelta(hours=12), until=timedelta(hours=1), rng=rng)
    copies = Copies(sql, [place.templates[name] for name in names], seed=seed)
    copies.write(zip(chosen, moments, strict=True))
    sql.execute("analyze approvals_proposal")


def freshen(sql: Any) -> None:
    """Move the deadlines of what waits as if the database had been filled just now, as a lifted stop does."""
    _index_is_whole(sql)
    [(late,)] = sql.execute("select now() - at from bench.seeded").fetchall()
    if late < FRESH:
        return
    sql.execute(
        "update approvals_proposal set decide_by = decide_by + %s, execute_by = execute_by + %s "
        "where status = 'pending'",
        (late, late),
    )
    sql.execute("update bench.seeded set at = now()")
    sql.execute("vacuum (analyze) approvals_proposal")


def _index_is_whole(sql: Any) -> None:
    """Say that the index of words and arguments is whole, which triggers have filled, as a sweeper would find."""
    sql.execute(
        "insert into approvals_termindex (tenant_id, upto_run, upto_call, whole) "
        "select id, '00000000-0000-0000-0000-000000000000', '', true from tenancy_tenant "
        "on conflict (tenant_id) do update set whole = true"
    )


def counts(sql: Any) -> dict[str, int]:
    """Return how much there is, by what it is."""
    [row] = sql.execute(
        "select (select count(*) from tenancy_tenant), (select count(*) from approvals_proposal), "
        "(select count(*) from approvals_proposal p join tenancy_tenant t on t.id = p.tenant_id "
        "where status = 'pending' and slug = 'bench-000'), (select count(*) from audit_event), "
        "(select count(*) from approvals_decision), (select count(*) from approvals_grant), "
        "pg_database_size(current_database()) / 1000000"
    ).fetchall()
    names = ("tenants", "proposals", "waiting in one tenant", "rows of events", "decisions", "grants", "MB")
    return dict(zip(names, map(int, row), strict=True))


def verified(sql: Any, count: int = 100) -> Iterator[Row]:
    """Walk the chains of some streams picked at random, in any tenant."""
    from agentops.audit.verify import verify_stream
    from agentops.tenancy.models import Tenant
    from agentops.tenancy.scope import tenant_scope

    rows = sql.execute(
        "select tenant_id, name from audit_stream where name <> 'tenant' "
        "and id in (select floor(random() * m)::bigint from (select max(id) m from audit_stream) n, "
        "generate_series(1, %s)) limit %s",
        (count * 2, count),
    ).fetchall()
    events, broken = 0, []
    for tenant_id, name in rows:
        with tenant_scope(Tenant.objects.get(pk=tenant_id)):
            report = verify_stream(name)
        events += report.events
        broken += [str(report.finding)] if report.finding else []
    told = "; ".join([f"{events:,} events", *broken[:2]])
    yield Row("audit", f"broken of {len(rows)} chains picked at random", len(broken), "", target="0", note=told)


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


def _scenes(number: int) -> Sequence[Scene]:
    if number == 0:
        return (*WAITING, *DECIDED)
    return [scene for scene in (*WAITING, *DECIDED) if scene.name in FEW]


def _jobs(size: Size, places: Sequence[Place]) -> Iterator[Job]:
    """Yield the work in pieces of a few thousand runs."""
    waiting, decided = [scene.name for scene in WAITING], [scene.name for scene in DECIDED]
    others = max(size.tenants - 1, 1)
    elsewhere = max(size.proposals - size.waiting - size.decided, 0) // others - size.waiting_elsewhere
    for place in places:
        long = place is places[0]
        count = size.decided if long else max(elsewhere, 0)
        yield from _pieces(place, decided, count, YEAR, timedelta(days=2))
        count = size.waiting if long else size.waiting_elsewhere
        yield from _pieces(place, waiting, count, OLDEST_WAITING, timedelta(minutes=1))


PIECE = 20_000


def _pieces(place: Place, names: Sequence[str], count: int, since: timedelta, until: timedelta) -> Iterator[Job]:
    pieces = max(-(-count // PIECE), 1)
    step = (since - until) / pieces
    for piece in range(pieces):
        part = count // pieces + (piece < count % pieces)
        yield _job(place, names, part, since - step * piece, since - step * (piece + 1))


def _job(place: Place, names: Sequence[str], count: int, since: timedelta, until: timedelta) -> Job:
    known = [name for name in names if name in place.templates]
    seeds = random.Random(f"{place.tenant.slug} {since}")
    return Job(
        tuple(place.templates[name] for name in known),
        tuple(SHARES[name] for name in known),
        count,
        since,
        until,
        seeds.getrandbits(32),
    )


# --- in the processes that copy --------------------------------------------------------------------------------------

_here: dict[str, Any] = {}


def _begin(connect: Callable[[], Any]) -> None:
    _here["sql"] = connect()
    _here["sql"].execute("set synchronous_commit = off")


def _copy(number: int) -> int:
    job: Job = _here["jobs"][number]
    rng = random.Random(job.seed)
    moments = spread(job.count, since=job.since, until=job.until, rng=rng)
    chosen = rng.choices(range(len(job.templates)), job.weights, k=job.count)
    return len(Copies(_here["sql"], job.templates, seed=job.seed).write(zip(chosen, moments, strict=True)))
