"""Every page about a run whose record is gone still answers, and says nothing that is not so."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from agentops.audit.models import Event
from agentops.audit.verify import verify_tenant
from agentops.metrics.models import Aside, Rollup, RunFact
from agentops.metrics.rollup import roll_up
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import stream_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from approvals.services import reject
from tests.audit.conftest import unguarded
from tests.deciding import approve
from tests.gateway.conftest import program
from tests.retention.conftest import remove_all
from tests.retention.test_removal import short
from tests.shop import drive, only_proposal, open_shop, start
from tools.backoffice.models import Refund

__all__ = ["short"]
pytestmark = pytest.mark.not_replayed("its record is removed")


@pytest.fixture
def gone(short: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> Run:
    """Return a run that was decided twice, became old, and whose record retention has removed."""
    open_shop(short)
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    actor = actor_of(bob, short)
    first = only_proposal()
    approve(proposal_id=first.pk, actor=actor, version=1, digest=first.digest, note="The photo shows it.")
    drive(run.pk)
    second = only_proposal()
    reject(
        proposal_id=second.pk,
        actor=actor,
        version=1,
        digest=second.digest,
        reason_code="duplicate",
        note="Told already.",
    )
    drive(run.pk)
    long_ago = timezone.now() - timedelta(days=300)
    with unguarded():
        Event.objects.filter(run_id=run.pk).update(at=long_ago)
        Run.objects.filter(pk=run.pk).update(created_at=long_ago, ended_at=long_ago)
    remove_all()
    assert not Event.objects.filter(stream__name=stream_of(run.pk)).exists()
    assert verify_tenant().findings == ()
    return Run.objects.get(pk=run.pk)


def test_pages_about_it_answer(
    gone: Run, short: Tenant, alice: User, bob: User, signed_in: Callable[[User], Client]
) -> None:
    proposals = list(Proposal.objects.filter(run_id=gone.pk))
    assert len(proposals) == 2
    calls = list(ToolCall.objects.filter(run_id=gone.pk))
    paths = [f"runs/{gone.pk}", f"runs/{gone.pk}/artifacts", f"runs/{gone.pk}/calls", f"runs/{gone.pk}/exchanges/3"]
    paths += ["runs", "queue", "queue?status=decided", "metrics", "metrics/runs", "me", "memory", "audit", "budgets"]
    paths += [f"audit/trace?q={Refund.objects.get().pk}", f"audit/trace?q={gone.pk}"]
    paths += [f"runs/{gone.pk}/steps", "regression", "retention", "audit/retention", f"audit?run={gone.pk}"]
    for one in proposals:
        paths += [f"proposals/{one.pk}", f"proposals/{one.pk}/similar", f"audit?proposal={one.pk}"]
        paths += [f"audit/trace?q={one.pk}", f"audit/trace?q={one.digest}"]
    paths += [f"unknown/{one.pk}" for one in calls]
    form = {"note": "Because it is so.", "reason": "Because it is so.", "mask": "none"}
    about = ("case", "values", "undo", "trust", "ask", "decide")
    posts = [f"proposals/{one.pk}/{act}" for one in proposals for act in about]
    posts += [f"runs/{gone.pk}/{act}" for act in ("case", "cancel", "pause", "resume", "requeue", "export")]
    wrong: dict[str, int] = {}
    for user in (alice, bob):
        client = signed_in(user)
        client.raise_request_exception = False
        for path in paths:
            if (code := client.get(f"/t/acme/{path}").status_code) >= 500:
                wrong[path] = code
        for path in posts:
            if (code := client.post(f"/t/acme/{path}", form).status_code) >= 500:
                wrong[f"POST {path}"] = code
    assert wrong == {}


def test_the_api_says_that_it_is_gone(gone: Run, short: Tenant) -> None:
    caller = program(short, "run.view", "run.cancel")
    answer = caller.get(f"/api/v1/runs/{gone.pk}")
    assert (answer.status_code, answer.json()["code"]) == (410, "record_removed")
    assert "retention period had ended" in answer.json()["detail"]
    events = caller.get(f"/api/v1/runs/{gone.pk}/events")
    assert (events.status_code, events.json()["code"]) == (410, "record_removed")
    exchange = caller.get(f"/api/v1/runs/{gone.pk}/events/1/exchange")
    assert (exchange.status_code, exchange.json()["code"]) == (410, "record_removed")
    assert caller.get("/api/v1/runs").json()["runs"][0]["run_id"] == str(gone.pk)


def test_metrics_are_counted_anew_and_keep_what_is_gone(gone: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def runs() -> int:
        return sum(row.counts["all_runs"] for row in Rollup.objects.filter(grain="all", kind="run"))

    roll_up(timezone.now())
    assert runs() == 1
    call_command("metrics_rebuild", tenant="acme")
    assert "0 runs counted, 1 removed kept as version 1 counted them" in capsys.readouterr().out
    assert runs() == 1
    # As if nobody had set it aside before it was removed.
    RunFact.objects.update(aside=0)
    Aside.objects.all().delete()
    with pytest.raises(CommandError, match="acme"):
        call_command("metrics_rebuild", tenant="acme")
    call_command("metrics_rebuild", tenant="acme", forget_removed=True)
    assert not Rollup.objects.exists()
