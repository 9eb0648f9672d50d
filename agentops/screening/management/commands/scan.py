"""`manage.py scan FILE.jsonl`: what the guardrails find in texts, one JSON object a line. Needs no database."""

import json
import resource
import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from agentops.guardrails.score import Family, Point, Settings
from agentops.screening.lines import scan_line


class Command(BaseCommand):
    """Reads lines of {"id", "text"} and prints score, findings and sanitised text of each."""

    help = "Scan texts for content that tries to steer an agent. Reads JSON lines, prints JSON lines."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help='a file with one {"id", "text"} a line; - reads standard input')
        parser.add_argument("--point", choices=[p.value for p in Point], default=Point.BALANCED.value)
        parser.add_argument("--off", action="append", default=[], choices=[f.value for f in Family], metavar="FAMILY")
        parser.add_argument(
            "--bench", type=int, default=0, metavar="TIMES", help="scan it so often, print figures only"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        settings = Settings(Point(options["point"]), frozenset(Family(name) for name in options["off"]))
        if options["bench"]:
            self.stdout.write(json.dumps(_measured(options["file"], settings, options["bench"])))
            return
        refused = 0
        for number, line in enumerate(_lines(options["file"]), 1):
            answer = scan_line(line, number, settings)
            refused += "error" in answer
            self.stdout.write(json.dumps(answer))
        if refused:
            raise CommandError(f"{refused} lines could not be scanned; each says why", returncode=1)


def _lines(name: str) -> Iterator[bytes]:
    """Yield the lines of a file that hold anything; raises CommandError for one that cannot be read."""
    if name == "-":
        yield from _held(sys.stdin.buffer)
        return
    try:
        with Path(name).open("rb") as file:
            yield from _held(file)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from error


def _held(file: IO[bytes]) -> Iterator[bytes]:
    return (line for line in file if line.strip())


def _measured(name: str, settings: Settings, times: int) -> dict[str, Any]:
    """Scan a file several times; return MB/s of each pass over the lines' bytes, the slowest line, and memory."""
    lines = list(_lines(name))
    size = sum(map(len, lines)) / 1e6
    scan_line(b'{"id": 0, "text": "warm up"}', 0, settings)
    rates, slowest = [], 0.0
    for _ in range(times):
        begin = time.perf_counter()
        for number, line in enumerate(lines, 1):
            start = time.perf_counter()
            json.dumps(scan_line(line, number, settings))
            slowest = max(slowest, (time.perf_counter() - start) / max(len(line) / 1e6, 0.1))
        rates.append(size / (time.perf_counter() - begin))
    return {
        "lines": len(lines),
        "megabytes": round(size, 2),
        "median_mb_per_s": round(statistics.median(rates), 2),
        "slowest_s_per_mb": round(slowest, 3),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
