"""How many model calls one process holds at once, and what that costs: `python -m tests.bench.model_calls --calls 500`.

The calls go the way of a run's: a planner over the client library, submitted to the loop of the process. The model is
the scripted server, in a process of its own so that only the caller's memory is measured; it lets every call wait until
all of them are there. Prints one JSON object: calls, in_flight (most that the server held at once), rss_mb (resident
memory of this process at that moment), base_mb (before the first call), wall_s, failed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agentops.wire.parse import JSONObject

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1024 * 1024)
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Measured:
    """What one measurement found; memory in MiB, time in seconds."""

    calls: int
    in_flight: int
    rss_mb: float
    base_mb: float
    wall_s: float
    failed: int


def resident_mb() -> float:
    """Return the resident memory of this process in MiB, as the kernel counts it (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def measure(calls: int = 500, *, hold_s: float = 1.0) -> Measured:
    """Hold that many model calls in flight in this process; needs Django's settings, and no database."""
    from agentops.providers.catalogue import ModelConfig
    from agentops.worker import model_loop
    from agentops.worker.model_planner import ModelPlanner
    from agentops.worker.model_request import preload

    preload()
    base = resident_mb()
    with _server(calls, hold_s) as (url, peak):
        planner = ModelPlanner("model:stub", (ModelConfig("stub", "", url),), DEADLINE_S)
        started = time.monotonic()
        futures = [model_loop.submit(planner.aplan(_request(number))) for number in range(calls)]
        highest = _highest_memory(futures)
        answers = [future.result() for future in futures]
        wall = time.monotonic() - started
        held = peak()
    model_loop.close()
    failed = sum(type(answer).__name__ == "PlannerFailed" for answer in answers)
    return Measured(calls, held, round(highest, 1), round(base, 1), round(wall, 2), failed)


def _highest_memory(futures: list[Any]) -> float:
    highest = resident_mb()
    while not all(future.done() for future in futures):
        highest = max(highest, resident_mb())
        time.sleep(0.02)
    return max(highest, resident_mb())


def _request(number: int) -> Any:
    from agentops.engine.planner import PlanRequest, ToolView

    text: JSONObject = {"type": "string"}
    schema: JSONObject = {"type": "object", "properties": {"message_id": text}, "required": ["message_id"]}
    tools = tuple(
        ToolView(name, "1.0.0", f"What {name} does, in a sentence or two.", schema, schema)
        for name in ("mail.read", "mail.triage", "shop.find_order", "shop.issue_refund", "mail.send", "create_ticket")
    )
    return PlanRequest(
        run_id=f"run-{number}",
        task_type="support-email",
        instructions="Answer the customer's e-mail.",
        input={"message": f"M-{number:04}"},
        planning="plan_first",
        version=1,
        tools=tools,
        calls=(),
        feedback=(),
        tainted=False,
        max_steps=8,
        calls_per_step=4,
        steps_left=8,
    )


@contextmanager
def _server(calls: int, hold_s: float) -> Iterator[tuple[str, Any]]:
    """Serve from another process; yields the base URL and a function that returns the most it held at once."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, calls, hold_s), daemon=True)
    process.start()
    try:
        assert ours.poll(60), "the model server did not start"
        url = ours.recv()

        def peak() -> int:
            ours.send("peak")
            assert ours.poll(60), "the model server is gone"
            return int(ours.recv())

        yield url, peak
        ours.send("stop")
        process.join(30)
    finally:
        if process.is_alive():
            process.kill()
            process.join(10)


def _serve(pipe: Connection, calls: int, hold_s: float) -> None:
    from tests.stubs.model_server import Asked, ModelServer, Reply, Says, plan

    answer = plan([], [{"when": "", "text": "Nothing to do."}])

    def held(asked: Asked) -> Reply:
        return Says(calls=answer.calls, after_s=hold_s)

    with ModelServer(held, remember=False, together=calls) as server:
        pipe.send(server.url)
        while pipe.recv() == "peak":
            pipe.send(server.peak)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold model calls in flight in one process and say what that costs.")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--hold", type=float, default=1.0, help="seconds to hold them once all are there")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentops.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    import django

    django.setup()
    measured = measure(options.calls, hold_s=options.hold)
    sys.stdout.write(json.dumps(measured.__dict__) + "\n")
    return 0 if measured.failed == 0 and measured.in_flight >= options.calls else 1


if __name__ == "__main__":
    sys.exit(main())
