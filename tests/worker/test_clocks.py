"""A worker whose own clock jumped neither takes runs from others nor keeps them waiting for as long as the jump."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import User
from django.utils import timezone

from agentops import clock
from agentops.runs import lease
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.worker.driver import Driver
from agentops.worker.sweeper import sweep
from approvals.services import Decided
from tests.deciding import approve
from tests.shop import only_proposal, open_shop, start
from tools.backoffice.models import Refund

JUMPS = [600, -600]


@contextmanager
def jumped(seconds: int) -> Iterator[None]:
    """Have the clock of this machine be wrong; what the workers go by was known before."""
    clock.now()
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True):
        yield


def refund() -> Run:
    return start("goodwill-refund", {"order_ref": "A-1001", "amount_minor": 100, "reason": "Late"})


@pytest.mark.parametrize("seconds", JUMPS)
def test_what_it_worked_on_goes_on_at_once_with_others(
    seconds: int, scoped: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    open_shop(scoped)
    run = refund()
    with jumped(seconds):
        assert Driver("w1").drive(scoped, run.id)
    proposal = only_proposal()
    decided = approve(proposal_id=proposal.id, actor=actor_of(bob, scoped), version=1, digest=proposal.digest)
    assert isinstance(decided, Decided)
    assert Driver("w2").drive(scoped, run.id), "the run has to wait for the other clock"
    run.refresh_from_db()
    assert run.state == "succeeded"
    assert Refund.objects.count() == 1


@pytest.mark.parametrize("seconds", JUMPS)
def test_an_approved_refund_is_paid_by_it_in_time(
    seconds: int, scoped: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    open_shop(scoped)
    run = refund()
    Driver("w1").drive(scoped, run.id)
    proposal = only_proposal()
    approve(proposal_id=proposal.id, actor=actor_of(bob, scoped), version=1, digest=proposal.digest)
    with jumped(seconds):
        assert Driver("w2").drive(scoped, run.id)
    run.refresh_from_db()
    assert (run.state, run.failure_message) == ("succeeded", "")


def test_a_lease_that_others_hold_has_not_ended_for_it(scoped: Tenant) -> None:
    open_shop(scoped)
    run = refund()
    assert lease.claim(run.id, owner="w1", now=timezone.now())
    with jumped(600):
        assert not Driver("w2").drive(scoped, run.id)
        sweep()
    run.refresh_from_db()
    assert run.lease_owner == "w1"


def test_a_lease_it_takes_ends_for_others_when_it_should(scoped: Tenant) -> None:
    open_shop(scoped)
    run = refund()
    with jumped(600):
        assert lease.claim(run.id, owner="w1", now=Driver("w1").now())
    run.refresh_from_db()
    assert run.lease_until is not None
    assert run.lease_until < timezone.now() + lease.LEASE + timedelta(minutes=1)
