"""The drift charts of the open tenant scope, kept beside the rollups; an alarm when one goes over its threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, assert_never
from uuid import UUID

from agentops.metrics.deliveries import address_of
from agentops.metrics.drift import FEWER, ODDS_RATIO, STEPS_H, Chart, Item, add, from_json, to_json, usual_steps
from agentops.metrics.models import Alarm, AlarmKind, AlarmStatus, Delivery, DriftChart, RunFact, Watched
from agentops.metrics.reading import Counted
from agentops.metrics.statistics import newcombe
from agentops.tenancy.access import SYSTEM, roles_with
from agentops.tenancy.journal import record
from agentops.tenancy.models import Membership
from agentops.tenancy.scope import current_tenant_slug
from agentops.webhooks.models import Kind
from agentops.webhooks.outbox import Notice, put
from agentops.wire.parse import JSONObject

OPEN: Final = (AlarmStatus.RAISED, AlarmStatus.ACKNOWLEDGED)
RIGHT: Final = "alarm.handle"
MOST_PEOPLE: Final = 50


RATIOS: Final[Mapping[Watched, float]] = {
    Watched.RUNS: ODDS_RATIO,
    Watched.OVERRIDES: ODDS_RATIO,
    Watched.RUBBER_STAMPS: FEWER,
}
WATCHED_BY: Final[Mapping[AlarmKind, Watched]] = {
    AlarmKind.PLANNER: Watched.RUNS,
    AlarmKind.SUCCESS: Watched.RUNS,
    AlarmKind.OVERRIDE: Watched.OVERRIDES,
    AlarmKind.STAMPING: Watched.RUBBER_STAMPS,
}
"""Which chart an alarm came from."""

JUDGED: Final = (Watched.OVERRIDES, Watched.RUBBER_STAMPS)

Key = tuple[Watched, str]
"""What is watched, and the task type."""


@dataclass(frozen=True, slots=True)
class Charts:
    """Charts after some runs; `watched` are the runs that were items, `judged` how many decided proposals of a run."""

    after: Mapping[Key, Chart]
    watched: frozenset[UUID] = frozenset()
    judged: Mapping[UUID, int] = field(default_factory=dict)


def charts_after(counted: Sequence[Counted], known: Mapping[UUID, RunFact]) -> Charts:
    """Add the runs that have ended for the first time, and the proposals that were decided, without storing anything.

    A run is an item once, when it first ends; one that a person cancelled is none. A proposal is one when it is first
    decided. At most one query.
    """
    items: list[tuple[datetime, str, Key, Item]] = []
    watched: set[UUID] = set()
    judged: dict[UUID, int] = {}
    for one in counted:
        if one.after is None:
            continue
        run, fact = one.after.run, known.get(one.run_id)
        if run is not None and run.counted and run.outcome != "cancelled" and not (fact is not None and fact.watched):
            item = Item(run.at, not run.completed, run.steps if run.completed else None, one.after.stratum)
            items.append((run.at, str(one.run_id), (Watched.RUNS, one.after.task_type), item))
            watched.add(one.run_id)
        decided = sorted((p for p in one.after.proposals if p.decided), key=lambda p: (p.at, p.proposal_id))
        for proposal in decided[fact.judged if fact is not None else 0 :]:
            judgement = Item(proposal.at, proposal.overridden, proposal.reading_ms, proposal.band)
            about = (proposal.at, proposal.proposal_id)
            items += [(*about, (kind, one.after.task_type), judgement) for kind in JUDGED]
        judged[one.run_id] = max(len(decided), fact.judged if fact is not None else 0)
    if not items:
        return Charts({}, judged=judged)
    items.sort(key=lambda one: one[:2])
    stored = DriftChart.objects.filter(task_type__in={task_type for _, _, (_, task_type), _ in items})
    there = {(Watched(row.watched), row.task_type): row.body for row in stored}
    charts: dict[Key, Chart] = {}
    for _, _, key, item in items:
        if key not in charts:
            charts[key] = from_json(there[key]) if key in there else Chart()
        charts[key] = add(charts[key], item, RATIOS[key[0]])
    return Charts(charts, frozenset(watched), judged)


def write(charts: Charts, now: datetime) -> None:
    """Store the charts and raise the alarms they ask for. Inside the transaction that counts the runs."""
    if not charts.after:
        return
    DriftChart.objects.bulk_create(
        [
            DriftChart(watched=watched, task_type=task_type, body=to_json(chart))
            for (watched, task_type), chart in charts.after.items()
        ],
        update_conflicts=True,
        unique_fields=["tenant", "watched", "task_type"],
        update_fields=["body"],
    )
    drifting = {key: kinds for key, chart in charts.after.items() if (kinds := _kinds(key[0], chart))}
    if not drifting:
        return
    names = {task_type for _, task_type in drifting}
    there = set(Alarm.objects.filter(task_type__in=names, status__in=OPEN).values_list("task_type", "kind"))
    for key, kinds in drifting.items():
        for kind in kinds:
            if (key[1], kind) not in there:
                _raise(key[1], kind, charts.after[key], now)


def _kinds(watched: Watched, chart: Chart) -> tuple[AlarmKind, ...]:
    """Return the alarms a chart asks for; the one that knows more makes the other unnecessary."""
    match watched:
        case Watched.RUNS:
            if chart.planner_drifts:
                return (AlarmKind.PLANNER,)
            return (AlarmKind.SUCCESS,) if chart.success_drifts else ()
        case Watched.OVERRIDES:
            return (AlarmKind.OVERRIDE,) if chart.success_drifts else ()
        case Watched.RUBBER_STAMPS:
            return (AlarmKind.STAMPING,) if chart.rubber_stamped else ()
        case _:
            assert_never(watched)


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
    people = Membership.objects.filter(role__in=roles_with(RIGHT), user__is_active=True).exclude(user__email="")
    users = people.order_by("user_id").values_list("user_id", flat=True).distinct()[:MOST_PEOPLE]
    Delivery.objects.bulk_create([Delivery(alarm=alarm, user_id=user_id, next_at=now) for user_id in users])
    put([_notice(alarm)], now)


def message_of(alarm_id: UUID) -> str:
    """Return the id of the message that tells programs of an alarm."""
    return f"alarm-{alarm_id}"


def _notice(alarm: Alarm) -> Notice:
    slug = current_tenant_slug()
    data: JSONObject = {
        "id": str(alarm.pk),
        "tenant": slug,
        "task_type": alarm.task_type,
        "kind": str(alarm.kind),
        "started_at": alarm.started_at.isoformat(),
        "url": address_of(alarm, slug),
    }
    return Notice(Kind.ALARM, message_of(alarm.pk), alarm.raised_at, alarm.task_type, data)


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
        "steps": round(chart.down if base.ratio < 1 else chart.up, 2),
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
