"""The rollups hold what the record says, however it came in and whatever happened to whoever read it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from agentops.audit.models import Event
from agentops.audit.services import record_in_tenant_stream
from agentops.engine.events import RunSubmitted, Stamped
from agentops.metrics import aside, rollup, watch
from agentops.metrics.cells import CellKey, Grain, cells_of
from agentops.metrics.dashboard import changes
from agentops.metrics.definitions import VERSION
from agentops.metrics.models import Aside, Change, Reader, Rollup, RunFact
from agentops.metrics.rollup import NewerDefinitions, roll_up, set_aside, start_again, sweep
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSONObject
from tests.approvals.threads import at_once
from tests.audit.conftest import unguarded
from tests.metrics.histories import history
from tests.metrics.oracle import by_day
from tests.metrics.recorded import put
from tests.metrics.test_units import counted

LATER = datetime(2036, 1, 1, tzinfo=UTC)


class Died(Exception):
    """Somebody pulled the plug."""


def stored() -> dict[CellKey, dict[str, int]]:
    return {CellKey(row.grain, row.start, row.task_type, row.kind, row.key): row.counts for row in Rollup.objects.all()}


def until_nothing_is_new(now: datetime = LATER) -> None:
    for _ in range(100):
        if not roll_up(now):
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_order_and_whoever_died_the_cells_are_right(
    scoped: Tenant, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(seed)
    runs: dict[UUID, list[Stamped]] = {uuid7(): history(rng.randrange(10**6)) for _ in range(14)}
    left = {run_id: list(events) for run_id, events in runs.items()}
    while left:
        run_id = rng.choice(list(left))
        piece = rng.randint(1, len(left[run_id]))
        put(run_id, left[run_id][:piece])
        left[run_id] = left[run_id][piece:]
        if not left[run_id]:
            del left[run_id]
        chance = rng.random()
        if chance < 0.3:
            roll_up(LATER, runs=rng.choice([1, 2, 50]))
        elif chance < 0.5:
            die(rng.choice(["_write_facts", "_write_changes", "_write_cells"]), monkeypatch)
        elif chance < 0.6:
            # A reader that does not believe yet that what it saw is all there is.
            roll_up(datetime(2020, 1, 1, tzinfo=UTC))
    until_nothing_is_new()
    expected = by_day(list(runs.values()))
    assert counted(stored()) == expected
    before = stored()
    until_nothing_is_new()
    start_again()
    assert not Rollup.objects.exists()
    until_nothing_is_new()
    assert {k: v for k, v in stored().items() if v} == {k: v for k, v in before.items() if v}


@pytest.mark.parametrize("seed", range(6))
def test_what_was_removed_stays_when_everything_is_counted_anew(scoped: Tenant, seed: int) -> None:
    rng = Random(seed)
    runs: dict[UUID, list[Stamped]] = {uuid7(): history(rng.randrange(10**6)) for _ in range(8)}
    for run_id, events in runs.items():
        put(run_id, events)
        if rng.random() < 0.6:
            # Removed may be what was counted, what was counted in part, or what nobody has looked at yet.
            roll_up(LATER, runs=rng.choice([1, 50]))
        if rng.random() < 0.3:
            gone = rng.choice(list(runs)[: list(runs).index(run_id) + 1])
            removed(gone)
        if rng.random() < 0.2:
            start_again()
    until_nothing_is_new()
    expected = by_day(list(runs.values()))
    assert counted(stored()) == expected
    for _ in range(2):
        before = stored()
        removed(*rng.sample(list(runs), 3))
        assert stored() == before
        start_again()
        until_nothing_is_new()
        assert {k: v for k, v in stored().items() if v} == {k: v for k, v in before.items() if v}
    assert counted(stored()) == expected


def removed(*run_ids: UUID) -> None:
    """Do what the removal does, as far as it concerns the metrics."""
    with unguarded(), transaction.atomic():
        set_aside(run_ids, LATER)
        Event.objects.filter(run_id__in=run_ids)._raw_delete("default")


def test_new_definitions_count_what_is_there_and_leave_what_is_not(
    scoped: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, there = uuid7(), uuid7()
    for run_id in (gone, there):
        put(run_id, history(3))
    until_nothing_is_new()
    removed(gone)
    newer = VERSION + 1
    for module in (rollup, aside):
        monkeypatch.setattr(module, "VERSION", newer)
        monkeypatch.setattr(module, "cells_of", lambda units: {k: {**v, "new": 1} for k, v in cells_of(units).items()})
    until_nothing_is_new()
    totals = [row.counts for row in Rollup.objects.filter(grain=Grain.ALL, kind="run")]
    assert [(one["all_runs"], one["new"]) for one in totals] == [(2, 1)]
    assert set(Aside.objects.values_list("version", flat=True)) == {VERSION}
    removed(there)
    assert set(Aside.objects.values_list("version", flat=True)) == {VERSION, newer}
    start_again()
    until_nothing_is_new()
    assert [row.counts for row in Rollup.objects.filter(grain=Grain.ALL, kind="run")] == totals


def test_an_older_release_leaves_the_cells_of_a_newer_one_alone(scoped: Tenant) -> None:
    run_id = uuid7()
    put(run_id, history(3))
    until_nothing_is_new()
    before = stored()
    Reader.objects.update(version=VERSION + 1)
    put(uuid7(), history(4))
    assert roll_up(LATER) == 0
    with pytest.raises(NewerDefinitions), transaction.atomic():
        set_aside([run_id], LATER)
    assert stored() == before
    assert Reader.objects.get().version == VERSION + 1


def die(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a reader die in the middle of its transaction."""

    def dies(*_: Any) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(rollup, where, dies)
        with suppress(Died), transaction.atomic():
            roll_up(LATER)


