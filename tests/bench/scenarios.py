"""What is measured on PostgreSQL and Redis, one function a row or group of rows. Django is set up by then."""

import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from agentops.audit.verify import verify_stream
from agentops.engine.events import RunClaimed
from agentops.runs.recording import load, stream_of
from agentops.tenancy.scope import tenant_scope
from approvals.models import Proposal
from approvals.queue.filters import Filters
from approvals.queue.selectors import PAGE, queue_page
from tests.bench import workload
from tests.bench.contracts import PAY, Note
from tests.bench.copies import Copies, read_template, spread
from tests.bench.costs import Meter
from tests.bench.deployment import Deployment, cpu_seconds
from tests.bench.floor import Floor
from tests.bench.gate import decisions
from tests.bench.report import Row
from tests.proof.processes import ROOT, Process, eventually

WARM_UP = 8
"""Runs for each worker process before anything is measured."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    floor_s: float = 2.0
    runs: int = 400
    workers: tuple[int, ...] = (1, 2, 4)
    cost_runs: int = 200
    decisions: int = 200
    long: tuple[tuple[int, int], ...] = ((10, 60), (100, 10), (1000, 3))
    paused: tuple[int, ...] = (10_000, 100_000)
    model_calls: int = 500
    sqlite_runs: int = 150
    gate: int = 4_000


QUICK = Sizes(
    floor_s=0.5,
    runs=40,
    workers=(1, 2),
    cost_runs=20,
    decisions=15,
    long=((10, 8), (100, 1)),
    paused=(2_000,),
    model_calls=100,
    sqlite_runs=20,
    gate=1_000,
)
TINY = Sizes(
    floor_s=0.05,
    runs=6,
    workers=(1,),
    cost_runs=4,
    decisions=3,
    long=((10, 2),),
    paused=(100,),
    model_calls=5,
    sqlite_runs=4,
    gate=40,
)


@dataclass
class Site:
    """Where it is measured."""

    deployment: Deployment
    bench: workload.Bench
    floor: Floor
    sizes: Sizes
    say: Callable[[str], None]

    def submit(self, slug: str, count: int) -> list[UUID]:
        return workload.submit_runs(self.bench, slug, count)

    def warm(self, workers: int, *watch: Process) -> None:
        """Let every worker process do everything once, so that nothing is imported or prepared while measuring.

        The planner knows the tables then, as it does after the first minute of any installation.
        """
        runs = self.submit(workload.WORKLOAD, WARM_UP * workers)
        self.deployment.release()
        self.deployment.wait_for(runs, watch=watch, within_s=120)
        self.deployment.rows("analyze")

    def each_paid_once(self, runs: Sequence[UUID]) -> list[Note]:
        """Return the notes of the runs after checking that every run paid, once."""
        noted = self.deployment.noted(list(runs))
        paid = [note.run_id for note in noted if note.tool == PAY.name]
        assert sorted(paid) == sorted(runs), f"{len(paid)} payments of {len(set(paid))} runs, {len(runs)} were due"
        return noted


def floors(site: Site) -> Iterator[Row]:
    """The floor with one connection, and for comparison with two and four."""
    [(fsync, commit, version)] = site.deployment.rows(
        "select current_setting('fsync'), current_setting('synchronous_commit'), current_setting('server_version')"
    )
    assert (fsync, commit) == ("on", "on"), "a floor that is not durable measures nothing"
    yield Row("floor", "one connection", site.floor.median, "steps/s", note=f"PostgreSQL {version}, fsync on")
    for connections in (2, 4):
        rate = site.floor.rate(connections, site.sizes.floor_s)
        yield Row("floor", f"{connections} connections", rate, "steps/s", note="for information")


def throughput(site: Site) -> Iterator[Row]:
    """The workload with 1, 2 and 4 worker processes, while a person decides in another process."""
    best: tuple[float, int] = (0.0, 0)
    for workers in site.sizes.workers:
        place = site.deployment
        with place.decider() as person, place.workers(workers) as crowd:
            site.warm(workers, *crowd, person)
            around = [site.floor.measure(site.sizes.floor_s) for _ in range(2)]
            began = time.monotonic()
            runs = site.submit(workload.WORKLOAD, site.sizes.runs)
            submitting = (time.monotonic() - began) / len(runs)
            cpu = {"worker": sum(map(cpu_seconds, crowd)), "decider": cpu_seconds(person)}
            start = time.time()
            with place.sweeping():
                place.release()
                seconds = place.wait_for(runs, watch=(*crowd, person), within_s=600) - start
            spent = {
                "worker": sum(map(cpu_seconds, crowd)) - cpu["worker"],
                "decider": cpu_seconds(person) - cpu["decider"],
            }
            around += [site.floor.measure(site.sizes.floor_s) for _ in range(2)]
        site.each_paid_once(runs)
        rate = len(runs) / seconds
        share = rate * workload.STEPS / statistics.median(around)
        best = max(best, (share, workers))
        name = f"{workers} worker{'s' if workers > 1 else ''}"
        note = (
            f"CPU a run: worker {1000 * spent['worker'] / len(runs):.1f} ms, "
            f"decider {1000 * spent['decider'] / len(runs):.1f} ms; submit {1000 * submitting:.1f} ms"
        )
        yield Row("throughput", name, rate, "runs/s", note=note)
        yield Row("throughput", name, rate * workload.STEPS, "steps/s", share=share)
    yield Row("throughput", "best", best[0], "of the floor", best[0], ">= 0.20", f"with {best[1]}")


def costs(site: Site) -> Iterator[Row]:
    """Write commits, log and table bytes of a run of the workload: submitting, deciding and all."""
    place = site.deployment
    meter = Meter(place.sql)
    with place.decider() as person, place.workers(1) as [worker]:
        site.warm(1, worker, person)
        start = meter.mark(checkpoint=meter.exact)
        runs = site.submit(workload.WORKLOAD, site.sizes.cost_runs)
        place.release()
        place.wait_for(runs, watch=(worker, person), within_s=600)
        stop = meter.mark()
    found = meter.between(start, stop)
    count = len(runs)
    how = "counted in the log" if found.exact else "transaction ids, savepoints included; whole server"
    yield Row("costs", "write commits", found.commits / count, "a run", target="<= 8", note=how)
    yield Row(
        "costs", "WAL without full-page images", (found.wal - found.fpi) / count / 1000, "kB a run", target="<= 10"
    )
    yield Row("costs", "WAL, full-page images after a checkpoint", found.fpi / count / 1000, "kB a run")
    largest = sorted(found.tables.items(), key=lambda item: -item[1])[:4]
    note = ", ".join(f"{name} {size / count / 1000:.1f}" for name, size in largest)
    yield Row("costs", "tables and indexes", found.grown / count / 1000, "kB a run", note=note)
    if found.kinds:
        heaviest = sorted(found.kinds.items(), key=lambda item: -item[1])[:8]
        note = ", ".join(f"{name} {size / count / 1000:.2f}" for name, size in heaviest)
        yield Row(
            "costs", "WAL by table and index, heaviest", sum(found.kinds.values()) / count / 1000, "kB a run", note=note
        )


def latency(site: Site) -> Iterator[Row]:
    """From the commit of a decision to the start of its tool, and to the commit of its outcome, on an idle system."""
    place = site.deployment
    with place.workers(1) as [worker]:
        person = place.process(
            "serial", sys.executable, "-m", "tests.bench.decider", "serial", str(site.sizes.decisions)
        )
        code = person.exit_code(600)
        worker.must_live()
        assert code == 0, person.said
    decided = {UUID(run): at for run, at in _objects(person.log.read_text()).items()}
    started: list[float] = []
    recorded: list[float] = []
    runs = list(decided)[min(WARM_UP, len(decided) // 4) :]
    for note in site.each_paid_once(list(decided)):
        if note.run_id not in runs:
            continue
        waited = (note.at_ns - decided[note.run_id]) / 1e6
        if note.n == workload.PAYS_AT:
            started.append(waited)
        elif note.n == workload.PAYS_AT + 1:
            recorded.append(waited)
    claimed = [late for run in runs if (late := until_claimed(site, run, decided[run])) is not None]
    for name, found, targets in (
        ("decision committed -> run claimed", claimed, {}),
        ("decision committed -> tool starts", started, {50: "<= 8", 99: "<= 25"}),
        ("decision committed -> outcome committed", recorded, {}),
    ):
        for percent in (50, 95, 99) if found else ():
            value = percentile(found, percent)
            yield Row("latency", f"{name}, p{percent}", value, "ms", target=targets.get(percent, ""))


def until_claimed(site: Site, run_id: UUID, decided_ns: int) -> float | None:
    """Return the milliseconds until a worker took the run up, by that worker's record of it."""
    with tenant_scope(site.bench.tenant):
        claims = [stamped.at.timestamp() for stamped in load(run_id) if isinstance(stamped.event, RunClaimed)]
    after = [1000 * claim - decided_ns / 1e6 for claim in claims if claim * 1e9 > decided_ns]
    return min(after, default=None)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def long_runs(site: Site) -> Iterator[Row]:
    """What a step takes in runs of 10, 100 and 1,000 steps: from the start of the first to the start of the last."""
    place = site.deployment
    first = 0.0
    with place.workers(1) as [worker]:
        warm = site.submit(workload.long_kind(10), WARM_UP)
        place.release()
        place.wait_for(warm, watch=(worker,), within_s=120)
        for steps, count in site.sizes.long:
            runs: list[UUID] = []
            for _ in range(count):
                # One after the other: runs that are driven together share commits, which says nothing about length.
                one = site.submit(workload.long_kind(steps), 1)
                place.release()
                place.wait_for(one, watch=(worker,), within_s=900)
                runs += one
            value = statistics.median(step_costs(place.noted(runs), runs, steps))
            first = first or value
            more = f"{100 * (value / first - 1):+.0f} %"
            target = "within 15 % of 10" if steps == 1000 else ""
            yield Row("long runs", f"{steps} steps", value, "ms a step", target=target, note=more)


