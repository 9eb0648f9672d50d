"""Read the rollups of the open tenant scope for the dashboard: nothing else is counted, whatever there is to count."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from agentops.metrics.cells import Grain, Kind, start_of
from agentops.metrics.definitions import Definition
from agentops.metrics.drift import from_json
from agentops.metrics.models import Alarm, Change, DriftChart, Reader, Rollup, RunFact, Watched
from agentops.metrics.statistics import Rate, added, direction
from agentops.metrics.watch import OPEN
from agentops.runs.models import TaskType

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Window:
    """How far back the page looks: `spans` of a grain, the present one included."""

    name: str
    words: str
    grain: Grain
    spans: int

    @property
    def span(self) -> timedelta:
        return timedelta(hours=1) if self.grain is Grain.HOUR else timedelta(days=1)

    def since(self, now: datetime) -> datetime:
        """Return the first moment of the window."""
        return start_of(self.grain, now) - self.span * (self.spans - 1)


WINDOWS: Final = {
    one.name: one
    for one in (
        Window("24h", "24 hours", Grain.HOUR, 24),
        Window("7d", "7 days", Grain.DAY, 7),
        Window("28d", "28 days", Grain.DAY, 28),
    )
}
MOST_TICKS: Final = 40
IN_FLIGHT: Final = 1_000


@dataclass(slots=True)
class Cells:
    """The cells of a window and of the one before it, added up as they are asked for."""

    window: Window
    since: datetime
    rows: Sequence[tuple[datetime, str, str, str, Counts]]

    def now(self, kind: Kind, key: str | None = None, task_type: str | None = None) -> dict[str, int]:
        """Return the sum over the window."""
        return added(self._of(kind, key, task_type, self.since, None))

    def before(self, kind: Kind) -> dict[str, int]:
        """Return the sum over the window before."""
        return added(self._of(kind, None, None, None, self.since))

    def by_span(self, kind: Kind) -> list[tuple[datetime, dict[str, int]]]:
        """Return the sum of every span of the window, oldest first."""
        sums: dict[datetime, list[Counts]] = defaultdict(list)
        for start, of, _, _, counts in self.rows:
            if of == kind and start >= self.since:
                sums[start].append(counts)
        moments = [self.since + self.window.span * i for i in range(self.window.spans)]
        return [(at, added(sums[at])) for at in moments]

    def by_key(self, kind: Kind) -> dict[str, dict[str, int]]:
        """Return the sum of every key over the window."""
        return self._grouped(kind, 3)

    def by_task_type(self, kind: Kind) -> dict[str, dict[str, int]]:
        """Return the sum of every task type over the window."""
        return self._grouped(kind, 2)

    def change(self, definition: Definition) -> tuple[Rate, str]:
        """Return a rate over the window, and in a word how it compares with the window before."""
        rate = definition.read(self.now(definition.kind))
        return rate, direction(rate, definition.read(self.before(definition.kind)))

    def _grouped(self, kind: Kind, column: int) -> dict[str, dict[str, int]]:
        sums: dict[str, list[Counts]] = defaultdict(list)
        for row in self.rows:
            if row[1] == kind and row[0] >= self.since:
                sums[str(row[column])].append(row[4])
        return {name: added(parts) for name, parts in sums.items()}

    def _of(
        self, kind: Kind, key: str | None, task_type: str | None, since: datetime | None, until: datetime | None
    ) -> Iterable[Counts]:
        for start, of, task, name, counts in self.rows:
            if of != kind or (key is not None and name != key) or (task_type is not None and task != task_type):
                continue
            if (since is None or start >= since) and (until is None or start < until):
                yield counts


def load_cells(window: Window, task_type: str, now: datetime) -> Cells:
    """Return the cells of a window, and those of runs and bands of the window before. One query."""
    since = window.since(now)
    rows = Rollup.objects.filter(grain=window.grain, start__gte=since - window.span * window.spans, start__lte=now)
    if task_type:
        rows = rows.filter(task_type=task_type)
    found = rows.filter(kind__in=[kind.value for kind in Kind]).values_list(
        "start", "kind", "task_type", "key", "counts"
    )
    kept = [row for row in found if row[0] >= since or row[1] in (Kind.RUN, Kind.BAND)]
    return Cells(window, since, kept)


def task_types() -> list[str]:
    """Return the task types that have ever been counted. One query."""
    rows = Rollup.objects.filter(grain=Grain.ALL, kind=Kind.RUN).order_by("task_type")
    return list(rows.values_list("task_type", flat=True).distinct())


def names() -> dict[str, str]:
    """Return what task types are called now, by slug: figures outlive a task type, and then its slug has to do."""
    return dict(TaskType.objects.values_list("slug", "name"))


def changes(since: datetime, until: datetime, task_type: str) -> list[Change]:
    """Return what was first seen in a span, newest first, and for one task type what concerns it. One query."""
    rows = Change.objects.filter(at__gte=since, at__lt=until).exclude(kind="tool")
    if task_type:
        rows = rows.filter(task_type__in=("", task_type))
    return list(rows.order_by("-at")[:MOST_TICKS])


def open_alarms(task_type: str = "") -> list[Alarm]:
    """Return the alarms that nobody has reset. One query."""
    rows = Alarm.objects.select_related("owner").filter(status__in=OPEN)
    return list(rows.filter(task_type=task_type) if task_type else rows)


def drift_charts(task_type: str = "") -> list[tuple[Watched, str, Any]]:
    """Return the drift charts by task type: what is watched, the task type, the chart. One query."""
    rows = DriftChart.objects.order_by("task_type", "watched")
    found = rows.filter(task_type=task_type) if task_type else rows
    order = list(Watched)
    charts = [(Watched(row.watched), row.task_type, from_json(row.body)) for row in found]
    return sorted(charts, key=lambda one: (one[1], order.index(one[0])))


def in_flight(task_type: str) -> int:
    """Return how many runs have not ended, up to `IN_FLIGHT`. One query."""
    rows = RunFact.objects.filter(ended_at__isnull=True)
    return (rows.filter(task_type=task_type) if task_type else rows)[:IN_FLIGHT].count()


def behind(now: datetime) -> timedelta | None:
    """Return how far the rollups are behind the record; None before anything was read."""
    reader = Reader.objects.first()
    if reader is None or reader.read_at is None:
        return None
    return now - reader.behind_since if reader.behind_since is not None else timedelta(0)


@dataclass(frozen=True, slots=True)
class FactPage:
    """At most 50 runs, newest end first; `next` is where to continue, empty at the end."""

    facts: tuple[RunFact, ...]
    next: str


def fact_page(
    *,
    task_type: str,
    outcome: str,
    only: str,
    since: datetime | None,
    until: datetime | None,
    before: tuple[datetime, int] | None,
) -> FactPage:
    """Return the runs behind a point. `only`: tool_errors, overrides, or empty. One query by an index."""
    rows = RunFact.objects.filter(ended_at__isnull=False, counted=True).order_by("-ended_at", "-id")
    if task_type:
        rows = rows.filter(task_type=task_type)
    if outcome:
        rows = rows.filter(outcome=outcome)
    if only == "tool_errors":
        rows = rows.filter(tool_errors__gt=0)
    elif only == "overrides":
        rows = rows.filter(overrides__gt=0)
    if since is not None:
        rows = rows.filter(ended_at__gte=since)
    if until is not None:
        rows = rows.filter(ended_at__lt=until)
    if before is not None:
        at, pk = before
        rows = rows.filter(ended_at__lte=at).exclude(ended_at=at, id__gte=pk)
    found = list(rows[:51])
    last = found[49] if len(found) > 50 else None
    place = f"{last.ended_at.isoformat()}~{last.pk}" if last is not None and last.ended_at is not None else ""
    return FactPage(tuple(found[:50]), place)
