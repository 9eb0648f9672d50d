"""The clock that workers share: it follows the one time that counts, and believes no jump before it has lasted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from agentops import clock
from agentops.clock import Clock

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass
class Machine:
    """A machine with a clock that people set, and one that they cannot."""

    told: datetime | None = NOON
    passed: float = 1000.0
    looks: int = 0

    def look(self) -> datetime | None:
        self.looks += 1
        return self.told

    def steady(self) -> float:
        return self.passed

    def wait(self, seconds: float) -> None:
        self.passed += seconds
        if self.told is not None:
            self.told += timedelta(seconds=seconds)

    def set(self, seconds: float) -> None:
        assert self.told is not None
        self.told += timedelta(seconds=seconds)


def clock_of(machine: Machine, every_s: float = 0.0, believed_after_s: float = 0.0) -> Clock:
    return Clock(machine.look, every_s=every_s, believed_after_s=believed_after_s, steady=machine.steady)


def test_between_two_looks_it_goes_on_by_itself() -> None:
    machine = Machine()
    now = clock_of(machine, every_s=60)
    assert now() == NOON
    machine.wait(59)
    machine.set(600)
    assert now() == NOON + timedelta(seconds=59)
    assert machine.looks == 1
    machine.wait(1)
    assert now() == NOON + timedelta(seconds=660)
    assert machine.looks == 2


def test_small_corrections_are_followed_at_once() -> None:
    machine = Machine()
    now = clock_of(machine, believed_after_s=900)
    now()
    for seconds in (1.5, -1.5):
        machine.set(seconds)
        assert now() == machine.told


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_jump_that_is_taken_back_never_happened(seconds: float) -> None:
    machine = Machine()
    now = clock_of(machine, believed_after_s=900)
    now()
    machine.set(seconds)
    machine.wait(300)
    assert now() == NOON + timedelta(seconds=300)
    machine.set(-seconds)
    machine.wait(1000)
    assert now() == NOON + timedelta(seconds=1300) == machine.told


def test_a_jump_that_lasts_is_the_truth() -> None:
    machine = Machine()
    now = clock_of(machine, believed_after_s=900)
    now()
    machine.set(86_400)
    now()
    machine.wait(899)
    assert now() == NOON + timedelta(seconds=899)
    machine.wait(1)
    assert now() == machine.told


def test_a_server_that_does_not_answer_is_asked_again_and_the_time_goes_on() -> None:
    machine = Machine()
    now = clock_of(machine, every_s=60)
    now()
    machine.told = None
    machine.wait(120)
    assert now() == NOON + timedelta(seconds=120)
    machine.told = NOON + timedelta(seconds=121)
    assert now() == machine.told


@pytest.mark.django_db
def test_it_is_about_now_and_no_clock_of_this_machine_moves_it() -> None:
    before = clock.now()
    assert abs((before - timezone.now()).total_seconds()) < 60
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=10), tick=True):
        assert timedelta(0) <= clock.now() - before < timedelta(seconds=60)