def step_costs(noted: Sequence[Note], runs: Sequence[UUID], steps: int) -> list[float]:
    """Return, for each run, the milliseconds a step took."""
    started: dict[UUID, list[int]] = {run: [] for run in runs}
    for note in noted:
        if note.run_id in started:
            started[note.run_id].append(note.at_ns)
    assert {len(each) for each in started.values()} == {steps}
    return [(max(each) - min(each)) / (steps - 1) / 1e6 for each in started.values()]


def paused(site: Site) -> Iterator[Row]:
    """Ten and a hundred thousand runs that wait for a person: rows, time to list the first 50 and to decide one."""
    place = site.deployment
    with place.workers(1) as [worker]:
        [run_id] = site.submit(workload.WORKLOAD, 1)
        place.release()
        asks = "select count(*) from approvals_proposal where status = 'pending' and run_id = %s"
        eventually(lambda: place.rows(asks, run_id) == [(1,)], within_s=60)
        eventually(lambda: place.rows("select lease_owner from runs_run where id = %s", run_id) == [("",)])
        copies = Copies(place.sql, [read_template(place.sql, run_id)])
        # Their deadlines are a day later: they lie between half an hour and a day ahead.
        ages, rng = {"since": timedelta(hours=23.5), "until": timedelta(0)}, random.Random(1)
        decided: list[UUID] = []
        there = 0
        for wanted in site.sizes.paused:
            [(before,)] = place.rows("select pg_database_size(current_database())")
            began = time.monotonic()
            made = copies.write((0, moment) for moment in spread(wanted - there, rng=rng, **ages))
            made_in = time.monotonic() - began
            place.rows("vacuum (analyze)")
            [(after,)] = place.rows("select pg_database_size(current_database())")
            grown = (after - before) / (wanted - there) / 1000
            there = wanted
            yield Row("paused", f"{wanted:,} waiting: rows", grown, "kB a run", note=f"made in {made_in:.0f} s")
            yield from list_and_decide(site, wanted, made, decided)
        place.release()
        place.wait_for(decided, watch=(worker,), within_s=120)
        site.each_paid_once(decided)
    with tenant_scope(site.bench.tenant):
        for run_id in decided:
            report = verify_stream(stream_of(run_id))
            assert report.intact, report.finding


