"""The submit form, sent twice, starts one run."""

import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from agentops.runs.models import Run, Submission, TaskType
from agentops.runs.services import InvalidTask
from agentops.runs.submissions import LIFE, Submitted, submit_once
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tests.conftest import person
from tests.shop import open_shop

ADDRESS = "/t/acme/submit?task_type=support-email"


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def desk(shop: Tenant, bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def typed(client: Client, **changes: str) -> dict[str, str]:
    """Open the form and fill it in; the key is the one that the page holds."""
    page = client.get(ADDRESS).content.decode()
    found = re.search(r'<input type="hidden" name="once" value="([^"]+)"', page)
    assert found is not None
    return {"task:message_id": "M-0001", "title": "First", "once": found[1]} | changes


def test_the_same_form_sent_twice_leads_to_the_run_of_the_first(desk: Client) -> None:
    form = typed(desk)
    first, second = desk.post(ADDRESS, form), desk.post(ADDRESS, form, follow=True)
    assert Run.objects.count() == 1
    assert second.redirect_chain == [(first["Location"], 302)]
    assert "sent before" in second.content.decode()


def test_a_form_that_was_changed_is_another_one(desk: Client) -> None:
    form = typed(desk)
    desk.post(ADDRESS, form)
    desk.post(ADDRESS, form | {"title": "Second"})
    assert {run.title for run in Run.objects.all()} == {"First", "Second"}


def test_every_page_has_a_key_of_its_own(desk: Client) -> None:
    for _ in range(2):
        desk.post(ADDRESS, typed(desk))
    assert Run.objects.count() == 2


def test_a_refused_form_keeps_its_key_and_can_be_corrected(desk: Client) -> None:
    form = typed(desk)
    refused = desk.post(ADDRESS, form | {"task:message_id": ""})
    assert refused.status_code == 422
    assert form["once"] in refused.content.decode()
    assert not Submission.objects.exists()
    assert desk.post(ADDRESS, form).status_code == 302
    assert Run.objects.count() == 1


@pytest.mark.parametrize("once", ["", "not-a-key", "x" * 5_000, "\0"])
def test_a_page_without_a_usable_key_still_submits(desk: Client, once: str) -> None:
    assert desk.post(ADDRESS, typed(desk) | {"once": once}).status_code == 302
    assert Run.objects.count() == 1
    assert not Submission.objects.exists()


def test_the_key_of_somebody_else_is_no_key_of_mine(
    desk: Client, shop: Tenant, signed_in: Callable[[User], Client]
) -> None:
    form = typed(desk)
    desk.post(ADDRESS, form)
    other = signed_in(person("oscar", shop, "operator"))
    other.post(ADDRESS, form)
    assert Run.objects.count() == 2


def test_old_forms_are_forgotten(shop: Tenant, bob: User, actor_of: Callable[..., Actor]) -> None:
    kind, actor = TaskType.objects.get(slug="support-email"), actor_of(bob, shop)
    first = submit_once(task_type=kind, input={"message_id": "M-0001"}, actor=actor, key=uuid4())
    assert isinstance(first, Submitted)
    later = first.run.created_at + LIFE
    submit_once(task_type=kind, input={"message_id": "M-0001"}, actor=actor, key=uuid4(), now=later)
    assert Submission.objects.get().submitted_at == later


def test_a_task_that_is_refused_is_refused_each_time(shop: Tenant, bob: User, actor_of: Callable[..., Actor]) -> None:
    kind, key = TaskType.objects.get(slug="support-email"), uuid4()
    for _ in range(2):
        refused = submit_once(task_type=kind, input={}, actor=actor_of(bob, shop), key=key)
        assert isinstance(refused, InvalidTask)
    assert not Run.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_of_two_copies_at_the_same_moment_one_starts_the_run(
    acme: Tenant, bob: User, actor_of: Callable[..., Actor]
) -> None:
    with tenant_scope(acme):
        open_shop(acme)
        kind = TaskType.objects.get(slug="support-email")
    actor = actor_of(bob, acme)
    for _ in range(10):
        key = uuid4()

        def send(key: object = key) -> object:
            with tenant_scope(acme):
                return submit_once(task_type=kind, input={"message_id": "M-0001"}, actor=actor, key=key)  # type: ignore[arg-type]

        answers = [one for one in at_once([send] * 4) if isinstance(one, Submitted)]
        assert len({one.run.pk for one in answers}) == 1
        assert sorted(one.again for one in answers) == [False, True, True, True]
    with tenant_scope(acme):
        assert Run.objects.count() == 10
