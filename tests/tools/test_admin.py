"""The allowlist and the back office in a tenant's admin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.services import load
from agentops.runs.models import TaskType
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.backoffice import models as backoffice
from tools.backoffice import seed
from tools.models import AllowlistEntry, ToolHealth

SignedIn = Callable[[User], Client]
ADD = "/t/acme/admin/tools/allowlistentry/add/"


@pytest.fixture(autouse=True)
def _admin_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.urls"
    settings.TENANT_URLCONF = "tests.tenancy.tenant_urls"


@pytest.fixture
def support(acme: Tenant) -> TaskType:
    with tenant_scope(acme):
        return TaskType.objects.create(slug="support", name="Support", input_schema={})


def rule(task_type: TaskType, **changes: str) -> dict[str, str]:
    given = {"task_type": str(task_type.pk), "tool": "mail.read", "state": "auto", "min_version": "", "max_version": ""}
    return given | {"max_calls": "", "note": ""} | changes


def test_an_admin_allows_a_tool_and_the_change_is_on_record(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType
) -> None:
    assert signed_in(alice).post(ADD, rule(support)).status_code == 302
    with tenant_scope(acme):
        entry = AllowlistEntry.objects.get()
        event = load("tenant")[-1]
    assert (entry.tool, entry.state, entry.updated_by_id) == ("mail.read", "auto", alice.pk)
    assert event.actor["name"] == "alice"
    assert event.data["change"] == "added"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tool": "shop.issue_refund"}, "always needs a person (financial)"),
        ({"tool": "mail.send"}, "always needs a person (external communication)"),
        ({"tool": "customer.erase"}, "always needs a person (data deletion)"),
        ({"tool": "access.grant_role"}, "always needs a person (permission change)"),
        ({"tool": "no.such_tool"}, "Select a valid choice"),
        ({"min_version": "2.0.0", "max_version": "1.9.9"}, "below the lowest"),
        ({"min_version": "2"}, "three numbers"),
        ({"state": "sometimes"}, "Select a valid choice"),
    ],
)
def test_a_rule_that_makes_no_sense_is_explained(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType, changes: dict[str, str], message: str
) -> None:
    response = signed_in(alice).post(ADD, rule(support, **changes))
    assert response.status_code == 200
    assert message in response.content.decode()
    with tenant_scope(acme):
        assert not AllowlistEntry.objects.exists()


def test_a_rule_for_a_tool_that_is_gone_can_still_be_denied(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType
) -> None:
    with tenant_scope(acme):
        entry = AllowlistEntry.objects.create(task_type=support, tool="old.tool", state="gated")
    path = f"/t/acme/admin/tools/allowlistentry/{entry.pk}/change/"
    assert "old.tool (not registered)" in signed_in(alice).get(path).content.decode()
    assert signed_in(alice).post(path, rule(support, tool="old.tool", state="denied")).status_code == 302


def test_a_rate_limit_is_between_one_call_a_minute_and_a_thousand_a_second(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType
) -> None:
    client = signed_in(alice)
    for wrong in ("0", "-1", "60001", "many"):
        assert client.post(ADD, rule(support, rate_per_minute=wrong)).status_code == 200
    assert client.post(ADD, rule(support, rate_per_minute="30")).status_code == 302
    with tenant_scope(acme):
        assert AllowlistEntry.objects.get().rate_per_minute == 30


BREAKERS = "/t/acme/admin/tools/toolhealth/"


def test_an_admin_operates_a_breaker_and_every_change_is_on_record(
    signed_in: SignedIn, alice: User, acme: Tenant
) -> None:
    client = signed_in(alice)
    assert client.post(f"{BREAKERS}add/", {"tool": "mail.read"}).status_code == 302
    with tenant_scope(acme):
        row = ToolHealth.objects.get()
    for action, state, told in (
        ("open_breaker", "open", "1 of 1 selected breakers opened."),
        ("open_breaker", "open", "0 of 1 selected breakers opened."),
        ("close_breaker", "closed", "1 of 1 selected breakers closed."),
        ("open_breaker", "open", "1 of 1 selected breakers opened."),
        ("reset_breaker", "closed", "1 of 1 selected breakers reset."),
    ):
        answer = client.post(BREAKERS, {"action": action, "_selected_action": [row.pk]}, follow=True)
        assert told in answer.content.decode()
        row.refresh_from_db()
        assert row.state == state
    with tenant_scope(acme):
        events = [event for event in load("tenant") if event.type.startswith("breaker.")]
    assert [event.type for event in events] == ["breaker.opened", "breaker.closed", "breaker.opened", "breaker.reset"]
    assert {event.actor["name"] for event in events} == {"alice"}
    history = client.get(f"{BREAKERS}{row.pk}/history/", follow=True).content.decode()
    assert history.count("breaker.opened") >= 2


def test_a_breaker_is_shown_and_neither_edited_nor_deleted(signed_in: SignedIn, alice: User, acme: Tenant) -> None:
    with tenant_scope(acme):
        row = ToolHealth.objects.create(tool="mail.read", window=".xx")
    client = signed_in(alice)
    assert "mail.read" in client.get(BREAKERS).content.decode()
    page = client.get(f"{BREAKERS}{row.pk}/change/").content.decode()
    assert ".xx" in page
    assert 'name="_save"' not in page
    assert client.post(f"{BREAKERS}{row.pk}/change/", {"tool": "mail.send"}).status_code == 403
    assert client.post(f"{BREAKERS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    again = client.post(f"{BREAKERS}add/", {"tool": "mail.read"})
    assert "already exists" in again.content.decode()


def test_an_operator_cannot_touch_a_breaker(signed_in: SignedIn, bob: User, acme: Tenant) -> None:
    with tenant_scope(acme):
        row = ToolHealth.objects.create(tool="mail.read")
    answer = signed_in(bob).post(BREAKERS, {"action": "open_breaker", "_selected_action": [row.pk]})
    assert answer.status_code in {302, 403}
    row.refresh_from_db()
    assert row.state == "closed"


def test_an_operator_cannot_touch_the_allowlist(signed_in: SignedIn, bob: User, support: TaskType) -> None:
    assert signed_in(bob).post(ADD, rule(support)).status_code in {302, 403}
    with tenant_scope(support.tenant_id):
        assert not AllowlistEntry.objects.exists()


RECORDS = (
    *(backoffice.Customer, backoffice.Order, backoffice.Refund, backoffice.InboxMessage, backoffice.SentMessage),
    *(backoffice.Ticket, backoffice.RoleGrant, backoffice.Erasure),
)


@pytest.mark.parametrize("model", RECORDS, ids=lambda m: m.__name__)
def test_records_are_shown_and_cannot_be_changed(
    signed_in: SignedIn, alice: User, acme: Tenant, model: type[backoffice.Customer]
) -> None:
    seed.seed_shop(acme)
    client = signed_in(alice)
    base = f"/t/acme/admin/backoffice/{model.__name__.lower()}/"
    assert client.get(base).status_code == 200
    assert client.get(f"{base}add/").status_code == 403
    with tenant_scope(acme):
        row = model.objects.first()
    if row is not None:
        page = client.get(f"{base}{row.pk}/change/")
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
        assert client.post(f"{base}{row.pk}/change/", {}).status_code == 403
        assert client.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_every_record_has_a_page() -> None:
    assert all(admin.site.is_registered(model) for model in RECORDS)
