"""What a stop covers, and how soon a process knows of it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from agentops.halts import covering
from agentops.halts.covering import FRESH_S, Stop, Work, first, fits
from agentops.halts.models import Halt, Scope
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import NoTenantScope, tenant_scope

RUN, OTHER = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


def stop(scope: str, target: str = "", *, lifted: datetime | None = None, number: int = 1) -> Stop:
    return Stop(number, scope, target, "label", "why", NOW, lifted)


@pytest.mark.parametrize(
    ("scope", "target", "covered", "free"),
    [
        (Scope.TENANT, "", Work(RUN, 3), None),
        (Scope.AGENT, "token:7", Work(RUN, 3, "token:7"), Work(RUN, 3, "user:7")),
        (Scope.TASK_TYPE, "3", Work(RUN, 3), Work(RUN, 33)),
        (Scope.TOOL, "mail.send", Work(RUN, 3, tool="mail.send"), Work(RUN, 3)),
        (Scope.TOOL, "mail.send", Work(RUN, 3, tool="mail.send"), Work(RUN, 3, tool="mail.send_all")),
        (Scope.RUN, str(RUN), Work(RUN, 3), Work(OTHER, 3)),
    ],
)
def test_a_stop_covers_what_it_names_and_nothing_else(
    scope: str, target: str, covered: Work, free: Work | None
) -> None:
    assert fits(stop(scope, target), covered)
    assert free is None or not fits(stop(scope, target), free)


def test_a_scope_nobody_knows_stops_everything() -> None:
    assert fits(stop("planet", "earth"), Work(RUN, 3))


def test_the_oldest_stop_that_holds_is_named() -> None:
    stops = [
        stop("tool", "mail.send", number=1),
        stop("tenant", lifted=NOW, number=2),
        stop("task_type", "3", number=3),
        stop("tenant", number=4),
    ]
    found = first(stops, Work(RUN, 3))
    assert found is not None
    assert found.id == 3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Return the monotonic time in a list, for the test to move."""
    now = [100.0]
    monkeypatch.setattr("agentops.halts.covering.time.monotonic", lambda: now[0])
    yield now
    covering.forget()


def begin(user: User, **changes: object) -> Halt:
    values: dict[str, object] = {"scope": "tenant", "label": "all", "reason": "x", "started_at": timezone.now()}
    return Halt.objects.create(started_by=user, **(values | changes))


def test_a_process_knows_of_a_stop_within_half_a_second_and_asks_no_more_often(
    scoped: Tenant, bob: User, clock: list[float]
) -> None:
    assert covering.covering(Work(RUN, 3)) is None
    begin(bob)
    asked: list[str] = []

    def count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(count):
        clock[0] += FRESH_S / 2
        assert covering.covering(Work(RUN, 3)) is None, "still the answer of before"
        assert not asked
        clock[0] += FRESH_S
        assert covering.covering(Work(RUN, 3)) is not None
        assert covering.covering(Work(OTHER, 4)) is not None
    assert len(asked) == 1


def test_what_one_tenant_stops_another_does_not_notice(acme: Tenant, globex: Tenant, bob: User) -> None:
    with tenant_scope(acme):
        begin(bob)
        assert covering.covering(Work(RUN, 3)) is not None
    with tenant_scope(globex):
        assert covering.covering(Work(RUN, 3)) is None


def test_a_change_of_the_own_process_is_known_at_once(scoped: Tenant, bob: User) -> None:
    assert covering.recent_stops() == ()
    begin(bob)
    covering.forget(scoped.pk)
    assert len(covering.recent_stops()) == 1


def test_without_a_tenant_there_is_no_answer() -> None:
    with pytest.raises(NoTenantScope):
        covering.covering(Work(RUN, 3))


@pytest.mark.django_db(transaction=True)
def test_the_line_is_held_for_the_length_of_a_transaction_and_not_without_one(scoped: Tenant, bob: User) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        covering.hold_line()
    begin(bob, lifted_at=timezone.now(), lifted_by=bob, lift_reason="over")
    with transaction.atomic():
        (unsettled,) = covering.hold_line()
        assert not unsettled.holds
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("select mode from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()")
                assert cursor.fetchall() == [("ShareLock",)]
