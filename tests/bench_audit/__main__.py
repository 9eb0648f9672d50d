"""`make bench-audit`: what the record and the metrics cost with ten million events of a million runs.

`python -m tests.bench_audit [--scale 0.1] [--only NAME ...] [--database NAME]` fills a database of its own, starts the
production server on it, and prints one table, which also goes to test-results/bench-audit.json. With `seed` it only
fills the database that `--database` names, which is kept and used again.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests import chromium
from tests.bench.opening import deployed
from tests.bench.report import RESULTS, Row, shown, table, write
from tests.run import say

NAMES = ("pages", "statements", "paint", "verify", "lag")


def filled(deployment: Any, given: argparse.Namespace) -> None:
    """Fill the database unless it is."""
    import psycopg

    from tests.bench_audit import seeding

    [(there,)] = deployment.rows("select count(*) from tenancy_tenant")
    if not there:
        size = seeding.TINY if given.tiny else seeding.Size().scaled(given.scale)
        seeding.seed(size, partial(psycopg.connect, deployment.database.superuser, autocommit=True), say)
    say(", ".join(f"{count:,} {name}" for name, count in seeding.counts(deployment.sql).items()))


def measured(deployment: Any, given: argparse.Namespace) -> Iterator[Row]:
    """Measure what was asked for."""
    from tests.bench_audit import counting, pages, proving
    from tests.bench_ui import site, world

    names = given.only or NAMES
    if "verify" in names:
        yield from proving.verify(deployment)
    if {"pages", "statements", "paint"} & set(names):
        # Looking at pages is on record too, and the sweeper makes that findable, as it does in production.
        with (
            deployment.workers(1),
            deployment.sweeping(),
            site.serving(deployment, say, processes=1 if given.tiny else site.CORES) as found,
        ):
            place = world.find_place(0)
            asks = pages.asks(deployment, place)
            if "statements" in names:
                yield from pages.statements(found, place, asks)
            if "pages" in names:
                yield from pages.responses(found, place, asks, times=given.times)
            if "paint" in names:
                yield from _paint(found, place, contexts=3 if given.tiny else 30)
    if "lag" in names:
        yield from counting.lag(deployment, world.find_place(0), seconds=3.0 if given.tiny else given.seconds)


def _paint(found: Any, place: Any, *, contexts: int) -> Iterator[Row]:
    from playwright.sync_api import sync_playwright

    from tests.bench_audit import pages

    path = chromium.find()
    assert path is not None, "no Chromium found: install one, or name it in AGENTOPS_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield from pages.first_paint(browser, found, place, contexts)
        browser.close()


def main() -> int:
    """Fill a database, and measure unless only that was asked for."""
    parser = argparse.ArgumentParser(prog="tests.bench_audit", description="Measure the record at full size.")
    parser.add_argument("what", nargs="?", choices=("measure", "seed"), default="measure")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is a million runs; 0.1 for a quick look")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--times", type=int, default=20, help="how often each page is asked for")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long events arrive for the lag of the rollups")
    parser.add_argument("--database", default="", metavar="NAME", help="keep the database under this name, or use it")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory of the JSON file")
    given = parser.parse_args()
    if given.what == "seed" and not given.database:
        parser.error("seed needs --database, or nothing would be left of it")
    began = time.monotonic()
    with deployed(given.database) as deployment:
        filled(deployment, given)
        if given.what == "seed":
            return 0
        rows = list(shown(measured(deployment, given)))
    say(f"\n{table(rows)}")
    write(rows, given.output / "bench-audit.json", seconds=time.monotonic() - began, scale=given.scale)
    return 0


if __name__ == "__main__":
    sys.exit(main())