def test_facts_are_the_rows_behind_the_points(scoped: Tenant) -> None:
    runs = {uuid7(): history(seed) for seed in range(30)}
    for run_id, events in runs.items():
        put(run_id, events)
    until_nothing_is_new()
    facts = {fact.run_id: fact for fact in RunFact.objects.all()}
    assert set(facts) == set(runs)
    total = sum(row.counts.get("ended", 0) for row in Rollup.objects.filter(grain=Grain.ALL, kind="run"))
    assert total == RunFact.objects.filter(counted=True).exclude(outcome="").count() > 10
    failed = sum(row.counts.get("failed", 0) for row in Rollup.objects.filter(grain=Grain.DAY, kind="run"))
    assert failed == RunFact.objects.filter(counted=True, outcome="failed").count() > 0


def test_what_changed_is_first_seen_once(scoped: Tenant) -> None:
    for seed in range(20):
        put(uuid7(), history(seed))
    until_nothing_is_new()
    seen = list(Change.objects.values_list("kind", "task_type", "label"))
    assert len(seen) == len(set(seen))
    assert {kind for kind, _, _ in seen} == {"planner", "prompt", "model", "tool"}
    until_nothing_is_new()
    start_again()
    until_nothing_is_new()
    assert Change.objects.count() == len(seen)


def test_a_new_version_of_a_tool_is_a_change_and_a_new_tool_is_none(scoped: Tenant) -> None:
    submitted, *rest = history(2)
    event = submitted.event
    assert isinstance(event, RunSubmitted)
    put(uuid7(), [replace(submitted, event=replace(event, origin="api")), *rest])
    until_nothing_is_new()
    tools: dict[str, JSONObject] = {
        **event.tools,
        "put": {**event.tools["put"], "version": "1.1.0"},
        "new": {"version": "1.0.0"},
    }
    put(uuid7(), [replace(submitted, event=replace(event, origin="api", tools=tools)), *rest])
    until_nothing_is_new()
    seen = Change.objects.filter(kind__in=["tool", "contract"]).values_list("kind", "label")
    first = {("tool", f"{name} 1.0.0") for name in ("read", "put", "pay", "new")}
    assert set(seen) == first | {("contract", "put 1.1.0")}
    drawn = changes(datetime(2020, 1, 1, tzinfo=UTC), LATER, "")
    assert [one.label for one in drawn if one.kind in ("tool", "contract")] == ["put 1.1.0"]


def test_policies_releases_and_rules_are_changes(scoped: Tenant, alice: User) -> None:
    told: list[tuple[str, str, JSONObject]] = [
        ("policy.proposed", "policy", {"version": 3}),
        ("policy.approved", "policy", {"version": 3}),
        ("allowlist.approved", "allowlistchange", {"version": 7}),
        ("allowlist.refused", "allowlistchange", {"version": 8}),
        ("suite.run", "suite", {"release": "1.4", "suite": "support"}),
        ("suite.run", "suite", {"release": "1.4", "suite": "refunds"}),
        ("suite.run", "suite", {"release": "1.5", "suite": "support"}),
        ("trust.given", "trust", {}),
        ("host.allowed", "allowedhost", {}),
        ("admin.changed", "tasktype", {}),
        ("admin.changed", "webhook", {}),
        ("member.added", "user", {}),
    ]
    with transaction.atomic():
        for kind, subject, data in told:
            record_in_tenant_stream(kind, data, subject=(subject, "1"), actor=Actor.user(alice, ["admin"]))
    roll_up(datetime(2020, 1, 1, tzinfo=UTC))
    until_nothing_is_new()
    assert list(Change.objects.order_by("event_id").values_list("kind", "label")) == [
        ("policy", "version 3"),
        ("rule", "Allowlist change 7"),
        ("release", "1.4"),
        ("release", "1.5"),
        ("rule", "Trusted calls widened"),
        ("rule", "Host allowed"),
        ("rule", "Task type changed"),
    ]


