"""The tenant scope: whose rows this piece of work may see. Without one there are no rows, only an error."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Self, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.sql.compiler import SQLCompiler
from django.dispatch import receiver
from django_scopes import scope, scopes_disabled
from django_scopes.exceptions import ScopeError
from django_scopes.state import get_scope

if TYPE_CHECKING:
    from agentops.tenancy.models import Tenant

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=models.Model, covariant=True)


_slug: ContextVar[list[str] | None] = ContextVar("tenant_slug", default=None)


class NoTenantScope(ScopeError):  # type: ignore[misc]
    """A tenant's rows were asked for outside of any tenant scope."""


class NestedTenantScope(RuntimeError):
    """A scope for one tenant was opened inside the scope of another."""


class ForeignTenant(RuntimeError):
    """A row of one tenant was about to be written inside the scope of another."""


@contextmanager
def tenant_scope(tenant: "Tenant | int") -> Iterator[None]:
    """Open the scope of one tenant: for the ORM, and on PostgreSQL for row-level security (`app.tenant`).

    The setting belongs to the database session of this thread, so threads open their own scope. Opening the same
    tenant again is harmless and free; another one raises `NestedTenantScope`. Costs two small statements on
    PostgreSQL, none on SQLite; none either before the thread is connected: whatever connects inside is told first.
    """
    tenant_id = tenant if isinstance(tenant, int) else getattr(tenant, "pk", None)
    if not isinstance(tenant_id, int) or isinstance(tenant_id, bool):
        raise NoTenantScope("A tenant scope needs a saved tenant; None never means all of them.")
    outer = open_tenant_id()
    if outer is not None and outer != tenant_id:
        raise NestedTenantScope(f"The scope of tenant {outer} is open; tenant {tenant_id} cannot be entered inside it.")
    if outer is not None and _wanted().get("app.tenant") == str(tenant_id):
        yield
        return
    slug = "" if isinstance(tenant, int) else tenant.slug
    with (
        scope(tenant=tenant_id),
        _remembering(slug),
        _session_setting("app.tenant", tenant_id),
    ):
        yield


@contextmanager
def user_scope(user_id: int) -> Iterator[None]:
    """Open a person's view of their own memberships across tenants; queries inside must filter by that person.

    The ORM filter is off inside, so this is for the few selectors of this package. On PostgreSQL row-level security
    still shows nothing but the person's own memberships (`app.user`).
    """
    with scopes_disabled(), _session_setting("app.user", user_id):
        yield


def open_tenant_id() -> int | None:
    """Return the id of the tenant whose scope is open, or None."""
    current = get_scope()
    tenant_id = current.get("tenant") if current.get("_enabled", True) else None
    return tenant_id if isinstance(tenant_id, int) else None


def current_tenant_id() -> int:
    """Return the id of the tenant whose scope is open; raise `NoTenantScope` outside."""
    tenant_id = open_tenant_id()
    if tenant_id is None:
        raise NoTenantScope("No tenant scope is open: use tenant_scope(tenant) around this code.")
    return tenant_id


def current_tenant_slug() -> str:
    """Return the slug of the tenant whose scope is open; at most one query per scope."""
    tenant_id = current_tenant_id()
    known = _slug.get()
    if known is None or not known[0]:
        from agentops.tenancy.models import Tenant

        found = Tenant.objects.values_list("slug", flat=True).get(pk=tenant_id)
        if known is None:
            return found
        known[0] = found
    return known[0]


def open_tenant_name() -> str:
    """Return the slug of the open tenant, its id where the slug is not known yet, or nothing. Never a query."""
    tenant_id = open_tenant_id()
    known = _slug.get()
    return "" if tenant_id is None else (known[0] if known else "") or str(tenant_id)


def scope_is_lifted() -> bool:
    """Say whether the ORM filter was switched off on purpose (`user_scope`, django_scopes.scopes_disabled)."""
    return not get_scope().get("_enabled", True)


def give_back_connection() -> None:
    """Give back this thread's connection before its request or task has ended; inside a transaction do nothing.

    A pooled connection goes on to somebody else, so it forgets the tenant and the person first.
    """
    if connection.in_atomic_block:
        return
    try:
        if connection.vendor == "postgresql" and connection.connection is not None:
            with connection.cursor() as cursor:
                cursor.execute("select set_config('app.tenant', '', false), set_config('app.user', '', false)")
    finally:
        connection.close()


