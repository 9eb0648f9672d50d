"""The bench of the record at its smallest: what it fills in is what the product makes of the same events."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agentops.audit.indexing import index_new
from agentops.audit.models import Event, EventTerm, Hour, Tail
from agentops.audit.verify import verify_tenant
from agentops.metrics.models import Reader, Rollup, RunFact
from agentops.metrics.rollup import roll_up, start_again
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.bench_audit.pages import STATEMENTS
from tests.bench_audit.seeding import TINY, seed
from tests.conftest import reached_by
from tests.proof.processes import ROOT
from tests.run import LISTENING, listens

FACTS = ("run_id", "seq", "task_type", "ended_at", "outcome", "counted", "checked", "steps", "latency_ms", "human_ms")


@pytest.mark.django_db(transaction=True)
def test_terms_hours_facts_and_cells_are_those_the_product_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("rows are copied with COPY, which PostgreSQL alone has")
    import psycopg

    said: list[str] = []
    seed(TINY, partial(psycopg.connect, **reached_by(), autocommit=True), said.append, tables=None)
    try:
        for tenant in Tenant.objects.order_by("pk"):
            with tenant_scope(tenant):
                _same_again()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("drop schema bench cascade")


def _same_again() -> None:
    """Compare what was filled in with what the product makes of the events when it reads all of them."""
    report = verify_tenant()
    assert report.findings == ()
    assert report.events > 100
    filled = _derived()
    assert Tail.objects.get(reader="terms").position == Reader.objects.get().position >= Event.objects.latest("pk").pk
    EventTerm.objects.all().delete()
    Hour.objects.all().delete()
    Tail.objects.update(position=0, horizon=0)
    while index_new() or Tail.objects.get(reader="terms").position < Event.objects.latest("pk").pk:
        pass
    start_again()
    while roll_up(timezone.now()):
        pass
    again = _derived()
    for name, rows in filled.items():
        assert rows == again[name], name
    assert all(filled.values())


def _derived() -> dict[str, Counter[Any]]:
    cells = Rollup.objects.values_list("grain", "start", "task_type", "kind", "key", "counts")
    return {
        "terms": Counter(EventTerm.objects.values_list("term", "event_id")),
        "hours": Counter(Hour.objects.values_list("start", "first", "last")),
        "facts": Counter(RunFact.objects.values_list(*FACTS)),
        "cells": Counter(
            (*cell, json.dumps({name: count for name, count in sorted(counts.items()) if count}))
            for *cell, counts in cells
            if any(counts.values())
        ),
    }


@pytest.fixture
def figures() -> Iterator[dict[str, dict[str, float]]]:
    """Run the bench at its smallest and return what it wrote: figures by group and name."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres") or not listens(LISTENING["Redis"]):
        pytest.skip("INTEGRATION TEST NOT RUN: needs PostgreSQL in DATABASE_URL and Redis on 127.0.0.1:6379")
    with tempfile.TemporaryDirectory() as directory:
        parts = ("verify", "statements", "pages", "lag")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.bench_audit",
                "--tiny",
                "--times",
                "1",
                "--output",
                directory,
                "--only",
                *parts,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
        found: dict[str, dict[str, float]] = {}
        for row in json.loads((Path(directory) / "bench-audit.json").read_text())["rows"]:
            found.setdefault(row["group"], {})[row["name"]] = row["value"]
        yield found


@pytest.mark.integration
def test_every_page_needs_few_statements_and_every_run_is_counted(figures: dict[str, dict[str, float]]) -> None:
    told = figures["statements"]
    counts = {name: value for name, value in told.items() if name.endswith("of one page")}
    assert len(counts) == 4
    assert {name: value for name, value in counts.items() if not 0 < value <= STATEMENTS} == {}
    assert len(figures["filters"]) > 80
    assert all(value > 0 for value in figures["proof"].values())
    assert figures["rollups"]["runs not counted in the end"] == 0
