"""When does a planner get worse? Cumulative sums over the runs of one task type, in the order they end. Pure.

Failures: a Bernoulli CUSUM (Page 1954; Reynolds and Stoumbos 1999) in its risk-adjusted form (Steiner et al. 2000):
what is expected of a run depends on what was known of its task; the chart watches for odds of failing twice as high.
Steps: a two-sided CUSUM of the logarithm of steps of completed runs, in standard deviations, k = 0.5 and h = 5.

Of what people decide the same: an item is a proposal, overriding it is failing, and its size is the time it was read
for. With a ratio below one the chart watches for what happens less often than expected: an improvement, or people who
no longer look, and then they read for less time as well.

Thresholds are solved for so many runs between false alarms; with a single expected rate they are the published ones
(see the tests). Run lengths come from the regeneration of the chart at zero: E[items of a cycle] / P(alarm in a cycle).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import exp, log, sqrt
from typing import Any, Final

from agentops.wire.parse import JSONObject

ODDS_RATIO: Final = 2.0
FEWER: Final = 0.5
"""The odds ratio of a chart that watches for less than expected."""
BETWEEN: Final = 5_000
"""Runs between false alarms of the chart of failures where the one of steps has to agree."""
BETWEEN_ALONE: Final = 20_000
"""Runs between false alarms where the chart of failures says it alone."""

STEPS_K: Final = 0.5
STEPS_H: Final = 5.0
BASELINE: Final = 500
BASELINE_AGE: Final = timedelta(days=28)
BASELINE_LEAST: Final = 100
"""Runs that are enough for a baseline once the first one is `BASELINE_AGE` old."""

_PRIOR: Final = 20
_GROUPS: Final = 3
_GRID: Final = 100
_TRAIL: Final = 120
_SPREAD_LEAST: Final = 0.1

Outcome = tuple[float, float]
"""Probability and weight of what one item can add to a chart."""


@dataclass(frozen=True, slots=True)
class Item:
    """One run that ended: `steps` of a completed one, `stratum` what was known of its task.

    Or one proposal that was decided: `failed` if it was overridden, `steps` the milliseconds it was read for.
    """

    at: datetime
    failed: bool
    steps: int | None
    stratum: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is expected, frozen: the rate of failures in all and by stratum, log steps, and the two thresholds."""

    runs: int
    rate: float
    rates: Mapping[str, float]
    mean: float
    spread: float
    h: float
    h_alone: float
    ratio: float = ODDS_RATIO


@dataclass(frozen=True, slots=True)
class Chart:
    """The charts of one task type after some runs. While `baseline` is None they learn.

    `s` is the sum of failures, `up` and `down` those of steps. `zero_at` is when `s` was last zero, `since` and
    `failures` count runs from there. `strata` are (runs, failures) while learning, `logs` (n, sum, sum of squares).
    `trail` are the newest (moment, s, up, down) for the drawing.
    """

    began: datetime | None = None
    runs: int = 0
    failed: int = 0
    strata: Mapping[str, tuple[int, int]] | None = None
    logs: tuple[int, float, float] = (0, 0.0, 0.0)
    baseline: Baseline | None = None
    s: float = 0.0
    up: float = 0.0
    down: float = 0.0
    zero_at: datetime | None = None
    since: int = 0
    failures: int = 0
    trail: tuple[tuple[str, float, float, float], ...] = ()

    @property
    def planner_drifts(self) -> bool:
        """Whether success goes down while steps go up."""
        return self.baseline is not None and self.s >= self.baseline.h and self.up >= STEPS_H

    @property
    def rubber_stamped(self) -> bool:
        """Whether less is overridden than expected while it is read for less time."""
        base = self.baseline
        return base is not None and base.ratio < 1 and self.s >= base.h and self.down >= STEPS_H

    @property
    def success_drifts(self) -> bool:
        """Whether success alone has gone down beyond doubt."""
        return self.baseline is not None and self.s >= self.baseline.h_alone


def add(chart: Chart, item: Item, ratio: float = ODDS_RATIO) -> Chart:
    """Return the charts after one more item. `ratio` is what a chart that still learns will watch for."""
    if chart.baseline is None:
        return _learn(chart, item, ratio)
    base = chart.baseline
    up_weight, down_weight = adjusted_weights(base.rates.get(item.stratum, base.rate), base.ratio)
    s = max(0.0, chart.s + (up_weight if item.failed else down_weight))
    up, down = chart.up, chart.down
    if item.steps:
        z = (log(item.steps) - base.mean) / base.spread
        up, down = max(0.0, up + z - STEPS_K), max(0.0, down - z - STEPS_K)
    point = (item.at.isoformat(), round(s, 3), round(up, 3), round(down, 3))
    at_zero = s == 0.0
    return replace(
        chart,
        runs=chart.runs + 1,
        s=s,
        up=up,
        down=down,
        zero_at=item.at if at_zero else chart.zero_at or item.at,
        since=0 if at_zero else chart.since + 1,
        failures=0 if at_zero else chart.failures + item.failed,
        trail=(*chart.trail[-(_TRAIL - 1) :], point),
    )


