"""A short piece of `make chaos` on every backend: everything dies, and what was promised happens once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.stage import BACKENDS
from tests.proof.databases import server_of_the_tests
from tests.proof.processes import ROOT
from tests.run import LISTENING, listens

pytestmark = pytest.mark.integration

RUNS = {"sqlite": 40, "redis": 50, "rabbitmq": 50}


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_promised_happens_once_whatever_dies(backend: str, tmp_path: Path) -> None:
    server = server_of_the_tests()
    if backend != "sqlite" and not server:
        pytest.skip("INTEGRATION TEST NOT RUN: DATABASE_URL names no PostgreSQL server")
    if backend == "rabbitmq" and not listens(LISTENING["RabbitMQ"]):
        pytest.skip("INTEGRATION TEST NOT RUN: RabbitMQ does not listen on 127.0.0.1:5672")
    words = ["--runs", str(RUNS[backend]), "--span", "5", "--seconds", "25", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--on", backend, *words, *(["--server", server] if server else [])],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / f"chaos-{backend}.json").read_text())["facts"]
    assert found["runs"] >= RUNS[backend]
    assert found["unsafe effects"] == found["grants consumed"] > 0
