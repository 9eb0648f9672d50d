"""Tenants, people and tokens change together with their events, or not at all."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from agentops.audit.services import load
from agentops.tenancy import services
from agentops.tenancy.access import SYSTEM, Actor, can
from agentops.tenancy.models import Membership, ServiceToken, Tenant
from agentops.tenancy.scope import tenant_scope

OPERATOR = Actor("user", "9", "bob", frozenset({"operator"}), 9)


def recorded(tenant: Tenant) -> list[tuple[str, dict[str, Any]]]:
    with tenant_scope(tenant):
        return [(event.type, event.data) for event in load("tenant")]


def test_creating_a_tenant_begins_its_record(db: None) -> None:
    tenant = services.create_tenant(slug="harbor", name="Harbor", actor=SYSTEM)
    assert recorded(tenant) == [("tenant.created", {"name": "Harbor", "environment": "production"})]


@pytest.mark.parametrize("slug", ["", "-a", "a-", "A", "a b", "a/b", "a" * 41, "ä", "acme\n", "acme"])
def test_a_slug_is_short_lower_case_and_unique(acme: Tenant, slug: str) -> None:
    with pytest.raises(ValidationError):
        services.create_tenant(slug=slug, name="Another", actor=SYSTEM)


def test_roles_are_given_once_and_taken_back(acme: Tenant, bob: User) -> None:
    services.add_member(tenant=acme, user=bob, role="operator", actor=SYSTEM)
    assert services.remove_member(tenant=acme, user=bob, role="operator", actor=SYSTEM)
    assert not services.remove_member(tenant=acme, user=bob, role="operator", actor=SYSTEM)
    assert recorded(acme)[1:] == [
        ("member.added", {"user": "bob", "role": "operator"}),
        ("member.removed", {"user": "bob", "role": "operator"}),
    ]


@pytest.mark.parametrize(("first", "second"), [("admin", "auditor"), ("auditor", "admin")])
def test_nobody_is_admin_and_auditor_of_one_tenant(acme: Tenant, globex: Tenant, first: str, second: str) -> None:
    user = User.objects.create_user("dora")
    services.add_member(tenant=acme, user=user, role=first, actor=SYSTEM)
    with pytest.raises(services.RoleConflict):
        services.add_member(tenant=acme, user=user, role=second, actor=SYSTEM)
    services.add_member(tenant=globex, user=user, role=second, actor=SYSTEM)
    with tenant_scope(acme):
        assert [membership.role for membership in Membership.objects.filter(user=user)] == [first]


def test_an_unknown_role_is_refused(acme: Tenant, bob: User) -> None:
    with pytest.raises(ValueError, match="owner"):
        services.add_member(tenant=acme, user=bob, role="owner", actor=SYSTEM)


def test_changes_need_the_right_to_make_them(acme: Tenant, bob: User) -> None:
    with pytest.raises(PermissionDenied):
        services.create_tenant(slug="own", name="Own", actor=OPERATOR)
    with pytest.raises(PermissionDenied):
        services.add_member(tenant=acme, user=bob, role="admin", actor=OPERATOR)
    with pytest.raises(PermissionDenied):
        services.remove_member(tenant=acme, user=bob, role="operator", actor=OPERATOR)
    with pytest.raises(PermissionDenied):
        services.issue_token(tenant=acme, name="robot", scopes=["run.view"], actor=OPERATOR)
    with pytest.raises(PermissionDenied):
        services.revoke_token(tenant=acme, token_id=1, actor=OPERATOR)


def issue(tenant: Tenant, *scopes: str, **options: Any) -> tuple[ServiceToken, str]:
    return services.issue_token(
        tenant=tenant, name="robot", scopes=scopes or ("run.submit", "run.view"), actor=SYSTEM, **options
    )


def test_a_token_opens_its_own_tenant_with_its_scopes(acme: Tenant, globex: Tenant) -> None:
    token, plain = issue(acme, "run.submit")
    found = services.authenticate_token(plain)
    assert found is not None
    tenant, row, actor = found
    assert (tenant, row) == (acme, token)
    assert (actor.kind, actor.name, actor.user_id) == ("token", "robot", None)
    assert can(actor, "run.submit")
    assert not can(actor, "run.view")


def test_the_secret_is_kept_nowhere(acme: Tenant) -> None:
    token, plain = issue(acme)
    secret = plain.rsplit("_", 1)[1]
    assert plain.startswith(f"aod_acme_{token.prefix}_")
    with tenant_scope(acme):
        stored = ServiceToken.objects.values().get()
    assert secret not in str(stored)
    assert secret not in str(recorded(acme))
    assert recorded(acme)[-1][0] == "token.issued"


def test_anything_but_the_exact_token_is_refused(acme: Tenant, globex: Tenant) -> None:
    token, plain = issue(acme)
    _, foreign = issue(globex)
    secret = plain.rsplit("_", 1)[1]
    wrong_secret = foreign.rsplit("_", 1)[1]
    for attempt in (
        "",
        "aod_",
        "Bearer " + plain,
        plain + " ",
        plain + "\n",
        plain.upper(),
        plain[:-1],
        plain + "a",
        plain.replace("acme", "globex"),
        plain.replace("acme", "nowhere"),
        plain.replace(token.prefix, "a" * 12),
        plain.replace(secret, wrong_secret),
        f"aod_acme_{token.prefix}_{token.secret_hash}",
        "aod_acme_\x00_" + secret,
    ):
        assert services.authenticate_token(attempt) is None
    assert services.authenticate_token(plain) is not None


def test_a_token_ends_at_its_time(acme: Tenant) -> None:
    _, plain = issue(acme, expires_at=timezone.now() + timedelta(days=1))
    with time_machine.travel(timezone.now() + timedelta(hours=23)):
        assert services.authenticate_token(plain)
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        assert services.authenticate_token(plain) is None


def test_a_revoked_token_is_useless_at_once(acme: Tenant, globex: Tenant) -> None:
    token, plain = issue(acme)
    assert not services.revoke_token(tenant=globex, token_id=token.pk, actor=SYSTEM)
    assert services.authenticate_token(plain)
    assert services.revoke_token(tenant=acme, token_id=token.pk, actor=SYSTEM)
    assert services.authenticate_token(plain) is None
    assert not services.revoke_token(tenant=acme, token_id=token.pk, actor=SYSTEM)
    assert [name for name, _ in recorded(acme)].count("token.revoked") == 1


def test_the_last_use_is_written_at_most_once_a_minute(acme: Tenant) -> None:
    _, plain = issue(acme)
    start = timezone.now().replace(microsecond=0)
    uses = []
    for seconds in (1, 30, 59, 62, 100, 125):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            services.authenticate_token(plain)
            with tenant_scope(acme):
                used = ServiceToken.objects.get().last_used_at
        assert used is not None
        uses.append((used - start).total_seconds())
    assert uses == [1, 1, 1, 62, 62, 125]


@pytest.mark.parametrize("scopes", [(), ("proposal.decide",), ("admin.manage",), ("run.view", "everything")])
def test_a_token_cannot_get_rights_that_need_a_person(acme: Tenant, scopes: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        services.issue_token(tenant=acme, name="robot", scopes=scopes, actor=SYSTEM)


@pytest.mark.parametrize("days", [-1, 0, 367])
def test_a_token_lives_between_now_and_a_year(acme: Tenant, days: int) -> None:
    with pytest.raises(ValidationError):
        issue(acme, expires_at=timezone.now() + timedelta(days=days))