async def run_in_tenant(tenant: "Tenant | int", func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a synchronous function inside the tenant's scope from an async view or stream, and return its result.

    The database connection goes back as soon as the function returns, so an open stream holds none. The result must
    not be a lazy queryset.
    """

    def call() -> R:
        try:
            with tenant_scope(tenant):
                return func(*args, **kwargs)
        finally:
            give_back_connection()

    return await sync_to_async(call, thread_sensitive=True)()


class OpenTenantId(int):
    """The id of the open tenant, as a parameter that a statement which is kept can tell from other numbers."""


class OpenTenant(models.Expression):
    """The tenant whose scope is open when the statement is compiled; `NoTenantScope` when there is none."""

    output_field = models.BigIntegerField()

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[int, ...]]:
        """Return a placeholder and the id."""
        return "%s", (OpenTenantId(current_tenant_id()),)


class TenantManager(models.Manager[M]):
    """Show the rows of the open tenant scope; without a scope a query raises `NoTenantScope` instead of showing all.

    The tenant is looked up when the query runs, not when it is built: forms and API views may be declared at import,
    and a queryset that is kept never carries one tenant's filter into another's scope.
    """

    def get_queryset(self) -> models.QuerySet[M]:
        """Return the tenant's rows."""
        rows = super().get_queryset()
        return rows if scope_is_lifted() else rows.filter(tenant_id=OpenTenant())

    def none(self) -> models.QuerySet[M]:
        """Return the empty set, which needs no scope."""
        return super().get_queryset().none()


class TenantForeignKey(models.ForeignKey[Any, Any]):
    """The `tenant` column of every tenant row, guarded on the way into the database.

    Managers do not see `Model.save()` and `bulk_create()`, and SQLite has no row-level security, so the field itself
    checks what every INSERT and UPDATE writes into it: a new row takes the tenant of the open scope, another tenant
    raises `ForeignTenant`, no scope raises `NoTenantScope`. Not seen here, and left to PostgreSQL: deleting, or
    saving with `update_fields`, an object that was loaded in an earlier scope of another tenant.
    """

    def __init__(self, to: Any = "tenancy.Tenant", on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        kwargs.setdefault("related_name", "+")
        super().__init__(to, on_delete, **kwargs)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Fill in the tenant of the open scope."""
        if add and getattr(model_instance, self.attname) is None:
            setattr(model_instance, self.attname, current_tenant_id())
        return super().pre_save(model_instance, add)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Refuse the tenant of another scope."""
        if not scope_is_lifted():
            opened = open_tenant_id()
            if opened is None:
                raise NoTenantScope(f"Writing to {self.model._meta.db_table} needs a tenant scope.")
            if value != opened:
                raise ForeignTenant(f"A row of tenant {value} cannot be written in the scope of tenant {opened}.")
        return super().get_db_prep_save(value, connection)


class TenantModel(models.Model):
    """Base of every row that belongs to a tenant. Its table also needs `rls.EnableRowSecurity` in a migration."""

    tenant = TenantForeignKey()

    objects: ClassVar[models.Manager[Self]] = TenantManager()

    class Meta:
        abstract = True

    def unique_error_message(self, model_class: type[models.Model], unique_check: Sequence[str]) -> ValidationError:
        """Say what there is already, without the tenant: nobody can enter another one."""
        named = tuple(name for name in unique_check if name != "tenant") or tuple(unique_check)
        return super().unique_error_message(model_class, named)


@contextmanager
def _remembering(slug: str) -> Iterator[None]:
    token = _slug.set([slug])
    try:
        yield
    finally:
        _slug.reset(token)


def _wanted() -> dict[str, str]:
    """What the database session of this thread has been told, or will be told as soon as there is one.

    Kept with the thread's own connection: `django.db.connection` is one object for all threads.
    """
    found: dict[str, str] = connections[DEFAULT_DB_ALIAS].__dict__.setdefault("session_settings", {})
    return found


@contextmanager
def _session_setting(name: str, value: int) -> Iterator[None]:
    if connection.vendor != "postgresql":
        yield
        return
    wanted = _wanted()
    # Outside of any scope the session ends up clean, whatever an earlier user of a pooled connection left in it.
    previous = wanted.get(name, "")
    wanted[name] = str(value)
    try:
        _tell(name, str(value))
        yield
    finally:
        if previous:
            wanted[name] = previous
        else:
            del wanted[name]
        if connection.connection is not None:
            _restore(name, previous)


def _tell(name: str, value: str) -> None:
    """Tell an open session; one that turns out to be dead is closed, and whatever connects next is told then."""
    if connection.connection is None:
        return
    try:
        _set(name, value)
    except (DatabaseError, InterfaceError):
        if connection.in_atomic_block or connection.is_usable():
            raise
        connection.close()


@receiver(connection_created)
def _greet(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Tell a new session whose scope is open."""
    if connection.vendor == "postgresql" and connection.alias == DEFAULT_DB_ALIAS:
        for name, value in _wanted().items():
            _set(name, value)


Statement = tuple[str, Sequence[Any]]


def settings_around(name: str, value: str) -> tuple[Statement, Statement]:
    """Return what sets a setting of the session, and what sets it to what it was: for what is sent in one go.

    Whatever fails in between must take the first back with it, as a transaction does.
    """
    return _setting(name, value), _setting(name, _wanted().get(name, ""))


def _setting(name: str, value: str) -> Statement:
    return "select set_config(%s, %s, false)", (name, value)


def _set(name: str, value: str) -> None:
    from agentops.tenancy.prepared import fetch

    fetch(*_setting(name, value))


def _restore(name: str, previous: str) -> None:
    try:
        _set(name, previous)
    except (DatabaseError, InterfaceError):
        # Inside a failed transaction nothing can be said any more; its rollback takes the setting back with it.
        # Anywhere else the session cannot be trusted to be clean, so it ends here.
        if not connection.in_atomic_block:
            connection.close()
