"""The desk's bench at its smallest: every promise that is no matter of time holds, and every figure is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import chromium
from tests.bench.report import Row
from tests.bench_ui.desk import compare
from tests.bench_ui.hands import Act
from tests.bench_ui.server import unbounded
from tests.bench_ui.site import quantile
from tests.bench_ui.verdict import holds, verdicts
from tests.bench_ui.world import DECIDED, WAITING
from tests.proof.processes import ROOT
from tests.run import LISTENING, listens

Figures = dict[str, dict[str, float]]


def measured(directory: Path, *names: str) -> Figures:
    """Run these parts of the bench and return what they wrote: figures by group and name."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres") or not listens(LISTENING["Redis"]):
        pytest.skip("INTEGRATION TEST NOT RUN: needs PostgreSQL in DATABASE_URL and Redis on 127.0.0.1:6379")
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench_ui", "--tiny", "--output", str(directory), "--only", *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found: dict[str, dict[str, float]] = {}
    for row in json.loads((directory / "bench-ui.json").read_text())["rows"]:
        found.setdefault(row["group"], {})[row["name"]] = row["value"]
        assert row["name"] in done.stdout
    return found


@pytest.mark.integration
def test_the_server_answers_with_few_statements_and_streams_miss_nothing(tmp_path: Path) -> None:
    found = measured(tmp_path, "audit", "server", "statements", "streams")
    assert list(found["audit"].values()) == [0]
    assert len(found["server"]) == 8
    assert all(value > 0 for value in found["server"].values())
    assert found["statements"].pop("with OFFSET or a COUNT without a limit") == 0
    assert {name: count for name, count in found["statements"].items() if not 0 < count <= 12} == {}
    told = {name.partition(": ")[2]: value for name, value in found["streams"].items()}
    assert (told["missed events"], told["events told twice"]) == (0, 0)


@pytest.mark.integration
def test_keys_decide_what_they_mean_and_nothing_moves_by_itself(tmp_path: Path) -> None:
    if chromium.find() is None:
        pytest.skip("INTEGRATION TEST NOT RUN: no Chromium found")
    found = measured(tmp_path, "paint", "allowlist", "keyboard", "shift", "weight")
    told = {name.partition(": ")[2]: value for name, value in found["keyboard"].items() if ": " in name}
    assert (told["times a pointer was used"], told["lost, doubled or mis-aimed"]) == (0, 0)
    [shift] = found["layout shift"].values()
    assert shift <= 0.001
    assert found["weight"]["of it script"] <= 28
    assert all(value > 0 for value in found["first paint"].values())


# --- the bench itself -------------------------------------------------------------------------------------------------


def test_every_difference_between_script_and_record_is_found() -> None:
    one, two, three = Act("1", "low", "approve"), Act("2", "low", "approve"), Act("3", "high", "reject")
    script, record = [one, two, three], [Act(act.proposal, "", act.verdict) for act in (one, two, three)]
    assert compare(script, record) == []
    assert compare(script, record[:2]) == ["lost: 3"]
    assert compare(script[:2], record) == ["nobody meant: 3"]
    assert compare(script, [*record[:2], Act("3", "", "approve")]) == ["3: approve, not reject"]
    assert compare(script, [*record, record[0]]) == ["1 doubled"]
    assert compare([*script, one], record) == ["the script went back to 1"]
    assert compare(script, record[::-1]) == ["another order"]


def test_counting_everything_and_skipping_rows_are_noticed() -> None:
    assert unbounded("SELECT COUNT(*) AS n FROM approvals_proposal")
    assert unbounded("SELECT id FROM approvals_proposal ORDER BY id LIMIT 50 OFFSET 100")
    assert not unbounded("SELECT COUNT(*) FROM (SELECT id FROM approvals_proposal LIMIT 1001) subquery")


def test_a_figure_holds_when_it_is_what_was_promised() -> None:
    slow, right, lost = (
        Row("server", "card", 101.0, "ms", target="<= 100"),
        Row("keyboard", "50 low", 1_000.0, "s", target="<= 1,000"),
        Row("keyboard", "lost", 1.0, "", target="0"),
    )
    assert [holds(one) for one in (slow, right, lost)] == [False, True, False]
    told = verdicts([slow, right, Row("server", "floor page", 1.0, "ms"), lost]).splitlines()
    assert ["DOES NOT HOLD" in line for line in told] == [True, False, True, False]
    assert told[-1] == "1 of 3 hold."


def test_the_mixture_is_whole() -> None:
    for scenes in (WAITING, DECIDED):
        assert sum(scene.share for scene in scenes) == 100
    assert {scene.band for scene in WAITING} == {"low", "medium", "high", "critical"}
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.95)] == [1.0, 2.0, 3.0]
