"""Many model calls wait in one process at once, and cost little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="needs no database; tested in the SQLite run")
def test_five_hundred_model_calls_are_in_flight_in_one_process_under_400_mb() -> None:
    command = [sys.executable, "-m", "tests.bench.model_calls", "--calls", "500", "--hold", "0.2"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=os.environ.copy(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert (measured["in_flight"], measured["failed"]) == (500, 0)
    assert measured["rss_mb"] < 400
