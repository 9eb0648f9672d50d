"""What rules have let run lately is counted where the permission is used: once a call, and never beyond the rate."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from approvals.gating.policy import Quota
from approvals.models import Grant, RuleUse
from approvals.permits import grants
from approvals.permits.grants import PolicyGrant
from approvals.permits.rates import UsedUp, spend, spent
from tests.approvals.conftest import NOW, Desk
from tests.approvals.threads import at_once
from tools.executor import CallRequest, Permit, PermitRefused

HOUR = Quota("h" * 64, 2, 3_600)
DAY = Quota("d" * 64, 3, 86_400)


def test_a_call_counts_once_however_often_it_is_tried_and_falls_out_of_the_window(scoped: Tenant) -> None:
    run = uuid7()
    for minutes in (0, 1, 2):
        spend([HOUR], run_id=run, call_id="a", now=NOW + timedelta(minutes=minutes))
    later = NOW + timedelta(minutes=30)
    assert spent(run, later)(HOUR.key, 3_600, "b") == 1
    assert spent(run, later)(HOUR.key, 3_600, "a") == 0, "the call itself is not in its own way"
    spend([HOUR], run_id=uuid7(), call_id="a", now=later)
    with pytest.raises(UsedUp):
        spend([HOUR], run_id=run, call_id="b", now=later)
    # From its latest try on.
    with pytest.raises(UsedUp):
        spend([HOUR], run_id=run, call_id="b", now=NOW + timedelta(minutes=61))
    spend([HOUR], run_id=run, call_id="b", now=NOW + timedelta(minutes=62))
    assert len(RuleUse.objects.get().uses) == 2, "what is older is not kept"


def test_what_one_quota_refuses_no_other_one_counts(scoped: Tenant) -> None:
    spend([DAY, HOUR], run_id=uuid7(), call_id="a", now=NOW)
    spend([DAY, HOUR], run_id=uuid7(), call_id="a", now=NOW)
    with pytest.raises(UsedUp):
        spend([DAY, HOUR], run_id=uuid7(), call_id="a", now=NOW)
    assert {row.key: len(row.uses) for row in RuleUse.objects.all()} == {DAY.key: 2, HOUR.key: 2}


def test_another_tenant_has_its_own_count(acme: Tenant, globex: Tenant) -> None:
    with tenant_scope(acme), transaction.atomic():
        spend([HOUR], run_id=uuid7(), call_id="a", now=NOW)
    with tenant_scope(globex):
        assert spent(uuid7(), NOW)(HOUR.key, 3_600, "a") == 0


def test_a_permission_whose_rule_is_used_up_is_not_given_and_leaves_nothing(desk: Desk) -> None:
    once = replace(HOUR, calls=1)

    def use(call_id: str) -> Permit:
        grant = desk.grant()
        request = desk.request(grant, call_id=call_id)
        grant.delete()
        policy = PolicyGrant(uuid7(), timedelta(hours=1), "policy.1.small", 1, (once,))
        return grants.consume(request, now=NOW, policy=policy)

    use("one")
    with pytest.raises(PermitRefused) as refused, transaction.atomic():
        use("two")
    assert refused.value.code == "policy_blocked"
    assert Grant.objects.count() == 1
    assert len(RuleUse.objects.get().uses) == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_many_workers_together_never_let_more_run_than_the_rate_says(desk: Desk) -> None:
    requests: list[CallRequest] = []
    for _ in range(12):
        grant = desk.grant()
        requests.append(desk.request(grant))
        grant.delete()
    few, many = Quota("f" * 64, 5, 3_600), Quota("m" * 64, 100, 86_400)

    def use(request: CallRequest, quotas: tuple[Quota, ...]) -> Callable[[], str]:
        def worker() -> str:
            policy = PolicyGrant(uuid7(), timedelta(hours=1), "policy.1.small", 1, quotas)
            try:
                with tenant_scope(desk.tenant), transaction.atomic():
                    grants.consume(request, now=NOW, policy=policy)
            except PermitRefused as refused:
                return refused.code
            return "ran"

        return worker

    # In either order: nobody waits in a circle.
    calls = [use(one, (few, many) if number % 2 else (many, few)) for number, one in enumerate(requests)]
    assert Counter(at_once(calls)) == {"ran": 5, "policy_blocked": 7}
    assert Grant.objects.filter(consumed_at__isnull=False).count() == 5
    assert {row.key: len(row.uses) for row in RuleUse.objects.all()} == {few.key: 5, many.key: 5}