def test_a_row_that_appears_late_is_found(scoped: Tenant) -> None:
    """Numbers are given before transactions end: the higher one may be there first."""
    first, second = uuid7(), uuid7()
    put(first, history(1))
    now = Event.objects.latest("pk").at
    roll_up(now)
    assert Reader.objects.get().position == 0, "what is younger than the grace time may have gaps"
    put(second, history(2))
    assert roll_up(now) == 1
    roll_up(LATER)
    assert Reader.objects.get().position == Event.objects.latest("pk").pk


def test_a_reader_that_was_overtaken_writes_nothing(scoped: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    put(uuid7(), history(1))
    honest: Callable[..., Any] = watch.charts_after

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(watch, "charts_after", honest)
        assert roll_up(LATER) == 1
        return honest(*given)

    monkeypatch.setattr(watch, "charts_after", overtaken)
    assert roll_up(LATER) == 0
    assert counted(stored()) == by_day([history(1)])


def test_a_record_that_cannot_be_read_keeps_nobody_waiting(scoped: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    put(uuid4(), history(1)[1:])
    put(uuid7(), history(2))
    assert roll_up(LATER) == 2
    assert "cannot be counted" in caplog.text
    assert counted(stored()) == by_day([history(2)])
    assert roll_up(LATER) == 0


def test_when_nothing_is_new_nothing_is_written(scoped: Tenant, django_assert_num_queries: Any) -> None:
    put(uuid7(), history(1))
    until_nothing_is_new()
    with django_assert_num_queries(2):
        sweep(LATER)


def test_tenants_are_counted_apart(acme: Tenant, globex: Tenant) -> None:
    for tenant, seed in ((acme, 1), (globex, 2)):
        with tenant_scope(tenant):
            put(uuid7(), history(seed))
            until_nothing_is_new()
    for tenant, seed in ((acme, 1), (globex, 2)):
        with tenant_scope(tenant):
            assert counted(stored()) == by_day([history(seed)])


@pytest.mark.django_db(transaction=True)
def test_two_readers_at_once_count_everything_once(acme: Tenant) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("two writers at once need PostgreSQL")
    runs = [history(seed) for seed in range(20, 32)]
    with tenant_scope(acme):
        for events in runs:
            put(uuid7(), events)

    def read() -> int:
        with tenant_scope(acme):
            return sum(roll_up(LATER, runs=3) for _ in range(8))

    at_once([read, read, read])
    with tenant_scope(acme):
        until_nothing_is_new()
        assert counted(stored()) == by_day(runs)


def test_the_queries_of_the_pages_use_their_indexes(scoped: Tenant) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("plans are those of PostgreSQL")
    fill(2_000)
    with connection.cursor() as cursor:
        cursor.execute("analyze metrics_rollup")
        cursor.execute("analyze metrics_runfact")
    since = LATER - timedelta(days=7)
    plans = {
        "rollup_once_per_cell": Rollup.objects.filter(grain="day", kind="run", start__gte=since),
        "run_fact_by_type": RunFact.objects.filter(task_type="t1", ended_at__gte=since).order_by("-ended_at", "-id")[
            :51
        ],
        "run_fact_ended": RunFact.objects.filter(ended_at__gte=since).order_by("-ended_at", "-id")[:51],
    }
    for index, rows in plans.items():
        plan = rows.explain()
        assert index in plan, plan
        assert "Sort" not in plan or index == "rollup_once_per_cell", plan


def fill(n: int) -> None:
    """Fill the tables with rows of many days, as a busy tenant has them."""
    moments = [LATER - timedelta(hours=i) for i in range(n)]
    Rollup.objects.bulk_create(
        Rollup(grain="hour", start=at, task_type="t1", kind=kind, key="") for at in moments for kind in ("run", "tool")
    )
    Rollup.objects.bulk_create(Rollup(grain="day", start=at, task_type="t1", kind="run", key="") for at in moments)
    RunFact.objects.bulk_create(
        RunFact(run_id=uuid7(), seq=1, task_type=f"t{i % 3}", ended_at=at) for i, at in enumerate(moments * 3)
    )
