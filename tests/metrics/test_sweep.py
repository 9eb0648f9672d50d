"""Runs that a worker drove and people decided are counted by the sweeper as the record says."""

from collections.abc import Callable

from django.contrib.auth.models import User

from agentops.metrics.models import Rollup, RunFact
from agentops.runs.recording import load
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.worker.sweeper import sweep
from tests.deciding import approve
from tests.metrics.oracle import by_day
from tests.metrics.test_rollup import stored
from tests.metrics.test_units import counted
from tests.shop import drive, only_proposal, open_shop, start


def test_the_sweeper_counts_what_was_done(scoped: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> None:
    open_shop(scoped)
    run = drive(start("goodwill-refund", {"order_ref": "A-1003", "amount_minor": 700, "reason": "late"}).id)
    sweep()
    assert RunFact.objects.get().ended_at is None
    proposal = only_proposal()
    approve(proposal_id=proposal.pk, actor=actor_of(bob, scoped), version=proposal.version, digest=proposal.digest)
    assert drive(run.pk).state == "succeeded"
    sweep()
    fact = RunFact.objects.get()
    assert (fact.outcome, fact.run_id, fact.task_type) == ("succeeded", run.pk, "goodwill-refund")
    assert counted(stored()) == by_day([load(run.pk)])
    (tool,) = Rollup.objects.filter(grain="day", kind="tool", key="shop.issue_refund")
    assert tool.counts["effects"] == tool.counts["ok"] == 1
    assert "orphans" not in tool.counts
    assert "auto" not in tool.counts
    before = stored()
    sweep()
    assert stored() == before
