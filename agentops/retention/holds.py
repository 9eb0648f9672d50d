"""What the legal holds in force cover, read once for a piece of the removal. What is not certain is covered."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from agentops.audit.models import Event
from agentops.retention.models import Hold, HoldKind
from agentops.runs.models import Run
from agentops.runs.recording import stream_of
from agentops.tenancy.models import ServiceToken
from approvals.models import Decision


@dataclass(frozen=True, slots=True)
class Holds:
    """The holds of the open tenant scope. `tokens` are those that the people made: what these did, they did."""

    everything: bool
    periods: tuple[tuple[datetime, datetime], ...]
    runs: frozenset[UUID]
    proposals: frozenset[UUID]
    people: frozenset[int]
    tokens: frozenset[int] = frozenset()

    def covers_time(self, first: datetime, last: datetime) -> bool:
        """Say whether a hold covers what was there from one moment to another, both included."""
        return self.everything or any(first < until and last >= since for since, until in self.periods)

    def covers_row(self, row: Event) -> bool:
        """Say whether a hold covers one event that belongs to no run's stream."""
        about = row.subject_id
        return (
            self.covers_time(row.at, row.at)
            or (row.run_id is not None and row.run_id in self.runs)
            or about in {str(one) for one in (*self.runs, *self.proposals)}
            or row.actor_id in self._names(row.actor_kind)
            or (row.subject_kind in ("user", "member", "membership") and about in self._names("user"))
        )

    def names(self, text: str) -> bool:
        """Say whether a text names a run or a proposal that is held."""
        return any(str(one) in text for one in (*self.runs, *self.proposals))

    def _names(self, actor_kind: str) -> set[str]:
        held = {"user": self.people, "token": self.tokens}.get(actor_kind, frozenset())
        return {str(one) for one in held}

    def held_runs(self, runs: Iterable[Run]) -> set[UUID]:
        """Return which of these runs a hold covers. Two queries at most, where a person is held."""
        held: set[UUID] = set()
        open_: dict[UUID, Run] = {}
        for run in runs:
            end = run.ended_at or datetime.max.replace(tzinfo=run.created_at.tzinfo)
            person = run.requested_by_id in self.people or run.requested_by_token in self._names("token")
            if run.pk in self.runs or person or self.covers_time(run.created_at, end):
                held.add(run.pk)
            else:
                open_[run.pk] = run
        return held | (self._by_people(open_) if self.people and open_ else set())

    def _by_people(self, run_ids: Collection[UUID] | Mapping[UUID, Run]) -> set[UUID]:
        names = {stream_of(run_id): run_id for run_id in run_ids}
        acted = Event.objects.filter(
            Q(actor_kind="user", actor_id__in=self._names("user"))
            | Q(actor_kind="token", actor_id__in=self._names("token")),
            stream__name__in=list(names),
        )
        decided = Decision.objects.filter(proposal__run_id__in=list(run_ids), user_id__in=self.people)
        return {names[name] for name in acted.values_list("stream__name", flat=True).distinct()} | set(
            decided.values_list("proposal__run_id", flat=True)
        )


def in_force() -> Holds:
    """Read the holds that are in force. One query, two where people are held."""
    rows = list(Hold.objects.filter(lifted_at__isnull=True))
    people = frozenset(row.person_id for row in rows if row.person_id is not None)
    tokens = ServiceToken.objects.filter(created_by_id__in=people).values_list("pk", flat=True) if people else ()
    return Holds(
        everything=any(row.kind == HoldKind.TENANT for row in rows),
        periods=tuple((row.since, row.until) for row in rows if row.since is not None and row.until is not None),
        runs=frozenset(row.run_id for row in rows if row.run_id is not None),
        proposals=frozenset(row.proposal_id for row in rows if row.proposal_id is not None),
        people=people,
        tokens=frozenset(tokens),
    )
