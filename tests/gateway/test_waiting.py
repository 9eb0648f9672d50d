"""Waiting for a run: growing pauses, a deadline, and a bounded number of seats."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest
from django.db import connection

from agentops.gateway.waiting import FIRST_PAUSE_S, LONGEST_PAUSE_S, Seats, wait_until_ended
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import open_tenant_id, tenant_scope
from tests.gateway.conftest import JOB, Program
from tests.shop import drive


@dataclass
class Time:
    """A clock that only sleeping moves; the run is driven to its end in the pause `drive_in`."""

    tenant: Tenant
    run_id: UUID
    drive_in: int = -1
    now: float = 100.0
    pauses: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert open_tenant_id() is None
        self.now += seconds
        self.pauses.append(seconds)
        if len(self.pauses) == self.drive_in:
            with tenant_scope(self.tenant):
                drive(self.run_id)


@pytest.fixture
def run_id(agent: Program) -> UUID:
    return UUID(agent.submit(JOB).json()["run_id"])


def test_a_run_is_seen_to_end(shop: Tenant, run_id: UUID) -> None:
    time = Time(shop, run_id, drive_in=3)
    assert wait_until_ended(shop, run_id, 30, sleep=time.sleep, clock=time.clock)
    assert len(time.pauses) == 3


def test_pauses_grow_to_a_second_and_never_pass_the_deadline(shop: Tenant, run_id: UUID) -> None:
    time = Time(shop, run_id)
    assert not wait_until_ended(shop, run_id, 10, sleep=time.sleep, clock=time.clock)
    assert time.now == pytest.approx(110)
    assert time.pauses[0] == FIRST_PAUSE_S
    assert time.pauses[:-1] == sorted(time.pauses[:-1])
    assert max(time.pauses) == LONGEST_PAUSE_S


@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_held_in_a_pause(shop: Tenant, run_id: UUID) -> None:
    held = []

    def look(seconds: float) -> None:
        held.append(connection.connection)

    ticks = iter([0.0, 0.5, 2.0])
    assert not wait_until_ended(shop, run_id, 1, sleep=look, clock=lambda: next(ticks))
    assert held == [None]


def test_seats_are_given_up_to_the_limit_and_come_back() -> None:
    seats = Seats(lambda: 2)
    with seats.seat() as first, seats.seat() as second, seats.seat() as third:
        assert (first, second, third) == (True, True, False)
    with seats.seat() as again:
        assert again


def test_a_seat_comes_back_after_an_error() -> None:
    seats = Seats(lambda: 1)
    with pytest.raises(ZeroDivisionError), seats.seat():
        _ = 1 / 0
    with seats.seat() as again:
        assert again