def cleared(chart: Chart) -> Chart:
    """Return the charts at zero with the same baseline."""
    return replace(chart, s=0.0, up=0.0, down=0.0, zero_at=None, since=0, failures=0)


def _learn(chart: Chart, item: Item, ratio: float) -> Chart:
    began = chart.began or item.at
    strata = dict(chart.strata or {})
    n, failed = strata.get(item.stratum, (0, 0))
    strata[item.stratum] = (n + 1, failed + item.failed)
    logs = chart.logs
    if item.steps:
        value = log(item.steps)
        logs = (logs[0] + 1, logs[1] + value, logs[2] + value * value)
    learned = replace(
        chart,
        began=began,
        runs=chart.runs + 1,
        failed=chart.failed + item.failed,
        strata=strata,
        logs=logs,
    )
    old_enough = item.at - began >= BASELINE_AGE and learned.runs >= BASELINE_LEAST
    if learned.runs < BASELINE and not old_enough:
        return learned
    return Chart(began=began, runs=learned.runs, failed=learned.failed, baseline=baseline_of(learned, ratio))


def baseline_of(chart: Chart, ratio: float = ODDS_RATIO) -> Baseline:
    """Freeze what was learned: Beta posterior means, each stratum drawn towards the whole."""
    strata = chart.strata or {}
    overall = _clamped((chart.failed + 1) / (chart.runs + 2))
    rates = {name: _clamped((f + _PRIOR * overall) / (n + _PRIOR)) for name, (n, f) in strata.items()}
    n, total, squares = chart.logs
    mean = total / n if n else 0.0
    spread = sqrt(max(0.0, squares / n - mean * mean)) if n else 0.0
    mix = [(count / chart.runs, rates[name]) for name, (count, _) in strata.items()]
    outcomes = _outcomes(_grouped(mix), ratio)
    h = threshold(outcomes, BETWEEN, 2.0 if ratio > 1 else 0.1)
    return Baseline(
        runs=chart.runs,
        rate=overall,
        rates=rates,
        mean=mean,
        spread=max(spread, _SPREAD_LEAST),
        h=h,
        h_alone=threshold(outcomes, BETWEEN_ALONE, h),
        ratio=ratio,
    )


def adjusted_weights(p: float, ratio: float = ODDS_RATIO) -> tuple[float, float]:
    """Return what a failure and a success add where failing was expected with probability p (Steiner et al. 2000)."""
    scale = log(1 - p + ratio * p)
    return log(ratio) - scale, -scale


def bernoulli_weights(p0: float, p1: float) -> tuple[float, float]:
    """Return what an event and anything else add to a chart that tells p1 from p0."""
    return log(p1 / p0), log((1 - p1) / (1 - p0))


def two(p: float, weights: tuple[float, float]) -> list[Outcome]:
    """Return the outcomes of an item that is an event with probability p."""
    return [(p, weights[0]), (1 - p, weights[1])]


def run_length(outcomes: Sequence[Outcome], h: float) -> float:
    """Return the expected number of items until a chart that starts at zero reaches h.

    Exact for two outcomes; with more the sums are put on a grid of h / 100, linearly between its points.
    """
    if len(outcomes) > 2:
        return _run_length_on_grid(outcomes, h)
    unit = 1e-9
    mass: dict[int, float] = {0: 1.0}
    items = alarm = 0.0
    while mass:
        items += sum(mass.values())
        after: dict[int, float] = {}
        for place, weight_of in mass.items():
            for chance, weight in outcomes:
                s, m = place * unit + weight, weight_of * chance
                if s >= h - 1e-9:
                    alarm += m
                elif s > 1e-9:
                    low = int(s / unit)
                    part = s / unit - low
                    after[low] = after.get(low, 0.0) + m * (1 - part)
                    after[low + 1] = after.get(low + 1, 0.0) + m * part
        after = _merged(after)
        # What a place on the grid below the first holds has come back to zero.
        after.pop(0, None)
        mass = {place: m for place, m in after.items() if m > 1e-10}
    return items / alarm if alarm else float("inf")


def _run_length_on_grid(outcomes: Sequence[Outcome], h: float) -> float:
    """Solve for how often each place of a grid is visited before the sum is zero again or over h."""
    unit, size = h / _GRID, _GRID + 1
    leave = [0.0] * size
    rows = [[0.0] * size + [0.0] for _ in range(size)]
    for place in range(size):
        rows[place][place] += 1.0
        for chance, weight in outcomes:
            s = place * unit + weight
            if s >= h - 1e-9:
                leave[place] += chance
            elif s > 1e-9:
                low = int(s / unit)
                part = s / unit - low
                for to, m in ((low, chance * (1 - part)), (low + 1, chance * part)):
                    if 0 < to < size:
                        rows[to][place] -= m
    rows[0][size] = 1.0
    visits = _solved(rows)
    alarm = sum(n * chance for n, chance in zip(visits, leave, strict=True))
    return sum(visits) / alarm if alarm > 0 else float("inf")


