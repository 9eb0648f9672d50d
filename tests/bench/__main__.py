"""`make bench`: what the engine costs, relative to the least that durable steps cost on the same machine.

`python -m tests.bench [--quick] [--only NAME ...] [--sqlite]` prints one table and writes test-results/bench.json. It
uses the PostgreSQL and Redis that listen on this machine, in a database and a queue of its own, or starts its own.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.report import Row, number, table
from tests.run import clean_environment

RESULTS = Path(__file__).resolve().parents[2] / "test-results"
NAMES = ("floor", "throughput", "costs", "latency", "long", "paused", "models", "gate")


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def on_postgresql(names: Sequence[str], size: str) -> list[Row]:
    """Measure on PostgreSQL and Redis."""
    from tests.bench.deployment import Deployment
    from tests.bench.floor import Floor
    from tests.bench.servers import servers
    from tests.proof.databases import own_database

    with tempfile.TemporaryDirectory(prefix="agentops-bench-") as directory, servers() as found:
        for name, origin in found.origins.items():
            say(f"{name} is {origin}.")
        _forget_configuration()
        with own_database(found.postgresql, Path(directory) / "owner") as database:
            place = Deployment(database, found.redis, Path(directory))
            place.become()
            from tests.bench import scenarios, workload

            sizes = scenarios.SIZES[size]
            site = scenarios.Site(place, workload.seed(), Floor(database.superuser), sizes, say)
            site.floor.measure(sizes.floor_s)
            rows: list[Row] = []
            for name in names:
                began = time.monotonic()
                rows += map(shown, scenarios.ALL[name](site))
                say(f"{name} took {time.monotonic() - began:.0f} s")
            place.sql.close()
            from django.db import connections

            connections.close_all()
            return rows


def on_sqlite(size: str) -> list[Row]:
    """Measure the embedded mode."""
    from tests.bench import embedded

    with tempfile.TemporaryDirectory(prefix="agentops-bench-", ignore_cleanup_errors=True) as directory:
        _forget_configuration()
        embedded.become(Path(directory))
        from tests.bench import scenarios

        return list(map(shown, embedded.Embedded(Path(directory), scenarios.SIZES[size]).rows()))


def shown(row: Row) -> Row:
    """Say a figure as soon as it is there."""
    say(f"  {row.group}: {row.name}: {number(row.value)} {row.unit}  {row.note}")
    return row


def _forget_configuration() -> None:
    """Drop what configures the product in the environment, so that every machine measures the same."""
    kept = clean_environment()
    for name in set(os.environ) - set(kept):
        del os.environ[name]


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
    given.output.mkdir(exist_ok=True)
    path = given.output / ("bench-sqlite.json" if given.sqlite else "bench.json")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    written = {"size": size, "seconds": round(time.monotonic() - began), "machine": machine}
    path.write_text(json.dumps(written | {"rows": [row.to_json() for row in rows]}, indent=1))
    say(f"\nWritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
