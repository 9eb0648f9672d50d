"""The tenant scope fails closed."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import Max
from django_scopes.exceptions import ScopeError

from agentops.audit.models import Stream
from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.scope import (
    ForeignTenant,
    NestedTenantScope,
    NoTenantScope,
    current_tenant_id,
    open_tenant_id,
    tenant_scope,
)

InTenant = Callable[[Tenant], AbstractContextManager[None]]


def session_tenant() -> str:
    if connection.vendor != "postgresql":
        return str(open_tenant_id() or "")
    with connection.cursor() as cursor:
        cursor.execute("select coalesce(current_setting('app.tenant', true), '')")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize(
    "question",
    [
        lambda: list(Membership.objects.all()),
        lambda: list(Membership.objects.using("default")),
        lambda: list(Membership.objects.values("pk")),
        lambda: list(User.objects.filter(memberships__in=Membership.objects.all())),
        lambda: list(Membership.objects.iterator()),
        lambda: Membership.objects.aggregate(Max("pk")),
        lambda: Membership.objects.get(pk=1),
        lambda: Membership.objects.filter(pk=1).delete(),
        lambda: Membership.objects.count(),
        lambda: Membership.objects.exists(),
        lambda: list(Membership.objects.exclude(pk=1)),
        lambda: Membership.objects.filter(pk=1).first(),
        lambda: Membership.objects.in_bulk([1]),
        lambda: Membership.objects.update(role="admin"),
        lambda: Membership.objects.create(user_id=1, role="admin"),
        lambda: Membership.objects.bulk_create([Membership(user_id=1, role="admin")]),
        lambda: Membership(user_id=1, role="admin").save(),
        lambda: Membership(tenant_id=1, user_id=1, role="admin").save(),
        current_tenant_id,
    ],
)
def test_a_question_without_a_scope_is_an_error(db: None, question: Callable[[], Any]) -> None:
    with pytest.raises(ScopeError):
        question()


def test_a_kept_query_follows_the_scope_it_runs_in(acme: Tenant, globex: Tenant, bob: User, charlie: User) -> None:
    kept = Membership.objects.filter(role="operator")
    with tenant_scope(acme):
        built_in_acme = Membership.objects.filter(role="operator")
        assert [membership.user for membership in kept.all()] == [bob]
    with tenant_scope(globex):
        assert [membership.user for membership in kept.all()] == [charlie]
        assert [membership.user for membership in built_in_acme] == [charlie]
    with pytest.raises(NoTenantScope):
        list(kept.all())


def test_the_empty_set_needs_no_scope() -> None:
    assert list(Membership.objects.none()) == []


@pytest.mark.parametrize("tenant", [None, "acme", True, Tenant(slug="unsaved")])
def test_a_scope_needs_a_saved_tenant(tenant: Any) -> None:
    with pytest.raises(NoTenantScope), tenant_scope(tenant):
        pass


def test_a_scope_shows_its_tenant_only(acme: Tenant, globex: Tenant, bob: User, charlie: User) -> None:
    with tenant_scope(acme):
        assert [membership.user for membership in Membership.objects.all()] == [bob]
    with tenant_scope(globex.pk):
        assert [membership.user for membership in Membership.objects.all()] == [charlie]


def test_a_new_row_takes_the_tenant_of_the_scope(scoped: Tenant) -> None:
    made = Stream.objects.create(name="run:1", head=b"")
    [bulk] = Stream.objects.bulk_create([Stream(name="run:2", head=b"")])
    got, _ = Stream.objects.get_or_create(name="run:3", defaults={"head": b""})
    assert {made.tenant_id, bulk.tenant_id, got.tenant_id} == {scoped.pk}


@pytest.mark.parametrize(
    "write",
    [
        lambda foreign: Stream.objects.create(tenant=foreign, name="run:1", head=b""),
        lambda foreign: Stream(tenant=foreign, name="run:1", head=b"").save(),
        lambda foreign: Stream.objects.bulk_create([Stream(tenant=foreign, name="run:1", head=b"")]),
        lambda foreign: Stream.objects.get_or_create(tenant=foreign, name="run:1", defaults={"head": b""}),
        lambda foreign: Stream.objects.update_or_create(name="run:1", defaults={"tenant": foreign, "head": b""}),
        lambda foreign: Stream.objects.update(tenant=foreign),
    ],
)
def test_a_row_of_another_tenant_cannot_be_written(
    globex: Tenant, scoped: Tenant, write: Callable[[Tenant], Any]
) -> None:
    with pytest.raises(ForeignTenant), transaction.atomic():
        write(globex)


def test_a_row_loaded_in_one_scope_cannot_be_saved_in_another(acme: Tenant, globex: Tenant, bob: User) -> None:
    with tenant_scope(acme):
        membership = Membership.objects.get()
    with tenant_scope(globex), pytest.raises(ForeignTenant):
        membership.save()
    with pytest.raises(NoTenantScope):
        membership.save()


def test_the_same_tenant_nests_and_another_does_not(acme: Tenant, globex: Tenant) -> None:
    with tenant_scope(acme):
        with tenant_scope(acme.pk):
            assert current_tenant_id() == acme.pk
        assert current_tenant_id() == acme.pk
        assert session_tenant() == str(acme.pk)
        with pytest.raises(NestedTenantScope), tenant_scope(globex):
            pass
        assert session_tenant() == str(acme.pk)
    assert session_tenant() == ""
    assert open_tenant_id() is None


def test_an_error_inside_closes_the_scope(acme: Tenant) -> None:
    with pytest.raises(ZeroDivisionError), tenant_scope(acme):
        _ = 1 / 0
    assert open_tenant_id() is None
    assert session_tenant() == ""


def test_a_failed_transaction_inside_the_scope_leaves_nothing_behind(acme: Tenant, globex: Tenant) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), tenant_scope(acme):
        Tenant.objects.create(slug=globex.slug, name="Again")
    assert session_tenant() == ""


def test_a_rolled_back_transaction_leaves_the_scope_open(acme: Tenant, bob: User) -> None:
    with tenant_scope(acme):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            _ = 1 / 0
        assert session_tenant() == str(acme.pk)
        assert Membership.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_threads_do_not_share_a_scope(acme: Tenant, globex: Tenant, bob: User, charlie: User) -> None:
    names: dict[str, list[str]] = {}
    outside: list[int | None] = []
    both_inside = threading.Barrier(2, timeout=20)

    def look(tenant: Tenant) -> None:
        try:
            outside.append(open_tenant_id())
            with tenant_scope(tenant):
                both_inside.wait()
                names[tenant.slug] = [membership.user.username for membership in Membership.objects.all()]
                both_inside.wait()
        finally:
            connection.close()

    threads = [threading.Thread(target=look, args=[tenant]) for tenant in (acme, globex)]
    with tenant_scope(acme):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert names == {"acme": ["bob"], "globex": ["charlie"]}
    assert outside == [None, None]


@pytest.mark.django_db(transaction=True)
def test_a_session_is_told_the_tenant_of_its_own_thread_only(acme: Tenant, globex: Tenant) -> None:
    told: dict[str, list[str]] = {}
    in_step = threading.Barrier(2, timeout=20)

    def look(tenant: Tenant) -> None:
        heard = told.setdefault(tenant.slug, [])
        try:
            # The scope of the main thread is open: a new session of another thread hears nothing of it.
            heard.append(session_tenant())
            in_step.wait()
            with tenant_scope(tenant):
                in_step.wait()
                # A session that begins inside the scope.
                connection.close()
                heard.append(session_tenant())
                in_step.wait()
                with tenant_scope(tenant):
                    heard.append(session_tenant())
                in_step.wait()
            heard.append(session_tenant())
        finally:
            connection.close()

    with tenant_scope(acme):
        threads = [threading.Thread(target=look, args=[tenant]) for tenant in (acme, globex)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert session_tenant() == str(acme.pk)
    for tenant in (acme, globex):
        assert told[tenant.slug] == ["", str(tenant.pk), str(tenant.pk), ""]
