"""`make chaos`: `python -m tests.chaos [--runs 1000] [--on sqlite|redis|rabbitmq|all] [--seed TEXT]`.

Runs are submitted, decided and executed by real processes while these are killed at random and at every named point of
the driver, lose their connections, their broker and their messages, get messages twice and in any order, and have
clocks that jump. Then it is quiet, and everything that was promised must have happened, once.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from tests.chaos.stage import BACKENDS, Stage, stage, until
from tests.run import LISTENING, clean_environment, listens, postgresql, say

RESULTS = Path(__file__).resolve().parents[2] / "test-results"
QUIET_S = 90.0
"""Several times the longest wait before a run is taken up again (`mayhem.LONGEST_WAIT_S`), a lease, a slow machine."""
TOGETHER = 60
"""Runs under way at once: more are submitted as these end, so that there is work until the end of the chaos."""
DRAIN_S = 900.0
"""How long the chaos may take at most for every 500 runs, until every point has had its turn."""


def perform(made: Stage, runs: int, seconds: float) -> tuple[dict[str, object], list[str]]:
    """Let it happen on a stage; return what was found and what is wrong."""
    os.environ.update(made.env())
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import Error, connections

    from agentops.runs.models import Run
    from agentops.runs.points import POINTS
    from agentops.tenancy.scope import tenant_scope
    from tests.chaos import checks, contracts, mayhem, workload

    if made.database is None:
        call_command("migrate", verbosity=0)
    contracts.register()
    contracts.Record(made.directory)
    cast = workload.seed()
    connections.close_all()
    submitted: list[UUID] = []
    made.start_all()
    rng, began = made.rng, time.monotonic()
    next_disturbance = began + 4.0

    def open_runs() -> int:
        with tenant_scope(cast.tenant):
            return Run.objects.filter(ended_at=None).count()

    def unsettled() -> bool:
        return bool(set(POINTS) - set(mayhem.deaths(made.directory)))

    def turn() -> None:
        nonlocal next_disturbance
        made.supervise()
        if time.monotonic() > next_disturbance:
            made.disturb()
            next_disturbance = time.monotonic() + rng.uniform(0.5, 3.0) * made.patience
        if rng.random() < 0.03:
            made.ring_all(cast.tenant.pk)

    def wanted() -> int:
        """How many to submit now: all that were asked for, and then a trickle until every point had its turn."""
        left = runs - len(submitted)
        return min(left, TOGETHER - open_runs(), 10) if left > 0 else 10 - open_runs()

    def enough() -> bool:
        late = time.monotonic() - began > seconds or open_runs() <= max(10, runs // 20)
        return len(submitted) >= runs and late and not unsettled()

    limit = time.monotonic() + DRAIN_S * max(1.0, runs / 500)
    while not enough() and time.monotonic() < limit:
        turn()
        for _ in range(wanted()):
            try:
                submitted.append(workload.submit_one(cast, len(submitted)))
            except Error as error:
                made.done[f"submission refused ({type(error).__name__})"] += 1
                connections.close_all()
        time.sleep(0.05)

    (made.directory / "calm").touch()
    left, calm = open_runs(), time.monotonic()
    within_s = QUIET_S + 0.5 * left
    all_ended = until(lambda: open_runs() == 0, within_s=within_s, meanwhile=made.supervise)
    quiet = time.monotonic() - calm
    made.stop_all()
    found = checks.check(cast.tenant, submitted, made.directory)
    connections.close_all()
    wrong = list(found.wrong)
    if not all_ended:
        wrong.insert(0, f"{open_runs()} of {left} runs were stuck {within_s:.0f} s after it had become quiet")
    killed = Counter(mayhem.deaths(made.directory))
    facts: dict[str, object] = {
        **{f"killed at {point}": killed[point] for point in POINTS},
        "clocks jumped": len(mayhem.jumps(made.directory)),
        **dict(sorted(made.done.items())),
        **found.facts,
        "open when it became quiet": left,
        "seconds until they ended": round(quiet, 1),
        "seconds in all": round(time.monotonic() - began),
    }
    wrong += [f"nobody was ever killed at {point}" for point in POINTS if not killed[point]]
    return facts, wrong


def missing(backend: str) -> str:
    """Return what a backend needs and is not there."""
    if backend == "rabbitmq" and not listens(LISTENING["RabbitMQ"]):
        return "RabbitMQ does not listen on 127.0.0.1:5672"
    return ""


def one(backend: str, options: argparse.Namespace, server: str) -> int:
    """Run one backend in this process, which Django is set up in for it."""
    for name in set(os.environ) - set(clean_environment()):
        del os.environ[name]
    directory = Path(tempfile.mkdtemp(prefix=f"agentops-chaos-{backend}-"))
    with stage(
        backend, directory, server, seed=options.seed, span=options.span, clocks=not options.steady_clocks
    ) as made:
        facts, wrong = perform(made, options.runs, options.seconds)
    say(f"\n===== {backend} =====")
    width = max(map(len, facts))
    for name, value in facts.items():
        say(f"{name:<{width}}  {value}")
    for sentence in wrong[:40]:
        say(f"WRONG: {sentence}")
    say(f"{backend}: {'FAILED' if wrong else 'ok'}; logs in {directory}")
    options.output.mkdir(exist_ok=True)
    written = {"backend": backend, "seed": options.seed, "facts": facts, "wrong": wrong}
    (options.output / f"chaos-{backend}.json").write_text(json.dumps(written, indent=1))
    return 1 if wrong else 0


def run_alone(words: list[str]) -> int:
    """Run one backend in a process of its own, which takes its servers and processes away when this one must end."""
    process = subprocess.Popen(words)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait(60)
        raise


def leave(number: int, frame: object) -> NoReturn:
    """Take everything away that was started."""
    raise SystemExit(1)


def main() -> int:
    """Run every backend that was asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description="Kill everything and see what was promised kept.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--on", default="all", choices=[*BACKENDS, "all"])
    parser.add_argument("--seed", default="chaos")
    parser.add_argument("--span", type=int, default=40, help="how often a point is passed at most before it kills")
    parser.add_argument("--seconds", type=float, default=DRAIN_S, help="quiet after so long, even if runs are left")
    parser.add_argument("--steady-clocks", action="store_true", help="do not let clocks jump")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--server", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    if options.on != "all" and (options.server or options.on == "sqlite"):
        return one(options.on, options, options.server)
    failed = []
    with postgresql() as (server, origin):
        say(f"PostgreSQL is {origin}.")
        for backend in BACKENDS if options.on == "all" else [options.on]:
            if lack := missing(backend):
                say(f"!!! NOT RUN ON {backend.upper()}: {lack}")
                continue
            given = sys.argv[1:]
            words = [sys.executable, "-m", "tests.chaos", *given, "--on", backend, "--server", server]
            if run_alone(words):
                failed.append(backend)
    say(f"\nFAILED: {', '.join(failed)}" if failed else "\nAll of it held.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
