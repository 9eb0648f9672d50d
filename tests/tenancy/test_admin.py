"""The admin of a tenant: its own rows, by people who may, with an event for every change."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.audit.services import Recorded, load
from agentops.tenancy import services
from agentops.tenancy.access import SCOPES, SYSTEM, TOKEN_SCOPES
from agentops.tenancy.admin_base import TenantModelAdmin, actor_of
from agentops.tenancy.models import Membership, ServiceToken, Tenant
from agentops.tenancy.scope import tenant_scope

SignedIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _probe_urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.tenancy.urls"
    settings.TENANT_URLCONF = "tests.tenancy.tenant_urls"


def last_event(tenant: Tenant) -> Recorded:
    with tenant_scope(tenant):
        return load("tenant")[-1]


def test_an_admin_gives_and_takes_roles_by_name(signed_in: SignedIn, alice: User, bob: User, acme: Tenant) -> None:
    client = signed_in(alice)
    response = client.post("/t/acme/admin/tenancy/membership/add/", {"person": "BOB@acme.example", "role": "senior"})
    assert response.status_code == 302
    event = last_event(acme)
    assert (event.type, event.data, event.actor["name"]) == ("member.added", {"user": "bob", "role": "senior"}, "alice")
    with tenant_scope(acme):
        pk = Membership.objects.get(role="senior").pk
    assert client.post(f"/t/acme/admin/tenancy/membership/{pk}/delete/", {"post": "yes"}).status_code == 302
    assert last_event(acme).type == "member.removed"
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("person", "role", "message"),
    [
        ("nobody", "viewer", "There is no such account"),
        ("alice", "auditor", "cannot be auditor and admin"),
        ("alice", "admin", "has this role already"),
    ],
)
def test_a_wrong_membership_is_explained(
    signed_in: SignedIn, alice: User, acme: Tenant, person: str, role: str, message: str
) -> None:
    response = signed_in(alice).post("/t/acme/admin/tenancy/membership/add/", {"person": person, "role": role})
    assert response.status_code == 200
    assert message in response.content.decode()
    with tenant_scope(acme):
        assert Membership.objects.count() == 1


def test_other_tenants_people_are_neither_listed_nor_reachable(
    signed_in: SignedIn, alice: User, charlie: User, globex: Tenant
) -> None:
    client = signed_in(alice)
    with tenant_scope(globex):
        foreign = Membership.objects.get().pk
    assert b"charlie" not in client.get("/t/acme/admin/tenancy/membership/").content
    assert b"charlie" not in client.get("/t/acme/admin/tenancy/membership/add/").content
    for page in ("change", "delete"):
        response = client.get(f"/t/acme/admin/tenancy/membership/{foreign}/{page}/")
        assert response.status_code in {302, 404}
        assert b"charlie" not in response.content


@pytest.mark.parametrize("page", ["membership/", "membership/add/", "servicetoken/", "servicetoken/add/"])
def test_only_admins_get_in(signed_in: SignedIn, bob: User, ann: User, sam: User, page: str) -> None:
    for person in (bob, ann, sam):
        response = signed_in(person).get(f"/t/acme/admin/tenancy/{page}")
        assert response.status_code == 302
        assert "/admin/login/" in response["Location"]


def test_what_a_token_may_do_is_said_in_words_for_every_scope(signed_in: SignedIn, alice: User) -> None:
    assert set(SCOPES) == TOKEN_SCOPES
    page = signed_in(alice).get("/t/acme/admin/tenancy/servicetoken/add/").content.decode()
    for scope, words in SCOPES.items():
        assert f"{words} ({scope})" in page


def test_a_token_is_shown_once_and_works(signed_in: SignedIn, alice: User, acme: Tenant) -> None:
    client = signed_in(alice)
    until = timezone.now() + timedelta(days=30)
    response = client.post(
        "/t/acme/admin/tenancy/servicetoken/add/",
        {
            "name": "robot",
            "scopes": ["run.submit"],
            "expires_at_0": until.strftime("%Y-%m-%d"),
            "expires_at_1": until.strftime("%H:%M:%S"),
        },
    )
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    plain = response.context["plain"]
    assert plain in response.content.decode()
    found = services.authenticate_token(plain)
    assert found is not None
    assert found[1].created_by == alice
    secret = plain.rsplit("_", 1)[1]
    for page in ("", f"{found[1].pk}/change/"):
        assert secret not in client.get(f"/t/acme/admin/tenancy/servicetoken/{page}").content.decode()
    assert last_event(acme).type == "token.issued"


def test_tokens_are_revoked_from_the_list_and_never_deleted(
    signed_in: SignedIn, alice: User, acme: Tenant, globex: Tenant
) -> None:
    client = signed_in(alice)
    own, plain = services.issue_token(tenant=acme, name="own", scopes=["run.view"], actor=SYSTEM)
    foreign, foreign_plain = services.issue_token(tenant=globex, name="foreign", scopes=["run.view"], actor=SYSTEM)
    response = client.post(
        "/t/acme/admin/tenancy/servicetoken/",
        {"action": "revoke", "_selected_action": [own.pk, foreign.pk]},
        follow=True,
    )
    assert "1 of 1 selected tokens revoked" in response.content.decode()
    assert services.authenticate_token(plain) is None
    assert services.authenticate_token(foreign_plain) is not None
    assert client.post(f"/t/acme/admin/tenancy/servicetoken/{own.pk}/delete/", {"post": "yes"}).status_code == 403
    assert last_event(acme).type == "token.revoked"


def test_the_history_of_a_row_is_the_audit_list(signed_in: SignedIn, alice: User) -> None:
    response = signed_in(alice).get("/t/acme/admin/tenancy/servicetoken/7/history/")
    assert response["Location"] == "/t/acme/audit?subject=servicetoken%3A7"


class PlainTokens(TenantModelAdmin):
    """The base class on a model of ours, to see what it does by itself."""

    secret_fields = ("secret_hash",)


def test_the_base_page_records_what_changed_and_hides_secrets(rf: Any, acme: Tenant, alice: User) -> None:
    page = PlainTokens(ServiceToken, admin.site)
    request = rf.post("/")
    request.user = alice
    from agentops.tenancy.access import Actor

    request.actor = Actor.user(alice, ["admin"])
    assert actor_of(request).name == "alice"
    until = timezone.now() + timedelta(days=1)
    with tenant_scope(acme):
        row = ServiceToken(name="first", prefix="p", secret_hash="h", expires_at=until)
        page.save_model(request, row, None, change=False)
        row.name = "second"
        page.save_model(request, row, None, change=True)
        page.save_model(request, row, None, change=True)
        pk = row.pk
        page.delete_queryset(request, ServiceToken.objects.all())
        added, changed, deleted = (event for event in load("tenant") if event.type == "admin.changed")
    assert added.data["change"] == "added"
    assert added.data["after"]["name"] == "first"
    assert added.data["after"]["secret_hash"] == "(hidden)"
    assert changed.data == {
        "model": "tenancy.servicetoken",
        "object": "second (p)",
        "change": "changed",
        "before": {"name": "first"},
        "after": {"name": "second"},
    }
    assert changed.subject == ("servicetoken", str(pk))
    assert (deleted.data["change"], deleted.data["before"]["name"]) == ("deleted", "second")
    assert deleted.subject == ("servicetoken", str(pk))
