"""The benchmark at its smallest runs and finds every figure; what the figures are is nobody's business here."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.report import Row, number, table
from tests.proof.processes import ROOT
from tests.run import LISTENING, listens


def figures(directory: Path, *words: str) -> dict[str, list[float]]:
    """Run the benchmark and return what it wrote: figures by group."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--tiny", "--output", str(directory), *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    [written] = directory.glob("bench*.json")
    found: dict[str, list[float]] = {}
    for row in json.loads(written.read_text())["rows"]:
        found.setdefault(row["group"], []).append(row["value"])
        assert math.isfinite(row["value"])
        assert row["name"] in done.stdout
    return found


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="brings its own SQLite database; tested in the SQLite run")
def test_the_embedded_mode_is_measured(tmp_path: Path) -> None:
    found = figures(tmp_path, "--sqlite")
    assert set(found) == {"sqlite floor", "sqlite"}
    assert all(value > 0 for value in found["sqlite floor"])


@pytest.mark.integration
def test_everything_is_measured_on_postgresql_and_redis(tmp_path: Path) -> None:
    if not os.environ.get("DATABASE_URL", "").startswith("postgres") or not listens(LISTENING["Redis"]):
        pytest.skip("INTEGRATION TEST NOT RUN: needs PostgreSQL in DATABASE_URL and Redis on 127.0.0.1:6379")
    found = figures(tmp_path)
    assert {"floor", "throughput", "costs", "latency", "long runs", "paused"} <= set(found)
    for group in ("floor", "throughput", "latency"):
        assert all(value > 0 for value in found[group]), group
    commits = found["costs"][0]
    assert commits >= 3, "a run is at least submitted, decided and ended"


def test_a_table_says_what_each_figure_is() -> None:
    rows = [
        Row("floor", "one connection", 1580.4, "steps/s", note="fsync on"),
        Row("throughput", "1 worker process", 61.26, "steps/s", share=0.0388, target=">= 0.20"),
        Row("throughput", "2 worker processes", 0.5, "runs/s"),
    ]
    assert table(rows).splitlines() == [
        "                                                of floor  target",
        "floor       one connection      1,580  steps/s                     fsync on",
        "throughput  1 worker process     61.3  steps/s      0.04  >= 0.20",
        "            2 worker processes   0.50  runs/s",
    ]
    assert [number(value) for value in (0.5, 9.994, 12.34, 1234567.0)] == ["0.50", "9.99", "12.3", "1,234,567"]
