"""A planted regression raises one alarm, people are told, somebody owns it, and it ends with a reason."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.test import Client

from agentops.audit.services import load
from agentops.engine.events import ProposalDecided
from agentops.metrics import alarms, watch
from agentops.metrics.deliveries import TRIES, send_due
from agentops.metrics.drift import Chart, Item, add, from_json, to_json
from agentops.metrics.models import Alarm, Delivery, DriftChart, Rollup, RunFact, Watched
from agentops.metrics.rollup import roll_up, start_again
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.webhooks.models import Endpoint, Message
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
        watch.write(watch.Charts({(Watched.RUNS, "support"): chart}), NOW)
    return Alarm.objects.get()


def actor(user: User, role: str) -> Actor:
    return Actor.user(user, (role,))


def test_an_alarm_is_raised_once_and_everybody_who_can_act_is_told(
    scoped: Tenant, alice: User, sam: User, bob: User
) -> None:
    hook = Endpoint.objects.create(name="ops", url="https://hooks.example.com/a", kinds=["alarm.raised"])
    Endpoint.objects.create(name="off", url="https://hooks.example.com/b", kinds=["alarm.raised"], enabled=False)
    Endpoint.objects.create(name="runs", url="https://hooks.example.com/c", kinds=["run.failed"])
    alarm = raise_one()
    watch.write(watch.Charts({(Watched.RUNS, "support"): drifted(learned(), 80)}), NOW)
    assert Alarm.objects.count() == 1
    assert alarm.kind == "planner"
    assert set(Delivery.objects.values_list("user_id", flat=True)) == {alice.pk, sam.pk}
    message = Message.objects.get()
    assert (message.endpoint, message.name) == (hook, f"alarm-{alarm.pk}")
    assert message.body["data"]["url"].endswith(f"/t/acme/metrics/alarms/{alarm.pk}")
    assert [event.type for event in load("tenant")].count("alarm.raised") == 1


def test_the_runs_that_end_are_the_items_once_each(scoped: Tenant) -> None:
    DriftChart.objects.create(task_type="support", body=to_json(learned()))
    runs = {uuid7(): history(seed) for seed in range(40)}
    for run_id, events in runs.items():
        put(run_id, events)
    while roll_up(LATER):
        pass
    items = RunFact.objects.filter(counted=True, outcome__in=("succeeded", "failed")).count()
    chart = from_json(DriftChart.objects.get(watched=Watched.RUNS).body)
    assert chart.runs == 500 + items
    assert RunFact.objects.filter(watched=True).count() == items > 10


def judged(chart: Chart, n: int, *, overridden: float, read_ms: int, seed: int, ratio: float) -> Chart:
    """Return the chart after so many decisions."""
    rng = Random(seed)
    for i in range(n):
        took = round(read_ms * rng.uniform(0.5, 2))
        chart = add(chart, Item(NOW + timedelta(minutes=i), rng.random() < overridden, took, "medium"), ratio)
    return chart


def usual(watched: Watched) -> Chart:
    """Return a chart of people who override one in six, and look for a quarter of a minute."""
    ratio = watch.RATIOS[watched]
    chart = judged(Chart(), 500, overridden=0.17, read_ms=15_000, seed=1, ratio=ratio)
    assert chart.baseline is not None
    assert chart.baseline.ratio == ratio
    return chart


@pytest.mark.parametrize(
    ("watched", "overridden", "read_ms", "raised"),
    [
        (Watched.RUBBER_STAMPS, 0.0, 2_000, ["stamping"]),
        (Watched.RUBBER_STAMPS, 0.0, 15_000, []),  # a planner that has become better is still looked at
        (Watched.RUBBER_STAMPS, 0.17, 2_000, []),  # people who have become quicker still say no
        (Watched.OVERRIDES, 0.5, 15_000, ["override"]),
        (Watched.OVERRIDES, 0.0, 2_000, []),
    ],
)
def test_fewer_overrides_are_suspicious_only_with_less_reading(
    scoped: Tenant, watched: Watched, overridden: float, read_ms: int, raised: list[str]
) -> None:
    ratio = watch.RATIOS[watched]
    chart = judged(usual(watched), 150, overridden=overridden, read_ms=read_ms, seed=2, ratio=ratio)
    watch.write(watch.Charts({(watched, "support"): chart}), NOW)
    assert list(Alarm.objects.values_list("kind", flat=True)) == raised


@pytest.mark.parametrize("watched", [Watched.OVERRIDES, Watched.RUBBER_STAMPS])
def test_people_who_decide_as_ever_raise_nothing_in_two_thousand_decisions(scoped: Tenant, watched: Watched) -> None:
    ratio = watch.RATIOS[watched]
    chart = usual(watched)
    for seed in range(20):
        chart = judged(chart, 100, overridden=0.17, read_ms=15_000, seed=seed, ratio=ratio)
        watch.write(watch.Charts({(watched, "support"): chart}), NOW)
    assert not Alarm.objects.exists()


def test_every_decision_of_the_record_is_an_item_once(scoped: Tenant) -> None:
    decided_ones = [
        events for events in map(history, range(300)) if any(isinstance(one.event, ProposalDecided) for one in events)
    ]
    runs = {uuid7(): events for events in decided_ones[:40]}
    for run_id, events in runs.items():
        half = len(events) // 2
        put(run_id, events[:half])
    while roll_up(LATER):
        pass
    for run_id, events in runs.items():
        put(run_id, events[len(events) // 2 :])
    while roll_up(LATER):
        pass
    decided = sum(row.counts.get("decided", 0) for row in Rollup.objects.filter(grain="all", kind="band"))
    for watched in (Watched.OVERRIDES, Watched.RUBBER_STAMPS):
        assert from_json(DriftChart.objects.get(watched=watched).body).runs == decided > 10
    start_again()
    while roll_up(LATER):
        pass
    assert from_json(DriftChart.objects.get(watched=Watched.OVERRIDES).body).runs == decided


def test_the_page_of_a_suspicious_improvement_says_what_to_look_at(
    scoped: Tenant, sam: User, signed_in: Signed
) -> None:
    ratio = watch.RATIOS[Watched.RUBBER_STAMPS]
    chart = judged(usual(Watched.RUBBER_STAMPS), 150, overridden=0.0, read_ms=2_000, seed=2, ratio=ratio)
    watch.write(watch.Charts({(Watched.RUBBER_STAMPS, "support"): chart}), NOW)
    alarm = Alarm.objects.get()
    page = signed_in(sam).get(f"/t/{scoped.slug}/metrics/alarms/{alarm.pk}")
    text = page.content.decode()
    assert "before celebrating" in text
    assert "Sum of shorter reading" in text
    assert "only=overrides" in page.context["runs_url"]
    outcome = alarms.reset(alarm_id=alarm.pk, reason="fixed", note="Looked at.", actor=actor(sam, "senior"), now=NOW)
    assert isinstance(outcome, alarms.Handled)
    assert from_json(DriftChart.objects.get(watched=Watched.RUBBER_STAMPS).body).s == 0


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
    assert late == alarms.TooLate("Sam", "acknowledged")
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
    chart = from_json(DriftChart.objects.get(watched=Watched.RUNS).body)
    assert (chart.s, chart.up) == (0, 0)
    assert (chart.baseline is None) == learns
    assert [event.type for event in load("tenant")][-1] == "alarm.reset"
    watch.write(watch.Charts({(Watched.RUNS, "support"): drifted(learned())}), NOW)
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
    assert from_json(DriftChart.objects.get(watched=Watched.RUNS).body).s == 0
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


def test_people_get_a_letter_with_a_link_once(scoped: Tenant, alice: User, settings: Any) -> None:
    settings.SITE_URL = "https://desk.example.com"
    alarm = raise_one()
    assert send_due(NOW, 9) == 1
    assert send_due(NOW + timedelta(days=1), 9) == 0
    (letter,) = mail.outbox
    assert letter.to == [alice.email]
    assert f"https://desk.example.com/t/acme/metrics/alarms/{alarm.pk}" in letter.body


def test_a_letter_that_cannot_be_sent_is_tried_again_ever_later_and_then_no_more(
    scoped: Tenant, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_one()
    tries: list[datetime] = []

    def refuse(*_: object) -> int:
        tries.append(now)
        raise ConnectionRefusedError

    monkeypatch.setattr("agentops.metrics.deliveries.send_mail", refuse)
    now = NOW
    for _ in range(30):
        send_due(now, 9)
        before = len(tries)
        send_due(now, 9)
        assert len(tries) == before, "not twice at the same moment"
        now += timedelta(hours=3)
    assert len(tries) == TRIES
    delivery = Delivery.objects.get()
    assert (delivery.problem, delivery.sent_at) == ("ConnectionRefusedError", None)
