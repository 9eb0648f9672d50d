"""What people do about an alarm: own it, and reset it with a reason."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F

from agentops.metrics.drift import Chart, cleared, from_json, to_json
from agentops.metrics.models import Alarm, AlarmKind, AlarmStatus, DriftChart, Reader
from agentops.metrics.watch import RIGHT, WATCHED_BY
from agentops.tenancy.access import Actor, can
from agentops.tenancy.journal import record
from agentops.tenancy.people import called

REASONS: Final = {
    "fixed": "The cause is gone",
    "false_alarm": "False alarm",
    "known_change": "A change that was meant",
    "new_baseline": "This is how it is now: learn a new baseline",
}
NOTE: Final = 500


@dataclass(frozen=True, slots=True)
class Handled:
    """It was done."""

    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Invalid:
    """Nothing was done; `problems` says by field why."""

    problems: dict[str, str]


@dataclass(frozen=True, slots=True)
class TooLate:
    """Somebody was faster: `by` did it."""

    by: str
    status: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such alarm in this tenant."""


Outcome = Handled | Invalid | TooLate | NotFound


def acknowledge(*, alarm_id: UUID, actor: Actor, now: datetime) -> Outcome:
    """Make a person the owner of a raised alarm; raises PermissionDenied without the right."""
    _check(actor)
    with transaction.atomic():
        mine = Alarm.objects.filter(pk=alarm_id, status=AlarmStatus.RAISED)
        if not mine.update(status=AlarmStatus.ACKNOWLEDGED, owner_id=actor.user_id, acknowledged_at=now):
            return _lost(alarm_id)
        alarm = Alarm.objects.get(pk=alarm_id)
        record("alarm.acknowledged", {"task_type": alarm.task_type}, subject=("alarm", str(alarm_id)), actor=actor)
    return Handled(alarm)


def reset(*, alarm_id: UUID, reason: str, note: str, actor: Actor, now: datetime) -> Outcome:
    """End an alarm and set its charts to zero, or let them learn again where `reason` is new_baseline."""
    _check(actor)
    problems: dict[str, str] = {}
    if reason not in REASONS:
        problems["reason"] = "Choose why."
    if not note.strip():
        problems["note"] = "Say in a few words what was found."
    elif len(note) > NOTE:
        problems["note"] = f"At most {NOTE} characters."
    if problems:
        return Invalid(problems) if Alarm.objects.filter(pk=alarm_id).exists() else NotFound()
    with transaction.atomic():
        # A reader that is at work has read the charts already: it finds out that it was late and reads them again.
        Reader.objects.update(turn=F("turn") + 1)
        mine = Alarm.objects.filter(pk=alarm_id, status__in=(AlarmStatus.RAISED, AlarmStatus.ACKNOWLEDGED))
        changed = mine.update(
            status=AlarmStatus.RESET, reset_by_id=actor.user_id, reset_at=now, reason=reason, note=note.strip()
        )
        if not changed:
            return _lost(alarm_id)
        alarm = Alarm.objects.get(pk=alarm_id)
        charts = DriftChart.objects.filter(watched=WATCHED_BY[AlarmKind(alarm.kind)], task_type=alarm.task_type)
        chart = charts.select_for_update().first()
        if chart is not None:
            fresh = Chart() if reason == "new_baseline" else cleared(from_json(chart.body))
            DriftChart.objects.filter(pk=chart.pk).update(body=to_json(fresh))
        record(
            "alarm.reset",
            {"task_type": alarm.task_type, "reason": reason, "note": note.strip()},
            subject=("alarm", str(alarm_id)),
            actor=actor,
        )
    return Handled(alarm)


def _check(actor: Actor) -> None:
    if not can(actor, RIGHT) or actor.user_id is None:
        raise PermissionDenied(f"This needs the right {RIGHT}.")


def _lost(alarm_id: UUID) -> TooLate | NotFound:
    alarm = Alarm.objects.select_related("owner", "reset_by").filter(pk=alarm_id).first()
    if alarm is None:
        return NotFound()
    by = alarm.reset_by if alarm.status == AlarmStatus.RESET else alarm.owner
    return TooLate(called(by) or "Somebody", alarm.get_status_display().lower())