def _solved(rows: list[list[float]]) -> list[float]:
    """Solve linear equations by elimination, the right sides in the last column. The diagonal dominates."""
    size = len(rows)
    for column in range(size):
        pivot = rows[column]
        for row in rows[column + 1 :]:
            if factor := row[column] / pivot[column]:
                row[column:] = [a - factor * b for a, b in zip(row[column:], pivot[column:], strict=True)]
    found = [0.0] * size
    for column in reversed(range(size)):
        row = rows[column]
        known = sum(a * b for a, b in zip(row[column + 1 : size], found[column + 1 :], strict=True))
        found[column] = (row[size] - known) / row[column]
    return found


def _merged(mass: Mapping[int, float]) -> dict[int, float]:
    """Put neighbours that differ by rounding alone together."""
    result: dict[int, float] = {}
    for place in sorted(mass):
        near = next((one for one in (place - 1, place - 2) if one in result), place)
        result[near] = result.get(near, 0.0) + mass[place]
    return result


def threshold(outcomes: Sequence[Outcome], between: float, low: float = 2.0) -> float:
    """Return the lowest h above `low` (within 0.02) with at least so many items between false alarms."""
    high = low + 2.0
    while run_length(outcomes, high) < between and high < 16:
        low, high = high, high + 1.0
    while high - low > 0.02:
        middle = (low + high) / 2
        if run_length(outcomes, middle) < between:
            low = middle
        else:
            high = middle
    return round(high, 2)


def _clamped(p: float) -> float:
    return min(0.99, max(0.005, p))


def _grouped(mix: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Put strata of (share, rate) into at most three groups of like rates, each with its mean."""
    ordered = sorted(mix, key=lambda one: one[1])
    groups: list[list[tuple[float, float]]] = [[] for _ in range(_GROUPS)]
    seen = 0.0
    for share, p in ordered:
        groups[min(_GROUPS - 1, int((seen + share / 2) * _GROUPS))].append((share, p))
        seen += share
    totals = [(sum(s for s, _ in group), sum(s * p for s, p in group)) for group in groups if group]
    joined: list[tuple[float, float]] = []
    for share, weighted in totals:
        p = weighted / share
        if joined and abs(joined[-1][1] - p) < 0.002:
            before, other = joined[-1]
            joined[-1] = (before + share, (before * other + share * p) / (before + share))
        else:
            joined.append((share, p))
    return joined


def _outcomes(mix: Sequence[tuple[float, float]], ratio: float) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for share, p in mix:
        outcomes += [(share * chance, weight) for chance, weight in two(p, adjusted_weights(p, ratio))]
    return outcomes


# --- as stored ------------------------------------------------------------------------------------------------------


def to_json(chart: Chart) -> JSONObject:
    """Return the chart as it is stored."""
    base = chart.baseline
    return {
        "began": _text(chart.began),
        "runs": chart.runs,
        "failed": chart.failed,
        "strata": {name: [n, f] for name, (n, f) in (chart.strata or {}).items()},
        "logs": list(chart.logs),
        "baseline": None
        if base is None
        else {
            "runs": base.runs,
            "rate": base.rate,
            "rates": dict(base.rates),
            "mean": base.mean,
            "spread": base.spread,
            "h": base.h,
            "h_alone": base.h_alone,
            "ratio": base.ratio,
        },
        "sums": [chart.s, chart.up, chart.down],
        "zero_at": _text(chart.zero_at),
        "since": [chart.since, chart.failures],
        "trail": [list(point) for point in chart.trail],
    }


def from_json(body: Mapping[str, Any]) -> Chart:
    """Read a stored chart."""
    base = body["baseline"]
    return Chart(
        began=_moment(body["began"]),
        runs=body["runs"],
        failed=body["failed"],
        strata={name: (n, f) for name, (n, f) in body["strata"].items()},
        logs=(body["logs"][0], float(body["logs"][1]), float(body["logs"][2])),
        baseline=Baseline(**base) if base is not None else None,
        s=float(body["sums"][0]),
        up=float(body["sums"][1]),
        down=float(body["sums"][2]),
        zero_at=_moment(body["zero_at"]),
        since=body["since"][0],
        failures=body["since"][1],
        trail=tuple((str(at), float(s), float(up), float(down)) for at, s, up, down in body["trail"]),
    )


def _text(at: datetime | None) -> str:
    return at.isoformat() if at is not None else ""


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def usual_steps(base: Baseline) -> float:
    """Return the usual (geometric mean) number of steps of a completed run."""
    return exp(base.mean)
