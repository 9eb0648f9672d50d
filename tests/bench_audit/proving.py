"""Must show 1, the proof: how fast `audit_verify` walks every chain in two processes."""

import re
import resource
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from tests.bench.report import Row
from tests.proof.processes import manage

PROCESSES = 2
TARGET = 100_000


def verify(deployment: Any) -> Iterator[Row]:
    """Walk everything as an operator would, and say what was proven."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    done = manage("audit_verify", "--processes", str(PROCESSES), env=deployment.env(), within_s=3600)
    spent, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    events = sum(map(int, re.findall(r"(\d+) events proven", done.stdout)))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = f"{events:,} events in {spent:.1f} s, {cpu:.1f} s of it processor time without that of the database"
    yield Row(
        "proof", f"events proven a second, {PROCESSES} processes", events / spent, "", None, f">= {TARGET:,}", told
    )
    yield Row("proof", "events proven a processor second", events / cpu, "")
