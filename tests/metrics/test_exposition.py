"""What Prometheus is told can be read by it, and only by whoever may ask."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from agentops.metrics.cells import Kind
from agentops.metrics.exposition import text
from agentops.metrics.models import Rollup
from agentops.tenancy.scope import tenant_scope
from tests.metrics.conftest import Week
from tests.proof.processes import ROOT

NAME = re.compile(r"[a-z][a-z0-9_]*")
UNITS = ("_total", "_seconds", "_usd_total", "_in_flight", "_open")


def lint(exposition: str) -> list[str]:
    """Say what `promtool check metrics` would complain about."""
    wrong: list[str] = []
    typed: dict[str, str] = {}
    helped: set[str] = set()
    samples: set[str] = set()
    if not exposition.endswith("\n"):
        wrong.append("no newline at the end")
    for line in exposition.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            wrong += [f"{name}: help twice"] if name in helped else []
            wrong += [] if words.strip() else [f"{name}: no help"]
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            wrong += [f"{name}: type twice"] if name in typed else []
            wrong += [f"{name}: type after its samples"] if any(s.startswith(f"{name}{{") for s in samples) else []
            typed[name] = kind
        elif line:
            sample, _, value = line.rpartition(" ")
            name = sample.partition("{")[0]
            float(value)
            wrong += [f"{sample}: twice"] if sample in samples else []
            wrong += [] if NAME.fullmatch(name) else [f"{name}: not a good name"]
            wrong += [] if name in typed and name in helped else [f"{name}: without help or type"]
            wrong += [f"{name}: no unit"] if not name.endswith(UNITS) else []
            wrong += (
                [f"{name}: a counter ends in _total"]
                if (typed.get(name) == "counter") != name.endswith("_total")
                else []
            )
            wrong += [f"{name}: colon or upper case"] if ":" in name or name != name.lower() else []
            samples.add(sample)
    return wrong


def test_the_linter_finds_what_is_wrong() -> None:
    assert lint('# TYPE a counter\na{x="1"} 1\na{x="1"} 1\n')
    assert lint("b_seconds 1")
    assert lint("# HELP c_seconds C.\n# TYPE c_seconds gauge\nc_seconds 1\n") == []


def test_the_text_is_clean_and_says_what_the_cells_say(week: Week) -> None:
    exposed = text().decode()
    assert lint(exposed) == []
    families = {family.name: family for family in text_string_to_metric_families(exposed)}
    ended = sum(s.value for s in families["agentops_runs_ended"].samples if s.labels["outcome"] != "taken_back")
    with tenant_scope(week.tenant):
        rows = Rollup.objects.filter(grain="all", kind=Kind.RUN)
        assert ended == sum(row.counts.get("ended", 0) for row in rows) > 20
    assert families["agentops_alarms_open"].samples[0].value == 0


def test_hostile_names_of_tools_stay_inside_their_quotes(week: Week) -> None:
    with tenant_scope(week.tenant):
        Rollup.objects.create(
            grain="all",
            kind="tool",
            start="1970-01-01T00:00:00Z",
            task_type="t",
            key='x"} 1\nevil 2\\',
            counts={"ok": 3},
        )
    exposed = text().decode()
    assert lint(exposed) == []
    assert "\nevil" not in exposed


@pytest.mark.django_db
def test_without_a_token_only_this_machine_may_ask(client: Client) -> None:
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 404
    for header in ("x-forwarded-for", "forwarded", "via", "x-real-ip"):
        assert client.get("/metrics", headers={header: "1.2.3.4"}).status_code == 404, header
    assert client.post("/metrics").status_code in (403, 405)


@pytest.mark.django_db
def test_in_production_this_machine_needs_the_token_too_unless_it_is_said(client: Client, settings: Any) -> None:
    """A proxy that says nothing of itself asks from this machine, for everybody."""
    settings.METRICS_LOCAL = False
    assert client.get("/metrics").status_code == 404
    settings.METRICS_TOKEN = "t" * 20
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"authorization": "Bearer " + "t" * 20}).status_code == 200


@pytest.mark.parametrize(
    ("given", "local"),
    [
        ({}, "True"),
        ({"BROKER_URL": "redis://127.0.0.1:6379/0"}, "False"),
        ({"BROKER_URL": "redis://127.0.0.1:6379/0", "METRICS_LOCAL": "1"}, "True"),
    ],
)
def test_only_the_embedded_mode_opens_it_to_this_machine_by_itself(
    tmp_path: Path, given: dict[str, str], local: str
) -> None:
    env = {"SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "desk.example", "AGENTOPS_DATA_DIR": str(tmp_path), **given}
    done = subprocess.run(
        [sys.executable, "-c", "from agentops import settings; print(settings.METRICS_LOCAL)"],
        env={**os.environ, "DATABASE_URL": "", "BROKER_URL": "", **env},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == local


@pytest.mark.django_db
def test_with_a_token_everybody_shows_it(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = "t" * 20
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"authorization": "Bearer " + "t" * 19}).status_code == 404
    answer = client.get("/metrics", headers={"authorization": "Bearer " + "t" * 20}, REMOTE_ADDR="10.0.0.7")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
