"""Periods are those of UTC, follow each other without a gap, and amounts read like what they are."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.budgets.measures import Period, amount_text, duration_text, period_start, renews_at

moments = st.integers(0, 200 * 365 * 86_400).map(lambda s: datetime(1980, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
renewing = st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH])


@given(renewing, moments)
def test_every_moment_lies_in_exactly_one_period(period: Period, at: datetime) -> None:
    start = period_start(period, at)
    end = renews_at(period, start)
    assert end is not None
    assert start <= at < end
    assert period_start(period, start) == start
    assert period_start(period, end - timedelta(microseconds=1)) == start
    assert period_start(period, end) == end


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("day", "2026-11-25", "2026-11-26"),
        ("week", "2026-11-23", "2026-11-30"),
        ("month", "2026-11-01", "2026-12-01"),
        ("total", "1970-01-01", None),
    ],
)
def test_where_a_wednesday_lies(period: str, start: str, end: str | None) -> None:
    begins = period_start(period, datetime(2026, 11, 25, 23, 59, tzinfo=UTC))
    ends = renews_at(period, begins)
    assert (f"{begins:%Y-%m-%d}", ends and f"{ends:%Y-%m-%d}") == (start, end)


def test_the_year_turns() -> None:
    december = datetime(2026, 12, 1, tzinfo=UTC)
    assert renews_at("month", december) == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_day_is_one_of_utc_wherever_the_moment_was_written() -> None:
    late_in_new_york = datetime(2026, 11, 24, 21, 0, tzinfo=timezone(timedelta(hours=-5)))
    assert period_start("day", late_in_new_york) == datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("measure", "amount", "text"),
    [
        ("cost_micros", 12_500_000, "USD 12.50"),
        ("cost_micros", 120, "USD 0.000120"),
        ("cost_micros", 0, "USD 0.00"),
        ("tokens", 1_234_567, "1,234,567"),
        ("reviewer_s", 90, "90 s"),
        ("reviewer_s", 845, "14 min 5 s"),
        ("reviewer_s", 12_000, "3 h 20 min"),
        ("wall_time_s", 900, "15 min"),
    ],
)
def test_amounts_read_like_what_they_are(measure: str, amount: int, text: str) -> None:
    assert amount_text(measure, amount) == text


@given(st.integers(0, 10**9))
def test_every_length_of_time_can_be_printed(seconds: int) -> None:
    assert duration_text(seconds)
