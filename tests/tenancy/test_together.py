"""Statements that are sent together answer as if each were sent alone, and leave the session as it was."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet, TextField
from django.db.models.expressions import RawSQL
from django.test.utils import CaptureQueriesContext

from agentops.runs.models import TaskType
from agentops.tenancy import prepared
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.prepared import Query, along, fetch, fetch_all
from agentops.tenancy.scope import tenant_scope, user_scope
from agentops.tenancy.selectors import membership_of
from agentops.tenancy.services import create_tenant

pytestmark = pytest.mark.django_db
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is told no settings")

ONE = "select %s"


def settings() -> tuple[str, str]:
    [found] = fetch("select coalesce(current_setting('app.tenant', true), ''), current_setting('app.user', true)", ())
    return str(found[0]), str(found[1] or "")


def _slugs(prefix: Any) -> "QuerySet[TaskType, tuple[str]]":
    return TaskType.objects.filter(slug__gte=prefix).order_by("slug").values_list("slug")


@pytest.fixture
def kinds(acme: Tenant) -> Tenant:
    with tenant_scope(acme):
        for slug in ("a", "b"):
            TaskType.objects.create(slug=slug, name=slug, input_schema={})
    return acme


def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which every sending adds how many statements it had."""
    counts: list[int] = []
    usual: Callable[..., Any] = prepared.fetch_all

    def counted(statements: Any) -> Any:
        counts.append(len(statements))
        return usual(statements)

    monkeypatch.setattr(prepared, "fetch_all", counted)
    return counts


# --- several statements -----------------------------------------------------------------------------------------------


def test_each_answer_is_that_of_its_statement() -> None:
    assert fetch_all([(ONE, ["a"]), (ONE, ["b"]), ("select 1 where 1 = 0", [])]) == [[("a",)], [("b",)], []]
    assert fetch_all([(ONE, ["alone"])]) == [[("alone",)]]
    with CaptureQueriesContext(connection) as heard:
        fetch_all([(ONE, ["a"]), (ONE, ["b"])])
    assert len(heard) == 2


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_when_one_fails_none_has_happened() -> None:
    told = ("select set_config('app.user', %s, false)", ("7",))
    for _ in range(2):  # the second time with statements that the session knows
        with pytest.raises(DatabaseError):
            fetch_all([told, ("select 1 / %s::int", (0,)), told])
        assert settings() == ("", "")
        assert fetch_all([told, (ONE, ["x"]), ("select set_config('app.user', %s, false)", ("",))])[1] == [("x",)]


@on_postgresql
def test_inside_a_transaction_a_failure_is_that_of_the_transaction() -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        fetch_all([(ONE, ["a"]), ("select 1 / %s::int", (0,))])
    assert fetch(ONE, ["still"]) == [("still",)]


# --- a person's own rows ----------------------------------------------------------------------------------------------


def test_a_person_is_found_in_their_own_tenants_alone(acme: Tenant, bob: User) -> None:
    create_tenant(slug="other", name="Other", environment="test", actor=SYSTEM)
    for _ in range(2):
        found = membership_of(bob, acme.slug)
        assert found is not None
        assert found[0] == acme
        assert membership_of(bob, "other") is None
        assert membership_of(bob, "nobody") is None


@on_postgresql
def test_the_person_is_named_for_that_query_alone(acme: Tenant, bob: User) -> None:
    seen = RawSQL("current_setting('app.user')", (), output_field=TextField())
    query = Query(lambda pk: User.objects.filter(pk=pk).annotate(seen=seen).values_list("pk", "seen"), lifted=True)
    with tenant_scope(acme):
        before = settings()
        assert query.as_person(bob.pk, bob.pk) == [(bob.pk, str(bob.pk))]
        assert settings() == before == (str(acme.pk), "")
    with user_scope(41):
        membership_of(bob, acme.slug)
        assert settings()[1] == "41"
    assert settings()[1] == ""


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_query_that_fails_leaves_nobody_named(bob: User) -> None:
    broken = Query(lambda pk: User.objects.filter(pk=pk).extra(where=["1 / (id - id) = 1"]), lifted=True)
    for _ in range(2):
        with pytest.raises(DatabaseError):
            broken.as_person(bob.pk, bob.pk)
        assert settings() == ("", "")


# --- what goes along --------------------------------------------------------------------------------------------------


def test_what_goes_along_answers_once_and_as_ever(kinds: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, never = Query(_slugs), Query(_slugs), Query(_slugs)
    counts = sent(monkeypatch)
    with tenant_scope(kinds), along((second, ("b",)), (never, ("a",))):
        assert first("a") == [("a",), ("b",)]
        TaskType.objects.create(slug="c", name="c", input_schema={})
        went_along = second("b")
        assert second("b") == [("b",), ("c",)]
        assert second("c") == [("c",)]  # other values are another question
    if connection.vendor == "postgresql":
        assert went_along == [("b",)]
        assert counts == [3, 1, 1]
    with tenant_scope(kinds):
        assert second("b") == [("b",), ("c",)]


def test_what_is_asked_first_of_all_takes_the_others_along(kinds: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Query(_slugs), Query(_slugs)
    counts = sent(monkeypatch)
    with tenant_scope(kinds), along((first, ("a",)), (second, ("b",))):
        assert first("a") == [("a",), ("b",)]
        assert second("b") == [("b",)]
    assert counts == ([2] if connection.vendor == "postgresql" else [])


def test_inside_another_both_go_along(kinds: Tenant) -> None:
    first, second, third = Query(_slugs), Query(_slugs), Query(_slugs)
    with tenant_scope(kinds), along((second, ("b",))):
        with along((third, ("b",))):
            assert first("a") == [("a",), ("b",)]
            assert third("b") == [("b",)]
        assert second("b") == [("b",)]


@on_postgresql
def test_what_goes_along_sees_the_tenant_whose_scope_is_open(kinds: Tenant) -> None:
    other = create_tenant(slug="other", name="Other", environment="test", actor=SYSTEM)
    first, second = Query(_slugs), Query(_slugs)
    for tenant, slugs in ((kinds, [("a",), ("b",)]), (other, [])):
        with tenant_scope(tenant), along((second, ("a",))):
            assert first("a") == slugs
            assert second("a") == slugs


def test_one_tenant_is_never_given_what_went_along_for_another(kinds: Tenant) -> None:
    other = create_tenant(slug="other", name="Other", environment="test", actor=SYSTEM)
    first, second = Query(_slugs), Query(_slugs)
    with along((second, ("a",))):
        with tenant_scope(kinds):
            first("a")
        with tenant_scope(other):
            assert second("a") == []
        with tenant_scope(kinds):
            assert second("a") == [("a",), ("b",)]
