"""A grant serves one call, one digest, once; everything that may have changed since is looked at again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from approvals.models import Grant
from approvals.permits import grants
from tests.approvals.conftest import NOW, Desk, seen
from tests.approvals.contracts import NOTE, arguments, contract, do_nothing, no_trace
from tests.approvals.threads import at_once
from tests.deciding import approve
from tools.executor import PermitRefused
from tools.models import AllowlistEntry, AllowlistState
from tools.registry import registry


def refusal(desk: Desk, grant: Grant, **changes: object) -> str:
    with pytest.raises(PermitRefused) as refused:
        grants.consume(desk.request(grant, **changes), now=NOW)
    grant.refresh_from_db()
    return refused.value.code


@pytest.fixture
def approved(desk: Desk, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> Grant:
    """Return the grant a person gave for a refund."""
    proposal = desk.propose()
    approve(**seen(proposal, actor_of(bob, desk.tenant)))
    return Grant.objects.get()


def test_a_grant_is_consumed_once(desk: Desk) -> None:
    grant = desk.grant()
    permit = grants.consume(desk.request(grant), now=NOW)
    assert (permit.grant_id, permit.digest) == (grant.pk, grant.digest)
    grant.refresh_from_db()
    assert grant.consumed_at == NOW
    assert refusal(desk, grant) == "grant_used"


def test_a_persons_grant_serves_the_call_it_was_given_for(desk: Desk, approved: Grant) -> None:
    assert grants.consume(desk.request(approved), now=NOW).grant_id == approved.pk


def test_raw_text_of_the_same_arguments_is_the_same_action(desk: Desk) -> None:
    grant = desk.grant()
    raw = b'{"reason":"Arrived broken","order_ref":"A-1093","currency":"EUR","amount_minor":4990}'
    assert grants.consume(desk.request(grant, arguments=raw), now=NOW).digest == grant.digest


def test_no_grant_no_permit(desk: Desk) -> None:
    grant = desk.grant()
    assert refusal(desk, grant, call_id="another") == "grant_missing"
    assert refusal(desk, grant, run_id=desk.run().pk) == "grant_missing"
    assert refusal(desk, grant, tenant_id=desk.tenant.pk + 1) == "grant_missing"


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "0" * 64},
        {"arguments": arguments(amount_minor=4991)},
        {"arguments": b'{"INVALID_JSON"'},
        {"tool": "lab.refund"},
        {"version": "2.0.0"},
    ],
)
def test_another_action_than_the_granted_one_is_a_mismatch(desk: Desk, changes: dict[str, object]) -> None:
    grant = desk.grant()
    assert refusal(desk, grant, **changes) == "digest_mismatch"
    assert grant.consumed_at is None


def test_a_contract_that_changed_under_the_same_version_is_refused(desk: Desk) -> None:
    grant = desk.grant()
    registry.remove("lab.note", "1.0.0")
    registry.register(
        contract(name="lab.note", description="Does more.", effect=NOTE.effect, sensitivity=NOTE.sensitivity),
        do_nothing,
        reconcile=no_trace,
    )
    assert refusal(desk, grant) == "contract_changed"


def test_a_contract_that_is_gone_is_refused(desk: Desk) -> None:
    grant = desk.grant()
    registry.remove("lab.note", "1.0.0")
    assert refusal(desk, grant) == "contract_changed"


def test_the_stricter_allowlist_of_then_and_now_counts(desk: Desk, approved: Grant) -> None:
    by_policy = desk.grant()
    desk.allow("lab.note", AllowlistState.GATED)
    assert refusal(desk, by_policy) == "not_allowed", "what needs a person now is not let through by policy's old word"
    desk.allow("lab.note", AllowlistState.DENIED)
    assert refusal(desk, by_policy) == "not_allowed"
    AllowlistEntry.objects.filter(tool="lab.refund").delete()
    assert refusal(desk, approved) == "not_allowed"
    assert (by_policy.consumed_at, approved.consumed_at) == (None, None)


def test_a_constraint_that_was_set_since_holds_for_what_was_granted_before(desk: Desk, approved: Grant) -> None:
    by_policy = desk.grant()
    for tool, state, grant in (("lab.note", "auto", by_policy), ("lab.refund", "gated", approved)):
        desk.allow(tool, AllowlistState(state), argument_constraints='{"small":"args.amount_minor < 10"}')
        assert refusal(desk, grant) == "constraint_violated"


def test_a_version_range_that_shut_since_is_refused(desk: Desk) -> None:
    grant = desk.grant()
    desk.allow("lab.note", AllowlistState.AUTO, min_version="1.0.1")
    assert refusal(desk, grant) == "contract_changed"


def test_a_grant_ends_with_its_deadline(desk: Desk) -> None:
    assert refusal(desk, desk.grant(expires_at=NOW)) == "grant_expired"
    last_moment = desk.grant(expires_at=NOW + timedelta(microseconds=1))
    assert grants.consume(desk.request(last_moment), now=NOW).grant_id == last_moment.pk


def test_what_did_not_happen_may_be_done_under_the_same_grant(desk: Desk) -> None:
    grant = desk.grant()
    assert not grants.rearm(run_id=grant.run_id, call_id=grant.call_id), "it was not used yet"
    grants.consume(desk.request(grant), now=NOW)
    assert grants.rearm(run_id=grant.run_id, call_id=grant.call_id)
    assert grants.consume(desk.request(grant), now=NOW).grant_id == grant.pk


def test_a_cancelled_runs_unused_grants_can_no_longer_be_consumed(desk: Desk) -> None:
    grant, used = desk.grant(), desk.grant()
    grants.consume(desk.request(used), now=NOW)
    assert grants.revoke_unused(run_id=grant.run_id, now=NOW) == 1
    assert grants.revoke_unused(run_id=used.run_id, now=NOW) == 0
    assert refusal(desk, grant) == "grant_expired"


def test_what_policy_granted_gets_its_row_when_it_is_used_and_serves_once(desk: Desk) -> None:
    unused = desk.grant()
    request = desk.request(unused, call_id="another")
    policy = grants.PolicyGrant(uuid7(), timedelta(hours=1))
    permit = grants.consume(request, now=NOW, policy=policy)
    row = Grant.objects.get(pk=permit.grant_id)
    assert (row.consumed_at, row.source, row.contract_digest) == (NOW, "policy", NOTE.digest)
    with pytest.raises(PermitRefused) as refused:
        grants.consume(request, now=NOW, policy=policy)
    assert refused.value.code == "grant_used"
    assert grants.consume(request, now=NOW, policy=policy, again=True).grant_id == policy.id


def test_what_policy_granted_is_refused_once_the_allowlist_asks_for_a_person(desk: Desk) -> None:
    unused = desk.grant()
    AllowlistEntry.objects.filter(tool=NOTE.name).update(state=AllowlistState.GATED)
    with pytest.raises(PermitRefused) as refused:
        grants.consume(
            desk.request(unused, call_id="another"), now=NOW, policy=grants.PolicyGrant(uuid7(), timedelta(hours=1))
        )
    assert (refused.value.code, Grant.objects.count()) == ("not_allowed", 1)


def test_a_rolled_back_intent_gives_the_grant_back(desk: Desk) -> None:
    grant = desk.grant()
    with transaction.atomic():
        grants.consume(desk.request(grant), now=NOW)
        transaction.set_rollback(True)
    assert grants.consume(desk.request(grant), now=NOW).grant_id == grant.pk


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_consumes_a_grant(desk: Desk) -> None:
    grant = desk.grant()
    request = desk.request(grant)

    def consume() -> str:
        with tenant_scope(desk.tenant), transaction.atomic():
            try:
                grants.consume(request, now=NOW)
            except PermitRefused as refused:
                return refused.code
            return "consumed"

    assert sorted(at_once([consume] * 8)) == ["consumed"] + ["grant_used"] * 7
