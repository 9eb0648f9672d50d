"""Tickets, erasures and role grants: real rows, once per key, refused when they do not fit."""

from datetime import UTC, datetime

import pytest
from django.db import transaction

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.backoffice.models import (
    Colleague,
    Customer,
    Erasure,
    InboxMessage,
    Order,
    RoleGrant,
    SentMessage,
    SystemRole,
    Ticket,
)
from tools.contracts import DidNotHappen, ErrorCode, Happened
from tools.executor import Failed, Succeeded, Unknown, execute, reconcile
from tools.registry import registry

from .conftest import Call, permit_any, request_for

pytestmark = pytest.mark.django_db

DAY = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


def failed(outcome: object) -> ErrorCode:
    assert isinstance(outcome, Failed)
    return outcome.code


def output(outcome: object) -> dict[str, object]:
    assert isinstance(outcome, Succeeded)
    return {**outcome.output}


# --- create_ticket ---------------------------------------------------------------------------------------------------


def test_a_ticket_is_created_once_per_key(call: Call, scoped: Tenant) -> None:
    request = request_for(scoped, "create_ticket", {"title": "Look", "priority": "high"})
    assert reconcile(request) == DidNotHappen()
    first = output(call("create_ticket", title="Look", priority="high"))
    assert output(call("create_ticket", title="Look", priority="high")) == first
    ticket = Ticket.objects.get()
    assert first == {"ticket_id": ticket.ref, "status": "created"}
    assert (ticket.title, ticket.priority) == ("Look", "high")
    assert reconcile(request) == Happened({"ticket_id": ticket.ref, "status": "created"})


def test_another_key_is_another_ticket(call: Call) -> None:
    first = output(call("create_ticket", key="1", title="Look", priority="low"))
    second = output(call("create_ticket", key="2", title="Look", priority="low"))
    assert first["ticket_id"] != second["ticket_id"]
    assert "exist already" in registry.describe("create_ticket", "1.0.0", {"title": "Look"}).warnings[0]


def test_a_key_stands_for_one_ticket_only(call: Call) -> None:
    call("create_ticket", title="Look", priority="low")
    assert failed(call("create_ticket", title="Look again", priority="low")) is ErrorCode.CONFLICT


@pytest.mark.parametrize("priority", ["medium", "LOW", "", None])
def test_only_three_priorities_exist(call: Call, priority: object) -> None:
    assert failed(call("create_ticket", title="Look", priority=priority)) is ErrorCode.INVALID_INPUT


# --- customer.erase --------------------------------------------------------------------------------------------------


@pytest.fixture
def customer(scoped: Tenant) -> Customer:
    customer = Customer.objects.create(
        ref="C-1", name="Mia Test", email="mia@example.com", address="1 Lane", language="en"
    )
    for ref, status in (("A-1", "delivered"), ("A-2", "paid")):
        Order.objects.create(
            ref=ref, customer=customer, summary="Tent", total_minor=1, currency="EUR", card_last4="1234",
            placed_at=DAY, status=status,
        )  # fmt: skip
    InboxMessage.objects.create(
        ref="M-1", raw=b"From: Mia", received_at=DAY, sender="Mia@Example.com", reply_to="x@example.org", subject="Hi"
    )
    InboxMessage.objects.create(ref="M-2", raw=b"other", received_at=DAY, sender="other@example.com")
    SentMessage.objects.create(idempotency_key="s", to="mia@example.com", subject="Re", body="Hello", message_id="<1>")
    return customer


ERASE = {"customer_ref": "C-1", "reason": "Asked for it."}


def test_an_erasure_leaves_no_personal_data_and_keeps_the_books(customer: Customer, call: Call) -> None:
    assert output(call("customer.erase", **ERASE)) == {
        "customer_ref": "C-1",
        "status": "erased",
        "orders_kept": 2,
        "messages_erased": 2,
    }
    customer.refresh_from_db()
    assert (customer.name, customer.email, customer.address, customer.language) == ("", "", "", "")
    assert customer.erased_at is not None
    assert set(Order.objects.values_list("card_last4", "total_minor")) == {("", 1)}
    mine, other = InboxMessage.objects.get(ref="M-1"), InboxMessage.objects.get(ref="M-2")
    assert (bytes(mine.raw), mine.sender, mine.reply_to, mine.subject) == (b"", "", "", "")
    assert bytes(other.raw) == b"other"
    sent = SentMessage.objects.get()
    assert (sent.to, sent.subject, sent.body) == ("", "", "")
    assert failed(call("mail.read", message_id="M-1")) is ErrorCode.NOT_FOUND


def test_an_erasure_happens_once(customer: Customer, call: Call, scoped: Tenant) -> None:
    request = request_for(scoped, "customer.erase", ERASE)
    assert reconcile(request) == DidNotHappen()
    first = output(call("customer.erase", **ERASE))
    assert output(call("customer.erase", **ERASE)) == first
    assert isinstance(reconcile(request), Happened)
    assert failed(call("customer.erase", key="other", **ERASE)) is ErrorCode.CONFLICT
    assert Erasure.objects.count() == 1


