"""The allowlist and the back office in a tenant's admin."""

import html
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from agentops.audit.services import load
from agentops.halts import covering
from agentops.runs.models import Run, TaskType, ToolCall
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.conftest import person
from tools.allowing import seed_rules
from tools.allowlist import AllowlistRule, AllowlistState, lookup
from tools.backoffice import models as backoffice
from tools.backoffice import seed
from tools.models import AllowlistChange, AllowlistEntry, ToolHealth

SignedIn = Callable[[User], Client]
PAGE = "/t/acme/admin/tools/allowlistentry/"


@pytest.fixture(autouse=True)
def _admin_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.urls"
    settings.TENANT_URLCONF = "tests.tenancy.tenant_urls"


@pytest.fixture
def support(acme: Tenant) -> TaskType:
    with tenant_scope(acme):
        return TaskType.objects.create(slug="support", name="Support", input_schema={})


def cell(kind: TaskType, tool: str = "mail.read") -> str:
    return f"{PAGE}cell/{kind.pk}/{tool}/"


def typed(**changes: str) -> dict[str, str]:
    return {"state": "gated", "note": "The team has asked for it."} | changes


@pytest.fixture
def adam(acme: Tenant) -> User:
    return person("adam", acme, "admin")


def test_a_widening_waits_on_the_pages_until_another_admin_has_put_it_in_force(
    signed_in: SignedIn, alice: User, adam: User, acme: Tenant, support: TaskType
) -> None:
    hers, his = signed_in(alice), signed_in(adam)
    answer = hers.post(cell(support), typed(constraints="small: args.message_id != ''", max_calls="3"), follow=True)
    assert "1 rule would allow more: change 1 waits for another admin." in html.unescape(answer.content.decode())
    with tenant_scope(acme):
        assert lookup(support.pk, "mail.read").state == "denied"
        row = AllowlistChange.objects.get()
    assert "waits: needs a person" in his.get(PAGE).content.decode()
    page = his.get(f"{PAGE}changes/{row.pk}/").content.decode()
    assert "It allows more: Denied becomes Needs a person." in page
    assert "args.message_id" in page
    assert 'value="approve"' not in hers.get(f"{PAGE}changes/{row.pk}/").content.decode()
    decide = f"{PAGE}changes/{row.pk}/decide/"
    assert hers.post(decide, {"verdict": "approve"}).status_code == 403
    assert his.post(decide, {"verdict": "refuse"}).status_code == 422
    assert his.post(decide, {"verdict": "approve"}).status_code == 302
    assert his.post(decide, {"verdict": "approve"}).status_code == 409
    with tenant_scope(acme):
        rule = lookup(support.pk, "mail.read")
    assert (rule.state, rule.max_calls, len(rule.constraints)) == ("gated", 3, 1)
    assert "3 a run, 1 constraint" in his.get(PAGE).content.decode()


def test_narrowing_counts_at_once(signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType) -> None:
    with tenant_scope(acme):
        seed_rules(support.pk, {"mail.read": AllowlistState.AUTO})
    answer = signed_in(alice).post(cell(support), typed(state="denied", note=""), follow=True)
    assert "1 rule changed at once." in answer.content.decode()
    with tenant_scope(acme):
        entry = AllowlistEntry.objects.get()
        event = load("tenant")[-2]
    assert (entry.state, entry.updated_by_id) == ("denied", alice.pk)
    assert (event.type, event.data["before"]["state"], event.data["after"]["state"]) == (
        "allowlist.changed",
        "auto",
        "denied",
    )
    assert "narrowed at once" in signed_in(alice).get(f"{PAGE}changes/").content.decode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_version": "2.0.0", "max_version": "1.9.9"}, "below the lowest"),
        ({"min_version": "2"}, "three numbers"),
        ({"state": "sometimes"}, "Choose a state"),
        ({"max_calls": "many"}, "Type a whole number"),
        ({"rate_per_minute": "0"}, "from 1 to 60,000"),
        ({"rate_per_minute": "60001"}, "from 1 to 60,000"),
        ({"constraints": "args.x < 5"}, "a name, a colon"),
        ({"constraints": "small: args.x <"}, "line 1, column 9"),
        ({"note": "no"}, "Say why"),
    ],
)
def test_what_makes_no_sense_comes_back_as_it_was_typed(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType, changes: dict[str, str], message: str
) -> None:
    response = signed_in(alice).post(cell(support), typed(**changes))
    page = html.unescape(response.content.decode())
    assert response.status_code == 422
    assert message in page
    assert all(name == "state" or value in page for name, value in changes.items())
    with tenant_scope(acme):
        assert not AllowlistEntry.objects.exists()
        assert not AllowlistChange.objects.exists()


def test_a_rule_for_a_tool_that_is_gone_can_still_be_denied(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType
) -> None:
    with tenant_scope(acme):
        seed_rules(support.pk, {"old.tool": AllowlistState.GATED})
    client = signed_in(alice)
    assert "not registered any more" in client.get(cell(support, "old.tool")).content.decode()
    assert client.post(cell(support, "old.tool"), typed(state="denied")).status_code == 302
    assert client.get(cell(support, "no.such")).status_code == 404


