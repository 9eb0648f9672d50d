"""The score is bounded, monotone and honest about its points; the bands mean something for ordinary work."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.guardrails.provenance import UNSCREENED, Integrity, Provenance, SourceKind, provenance
from agentops.wire.parse import JSONObject
from approvals.assessing.risk import ENGINE, Band, Subject, assess, score_of
from approvals.assessing.signals import Signals
from approvals.assessing.weights import START, THRESHOLDS, WEIGHTS
from tests.approvals.contracts import MAIL, NOTE, RECORDS, REFUND, TYPED, arguments, contract, origin
from tests.approvals.lab import STATEMENT
from tools.builtin.access import GRANT_ROLE
from tools.builtin.customers import ERASE
from tools.builtin.mail import SEND
from tools.builtin.shop import ISSUE_REFUND
from tools.contracts import Blast, Consequence, Money, Sensitivity, ToolContract

KNOWN = Consequence("Touches one order", blast=(Blast("orders", 1),))


def subject(tool: ToolContract = REFUND, given: JSONObject | None = None, **changes: Provenance) -> Subject:
    shown = arguments() if given is None else given
    return Subject(tool, shown, origin(**changes), KNOWN)


def mail(body: Provenance = RECORDS, consequence: Consequence = KNOWN) -> Subject:
    given: JSONObject = {"to": "maria@example.org", "subject": "Your refund", "body": "It is on its way."}
    return Subject(SEND, given, {"/to": TYPED, "/subject": TYPED, "/body": body}, consequence)


def codes(one: Subject) -> list[str]:
    return [reason.code for reason in assess(one).reasons]


# --- bands of ordinary work -----------------------------------------------------------------------------------------


def test_a_small_clean_refund_is_medium() -> None:
    assert assess(subject(ISSUE_REFUND)).band is Band.MEDIUM


def test_a_small_refund_with_a_reason_quoted_from_a_mail_is_medium() -> None:
    assert assess(subject(ISSUE_REFUND, reason=MAIL)).band is Band.MEDIUM


def test_a_reply_to_a_known_customer_is_medium_even_when_it_quotes_the_mail() -> None:
    quoting = provenance(SourceKind.TOOL, "mail.read:c1", "/text", untrusted=True)
    assert assess(mail()).band is Band.MEDIUM
    assert assess(mail(body=quoting)).band is Band.MEDIUM


def test_a_harmless_note_is_low() -> None:
    reversible = replace(SEND.reversible, state=GRANT_ROLE.reversible.state)
    assert assess(subject(replace(NOTE, reversible=reversible))).band is Band.LOW


def test_a_first_message_to_somebody_is_high() -> None:
    warned = Consequence("Sends one e-mail", warnings=("First contact: no customer has this address.",))
    assert "first_contact" in codes(mail(consequence=warned))
    assert assess(mail(consequence=warned)).band is Band.HIGH


def test_more_than_five_recipients_are_high() -> None:
    assert assess(mail(consequence=Consequence("", blast=(Blast("external recipients", 5),)))).band is Band.MEDIUM
    assert assess(mail(consequence=Consequence("", blast=(Blast("external recipients", 6),)))).band is Band.HIGH


@pytest.mark.parametrize("tool", [REFUND, NOTE])
def test_a_target_that_untrusted_text_chose_is_at_least_high_and_named(tool: ToolContract) -> None:
    risk = assess(subject(tool, order_ref=MAIL))
    assert risk.band.rank >= Band.HIGH.rank
    assert next(r for r in risk.reasons if r.code == "untrusted_authority").args == ("/order_ref",)


@pytest.mark.parametrize(
    ("minor", "currency", "band"),
    [
        (49_999, "EUR", Band.MEDIUM),
        (50_000, "EUR", Band.HIGH),
        (499_999, "EUR", Band.HIGH),
        (500_000, "EUR", Band.CRITICAL),
        (499, "JPY", Band.MEDIUM),
        (500, "JPY", Band.HIGH),
        (499_999, "KWD", Band.MEDIUM),
        (500_000, "KWD", Band.HIGH),
        (100, "XXX", Band.HIGH),
    ],
)
def test_money_raises_the_band_in_major_units(minor: int, currency: str, band: Band) -> None:
    assert assess(subject(given=arguments(amount_minor=minor, currency=currency))).band is band


def test_money_that_the_records_know_of_counts_too() -> None:
    silent = contract(sentence="Refund the order {order_ref}")
    told = replace(KNOWN, money=Money(500_000, "EUR"))
    assert assess(replace(subject(silent), consequence=told)).band is Band.CRITICAL
    assert assess(subject(silent)).band is Band.HIGH, "an amount nobody can read is no small amount"


def test_a_large_amount_that_can_be_taken_back_is_high_and_not_critical() -> None:
    by_hand = contract(reversible=GRANT_ROLE.reversible)
    assert assess(subject(by_hand, arguments(amount_minor=5_000_000))).band is Band.HIGH


def test_deleting_data_is_high() -> None:
    given: JSONObject = {"customer_ref": "C-1001", "reason": "Asked for it"}
    assert assess(Subject(ERASE, given, {"/customer_ref": TYPED, "/reason": TYPED}, KNOWN)).band is Band.HIGH


@pytest.mark.parametrize(
    ("role", "band"),
    [
        ("reader", Band.HIGH),
        ("scheduler", Band.HIGH),
        ("fulfilment", Band.HIGH),
        ("caller", Band.HIGH),
        ("full_access", Band.CRITICAL),
        ("read:*", Band.CRITICAL),
        ("admin", Band.CRITICAL),
        ("Billing Owner", Band.CRITICAL),
        ("ａｄｍｉｎ", Band.CRITICAL),
        ("аdmin", Band.CRITICAL),
        ("ad\u200bmin", Band.CRITICAL),
    ],
)
def test_only_administrative_roles_are_critical(role: str, band: Band) -> None:
    given: JSONObject = {"system": "wiki", "account": "admin@example.org", "role": role, "reason": "New colleague"}
    one = Subject(GRANT_ROLE, given, {f"/{name}": TYPED for name in given}, KNOWN)
    assert assess(one).band is band


def test_a_role_that_the_records_call_privileged_is_critical() -> None:
    given: JSONObject = {"system": "wiki", "account": "ann@example.org", "role": "keeper", "reason": "New colleague"}
    told = replace(KNOWN, warnings=("This is a privileged role.",))
    assert assess(Subject(GRANT_ROLE, given, {f"/{name}": TYPED for name in given}, told)).band is Band.CRITICAL


@pytest.mark.parametrize("text", ["pay\u202efdp.exe", "a\u200bb", "hi\U000e0041\U000e0042", "a\x07b"])
def test_characters_a_reader_cannot_see_are_high(text: str) -> None:
    assert assess(subject(given=arguments(reason=text))).band is Band.HIGH


@pytest.mark.parametrize("text", ["first\r\nsecond", "naïve Grüße 你好 👍🏽", "a\n\nb"])
def test_ordinary_text_in_any_language_hides_nothing(text: str) -> None:
    assert assess(subject(given=arguments(reason=text))).band is Band.MEDIUM


def test_an_effect_nobody_can_name_is_high() -> None:
    risk = assess(replace(subject(NOTE), consequence=None))
    assert (risk.band, [floor.code for floor in risk.floors]) == (Band.HIGH, ["uninspectable"])


def test_a_write_without_a_preview_is_at_least_medium() -> None:
    empty = Consequence("Effect not described", warnings=("This tool has no preview of its effect.",))
    assert assess(replace(subject(NOTE), consequence=empty)).band.rank >= Band.MEDIUM.rank


def test_what_would_lower_the_band_is_an_edit_that_does() -> None:
    one = subject(given=arguments(amount_minor=50_000), order_ref=MAIL)
    assert [hint.path for hint in assess(one).lower] == [], "two things keep it High, no single edit helps"
    dear = assess(subject(given=arguments(amount_minor=50_000)))
    assert [(hint.path, hint.band, hint.text) for hint in dear.lower] == [
        ("/amount_minor", Band.MEDIUM, "Less than EUR 500.00")
    ]
    attacked = assess(subject(order_ref=MAIL))
    assert [(hint.path, hint.band) for hint in attacked.lower] == [("/order_ref", Band.MEDIUM)]
    hidden = assess(subject(given=arguments(reason="a\u200bb")))
    assert [(hint.path, hint.band) for hint in hidden.lower] == [("/reason", Band.MEDIUM)]


def test_risk_as_json_has_sentences_for_people_and_codes_for_machines() -> None:
    shown = assess(subject(order_ref=MAIL)).to_json()
    assert shown["engine"] == ENGINE
    assert shown["floors"] == ["At least High: untrusted text decides where it goes", "At least Medium: it moves money"]
    assert shown["floor_codes"] == ["untrusted_authority", "financial"]


# --- what our own history says --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "code"),
    [
        (Signals(look_alike={"/order_ref": "bank.example"}), "look_alike"),
        (Signals(unusual={"/amount_minor": "EUR 30.00"}), "unusual_amount"),
        (Signals(rejected=1, similar=5), "recently_rejected"),
        (Signals(changed_after_question=True), "changed_after_question"),
        (Signals(outside_hours=True), "outside_hours"),
    ],
)
def test_history_adds_its_reason_and_only_that(known: Signals, code: str) -> None:
    plain, told = subject(), replace(subject(), signals=known)
    assert set(codes(told)) - set(codes(plain)) == {code}
    assert assess(told).score >= assess(plain).score


@pytest.mark.parametrize("known", [Signals(rejected=1, similar=6), Signals(rejected=4, similar=4)])
def test_less_than_a_fifth_or_fewer_than_five_say_nothing(known: Signals) -> None:
    assert "recently_rejected" not in codes(replace(subject(), signals=known))


def test_a_first_use_by_a_kind_of_task_is_at_least_high() -> None:
    assert assess(replace(subject(), signals=Signals(first_use=True))).band is Band.HIGH


def test_deleting_for_good_in_production_is_critical() -> None:
    given: JSONObject = {"customer_ref": "C-1001", "reason": "Asked for it"}
    erased = Subject(ERASE, given, {"/customer_ref": TYPED, "/reason": TYPED}, KNOWN, Signals(production=True))
    assert assess(erased).band is Band.CRITICAL


def test_a_value_that_only_the_model_wrote_has_no_evidence() -> None:
    invented = provenance(SourceKind.MODEL, "model:gpt#plan1")
    found = next(r for r in assess(subject(order_ref=invented)).reasons if r.code == "no_evidence")
    assert found.args == ("/order_ref",)
    assert "no_evidence" not in codes(subject(reason=invented)), "a reason need not be proven"


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "AKIA" + "A" * 16,
        "ghp_" + "a" * 36,
        "sk-" + "a" * 40,
        "aod_acme_" + "a" * 12 + "_",
    ],
)
def test_a_key_that_leaves_is_high_and_one_that_stays_is_nothing(key: str) -> None:
    leaving = Subject(SEND, {"to": "a@b.example", "subject": "Hi", "body": f"Here: {key}"}, {"": TYPED}, KNOWN)
    assert next(r for r in assess(leaving).reasons if r.code == "secret_leaves").args == ("/body",)
    assert assess(leaving).band is Band.HIGH
    assert "secret_leaves" not in codes(subject(given=arguments(reason=key)))


@pytest.mark.parametrize(
    ("sql", "floor"),
    [
        ("delete from orders", "every_row"),
        ("drop table orders", "structure"),
        ("do $$ begin end $$", "uninspectable"),
        ("select 1; grant all on orders to public", "structure"),
    ],
)
def test_a_statement_is_read_and_what_cannot_be_read_is_high(sql: str, floor: str) -> None:
    given: JSONObject = {"database": "shop", "statement": sql, "values": []}
    risk = assess(Subject(STATEMENT, given, dict.fromkeys(("/database", "/statement", "/values"), TYPED), KNOWN))
    assert floor in [one.code for one in risk.floors]
    assert risk.band.rank >= Band.HIGH.rank


def test_many_rows_are_high_and_critical_when_they_are_gone_for_good() -> None:
    many = Consequence("", blast=(Blast("rows changed", 1_001),))
    by_hand = contract(reversible=GRANT_ROLE.reversible, sensitivity=frozenset())
    assert assess(replace(subject(by_hand), consequence=many)).band is Band.HIGH
    assert assess(replace(subject(contract(sensitivity=frozenset())), consequence=many)).band is Band.CRITICAL
    assert assess(replace(subject(by_hand), consequence=Consequence("", blast=(Blast("rows", 9),)))).band is Band.LOW


def test_how_much_is_unknown_is_at_least_medium_and_never_zero() -> None:
    unknown = Consequence("", blast=(Blast("rows changed", None),))
    by_hand = contract(reversible=GRANT_ROLE.reversible, sensitivity=frozenset())
    assert assess(replace(subject(by_hand), consequence=unknown)).band is Band.MEDIUM


def test_weights_and_thresholds_are_those_of_the_tenant() -> None:
    strict = replace(START, version=3, thresholds=dict(THRESHOLDS) | {"high_money": 20})
    risk = assess(replace(subject(ISSUE_REFUND), weights=strict))
    assert (risk.band, risk.weights) == (Band.HIGH, 3)
    off = replace(START, values=dict(WEIGHTS) | {"irreversible": 0})
    assert "irreversible" not in codes(replace(subject(ISSUE_REFUND), weights=off))


def test_no_weight_takes_a_floor_away() -> None:
    nothing = replace(START, values=dict.fromkeys(WEIGHTS, 0))
    risk = assess(replace(subject(order_ref=MAIL), weights=nothing))
    assert (risk.score, risk.band) == (50, Band.HIGH)


# --- properties -----------------------------------------------------------------------------------------------------

reason_codes = st.frozensets(st.sampled_from(sorted(WEIGHTS)))
origins = st.sampled_from([TYPED, MAIL, RECORDS, replace(TYPED, readers=frozenset({"user:1"}))])
texts = st.text(max_size=40)


@st.composite
def subjects(draw: st.DrawFn) -> Subject:
    tool = contract(
        sensitivity=draw(st.frozensets(st.sampled_from(list(Sensitivity)))),
        reversible=draw(st.sampled_from([ISSUE_REFUND.reversible, GRANT_ROLE.reversible])),
        egress=draw(st.sampled_from([(), ("reason",)])),
    )
    given = arguments(
        amount_minor=draw(st.integers(-(10**7), 10**7)),
        currency=draw(st.sampled_from(["EUR", "JPY", "???"])),
        reason=draw(texts),
        order_ref=draw(texts),
    )
    known = {f"/{name}": draw(origins) for name in given if draw(st.booleans())}
    warnings = draw(st.sampled_from([(), ("First contact: nobody knows it.",), ("This is a privileged role.",)]))
    consequence = draw(st.sampled_from([None, replace(KNOWN, warnings=warnings)]))
    return Subject(tool, given, known, consequence)


@given(reason_codes, st.sampled_from(sorted(WEIGHTS)))
def test_a_further_reason_never_lowers_the_score(some: frozenset[str], more: str) -> None:
    assert 0 <= score_of(some) <= score_of(some | {more}) <= 100


@given(subjects())
def test_the_score_is_bounded_and_says_its_band(one: Subject) -> None:
    risk = assess(one)
    assert 0 <= risk.score <= 100
    assert risk.band is Band.of(risk.score)
    assert all(risk.band.rank >= floor.band.rank for floor in risk.floors)


@given(subjects())
def test_points_are_how_far_the_score_falls_without_the_reason(one: Subject) -> None:
    risk = assess(one)
    every = [reason.code for reason in risk.reasons]
    for reason in risk.reasons:
        without = score_of(code for code in every if code != reason.code)
        assert score_of(every) - reason.points == without
    assert risk.score == max([score_of(every), *(floor.band.lowest for floor in risk.floors)])


@given(subjects())
def test_the_same_call_has_the_same_risk(one: Subject) -> None:
    again = replace(one, arguments=dict(reversed(one.arguments.items())))
    assert assess(one).to_json() == assess(one).to_json()
    assert (assess(again).score, assess(again).band) == (assess(one).score, assess(one).band)


@given(subjects(), st.sampled_from(["/order_ref", "/amount_minor", "/currency", "/reason"]))
def test_taint_never_lowers_the_risk(one: Subject, where: str) -> None:
    known = one.provenance.get(where)
    tainted = {**one.provenance, where: replace(known or TYPED, integrity=Integrity.UNTRUSTED)}
    before, after = assess(one), assess(replace(one, provenance=tainted))
    assert after.score >= before.score
    assert after.band.rank >= before.band.rank


@given(subjects(), st.sampled_from(list(Sensitivity)))
def test_sensitivity_never_lowers_the_risk(one: Subject, more: Sensitivity) -> None:
    stricter = replace(one, contract=replace(one.contract, sensitivity=one.contract.sensitivity | {more}))
    before, after = assess(one), assess(stricter)
    assert after.score >= before.score
    assert after.band.rank >= before.band.rank


@given(subjects())
def test_every_hint_names_a_lower_band(one: Subject) -> None:
    risk = assess(one)
    assert all(hint.band.rank < risk.band.rank for hint in risk.lower)


# --- what guardrails say ----------------------------------------------------------------------------------------------


def test_a_value_from_a_flagged_text_raises_the_risk_and_is_named() -> None:
    quoting = provenance(SourceKind.TOOL, "mail.read:c1", "/text", untrusted=True)
    flagged = replace(quoting, suspicion=("instruction", "smuggling"))
    before, after = assess(mail(body=quoting)), assess(mail(body=flagged))
    (reason,) = [one for one in after.reasons if one.code == "steering"]
    assert after.score > before.score
    assert reason.args == ("/body",)
    assert "instructions to an agent" in reason.text
    assert "hidden or look-alike characters" in reason.text


def test_a_text_that_no_guardrail_could_look_at_is_a_reason_of_its_own() -> None:
    quoting = provenance(SourceKind.TOOL, "mail.read:c1", "/text", untrusted=True)
    assert "unscreened" in codes(mail(body=replace(quoting, suspicion=(UNSCREENED,))))
    assert "steering" not in codes(mail(body=replace(quoting, suspicion=(UNSCREENED,))))
