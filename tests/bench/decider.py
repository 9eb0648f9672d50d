"""The person at the desk, in a process of their own.

`python -m tests.bench.decider stream` approves whatever waits until it is told to stop. `... serial N` submits N runs
one after the other on an idle system and decides each; it prints, as JSON objects, when each decision was committed.
"""

import json
import signal
import sys
import time
from datetime import timedelta
from uuid import UUID

import django

IDLE_S = 0.02
PAUSE_S = 0.05


def stream() -> None:
    """Approve everything, oldest first, until SIGTERM."""
    from django.utils import timezone

    from agentops.tenancy.scope import tenant_scope
    from tests.bench import workload

    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    bench = workload.find()
    began = timezone.now() - timedelta(minutes=1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with tenant_scope(bench.tenant):
        while going:
            waiting = workload.pending(50, began)
            for one in waiting:
                workload.approve_one(one, bench.operator)
            if not waiting:
                time.sleep(IDLE_S)


def serial(count: int) -> dict[str, int]:
    """Return, for each run, when its decision was committed, in nanoseconds since 1970."""
    from django.utils import timezone

    from agentops.runs.models import Run
    from agentops.tenancy.scope import tenant_scope
    from tests.bench import workload

    bench = workload.find()
    decided: dict[str, int] = {}

    def ended(run_id: UUID) -> bool:
        return Run.objects.filter(pk=run_id, ended_at__isnull=False).exists()

    with tenant_scope(bench.tenant):
        for _ in range(count):
            began = timezone.now()
            [run_id] = workload.submit_runs(bench, workload.WORKLOAD, 1)
            until = time.monotonic() + 60
            while not (waiting := workload.pending(1, began)):
                time.sleep(0.005)
                assert time.monotonic() < until, f"run {run_id} asks nobody"
            time.sleep(PAUSE_S)
            watch = workload.Stopwatch()
            assert workload.approve_one(waiting[0], bench.operator, then=watch)
            decided[str(run_id)] = watch.at_ns
            time.sleep(PAUSE_S)
            while not ended(run_id):
                time.sleep(0.005)
                assert time.monotonic() < until, f"run {run_id} does not end"
    return decided


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "serial":
        for run_id, at in serial(int(sys.argv[2])).items():
            sys.stdout.write(json.dumps({run_id: at}) + "\n")
    else:
        stream()
