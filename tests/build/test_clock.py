"""The clock that workers share: it follows the one time that counts, and believes no jump before it has lasted."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from agentops import clock
from agentops.clock import Clock, Note

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


@pytest.mark.parametrize("there", [0.0, 30.0])
def test_however_long_a_look_takes_the_time_is_never_ahead(there: float) -> None:
    machine = Machine()

    def slow() -> datetime | None:
        machine.wait(there)
        found = machine.look()
        machine.wait(0.5)
        return found

    now = Clock(slow, every_s=60, steady=machine.steady)
    for _ in range(3):
        assert machine.told is not None
        told = now()
        assert machine.told - timedelta(seconds=0.5) == told
        machine.wait(60)


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


def next_process(machine: Machine, path: Path, boot: str = "one") -> Clock:
    """Return the clock of a process that starts now and goes on from the note of the one before."""
    now = clock_of(machine, believed_after_s=900)
    now.take_note(Note(path, boot))
    return now


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_process_that_starts_while_the_clock_is_wrong_goes_on_from_the_one_before(
    seconds: float, tmp_path: Path
) -> None:
    machine = Machine()
    next_process(machine, tmp_path / "note")()
    machine.wait(30)
    machine.set(seconds)
    assert next_process(machine, tmp_path / "note")() == NOON + timedelta(seconds=30)
    machine.wait(30)
    machine.set(-seconds)
    assert next_process(machine, tmp_path / "note")() == NOON + timedelta(seconds=60) == machine.told


def test_a_jump_that_lasts_is_the_truth_however_often_the_process_starts(tmp_path: Path) -> None:
    machine = Machine()
    next_process(machine, tmp_path / "note")()
    machine.set(86_400)
    for number in range(9):
        assert next_process(machine, tmp_path / "note")() == NOON + timedelta(seconds=100 * number)
        machine.wait(100)
    truth = NOON + timedelta(days=1, seconds=900)
    assert next_process(machine, tmp_path / "note")() == truth == machine.told
    machine.set(-600)
    assert next_process(machine, tmp_path / "note")() == truth


def test_two_jumps_are_not_one_that_lasts() -> None:
    machine = Machine()
    now = clock_of(machine, believed_after_s=900)
    now()
    machine.set(600)
    now()
    machine.wait(600)
    machine.set(-1200)
    now()
    machine.wait(600)
    assert now() == NOON + timedelta(seconds=1200)
    machine.wait(301)
    assert now() == machine.told


def test_after_another_start_of_the_machine_time_has_not_gone_back(tmp_path: Path) -> None:
    machine = Machine()
    with time_machine.travel(NOON, tick=False):
        next_process(machine, tmp_path / "note")()
    machine.passed = 5.0
    machine.told = NOON - timedelta(days=400)
    with time_machine.travel(machine.told, tick=False):
        assert next_process(machine, tmp_path / "note", boot="two")() == NOON
    machine.told = NOON + timedelta(days=400)
    with time_machine.travel(machine.told, tick=False):
        assert next_process(machine, tmp_path / "other", boot="two")() == machine.told


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"moment": 1}', '{"boot": "one", "moment": "noon", "at": "x"}'])
def test_a_note_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text(text)
    machine = Machine()
    assert next_process(machine, tmp_path / "note")() == NOON
    machine.set(600)
    assert next_process(machine, tmp_path / "note")() == NOON


def test_where_nothing_can_be_noted_the_clock_goes_all_the_same(tmp_path: Path) -> None:
    machine = Machine()
    now = next_process(machine, tmp_path / "no such directory" / "note")
    machine.wait(100)
    assert now() == machine.told


@pytest.mark.django_db
def test_asking_the_server_is_no_statement_of_whoever_counts_theirs(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        clock._ask_server() if connection.vendor == "postgresql" else clock.now()


@pytest.mark.django_db(transaction=True)
def test_a_server_that_cannot_be_asked_now_changes_nothing() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("there is no server")
    with transaction.atomic():
        with pytest.raises(DatabaseError), connection.cursor() as cursor:
            cursor.execute("select 1/0")
        assert clock._ask_server() is None
        assert clock.now() is not None
        transaction.set_rollback(True)
    assert clock._ask_server() is not None


@pytest.mark.django_db
def test_it_is_about_now_and_no_clock_of_this_machine_moves_it() -> None:
    before = clock.now()
    assert abs((before - timezone.now()).total_seconds()) < 60
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=10), tick=True):
        assert timedelta(0) <= clock.now() - before < timedelta(seconds=60)
