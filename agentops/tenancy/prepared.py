"""Statements that PostgreSQL prepares once for each connection, because somebody waits for them all the time.

`fetch` runs one that is written out, `Query` one that the ORM writes: that is compiled and planned once then, instead
of each time. What is known to be asked soon goes `along` with the statement before it, so that nobody waits for one
answer after the other. On SQLite, where all of this costs little, they go the ordinary way.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast
from uuid import UUID

import psycopg
from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.query import ModelIterable, get_related_populators
from django.db.models.sql.compiler import SQLCompiler
from django_scopes import scopes_disabled

from agentops.tenancy.scope import (
    OpenTenantId,
    current_tenant_id,
    open_tenant_id,
    scope_is_lifted,
    settings_around,
    user_scope,
)

_NEVER: Final = 1_000_000_000
_TIMESTAMPTZ: Final = 1184
_TEXT: Final = psycopg.pq.Format.TEXT
_FIRST_PLANS_S: Final = 0.5
_PLANS_S: Final = 120.0
_FIRST_PLANS_USES: Final = 64

R = TypeVar("R")


def fetch(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a statement with `%s` places, prepared on PostgreSQL, and return its rows, if it has any."""
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(sql, [_lite(value) for value in params])
            return cast("list[tuple[Any, ...]]", cursor.fetchall() if cursor.description else [])
    prepared = cursor_of_plans()
    began = time.monotonic()
    _execute(prepared, sql, params)
    if connection.queries_logged:
        connection.queries_log.append({"sql": sql, "time": f"{time.monotonic() - began:.3f}"})
    return prepared.fetchall() if prepared.description else []


def fetch_all(statements: "Sequence[tuple[str, Sequence[Any]]]") -> list[list[tuple[Any, ...]]]:
    """Run several statements as `fetch` does, sent together on PostgreSQL; return the rows of each.

    Where no transaction is open they are one: when one of them fails none has happened, and its error is raised.
    """
    if connection.vendor != "postgresql" or len(statements) == 1:
        return [fetch(sql, params) for sql, params in statements]
    cursors = [cursor_of_plans() for _ in statements]
    began = time.monotonic()
    raw = cast("psycopg.Connection[tuple[Any, ...]]", connection.connection)
    with connection.wrap_database_errors, raw.pipeline():
        for prepared, (sql, params) in zip(cursors, statements, strict=True):
            _execute(prepared, sql, params)
    if connection.queries_logged:
        spent = f"{(time.monotonic() - began) / len(statements):.3f}"
        connection.queries_log.extend({"sql": sql, "time": spent} for sql, _ in statements)
    return [prepared.fetchall() if prepared.description else [] for prepared in cursors]


def _execute(prepared: "psycopg.Cursor[tuple[Any, ...]]", sql: str, params: Sequence[Any]) -> None:
    def execute(sql: str, params: Sequence[Any], many: bool, context: Any) -> None:
        with connection.wrap_database_errors:
            prepared.execute(cast(Any, sql), params, prepare=True)

    watched(execute, prepared, sql, params)


def watched(
    execute: Callable[..., Any], cursor: "psycopg.Cursor[tuple[Any, ...]]", sql: str, params: Sequence[Any]
) -> None:
    """Execute through the wrappers that whoever watches this connection has installed, as the ORM does."""
    for wrapper in reversed(connection.execute_wrappers):
        execute = partial(wrapper, execute)
    execute(sql, params, False, {"connection": connection, "cursor": cursor})


def cursor_of_plans() -> "psycopg.Cursor[tuple[Any, ...]]":
    """Return a cursor of this thread's connection on which statements can be prepared. PostgreSQL only."""
    connection.ensure_connection()
    raw = cast("psycopg.Connection[tuple[Any, ...]]", connection.connection)
    plans: _Plans | None = getattr(raw, "agentops_plans", None)
    if plans is None:
        # Django switches preparing off. Only what asks for it is prepared here, never what the ORM sends.
        raw.prepare_threshold = _NEVER
        raw.adapters.register_loader("timestamptz", _loader_of_moments(raw.adapters.get_loader(_TIMESTAMPTZ, _TEXT)))
        # Planning these again and again would cost more than running them; the ORM prepares nothing.
        with connection.wrap_database_errors:
            raw.execute("set plan_cache_mode = force_generic_plan")
        raw.agentops_plans = _Plans(time.monotonic())  # type: ignore[attr-defined]
    elif plans.are_old(time.monotonic()):
        with connection.wrap_database_errors:
            raw.execute("discard plans")
    return psycopg.Cursor(raw)


