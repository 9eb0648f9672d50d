"""What is not provably narrower is wider: checked against what a rule lets happen, for every rule hypothesis makes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.allowlist import AllowlistRule, AllowlistState, Constraint
from tools.widening import wider

EXPRESSIONS = ("args.n < 5", "args.n < 10", "args.n > 2", "args.n == args.gone")
VERSIONS = ("1.0.0", "1.1.0", "2.0.0")
LEVELS = {AllowlistState.DENIED: 0, AllowlistState.GATED: 1, AllowlistState.AUTO: 2}

constraints = st.lists(st.sampled_from(EXPRESSIONS), unique=True, max_size=3).map(
    lambda found: tuple(Constraint(f"c{at}", one) for at, one in enumerate(found))
)
rules = st.builds(
    AllowlistRule,
    tool=st.just("lab.any"),
    state=st.sampled_from(AllowlistState),
    min_version=st.sampled_from(("", *VERSIONS)),
    max_version=st.sampled_from(("", *VERSIONS)),
    max_calls=st.one_of(st.none(), st.integers(0, 3)),
    rate_per_minute=st.one_of(st.none(), st.integers(1, 4)),
    constraints=constraints,
)
own = st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=1, max_size=2)


def level(rule: AllowlistRule, version: str, calls: int, n: int) -> int:
    """Return what happens to one call: 0 refused, 1 a person, 2 by itself."""
    if not rule.admits(version) or (rule.max_calls is not None and calls >= rule.max_calls):
        return 0
    return 0 if rule.violated({"n": n}) is not None else LEVELS[rule.state]


def rate(rule: AllowlistRule, contract: int | None) -> float:
    found = contract if rule.rate_per_minute is None else rule.rate_per_minute
    return float("inf") if found is None else found


@given(rules, rules, own)
def test_what_is_not_called_wider_lets_nothing_more_happen(
    before: AllowlistRule, after: AllowlistRule, rates: list[int | None]
) -> None:
    if wider(before, after, rates):
        return
    for version in VERSIONS:
        for calls in range(4):
            for n in (0, 3, 7, 20):
                assert level(after, version, calls, n) <= level(before, version, calls, n)
    if after.state is not AllowlistState.DENIED:
        assert all(rate(after, one) <= rate(before, one) for one in rates)


@given(rules, own)
def test_a_rule_is_not_wider_than_itself_and_denying_never_is(rule: AllowlistRule, rates: list[int | None]) -> None:
    assert wider(rule, rule, rates) == wider(rule, rule, None) == ()
    assert wider(rule, replace(rule, state=AllowlistState.DENIED, max_calls=None, constraints=()), rates) == ()


@given(rules, rules, rules, own)
def test_two_narrowings_are_a_narrowing(
    one: AllowlistRule, two: AllowlistRule, three: AllowlistRule, rates: list[int | None]
) -> None:
    if wider(one, two, rates) or wider(two, three, rates) or two.state is AllowlistState.DENIED:
        return
    assert wider(one, three, rates) == ()


@given(rules, own)
def test_whatever_comes_back_from_denied_is_wider(rule: AllowlistRule, rates: list[int | None]) -> None:
    denied = replace(rule, state=AllowlistState.DENIED)
    assert bool(wider(denied, rule, rates)) == (rule.state is not AllowlistState.DENIED)


STRICT = AllowlistRule(
    "lab.any",
    AllowlistState.GATED,
    "1.1.0",
    "1.1.0",
    2,
    rate_per_minute=3,
    constraints=(Constraint("small", "args.n < 5"),),
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state": AllowlistState.AUTO}, "becomes Runs by itself"),
        ({"min_version": "1.0.0"}, "lower versions"),
        ({"min_version": ""}, "lower versions"),
        ({"max_version": "2.0.0"}, "higher versions"),
        ({"max_version": ""}, "higher versions"),
        ({"max_calls": 3}, "more than 2 calls"),
        ({"max_calls": None}, "more than 2 calls"),
        ({"rate_per_minute": 4}, "more calls a minute"),
        ({"rate_per_minute": None}, "more calls a minute"),
        ({"constraints": ()}, "constraint small"),
        ({"constraints": (Constraint("small", "args.n < 4"),)}, "constraint small"),
        ({"tool": "lab.other"}, "another tool"),
    ],
)
def test_each_way_of_widening_is_named(changes: dict[str, object], said: str) -> None:
    found = wider(STRICT, replace(STRICT, **changes), [None])  # type: ignore[arg-type]
    assert len(found) == 1
    assert said in found[0]


def test_a_rate_without_a_known_contract_is_never_called_narrower() -> None:
    slow, own_rate = replace(STRICT, rate_per_minute=1), replace(STRICT, rate_per_minute=None)
    assert wider(own_rate, slow, None)
    assert wider(own_rate, slow, [1]) == wider(own_rate, slow, [None]) == ()
    assert wider(slow, own_rate, [1]) == ()
    assert wider(slow, own_rate, [2])
