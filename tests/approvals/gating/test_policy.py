"""What rules say: the most restrictive one wins, more rules never loosen, and what cannot be evaluated never allows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.guardrails.provenance import Provenance
from agentops.wire.parse import JSON, JSONObject
from agentops.wire.places import BadFile
from approvals.gating.gate import Auto, Candidate, Deny, Gate, classify, recheck
from approvals.gating.policy import NONE, Bound, Effect, Per, Policy, Rate, Rule, Surroundings, domain_of, in_words
from approvals.gating.policy_file import read, stored, to_json, write
from tests.approvals.contracts import MAIL, REFUND, arguments, origin
from tests.approvals.gating.test_gate import STRICTNESS, candidate, candidates
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import Sensitivity, ToolContract

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AROUND = Surroundings(NOW, "support", "api", "token", "acme", "production")
AUTO = AllowlistState.AUTO

DENY = Rule("no", "true", Effect.DENY)
ASK = Rule("ask", "true", Effect.GATE, quorum=2, role="senior", decide_within_s=3600)
BROKEN = Rule("broken", "call.args.not_there > 3", Effect.GATE)
LIFT = Rule(
    "small",
    "call.tool == 'lab.refund'",
    Effect.ALLOW,
    classes=(Sensitivity.FINANCIAL,),
    bounds=(Bound("amount_minor", most=5_000),),
    calls_per_run=2,
    expires=NOW + timedelta(days=1),
)


def refund(*rules: Rule, amount: JSON = 100, **more: Any) -> Candidate:
    """Return a refund that the allowlist would let run by itself, if it did not move money."""
    found = candidate(REFUND, AUTO, given=arguments(amount_minor=amount), provenance=more.pop("provenance", None))
    return replace(found, policy=Policy(3, rules), surroundings=AROUND, **more)


def test_a_bounded_rule_lets_a_sensitive_call_run_and_is_named() -> None:
    assert isinstance(classify(refund()), Gate)
    verdict = classify(refund(LIFT))
    assert verdict == Auto("policy.3.small", verdict.reasons, policy_version=3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "outside",
    [
        refund(LIFT, amount=5_001),
        refund(LIFT, calls_so_far=2),
        replace(refund(LIFT), surroundings=replace(AROUND, now=NOW + timedelta(days=1))),
        replace(refund(LIFT), surroundings=None),
        refund(replace(LIFT, when="call.tool == 'lab.other'")),
        refund(replace(LIFT, when="call.args.gone == 1")),
        refund(replace(LIFT, when="1")),
        refund(replace(LIFT, bounds=())),
        refund(replace(LIFT, calls_per_run=None)),
        refund(replace(LIFT, expires=None)),
        refund(replace(LIFT, classes=(Sensitivity.DATA_DELETION,))),
        refund(replace(LIFT, bounds=(Bound("no_such_argument", most=5_000),))),
        refund(LIFT, ASK),
        refund(LIFT, BROKEN),
        refund(LIFT, provenance=origin(order_ref=MAIL)),
        refund(LIFT, allow=AllowlistRule("lab.refund", AllowlistState.GATED)),
    ],
)
def test_outside_of_the_bound_or_with_any_stricter_rule_a_person_is_asked(outside: Candidate) -> None:
    assert isinstance(classify(outside), Gate)


def test_rules_that_ask_say_who_and_until_when_and_rules_that_deny_win() -> None:
    verdict = classify(refund(ASK))
    assert isinstance(verdict, Gate)
    assert (verdict.quorum, verdict.role, verdict.decide_within_s, verdict.policy_version) == (2, "senior", 3600, 3)
    denied = classify(refund(ASK, LIFT, replace(DENY, because="Not on our watch.")))
    assert isinstance(denied, Deny)
    assert (denied.code, denied.rule) == ("policy_blocked", "policy.3.no")
    assert "Not on our watch." in denied.message


def test_a_policy_that_cannot_be_read_denies_everything() -> None:
    for body in ({}, {"policy": 1, "rules": [{"id": "x", "when": "(", "effect": "deny"}]}, {"policy": 1, "rules": 3}):
        broken = stored(body, 4)
        assert not broken.readable
        assert isinstance(classify(replace(refund(), policy=broken)), Deny)
        assert isinstance(recheck(replace(refund(), policy=broken), by_person=True), Deny)


def test_what_was_granted_is_judged_again_by_the_policy_of_now() -> None:
    assert isinstance(recheck(refund(LIFT), by_person=False), Auto)
    assert isinstance(recheck(refund(), by_person=False), Deny), "the rule that let it is gone"
    more = recheck(refund(ASK), by_person=True)
    assert isinstance(more, Gate), "a person has said so, and it takes two seniors"
    assert (more.quorum, more.role, more.decide_within_s) == (2, "senior", 3600)
    assert isinstance(recheck(refund(replace(ASK, quorum=1, role="")), by_person=True), Auto), "a person has said so"
    assert isinstance(recheck(refund(DENY), by_person=True), Deny)


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ("contract.effect == 'unsafe_write' || contract.writes", True),
        ("'financial' in contract.sensitivity", True),
        ("run.task_type == 'support' && run.origin == 'api' && run.requested_by == 'token'", True),
        ("tenant.environment == 'production' && tenant.slug == 'acme'", True),
        ("time.hour >= 9 && time.hour < 18 && time.weekday <= 5 && time.date == '2026-11-25'", True),
        ("provenance.untrusted", False),
        ("call.earlier > 0", False),
        ("call.args.amount_minor > 1000", False),
    ],
)
def test_rules_see_call_contract_provenance_run_tenant_and_time(when: str, met: bool) -> None:
    assert isinstance(classify(refund(replace(DENY, when=when))), Deny) is met


# --- rates and risk -------------------------------------------------------------------------------------------------

RATED = replace(LIFT, bounds=(), calls_per_run=None, rates=(Rate(3, 3600), Rate(2, 86_400, Per.VALUE, "order_ref")))


def used(**by_window: int) -> Surroundings:
    """Return the surroundings in which so many calls were let run within an hour, a day."""
    return replace(AROUND, spent=lambda key, within_s, call: by_window["hour" if within_s == 3600 else "day"])


def test_a_rate_lets_so_many_calls_run_and_the_next_one_goes_to_a_person() -> None:
    verdict = classify(replace(refund(RATED), surroundings=used(hour=2, day=1)))
    assert isinstance(verdict, Auto)
    assert [(one.calls, one.within_s) for one in verdict.quotas] == [(3, 3600), (2, 86_400)]
    assert len({one.key for one in verdict.quotas}) == 2
    for many in (used(hour=3, day=0), used(hour=0, day=2)):
        assert isinstance(classify(replace(refund(RATED), surroundings=many)), Gate)
        assert isinstance(recheck(replace(refund(RATED), surroundings=many), by_person=False), Deny)
        assert isinstance(recheck(replace(refund(RATED), surroundings=many), by_person=True), Auto)
    # Calls of the run that may run and have not started count as well.
    assert isinstance(classify(replace(refund(RATED), surroundings=used(hour=1, day=0), waiting=1)), Auto)
    assert isinstance(classify(replace(refund(RATED), surroundings=used(hour=1, day=0), waiting=2)), Gate)


def test_a_rate_that_nobody_counts_lets_nothing_run() -> None:
    assert isinstance(classify(refund(RATED)), Gate)
    missing = replace(RATED, rates=(Rate(3, 3600, Per.VALUE, "no_such_argument"),))
    assert isinstance(classify(replace(refund(missing), surroundings=used(hour=0, day=0))), Gate)

    def broken(key: str, within_s: int, call: str) -> int:
        raise RuntimeError

    assert isinstance(classify(replace(refund(RATED), surroundings=replace(AROUND, spent=broken))), Deny)


def test_what_is_counted_together_follows_from_rule_time_and_what_it_is_counted_for() -> None:
    one, other = arguments(order_ref="1"), arguments(order_ref="2")
    per_tenant, per_tool, per_value = (
        Rate(1, 60, Per.TENANT),
        Rate(1, 60),
        Rate(1, 60, Per.VALUE, "order_ref"),
    )
    assert per_tenant.key("r", "a", one) == per_tenant.key("r", "b", other)
    assert per_tool.key("r", "a", one) == per_tool.key("r", "a", other) != per_tool.key("r", "b", one)
    assert per_value.key("r", "a", one) != per_value.key("r", "a", other)
    assert per_value.key("r", "a", {}) == per_value.key("r", "a", None) == ""
    assert (
        len({rate.key("r", "a", one) for rate in (per_tenant, per_tool, per_value, replace(per_tool, within_s=61))})
        == 4
    )
    assert replace(per_tool, calls=9).key("r", "a", one) == per_tool.key("r", "a", one), "a changed limit counts on"
    assert per_tool.key("r", "a", one) != per_tool.key("s", "a", one)


RISKY: JSONObject = {"score": 72, "band": "high", "reasons": ["irreversible"]}


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ("risk.score > 70 && risk.band == 'high'", True),
        ("risk.score > 72", False),
        ("'irreversible' in risk.reasons", True),
        ("risk.reasons.exists(one, one == 'odd_hour')", False),
    ],
)
def test_rules_see_the_risk_and_it_is_worked_out_only_for_those_that_do(when: str, met: bool) -> None:
    asked: list[str] = []

    def risk(contract: ToolContract, values: JSON, provenance: Mapping[str, Provenance]) -> JSONObject:
        asked.append(contract.name)
        return RISKY

    around = replace(AROUND, risk=risk)
    assert isinstance(classify(replace(refund(replace(DENY, when=when)), surroundings=around)), Deny) is met
    assert asked == ["lab.refund"]
    classify(replace(refund(DENY, ASK), surroundings=around))
    assert asked == ["lab.refund"]


def test_a_risk_that_nobody_knows_is_met_where_it_asks_and_not_where_it_allows() -> None:
    def broken(contract: ToolContract, values: JSON, provenance: Mapping[str, Provenance]) -> JSONObject:
        raise RuntimeError

    for around in (AROUND, replace(AROUND, risk=broken)):
        low = "risk.score < 10"
        assert isinstance(classify(replace(refund(replace(DENY, when=low)), surroundings=around)), Deny)
        assert isinstance(classify(replace(refund(LIFT, replace(ASK, when=low)), surroundings=around)), Gate)
        assert isinstance(classify(replace(refund(replace(LIFT, when=low)), surroundings=around)), Gate)


conditions = st.sampled_from(
    ("risk.score > 50", "true", "false", "call.args.gone > 1", "provenance.untrusted", "contract.writes", "((")
)
stricter = st.builds(
    Rule,
    id=st.sampled_from("abc"),
    when=conditions,
    effect=st.sampled_from((Effect.DENY, Effect.GATE)),
    quorum=st.integers(1, 3),
)
lifting = st.builds(
    replace,
    st.just(LIFT),
    when=conditions,
    classes=st.lists(st.sampled_from(Sensitivity), min_size=1, max_size=2).map(tuple),
    bounds=st.sampled_from(((), (Bound("amount_minor", most=10**6),), (Bound("gone", most=1),))),
    rates=st.sampled_from(
        ((), (Rate(3, 3600),), (Rate(1, 60, Per.VALUE, "gone"),), (Rate(5, 60, Per.TENANT), Rate(2, 9)))
    ),
    calls_per_run=st.sampled_from((None, 1, 9)),
)
around_it = st.builds(
    lambda many, score: replace(
        AROUND,
        spent=None if many is None else lambda key, within_s, call: many,
        risk=None if score is None else lambda contract, values, provenance: RISKY | {"score": score},
    ),
    st.none() | st.integers(0, 6),
    st.none() | st.integers(0, 100),
)
policies = st.lists(st.one_of(stricter, lifting), max_size=4).map(lambda found: Policy(1, tuple(found)))


def strictness(c: Candidate) -> tuple[int, int]:
    verdict = classify(c)
    return STRICTNESS[type(verdict)], verdict.quorum if isinstance(verdict, Gate) else 0


@given(candidates(), policies, stricter, st.integers(0, 4), around_it)
def test_adding_a_rule_that_denies_or_asks_never_loosens(
    c: Candidate, policy: Policy, rule: Rule, at: int, around: Surroundings
) -> None:
    before = replace(c, policy=policy, surroundings=around)
    more = Policy(1, (*policy.rules[:at], rule, *policy.rules[at:]))
    after = replace(before, policy=more)
    assert STRICTNESS[type(classify(after))] >= STRICTNESS[type(classify(before))]
    if isinstance(classify(after), Gate) and isinstance(classify(before), Gate):
        assert strictness(after) >= strictness(before)


@given(candidates(), policies, st.integers(0, 6), st.integers(0, 6), st.integers(0, 3))
def test_what_was_used_more_often_never_loosens(
    c: Candidate, policy: Policy, one: int, more: int, waiting: int
) -> None:
    def at(many: int, waits: int) -> Candidate:
        around = replace(AROUND, spent=lambda key, within_s, call: many)
        return replace(c, policy=policy, surroundings=around, waiting=waits)

    assert STRICTNESS[type(classify(at(one + more, waiting)))] >= STRICTNESS[type(classify(at(one, 0)))]


@given(candidates(), policies, lifting, st.sampled_from((Rate(1, 60), Rate(4, 60, Per.TENANT))), around_it)
def test_one_more_rate_of_a_rule_never_loosens(
    c: Candidate, policy: Policy, rule: Rule, rate: Rate, around: Surroundings
) -> None:
    if not rule.rates and rule.calls_per_run is None:
        return
    before = replace(c, policy=Policy(1, (*policy.rules, rule)), surroundings=around)
    stricter_rule = replace(rule, rates=(*rule.rates, rate))
    after = replace(before, policy=Policy(1, (*policy.rules, stricter_rule)))
    if not (rule.bounds or rule.rates):
        return
    assert STRICTNESS[type(classify(after))] >= STRICTNESS[type(classify(before))]


@given(candidates(), policies, lifting, around_it)
def test_a_rule_that_allows_lifts_its_classes_within_its_bound_and_nothing_else(
    c: Candidate, policy: Policy, rule: Rule, around: Surroundings
) -> None:
    before = replace(c, policy=policy, surroundings=around)
    after = replace(before, policy=Policy(1, (*policy.rules, rule)))
    loosened = STRICTNESS[type(classify(after))] < STRICTNESS[type(classify(before))]
    if not loosened:
        return
    assert c.contract is not None
    assert isinstance(classify(before), Gate), "no rule undoes a denial"
    assert set(rule.classes) & c.contract.sensitivity
    assert all(bound.holds(c.arguments) for bound in rule.bounds)
    assert rule.bounds or rule.rates
    assert all(around.spent is not None and around.spent("", 0, "") < rate.calls for rate in rule.rates)
    assert c.allow.state is AUTO


@given(candidates(), policies)
def test_without_a_rule_that_allows_the_policy_only_adds(c: Candidate, policy: Policy) -> None:
    strict = Policy(1, tuple(rule for rule in policy.rules if rule.effect is not Effect.ALLOW))
    after = replace(c, policy=strict, surroundings=AROUND)
    assert STRICTNESS[type(classify(after))] >= STRICTNESS[type(classify(c))]


@given(candidates(), policies)
def test_the_same_call_and_policy_get_the_same_verdict(c: Candidate, policy: Policy) -> None:
    one = replace(c, policy=policy, surroundings=AROUND)
    assert classify(one) == classify(one)


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("wilma@Example.com", "example.com"),
        ("https://example.com/path?x=1", "example.com"),
        ("https://example.com:8443/", "example.com"),
        ("https://example.com@evil.example/", ""),
        ("https://evil.example\\@example.com/", ""),
        ("wilma@evil.example, x@example.com", ""),
        ("Wilma <wilma@example.com>", ""),
        ("x@example.com\n", ""),
        ("javascript://example.com/", ""),
        ("example.com", ""),
        ("x@еxample.com", ""),
        ("https://[::1", ""),
    ],
)
def test_the_domain_of_an_address_is_certain_or_empty(address: str, domain: str) -> None:
    assert domain_of(address) == domain


def test_bounds_cover_every_member_and_no_other_type() -> None:
    inside = Bound("to", domains=("example.com",))
    assert inside.holds({"to": ["a@example.com", "b@example.com"]})
    for bad in (["a@example.com", "b@evil.example"], [], [3], None, {"a": 1}, "a@sub.example.com"):
        assert not inside.holds({"to": bad})  # type: ignore[dict-item]
    assert not Bound("n", most=5).holds({"n": True})
    assert not Bound("n", most=5).holds({"n": -1})
    assert not Bound("n", most=5).holds({"n": "3"})
    assert Bound("role", values=("reader",)).holds({"role": "reader"})
    assert not Bound("role", values=("reader",)).holds({"role": "owner"})


# --- the file -------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_and_said_in_words() -> None:
    rules: tuple[Rule, ...] = (
        LIFT,
        replace(RATED, id="rated", rates=(*RATED.rates, Rate(20, 60, Per.TENANT)), when="risk.score < 20"),
        replace(ASK, because="Two look: at 'this'."),
        replace(DENY, when="a.b == 'x'\n  || true"),
        BROKEN,
    )
    rules = tuple(replace(one, when="call.tool == 'x'\n || true") if one.id == "no" else one for one in rules)
    assert read(write(rules), now=NOW) == rules
    spans = {14_400: "4h", 5_400: "90m", 86_400: "1d", 90: "90s", 259_200: "3d"}
    assert {seconds: to_json(replace(ASK, decide_within_s=seconds))["decide_within"] for seconds in spans} == spans
    assert stored({"policy": 1, "rules": [to_json(one) for one in rules]}, 7) == Policy(7, rules)
    assert in_words(rules[1]) == (
        "When risk.score < 20 (the risk that its card shows, from 0 to 100): that a call moves money is no reason to "
        "ask a person, for at most 3 calls of the tool in 1 hour and at most 2 calls of the tool with the same "
        "order_ref in 1 day and at most 20 calls of the whole tenant in 1 minute, until 2026-11-26 12:00 UTC."
    )
    assert [in_words(one).split(": ", 1)[1] for one in (LIFT, ASK, DENY)] == [
        (
            "that a call moves money is no reason to ask a person, for at most 2 calls in one run, "
            "while amount is at most 5,000 minor units, such as cents, of any currency, until 2026-11-26 12:00 UTC."
        ),
        "2 people, seniors, have to agree within 1 hour.",
        "the call is denied.",
    ]
    assert "for at most 1 call in one run" in in_words(replace(LIFT, calls_per_run=1))
    in_euro = replace(LIFT, bounds=(*LIFT.bounds, Bound("currency", values=("EUR", "JPY"))))
    assert "while amount is at most EUR 50.00 or JPY 5,000 and currency is EUR or JPY, until" in in_words(in_euro)


HEAD = "policy: 1\nrules:\n"
SMALL = "  - {id: a, when: 'true', effect: allow, classes: [financial], calls_per_run: 1, expires: 2026-12-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("policy: 1\nrules: {}\n", (2, 8), "must be a list"),
        (HEAD + "  - {id: a, when: 'call.tool == ', effect: deny}\n", (3, 19), "line 1, column 14"),
        (HEAD + "  - {id: a, when: 'memory.x', effect: deny}\n", (3, 19), "unknown name 'memory'"),
        (HEAD + "  - {id: a, when: 'true', effect: maybe}\n", (3, 35), "deny, gate, allow"),
        (HEAD + "  - {id: a, effect: deny}\n", (3, 5), "when is missing"),
        (HEAD + "  - {id: A B, when: 'true', effect: deny}\n", (3, 10), "small letters"),
        (HEAD + "  - {id: a, when: 'true', effect: deny, quorum: 2}\n", (3, 41), "does not belong"),
        (HEAD + "  - {id: a, when: 'true', effect: gate, quorum: 9}\n", (3, 49), "from 1 to 5"),
        (HEAD + "  - {id: a, when: 'true', effect: gate, role: boss}\n", (3, 47), "may be senior"),
        (HEAD + "  - {id: a, when: 'true', effect: gate, decide_within: soon}\n", (3, 56), "such as 4h"),
        (HEAD + "  - {id: a, when: 'true', effect: allow, classes: [financial]}\n", (3, 5), "bounds is missing"),
        (HEAD + SMALL + ", bounds: []}\n", (3, 121), "a list of 1 to 10"),
        (HEAD + SMALL + ", bounds: [{parameter: a}]}\n", (3, 122), "one of most, domains and values"),
        (
            HEAD + SMALL.replace(" calls_per_run: 1,", "") + ", bounds: [{parameter: a, most: 1}]}\n",
            (3, 5),
            "or a rate",
        ),
        (HEAD + SMALL + ", bounds: [{calls: 2}]}\n", (3, 122), "calls and within"),
        (HEAD + SMALL + ", bounds: [{calls: 0, within: 1h}]}\n", (3, 130), "from 1 to 1,000"),
        (HEAD + SMALL + ", bounds: [{calls: 2, within: 1h, per: run}]}\n", None, "per is tenant or tool"),
        (HEAD + SMALL + ", bounds: [{calls: 2, within: 1h, most: 3}]}\n", None, "A rate has"),
        (HEAD + SMALL.replace("2026-12", "2020-12") + ", bounds: [{parameter: a, most: 1}]}\n", None, "in the future"),
        (HEAD + SMALL.replace("2026-12", "2036-12") + ", bounds: [{parameter: a, most: 1}]}\n", None, "at most 366"),
        (HEAD + SMALL.replace("00Z", "00") + ", bounds: [{parameter: a, most: 1}]}\n", None, "with its zone"),
        (HEAD + SMALL.replace("[fin", "[all, fin") + ", bounds: [{parameter: a, most: 1}]}\n", None, "classes are"),
        (HEAD + "  - &x {id: a, when: 'true', effect: deny}\n  - *x\n", (3, 5), "anchors"),
        (HEAD + "  - {id: a, when: 'true', effect: deny}\n" * 2, (4, 5), "Two rules are called a"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, place: tuple[int, int] | None, said: str) -> None:
    with pytest.raises(BadFile) as refused:
        read(text, now=NOW)
    first = refused.value.problems[0]
    assert said in first.message, first
    assert place is None or (first.line, first.column) == place


def test_no_policy_changes_nothing() -> None:
    assert classify(replace(refund(), policy=NONE)) == classify(candidate(REFUND, AUTO))