@cache
def _loader_of_moments(usual: Any) -> Any:
    """Return a loader that reads moments in UTC, as they are here, ten times as fast as the usual one; others too."""

    class Moments(usual):  # type: ignore[misc]
        def load(self, data: Any) -> datetime:
            """Read one; a page has a hundred of them."""
            text = bytes(data)
            if getattr(self, "timezone", None) is UTC and text.endswith(b"+00"):
                with contextlib.suppress(ValueError):
                    return datetime.fromisoformat(text[:-3].decode()).replace(tzinfo=UTC)
            return cast(datetime, super().load(data))

    return Moments


@dataclass(slots=True)
class _Plans:
    """How long the plans of a session, made at `since`, are used.

    What was planned for small tables is wrong for large ones, and nobody counts the rows of a young table for the
    planner. So plans are made anew as time goes by, and as often as what was done with them has doubled.
    """

    since: float
    lasting: float = _FIRST_PLANS_S
    uses: int = 0
    most_uses: int = _FIRST_PLANS_USES

    def are_old(self, now: float) -> bool:
        """Count one more use, and say whether plans have to be made anew for it: those count from now on then."""
        self.uses += 1
        if now - self.since < self.lasting and self.uses < self.most_uses:
            return False
        if self.uses >= self.most_uses:
            self.most_uses *= 2
        else:
            self.lasting = min(2 * self.lasting, _PLANS_S)
        self.since, self.uses = now, 0
        return True


def _lite(value: Any) -> Any:
    """Return a value as Django stores it in SQLite."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, list | dict):
        return json.dumps(value)
    return value


# --- what will be asked soon ------------------------------------------------------------------------------------------


Ask: TypeAlias = "tuple[Query[Any], tuple[object, ...]]"
"""A query with the values it will be asked with."""


@contextlib.contextmanager
def along(*asks: Ask) -> Iterator[None]:
    """Let queries go along with the next one that is asked inside.

    Whoever asks one of them has its rows already, once, as they were then: for reading, not around writing. One that
    nobody asks was sent in vain. On SQLite nothing is different.
    """
    outer = _soon.get()
    token = _soon.set(_Soon([*(outer.waiting if outer is not None else ()), *asks]))
    try:
        yield
    finally:
        _soon.reset(token)


class _Soon:
    """What goes along with the next query, and what came back and nobody has asked for yet."""

    def __init__(self, waiting: list[Ask]) -> None:
        self.waiting = waiting
        self._found: dict[tuple[int | None, Ask], list[tuple[Any, ...]]] = {}

    def ask(self, query: "Query[Any]", values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Return the rows of a query: those that went along before, or those of now, with what waits."""
        asked, tenant = (query, values), open_tenant_id()
        if (tenant, asked) in self._found:
            return self._found.pop((tenant, asked))
        others, self.waiting = [one for one in self.waiting if one != asked], []
        rows, *found = fetch_all([each.statement(*told) for each, told in (asked, *others)])
        self._found |= {(tenant, one): its for one, its in zip(others, found, strict=True)}
        return rows


_soon: ContextVar[_Soon | None] = ContextVar("soon", default=None)


# --- what the ORM writes ----------------------------------------------------------------------------------------------


class _Place(models.Expression):
    """Where a value goes in that is not known yet."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        """Return a placeholder and itself, to be found again among the parameters."""
        return "%s", (self,)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What a query has become. `model` is None for one of values; `converters` are by column."""

    sql: str
    params: tuple[Any, ...]
    converters: tuple[tuple[int, tuple[Sequence[Callable[..., Any]], Any]], ...]
    model: Any = None
    names: tuple[str, ...] = ()
    begin: int = 0
    end: int = 0
    related: tuple[Any, ...] = ()


