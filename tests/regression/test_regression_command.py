"""`manage.py regression`: verdicts, exit codes, files for other programs, and what is kept."""

import io
import json
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from agentops.audit.models import Event
from agentops.engine.replay import Identical, replay
from agentops.regression.models import Case, CaseResult, SuiteRun
from agentops.regression.recordings import read_recording, stamped
from agentops.regression.services import promote_run, quarantine_case
from agentops.runs.models import Playbook, TaskType
from agentops.runs.services import save_playbook
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSONObject
from tests.regression.conftest import Shop
from tests.shop import open_shop


def regression(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("regression", *words, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


@pytest.fixture
def promoted(acme: Tenant, bob: User, actor_of: Any) -> list[str]:
    """Promote eight runs of one kind of task; return the ids of the cases."""
    with tenant_scope(acme):
        open_shop(acme, orders=8)
        shop = Shop(acme, actor_of(bob, acme))
        found = []
        for number in range(8):
            task: JSONObject = {"order_ref": f"A-{1001 + number}", "amount_minor": 100, "reason": "Late"}
            verdict = "reject" if number % 4 == 3 else "approve"
            run = shop.run("goodwill-refund", task, verdict)
            found.append(promote_run(run=run, actor=SYSTEM).case.slug)
    return found


def change_playbook(**answer: str) -> None:
    """Plant a regression: one more step, and a condition that keeps most tasks from being done."""
    kind = TaskType.objects.get(slug="goodwill-refund")
    assert kind.playbook is not None
    body = json.loads(kind.playbook.body)
    again = {**body["steps"][0], "id": "again"}
    body["steps"] = [body["steps"][0], again, {**body["steps"][1], "when": "steps.again.output.total_minor > 1000000"}]
    saved = save_playbook(slug="goodwill-refund", body=json.dumps(body), actor=SYSTEM)
    assert isinstance(saved, Playbook), saved
    kind.playbook = saved
    kind.save()


def test_promoted_runs_pass_and_what_they_show_is_kept(promoted: list[str], acme: Tenant) -> None:
    code, said = regression("run", "--tenant", "acme", "--release", "1.0", "--repeat", "2")
    assert (code, "goodwill-refund: passed, 8 cases, pass^1 1.00, pass^2 1.00" in said) == (0, True), said
    with tenant_scope(acme):
        row = SuiteRun.objects.get()
        assert (row.release, row.verdict, row.repeat) == ("1.0", "passed", 2)
        assert CaseResult.objects.filter(suite_run=row, passes=2, trials=2).count() == 8
        assert Event.objects.get(type="suite.run").subject_id == str(row.pk)


def test_a_planted_playbook_change_fails_the_suite_and_is_worse_than_the_baseline(
    promoted: list[str], acme: Tenant, tmp_path: Path
) -> None:
    assert regression("run", "--tenant", "acme", "--release", "1.0")[0] == 0
    with tenant_scope(acme):
        change_playbook()
    junit, report = tmp_path / "junit.xml", tmp_path / "report.json"
    words = ("run", "--tenant", "acme", "--release", "1.1", "--junit", str(junit), "--json", str(report))
    code, said = regression(*words)
    assert code == 1
    assert "goodwill-refund: FAILED" in said
    assert "against 1.0: worse (8 newly failing, 0 newly passing of 8; McNemar p 0.008)" in said
    assert "There is no answer left for shop.find_order" in said
    suite = ET.fromstring(junit.read_text("utf-8"))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("8", "8")
    assert suite[0][0].get("type") == "no_answer"
    found = json.loads(report.read_text("utf-8"))
    assert (found["passed"], found["suites"][0]["comparison"]["verdict"]) == (False, "worse")
    with tenant_scope(acme):
        row = SuiteRun.objects.get(release="1.1")
        assert row.baseline is not None
        assert row.baseline.release == "1.0"
        record = read_recording(CaseResult.objects.filter(suite_run=row)[0].record)
    assert isinstance(replay(stamped(record.entries)), Identical)


def test_a_quarantined_case_fails_nothing_until_its_time_is_over(promoted: list[str], acme: Tenant) -> None:
    with tenant_scope(acme):
        change_playbook()
        for case in Case.objects.all():
            until = timezone.now() + timedelta(days=1)
            quarantine_case(case_id=case.pk, until=until, reason="known", actor=SYSTEM)
    assert regression("run", "--tenant", "acme")[0] == 0
    with tenant_scope(acme):
        Case.objects.filter(slug=promoted[0]).update(quarantined_until=timezone.now() - timedelta(seconds=1))
    assert regression("run", "--tenant", "acme", "--no-record")[0] == 1


def test_a_suite_is_exported_as_a_file_that_runs(promoted: list[str], acme: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    words = ("--tenant", "acme", "--suite", "goodwill-refund")
    assert regression("export", *words, "--output", str(file))[0] == 0
    report = tmp_path / "report.json"
    code, said = regression("run", "--files", str(file), "--json", str(report))
    assert (code, "8 cases" in said) == (0, True)
    assert "no clear difference" in regression("run", "--files", str(file), "--baseline-file", str(report))[1]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "--suite", "nothing"), "no suite nothing"),
        (("run", "--tenant", "nobody"), "no tenant nobody"),
        (("run", "--files", "/nowhere.yaml"), "No such file"),
        (("run", "--repeat", "0"), "--repeat"),
        (("run", "--baseline", "1.0", "--suite", "access-request"), "--baseline-file"),
        (("export", "--tenant", "nobody", "--suite", "x"), "no tenant nobody"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(words: tuple[str, ...], says: str) -> None:
    code, said = regression(*words)
    assert (code, says in said) == (2, True), said


@pytest.mark.django_db
def test_a_bad_file_and_a_bad_baseline_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: agentops-suite/1\nsuite: s\ntask_type: t\ncases:\n- id: x\n")
    code, said = regression("run", "--files", str(bad))
    assert (code, f"{bad}: /cases/0/title: Field required" in said) == (2, True), said
    code, said = regression("run", "--suite", "access-request", "--baseline-file", str(bad))
    assert (code, "JSON" in said or "report" in said) == (2, True), said


def test_the_schema_is_printed() -> None:
    assert json.loads(regression("schema")[1])["title"] == "Suite"
