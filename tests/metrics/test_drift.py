"""The charts keep the published run lengths, see a planted regression, and leave an unchanged system alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from agentops.metrics.drift import (
    BASELINE,
    FEWER,
    ODDS_RATIO,
    STEPS_H,
    Chart,
    Item,
    add,
    adjusted_weights,
    bernoulli_weights,
    cleared,
    from_json,
    run_length,
    threshold,
    to_json,
    two,
)

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
PUBLISHED = [
    (0.02, 0.04, 3.35, 332, 4.65, 493),
    (0.05, 0.10, 4.24, 170, 5.58, 235),
    (0.10, 0.20, 4.92, 96, 6.27, 127),
    (0.15, 0.25, 4.80, 120, 6.17, 160),
    (0.20, 0.30, 4.70, 139, 6.07, 187),
]
"""p0, p1, threshold for 5,000 items between false alarms, items to detect p1; the same for 20,000."""


@pytest.mark.parametrize(("p0", "p1", "h", "detect", "h_wide", "detect_wide"), PUBLISHED)
def test_run_lengths_are_the_published_ones(
    p0: float, p1: float, h: float, detect: int, h_wide: float, detect_wide: int
) -> None:
    weights = bernoulli_weights(p0, p1)
    assert run_length(two(p0, weights), h) == pytest.approx(5_000, rel=0.05)
    assert run_length(two(p1, weights), h) == pytest.approx(detect, rel=0.05)
    assert run_length(two(p0, weights), h_wide) == pytest.approx(20_000, rel=0.05)
    assert run_length(two(p1, weights), h_wide) == pytest.approx(detect_wide, rel=0.05)
    assert threshold(two(p0, weights), 5_000) == pytest.approx(h, rel=0.05)


def test_the_run_length_is_that_of_a_simulation() -> None:
    weights, draw, lengths = bernoulli_weights(0.10, 0.20), Random(7), []
    for _ in range(300):
        s, n = 0.0, 0
        while s < 4.92:
            s, n = max(0.0, s + weights[draw.random() >= 0.20]), n + 1
        lengths.append(n)
    assert sum(lengths) / len(lengths) == pytest.approx(run_length(two(0.20, weights), 4.92), rel=0.1)


def test_with_one_expected_rate_the_adjusted_chart_is_the_plain_one() -> None:
    p = 0.10
    odds = 2 * p / (1 - p)
    assert adjusted_weights(p) == pytest.approx(bernoulli_weights(p, odds / (1 + odds)))


def test_a_mixture_of_like_rates_has_the_run_length_of_one() -> None:
    weights = adjusted_weights(0.10)
    one = two(0.10, weights)
    both = [(chance / 2, weight) for chance, weight in one * 2]
    assert run_length(both, 4.5) == pytest.approx(run_length(one, 4.5), rel=0.05)


def system(draw: Random, n: int, *, fails: float, steps: tuple[int, ...], start: int = 0) -> list[Item]:
    """Return runs of a planner with this rate of failures; every third task is twice as likely to fail."""
    items = []
    for index in range(start, start + n):
        hard = index % 3 == 0
        failed = draw.random() < fails * (2 if hard else 1)
        items.append(Item(NOW + timedelta(minutes=index), failed, draw.choice(steps), "hard" if hard else "easy"))
    return items


def after(chart: Chart, items: list[Item]) -> tuple[Chart, int | None]:
    """Return the chart after these runs, and after how many the planner's alarm was there."""
    first = None
    for index, item in enumerate(items, 1):
        chart = add(chart, item)
        if first is None and (chart.planner_drifts or chart.success_drifts):
            first = index
    return chart, first


@pytest.fixture(scope="module")
def learned() -> Chart:
    chart, _ = after(Chart(), system(Random(1), BASELINE, fails=0.08, steps=(3, 4, 4, 5)))
    assert chart.baseline is not None
    return chart


