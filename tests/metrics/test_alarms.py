"""A planted regression raises one alarm, people are told, somebody owns it, and it ends with a reason."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.test import Client

from agentops.audit.services import load
from agentops.metrics import alarms, watch
from agentops.metrics.drift import Chart, Item, add, from_json, to_json
from agentops.metrics.models import Alarm, Delivery, DriftChart, RunFact, Webhook
from agentops.metrics.rollup import roll_up
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from tests.approvals.threads import at_once
from tests.metrics.histories import history
from tests.metrics.recorded import put

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
LATER = datetime(2036, 1, 1, tzinfo=UTC)
Signed = Callable[[User], Client]


def learned() -> Chart:
    """Return a chart that knows how it usually is: a tenth fail, four steps."""
    chart, rng = Chart(), Random(4)
    for i in range(500):
        chart = add(chart, Item(NOW + timedelta(minutes=i), rng.random() < 0.1, rng.choice([3, 4, 5]), "api/5"))
    return chart


def drifted(chart: Chart, runs: int = 60) -> Chart:
    """Return the chart after half of the runs have failed and the others took twice the steps."""
    for i in range(runs):
        chart = add(chart, Item(NOW + timedelta(days=1, minutes=i), i % 2 == 0, 9, "api/5"))
    return chart


def raise_one(kind_of: Chart | None = None) -> Alarm:
    """Let the chart of a task type go over its threshold."""
    chart = kind_of or drifted(learned())
    with transaction.atomic():
        watch.write(watch.Charts({"support": chart}, frozenset()), NOW)
    return Alarm.objects.get()


def actor(user: User, role: str) -> Actor:
    return Actor.user(user, (role,))


def test_an_alarm_is_raised_once_and_everybody_who_can_act_is_told(
    scoped: Tenant, alice: User, sam: User, bob: User
) -> None:
    hook = Webhook.objects.create(name="ops", url="https://hooks.example.com/a")
    Webhook.objects.create(name="off", url="https://hooks.example.com/b", enabled=False)
    alarm = raise_one()
    watch.write(watch.Charts({"support": drifted(learned(), 80)}, frozenset()), NOW)
    assert Alarm.objects.count() == 1
    assert alarm.kind == "planner"
    assert set(Delivery.objects.values_list("user_id", "webhook_id")) == {
        (alice.pk, None),
        (sam.pk, None),
        (None, hook.pk),
    }
    assert [event.type for event in load("tenant")].count("alarm.raised") == 1


def test_the_runs_that_end_are_the_items_once_each(scoped: Tenant) -> None:
    DriftChart.objects.create(task_type="support", body=to_json(learned()))
    runs = {uuid7(): history(seed) for seed in range(40)}
    for run_id, events in runs.items():
        put(run_id, events)
    while roll_up(LATER):
        pass
    items = RunFact.objects.filter(counted=True, outcome__in=("succeeded", "failed")).count()
    chart = from_json(DriftChart.objects.get().body)
    assert chart.runs == 500 + items
    assert RunFact.objects.filter(watched=True).count() == items > 10


def test_a_regression_in_the_record_raises_the_alarm(scoped: Tenant) -> None:
    """Whole runs, planned by the engine: they fail, and nobody counted anything before."""
    DriftChart.objects.create(task_type="support", body=to_json(learned()))
    failing = [events for events in map(history, range(400)) if events[-1].event.type == "run.failed"][:40]
    assert len(failing) == 40
    for index, events in enumerate(failing):
        put(uuid7(), [replace(one, at=one.at + timedelta(hours=index)) for one in events])
    while roll_up(LATER):
        pass
    alarm = Alarm.objects.get()
    assert alarm.kind == "success"
    assert alarm.body["failures"] >= 5
    assert alarm.started_at < LATER


def test_somebody_owns_it_and_the_next_one_is_told_who(scoped: Tenant, sam: User, alice: User) -> None:
    alarm = raise_one()
    assert isinstance(alarms.acknowledge(alarm_id=alarm.pk, actor=actor(sam, "senior"), now=NOW), alarms.Handled)
    late = alarms.acknowledge(alarm_id=alarm.pk, actor=actor(alice, "admin"), now=NOW)
    assert late == alarms.TooLate("sam", "acknowledged")
    assert isinstance(alarms.acknowledge(alarm_id=uuid4(), actor=actor(sam, "senior"), now=NOW), alarms.NotFound)


def test_an_operator_cannot_handle_it(scoped: Tenant, bob: User) -> None:
    alarm = raise_one()
    with pytest.raises(PermissionDenied):
        alarms.reset(alarm_id=alarm.pk, reason="fixed", note="x", actor=actor(bob, "operator"), now=NOW)


@pytest.mark.parametrize(
    ("reason", "note", "field"), [("", "x", "reason"), ("because", "x", "reason"), ("fixed", " ", "note")]
)
def test_a_reset_needs_a_reason(scoped: Tenant, sam: User, reason: str, note: str, field: str) -> None:
    alarm = raise_one()
    outcome = alarms.reset(alarm_id=alarm.pk, reason=reason, note=note, actor=actor(sam, "senior"), now=NOW)
    assert isinstance(outcome, alarms.Invalid)
    assert set(outcome.problems) == {field}


@pytest.mark.parametrize(("reason", "learns"), [("fixed", False), ("new_baseline", True)])
def test_a_reset_sets_the_sums_to_zero(scoped: Tenant, sam: User, reason: str, learns: bool) -> None:
    alarm = raise_one()
    outcome = alarms.reset(alarm_id=alarm.pk, reason=reason, note="Seen.", actor=actor(sam, "senior"), now=NOW)
    assert isinstance(outcome, alarms.Handled)
    chart = from_json(DriftChart.objects.get().body)
    assert (chart.s, chart.up) == (0, 0)
    assert (chart.baseline is None) == learns
    assert [event.type for event in load("tenant")][-1] == "alarm.reset"
    watch.write(watch.Charts({"support": drifted(learned())}, frozenset()), NOW)
    assert Alarm.objects.count() == 2, "the next time is another alarm"


def test_a_reset_is_not_undone_by_a_reader_that_was_at_work(
    scoped: Tenant, sam: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(uuid7(), history(1))
    roll_up(LATER)
    alarm = raise_one()
    put(uuid7(), history(2))
    honest: Callable[..., Any] = watch.charts_after

    def slow(*given: Any) -> Any:
        charts = honest(*given)
        alarms.reset(alarm_id=alarm.pk, reason="fixed", note="Seen.", actor=actor(sam, "senior"), now=NOW)
        return charts

    with monkeypatch.context() as patched:
        patched.setattr(watch, "charts_after", slow)
        assert roll_up(LATER) == 0
    assert from_json(DriftChart.objects.get().body).s == 0
    assert roll_up(LATER) == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_who_reset_at_once_one_is_told_who_was_faster(acme: Tenant, sam: User, alice: User) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("two writers at once need PostgreSQL")
    with tenant_scope(acme):
        alarm = raise_one()

    def reset(user: User, role: str) -> Callable[[], alarms.Outcome]:
        def go() -> alarms.Outcome:
            with tenant_scope(acme):
                return alarms.reset(alarm_id=alarm.pk, reason="fixed", note="x", actor=actor(user, role), now=NOW)

        return go

    outcomes = at_once([reset(sam, "senior"), reset(alice, "admin")])
    assert sorted(type(one).__name__ for one in outcomes) == ["Handled", "TooLate"]


def test_the_page_of_an_alarm_and_its_forms(acme: Tenant, sam: User, bob: User, signed_in: Signed) -> None:
    with tenant_scope(acme):
        alarm = raise_one()
    path, client = f"/t/acme/metrics/alarms/{alarm.pk}", signed_in(sam)
    text = client.get(path).content.decode()
    assert "Fewer tasks succeed, and they take more steps: support" in text
    assert "I look into it" in text
    assert client.post(f"{path}/acknowledge").status_code == 302
    assert client.post(f"{path}/acknowledge").status_code == 409
    missing = client.post(f"{path}/reset", {"reason": "", "note": "<b>typed</b>"})
    assert missing.status_code == 422
    assert "&lt;b&gt;typed&lt;/b&gt;" in missing.content.decode()
    assert client.post(f"{path}/reset", {"reason": "fixed", "note": "Prompt rolled back."}).status_code == 302
    assert "Prompt rolled back." in client.get(path).content.decode()
    assert "I look into it" not in signed_in(bob).get(path).content.decode()
    assert signed_in(bob).post(f"{path}/acknowledge").status_code == 403
    dashboard = client.get("/t/acme/metrics").content.decode()
    assert "Fewer tasks succeed, and they take more steps: support" not in dashboard


def test_an_open_alarm_stands_on_the_dashboard(acme: Tenant, bob: User, signed_in: Signed) -> None:
    with tenant_scope(acme):
        raise_one()
    assert "Nobody owns it yet." in signed_in(bob).get("/t/acme/metrics").content.decode()
