"""Must show 1, the rollups: how far they are behind while two hundred events a second arrive."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.bench.copies import Copies, read_template
from tests.bench.report import Row
from tests.bench_ui.site import quantile
from tests.bench_ui.world import Place

EVENTS_A_SECOND = 200
EVERY_S = 0.5
PATIENCE_S = 180.0
TARGET_S = 60


def lag(deployment: Any, place: Place, *, seconds: float) -> Iterator[Row]:
    """Let runs end while a worker and the beat do what they always do; say when each run was counted and indexed."""
    sql = deployment.sql
    [(run_id, events, created, ended)] = deployment.rows(
        "select r.id, s.seq, r.created_at, r.ended_at from approvals_proposal p join runs_run r on r.id = p.run_id "
        "join audit_stream s on s.tenant_id = r.tenant_id and s.name = 'run:' || r.id where r.tenant_id = %s "
        "and p.status = 'approved' and r.state = 'succeeded' order by r.created_at limit 1",
        place.tenant.pk,
    )
    copies = Copies(sql, [read_template(sql, run_id)], seed=random.SystemRandom().getrandbits(32))
    took: timedelta = ended - created
    waiting: dict[UUID, float] = {}
    behind: list[float] = []
    written = 0
    with deployment.workers(1), deployment.sweeping():
        began = time.monotonic()
        while (now := time.monotonic()) - began < seconds or (waiting and now - began < seconds + PATIENCE_S):
            if now - began < seconds:
                due = int((now - began + EVERY_S) * EVENTS_A_SECOND / events) - written
                made = copies.write((0, datetime.now(UTC) - took) for _ in range(due))
                waiting |= dict.fromkeys(made, now)
                written += len(made)
            done = _counted(deployment, list(waiting))
            behind += [time.monotonic() - waiting.pop(run) for run in done]
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - now)))
    assert behind, "nothing was counted"
    told = f"{written} runs, {written * events:,} events in {seconds:.0f} s; p50 {quantile(behind, 0.5):.1f} s"
    yield Row("rollups", "behind the record, p95", quantile(behind, 0.95), "s", None, f"<= {TARGET_S}", told)
    yield Row("rollups", "behind the record, most", max(behind), "s", None, f"<= {TARGET_S}")
    yield Row("rollups", "runs not counted in the end", len(waiting), "", target="0")


def _counted(deployment: Any, runs: list[UUID]) -> list[UUID]:
    """Return which runs have been counted to their end."""
    rows = deployment.rows("select run_id from metrics_runfact where run_id = any(%s) and ended_at is not null", runs)
    return [run for (run,) in rows]
