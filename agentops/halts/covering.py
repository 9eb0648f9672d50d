"""Whether a stop of the line covers something, asked before every plan and every call.

`fits` is pure. `covering` answers from a snapshot per process and tenant that is at most half a second old: reads and
model calls stop within that. What may have an effect asks `hold_line` in the transaction that consumes its grant: that
holds off whoever wants to stop the line until the transaction ends, so that after the commit of a stop no grant is
consumed under it at all.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from agentops.halts.models import Halt, Scope
from agentops.tenancy.prepared import Query
from agentops.tenancy.scope import current_tenant_id

FRESH_S: Final = 0.5
"""How old the snapshot may be: a quarter of the time within which a stop must be effective."""

_LINE: Final = 0x68616C74 << 32
"""The upper half of the advisory lock's key ("halt"); the lower half is the tenant."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop as those see it who must obey: which, of what, since when, why."""

    id: int
    scope: str
    target: str
    label: str
    reason: str
    started_at: datetime
    lifted_at: datetime | None = None

    @property
    def holds(self) -> bool:
        """Whether it still stops anything."""
        return self.lifted_at is None


@dataclass(frozen=True, slots=True)
class Work:
    """What may be covered. `tool` is empty for work that is not about one tool; `agent` as in `Run.agent`."""

    run_id: UUID
    task_type_id: int
    agent: str = ""
    tool: str = ""


def fits(stop: Stop, work: Work) -> bool:
    """Say whether a stop covers a piece of work. A stop of a tool covers only what is about that tool."""
    match stop.scope:
        case Scope.TENANT:
            return True
        case Scope.AGENT:
            return work.agent == stop.target
        case Scope.TASK_TYPE:
            return str(work.task_type_id) == stop.target
        case Scope.TOOL:
            return work.tool == stop.target
        case Scope.RUN:
            return str(work.run_id) == stop.target
    # A scope this program does not know stops everything: every default is no.
    return True


def first(stops: Iterable[Stop], work: Work) -> Stop | None:
    """Return the oldest stop that holds and covers a piece of work."""
    return next((stop for stop in stops if stop.holds and fits(stop, work)), None)


# --- asking the database --------------------------------------------------------------------------------------------

_COLUMNS: Final = ("id", "scope", "target", "label", "reason", "started_at", "lifted_at")

# Every call and every effect asks these.
_OPEN: Final = Query(lambda: _unsettled().filter(lifted_at__isnull=True).values_list(*_COLUMNS))
_UNSETTLED: Final = Query(lambda: _unsettled().values_list(*_COLUMNS))


def _unsettled() -> QuerySet[Halt]:
    return Halt.objects.filter(settled_at__isnull=True).order_by("pk")


def open_stops() -> tuple[Stop, ...]:
    """Return the stops of the open tenant that hold now, oldest first. One query over a partial index."""
    return tuple(Stop(*row) for row in _OPEN())


def unsettled_stops() -> tuple[Stop, ...]:
    """Return those that hold, and those that were lifted and whose deadlines are still being moved, oldest first."""
    return tuple(Stop(*row) for row in _UNSETTLED())


def hold_line() -> tuple[Stop, ...]:
    """Return the stops that hold or are not settled, and let no other one begin before the transaction ends.

    Must run inside `atomic`, before the grant is consumed. On PostgreSQL it takes the shared side of the tenant's
    line; on SQLite a transaction that writes has the database to itself anyway.
    """
    _lock("pg_advisory_xact_lock_shared")
    return unsettled_stops()


def close_line() -> None:
    """Wait until nobody is between `hold_line` and its commit, and keep everybody out until the own commit.

    Must run inside `atomic`.
    """
    _lock("pg_advisory_xact_lock")


def shared_line() -> tuple[str, tuple[int]]:
    """Return the statement, with its parameter, that takes the shared side of the tenant's line on PostgreSQL.

    What reads the stops in the same transaction, by a statement after this one, knows all that have begun.
    """
    return "select pg_advisory_xact_lock_shared(%s)", (_key(),)


def _key() -> int:
    return _LINE | (current_tenant_id() & 0xFFFFFFFF)


def _lock(function: str) -> None:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("The line is held until the transaction ends, so there is one.")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"select {function}(%s)", [_key()])


# --- the snapshot ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    stops: tuple[Stop, ...]


_seen: dict[int, _Seen] = {}
_guard = threading.Lock()


def covering(work: Work) -> Stop | None:
    """Return the oldest stop that covers a piece of work, as of at most half a second ago."""
    return first(recent_stops(), work)


def recent_stops() -> tuple[Stop, ...]:
    """Return the stops of the open tenant that held at most half a second ago; no query while that is known."""
    tenant_id = current_tenant_id()
    seen = _seen.get(tenant_id)
    if seen is None or time.monotonic() - seen.at >= FRESH_S:
        asked_at = time.monotonic()
        seen = _Seen(asked_at, open_stops())
        with _guard:
            newest = _seen.get(tenant_id)
            if newest is None or newest.at <= asked_at:
                _seen[tenant_id] = seen
    return seen.stops


def forget(tenant_id: int | None = None) -> None:
    """Ask again the next time: after a change of this process, or for every tenant."""
    with _guard:
        if tenant_id is None:
            _seen.clear()
        else:
            _seen.pop(tenant_id, None)
