"""Silence denies, and nobody has to look for it to happen."""

from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth.models import User

from agentops.audit.services import load
from agentops.engine.events import RunCancelled
from agentops.runs.models import Run
from agentops.runs.recording import state_of, stream_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.models import Proposal
from approvals.proposals.deadlines import expire_due
from approvals.services import expire, reject, withdraw_proposals
from tests.approvals.conftest import NOW, Desk, make_desk, seen

LATER = NOW + timedelta(hours=1)


def test_overdue_proposals_expire_and_their_runs_go_on(desk: Desk) -> None:
    proposal = desk.propose()
    assert expire_due(LATER - timedelta(seconds=1), 10) == 0
    assert expire_due(LATER, 10) == 1
    proposal.refresh_from_db()
    assert (proposal.status, proposal.decided_at, proposal.decided_by) == ("expired", LATER, None)
    call = state_of(proposal.run_id).calls[proposal.call_id]
    assert (call.state, call.code) == ("expired", "nobody_answered")
    assert Run.objects.get(pk=proposal.run_id).state == "queued"
    recorded = load(stream_of(proposal.run_id))[-1]
    assert (recorded.type, recorded.actor["kind"]) == ("proposal.expired", "system")
    assert expire_due(LATER, 10) == 0


def test_at_most_limit_are_taken_oldest_deadline_first(desk: Desk) -> None:
    proposals = [desk.propose(order_ref=f"A-{i}") for i in range(3)]
    Proposal.objects.filter(pk=proposals[2].pk).update(decide_by=NOW)
    assert expire_due(LATER, 1) == 1
    assert Proposal.objects.get(status="expired") == proposals[2]
    assert expire_due(LATER, 10) == 2


def test_what_was_decided_does_not_expire(desk: Desk, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> None:
    proposal = desk.propose()
    reject(reason_code="duplicate", **seen(proposal, actor_of(bob, desk.tenant)))
    assert not expire(proposal_id=proposal.pk, now=LATER)
    assert expire_due(LATER, 10) == 0


def test_what_an_ended_run_left_behind_is_withdrawn_and_not_expired(desk: Desk) -> None:
    proposal = desk.propose()
    desk.record(proposal.run, RunCancelled("user:1"))
    assert expire_due(LATER, 10) == 0
    proposal.refresh_from_db()
    assert proposal.status == "withdrawn"
    assert load(stream_of(proposal.run_id))[-1].type == "proposal.withdrawn"


def test_withdrawing_twice_changes_nothing(desk: Desk) -> None:
    proposal = desk.propose()
    assert withdraw_proposals(proposal.run_id, reason="The run ended.", now=NOW) == 1
    assert withdraw_proposals(proposal.run_id, reason="Again.", now=LATER) == 0


def test_one_tenants_sweep_leaves_the_others_alone(acme: Tenant, globex: Tenant, tools: None) -> None:
    with tenant_scope(acme):
        make_desk(acme).propose()
    with tenant_scope(globex):
        make_desk(globex).propose()
        assert expire_due(LATER, 10) == 1
    with tenant_scope(acme):
        assert Proposal.objects.get().status == "pending"