def list_and_decide(site: Site, there: int, made: Sequence[UUID], decided: list[UUID]) -> Iterator[Row]:
    """Time what the queue page and a decision spend inside the database, from this process's side of the connection."""
    rng = random.Random(there)
    with tenant_scope(site.bench.tenant):
        now = timezone.now()
        # Eight hours from their deadlines proposals count as urgent: before that moment none of these does.
        spent: list[float] = []
        for name, moment in (("", now), (", none of them due within eight hours", now - timedelta(hours=9))):
            spent = [sql_time(partial(queue_page, Filters(), now=moment)) for _ in range(30)]
            target = "<= 2" if there >= 100_000 else ""
            shown = f"{there:,} waiting: list {PAGE}{name}"
            yield Row("paused", shown, statistics.median(spent), "ms of SQL", target=target)
        chosen = rng.sample(list(made), min(20, len(made)))
        spent.clear()
        for proposal in Proposal.objects.filter(run_id__in=chosen):
            seen = workload.Open(proposal.pk, proposal.run_id, proposal.version, proposal.digest)
            spent.append(sql_time(partial(workload.approve_one, seen, site.bench.operator)))
        decided += chosen
    yield Row("paused", f"{there:,} waiting: decide one", statistics.median(spent), "ms of SQL")


def sql_time(act: Callable[[], object]) -> float:
    """Return how long the database took for everything that `act` asked it, in milliseconds."""
    spent = 0

    def timed(execute: Any, *asked: Any) -> Any:
        nonlocal spent
        began = time.perf_counter_ns()
        try:
            return execute(*asked)
        finally:
            spent += time.perf_counter_ns() - began

    with connection.execute_wrapper(timed):
        act()
    return spent / 1e6


def model_calls(site: Site) -> Iterator[Row]:
    """How many model calls one worker process holds in flight, and in how much memory."""
    if not (ROOT / "tests" / "bench" / "model_calls.py").exists():
        return
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.model_calls", "--calls", str(site.sizes.model_calls)],
        cwd=ROOT,
        env=site.deployment.env(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for name, value in json.loads(done.stdout.strip().splitlines()[-1]).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield Row("model calls", str(name), float(value), "")


SIZES = {"full": Sizes(), "quick": QUICK, "tiny": TINY}
ALL: dict[str, Callable[[Site], Iterator[Row]]] = {
    "floor": floors,
    "throughput": throughput,
    "costs": costs,
    "latency": latency,
    "long": long_runs,
    "paused": paused,
    "models": model_calls,
    "gate": decisions,
}


def _objects(said: str) -> dict[str, int]:
    """Return the JSON objects among the lines of a process, which may have logged between them, as one."""
    found: dict[str, int] = {}
    for line in said.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                found |= {name: value for name, value in json.loads(line).items() if isinstance(value, int)}
    return found
