"""The score is bounded, monotone and honest about its points; the bands mean something for ordinary work."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.guardrails.provenance import Integrity, Provenance, SourceKind, provenance
from agentops.wire.parse import JSONObject
from approvals.risk import ENGINE, WEIGHTS, Band, Subject, assess, score_of
from tests.approvals.contracts import MAIL, NOTE, RECORDS, REFUND, TYPED, arguments, contract, origin
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
