"""Where the points of a chart lie. Pure; the template draws them, and the table beside it has the same figures.

Every chart is 600 wide and 120 high; y counts down from the top. The axis starts at zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 120


@dataclass(frozen=True, slots=True)
class Value:
    """One point to draw: its moment, its value with its interval, what it says in words, and its rows' address.

    A value of None is not drawn.
    """

    at: datetime
    value: float | None
    low: float | None
    high: float | None
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Point:
    """A point as it is drawn."""

    x: float
    y: float
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A change, as a line through the chart: `text` says what."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series: the path through its points and the band of its intervals, as SVG paths; empty where none."""

    name: str
    path: str
    band: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn chart. `top` is what the upper edge stands for, in words; `drawn` whether there is anything to see."""

    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    top: str
    middle: str
    first: datetime
    last: datetime

    @property
    def drawn(self) -> bool:
        return any(line.points for line in self.lines)


def draw(
    series: Sequence[tuple[str, Sequence[Value]]],
    *,
    ceiling: float | None,
    words: Callable[[float], str],
    ticks: Sequence[tuple[datetime, str]] = (),
    end: datetime,
) -> Chart:
    """Lay out series over the same moments. `ceiling` is the value of the upper edge; None finds a round one.

    `ticks` are (moment, text); `end` is where the last span ends.
    """
    moments = [value.at for _, values in series for value in values]
    first = min(moments)
    whole = (end - first).total_seconds() or 1.0
    step = whole / max(1, len({*moments}))

    def x_of(at: datetime, offset: float = 0.0) -> float:
        return round(((at - first).total_seconds() + offset) / whole * WIDTH, 1)

    seen = [v for _, values in series for one in values for v in (one.value, one.high) if v is not None]
    top = ceiling if ceiling is not None else round_up(max(seen, default=1.0))

    def y_of(value: float) -> float:
        return round(HEIGHT - min(1.0, value / top) * HEIGHT, 1)

    lines = []
    for name, values in series:
        shown = [(x_of(one.at, step / 2), one) for one in values if one.value is not None]
        points = tuple(Point(x, y_of(one.value or 0.0), one.text, one.url) for x, one in shown)
        bounded = [(x, one.low, one.high) for x, one in shown if one.low is not None and one.high is not None]
        upper = [f"{x} {y_of(high)}" for x, _, high in bounded]
        lower = [f"{x} {y_of(low)}" for x, low, _ in reversed(bounded)]
        lines.append(
            Line(
                name,
                "M" + "L".join(f"{p.x} {p.y}" for p in points) if len(points) > 1 else "",
                "M" + "L".join([*upper, *lower]) + "Z" if len(bounded) > 1 else "",
                points,
            )
        )
    marks = tuple(Tick(x_of(at), text) for at, text in ticks if first <= at < end)
    return Chart(tuple(lines), marks, words(top), words(top / 2), first, end)


def strip(sums: Sequence[float], h: float) -> tuple[str, float]:
    """Return the path of a sum over its runs, and how high its threshold h lies."""
    top = max(h * 1.25, *sums) if sums else h * 1.25
    width = WIDTH / max(1, len(sums) - 1)
    places = [f"{round(i * width, 1)} {round(HEIGHT - one / top * HEIGHT, 1)}" for i, one in enumerate(sums)]
    return ("M" + "L".join(places) if len(places) > 1 else ""), round(HEIGHT - h / top * HEIGHT, 1)


def round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, ... that is not below the value."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** floor(log10(value))
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= value * 0.999999)


def percent(share: float) -> str:
    """Print a share."""
    return f"{round(share * 100)} %" if 0.0995 <= share <= 0.9005 or share in (0, 1) else f"{share * 100:.1f} %"


def span_text(ms: float) -> str:
    """Print milliseconds: `340 ms`, `2.4 s`, `12 min`, `3.5 h`, `2 d`."""
    if ms < 1000:
        return f"{ceil(ms)} ms"
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if ms >= 2 * unit:
            return f"{ms / unit:.0f} {name}" if ms >= 10 * unit else f"{ms / unit:.1f} {name}"
    return f"{ms / 1000:.1f} s"
