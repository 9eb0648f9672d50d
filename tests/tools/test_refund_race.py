"""Refunds under contention, on PostgreSQL: never more than was paid, never twice for one key."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event

import pytest
from django.db import connection, transaction

from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import create_tenant
from tools.backoffice.models import Customer, Order, Refund
from tools.builtin import effects
from tools.contracts import TRANSIENT, ErrorCode
from tools.executor import Failed, Outcome, Succeeded, execute

from .conftest import permit_any, request_for

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="row locks are PostgreSQL's"),
]

THREADS = 8


@pytest.fixture
def tenant() -> Tenant:
    tenant = create_tenant(slug="race", name="Race", environment="test", actor=SYSTEM)
    with tenant_scope(tenant):
        customer = Customer.objects.create(ref="C-1", name="Mia", email="mia@example.com")
        Order.objects.create(
            ref="A-100",
            customer=customer,
            summary="Tent",
            total_minor=1000,
            currency="EUR",
            placed_at=datetime(2026, 11, 1, tzinfo=UTC),
        )
    return tenant


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls wait for each other until their deadlines, however busy the machine is."""
    monkeypatch.setattr(effects, "LOCK_TIMEOUT_MS", 60_000)


def at_once(tenant: Tenant, key_of: Callable[[int], str]) -> list[Outcome]:
    """Refund 400 of 1,000 from eight threads that start together."""
    barrier = Barrier(THREADS)

    def refund(number: int) -> Outcome:
        arguments = {"order_ref": "A-100", "amount_minor": 400, "currency": "EUR", "reason": "Race."}
        try:
            barrier.wait(timeout=30)
            return execute(request_for(tenant, "shop.issue_refund", arguments, key=key_of(number)), permit_any)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(refund, range(THREADS)))


def test_two_calls_at_once_never_refund_more_than_was_paid(tenant: Tenant) -> None:
    outcomes = at_once(tenant, key_of=lambda number: f"key-{number}")
    assert sum(isinstance(outcome, Succeeded) for outcome in outcomes) == 2
    assert all(outcome.code is ErrorCode.CONFLICT for outcome in outcomes if isinstance(outcome, Failed))
    with tenant_scope(tenant):
        assert list(Refund.objects.values_list("amount_minor", flat=True)) == [400, 400]


def test_the_same_call_twice_at_once_is_one_refund(tenant: Tenant) -> None:
    outcomes = at_once(tenant, key_of=lambda number: "one-key")
    answers = [outcome.output for outcome in outcomes if isinstance(outcome, Succeeded)]
    assert len(answers) == THREADS
    assert all(answer == answers[0] for answer in answers)
    with tenant_scope(tenant):
        assert Refund.objects.count() == 1


def test_a_call_waits_for_a_lock_no_longer_than_its_deadline(tenant: Tenant) -> None:
    locked, finished = Event(), Event()

    def hold() -> None:
        try:
            with tenant_scope(tenant), transaction.atomic():
                Order.objects.select_for_update().get(ref="A-100")
                locked.set()
                finished.wait(timeout=30)
        finally:
            connection.close()

    arguments = {"order_ref": "A-100", "amount_minor": 400, "currency": "EUR", "reason": "Race."}
    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        try:
            assert locked.wait(timeout=30)
            soon = datetime.now(UTC) + timedelta(seconds=0.4)
            outcome = execute(request_for(tenant, "shop.issue_refund", arguments, deadline=soon), permit_any)
        finally:
            finished.set()
        holder.result()
    assert isinstance(outcome, Failed)
    assert outcome.code in TRANSIENT
    with tenant_scope(tenant):
        assert not Refund.objects.exists()
