"""A further rule never loosens the gate, whatever kind of rule it is, and a part of it that breaks refuses."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.guardrails.output.claims import Deed
from agentops.guardrails.output.found import Kind
from agentops.guardrails.output.policy import Action, OutputPolicy, policy_of
from agentops.guardrails.output.review import OutputContext
from agentops.guardrails.provenance import Provenance
from approvals.gating.gate import Auto, Candidate, Deny, Gate, Pin, classify
from tests.approvals.contracts import MAIL, TYPED, arguments, contract, origin
from tests.approvals.gating.test_gate import STRICTNESS, candidate
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import Effect

CANARY = "0123456789abcdef0123"
ACTIONS = st.dictionaries(
    st.sampled_from([k.value for k in Kind if k not in (Kind.CHECK_FAILED, Kind.SECRET, Kind.CANARY)]),
    st.sampled_from([a.value for a in Action]),
)
TEXTS = st.lists(
    st.sampled_from(
        ["hello ", "4111 1111 1111 1111 ", "https://e.example/?a=1 ", "I have refunded it. ", CANARY, "AKIA" + "A1" * 8]
    ),
    max_size=3,
).map("".join)
NOTE = contract(name="lab.any", effect=Effect.IDEMPOTENT_WRITE, sensitivity=frozenset(), egress=("reason",))


@st.composite
def leaving(draw: st.DrawFn) -> Candidate:
    """A call that sends a text out, which no other rule stops."""
    known = origin(reason=draw(st.sampled_from([TYPED, MAIL])))
    given_ = arguments(reason=draw(TEXTS) or "x")
    state = draw(st.sampled_from([AllowlistState.AUTO, AllowlistState.GATED]))
    return candidate(NOTE, state, given=given_, provenance=known)


def rank(c: Candidate) -> int:
    return STRICTNESS[type(classify(c))]


@given(leaving(), ACTIONS, ACTIONS)
def test_a_further_output_rule_never_loosens(c: Candidate, one: dict[str, str], other: dict[str, str]) -> None:
    alone = replace(c, output=OutputContext(policy_of({"actions": one}), (CANARY,)))
    named = {name: action for name, action in other.items() if name in one}
    both = replace(c, output=OutputContext(policy_of({"actions": one}, {"actions": named}), (CANARY,)))
    assert rank(both) >= rank(alone)


@given(leaving(), st.sampled_from(list(Kind)))
def test_a_stricter_action_never_loosens(c: Candidate, kind: Kind) -> None:
    ranks = [
        rank(replace(c, output=OutputContext(OutputPolicy({**c.output.policy.actions, kind: action}), (CANARY,))))
        for action in Action
    ]
    assert ranks == sorted(ranks)


@given(leaving())
def test_one_host_fewer_one_deed_fewer_one_mark_more_never_loosen(c: Candidate) -> None:
    rich = OutputContext(policy_of({"hosts": ["e.example"]}), (), (Deed("pay", True, frozenset({"financial"})),))
    poor = [
        replace(rich, policy=policy_of({})),
        replace(rich, deeds=()),
        replace(rich, canaries=(CANARY,)),
        replace(rich, policy=policy_of({"hosts": ["e.example"], "personal": ["email"]})),
    ]
    assert all(rank(replace(c, output=one)) >= rank(replace(c, output=rich)) for one in poor)


@given(leaving(), st.sampled_from(["/order_ref", "/amount_minor", "/reason"]))
def test_fewer_readers_never_loosen(c: Candidate, where: str) -> None:
    narrowed = {**c.provenance, where: replace(c.provenance[where], readers=frozenset({"user:1"}))}
    assert rank(replace(c, provenance=narrowed)) >= rank(c)


@given(leaving())
def test_a_narrower_allowlist_never_loosens(c: Candidate) -> None:
    narrower = [
        replace(c.allow, state=AllowlistState.GATED),
        replace(c.allow, state=AllowlistState.DENIED),
        replace(c.allow, max_calls=0),
        replace(c.allow, min_version="1.0.1"),
        replace(c.allow, max_version="0.9.9"),
    ]
    assert all(rank(replace(c, allow=rule)) >= rank(c) for rule in narrower)


@given(leaving())
def test_the_same_text_gets_the_same_verdict_and_findings(c: Candidate) -> None:
    assert classify(c) == classify(replace(c))
    assert classify(c).found == classify(replace(c)).found


def test_what_is_held_in_is_refused_and_what_is_redacted_or_asked_goes_to_a_person() -> None:
    c = candidate(NOTE, AllowlistState.AUTO, given=arguments(reason="4111 1111 1111 1111"))
    expected = {Action.REPORT: Auto, Action.REDACT: Gate, Action.ASK: Gate, Action.BLOCK: Deny}
    for action, verdict in expected.items():
        found = classify(replace(c, output=OutputContext(policy_of({"actions": {"card": action.value}}))))
        assert type(found) is verdict
        assert [one.path for one in found.found] == ["/reason"]


def test_a_read_that_sends_something_out_answers_for_its_target() -> None:
    fetch = contract(name="lab.any", effect=Effect.READ, sensitivity=frozenset(), egress=("order_ref",))
    c = candidate(fetch, AllowlistState.AUTO, provenance=origin(order_ref=MAIL))
    verdict = classify(c)
    assert isinstance(verdict, Gate)
    assert verdict.attacked == ("/order_ref",)


# --- a part that breaks ---------------------------------------------------------------------------------------------


class BrokenMapping(Mapping[Any, Any]):
    def __getitem__(self, key: Any) -> Never:
        raise RuntimeError

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


class BrokenRule(AllowlistRule):
    __slots__ = ()

    def admits(self, version: str) -> bool:
        raise RuntimeError


class BrokenPolicy(OutputPolicy):
    __slots__ = ()

    def action(self, kind: Kind) -> Action:
        raise RuntimeError


class BrokenText(str):
    __slots__ = ()

    def isascii(self) -> bool:
        raise RuntimeError


def whole() -> Candidate:
    return candidate(NOTE, AllowlistState.AUTO, given=arguments(reason="4111 1111 1111 1111"))


broken_provenance: Mapping[str, Provenance] = BrokenMapping()


@pytest.mark.parametrize(
    "c",
    [
        replace(whole(), provenance=broken_provenance),
        replace(whole(), allow=BrokenRule("lab.any", AllowlistState.AUTO)),
        replace(whole(), allow=AllowlistRule("lab.any", AllowlistState.AUTO, min_version="not a version")),
        replace(whole(), output=OutputContext(BrokenPolicy())),
        replace(whole(), output=OutputContext(OutputPolicy(BrokenMapping()))),
        replace(whole(), output=OutputContext(canaries=(7,))),  # type: ignore[arg-type]
        replace(whole(), arguments=arguments(reason=BrokenText("hello"))),
        replace(whole(), pinned=Pin(NOTE.version, None)),  # type: ignore[arg-type]
        replace(whole(), allow=None),  # type: ignore[arg-type]
        replace(whole(), output=None),  # type: ignore[arg-type]
        replace(whole(), calls_so_far=None, allow=AllowlistRule("lab.any", AllowlistState.AUTO, max_calls=1)),  # type: ignore[arg-type]
    ],
)
def test_a_part_that_breaks_refuses(c: Candidate) -> None:
    assert isinstance(classify(whole()), Gate)
    assert isinstance(classify(c), Deny)