class Query(Generic[R]):
    """A query of tenant rows that is asked again and again with other values.

    `build` returns it for given values; it must not look at them, only pass them to filters: not as `__in`, and not
    compared with None. `lifted` is for a query that is asked inside `user_scope` alone, where no tenant is filtered by.
    With `replan` it is compiled once and planned each time, with its values in it: for what partial indexes answer,
    which a plan for any values cannot use.
    """

    def __init__(
        self, build: "Callable[..., models.QuerySet[Any, R]]", *, lifted: bool = False, replan: bool = False
    ) -> None:
        self._build = build
        self._lifted = lifted
        self._replan = replan
        self._compiled: _Compiled | None = None

    def __call__(self, *values: object) -> list[R]:
        """Return the rows of the open tenant scope."""
        # What is kept has the tenant's filter in it, or not, as the scope was when it was compiled.
        if connection.vendor != "postgresql" or scope_is_lifted() != self._lifted:
            return list(self._build(*values))
        if self._replan:
            return self._read(_planned_anew(*self.statement(*values)))
        soon = _soon.get()
        return self._read(fetch(*self.statement(*values)) if soon is None else soon.ask(self, values))

    def as_person(self, user_id: int, *values: object) -> list[R]:
        """Return the rows that a person sees inside `user_scope`, which is open for this query alone."""
        if connection.vendor != "postgresql" or connection.connection is None:
            with user_scope(user_id):
                return self(*values)
        with scopes_disabled():
            told, taken_back = settings_around("app.user", str(user_id))
            return self._read(fetch_all([told, self.statement(*values), taken_back])[1])

    def statement(self, *values: object) -> tuple[str, list[Any]]:
        """Return the text and the parameters that these values make. PostgreSQL only, in the scope it is for."""
        known = self._compiled
        if known is None:
            known = self._compiled = _compiled(self._build(*map(_Place, range(len(values)))))
        return known.sql, [_filled(one, values) for one in known.params]

    def _read(self, found: Sequence[tuple[Any, ...]]) -> list[R]:
        return list(_read(cast(_Compiled, self._compiled), found))


def _planned_anew(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cast("list[tuple[Any, ...]]", cursor.fetchall())


def _filled(param: Any, values: Sequence[object]) -> Any:
    if isinstance(param, _Place):
        return values[param.number]
    return current_tenant_id() if isinstance(param, OpenTenantId) else param


def _compiled(rows: "models.QuerySet[Any, Any]") -> _Compiled:
    compiler = rows.query.get_compiler(using=connection.alias)
    sql, params = _with_constants(*compiler.as_sql())
    converters = compiler.get_converters([column[0] for column in compiler.select])
    known = _Compiled(sql, tuple(params), tuple(converters.items()))
    told = compiler.klass_info
    of_models = issubclass(rows._iterable_class, ModelIterable)  # noqa: SLF001
    if told is None or not of_models:
        return known
    begin, end = told["select_fields"][0], told["select_fields"][-1] + 1
    names = tuple(column[0].target.attname for column in compiler.select[begin:end])
    related = tuple(cast(Any, get_related_populators)(told, compiler.select, connection.alias))
    return replace(known, model=told["model"], names=names, begin=begin, end=end, related=related)


def _with_constants(sql: str, params: Sequence[Any]) -> tuple[str, list[Any]]:
    """Write what every call hands over alike into the statement, so that a plan for any values can count on it.

    Only then does it use an index of some rows, such as those whose status is `pending`.
    """
    texts = [_constant(one) for one in params]
    places = iter(texts)
    written = _PLACE.sub(lambda found: found[0] if found[0] == "%%" else next(places) or "%s", sql)
    return written, [one for one, text in zip(params, texts, strict=True) if text is None]


def _constant(param: Any) -> str | None:
    """Return a parameter as it is written in a statement: words and whole numbers; None for anything else."""
    match param:
        case bool() | OpenTenantId() | _Place():
            return None
        case int():
            return f"({int(param)})"
        case str() if _WORD.fullmatch(param):
            return f"'{str.__str__(param)}'"
        case _:
            return None


_PLACE: Final = re.compile("%[s%]")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def _read(known: _Compiled, found: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    for row in found:
        cells = list(row)
        for column, (converters, expression) in known.converters:
            for convert in converters:
                cells[column] = convert(cells[column], expression, connection)
        if known.model is None:
            yield tuple(cells)
            continue
        one = known.model.from_db(connection.alias, known.names, cells[known.begin : known.end])
        for populator in known.related:
            populator.populate(cells, one)
        yield one
