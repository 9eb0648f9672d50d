"""What the page about retention shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from agentops.audit.models import Event
from agentops.audit.removals import STREAM, TYPE
from agentops.audit.services import load
from agentops.retention import classes
from agentops.retention.models import Hold, HoldKind, Pass
from agentops.tenancy.people import called


@dataclass(frozen=True, slots=True)
class Row:
    """One class: what it is, its period, what was typed for another one, and the newest pass over it."""

    record_class: classes.RecordClass
    days: int
    typed: str
    error: str
    last: Pass | None

    @property
    def words(self) -> str:
        """The period, in words as well where it is years."""
        return in_words(self.days)


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One hold, with what it covers in words."""

    hold: Hold
    what: str
    label: str
    url: str
    own: bool


@dataclass(frozen=True, slots=True)
class RemovedRow:
    """One removal: when, of which class, how much, and the event that tells of it."""

    at: datetime
    label: str
    what: str
    url: str


def in_words(days: int) -> str:
    """Say a number of days, and what it is in years where it is some."""
    told = f"{days:,} day{'' if days == 1 else 's'}"
    years = days / 365.25
    return f"{told}, about {years:.0f} year{'' if round(years) == 1 else 's'}" if years >= 0.95 else told


def rows(days: Mapping[str, int], typed: Mapping[str, str], errors: Mapping[str, str]) -> list[Row]:
    """Return every class. One query."""
    passes = {one.record_class: one for one in Pass.objects.all()}
    return [
        Row(one, days[name], typed.get(name, str(days[name])), errors.get(name, ""), passes.get(name))
        for name, one in classes.CLASSES.items()
    ]


def differences(before: Mapping[str, int], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the periods that differ: {name, before, after, shorter}."""
    return [
        {
            "name": one.label,
            "before": in_words(before[name]),
            "after": in_words(int(after[name])),
            "shorter": int(after[name]) < before[name],
        }
        for name, one in classes.CLASSES.items()
        if name in after and int(after[name]) != before[name]
    ]


def holds_in_force(user_id: int | None) -> list[HoldRow]:
    """Return the holds in force, the newest first. One query."""
    found = _holds().filter(lifted_at__isnull=True)
    return [_hold(one, user_id) for one in found.order_by("-pk")]


def holds_lifted(limit: int) -> list[HoldRow]:
    """Return the holds that were lifted last. One query."""
    found = _holds().filter(lifted_at__isnull=False).order_by("-lifted_at")
    return [_hold(one, None) for one in found[:limit]]


def _holds() -> Any:
    return Hold.objects.select_related("placed_by", "lift_asked_by", "lifted_by", "person")


def _hold(row: Hold, user_id: int | None) -> HoldRow:
    label, url = "", ""
    match row.kind:
        case HoldKind.RUN:
            label, url = str(row.run_id), reverse("run", args=[row.run_id])
        case HoldKind.PROPOSAL:
            label, url = str(row.proposal_id), reverse("proposal", args=[row.proposal_id])
        case HoldKind.PERSON if row.person is not None:
            label = called(row.person)
        case HoldKind.PERIOD if row.since is not None and row.until is not None:
            label = f"from {row.since:%Y-%m-%d} until before {row.until:%Y-%m-%d}"
    own = user_id is not None and row.lift_asked_by_id == user_id
    return HoldRow(row, HoldKind(row.kind).label, label, url, own)


def removed_lately(limit: int) -> list[RemovedRow]:
    """Return what was removed last. Two queries."""
    newest = Event.objects.filter(stream__name=STREAM, type=TYPE).order_by("-seq")
    pks: dict[int, int] = dict(newest.values_list("seq", "pk")[:limit])
    if not pks:
        return []
    events = [one for one in load(STREAM, min(pks) - 1) if one.seq in pks]
    return [
        RemovedRow(one.at, _label(one.data), _what(one.data), reverse("audit_event", args=[pks[one.seq]]))
        for one in reversed(events)
    ]


def _label(data: Mapping[str, Any]) -> str:
    found = classes.CLASSES.get(str(data.get("class", "")))
    return found.label if found is not None else str(data.get("class", ""))


def _what(data: Mapping[str, Any]) -> str:
    segments: Sequence[Mapping[str, Any]] = data.get("segments") or ()
    if segments:
        events = sum(int(one["events"]) for one in segments)
        return f"{events:,} event{'' if events == 1 else 's'} of {_count(segments, 'stream')}"
    if texts := data.get("texts"):
        size = sum(int(one["bytes"]) for one in texts)
        return f"{_count(texts, 'text')}, {size:,} bytes"
    return _count(data.get("records") or (), "record")


def _count(found: Sequence[Any], noun: str) -> str:
    return f"{len(found):,} {noun}{'' if len(found) == 1 else 's'}"
