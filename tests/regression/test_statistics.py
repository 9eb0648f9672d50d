"""pass^k and McNemar against what they are by definition."""

from itertools import combinations, pairwise
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.regression.statistics import Outcome, compare, estimates, mcnemar, pass_hat

COUNTS = st.lists(st.integers(1, 7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=6)


@given(COUNTS, st.integers(1, 7))
def test_pass_hat_is_the_share_of_samples_of_k_trials_that_all_pass(counts: list[tuple[int, int]], k: int) -> None:
    shares = []
    for passes, trials in counts:
        drawn = list(combinations([True] * passes + [False] * (trials - passes), k))
        if drawn:
            shares.append(sum(all(one) for one in drawn) / len(drawn))
    found = pass_hat(counts, k)
    if not shares:
        assert found is None
    else:
        assert found is not None
        assert isclose(found, sum(shares) / len(shares))


@given(COUNTS)
def test_pass_hat_never_rises_with_k(counts: list[tuple[int, int]]) -> None:
    least = min(trials for _, trials in counts)
    found = [pass_hat(counts, k) or 0.0 for k in range(1, least + 1)]
    assert all(one >= after - 1e-12 for one, after in pairwise(found))


@pytest.mark.parametrize(
    ("failing", "passing", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (1, 1, 1.0), (8, 1, 0.0390625)]
)
def test_mcnemar_is_the_exact_two_sided_binomial_test(failing: int, passing: int, p: float) -> None:
    assert mcnemar(failing, passing) == mcnemar(passing, failing) == p


def outcomes(passes: int, fails: int, flaky: int = 0) -> dict[str, Outcome]:
    every = [Outcome(2, 2)] * passes + [Outcome(0, 2)] * fails + [Outcome(1, 2)] * flaky
    return {f"c{number}": one for number, one in enumerate(every)}


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (outcomes(10, 0), outcomes(10, 0), "no clear difference"),
        (outcomes(10, 0), outcomes(8, 2), "too few"),
        (outcomes(10, 0), outcomes(2, 8), "worse"),
        (outcomes(2, 8), outcomes(10, 0), "better"),
    ],
)
def test_a_verdict_says_no_more_than_the_pairs_that_differ(
    before: dict[str, Outcome], after: dict[str, Outcome], verdict: str
) -> None:
    assert compare("1.0", before, after).verdict == verdict


def test_a_comparison_names_the_cases() -> None:
    before = outcomes(2, 1) | {"old": Outcome(2, 2)}
    after = {"c0": Outcome(1, 2), "c1": Outcome(2, 2), "c2": Outcome(2, 2), "new": Outcome(2, 2)}
    found = compare("1.0", before, after)
    assert (found.newly_failing, found.newly_passing, found.newly_flaky) == (("c0",), ("c2",), ("c0",))
    assert (found.added, found.gone, found.paired) == (("new",), ("old",), 3)


def test_estimates_leave_out_what_was_not_tried_often_enough() -> None:
    assert estimates([Outcome(1, 2)], 3) == {"1": 0.5, "2": 0.0}
