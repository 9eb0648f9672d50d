"""The shop's records: look-ups, and refunds that never exceed what was paid."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.backoffice.models import Customer, Order, Refund
from tools.contracts import DidNotHappen, ErrorCode, Happened, Money
from tools.executor import Failed, Succeeded, execute, reconcile
from tools.registry import registry

from .conftest import Call, permit_any, request_for

pytestmark = pytest.mark.django_db


def order_in(tenant: Tenant) -> Order:
    customer = Customer.objects.create(
        tenant=tenant, ref="C-1", name="Mia Test", email="mia@example.com", address="1 Lane", language="en"
    )
    return Order.objects.create(
        tenant=tenant,
        ref="A-100",
        customer=customer,
        summary="Tent",
        total_minor=10_000,
        currency="EUR",
        card_last4="4421",
        placed_at=datetime(2026, 11, 1, 9, 0, tzinfo=UTC),
        status="delivered",
    )


@pytest.fixture
def order(scoped: Tenant) -> Order:
    return order_in(scoped)


REFUND: dict[str, Any] = {"order_ref": "A-100", "amount_minor": 2500, "currency": "EUR", "reason": "Dented."}


def failed(outcome: object) -> ErrorCode:
    assert isinstance(outcome, Failed)
    return outcome.code


def test_a_customer_is_found_by_address_whatever_its_case(order: Order, call: Call) -> None:
    outcome = call("shop.find_customer", email="MIA@example.com")
    assert isinstance(outcome, Succeeded)
    assert outcome.output == {
        "found": True,
        "customer_ref": "C-1",
        "name": "Mia Test",
        "email": "mia@example.com",
        "address": "1 Lane",
        "language": "en",
        "order_count": 1,
    }


def test_an_unknown_customer_or_order_is_an_answer_not_an_error(call: Call) -> None:
    customer, order = call("shop.find_customer", email="no@example.com"), call("shop.find_order", order_ref="A-9")
    assert isinstance(customer, Succeeded)
    assert isinstance(order, Succeeded)
    assert customer.output["found"] is order.output["found"] is False
    assert order.output["total_minor"] is None


def test_an_order_says_what_is_still_refundable(order: Order, call: Call) -> None:
    assert isinstance(call("shop.issue_refund", **REFUND), Succeeded)
    outcome = call("shop.find_order", order_ref="A-100")
    assert isinstance(outcome, Succeeded)
    found = outcome.output
    assert (found["total_minor"], found["refunded_minor"], found["refundable_minor"]) == (10_000, 2500, 7500)
    assert (found["currency"], found["status"], found["customer_email"]) == ("EUR", "delivered", "mia@example.com")
    assert found["placed_at"] == "2026-11-01T09:00:00+00:00"


def test_a_refund_is_a_row_with_its_key(order: Order, call: Call) -> None:
    outcome = call("shop.issue_refund", key="run:call", **REFUND)
    assert isinstance(outcome, Succeeded)
    refund = Refund.objects.get()
    assert outcome.output == {"refund_id": refund.ref, "status": "refunded"}
    assert (refund.amount_minor, refund.currency, refund.reason) == (2500, "EUR", "Dented.")
    assert (refund.order_id, refund.idempotency_key) == (order.pk, "run:call")


def test_the_same_key_returns_the_first_refund(order: Order, call: Call) -> None:
    first, second = call("shop.issue_refund", **REFUND), call("shop.issue_refund", **REFUND)
    assert isinstance(first, Succeeded)
    assert isinstance(second, Succeeded)
    assert first.output == second.output
    assert Refund.objects.count() == 1


def test_the_same_key_for_another_amount_is_a_conflict(order: Order, call: Call) -> None:
    call("shop.issue_refund", **REFUND)
    assert failed(call("shop.issue_refund", **REFUND | {"amount_minor": 2600})) is ErrorCode.CONFLICT
    assert Refund.objects.count() == 1


def test_more_than_was_paid_cannot_be_refunded(order: Order, call: Call) -> None:
    assert failed(call("shop.issue_refund", **REFUND | {"amount_minor": 10_001})) is ErrorCode.CONFLICT
    assert isinstance(call("shop.issue_refund", key="1", **REFUND | {"amount_minor": 9_999}), Succeeded)
    assert failed(call("shop.issue_refund", key="2", **REFUND | {"amount_minor": 2})) is ErrorCode.CONFLICT
    assert isinstance(call("shop.issue_refund", key="3", **REFUND | {"amount_minor": 1}), Succeeded)
    assert sum(Refund.objects.values_list("amount_minor", flat=True)) == 10_000


def test_the_wrong_currency_is_invalid(order: Order, call: Call) -> None:
    assert failed(call("shop.issue_refund", **REFUND | {"currency": "USD"})) is ErrorCode.INVALID_INPUT
    assert not Refund.objects.exists()


def test_an_order_that_does_not_exist_cannot_be_refunded(order: Order, call: Call) -> None:
    assert failed(call("shop.issue_refund", **REFUND | {"order_ref": "A-101"})) is ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 0},
        {"amount_minor": -5},
        {"amount_minor": 10_000_001},
        {"amount_minor": 25.5},
        {"amount_minor": "2500"},
        {"currency": "eur"},
        {"order_ref": "A-100\n"},
        {"order_ref": "A-100' or 1=1"},
        {"reason": ""},
        {"reason": "x" * 501},
        {"note": "more"},
    ],
)
def test_arguments_outside_the_contract_never_get_there(order: Order, call: Call, change: dict[str, Any]) -> None:
    assert failed(call("shop.issue_refund", **REFUND | change)) is ErrorCode.INVALID_INPUT
    assert not Refund.objects.exists()


def test_another_tenants_order_does_not_exist(acme: Tenant, globex: Tenant) -> None:
    with tenant_scope(acme):
        order_in(acme)
    found = execute(request_for(globex, "shop.find_order", {"order_ref": "A-100"}), permit_any)
    assert isinstance(found, Succeeded)
    assert found.output["found"] is False
    assert failed(execute(request_for(globex, "shop.issue_refund", REFUND), permit_any)) is ErrorCode.NOT_FOUND
    with tenant_scope(acme):
        assert not Refund.objects.exists()


def test_a_late_refund_changes_nothing(order: Order, call: Call) -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    assert failed(call("shop.issue_refund", deadline=late, **REFUND)) is ErrorCode.TIMEOUT
    assert not Refund.objects.exists()


def test_reconciling_a_refund_asks_by_key(order: Order, call: Call, scoped: Tenant) -> None:
    request = request_for(scoped, "shop.issue_refund", REFUND)
    assert reconcile(request) == DidNotHappen()
    outcome = call("shop.issue_refund", **REFUND)
    assert isinstance(outcome, Succeeded)
    assert reconcile(request) == Happened(outcome.output)


def test_the_card_shows_whose_money_goes_where(order: Order, call: Call) -> None:
    call("shop.issue_refund", key="earlier", **REFUND)
    consequence = registry.describe("shop.issue_refund", "1.0.0", {**REFUND})
    facts = {fact.label: fact.value for fact in consequence.facts}
    assert consequence.summary == "Pays EUR 25.00 out to Mia Test"
    assert consequence.money == Money(2500, "EUR")
    assert facts["Customer"] == "Mia Test (C-1)"
    assert facts["Order total"] == "EUR 100.00"
    assert facts["Already refunded"] == "EUR 25.00"
    assert facts["Refundable afterwards"] == "EUR 50.00"
    assert facts["Paid to"] == "card ending 4421"
    assert consequence.warnings == ("EUR 25.00 of this order were refunded before.",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount_minor": 10_001}, "EUR 0.01 more than is refundable"),
        ({"currency": "USD"}, "in EUR, not USD"),
        ({"currency": "ZZZ"}, "in EUR, not ZZZ"),
        ({"order_ref": "A-999"}, "no order A-999"),
    ],
)
def test_the_card_warns_of_a_call_that_will_fail(order: Order, change: dict[str, Any], words: str) -> None:
    consequence = registry.describe("shop.issue_refund", "1.0.0", {**REFUND, **change})
    assert any(words in warning and "will fail" in warning for warning in consequence.warnings)
