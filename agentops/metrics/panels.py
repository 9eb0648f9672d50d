"""What the dashboard shows, made of cells: tiles, charts with their tables, and the lists beneath them. No queries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString

from agentops.metrics import definitions as d
from agentops.metrics import printing
from agentops.metrics.cells import Grain, Kind
from agentops.metrics.charts import Chart, Value, draw, percent, span_text, strip
from agentops.metrics.dashboard import Cells
from agentops.metrics.drift import BASELINE, BETWEEN_ALONE, STEPS_H
from agentops.metrics.drift import Chart as Drift
from agentops.metrics.models import Change, Watched
from agentops.metrics.statistics import FEW, Rate
from agentops.wire.money import format_micros

BANDS: Final = ("low", "medium", "high", "critical")
RANKED: Final = 20
KIND_WORDS: Final = {
    "planner": "Planner",
    "prompt": "Prompt",
    "model": "Model",
    "contract": "Contract",
    "policy": "Policy",
    "release": "Release",
    "rule": "Rule",
}
"""Kinds of changes that are drawn."""
DRIFT_WORDS: Final[Mapping[Watched, tuple[str, str, str]]] = {
    Watched.RUNS: ("runs", "failures", "more steps"),
    Watched.OVERRIDES: ("proposals", "overrides", ""),
    Watched.RUBBER_STAMPS: ("proposals", "fewer overrides", "shorter reading"),
}
"""What the items of a chart are, what is counted of them, and what is watched beside it."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One number: its value, how sure it is, what it is made of, and where it leads."""

    title: str
    value: str
    interval: str
    n: str
    trend: str
    url: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its twin: `columns` of the table, `rows` (moment, url, [cell]), `hours` whether these are hours."""

    id: str
    title: str
    definition: str
    chart: Chart
    columns: tuple[str, ...]
    rows: tuple[tuple[datetime, str, tuple[str, ...]], ...]
    hours: bool

    @property
    def points(self) -> SafeString:
        """The points of the chart as they stand in the page."""
        return printing.points(self.chart.lines)

    @property
    def table(self) -> SafeString:
        """The rows of the table as they stand in the page."""
        return printing.table(self.rows, hours=self.hours)


def rate_words(rate: Rate) -> str:
    """Print a rate with its interval, or raw counts where there are too few."""
    if rate.share is None or rate.low is None or rate.high is None:
        return f"{rate.hits} of {rate.n}" if rate.n else "none"
    return f"{percent(rate.share)} ({percent(rate.low)} to {percent(rate.high)})"


def runs_url(task_type: str, **more: str) -> str:
    """Return the address of the runs behind a point."""
    return f"{reverse('metrics_runs')}?{_runs_asked(task_type, **more)}"


def _runs_asked(task_type: str, **more: str) -> str:
    return urlencode({name: value for name, value in {"task_type": task_type, **more}.items() if value})


@dataclass(slots=True)
class Panels:
    """The parts of one dashboard."""

    cells: Cells
    task_type: str
    end: datetime
    changes: Sequence[Change]
    names: Mapping[str, str]
    """What task types are called, by slug."""
    _runs_page: str = field(init=False, default_factory=lambda: reverse("metrics_runs"))
    _audit_page: str = field(init=False, default_factory=lambda: reverse("audit"))

    def tiles(self) -> list[Tile]:
        """Return the numbers on top."""
        since = self.cells.since.isoformat()
        runs = self.cells.now(Kind.RUN)
        spent, tools = d.cost(runs), self.cells.now(Kind.TOOL)
        tiles = [
            self._tile(
                d.SUCCESS if not self._unchecked_only(runs) else d.COMPLETED, runs_url(self.task_type, since=since)
            ),
            self._tile(d.OVERRIDE, runs_url(self.task_type, since=since, only="overrides")),
            Tile(
                "Cost per completed task",
                format_micros(spent.micros) if spent.micros is not None else "no task completed",
                f"{spent.tokens:,} tokens, {round((spent.reviewer_s or 0) / 60, 1)} min of reviewers"
                if spent.tokens is not None
                else "",
                f"{spent.completed:,} completed"
                + (f", {spent.unpriced:,} requests without a price" if spent.unpriced else ""),
                "",
                runs_url(self.task_type, since=since, outcome="succeeded"),
            ),
            self._tile(d.TOOL_ERRORS, runs_url(self.task_type, since=since, only="tool_errors"), compare=False),
        ]
        if orphans := tools.get("orphans", 0):
            url = self._events(self.cells.since, self.end, type="call.succeeded")
            tiles.append(Tile("Orphan actions", str(orphans), "effects without a permission on record", "", "", url))
        return tiles

    def figures(self) -> list[Figure]:
        """Return the charts over time."""
        return [self._success(), self._override(), self._latency(), self._cost()]

    def by_task_type(self) -> list[dict[str, Any]]:
        """Return success and override of every task type; `unchecked` where it has no criterion to succeed by."""
        runs, bands = self.cells.by_task_type(Kind.RUN), self.cells.by_task_type(Kind.BAND)
        since = self.cells.since.isoformat()
        return [
            {
                "name": self.names.get(name, name),
                "url": runs_url(name, since=since),
                "success": self._rate(d.SUCCESS, runs.get(name, {})),
                "unchecked": self._unchecked_only(runs.get(name, {})),
                "completed": self._rate(d.COMPLETED, runs.get(name, {})),
                "override": self._rate(d.OVERRIDE, bands.get(name, {})),
                "steps": d.spread(runs.get(name, {}), "steps", exact=True),
            }
            for name in sorted({*runs, *bands})
        ]

    def tools(self) -> list[dict[str, Any]]:
        """Return tools by how often their calls end in an error, the worst first."""
        ranked = sorted(self.cells.by_key(Kind.TOOL).items(), key=lambda one: _worst_first(*one))
        return [
            {
                "name": name,
                "url": self._events(self.cells.since, self.end, tool=name),
                "rate": self._rate(d.TOOL_ERRORS, counts),
                "calls": counts.get("calls", 0),
                **{by: counts.get(by, 0) for by in ("agent", "tool", "policy")},
            }
            for name, counts in ranked[:RANKED]
        ]

    def rules(self) -> list[dict[str, Any]]:
        """Return gate yield beside the attention it took, the most attention first."""
        found = self.cells.by_key(Kind.RULE)
        ranked = sorted(
            found, key=lambda name: (-found[name].get("reading_ms", 0), -found[name].get("decided", 0), name)
        )
        return [
            {
                "name": name,
                "rate": self._rate(d.GATE_YIELD, found[name]),
                "attention": span_text(found[name].get("reading_ms", 0)) if found[name].get("read") else "not measured",
            }
            for name in ranked[:RANKED]
        ]

    def variants(self) -> list[dict[str, Any]]:
        """Return success, steps and cost by planner, prompt and model."""
        rows = []
        for kind in (Kind.PLANNER, Kind.PROMPT, Kind.MODEL):
            for name, counts in sorted(self.cells.by_key(kind).items()):
                steps = d.spread(counts, "steps", exact=True)
                mean = counts.get("steps", 0) / counts["succeeded"] if counts.get("succeeded") else None
                spent = d.cost(counts)
                rows.append(
                    {
                        "kind": KIND_WORDS[kind],
                        "name": name,
                        "completed": self._rate(d.COMPLETED, counts),
                        "steps": steps,
                        "mean": f"{mean:.1f}" if mean is not None else "",
                        "repeats": counts.get("repeats", 0),
                        "cost": format_micros(spent.micros) if spent.micros is not None else "",
                    }
                )
        return rows

    def bands(self) -> list[dict[str, Any]]:
        """Return what people did by risk band."""
        found = self.cells.by_key(Kind.BAND)
        rows = []
        for band in (one for one in BANDS if one in found):
            counts = found[band]
            wait, reading, expected = (d.spread(counts, name) for name in ("wait", "reading", "expected"))
            rows.append(
                {
                    "band": band,
                    "rates": [
                        {"name": name, **self._rate(one, counts)}
                        for name, one in (
                            ("Rejected", d.REJECTED),
                            ("Edited", d.EDITED),
                            ("Undone", d.UNDONE),
                            ("Too fast", d.STAMPED),
                            ("Not answered", d.EXPIRED),
                        )
                    ],
                    "wait": _pair(wait.p50, wait.p90),
                    "reading": _pair(reading.p10, reading.p50),
                    "expected": span_text(expected.p50) if expected.p50 is not None else "",
                }
            )
        return rows

    def oversight(self) -> list[tuple[str, str, str]]:
        """Return the rates of oversight over everything: title, value, definition."""
        pairs = ((d.UNCHECKED, Kind.RUN), (d.AUTONOMY, Kind.TOOL), (d.TAINTED, Kind.BAND), (d.EXPIRED, Kind.BAND))
        return [
            (one.title, rate_words(one.read(self.cells.now(kind))), f"{one.numerator}, of {one.denominator}")
            for one, kind in pairs
        ]

    # --- charts -------------------------------------------------------------------------------------------------

    def _success(self) -> Figure:
        spans = self.cells.by_span(Kind.RUN)
        main = d.COMPLETED if self._unchecked_only(self.cells.now(Kind.RUN)) else d.SUCCESS
        return self._rates(
            "success",
            main,
            spans,
            lambda at: self._runs(at),
            ("Verified", "Completed without a check", "Failed", "Cancelled"),
            lambda counts: tuple(f"{counts.get(n, 0):,}" for n in ("verified", "unchecked", "failed", "cancelled")),
        )

    def _override(self) -> Figure:
        return self._rates(
            "override",
            d.OVERRIDE,
            self.cells.by_span(Kind.BAND),
            lambda at: self._decisions(at),
            ("Decided", "Rejected", "Edited", "Undone"),
            lambda counts: tuple(f"{counts.get(n, 0):,}" for n in ("decided", "reject", "edit", "undone")),
        )

    def _rates(
        self,
        id_: str,
        definition: d.Definition,
        spans: Sequence[tuple[datetime, Mapping[str, int]]],
        url: Callable[[datetime], str],
        columns: tuple[str, ...],
        cells: Callable[[Mapping[str, int]], tuple[str, ...]],
    ) -> Figure:
        values, rows = [], []
        for at, counts in spans:
            rate = definition.read(counts)
            text = f"{self._when(at)}: {rate_words(rate)}, n {rate.n:,}"
            place = url(at)
            values.append(Value(at, rate.share, rate.low, rate.high, text, place))
            rows.append((at, place, (rate_words(rate), f"{rate.n:,}", *cells(counts))))
        chart = self._draw([(definition.title, values)], ceiling=1.0, words=percent)
        words = f"{definition.numerator}, of {definition.denominator}; per {definition.unit}"
        return self._figure(id_, definition.title, words, chart, (definition.title, "n", *columns), rows)

    def _latency(self) -> Figure:
        whole: list[Value] = []
        work: list[Value] = []
        rows = []
        for at, counts in self.cells.by_span(Kind.RUN):
            all_, own = d.spread(counts, "latency"), d.spread(counts, "work")
            enough, place = all_.n >= FEW, self._runs(at, "succeeded")
            for values, one, what in ((whole, all_, "with"), (work, own, "without")):
                text = f"{self._when(at)}: median {_span(one.p50)} {what} the time people took, n {one.n:,}"
                values.append(Value(at, one.p50 if enough else None, None, None, text, place))
            cells = (_span(all_.p50), _span(all_.p90), _span(own.p50), _span(own.p90), f"{all_.n:,}")
            rows.append((at, place, cells))
        chart = self._draw([("with human wait", whole), ("without human wait", work)], ceiling=None, words=span_text)
        columns = ("Median", "90 %", "Median without people", "90 % without people", "n")
        title = "Latency per completed task"
        return self._figure("latency", title, d.AMOUNTS[title], chart, columns, rows)

    def _cost(self) -> Figure:
        values, rows = [], []
        for at, counts in self.cells.by_span(Kind.RUN):
            one = d.cost(counts)
            price = format_micros(one.micros) if one.micros is not None else ""
            shown = one.micros if one.completed >= FEW else None
            text = f"{self._when(at)}: {price or 'no task completed'}, n {one.completed:,}"
            place = self._runs(at)
            values.append(Value(at, shown, None, None, text, place))
            parts = [format_micros(v) if v is not None else "" for v in (one.model_micros, one.tool_micros)]
            minutes = f"{one.reviewer_s / 60:.1f} min" if one.reviewer_s is not None else ""
            tokens = f"{one.tokens:,}" if one.tokens is not None else ""
            rows.append((at, place, (price, *parts, tokens, minutes, f"{one.completed:,}")))
        chart = self._draw([("cost", values)], ceiling=None, words=lambda micros: format_micros(round(micros)))
        columns = ("Cost", "Models", "Tools", "Tokens", "Reviewers", "Completed")
        title = "Cost per completed task"
        return self._figure("cost", title, d.AMOUNTS[title], chart, columns, rows)

    def _draw(
        self, series: Sequence[tuple[str, Sequence[Value]]], *, ceiling: float | None, words: Callable[[float], str]
    ) -> Chart:
        ticks = [(one.at, f"{KIND_WORDS[one.kind]} {one.label}") for one in self.changes]
        return draw(series, ceiling=ceiling, words=words, ticks=ticks, end=self.end)

    def _figure(
        self,
        id_: str,
        title: str,
        words: str,
        chart: Chart,
        columns: tuple[str, ...],
        rows: Sequence[tuple[datetime, str, tuple[str, ...]]],
    ) -> Figure:
        return Figure(id_, title, words, chart, columns, tuple(rows), hours=self.cells.window.grain is Grain.HOUR)

    # --- small things -------------------------------------------------------------------------------------------

    def _tile(self, definition: d.Definition, url: str, *, compare: bool = True) -> Tile:
        rate, trend = self.cells.change(definition)
        sure = f"{percent(rate.low)} to {percent(rate.high)}" if rate.low is not None and rate.high is not None else ""
        need = f"{FEW - rate.n} more are needed for a rate" if rate.few else ""
        value = percent(rate.share) if rate.share is not None else f"{rate.hits} of {rate.n}"
        unit = definition.unit.partition(",")[0]
        n = f"{rate.n:,} {unit}{'' if rate.n == 1 else 's'}"
        return Tile(definition.title, value, sure or need, n, trend if compare else "", url)

    def _rate(self, definition: d.Definition, counts: Mapping[str, int]) -> dict[str, Any]:
        """Return a rate with its words and its place on a strip 100 wide."""
        rate = definition.read(counts)
        return {
            **asdict(rate),
            "words": rate_words(rate),
            "x": _place(rate.share),
            "left": _place(rate.low),
            "width": round((rate.high - rate.low) * 100, 1) if rate.high is not None and rate.low is not None else None,
        }

    def _unchecked_only(self, counts: Mapping[str, int]) -> bool:
        """Whether no task type in view has a success criterion: then success cannot be told from completion."""
        return not counts.get("verified", 0) and counts.get("unchecked", 0) > 0

    def _runs(self, at: datetime, outcome: str = "") -> str:
        until = (at + self.cells.window.span).isoformat()
        return f"{self._runs_page}?{_runs_asked(self.task_type, since=at.isoformat(), until=until, outcome=outcome)}"

    def _decisions(self, at: datetime) -> str:
        return self._events(at, at + self.cells.window.span, type="proposal.decided")

    def _events(self, since: datetime, until: datetime, **more: str) -> str:
        """Return the address of the events behind a point."""
        span = {"since": f"{since:%Y-%m-%dT%H:%M}", "until": f"{until:%Y-%m-%dT%H:%M}"}
        return f"{self._audit_page}?{urlencode({**more, **span})}"

    def _when(self, at: datetime) -> str:
        return f"{at:%d %b %H:%M}" if self.cells.window.name == "24h" else f"{at:%d %b}"


def change_url(one: Change) -> str:
    """Return the page of a change: the event of a rule, empty for what was first seen in a run."""
    return reverse("audit_event", args=[one.event_id]) if one.event_id else ""


def drift_rows(charts: Sequence[tuple[Watched, str, Drift]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the drift charts as strips: what is watched, of which task type (its name by slug), and both sums.

    `units`, `counted` and `sized` are words: what the items are, what of them is counted, and what their size is.
    """
    rows: list[dict[str, Any]] = []
    for watched, slug, chart in charts:
        base = chart.baseline
        units, counted, sized = DRIFT_WORDS[watched]
        row: dict[str, Any] = {"name": names.get(slug, slug), "runs": chart.runs}
        row |= {"learning": base is None, "needed": BASELINE}
        row |= {"units": units, "counted": counted, "sized": sized}
        if base is not None:
            fewer = watched is Watched.RUBBER_STAMPS
            failures, level = strip([s for _, s, _, _ in chart.trail], base.h)
            steps, steps_level = strip([down if fewer else up for _, _, up, down in chart.trail], STEPS_H)
            row |= {
                "rate": percent(base.rate),
                "s": f"{chart.s:.2f}",
                "h": f"{base.h:.2f}",
                "sum": f"{chart.down if fewer else chart.up:.2f}",
                "steps_h": STEPS_H,
                "failures": failures,
                "level": level,
                "steps": steps if sized else "",
                "steps_level": steps_level,
            }
        rows.append(row)
    return rows


def false_alarms(charts: int, runs_a_day: float) -> str:
    """Say how often a false alarm is to be expected, from the run lengths the thresholds were solved for."""
    if not charts or runs_a_day <= 0:
        return f"about once in {BETWEEN_ALONE:,} runs of a task type"
    days = BETWEEN_ALONE / runs_a_day
    return f"about once in {BETWEEN_ALONE:,} runs, at the present pace every {_long(days)}"


def _long(days: float) -> str:
    """Say how long something takes, in the unit that people count it in."""
    if days < 60:
        return "day" if days < 1.5 else f"{round(days)} days"
    return f"{round(days / 30.44)} months" if days < 730 else f"{round(days / 365.25):,} years"


def _worst_first(name: str, counts: Mapping[str, int]) -> tuple[float, int, str]:
    calls = counts.get("calls", 0)
    return -(calls - counts.get("ok", 0)) / max(1, calls), -calls, name


def _place(share: float | None) -> float | None:
    """Return where a share lies on a strip 100 wide."""
    return round(share * 100, 1) if share is not None else None


def _pair(low: int | None, high: int | None) -> str:
    return f"{_span(low)}, {_span(high)}" if low is not None else ""


def _span(ms: int | None) -> str:
    return span_text(ms) if ms is not None else ""
