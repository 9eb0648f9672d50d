"""One worker at a time: claims race on PostgreSQL, expired leases are taken over, late writers are fenced off."""

import random
from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from agentops.engine.events import RunClaimed, Stamped
from agentops.engine.folding import fold
from agentops.engine.transitions import RunState
from agentops.runs import lease
from agentops.runs.commit import RUN_COLUMNS, Head, Write, commit
from agentops.runs.models import Run
from agentops.runs.recording import LeaseLost, load_many, projection, state_of
from agentops.tenancy.access import WORKER
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.worker.backoff import CAP_S, backoff
from agentops.worker.driver import Crew, Driver
from agentops.worker.sweeper import RING_AGAIN, sweep_tenant, take_over
from tests.approvals.threads import at_once
from tests.shop import Clock, drive, open_shop, receive, start
from tools.backoffice.models import Ticket


@pytest.fixture
def run(scoped: Tenant) -> Run:
    open_shop(scoped)
    return start("support-email", {"message_id": "M-0001"})


def written(claimed: lease.Claimed) -> Head | Exception:
    """Write one event as the worker that claimed the run would."""
    run, held, _ = claimed
    stream_id, last, events = load_many([run.pk])[run.pk]
    before = fold(events)
    late = Stamped(before.seq + 1, timezone.now(), RunClaimed(held.owner, 1))
    after = fold([late], before)
    columns = {name: getattr(run, name) for name in RUN_COLUMNS} | projection(before, after, [late])
    head = Head(stream_id, before.seq, last)
    [result] = commit([Write(held, head, [late], after, WORKER, columns)])
    return result


def test_a_second_worker_gets_nothing_while_the_lease_holds(run: Run) -> None:
    now = timezone.now()
    assert lease.claim(run.id, owner="w1", now=now) is not None
    assert lease.claim(run.id, owner="w2", now=now + timedelta(seconds=1)) is None
    taken = lease.claim(run.id, owner="w2", now=now + lease.LEASE + timedelta(seconds=1))
    assert taken is not None
    assert taken[1].fence == 2


def test_a_worker_whose_lease_was_taken_writes_nothing(run: Run) -> None:
    now = timezone.now()
    first = lease.claim(run.id, owner="w1", now=now)
    second = lease.claim(run.id, owner="w1", now=now + lease.LEASE + timedelta(seconds=1))
    assert first is not None
    assert second is not None
    before = state_of(run.id)
    assert isinstance(written(first), LeaseLost)
    assert state_of(run.id) == before
    assert isinstance(written(second), Head)
    assert state_of(run.id).seq == before.seq + 1


def test_a_lease_is_renewed_by_the_worker_that_holds_it_and_by_no_earlier_one_of_the_same_name(run: Run) -> None:
    now = timezone.now()
    first = lease.claim(run.id, owner="w1", now=now)
    assert first is not None
    assert lease.renew([first.lease], now + lease.LEASE) == {run.id}
    later = now + lease.LEASE + timedelta(seconds=1)
    second = lease.claim(run.id, owner="w1", now=later)
    assert second is not None
    assert lease.renew([first.lease], later + lease.LEASE * 9) == set()
    assert Run.objects.get(pk=run.id).lease_until == second.lease.until
    assert lease.renew([second.lease], later + lease.LEASE * 2) == {run.id}
    assert Run.objects.get(pk=run.id).lease_until == later + lease.LEASE * 2
    assert lease.renew([], later) == set()


def test_a_crew_does_not_believe_that_it_has_renewed_what_another_has_taken(run: Run) -> None:
    clock = Clock()
    first = lease.claim(run.id, owner="w1", now=clock())
    assert first is not None
    crew = Crew(Driver("w1", now=clock))
    crew.take([first])
    clock.forward(seconds=lease.LEASE.total_seconds() + 1)
    assert lease.claim(run.id, owner="w1", now=clock()) is not None
    crew.renew()
    [active] = crew.active
    assert active.session.lease.until == first.lease.until, "no effect may start on the strength of it"


def test_a_process_that_is_alone_takes_up_at_once_what_a_killed_one_held(run: Run, acme: Tenant) -> None:
    now = timezone.now()
    killed = lease.claim(run.id, owner="w1", now=now)
    assert killed is not None
    assert sweep_tenant(acme, now + RING_AGAIN * 2) == 0
    assert take_over() == 1
    assert sweep_tenant(acme, now) == 1
    assert lease.claim(run.id, owner="w2", now=now) is not None
    assert isinstance(written(killed), LeaseLost)


def test_a_run_is_not_due_before_its_time(run: Run) -> None:
    now = timezone.now()
    Run.objects.filter(pk=run.id).update(not_before=now + timedelta(minutes=1))
    assert lease.claim(run.id, owner="w1", now=now) is None
    assert lease.claim(run.id, owner="w1", now=now + timedelta(minutes=2)) is not None


