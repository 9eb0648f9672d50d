"""Prompts are versions that nobody changes; each new one is an event."""

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test import Client

from agentops.audit.models import Event
from agentops.prompts import services
from agentops.prompts.built_in import BUILT_IN, PLAN_FIRST, digest
from agentops.prompts.models import Prompt
from agentops.prompts.services import InvalidPrompt, built_in, save_prompt
from agentops.runs.models import TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tests.shop import open_shop

TEXT = "Plan. {{data_rules}} {{instructions}} {{tools}}"


@pytest.fixture
def admin(alice: User, acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(alice, acme)


def saved(admin: Actor, template: str = TEXT, slug: str = "support", planning: str = "plan_first") -> Prompt:
    made = save_prompt(slug=slug, planning=planning, template=template, actor=admin)
    assert isinstance(made, Prompt), made
    return made


def test_an_edit_is_the_next_version_and_an_event(scoped: Tenant, admin: Actor) -> None:
    first, second = saved(admin), saved(admin, f"{TEXT} Be brief.")
    assert (first.name, second.name) == ("support@1", "support@2")
    assert second.digest == digest(f"{TEXT} Be brief.")
    events = [json.loads(body) for body in Event.objects.filter(type="prompt.saved").values_list("body", flat=True)]
    assert [(e["data"]["prompt"], e["data"]["digest"]) for e in events] == [
        ("support@1", first.digest),
        ("support@2", second.digest),
    ]
    assert events[0]["actor"]["name"] == "alice"


def test_saving_the_same_text_again_changes_nothing(scoped: Tenant, admin: Actor) -> None:
    assert saved(admin).pk == saved(admin, f"{TEXT}\r\n").pk
    assert Event.objects.filter(type="prompt.saved").count() == 1


def test_a_version_cannot_be_changed(scoped: Tenant, admin: Actor) -> None:
    saved(admin)
    with pytest.raises(DatabaseError, match="refused"), transaction.atomic():
        Prompt.objects.update(template="Obey the mail.")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"slug": "built-in-plan-first"}, "prompt_reserved"),
        ({"planning": "reactive"}, "prompt_other_planning"),
        ({"template": "{{x}}"}, "prompt_unknown_variable"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    scoped: Tenant, admin: Actor, change: dict[str, str], code: str
) -> None:
    saved(admin)
    values = {"slug": "support", "planning": "plan_first", "template": TEXT} | change
    outcome = save_prompt(actor=admin, **values)
    assert isinstance(outcome, InvalidPrompt)
    assert code in [issue.code for issue in outcome.issues]
    assert Prompt.objects.count() == 1


def test_the_built_in_prompt_is_there_when_it_is_needed_and_follows_the_program(
    scoped: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built_in("plan_first")
    assert built_in("plan_first").pk == first.pk
    assert (first.name, first.template, first.created_by) == ("built-in-plan-first@1", PLAN_FIRST, None)
    newer = {**BUILT_IN, "plan_first": ("built-in-plan-first", f"{PLAN_FIRST} Think twice.")}
    monkeypatch.setattr(services, "BUILT_IN", newer)
    assert built_in("plan_first").name == "built-in-plan-first@2"
    assert Event.objects.filter(type="prompt.saved").count() == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_people_who_save_at_once_get_a_version_each_and_the_built_in_one_is_made_once(
    acme: Tenant, admin: Actor
) -> None:
    def save(number: int) -> Callable[[], str]:
        def call() -> str:
            with tenant_scope(acme):
                built_in("reactive")
                return saved(admin, f"{TEXT} {number}").name

        return call

    names = at_once([save(number) for number in range(4)])
    assert sorted(names) == ["support@1", "support@2", "support@3", "support@4"]
    with tenant_scope(acme):
        assert Prompt.objects.filter(slug="built-in-reactive").count() == 1


# --- in the admin ----------------------------------------------------------------------------------------------------

ADD = "/t/acme/admin/prompts/prompt/add/"


@pytest.fixture
def desk(alice: User, client: Client) -> Client:
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def test_a_new_prompt_begins_with_the_text_that_came_with_the_program(acme: Tenant, desk: Client) -> None:
    page = desk.get(ADD).content.decode()
    assert "You plan work for an operations team" in page
    assert "{{steps_left}}" in page


def test_an_admin_writes_versions_compares_them_and_puts_them_to_use(scoped: Tenant, desk: Client) -> None:
    open_shop(scoped)
    form = {"slug": "support", "planning": "plan_first", "template": TEXT}
    assert desk.post(ADD, form).status_code == 302
    first = Prompt.objects.get(slug="support")
    TaskType.objects.filter(slug="support-email").update(prompt=first)
    change = f"/t/acme/admin/prompts/prompt/{first.pk}/change/"
    assert desk.post(change, {"template": f"{TEXT}\nBe <brief>.", "use_now": "on"}).status_code == 302
    second = Prompt.objects.get(slug="support", version=2)
    assert TaskType.objects.get(slug="support-email").prompt == second
    assert Prompt.objects.get(pk=first.pk).template == TEXT
    page = desk.get(f"/t/acme/admin/prompts/prompt/{second.pk}/change/?against=1").content.decode()
    assert "Changes from version 1" in page
    assert "+Be &lt;brief&gt;." in page
    assert "version 1</a>" in page


def test_what_is_wrong_stands_beside_the_text_and_nothing_typed_is_lost(acme: Tenant, desk: Client) -> None:
    page = desk.post(ADD, {"slug": "x", "planning": "plan_first", "template": "Plan {{everything}}."})
    assert page.status_code == 200
    text = page.content.decode()
    assert "is not one of" in text
    assert "Plan {{everything}}." in text


def test_nobody_edits_what_came_with_the_program_and_operators_do_not_get_in(
    scoped: Tenant, desk: Client, bob: User
) -> None:
    prompt = built_in("plan_first")
    change = f"/t/acme/admin/prompts/prompt/{prompt.pk}/change/"
    assert desk.get(change).status_code == 200
    assert desk.post(change, {"template": TEXT}).status_code == 403
    assert desk.post(f"/t/acme/admin/prompts/prompt/{prompt.pk}/delete/").status_code == 403
    desk.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert desk.get(change, follow=True).status_code == 403
