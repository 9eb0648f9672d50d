"""Two calls of one step are decided while a worker takes up the first: each happens once (PostgreSQL)."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection

from agentops.audit.verify import verify_tenant
from agentops.runs.models import Run
from agentops.runs.recording import state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from approvals.models import Grant, Proposal
from approvals.services import Decided
from tests.approvals.threads import at_once
from tests.deciding import approve
from tests.shop import drive, open_shop, start, task_type
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]

ROUNDS = 20


def refund(order: str) -> JSONObject:
    arguments: JSONObject = {"order_ref": order, "amount_minor": 1, "currency": "EUR", "reason": "x"}
    return {"tool": "shop.issue_refund", "arguments": arguments}


def test_what_is_approved_while_its_neighbour_executes_happens_once_as_well(
    scoped: Tenant, bob: User, sam: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    open_shop(scoped)
    task_type(
        [{"id": "pay", "calls": [refund("A-1001"), refund("A-1003")]}], {"shop.issue_refund": AllowlistState.GATED}
    )
    people = [actor_of(bob, scoped), actor_of(sam, scoped)]
    for number in range(ROUNDS):
        run = drive(start("job", {}).id)
        proposals = list(Proposal.objects.filter(run=run).order_by("call_id"))

        def decide(proposal: Proposal, person: Actor, worker: str, run: Run = run) -> object:
            with tenant_scope(scoped):
                said = approve(proposal_id=proposal.pk, actor=person, version=1, digest=proposal.digest)
                Driver(worker).drive(scoped, run.pk)
                return said

        outcomes = at_once(
            [
                lambda one=one, person=person, name=f"w{index}": decide(one, person, name)  # type: ignore[misc]
                for index, (one, person) in enumerate(zip(proposals, people, strict=True))
            ]
        )
        assert all(isinstance(one, Decided) for one in outcomes), outcomes
        assert drive(run.pk).state == "succeeded"
        assert Refund.objects.count() == 2 * (number + 1)
        assert Grant.objects.filter(run=run, consumed_at__isnull=True).count() == 0
        assert {call.attempts for call in state_of(run.pk).calls.values()} == {1}
    assert not verify_tenant().findings
