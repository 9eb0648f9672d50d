"""What the gate lets run, what it shows to a person, and what it refuses."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.guardrails.provenance import UNSCREENED, Integrity, Provenance
from agentops.wire.parse import JSON
from approvals.gating.gate import Auto, Candidate, Deny, Gate, GateVerdict, Pin, classify, per_leaf
from tests.approvals.contracts import LOOK_UP, MAIL, NOTE, REFUND, TYPED, arguments, contract, origin
from tools.allowlist import AllowlistRule, AllowlistState, Constraint
from tools.contracts import Barred, Effect, Sensitivity, ToolContract

AUTO, GATED, DENIED = AllowlistState.AUTO, AllowlistState.GATED, AllowlistState.DENIED


def candidate(
    tool: ToolContract | None = NOTE,
    state: AllowlistState = AUTO,
    *,
    given: JSON = None,
    provenance: Mapping[str, Provenance] | None = None,
    rule: AllowlistRule | None = None,
    planned: bool = True,
    calls: int = 0,
) -> Candidate:
    return Candidate(
        contract=tool,
        pinned=Pin(tool.version, tool.digest) if tool else None,
        arguments=arguments() if given is None else given,
        provenance=origin() if provenance is None else provenance,
        planned=planned,
        allow=rule or AllowlistRule(tool.name if tool else "lab.nothing", state),
        calls_so_far=calls,
    )


def code(verdict: GateVerdict) -> str:
    assert isinstance(verdict, Deny)
    return verdict.code


# --- refused --------------------------------------------------------------------------------------------------------


def test_a_tool_nobody_registered_is_unknown() -> None:
    assert code(classify(candidate(None))) == "unknown_tool"


def test_a_tool_the_task_type_may_not_use_is_not_allowed() -> None:
    assert code(classify(candidate(state=DENIED))) == "not_allowed"


def test_the_rule_of_another_tool_allows_nothing() -> None:
    assert code(classify(candidate(rule=AllowlistRule("lab.other", AUTO)))) == "not_allowed"


@pytest.mark.parametrize("pin", [None, Pin("1.0.1", NOTE.digest), Pin("1.0.0", "0" * 64)])
def test_a_contract_that_is_not_the_pinned_one_has_changed(pin: Pin | None) -> None:
    assert code(classify(replace(candidate(), pinned=pin))) == "contract_changed"


def test_a_version_outside_the_allowed_range_has_changed() -> None:
    assert code(classify(candidate(rule=AllowlistRule("lab.note", AUTO, min_version="1.1.0")))) == "contract_changed"


def test_arguments_outside_the_schema_are_invalid_and_say_where() -> None:
    verdict = classify(candidate(given=arguments(amount_minor=0)))
    assert isinstance(verdict, Deny)
    assert (verdict.code, [issue.path for issue in verdict.issues]) == ("invalid_input", ["/amount_minor"])


@pytest.mark.parametrize("given", [[], "text", 7, True, {}])
def test_arguments_that_are_no_object_are_invalid(given: JSON) -> None:
    assert code(classify(replace(candidate(), arguments=given))) == "invalid_input"


def test_a_very_deep_argument_is_invalid_and_not_a_crash() -> None:
    deep: JSON = []
    for _ in range(5000):
        deep = [deep]
    assert code(classify(candidate(given=arguments(reason=deep)))) == "invalid_input"


def test_a_call_outside_the_plan_is_refused_and_not_asked_about() -> None:
    assert code(classify(candidate(REFUND, planned=False))) == "off_plan"


def test_what_our_own_records_bar_is_refused_and_not_asked_about() -> None:
    verdict = classify(replace(candidate(REFUND), barred=Barred("host_not_allowed", "evil.example.net is not listed.")))
    assert isinstance(verdict, Deny)
    assert (verdict.code, verdict.rule) == ("host_not_allowed", "contract.barred")
    assert code(classify(replace(candidate(planned=False), barred=Barred("host_not_allowed", "")))) == "off_plan"


def test_a_read_that_sends_something_out_asks_a_person_where_untrusted_text_chose_where() -> None:
    sends = contract(name="lab.fetch", effect=Effect.READ, sensitivity=frozenset(), egress=("order_ref",))
    hostile = origin(order_ref=MAIL)
    assert isinstance(classify(candidate(sends)), Auto)
    verdict = classify(candidate(sends, provenance=hostile))
    assert isinstance(verdict, Gate)
    assert verdict.attacked == ("/order_ref",)
    assert isinstance(classify(candidate(replace(sends, egress=()), provenance=hostile)), Auto)


def test_one_call_more_than_the_allowlist_gives_is_refused() -> None:
    rule = AllowlistRule("lab.note", AUTO, max_calls=2)
    assert isinstance(classify(candidate(rule=rule, calls=1)), Auto)
    assert code(classify(candidate(rule=rule, calls=2))) == "limit_calls"


def test_the_first_refusal_wins() -> None:
    broken = candidate(state=DENIED, given={}, planned=False)
    assert code(classify(broken)) == "not_allowed"
    assert code(classify(replace(broken, contract=None))) == "unknown_tool"
    allowed = replace(broken, allow=AllowlistRule("lab.note", AUTO))
    assert code(classify(allowed)) == "invalid_input"


def test_a_gate_that_breaks_refuses() -> None:
    class Broken(Mapping[str, Provenance]):
        def __getitem__(self, key: str) -> Provenance:
            raise RuntimeError

        def __iter__(self):  # type: ignore[no-untyped-def]
            raise RuntimeError

        def __len__(self) -> int:
            raise RuntimeError

    assert code(classify(candidate(provenance=Broken()))) == "internal"


# --- shown to a person ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sensitivity", list(Sensitivity))
def test_the_four_sensitive_classes_need_a_person_whatever_the_allowlist_says(sensitivity: Sensitivity) -> None:
    verdict = classify(candidate(contract(sensitivity=frozenset({sensitivity})), AUTO))
    assert isinstance(verdict, Gate)
    assert (verdict.rule, verdict.sensitivity) == (f"sensitive.{sensitivity}", (sensitivity,))


@pytest.mark.parametrize("expression", ["args.amount_minor <= 100", "args.gone == 1", "args.reason > 3", "1", "(("])
def test_a_call_that_violates_a_constraint_or_cannot_be_checked_is_refused_by_its_name(expression: str) -> None:
    fine = Constraint("known", "args.currency == 'EUR'")
    rule = AllowlistRule("lab.note", AUTO, constraints=(fine, Constraint("small", expression)))
    verdict = classify(candidate(rule=rule))
    assert isinstance(verdict, Deny)
    assert (verdict.code, verdict.rule) == ("constraint_violated", "allowlist.constraint.small")
    assert expression in verdict.message
    assert isinstance(classify(candidate(rule=AllowlistRule("lab.note", AUTO, constraints=(fine,)))), Auto)


def test_the_allowlist_can_ask_for_a_person() -> None:
    verdict = classify(candidate(NOTE, GATED))
    assert isinstance(verdict, Gate)
    assert verdict.rule == "allowlist.gated"


def test_a_write_whose_target_untrusted_text_chose_needs_a_person_and_the_argument_is_named() -> None:
    verdict = classify(candidate(NOTE, AUTO, provenance=origin(order_ref=MAIL)))
    assert isinstance(verdict, Gate)
    assert (verdict.rule, verdict.attacked) == ("provenance.untrusted_authority", ("/order_ref",))


def test_an_argument_nobody_vouches_for_counts_as_untrusted() -> None:
    known = origin()
    del known["/amount_minor"]
    verdict = classify(candidate(NOTE, AUTO, provenance=known))
    assert isinstance(verdict, Gate)
    assert verdict.attacked == ("/amount_minor",)


def test_untrusted_content_alone_asks_nobody() -> None:
    assert isinstance(classify(candidate(NOTE, AUTO, provenance=origin(reason=MAIL))), Auto)


def test_a_read_of_our_records_by_a_number_from_a_mail_runs() -> None:
    assert isinstance(classify(candidate(LOOK_UP, AUTO, provenance=origin(order_ref=MAIL))), Auto)


def test_a_gated_read_shows_which_argument_untrusted_text_chose() -> None:
    verdict = classify(candidate(LOOK_UP, GATED, provenance=origin(order_ref=MAIL)))
    assert isinstance(verdict, Gate)
    assert verdict.attacked == ("/order_ref",)


def test_what_not_everybody_may_read_does_not_leave_without_a_person() -> None:
    leaving = contract(name="lab.note", effect=Effect.IDEMPOTENT_WRITE, sensitivity=frozenset(), egress=("reason",))
    secret = replace(TYPED, readers=frozenset({"user:1"}))
    assert isinstance(classify(candidate(leaving, AUTO)), Auto)
    verdict = classify(candidate(leaving, AUTO, provenance=origin(reason=secret)))
    assert isinstance(verdict, Gate)
    assert verdict.rule == "provenance.readers"


def test_the_origin_of_a_parent_covers_its_leaves() -> None:
    covered = per_leaf({"to": ["a", "b"], "cc": []}, {"/to": MAIL, "/to/0": TYPED})
    assert covered["/to/0"].untrusted
    assert covered["/to/1"].untrusted
    assert covered["/cc"].untrusted


# --- properties -----------------------------------------------------------------------------------------------------

STRICTNESS = {Auto: 0, Gate: 1, Deny: 2}
origins = st.sampled_from([TYPED, MAIL, replace(TYPED, readers=frozenset({"user:1"}))])


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    effect = draw(st.sampled_from(list(Effect)))
    classes = frozenset[Sensitivity]()
    if effect is not Effect.READ:
        classes = draw(st.frozensets(st.sampled_from(list(Sensitivity)), max_size=2))
    tool = contract(name="lab.any", effect=effect, sensitivity=classes, egress=draw(st.sampled_from([(), ("reason",)])))
    names = draw(st.lists(st.sampled_from(["order_ref", "amount_minor", "currency", "reason"]), unique=True))
    return candidate(
        tool,
        draw(st.sampled_from(list(AllowlistState))),
        given=arguments(amount_minor=draw(st.integers(-1, 10))),
        provenance={f"/{name}": draw(origins) for name in names},
        planned=draw(st.booleans()),
        calls=draw(st.integers(0, 3)),
    )


@given(candidates(), st.sampled_from(["/order_ref", "/amount_minor", "/currency", "/reason", ""]))
def test_taint_never_loosens(c: Candidate, where: str) -> None:
    before = c.provenance.get(where, TYPED)
    tainted = {**c.provenance, where: replace(before, integrity=Integrity.UNTRUSTED)}
    # Saying that a leaf is untrusted where nothing was said keeps it untrusted.
    assert STRICTNESS[type(classify(replace(c, provenance=tainted)))] >= STRICTNESS[type(classify(c))]


@given(candidates(), st.sampled_from(list(Sensitivity)))
def test_sensitivity_never_loosens(c: Candidate, more: Sensitivity) -> None:
    assert c.contract is not None
    if c.contract.effect is Effect.READ:
        return
    stricter = contract(
        name="lab.any",
        effect=c.contract.effect,
        sensitivity=c.contract.sensitivity | {more},
        egress=c.contract.egress,
    )
    after = replace(c, contract=stricter, pinned=Pin(stricter.version, stricter.digest))
    assert STRICTNESS[type(classify(after))] >= STRICTNESS[type(classify(c))]
    assert not isinstance(classify(after), Auto)


@given(candidates())
def test_the_same_call_gets_the_same_verdict(c: Candidate) -> None:
    assert classify(c) == classify(replace(c, provenance=dict(reversed(list(c.provenance.items())))))


@given(candidates())
def test_what_is_unknown_is_never_allowed(c: Candidate) -> None:
    assert code(classify(replace(c, contract=None))) == "unknown_tool"
    assert isinstance(classify(replace(c, allow=AllowlistRule("lab.any", DENIED))), Deny)
    assert isinstance(classify(replace(c, pinned=None)), Deny)


@given(candidates())
def test_nothing_that_writes_to_an_untrusted_target_runs_by_itself(c: Candidate) -> None:
    assert c.contract is not None
    writes_blindly = c.contract.writes and any(
        per_leaf(c.arguments, c.provenance)[f"/{name}"].untrusted for name in c.contract.authority
    )
    assert not (writes_blindly and isinstance(classify(c), Auto))


def suspect(*codes: str) -> dict[str, Provenance]:
    return {path: replace(one, suspicion=codes) for path, one in origin().items()}


def test_after_a_guardrail_broke_nothing_runs_without_a_person() -> None:
    for broken in (
        replace(candidate(), unscreened=True),
        candidate(provenance=suspect(UNSCREENED)),
        replace(candidate(LOOK_UP), unscreened=True),
    ):
        verdict = classify(broken)
        assert isinstance(verdict, Gate)
        assert verdict.rule == "guardrail.failed"
        assert "guardrail broke" in verdict.reasons[0]


def test_what_a_guardrail_found_alone_asks_nobody() -> None:
    assert classify(candidate(provenance=suspect("instruction"))) == classify(candidate())


def test_a_broken_guardrail_never_loosens_a_verdict() -> None:
    for tool in (NOTE, REFUND, LOOK_UP):
        for state in (AUTO, GATED, DENIED):
            before, after = classify(candidate(tool, state)), classify(replace(candidate(tool, state), unscreened=True))
            assert isinstance(after, Deny | Gate)
            assert isinstance(after, Deny) or not isinstance(before, Deny)
