"""`make bench-ui`: what the desk costs the people at it, with a hundred thousand proposals waiting.

`python -m tests.bench_ui [--scale 0.1] [--only NAME ...] [--minutes 10] [--database NAME]` fills a database of its own,
starts the production server on it, and prints all figures, which also go to test-results/bench-ui.json, and whether
each is what was promised. With `seed` it only fills the database that `--database` names, which is kept and used again.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests import chromium
from tests.bench.opening import deployed
from tests.bench.report import RESULTS, Row, shown, table, write
from tests.bench_ui.verdict import verdicts
from tests.run import say

NAMES = ("audit", "server", "statements", "paint", "allowlist", "keyboard", "shift", "weight", "streams")
IN_BROWSER = {"paint", "allowlist", "keyboard", "shift", "weight"}


def filled(deployment: Any, given: argparse.Namespace) -> None:
    """Fill the database, or make what was filled before look as if it had been filled just now."""
    import psycopg

    from tests.bench_ui import seeding

    [(there,)] = deployment.rows("select count(*) from tenancy_tenant")
    if there:
        seeding.freshen(deployment.sql)
    else:
        size = seeding.TINY if given.tiny else seeding.Size().scaled(given.scale)
        seeding.seed(size, partial(psycopg.connect, deployment.database.superuser, autocommit=True), say)
    say(", ".join(f"{count:,} {name}" for name, count in seeding.counts(deployment.sql).items()))


def measured(deployment: Any, given: argparse.Namespace) -> list[Row]:
    """Measure what was asked for."""
    from tests.bench_ui import seeding, server, site, streams, world

    names = given.only or NAMES
    seconds = given.seconds if not given.tiny else 0.5
    rows: list[Row] = list(shown(seeding.verified(deployment.sql))) if "audit" in names else []
    with site.serving(deployment, say, processes=1 if given.tiny else site.CORES) as found:
        big = world.find_place(0)
        for name, act in (("server", partial(server.responses, seconds=seconds)), ("statements", server.statements)):
            if name in names:
                rows += shown(act(found, big))
        if IN_BROWSER & set(names):
            rows += _in_browser(found, big, names, tiny=given.tiny)
    if "streams" in names:
        # The hub of each process hears for its own streams: memory is asked of one.
        with site.serving(deployment, say, processes=1) as found:
            place = world.another_place()
            world.play(place, [scene for scene in world.WAITING if scene.name == "low note"], deployment.sql)
            minutes = 0.1 if given.tiny else given.minutes
            rows += shown(streams.open_streams(found, place, count=20 if given.tiny else 200, minutes=minutes))
    return rows


def _in_browser(site: Any, big: Any, names: tuple[str, ...], *, tiny: bool) -> Iterator[Row]:
    from playwright.sync_api import sync_playwright

    from tests.bench_ui import allowlist, desk, world

    path = chromium.find()
    assert path is not None, "no Chromium found: install one, or name it in AGENTOPS_CHROMIUM"
    counts = desk.Counts(3, 5, 20, 5) if tiny else desk.Counts()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        place = world.another_place()
        world.play(place, [scene for scene in world.WAITING if scene.name in desk.MIX], site.deployment.sql)
        acts: dict[str, Callable[[], Iterator[Row]]] = {
            "weight": lambda: desk.weight(browser, site, big),
            "paint": lambda: desk.first_paint(browser, site, big, counts),
            "allowlist": lambda: allowlist.first_paint(browser, site, counts.contexts),
            "keyboard": lambda: _keyboard(browser, site, big, place, counts),
            "shift": lambda: desk.layout_shift(browser, site, place, counts),
        }
        for name, act in acts.items():
            if name in names:
                yield from shown(act())
        browser.close()


def _keyboard(browser: Any, site: Any, big: Any, place: Any, counts: Any) -> Iterator[Row]:
    from tests.bench_ui import desk

    yield from desk.low_by_keyboard(browser, site, big, counts)
    yield from desk.mixed_by_keyboard(browser, site, place, counts)


def main() -> int:
    """Fill a database, and measure unless only that was asked for."""
    parser = argparse.ArgumentParser(prog="tests.bench_ui", description="Measure the desk at full size.")
    parser.add_argument("what", nargs="?", choices=("measure", "seed"), default="measure")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is a million proposals; 0.1 for a quick look")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each kind of request is asked for")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the streams are open")
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
        rows = measured(deployment, given)
    say(f"\n{table(rows)}\n\n{verdicts(rows)}")
    write(rows, given.output / "bench-ui.json", seconds=time.monotonic() - began, scale=given.scale)
    return 0


if __name__ == "__main__":
    sys.exit(main())
