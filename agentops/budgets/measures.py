"""What a budget counts, over which period, and how that reads. Pure.

Periods are those of UTC: a tenant has no time zone of its own, and a budget that renewed at another moment than the one
on its page would be worse. A week begins on Monday.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from agentops.wire.money import format_micros


class Measure(StrEnum):
    """What is counted."""

    COST = "cost_micros"
    TOKENS = "tokens"
    MODEL_CALLS = "model_calls"
    TOOL_CALLS = "tool_calls"
    RUNS = "runs"
    REVIEWER = "reviewer_s"


class Period(StrEnum):
    """After how long a budget begins again."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


NAMES: Final[Mapping[str, str]] = {
    Measure.COST: "cost",
    Measure.TOKENS: "tokens",
    Measure.MODEL_CALLS: "model calls",
    Measure.TOOL_CALLS: "tool calls",
    Measure.RUNS: "runs",
    Measure.REVIEWER: "reviewers' time",
}

HARD_MAXIMA: Final[Mapping[str, int]] = {
    Measure.COST: 10**15,
    Measure.TOKENS: 10**15,
    Measure.MODEL_CALLS: 10**9,
    Measure.TOOL_CALLS: 10**9,
    Measure.RUNS: 10**9,
    Measure.REVIEWER: 10**9,
}
"""The largest limit of each; sums of amounts below them fit into the columns of an account."""

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the one period of a budget that never renews is said to start."""


def period_start(period: Period | str, at: datetime) -> datetime:
    """Return the first moment (UTC) of the period that an aware moment lies in."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match Period(period):
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)
        case Period.TOTAL:
            return BEGINNING


def renews_at(period: Period | str, start: datetime) -> datetime | None:
    """Return the first moment of the period after the one that begins at `start`; None if there is none."""
    match Period(period):
        case Period.DAY:
            return start + timedelta(days=1)
        case Period.WEEK:
            return start + timedelta(days=7)
        case Period.MONTH:
            return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        case Period.TOTAL:
            return None


def amount_text(measure: str, amount: int) -> str:
    """Print an amount of a measure (or of a run's limit): money, a length of time, or a number."""
    if measure == Measure.COST:
        return format_micros(amount)
    return duration_text(amount) if measure.endswith("_s") else f"{amount:,}"


def duration_text(seconds: int) -> str:
    """Print whole seconds: `90 s`, `14 min 5 s`, `3 h 20 min`."""
    if seconds < 120:
        return f"{seconds} s"
    large, small, names = (3600, 60, ("h", "min")) if seconds >= 7200 else (60, 1, ("min", "s"))
    whole, rest = divmod(seconds, large)
    return f"{whole:,} {names[0]}" + (f" {rest // small} {names[1]}" if rest // small else "")
