"""The same workload in the embedded mode: SQLite, web, worker, sweeper and the person who decides in one process."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.bench.contracts import NOTES, notes
from tests.bench.floor import sqlite_rate
from tests.bench.report import Row
from tests.proof.processes import environment, eventually

WARM_UP = 8


def become(directory: Path) -> None:
    """Make this process an embedded deployment with a new SQLite file; once, before Django is imported."""
    import django

    directory.joinpath("notes").mkdir()
    more = {NOTES: str(directory / "notes"), "LOG_LEVEL": "WARNING", "AGENTOPS_PROCESS": "embedded"}
    os.environ.update(environment(directory / "data", more))
    django.setup()
    from django.core.management import call_command

    from tests.bench.contracts import register

    register()
    call_command("migrate", verbosity=0)


class Embedded:
    """What is measured in it, one method a group of rows."""

    def __init__(self, directory: Path, sizes: Any) -> None:
        from tests.bench import workload

        self.directory = directory
        self.sizes = sizes
        self.bench = workload.seed()

    def rows(self) -> Iterator[Row]:
        """Measure everything, with the worker and the sweeper running as `manage.py demo` runs them."""
        from agentops.worker import sweeper
        from agentops.worker.embedded import EmbeddedWorker, Sweeper

        around = [self._floor("FULL")]
        yield Row("sqlite floor", "synchronous=NORMAL", self._floor("NORMAL"), "steps/s", note="for information")
        worker, sweeping = EmbeddedWorker(), Sweeper(sweeper.sweep)
        worker.start()
        sweeping.start()
        try:
            with self._deciding():
                self._workload(WARM_UP)
                around.append(self._floor("FULL"))
                seconds = self._workload(self.sizes.sqlite_runs)
                around.append(self._floor("FULL"))
            floor = statistics.median(around)
            yield Row("sqlite floor", "synchronous=FULL, as the product", floor, "steps/s")
            yield from self._rates(self.sizes.sqlite_runs / seconds, floor)
            yield from self._latency()
            yield from self._long_runs()
        finally:
            sweeping.stop()
            sweeping.join(30)
            worker.stop(10)

    def _floor(self, synchronous: str) -> float:
        path = self.directory / f"floor-{time.monotonic_ns()}.sqlite3"
        return sqlite_rate(path, self.sizes.floor_s, synchronous)

    def _rates(self, rate: float, floor: float) -> Iterator[Row]:
        from tests.bench import workload

        steps = rate * workload.STEPS
        yield Row("sqlite", "throughput", rate, "runs/s", note="submitting and deciding included")
        yield Row("sqlite", "throughput", steps, "steps/s", steps / floor)

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """Approve whatever waits, in a thread, as the web server of the process would."""
        from django.db import connections

        from agentops.tenancy.scope import tenant_scope
        from tests.bench import workload

        done = threading.Event()

        def decide() -> None:
            with tenant_scope(self.bench.tenant):
                while not done.is_set():
                    waiting = workload.pending(50)
                    for one in waiting:
                        workload.approve_one(one, self.bench.operator)
                    if not waiting:
                        done.wait(0.02)
            connections.close_all()

        thread = threading.Thread(target=decide, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(30)

    def _workload(self, count: int) -> float:
        """Run the workload so often; return the seconds from the first submission to the last end."""
        from tests.bench import workload
        from tests.bench.contracts import PAY

        began = time.time()
        runs = workload.submit_runs(self.bench, workload.WORKLOAD, count)
        ended = self._ended(runs)
        paid = [note.run_id for note in notes(self.directory / "notes") if note.tool == PAY.name]
        assert sorted(run for run in paid if run in set(runs)) == sorted(runs), "not every run paid once"
        return ended - began

    def _ended(self, runs: list[UUID]) -> float:
        from agentops.runs.models import Run
        from agentops.tenancy.scope import tenant_scope

        with tenant_scope(self.bench.tenant):
            mine = Run.objects.filter(pk__in=runs)
            eventually(lambda: mine.filter(ended_at__isnull=False).count() == len(runs), within_s=900)
            found = {(run.state, run.failure_message) for run in mine}
            assert found == {("succeeded", "")}, found
            return max(run.ended_at.timestamp() for run in mine if run.ended_at is not None)

    def _latency(self) -> Iterator[Row]:
        from tests.bench import decider, scenarios, workload

        decided = {UUID(run): at for run, at in decider.serial(self.sizes.decisions).items()}
        waited = [
            (note.at_ns - decided[note.run_id]) / 1e6
            for note in notes(self.directory / "notes")
            if note.run_id in decided and note.n == workload.PAYS_AT
        ]
        for percent in (50, 95, 99):
            value = scenarios.percentile(waited, percent)
            yield Row("sqlite", f"decision committed -> tool starts, p{percent}", value, "ms")

    def _long_runs(self) -> Iterator[Row]:
        from tests.bench import scenarios, workload

        first = 0.0
        for steps, count in self.sizes.long:
            runs: list[UUID] = []
            for _ in range(count):
                one = workload.submit_runs(self.bench, workload.long_kind(steps), 1)
                self._ended(one)
                runs += one
            noted = list(notes(self.directory / "notes"))
            value = statistics.median(scenarios.step_costs(noted, runs, steps))
            first = first or value
            yield Row(
                "sqlite", f"runs of {steps} steps", value, "ms a step", note=f"{100 * (value / first - 1):+.0f} %"
            )
