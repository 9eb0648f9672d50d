"""The first tenant of an installation, and the first person in it, are made by commands."""

import re
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.scope import tenant_scope

PASSWORD = "tide-over-the-wall-again"


def said(*args: str, **options: str) -> str:
    out = StringIO()
    call_command(*args, stdout=out, **options)
    return out.getvalue()


def roles(tenant: Tenant, email: str) -> set[str]:
    with tenant_scope(tenant):
        return set(Membership.objects.filter(user__email=email).values_list("role", flat=True))


def test_an_empty_installation_gets_a_tenant_with_an_admin_who_can_sign_in(db: None) -> None:
    assert "member_add harbor" in said("tenant_create", "harbor", "Harbor Shop")
    tenant = Tenant.objects.get(slug="harbor")
    told = said("member_add", "harbor", "ada@harbor.example", "admin", "operator", name="Ada")
    assert roles(tenant, "ada@harbor.example") == {"admin", "operator"}
    found = re.search(r"chosen at (/\S+)", told)
    assert found is not None
    browser = Client()
    form = browser.get(found[1], follow=True)
    assert form.status_code == 200
    [(address, _)] = form.redirect_chain
    changed = browser.post(address, {"password1": PASSWORD, "password2": PASSWORD})
    assert changed.status_code == 302
    assert browser.post("/sign-in", {"login": "ada@harbor.example", "password": PASSWORD}).status_code == 302
    assert browser.get("/t/harbor/admin/").status_code == 200
    again = Client().get(found[1], follow=True)
    assert 'name="password1"' not in again.content.decode(), "the link works once"


def test_somebody_with_an_account_gets_no_other(acme: Tenant, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(email="bob@acme.example")
    told = said("member_add", "acme", " BOB@acme.example ", "senior")
    assert "password" not in told
    assert "senior" in roles(acme, "bob@acme.example")
    assert User.objects.filter(email__iexact="bob@acme.example").count() == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("tenant_create", "Bad Slug", "X"), "hyphens"),
        (("tenant_create", "acme", "X"), "already exists"),
        (("member_add", "nowhere", "a@b.example", "admin"), "tenant_create"),
        (("member_add", "acme", "no address", "admin"), "e-?mail"),
        (("member_add", "acme", "a@b.example", "admin", "auditor"), "cannot be"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(acme: Tenant, command: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=f"(?i){words}"):
        said(*command)
    assert not User.objects.filter(email="a@b.example").exists()
    assert Tenant.objects.count() == 1


def test_an_account_that_is_switched_off_stays_off(acme: Tenant, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(email="bob@acme.example", is_active=False)
    with pytest.raises(CommandError, match="switched off"):
        said("member_add", "acme", "bob@acme.example", "admin")
    assert "admin" not in roles(acme, "bob@acme.example")
