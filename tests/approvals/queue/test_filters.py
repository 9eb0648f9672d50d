"""The filter line: what it means, what it says about mistakes, and what it finds."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from approvals.models import Proposal, ProposalTerm
from approvals.proposals.search import MOST_TERMS, amount_e4, found_by, terms_of
from approvals.queue import claims, selectors
from approvals.queue.filters import BadFilter, Problem, parse
from approvals.services import reject
from tests.approvals.conftest import Desk, seen
from tests.approvals.contracts import REFUND

# --- reading the line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "at", "code", "said"),
    [
        ("bnd:high", 0, "unknown_term", "Did you mean band?"),
        ("late colour:red", 5, "unknown_term", "There is no term colour."),
        ("band:purple", 0, "value", "low, medium, high, critical"),
        ("band:", 0, "value", "nothing is none of them"),
        ("taint:maybe", 0, "value", "yes, no"),
        ("band:low band:high", 9, "twice", "band:high,critical"),
        ("mine:yes assigned:ana", 9, "twice", "twice"),
        ("amount:500", 0, "value", "amount>500"),
        ("amount>1,000", 0, "value", "digits and a point"),
        ("amount>-5", 0, "value", "digits and a point"),
        ("amount>0.00001", 0, "value", "digits and a point"),
        ("tool>3", 0, "value", "followed by a colon"),
        ("tool:mail.*", 0, "value", "whole name"),
        ("older:2", 0, "value", "older:30m"),
        ("older:0h", 0, "value", "a minute"),
        ("older:99999d", 0, "value", "ten years"),
        ("mine:no", 0, "value", "assigned:nobody"),
        ("held:no", 0, "value", "takes yes"),
        ("-band:low", 0, "negation", "Say what you want to see"),
        ('text:"late', 5, "quote", "not closed"),
        ("args.to:", 0, "value", "needs a value"),
        ("args.to:*a*", 0, "wildcard", "not both"),
        ("args.to:a*b", 0, "wildcard", "not both"),
        ("re*fund", 0, "wildcard", "end of a word"),
        ("re*", 0, "wildcard", "at least 3 letters"),
        ("text:***", 0, "wildcard", "at least 3 letters"),
        ("...", 0, "value", "needs a word"),
        ("status:pending", 0, "value", "approved"),
        ("status:rejected older:2h", 0, "closed", "only known of what waits"),
        (" ".join(f"w{i}" for i in range(13)), 38, "too_many", "at most 12"),
        ("x" * 401, 0, "too_long", "400"),
    ],
)
def test_each_mistake_is_named_where_it_stands(line: str, at: int, code: str, said: str) -> None:
    with pytest.raises(BadFilter) as raised:
        parse(line)
    [problem] = raised.value.problems
    assert (problem.at, problem.code) == (at, code)
    assert said in problem.message


def test_all_mistakes_of_a_line_are_named_at_once() -> None:
    with pytest.raises(BadFilter) as raised:
        parse("band:purple tool:mail.send older:x late")
    assert [(one.at, one.text) for one in raised.value.problems] == [(0, "band:purple"), (27, "older:x")]


@given(st.text(max_size=60))
def test_whatever_is_typed_is_read_or_refused(line: str) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        filters = parse(line, 1)
    except BadFilter as bad:
        problems = bad.problems
    else:
        assert parse(filters.query, 1) == filters
    assert all(one.message and line.strip()[one.at : one.at + len(one.text)] == one.text for one in problems)


# --- terms ------------------------------------------------------------------------------------------------------------


def test_terms_are_words_and_arguments_forwards_and_backwards() -> None:
    found = terms_of(
        {"To": "Ana@Example.com", "lines": [{"sku": "T-1", "n": 2}, {"sku": "T-2", "n": None}], "express": True},
        [{"t": "Refund "}, {"arg": "amount", "text": "EUR 5.00"}],
    )
    assert {"a:to=ana@example.com", "r:to=moc.elpmaxe@ana", "a:lines.sku=t-1", "a:lines.sku=t-2"} <= set(found)
    assert {"a:lines.n=2", "a:lines.n=null", "a:express=true"} <= set(found)
    assert {"w:refund", "w:eur", "w:5.00", "w:ana", "w:example.com", "w:example"} <= set(found)


@given(
    st.dictionaries(
        st.text(max_size=90), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)
    ),
    st.lists(st.fixed_dictionaries({"t": st.text(max_size=500)}), max_size=5),
)
def test_terms_are_bounded_whatever_the_arguments_are(
    arguments: dict[str, object], sentence: list[dict[str, str]]
) -> None:
    found = terms_of(arguments, sentence)  # type: ignore[arg-type]
    assert len(found) <= MOST_TERMS
    assert len(set(found)) == len(found)
    assert all(len(one) <= 160 and "\0" not in one for one in found)


@pytest.mark.parametrize(
    ("money", "expected"),
    [
        ({"minor": 1250, "currency": "EUR"}, 125_000),
        ({"minor": 500, "currency": "JPY"}, 5_000_000),
        ({"minor": 1, "currency": "CLF"}, 1),
        ({"minor": 1, "currency": "???"}, None),
        (None, None),
    ],
)
def test_money_is_compared_in_units_of_its_currency(money: object, expected: int | None) -> None:
    assert amount_e4({"money": money}) == expected


# --- what it finds ----------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(desk: Desk, bob: User) -> Proposal:
    """Return a refund of EUR 900.00 that was asked for just now."""
    proposal = desk.propose()
    Proposal.objects.filter(pk=proposal.pk).update(
        created_at=timezone.now() - timedelta(hours=1),
        decide_by=timezone.now() + timedelta(hours=3),
        amount_e4=9_000_000,
    )
    return Proposal.objects.get(pk=proposal.pk)


def found(line: str, me: int | None = None) -> int:
    return len(selectors.queue_page(parse(line, me), now=timezone.now()).rows)


def test_a_proposal_is_found_by_each_thing_that_is_true_of_it(waiting: Proposal, bob: User, desk: Desk) -> None:
    Proposal.objects.filter(pk=waiting.pk).update(assigned_to=bob)
    values = waiting.argument_values
    name, text = next((name, value) for name, value in values.items() if isinstance(value, str) and len(value) > 4)
    true = [
        f"band:{waiting.risk_band}",
        "band:low,medium,high,critical",
        f"tool:{REFUND.name}",
        "task:refunds",
        f"taint:{'yes' if waiting.tainted else 'no'}",
        *("amount>899.99", "amount>=900", "amount<901", "amount<=900", "amount=900", "amount>100 amount<1000"),
        *("older:30m", "mine:yes", "assigned:bob", "assigned:me"),
        f'args.{name}:"{text}"',
        f'args.{name}:"{text[:4]}*"',
        f'args.{name}:"*{text[-4:].upper()}"',
    ]
    false = [
        *("tool:mail.send", "task:other", f"taint:{'no' if waiting.tainted else 'yes'}"),
        *("amount>900", "amount<900", "amount=899", "older:2h", "assigned:nobody", "assigned:sam", "held:yes"),
        *("zebra", 'text:"refund zebra"', f"args.{name}:zebra", f"args.{name}:*zebra", f"args.x{name}:{text[:4]}*"),
    ]
    assert {line: found(line, bob.pk) for line in true} == dict.fromkeys(true, 1)
    assert {line: found(line, bob.pk) for line in false} == dict.fromkeys(false, 0)
    assert found(" ".join([true[0], *true[2:6]]), bob.pk) == 1


def test_bands_that_are_not_neighbours_leave_out_what_lies_between(waiting: Proposal) -> None:
    Proposal.objects.filter(pk=waiting.pk).update(risk_band="medium", band_rank=1)
    assert (found("band:low,high"), found("band:low,medium"), found("band:critical,low,medium")) == (0, 1, 1)


def test_words_of_the_sentence_are_found_whole_or_by_their_beginning(waiting: Proposal) -> None:
    ProposalTerm.objects.all().delete()
    Proposal.objects.filter(pk=waiting.pk).update(terms=["w:refund", "w:naïve"])
    assert (found("REFUND"), found("refu*"), found("refu"), found("nai\u0308ve"), found("refund naïve")) == (
        1,
        1,
        0,
        1,
        1,
    )


def test_terms_follow_the_proposal_for_as_long_as_it_waits(
    waiting: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    mine = ProposalTerm.objects.filter(proposal=waiting)
    assert sorted(mine.values_list("term", flat=True)) == sorted(waiting.terms)
    assert waiting.terms == found_by(waiting.arguments, waiting.sentence, waiting.consequence)["terms"]
    Proposal.objects.filter(pk=waiting.pk).update(terms=["w:other", "w:other"])
    assert list(mine.values_list("term", flat=True)) == ["w:other"]
    reject(**seen(waiting, actors(bob), timezone.now()), reason_code="duplicate", note="seen twice")
    assert not mine.exists()


@pytest.mark.django_db
def test_terms_of_another_tenant_are_not_there(acme: Tenant, globex: Tenant) -> None:
    with tenant_scope(acme):
        ProposalTerm.objects.create(term="w:secret", proposal_id=uuid7())
        assert ProposalTerm.objects.filter(term="w:secret").exists()
    with tenant_scope(globex):
        assert not ProposalTerm.objects.exists()


def test_held_ones_come_back_when_their_time_is_over(
    waiting: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    now = timezone.now()
    claims.hold(
        proposal_id=waiting.pk,
        actor=actors(bob),
        until=now + timedelta(minutes=20),
        reason="bank closed",
        now=now,
    )
    later = now + timedelta(minutes=21)
    assert (found(""), found("held:yes")) == (0, 1)
    assert len(selectors.queue_page(parse(""), now=later).rows) == 1
    assert len(selectors.queue_page(parse("held:yes"), now=later).rows) == 0


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bobs(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def test_a_mistake_is_a_bad_request_that_keeps_the_line(waiting: Proposal, bobs: Client) -> None:
    answer = bobs.get("/t/acme/queue", {"q": "bnd:<b>high"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert 'value="bnd:&lt;b&gt;high"' in text
    assert 'data-code="unknown_term"' in text
    assert "<b>high" not in text
    assert not answer.context["items"]


def test_a_mistake_leaves_the_rows_of_an_open_page_where_they_are(waiting: Proposal, bobs: Client) -> None:
    answer = bobs.get("/t/acme/queue", {"q": "band:x"}, headers={"HX-Request": "true", "HX-Target": "queue-pane"})
    assert (answer.status_code, answer["HX-Retarget"], answer["HX-Push-Url"]) == (400, "#problems", "false")
    assert b'id="list"' not in answer.content


def test_programs_are_told_in_json(waiting: Proposal, bobs: Client) -> None:
    answer = bobs.get("/t/acme/queue", {"q": "older:x"}, headers={"Accept": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0] | {"message": ""} == {"at": 0, "text": "older:x", "code": "value", "message": ""}


def test_an_empty_list_names_the_term_that_hides_most(waiting: Proposal, bobs: Client) -> None:
    answer = bobs.get("/t/acme/queue", {"q": "task:refunds tool:mail.send"})
    assert answer.context["hides"] == {"text": "tool:mail.send", "count": "1", "url": "/t/acme/queue?q=task%3Arefunds"}
    nothing = bobs.get("/t/acme/queue", {"q": "task:other tool:mail.send"})
    assert nothing.context["hides"] is None


def test_the_list_of_what_was_decided_says_how_much_was_searched(waiting: Proposal, bobs: Client) -> None:
    assert "The newest 10000 were searched." in bobs.get("/t/acme/queue?q=status:rejected band:low").content.decode()