def test_a_key_stands_for_one_customer_only(customer: Customer, call: Call) -> None:
    Customer.objects.create(ref="C-2", name="Other", email="o@example.com")
    call("customer.erase", **ERASE)
    assert failed(call("customer.erase", **ERASE | {"customer_ref": "C-2"})) is ErrorCode.CONFLICT


def test_an_unknown_customer_cannot_be_erased(customer: Customer, call: Call) -> None:
    assert failed(call("customer.erase", **ERASE | {"customer_ref": "C-9"})) is ErrorCode.NOT_FOUND


def test_two_erased_customers_do_not_collide(customer: Customer, call: Call) -> None:
    Customer.objects.create(ref="C-2", name="Other", email="o@example.com")
    call("customer.erase", key="1", **ERASE)
    assert output(call("customer.erase", key="2", **ERASE | {"customer_ref": "C-2"}))["status"] == "erased"


def test_the_card_says_how_much_is_touched(customer: Customer) -> None:
    consequence = registry.describe("customer.erase", "1.0.0", {**ERASE})
    assert [(b.kind, b.count) for b in consequence.blast] == [
        ("customers", 1),
        ("orders kept without a name", 2),
        ("messages erased", 2),
    ]
    assert consequence.warnings == ("1 order(s) are still under way; delivering them needs the address.",)
    assert ("e-mail", customer.email, "") in consequence.changes
    assert "no customer" in registry.describe("customer.erase", "1.0.0", {"customer_ref": "C-9"}).warnings[0]


# --- access.grant_role -----------------------------------------------------------------------------------------------


@pytest.fixture
def desk(scoped: Tenant) -> None:
    Colleague.objects.create(account="jo@acme.example", name="Jo", title="Clerk")
    Colleague.objects.create(account="left@acme.example", name="Lee", title="Clerk", active=False)
    SystemRole.objects.create(system="Desk", role="viewer", allows="See orders.")
    SystemRole.objects.create(system="Desk", role="admin", allows="Everything.", privileged=True)


GRANT = {"system": "Desk", "account": "jo@acme.example", "role": "viewer", "reason": "Covers for Al."}


def test_a_role_is_granted_once_per_key(desk: None, call: Call, scoped: Tenant) -> None:
    request = request_for(scoped, "access.grant_role", GRANT)
    assert reconcile(request) == DidNotHappen()
    first = output(call("access.grant_role", **GRANT))
    assert output(call("access.grant_role", **GRANT)) == first
    assert isinstance(reconcile(request), Happened)
    grant = RoleGrant.objects.get()
    assert (grant.system, grant.account, grant.role) == ("Desk", "jo@acme.example", "viewer")


def test_a_role_that_is_held_cannot_be_granted_again(desk: None, call: Call) -> None:
    call("access.grant_role", key="1", **GRANT)
    assert failed(call("access.grant_role", key="2", **GRANT | {"account": "JO@acme.example"})) is ErrorCode.CONFLICT


def test_a_key_stands_for_one_grant_only(desk: None, call: Call) -> None:
    call("access.grant_role", **GRANT)
    assert failed(call("access.grant_role", **GRANT | {"role": "admin"})) is ErrorCode.CONFLICT


@pytest.mark.parametrize(
    "change",
    [{"account": "stranger@evil.example"}, {"account": "left@acme.example"}, {"role": "owner"}, {"system": "X"}],
)
def test_only_active_colleagues_get_roles_that_exist(desk: None, call: Call, change: dict[str, str]) -> None:
    assert failed(call("access.grant_role", **GRANT | change)) is ErrorCode.NOT_FOUND
    assert not RoleGrant.objects.exists()


def test_the_card_says_what_the_role_allows_and_who_gets_it(desk: None, call: Call) -> None:
    call("access.grant_role", **GRANT)
    consequence = registry.describe("access.grant_role", "1.0.0", {**GRANT, "role": "admin"})
    facts = {fact.label: fact.value for fact in consequence.facts}
    assert facts == {
        "Account holder": "Jo, Clerk",
        "The role allows": "Everything.",
        "Holds already": "viewer in Desk",
    }
    assert consequence.warnings == ("This is a privileged role.",)
    assert [(one.before, one.after) for one in consequence.changes] == [("viewer", "admin, viewer")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"account": "stranger@evil.example"}, "No colleague has this account"),
        ({"account": "left@acme.example"}, "has left"),
        ({"role": "owner"}, "no role owner"),
    ],
)
def test_the_card_warns_of_strangers(desk: None, change: dict[str, str], words: str) -> None:
    assert words in " ".join(registry.describe("access.grant_role", "1.0.0", {**GRANT, **change}).warnings)


# --- One transaction of its own --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_effect_refuses_to_hide_inside_another_transaction(acme: Tenant) -> None:
    request = request_for(acme, "create_ticket", {"title": "Look", "priority": "low"})
    with transaction.atomic():
        outcome = execute(request, permit_any)
    # It is repeatable, so whoever may repeat it finds out what became of it.
    assert outcome == Unknown("The tool stopped unexpectedly (RuntimeError).", outcome.duration_ms)
    with tenant_scope(acme):
        assert not Ticket.objects.exists()
