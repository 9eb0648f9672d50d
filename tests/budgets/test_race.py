"""Sixteen spenders at once, some of whom die in between: a hard limit is never passed, and every spend counts once.

On PostgreSQL they really run beside each other; SQLite takes one writer at a time, and the books have to be right too.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import F

from agentops.audit.services import load
from agentops.budgets import services
from agentops.budgets.measures import Measure
from agentops.budgets.models import Account, Budget, Reservation, ReservationState
from agentops.budgets.services import Refused, Reserved, reserve, settle
from agentops.runs.models import Run, TaskType
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tests.budgets.lab import NOW, books, budget, hold, run_row

pytestmark = pytest.mark.django_db(transaction=True)

SPENDERS = 16
ROUNDS = 25 if connection.vendor == "postgresql" else 8
MODEL, COST = Measure.TOKENS, Measure.COST


@dataclass
class World:
    tenant: Tenant
    kinds: list[TaskType]
    runs: list[Run]
    budgets: list[Budget]


@pytest.fixture
def world(acme: Tenant) -> Iterator[World]:
    with tenant_scope(acme):
        kinds = [TaskType.objects.create(slug=f"k{i}", name=f"K{i}", input_schema={}) for i in range(2)]
        made = [
            budget(MODEL, 4000),
            budget(MODEL, 2500, task_type=kinds[0], period="month"),
            budget(COST, 3000, period="total"),
            budget(COST, 1800, task_type=kinds[1], period="week", soft=900),
        ]
        yield World(acme, kinds, [run_row(kinds[i % 2]) for i in range(SPENDERS)], made)


@dataclass
class Spender:
    """One worker: reserves upper bounds, spends at most as much, and sometimes dies before it says so."""

    number: int
    world: World
    dies: float
    spent: dict[int, dict[Measure, int]] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    refused: int = 0

    def __call__(self) -> None:
        dice = random.Random(self.number)
        run = self.world.runs[self.number]
        with tenant_scope(self.world.tenant):
            for turn in range(ROUNDS):
                bounds = {MODEL: dice.randint(0, 120), COST: dice.randint(1, 90)}
                held = reserve(
                    run_id=run.pk,
                    task_type_id=run.task_type_id,
                    kind="call",
                    purpose=f"turn:{turn}",
                    amounts=bounds,
                    now=NOW,
                )
                if isinstance(held, Refused):
                    self.refused += 1
                    continue
                assert held is not None
                if dice.random() < self.dies:
                    self.left.append(held.id)
                    continue
                actual = {measure: dice.randint(0, most) for measure, most in bounds.items()}
                assert settle(held.id, actual, now=NOW)
                self.spent[held.id] = actual


@dataclass
class Auditor:
    """Looks at the books all the time while others spend."""

    tenant: Tenant
    stop: threading.Event = field(default_factory=threading.Event)
    looks: int = 0
    worst: int = -(10**9)

    def __call__(self) -> None:
        with tenant_scope(self.tenant):
            while not self.stop.is_set():
                over = Account.objects.values_list(F("reserved") + F("spent") - F("budget__hard"), flat=True)
                self.worst = max([self.worst, *over])
                self.looks += 1


def sums_of(world: World, made: Budget, spenders: list[Spender]) -> tuple[int, int]:
    """Return what is set aside by the reservations that are open, and what the spenders themselves say they spent."""
    found = Account.objects.get(budget=made)
    measure = Measure(made.measure)
    open_rows = Reservation.objects.filter(state=ReservationState.OPEN).values_list("lines", flat=True)
    reserved = sum(lines[str(found.pk)]["reserved"] for lines in open_rows if str(found.pk) in lines)
    counts = [s for s in spenders if made.task_type_id in (None, world.runs[s.number].task_type_id)]
    return reserved, sum(actual[measure] for s in counts for actual in s.spent.values())


def test_sixteen_spenders_never_pass_a_hard_limit_and_every_spend_counts_once(world: World) -> None:
    spenders = [Spender(number, world, dies=0.15) for number in range(SPENDERS)]
    auditor = Auditor(world.tenant)
    watching = threading.Thread(target=_with_own_connection(auditor))
    watching.start()
    try:
        at_once(spenders)
    finally:
        auditor.stop.set()
        watching.join(30)
    assert auditor.looks > 0
    assert auditor.worst <= 0, "at one moment more was spent and set aside than the hard limit allows"
    assert sum(s.refused for s in spenders) > 0, "nobody met a limit: the test shows nothing"
    assert any(s.left for s in spenders)

    with tenant_scope(world.tenant):
        for made in world.budgets:
            assert books(made) == sums_of(world, made, spenders)
            assert sum(books(made)) <= made.hard
        exhausted = [e for e in load("tenant") if e.type == "budget.exhausted"]
        assert len({e.subject for e in exhausted}) == len(exhausted), "each limit is said once"

        # The dead are found: what they may have spent counts in full, at most what was in flight and set aside.
        for spender in spenders:
            for one in spender.left:
                assert settle(one, {}, now=NOW, assumed=True)
        for made in world.budgets:
            reserved, spent = books(made)
            assert reserved == 0
            assert spent <= made.hard
        assert not Reservation.objects.filter(state=ReservationState.OPEN).exists()


def test_one_purpose_that_sixteen_ask_for_is_one_reservation(world: World) -> None:
    def ask() -> object:
        with tenant_scope(world.tenant):
            return hold(world.runs[0], "call:1.refund.0#1", tokens=100, cost_micros=10)

    answers = at_once([ask] * SPENDERS)
    assert len(set(answers)) == 1
    assert isinstance(answers[0], Reserved)
    with tenant_scope(world.tenant):
        assert books(world.budgets[0]) == (100, 0)
        assert Reservation.objects.count() == 1


def test_the_last_amount_goes_to_exactly_one(world: World) -> None:
    with tenant_scope(world.tenant):
        Budget.objects.filter(pk=world.budgets[0].pk).update(hard=100)

    def ask(run: Run) -> object:
        with tenant_scope(world.tenant):
            return hold(run, "only", tokens=60)

    answers = at_once([partial(ask, run) for run in world.runs])
    assert sum(isinstance(answer, Reserved) for answer in answers) == 1
    assert sum(isinstance(answer, Refused) for answer in answers) == SPENDERS - 1
    with tenant_scope(world.tenant):
        assert books(world.budgets[0]) == (60, 0)


@pytest.mark.parametrize(
    "ends", [("settle", "settle"), ("settle", "release"), ("release", "assume"), ("assume", "settle")]
)
def test_two_who_end_one_reservation(world: World, ends: tuple[str, str]) -> None:
    amounts = {Measure.TOKENS: 30, Measure.COST: 0}

    def end(reservation: int, how: str) -> bool:
        with tenant_scope(world.tenant):
            if how == "release":
                return services.release(reservation, now=NOW)
            return settle(reservation, {} if how == "assume" else amounts, now=NOW, assumed=how == "assume")

    for number in range(6):
        with tenant_scope(world.tenant):
            before = books_or_nothing(world.budgets[0])
            got = hold(world.runs[0], f"{ends}:{number}", tokens=50)
            assert isinstance(got, Reserved)
        at_once([partial(end, got.id, how) for how in ends])
        with tenant_scope(world.tenant):
            reserved, spent = books(world.budgets[0])
            assert reserved == 0
            fair = {30} if "settle" in ends else {0, 50}
            assert spent - before[1] in fair, "what really was spent counts, once, whoever was first"


def books_or_nothing(made: Budget) -> tuple[int, int]:
    return books(made) if Account.objects.filter(budget=made).exists() else (0, 0)


def test_spenders_of_different_budgets_do_not_lock_each_other_out(world: World) -> None:
    """Accounts and reservations in every order they can meet: a deadlock would be an error of the database."""

    def work(number: int) -> int:
        done = 0
        with tenant_scope(world.tenant):
            for turn in range(6):
                run = world.runs[number]
                got = hold(run, f"t:{turn}", tokens=1, cost_micros=1)
                if isinstance(got, Reserved):
                    done += services.release(got.id, now=NOW)
                    again = hold(run, f"t:{turn}", tokens=1, cost_micros=1)
                    if isinstance(again, Reserved):
                        done += settle(again.id, {Measure.TOKENS: 1, Measure.COST: 1}, now=NOW)
        return done

    assert sum(at_once([partial(work, number) for number in range(SPENDERS)])) > 0
    with tenant_scope(world.tenant):
        assert all(books(made)[0] == 0 for made in world.budgets)


def _with_own_connection(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    return run


def test_a_limit_that_is_lowered_while_others_spend_holds_for_everybody_after(world: World) -> None:
    lowered = threading.Event()
    late: list[UUID] = []

    def lower() -> None:
        with tenant_scope(world.tenant):
            Budget.objects.filter(pk=world.budgets[0].pk).update(hard=1)
        lowered.set()

    def spend(number: int) -> None:
        with tenant_scope(world.tenant):
            for turn in range(ROUNDS):
                was_lowered = lowered.is_set()
                got = hold(world.runs[number], f"t:{turn}", tokens=2)
                if was_lowered and isinstance(got, Reserved):
                    late.append(world.runs[number].pk)

    calls: Sequence[Callable[[], None]] = [lower, *(partial(spend, number) for number in range(SPENDERS - 1))]
    at_once(calls)
    assert late == []