def test_the_rows_themselves_cannot_be_added_changed_or_deleted(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType
) -> None:
    """No page of the admin is a way around the service: not the old forms, not the list's actions, not an inline."""
    with tenant_scope(acme):
        seed_rules(support.pk, {"mail.read": AllowlistState.GATED})
        entry = AllowlistEntry.objects.get()
    client = signed_in(alice)
    wider = {"task_type": support.pk, "tool": "mail.send", "state": "auto", "note": ""}
    assert client.post(f"{PAGE}add/", wider).status_code == 403
    client.post(f"{PAGE}{entry.pk}/change/", {**wider, "tool": "mail.read"})
    assert client.post(f"{PAGE}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    assert client.post(PAGE, action).status_code == 405
    inline = {
        "allowlist-TOTAL_FORMS": 1,
        "allowlist-INITIAL_FORMS": 0,
        "allowlist-0-tool": "mail.send",
        "allowlist-0-state": "auto",
    }
    client.post(f"/t/acme/admin/runs/tasktype/{support.pk}/change/", inline)
    with tenant_scope(acme):
        assert list(AllowlistEntry.objects.values_list("tool", "state")) == [("mail.read", "gated")]


def test_no_address_of_the_tenant_lets_one_admin_widen_anything(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType
) -> None:
    """Everything an admin can post to, with everything that could widen: the rules stay as they were."""
    with tenant_scope(acme):
        seed_rules(support.pk, [AllowlistRule("mail.read", AllowlistState.GATED, max_calls=1)])
        entry = AllowlistEntry.objects.get()
        before = list(AllowlistEntry.objects.values())
    client, fields = signed_in(alice), {"state": "auto", "tool": "mail.read", "task_type": support.pk}
    fields |= {"verdict": "approve", "note": "Because I want it so.", "do": "import", "max_calls": ""}
    fields["text"] = "allowlist: 1\ntask_types: {support: {mail.read: {state: auto}, mail.send: {state: gated}}}"
    client.post(cell(support), fields)
    client.post(f"{PAGE}import/", fields)
    with tenant_scope(acme):
        waiting = list(AllowlistChange.objects.values_list("pk", flat=True))
    assert len(waiting) == 2
    for address in (f"{PAGE}changes/{pk}/{path}" for pk in waiting for path in ("", "decide/")):
        client.post(address, fields)
    for path in ("", "add/", f"{entry.pk}/change/", f"{entry.pk}/delete/", "export/", "changes/"):
        client.post(f"{PAGE}{path}", fields)
    with tenant_scope(acme):
        assert list(AllowlistEntry.objects.values()) == before
        assert AllowlistChange.objects.filter(status="proposed").count() == 2


def test_an_export_can_be_imported_again_and_changes_nothing(
    signed_in: SignedIn, alice: User, acme: Tenant, support: TaskType
) -> None:
    with tenant_scope(acme):
        seed_rules(support.pk, {"mail.read": AllowlistState.AUTO, "mail.send": AllowlistState.GATED})
    client = signed_in(alice)
    text = client.get(f"{PAGE}export/").content.decode()
    answer = client.post(f"{PAGE}import/", {"text": text, "do": "import"}, follow=True)
    assert "Nothing changed: that is how it was." in answer.content.decode()
    narrower = text.replace("state: auto", "state: gated").replace(
        "mail.send:\n      state: gated", "mail.send:\n      state: denied"
    )
    page = client.post(f"{PAGE}import/", {"text": narrower, "do": "check"}).content.decode()
    assert page.count("<ins") == 2
    bad = client.post(f"{PAGE}import/", {"text": text + "  nobody: {}\n", "do": "import"})
    assert bad.status_code == 422
    assert "There is no task type nobody" in bad.content.decode()
    upload = SimpleUploadedFile("a.yaml", narrower.encode())
    client.post(f"{PAGE}import/", {"file": upload, "do": "import"})
    with tenant_scope(acme):
        assert sorted(AllowlistEntry.objects.values_list("tool", "state")) == [
            ("mail.read", "gated"),
            ("mail.send", "denied"),
        ]


@pytest.mark.not_replayed  # calls without events
def test_the_table_has_calls_rejections_and_breakers_in_few_statements(
    signed_in: SignedIn,
    alice: User,
    acme: Tenant,
    support: TaskType,
    django_assert_max_num_queries: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a slow machine what is remembered for half a second would be read twice.
    monkeypatch.setattr(covering, "FRESH_S", 3600.0)
    with tenant_scope(acme):
        seed_rules(support.pk, {"mail.read": AllowlistState.AUTO})
        run = Run.objects.create(task_type=support, input="{}", created_at=timezone.now())
        old = Run.objects.create(task_type=support, input="{}", created_at=timezone.now() - timedelta(days=31))
        for owner, call, state in ((run, "1", "succeeded"), (run, "2", "rejected"), (old, "3", "rejected")):
            ToolCall.objects.create(run=owner, call_id=call, step_id="a", tool="mail.read", version="1", state=state)
        ToolHealth.objects.create(tool="mail.read", state="open", opened_at=timezone.now(), open_until=None)
        for number in range(19):
            kind = TaskType.objects.create(slug=f"kind-{number}", name=f"Kind {number}", input_schema={})
            seed_rules(kind.pk, {f"tool.{at}": AllowlistState.GATED for at in range(40)})
    client = signed_in(alice)
    client.get(PAGE)
    with django_assert_max_num_queries(15):
        page = client.get(PAGE).content.decode()
    assert "2 calls, 1 rejected" in page
    assert "breaker open" in page
    assert page.count("<tr>") > 40
    some = client.get(PAGE, {"tool": "tool.1", "task_type": "kind-1"}).content.decode()
    assert "11 of" in some
    assert "breaker open" not in some
    assert client.get(PAGE, {"state": "auto"}).content.decode().count("<tr>") == 2
    assert "Nothing fits" in client.get(PAGE, {"state": "waiting"}).content.decode()


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
    client = signed_in(bob)
    for path in (PAGE, f"{PAGE}changes/", f"{PAGE}export/", f"{PAGE}import/", cell(support)):
        assert client.get(path).status_code in {302, 403}
    assert client.post(cell(support), typed()).status_code in {302, 403}
    with tenant_scope(support.tenant_id):
        assert not AllowlistEntry.objects.exists()
        assert not AllowlistChange.objects.exists()


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
