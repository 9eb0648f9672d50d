"""What is compiled once answers like the ORM: same rows, each tenant its own, values as they are now."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scopes_disabled
from pytest_django import DjangoAssertNumQueries

from agentops.runs.models import Run, TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.prepared import Query, _Plans, fetch
from agentops.tenancy.scope import NoTenantScope, tenant_scope
from agentops.tenancy.services import create_tenant

pytestmark = pytest.mark.django_db


def _named(slug: Any) -> "QuerySet[TaskType]":
    return TaskType.objects.filter(slug=slug)


def _kinds(since: Any, until: Any) -> "QuerySet[TaskType, tuple[str, Any]]":
    rows = TaskType.objects.filter(created_at__gt=since, created_at__lte=until, critical=False)
    return rows.order_by("-slug").values_list("slug", "limits")[:2]


@pytest.fixture
def two() -> tuple[Tenant, Tenant]:
    """Two tenants with task types of the same names."""
    tenants = tuple(create_tenant(slug=slug, name=slug, environment="test", actor=SYSTEM) for slug in ("one", "two"))
    for tenant in tenants:
        with tenant_scope(tenant):
            for slug in ("a", "b", "c"):
                TaskType.objects.create(
                    slug=slug, name=f"{slug} of {tenant.slug}", input_schema={}, limits={"steps": 3}
                )
    return tenants[0], tenants[1]


def test_rows_are_those_of_the_tenant_whose_scope_is_open(two: tuple[Tenant, Tenant]) -> None:
    named = Query(_named)
    for tenant in (*two, *two):
        with tenant_scope(tenant):
            [found] = named("b")
            assert found == TaskType.objects.get(slug="b")
            assert (found.name, found.limits, found.tenant_id) == (f"b of {tenant.slug}", {"steps": 3}, tenant.pk)
            assert named("nothing") == []


def test_what_is_planned_anew_answers_the_same_and_is_prepared_nowhere(two: tuple[Tenant, Tenant]) -> None:
    prepared, anew = Query(_kinds), Query(_kinds, replan=True)
    now = timezone.now()
    for tenant in (*two, *two):
        with tenant_scope(tenant):
            for since in (now - timedelta(hours=1), now):
                assert anew(since, now) == prepared(since, now)
    with tenant_scope(two[0]), scopes_disabled():
        assert len(anew(now - timedelta(hours=1), now)) == 2
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from pg_prepared_statements where statement like '%created_at%'")
            assert cursor.fetchone() == (1,)


def test_values_are_those_of_the_call(two: tuple[Tenant, Tenant]) -> None:
    kinds = Query(_kinds)
    now = timezone.now()
    with tenant_scope(two[0]):
        for _ in range(2):
            assert kinds(now - timedelta(hours=1), now) == [("c", {"steps": 3}), ("b", {"steps": 3})]
            assert kinds(now, now + timedelta(hours=1)) == []


def test_what_is_selected_along_and_what_is_left_out(two: tuple[Tenant, Tenant]) -> None:
    runs = Query(
        lambda steps: Run.objects.select_related("task_type").only("state", "task_type__slug").filter(pk=steps)
    )
    with tenant_scope(two[0]):
        kind = TaskType.objects.get(slug="a")
        made = Run.objects.create(task_type=kind, input="{}", created_at=timezone.now(), not_before=timezone.now())
        [found] = runs(made.pk)
        assert found.task_type.slug == "a"
        assert found.get_deferred_fields() >= {"input", "answer"}
        assert found.input == "{}"


def test_without_a_scope_there_are_no_rows(two: tuple[Tenant, Tenant]) -> None:
    named = Query(_named)
    with pytest.raises(NoTenantScope):
        named("a")
    with tenant_scope(two[0]):
        assert len(named("a")) == 1
    with pytest.raises(NoTenantScope):
        named("a")


def test_where_the_scope_is_lifted_it_is_an_ordinary_query(two: tuple[Tenant, Tenant]) -> None:
    named = Query(_named)
    with tenant_scope(two[0]):
        named("a")
    with scopes_disabled():
        assert {row.tenant_id for row in named("a")} <= {tenant.pk for tenant in two}


def test_a_query_for_inside_of_a_lifted_scope_is_asked_the_ordinary_way_elsewhere(two: tuple[Tenant, Tenant]) -> None:
    named = Query(_named, lifted=True)
    with scopes_disabled():
        lifted = named("a")
    with tenant_scope(two[0]):
        assert [one.tenant_id for one in named("a")] == [two[0].pk]
    with scopes_disabled():
        assert named("a") == lifted


@pytest.mark.parametrize("text", ["2026-11-26T06:30:36.123450", "0001-01-02T00:00:00", "9999-12-30T23:59:59.999999"])
def test_moments_are_read_as_the_orm_reads_them(two: tuple[Tenant, Tenant], text: str) -> None:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    with tenant_scope(two[0]):
        TaskType.objects.filter(slug="a").update(created_at=moment)
        [(read,)] = Query(lambda slug: TaskType.objects.filter(slug=slug).values_list("created_at"))("a")
        assert (read, read.tzinfo) == (moment, UTC)
        assert TaskType.objects.get(slug="a").created_at == moment


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL knows these")
def test_moments_that_python_does_not_know_are_refused_as_before(two: tuple[Tenant, Tenant]) -> None:
    with tenant_scope(two[0]):
        for word in ("infinity", "0044-03-15 BC"):
            with pytest.raises(psycopg.DataError):
                fetch(f"select '{word}'::timestamptz", ())


def test_prepared_statements_are_counted_with_the_others(
    two: tuple[Tenant, Tenant], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    named = Query(_named)
    with tenant_scope(two[0]), django_assert_num_queries(2):
        named("a")
        named("b")


def _critical(slug: Any) -> "QuerySet[TaskType]":
    return TaskType.objects.filter(slug=slug, critical=False, decide_within_s__gt=1, name__contains="100% o'f")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite prepares nothing")
def test_what_every_call_hands_over_alike_is_part_of_the_statement(two: tuple[Tenant, Tenant]) -> None:
    """A plan for any values uses an index of some rows only when the statement itself says that it is about these."""
    waiting = Query(lambda run: Run.objects.filter(pk=run, state="waiting"))
    odd = Query(_critical)
    for tenant in two:
        with tenant_scope(tenant), CaptureQueriesContext(connection) as heard:
            assert waiting(uuid4()) == []
            TaskType.objects.filter(slug="b").update(name=f"100% o'f {tenant.slug}")
            [found] = odd("b")
            assert (found.name, odd("c")) == (f"100% o'f {tenant.slug}", [])
        assert any("'waiting'" in one["sql"] for one in heard.captured_queries)


def test_plans_are_made_anew_as_time_goes_by_and_as_often_as_their_uses_have_doubled() -> None:
    used = _Plans(since=0.0, lasting=1e9, most_uses=2)
    assert [use for use in range(1, 31) if used.are_old(1.0)] == [2, 6, 14, 30]
    aging = _Plans(since=0.0, lasting=1.0, most_uses=1_000)
    assert [moment for moment in range(16) if aging.are_old(moment)] == [1, 3, 7, 15]
