"""The drift charts of the open tenant scope, kept beside the rollups; an alarm when one goes over its threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from agentops.metrics.drift import STEPS_H, Chart, Item, add, from_json, to_json, usual_steps
from agentops.metrics.models import Alarm, AlarmKind, AlarmStatus, Delivery, DriftChart, RunFact, Webhook
from agentops.metrics.reading import Counted
from agentops.metrics.statistics import newcombe
from agentops.tenancy.access import ACTIONS_BY_ROLE, SYSTEM
from agentops.tenancy.journal import record
from agentops.tenancy.models import Membership
from agentops.wire.parse import JSONObject

OPEN: Final = (AlarmStatus.RAISED, AlarmStatus.ACKNOWLEDGED)
RIGHT: Final = "alarm.handle"
MOST_PEOPLE: Final = 50


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts after some runs, by task type; `watched` are the runs that were items."""

    after: Mapping[str, Chart]
    watched: frozenset[UUID]


def charts_after(counted: Sequence[Counted], known: Mapping[UUID, RunFact]) -> Charts:
    """Add the runs that have ended for the first time to their charts, without storing anything.

    A run is an item once, when it first ends; one that a person cancelled is none. At most one query.
    """
    items: list[tuple[datetime, UUID, str, Item]] = []
    for one in counted:
        run = one.after.run if one.after is not None else None
        fact = known.get(one.run_id)
        if one.after is None or run is None or not run.counted or run.outcome == "cancelled":
            continue
        if fact is not None and fact.watched:
            continue
        item = Item(run.at, not run.completed, run.steps if run.completed else None, one.after.stratum)
        items.append((run.at, one.run_id, one.after.task_type, item))
    if not items:
        return Charts({}, frozenset())
    items.sort(key=lambda one: one[:2])
    stored = DriftChart.objects.filter(task_type__in={task_type for _, _, task_type, _ in items})
    charts = {row.task_type: from_json(row.body) for row in stored}
    for _, _, task_type, item in items:
        charts[task_type] = add(charts.get(task_type, Chart()), item)
    return Charts(charts, frozenset(run_id for _, run_id, _, _ in items))


def write(charts: Charts, now: datetime) -> None:
    """Store the charts and raise the alarms they ask for. Inside the transaction that counts the runs."""
    if not charts.after:
        return
    DriftChart.objects.bulk_create(
        [DriftChart(task_type=task_type, body=to_json(chart)) for task_type, chart in charts.after.items()],
        update_conflicts=True,
        unique_fields=["tenant", "task_type"],
        update_fields=["body"],
    )
    drifting = {task_type: chart for task_type, chart in charts.after.items() if _kinds(chart)}
    if not drifting:
        return
    there = set(Alarm.objects.filter(task_type__in=drifting, status__in=OPEN).values_list("task_type", "kind"))
    for task_type, chart in drifting.items():
        for kind in _kinds(chart):
            if (task_type, kind) not in there:
                _raise(task_type, kind, chart, now)


def _kinds(chart: Chart) -> tuple[AlarmKind, ...]:
    """Return the alarms a chart asks for; the one that knows more makes the other unnecessary."""
    if chart.planner_drifts:
        return (AlarmKind.PLANNER,)
    return (AlarmKind.SUCCESS,) if chart.success_drifts else ()


def _raise(task_type: str, kind: AlarmKind, chart: Chart, now: datetime) -> None:
    body = figures(chart)
    alarm = Alarm.objects.create(
        task_type=task_type, kind=kind, raised_at=now, started_at=chart.zero_at or now, body=body
    )
    record(
        "alarm.raised",
        {
            "kind": str(kind),
            "task_type": task_type,
            "started_at": alarm.started_at.isoformat(),
            "figures": _whole(body),
        },
        subject=("alarm", str(alarm.pk)),
        actor=SYSTEM,
    )
    roles = [role for role, actions in ACTIONS_BY_ROLE.items() if RIGHT in actions]
    people = Membership.objects.filter(role__in=roles, user__is_active=True).exclude(user__email="")
    users = people.order_by("user_id").values_list("user_id", flat=True).distinct()[:MOST_PEOPLE]
    hooks = Webhook.objects.filter(enabled=True).values_list("pk", flat=True)
    Delivery.objects.bulk_create(
        [
            *(Delivery(alarm=alarm, user_id=user_id, next_at=now) for user_id in users),
            *(Delivery(alarm=alarm, webhook_id=hook, next_at=now) for hook in hooks),
        ]
    )


def figures(chart: Chart) -> JSONObject:
    """Return the figures of a chart that watches: since it was last zero against its baseline."""
    base = chart.baseline
    assert base is not None
    low, high = (
        newcombe(chart.failures, chart.since, round(base.rate * base.runs), base.runs) if chart.since else (0, 0)
    )
    return {
        "baseline_rate": round(base.rate, 4),
        "baseline_runs": base.runs,
        "since": chart.since,
        "failures": chart.failures,
        "difference": [round(low, 4), round(high, 4)],
        "s": round(chart.s, 2),
        "h": base.h,
        "h_alone": base.h_alone,
        "steps": round(chart.up, 2),
        "steps_h": STEPS_H,
        "usual_steps": round(usual_steps(base), 2),
    }


def _whole(body: JSONObject) -> JSONObject:
    """Return figures for an event, which carries whole numbers only: fractions as text."""
    return {
        name: [str(one) for one in value]
        if isinstance(value, list)
        else value
        if isinstance(value, int)
        else str(value)
        for name, value in body.items()
    }