def test_the_row_says_whether_anybody_may_take_it_up(run: Run) -> None:
    said: dict[str, bool] = {}
    for state in RunState:
        ended = timezone.now() if state.terminal else None
        Run.objects.filter(pk=run.pk).update(state=state.value, ended_at=ended)
        said[state.value] = Run.objects.values_list("claimable", flat=True).get(pk=run.pk)
    assert said == {state.value: state.claimable for state in RunState}
    Run.objects.filter(pk=run.pk).update(state="queued", ended_at=None, paused_at=timezone.now())
    assert not Run.objects.get(pk=run.pk).claimable


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL writes a changed row anew")
def test_no_index_hears_of_a_run_that_goes_on(run: Run) -> None:
    moved = "select pg_stat_get_xact_tuples_updated(t) - pg_stat_get_xact_tuples_hot_updated(t) from to_regclass(%s) t"
    recorded = {"state": "queued", "phase": "plan", "steps_used": 0}
    changes = {"state": "running", "phase": "verify", "lease_owner": "w1", "fence": 2, "steps_used": 1, "attempts": 0}
    for after in (changes, {"state": "waiting_retry"}, recorded):
        with connection.cursor() as cursor:
            cursor.execute(moved, ["runs_run"])
            [was] = cursor.fetchone() or [None]
            assert Run.objects.filter(pk=run.pk, claimable=True).update(**after)
            cursor.execute(moved, ["runs_run"])
            assert cursor.fetchone() == (was,), after


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one writer in at a time")
def test_of_many_workers_that_want_a_run_one_gets_it(acme: Tenant) -> None:
    with tenant_scope(acme):
        open_shop(acme)
        runs = [start("support-email", {"message_id": "M-0001"}).id for _ in range(20)]
    now = timezone.now()

    def grab(worker: int) -> list[str]:
        with tenant_scope(acme):
            return [str(r) for r in runs if lease.claim(r, owner=f"w{worker}", now=now) is not None]

    won = Counter(r for found in at_once([partial(grab, i) for i in range(6)]) for r in found)
    assert won == Counter({str(r): 1 for r in runs})


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one writer in at a time")
def test_a_worker_that_comes_back_and_one_of_its_name_that_takes_over_are_told_apart(acme: Tenant) -> None:
    with tenant_scope(acme):
        open_shop(acme)
        runs = [start("support-email", {"message_id": "M-0001"}).id for _ in range(20)]
        now = timezone.now()
        first = [claimed for r in runs if (claimed := lease.claim(r, owner="w1", now=now)) is not None]
    later = now + lease.LEASE + timedelta(seconds=1)
    wrong = later + lease.LEASE * 9

    def come_back() -> set[UUID]:
        with tenant_scope(acme):
            return {r for one in first for r in lease.renew([one.lease], wrong)}

    def take() -> set[UUID]:
        with tenant_scope(acme):
            taken = (lease.claim(r, owner="w1", now=later) for r in reversed(runs))
            return {one.run.id for one in taken if one is not None}

    renewed, taken = at_once([come_back, take])
    assert renewed | taken == set(runs)
    assert not renewed & taken
    with tenant_scope(acme):
        untils = dict(Run.objects.values_list("pk", "lease_until"))
    assert {r for r in runs if untils[r] == wrong} == renewed


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one writer in at a time")
def test_two_workers_driving_the_same_runs_do_every_step_once(acme: Tenant) -> None:
    with tenant_scope(acme):
        open_shop(acme)
        mail = "From: stranger@example.org\nSubject: Where are you?\n\nWhat are your opening hours?\n"
        receive(mail, "M-0002")
        runs = [start("support-email", {"message_id": "M-0002"}).id for _ in range(8)]

    def work(worker: int) -> None:
        with tenant_scope(acme):
            for r in runs:
                drive(r, owner=f"w{worker}")

    at_once([partial(work, i) for i in range(3)])
    with tenant_scope(acme):
        assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
        assert Ticket.objects.count() == 8


def test_the_sweeper_rings_for_what_nobody_works_on_and_not_twice_in_a_row(
    run: Run, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentops.celery import app

    rings: list[str] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, **options: rings.append(args[1]))
    now = timezone.now()
    assert sweep_tenant(acme, now) == 0, "it was rung for when it was submitted"
    assert sweep_tenant(acme, now + RING_AGAIN * 2) == 1
    assert sweep_tenant(acme, now + RING_AGAIN * 2) == 0
    assert rings == [str(run.id)]


def test_a_sweep_expires_what_nobody_answered_and_the_run_goes_on(run: Run, acme: Tenant) -> None:
    clock = Clock()
    drive(run.id, clock)
    clock.forward(days=2)
    sweep_tenant(acme, clock())
    ended = drive(run.id, clock)
    assert ended.state == "succeeded"
    assert "Not carried out" in ended.answer


def test_a_broker_that_is_away_loses_nothing(run: Run, acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentops.celery import app

    def refuse(*args: object, **options: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(app, "send_task", refuse)
    assert sweep_tenant(acme, timezone.now() + RING_AGAIN * 2) == 1


def test_backoff_grows_stays_below_its_cap_and_honours_retry_after() -> None:
    rng = random.Random(7)
    for attempt in range(30):
        assert 0 <= backoff(attempt, None, rng).total_seconds() <= min(CAP_S, 2.0 * 2**attempt)
    assert backoff(1, 42.0, rng) == timedelta(seconds=42)
    assert backoff(1, 9999.0, rng) == timedelta(seconds=CAP_S)
