"""SIGKILL inside an effect, where no `finally` runs: the next worker asks what became of it and repeats nothing."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agentops.audit.verify import verify_tenant
from agentops.engine.events import CallReconciled, CallStarted
from agentops.runs.models import Run
from agentops.runs.recording import load
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSONObject
from approvals.models import Grant
from approvals.services import Decided
from approvals.stopping.intervention import Answered, reconcile_call
from tests.deciding import approve
from tests.proof.processes import ROOT, database_url, environment
from tests.shop import Clock, drive, only_proposal, open_shop, start
from tools.backoffice.models import Refund, SentMessage

pytestmark = pytest.mark.django_db(transaction=True)

REFUND: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "Late"}
LETTER: JSONObject = {"email": "wilma@example.com", "subject": "Your tent", "body": "It is on its way."}


def die(where: str, run: Run, data: Path) -> None:
    """Let a worker process take the run up and be killed inside its effect."""
    name = str(connection.settings_dict["NAME"])
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof.dying", where, str(run.tenant_id), str(run.id)],
        cwd=ROOT,
        env=environment(data, {"DATABASE_URL": database_url(name)}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def approved(slug: str, task: JSONObject, tenant: Tenant, actor: Actor) -> Run:
    """Return a run whose effect was approved and not yet executed."""
    open_shop(tenant)
    run = drive(start(slug, task).id)
    proposal = only_proposal()
    outcome = approve(proposal_id=proposal.id, actor=actor, version=1, digest=proposal.digest)
    assert isinstance(outcome, Decided)
    return run


@pytest.mark.parametrize(("where", "verdict"), [("before", "did_not_happen"), ("after", "happened")])
def test_a_refund_is_paid_once_whether_the_worker_died_before_or_after_it(
    where: str, verdict: str, acme: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor], tmp_path: Path
) -> None:
    with tenant_scope(acme):
        run = approved("goodwill-refund", REFUND, acme, actor_of(bob, acme))
    die(where, run, tmp_path)
    with tenant_scope(acme):
        assert Refund.objects.count() == (where == "after")
        clock = Clock()
        assert drive(run.id, clock, "w2").state == "running", "the lease of the dead worker still holds"
        clock.forward(minutes=5)
        run = drive(run.id, clock, "w2")
        assert run.state == "succeeded"
        events = [stamped.event for stamped in load(run.id)]
        assert [e.verdict for e in events if isinstance(e, CallReconciled)] == [verdict]
        assert len([e for e in events if isinstance(e, CallStarted) and e.call_id.endswith("refund.0")]) == (
            2 if where == "before" else 1
        )
        assert Refund.objects.get().amount_minor == 100
        assert Grant.objects.get(source="proposal").consumed_at is not None
        assert not verify_tenant().findings


def test_a_letter_that_may_have_left_waits_for_a_person_and_is_not_sent_again(
    acme: Tenant,
    bob: User,
    sam: User,
    actor_of: Callable[[User, Tenant], Actor],
    tmp_path: Path,
    mailoutbox: list[object],
) -> None:
    with tenant_scope(acme):
        run = approved("customer-letter", LETTER, acme, actor_of(bob, acme))
    die("mail", run, tmp_path)
    with tenant_scope(acme):
        clock = Clock()
        clock.forward(minutes=5)
        for _ in range(3):
            assert drive(run.id, clock, "w2").state == "awaiting_reconciliation"
        assert SentMessage.objects.get().state == "sending"
        assert mailoutbox == []
        [call_id] = [s.event.call_id for s in load(run.id) if isinstance(s.event, CallStarted)]
        answer = reconcile_call(
            run_id=run.id, call_id=call_id, verdict="happened", actor=actor_of(sam, acme), note="Wilma has it"
        )
        assert answer == Answered("happened")
        assert drive(run.id, clock, "w2").state == "succeeded"
        assert mailoutbox == []
