"""PostgreSQL refuses what the code must not ask, tried as the role that web and worker processes have.

The tables come from the app registry, so a new tenant model is covered by being there, and fails here without a policy.
"""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, models, transaction

from agentops.audit.services import NewEvent, append, load
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.management.commands.dbrole import Command
from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.selectors import membership_of, tenants_of
from agentops.tenancy.services import add_member, authenticate_token, issue_token

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="row-level security needs PostgreSQL"),
    pytest.mark.not_replayed("fills every table with whatever fits"),
]
REFUSED = "42501"


def tenant_columns() -> list[tuple[str, str]]:
    """Return table and tenant column of every model whose rows belong to a tenant."""
    return sorted(
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        if model._meta.managed and not model._meta.proxy
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and field.related_model is Tenant
    )


TABLES = tenant_columns()


def query(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def sqlstate(sql: str, params: Any = None) -> str:
    """Return the SQLSTATE a statement fails with, or an empty text."""
    try:
        with transaction.atomic():
            query(sql, params)
    except Exception as error:  # noqa: BLE001  # every database error class carries the state of its cause
        return str(getattr(error.__cause__, "sqlstate", None))
    return ""


@pytest.fixture
def role(db: None) -> str:
    """Create the runtime role with `dbrole`; the rollback of the test takes it away again."""
    name = f"{connection.settings_dict['NAME']}_runtime"
    call_command("dbrole", name, stdout=StringIO())
    return name


@pytest.fixture
def as_runtime(role: str) -> Iterator[None]:
    """Run the test as the runtime role. Request this fixture after those that write as the owner."""
    query(f'set local role "{role}"')
    yield
    if not connection.needs_rollback:
        query("reset role")


def fill(table: str, column: str, tenant: Tenant) -> None:
    """Insert one row of this tenant that satisfies nothing but the column types."""
    values = {"bool": "false", "date": "'2026-01-01'", "timestamptz": "now()", "uuid": "gen_random_uuid()"}
    values |= dict.fromkeys(("jsonb", "json"), "'{}'") | dict.fromkeys(("int2", "int4", "int8", "numeric"), "1")
    values |= {"float8": "1", "bytea": "'\\x00'", "interval": "'0'", "time": "'00:00'", "inet": "'127.0.0.1'"}
    needed = query(
        "select column_name, udt_name from information_schema.columns where table_name = %s and is_nullable = 'NO' "
        "and column_default is null and is_identity = 'NO' and column_name <> %s and table_schema = current_schema()",
        [table, column],
    )
    names = "".join(f', "{name}"' for name, _ in needed)
    filled = "".join(f", {values.get(kind, 'gen_random_uuid()::text')}" for _, kind in needed)
    filled = filled.replace("gen_random_uuid()::text", "left(gen_random_uuid()::text, 2)")
    query(f'insert into "{table}" ("{column}"{names}) values (%s{filled})', [tenant.pk])


@pytest.fixture
def a_row_for_each(acme: Tenant, globex: Tenant, role: str) -> Iterator[None]:
    """Put a row of each tenant into every tenant table, whatever the table means."""
    query("set constraints all immediate")
    query("set local session_replication_role = replica")
    checks = query(
        "select conrelid::regclass::text, conname from pg_constraint "
        "where (contype = 'c' or contype = 'u') and connamespace = current_schema()::regnamespace and conrelid <> 0"
    )
    tables = {table for table, _ in TABLES}
    for table, name in checks:
        if table.strip('"') in tables:
            query(f'alter table {table} drop constraint "{name}" cascade')
    for table, column in TABLES:
        fill(table, column, acme)
        fill(table, column, globex)
    query("set local session_replication_role = origin")
    query(f'set local role "{role}"')
    yield
    query("reset role")


def test_there_are_tenant_tables() -> None:
    assert {"tenancy_membership", "tenancy_servicetoken", "audit_stream", "audit_event"} <= {name for name, _ in TABLES}


@pytest.mark.parametrize(("table", "column"), TABLES)
def test_every_tenant_table_forces_its_policy(table: str, column: str) -> None:
    [(enabled, forced)] = query(
        "select relrowsecurity, relforcerowsecurity from pg_class where oid = %s::regclass", [table]
    )
    assert enabled, f"{table} needs rls.enable_rls({table!r}) in a migration"
    assert forced
    [(rule, check)] = query(
        "select qual, with_check from pg_policies where tablename = %s and cmd = 'ALL' and permissive = 'PERMISSIVE'",
        [table],
    )
    assert rule == check
    assert column in rule
    assert "app.tenant" in rule
    others = query("select cmd, qual from pg_policies where tablename = %s and cmd <> 'ALL'", [table])
    assert all(cmd == "SELECT" and "app.user" in qual for cmd, qual in others)


def test_without_a_scope_no_table_shows_a_row(a_row_for_each: None) -> None:
    for setting in ("", None):
        if setting is not None:
            query("select set_config('app.tenant', %s, true)", [setting])
        assert {table: query(f'select count(*) from "{table}"') for table, _ in TABLES} == {
            table: [(0,)] for table, _ in TABLES
        }


def test_with_a_scope_every_table_shows_only_that_tenant(a_row_for_each: None, acme: Tenant) -> None:
    query("select set_config('app.tenant', %s, true)", [str(acme.pk)])
    for table, column in TABLES:
        rows = query(f'select "{column}" from "{table}"')
        assert rows, table
        assert set(rows) == {(acme.pk,)}, table


def test_no_table_lets_a_row_of_another_tenant_in(a_row_for_each: None, acme: Tenant, globex: Tenant) -> None:
    query("select set_config('app.tenant', %s, true)", [str(acme.pk)])
    for table, column in TABLES:
        assert sqlstate(f'insert into "{table}" ("{column}") values (%s)', [globex.pk]) == REFUSED, table
        # The same statement for the own tenant gets past the policy: what stops it, if anything, is another rule.
        assert sqlstate(f'insert into "{table}" ("{column}") values (%s)', [acme.pk]) != REFUSED, table


def test_no_table_lets_anybody_change_or_delete_another_tenants_rows(
    a_row_for_each: None, acme: Tenant, globex: Tenant
) -> None:
    query("select set_config('app.tenant', %s, true)", [str(acme.pk)])
    for table, column in TABLES:
        for statement in (
            f'update "{table}" set "{column}" = "{column}" where "{column}" = %s returning 1',
            f'delete from "{table}" where "{column}" = %s returning 1',
        ):
            try:
                with transaction.atomic():
                    assert query(statement, [globex.pk]) == [], table
            except ProgrammingError as error:
                assert table in {"audit_event", "audit_stream"}, error  # noqa: PT017  # no right at all is right too


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_event set type = 'forged'",
        "delete from audit_event",
        "truncate audit_event",
        "delete from audit_stream",
        "truncate audit_stream",
        "alter table audit_event disable trigger all",
        "alter table audit_event no force row level security",
        "alter table audit_event disable row level security",
        "drop policy tenant_rows on audit_event",
        "drop table audit_event",
        "set row_security = off; select * from audit_event",
        "set session_replication_role = replica",
        "create table hidden (x int)",
        "delete from django_migrations",
    ],
)
def test_the_runtime_role_cannot_touch_the_record_or_the_rules(acme: Tenant, as_runtime: None, statement: str) -> None:
    with tenant_scope(acme):
        assert sqlstate(statement) == REFUSED


