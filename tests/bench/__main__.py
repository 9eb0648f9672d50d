"""`make bench`: what the engine costs, relative to the least that durable steps cost on the same machine.

`python -m tests.bench [--quick] [--only NAME ...] [--sqlite]` prints one table and writes test-results/bench.json. It
uses the PostgreSQL and Redis that listen on this machine, in a database and a queue of its own, or starts its own.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.opening import deployed, forget_configuration
from tests.bench.report import RESULTS, Row, shown, table, write
from tests.run import say

NAMES = ("floor", "throughput", "costs", "latency", "long", "paused", "models", "gate")


def on_postgresql(names: Sequence[str], size: str) -> list[Row]:
    """Measure on PostgreSQL and Redis."""
    from tests.bench.floor import Floor

    with deployed("") as place:
        from tests.bench import scenarios, workload

        sizes = scenarios.SIZES[size]
        site = scenarios.Site(place, workload.seed(), Floor(place.database.superuser), sizes, say)
        site.floor.measure(sizes.floor_s)
        rows: list[Row] = []
        for name in names:
            began = time.monotonic()
            rows += shown(scenarios.ALL[name](site))
            say(f"{name} took {time.monotonic() - began:.0f} s")
        return rows


def on_sqlite(size: str) -> list[Row]:
    """Measure the embedded mode."""
    from tests.bench import embedded

    with tempfile.TemporaryDirectory(prefix="agentops-bench-", ignore_cleanup_errors=True) as directory:
        forget_configuration()
        embedded.become(Path(directory))
        from tests.bench import scenarios

        return list(shown(embedded.Embedded(Path(directory), scenarios.SIZES[size]).rows()))


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="tests.bench", description="Measure the engine against the floor.")
    parser.add_argument("--quick", action="store_true", help="small numbers, in under a minute")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--sqlite", action="store_true", help="the embedded mode instead of PostgreSQL and Redis")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory of the JSON file")
    given = parser.parse_args()
    began = time.monotonic()
    size = "tiny" if given.tiny else "quick" if given.quick else "full"
    rows = on_sqlite(size) if given.sqlite else on_postgresql(given.only or NAMES, size)
    say("")
    say(table(rows))
    path = given.output / ("bench-sqlite.json" if given.sqlite else "bench.json")
    write(rows, path, seconds=time.monotonic() - began, size=size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