def test_the_baseline_is_frozen_after_enough_runs(learned: Chart) -> None:
    assert learned.baseline is not None
    assert learned.baseline.runs == BASELINE
    assert learned.baseline.rate == pytest.approx(0.107, abs=0.04)
    assert learned.baseline.rates["hard"] > learned.baseline.rates["easy"]
    assert 3.5 < learned.baseline.h < 6 < learned.baseline.h_alone + 1


def test_an_unchanged_system_raises_nothing_in_five_thousand_runs(learned: Chart) -> None:
    _, first = after(learned, system(Random(11), 5_000, fails=0.08, steps=(3, 4, 4, 5), start=BASELINE))
    assert first is None


@pytest.mark.parametrize("rate", [0.6, 0.75, 0.9])
@pytest.mark.parametrize("ratio", [ODDS_RATIO, FEWER])
def test_what_happens_more_often_than_not_from_the_beginning_is_no_change(rate: float, ratio: float) -> None:
    draw, chart, alarms = Random(5), Chart(), 0
    for n in range(BASELINE + 4_000):
        chart = add(chart, Item(NOW + timedelta(minutes=n), draw.random() < rate, 4, "x"), ratio)
        if chart.success_drifts:
            chart, alarms = cleared(chart), alarms + 1
    assert alarms <= 1, "one in 20,000 where the baseline is quite right"
    assert chart.baseline is not None
    assert chart.baseline.rate == pytest.approx(rate, abs=0.05), "and it is said as it is"


def test_a_planted_regression_is_seen_within_the_expected_number_of_runs(learned: Chart) -> None:
    assert learned.baseline is not None
    worse = 0.26
    weights = adjusted_weights(learned.baseline.rate)
    expected = run_length(two(worse, weights), learned.baseline.h)
    seen = []
    for seed in range(20):
        chart, _ = after(learned, system(Random(seed), 200, fails=0.08, steps=(3, 4, 4, 5), start=BASELINE))
        _, first = after(chart, system(Random(seed), 400, fails=0.20, steps=(5, 6, 7, 8), start=BASELINE + 200))
        assert first is not None, f"seed {seed}: not seen"
        seen.append(first)
    assert sum(seen) / len(seen) <= 1.25 * expected, (seen, expected)


def test_more_steps_alone_are_shown_and_raise_nothing(learned: Chart) -> None:
    items = system(Random(5), 400, fails=0.08, steps=(5, 6, 7, 8), start=BASELINE)
    chart, first = after(learned, items)
    assert first is None
    assert chart.up > STEPS_H
    assert chart.down == 0


def test_a_harder_mix_of_tasks_is_not_the_planner(learned: Chart) -> None:
    """Only hard tasks come in: they fail twice as often, as they always did."""
    draw = Random(3)
    hard = [Item(NOW + timedelta(minutes=i), draw.random() < 0.16, 4, "hard") for i in range(600)]
    plain = [Item(item.at, item.failed, item.steps, "unknown") for item in hard]
    (adjusted, _), (unadjusted, _) = after(learned, hard), after(learned, plain)
    assert max(s for _, s, _, _ in adjusted.trail) < max(s for _, s, _, _ in unadjusted.trail)


def test_a_chart_survives_being_stored(learned: Chart) -> None:
    chart, _ = after(learned, system(Random(2), 50, fails=0.3, steps=(5, 6), start=BASELINE))
    assert replace(from_json(to_json(chart)), strata=None) == chart
    young, _ = after(Chart(), system(Random(2), 50, fails=0.3, steps=(5, 6)))
    assert from_json(to_json(young)) == young


def test_cleared_it_starts_at_zero_with_the_same_baseline(learned: Chart) -> None:
    chart, _ = after(learned, system(Random(2), 60, fails=0.5, steps=(8, 9), start=BASELINE))
    fresh = cleared(chart)
    assert (fresh.s, fresh.up, fresh.down, fresh.since) == (0, 0, 0, 0)
    assert fresh.baseline == learned.baseline