def test_the_runtime_role_can_do_its_work(acme: Tenant, globex: Tenant, bob: User, as_runtime: None) -> None:
    with transaction.atomic(), tenant_scope(acme):
        append("run:1", [NewEvent("run.started", {})], actor=SYSTEM)
        assert [event.type for event in load("run:1")] == ["run.started"]
    with tenant_scope(globex):
        assert load("run:1") == []
    with tenant_scope(acme):
        assert sqlstate("update audit_stream set seq = 0") == REFUSED


def test_people_find_their_own_memberships_before_a_tenant_is_open(
    acme: Tenant, globex: Tenant, bob: User, charlie: User, as_runtime: None
) -> None:
    assert [tenant for tenant, _ in tenants_of(bob)] == [acme]
    assert membership_of(bob, "globex") is None
    assert membership_of(charlie, "globex") is not None
    assert query("select count(*) from tenancy_membership") == [(0,)]


def test_own_memberships_can_be_read_but_not_made(acme: Tenant, globex: Tenant, bob: User, as_runtime: None) -> None:
    query("select set_config('app.user', %s, true)", [str(bob.pk)])
    assert query("select user_id from tenancy_membership") == [(bob.pk,)]
    make = "insert into tenancy_membership (tenant_id, user_id, role, created_at) values (%s, %s, 'admin', now())"
    assert sqlstate(make, [globex.pk, bob.pk]) == REFUSED
    assert query("update tenancy_membership set role = 'admin' returning 1") == []


def test_tokens_are_found_through_the_tenant_in_their_text(acme: Tenant, as_runtime: None) -> None:
    token, plain = issue_token(tenant=acme, name="robot", scopes=["run.submit"], actor=SYSTEM)
    found = authenticate_token(plain)
    assert found is not None
    assert found[1] == token


def test_people_are_added_under_the_runtime_role(acme: Tenant, as_runtime: None) -> None:
    user = User.objects.create_user("dora")
    add_member(tenant=acme, user=user, role="viewer", actor=SYSTEM)
    with tenant_scope(acme):
        assert Membership.objects.get().user == user


def test_the_role_command_can_be_repeated_and_sets_what_matters(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_ROLE_PASSWORD", "quote ' and \\ and more")
    query(f'alter role "{role}" bypassrls')
    call_command("dbrole", role, stdout=StringIO())
    [(super_user, bypass, login)] = query(
        "select rolsuper, rolbypassrls, rolcanlogin from pg_roles where rolname = %s", [role]
    )
    assert (super_user, bypass, login) == (False, False, True)
    assert planned(role) == {"max_parallel_workers_per_gather=0", "jit=off"}


def planned(role: str) -> set[str]:
    """Return how statements of the role are planned in this database."""
    rows = query(
        "select unnest(setconfig) from pg_db_role_setting s, pg_roles r, pg_database d where r.oid = s.setrole "
        "and d.oid = s.setdatabase and d.datname = current_database() and r.rolname = %s",
        [role],
    )
    return {setting for (setting,) in rows}


def test_an_owner_who_may_not_say_how_statements_are_planned_is_told_who_may(role: str) -> None:
    query(f'alter role "{role}" in database "{connection.settings_dict["NAME"]}" reset all')
    owner = f"{role}_plain"
    query(f'create role "{owner}"')
    query(f'set local role "{owner}"')
    told = Command(stderr=StringIO())
    with connection.cursor() as cursor:
        statements = told._plan(cursor, role)
    query("reset role")
    assert [one.rpartition(" set ")[2] for one in statements] == [
        "\"max_parallel_workers_per_gather\" to '0'",
        "\"jit\" to 'off'",
    ]
    assert planned(role) == set()


def test_an_owner_who_may_not_create_roles_is_told_the_statement_for_somebody_who_may(role: str) -> None:
    owner, wanted = f"{role}_owner", f"{role}_wanted"
    query(f'create role "{owner}"')
    query(f'set local role "{owner}"')
    with pytest.raises(CommandError, match=rf'create role "{wanted}" login nosuperuser nobypassrls .* run this again'):
        call_command("dbrole", wanted, stdout=StringIO())


def test_the_role_command_refuses_the_owner() -> None:
    [(owner,)] = query("select current_user")
    with pytest.raises(CommandError, match="owns"):
        call_command("dbrole", owner)
