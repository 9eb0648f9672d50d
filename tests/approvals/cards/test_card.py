"""The page of one proposal: its parts, its cost, and what stands beside it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agentops.guardrails.provenance import SourceKind, provenance
from agentops.tenancy.access import Actor
from agentops.wire.parse import JSON, JSONObject
from approvals import services
from approvals.cards.evidence import quoted
from approvals.models import Proposal
from tests import deciding
from tests.approvals.conftest import Desk, seen
from tests.approvals.contracts import MAIL, origin
from tests.approvals.lab import FILE, LETTER, STATEMENT, TRANSFER, letter, put, registered
from tools.contracts import Blast, Change, Consequence

MODEL = provenance(SourceKind.MODEL, "model:gpt#plan1")


@pytest.fixture
def client(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def card(client: Client, proposal: Proposal) -> dict[str, Any]:
    answer = client.get(f"/t/acme/proposals/{proposal.pk}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.context["card"]
    return found


def page(client: Client, proposal: Proposal, query: str = "") -> str:
    content: bytes = client.get(f"/t/acme/proposals/{proposal.pk}{query}").content
    return " ".join(content.decode().split())


def test_the_blocks_come_in_order(desk: Desk, client: Client) -> None:
    with registered(Consequence("x", changes=(Change("status", "open", "closed"),))):
        shown = page(client, put(desk, LETTER, letter(), source="It is on its way.", explanation="Because."))
    marks = (
        *(
            'class="strip"',
            'id="sentence"',
            'aria-label="What happens"',
            'aria-label="Risk"',
            'id="bar"',
            'id="why-title"',
        ),
        *('id="sec-arguments"', 'id="sec-preview"', 'id="sec-evidence"', "explanation (written"),
        *('id="budget-title"', 'data-section="similar"', 'id="history-title"'),
    )
    places = [shown.find(mark) for mark in marks]
    assert -1 not in places
    assert places == sorted(places)


def test_a_card_takes_at_most_twelve_statements(
    desk: Desk, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    run = desk.run()
    proposal = desk.propose(run=run, wait=False)
    desk.propose(run=run, amount_minor=200)
    client.get(f"/t/acme/proposals/{proposal.pk}")
    with django_assert_max_num_queries(12):
        client.get(f"/t/acme/proposals/{proposal.pk}")
    with django_assert_max_num_queries(12):
        client.get(f"/t/acme/proposals/{proposal.pk}/similar")
    with django_assert_max_num_queries(12):
        client.get(f"/t/acme/runs/{run.pk}/calls")


def test_evidence_marks_the_very_place_and_nothing_within_a_word() -> None:
    text = "Order A-109 and A-1093: please pay EUR 49.90, not 4990, by 2013."
    marked = [
        (one.text, one.argument)
        for one in quoted(text, {"order": ["A-1093"], "amount": ["49.90", "13"]})
        if one.argument
    ]
    assert marked == [("A-1093", "order"), ("49.90", "amount")]
    longest = quoted("the full EUR 1,240.00 back", {"amount": ["1,240", "1,240.00"]})
    assert [one.text for one in longest if one.argument] == ["1,240.00"]
    assert "".join(one.text for one in quoted(text, {"order": ["A-1093"]})) == text


def test_a_long_source_is_quoted_around_the_value() -> None:
    segments = quoted("x" * 9_000 + " eve@evil.example " + "y" * 9_000, {"to": ["eve@evil.example"]})
    assert [one.text for one in segments if one.argument] == ["eve@evil.example"]
    assert segments[0].text == "[8,501 characters before this]\n"
    assert sum(len(one.text) for one in segments) < 2_200


def test_a_value_shows_where_it_stands_in_what_the_run_read(desk: Desk, client: Client) -> None:
    with registered():
        found = card(client, put(desk, LETTER, letter(), source="Please write to maria@bank.example at once."))
    piece = found["evidence"][0]
    assert (piece["trust"], [one.argument for one in piece["segments"] if one.argument]) == ("untrusted", ["to"])
    to = next(one for one in found["arguments"] if one["name"] == "to")
    assert to["way"][0].startswith("lab.look_up")
    assert to["way"][-1] == "to"


def test_what_only_the_model_says_comes_first_and_is_a_reason(desk: Desk, client: Client) -> None:
    proposal = desk.propose(provenance=origin(order_ref=MODEL))
    found = card(client, proposal)
    assert found["unsupported"] == [{"name": "order_ref", "why": "the model wrote it itself"}]
    assert "no_evidence" in [reason["code"] for reason in found["risk"]["reasons"]]
    assert "Nothing on record supports" in page(client, proposal)


def test_the_agents_words_are_in_no_sentence_no_consequence_and_no_reason(desk: Desk, client: Client) -> None:
    found = card(client, desk.propose(explanation="zebra crossing", provenance=origin(order_ref=MAIL)))
    ours = (found["sentence_parts"], found["consequence"], found["risk"], found["why"])
    assert "zebra" not in repr(ours)
    assert found["explanation"] == "zebra crossing"


@pytest.mark.parametrize(("minor", "shown"), [(4_990, True), (60_000, False)])
def test_the_explanation_is_folded_from_high_upwards(desk: Desk, client: Client, minor: int, shown: bool) -> None:
    html = page(client, desk.propose(amount_minor=minor))
    before = html[: html.index("explanation (written by the agent")]
    assert ("open" in before[before.rindex("<details") :].partition(">")[0]) is shown


def test_what_the_run_has_used_and_what_this_may_take(desk: Desk, client: Client) -> None:
    rows = {row["name"]: row for row in card(client, desk.propose())["budget"]}
    assert rows["Steps"]["limit"]
    assert rows["Reviewers' time"]["this"]


def test_the_other_calls_of_the_plan_stand_beside_and_on_one_screen(desk: Desk, client: Client) -> None:
    run = desk.run()
    first = desk.propose(run=run, wait=False, amount_minor=100)
    second = desk.propose(run=run, amount_minor=200)
    found = card(client, first)
    assert [one["url"] for one in found["others"]] == [f"/t/acme/proposals/{second.pk}"]
    screen = client.get(f"/t/acme/runs/{run.pk}/calls?open={second.pk}")
    assert [call["p"].pk for call in screen.context["calls"]] == [first.pk, second.pk]
    assert screen.context["card"]["p"]["id"] == second.pk
    assert b'name="back" value="together"' in screen.content


def test_calls_are_decided_one_by_one_and_the_screen_goes_on(desk: Desk, client: Client) -> None:
    run = desk.run()
    first = desk.propose(run=run, wait=False, amount_minor=100)
    second = desk.propose(run=run, amount_minor=200)
    later = timezone.now() + timedelta(hours=1)
    Proposal.objects.update(decide_by=later, execute_by=later)
    said = {"version": "1", "reason_code": "duplicate", "note": "twice", "back": "together"}
    for proposal, target in ((first, f"/t/acme/runs/{run.pk}/calls"), (second, f"/t/acme/runs/{run.pk}/calls")):
        posted = said | {"decision": "reject", "args_digest": proposal.digest}
        answer = client.post(f"/t/acme/proposals/{proposal.pk}/decide", posted)
        assert (answer.status_code, answer.get("Location")) == (302, target)
    answer = client.get(f"/t/acme/runs/{run.pk}/calls")
    assert (answer.status_code, answer.get("Location")) == (302, f"/t/acme/runs/{run.pk}")


def test_values_by_path_page_by_page_and_as_a_file(desk: Desk, client: Client) -> None:
    notes: list[JSON] = [f"note {number}" for number in range(250)]
    account: JSONObject = {"holder": "Maria", "iban": "DE89", "notes": notes}
    given: JSONObject = {
        "account": account,
        "amount_minor": 1,
        "currency": "EUR",
        "due": "2026-12-01",
        "api_key": "hunter2",
    }
    with registered():
        proposal = put(desk, TRANSFER, given)
        address = f"/t/acme/proposals/{proposal.pk}/values"
        first, second = client.get(address), client.get(f"{address}?after=200")
        assert (len(first.context["listing"]["rows"]), first.context["listing"]["more"]) == (200, 56)
        assert len(second.context["listing"]["rows"]) == 56
        assert client.get(f"{address}?find=iban").context["listing"]["total"] == 1
        file = client.get(f"{address}?file=/account/iban")
        assert (file.content, file["Content-Type"]) == (b"DE89", "text/plain; charset=utf-8")
        assert file["Content-Disposition"].startswith("attachment;")
        assert client.get(f"{address}?file=/nothing").status_code == 404
        everything = first.content + second.content + client.get(f"{address}?file=/api_key").content
        shown = page(client, proposal)
    assert b"hunter2" not in everything
    assert "hunter2" not in shown
    assert "a secret of 7 characters" in shown


def test_an_edited_text_shows_its_difference(desk: Desk, client: Client) -> None:
    proposal = desk.propose(reason="The parcel arrived broken.\nThe customer sent pictures of it and of the box.")
    Proposal.objects.filter(pk=proposal.pk).update(arguments=proposal.arguments.replace("broken", "late"), version=2)
    reason = next(one for one in card(client, proposal)["arguments"] if one["name"] == "reason")
    assert [line["op"] for line in reason["changed_lines"]] == ["removed", "added", "same"]


def test_an_edit_that_has_to_be_confirmed_stands_in_the_history_with_what_it_changed(
    desk: Desk, client: Client, bob: User, actors: Callable[[User], Actor]
) -> None:
    proposal = desk.propose()
    dearer = proposal.argument_values | {"amount_minor": 60_000}
    said = deciding.edit_and_approve(arguments=dearer, **seen(proposal, actors(bob)))
    assert isinstance(said, services.Reconfirm)
    last = card(client, proposal)["history"][-1]
    assert (last["actor"], last["text"]) == ("Bob", "changed the arguments; this is version 2, high risk")
    assert last["changes"] == [{"path": "/amount_minor", "text": "60000"}]


def test_statements_and_files_show_what_they_do(desk: Desk, client: Client) -> None:
    rows = Consequence("x", blast=(Blast("rows", 14),), changes=(Change("a.txt", "one\ntwo", "one\nthree"),))
    with registered(rows):
        sql = put(desk, STATEMENT, {"database": "shop", "statement": "delete from orders", "values": []})
        assert "DELETE without WHERE: every row." in page(client, sql)
        assert "every_row" in sql.risk["floor_codes"]
        given: JSONObject = {"path": "a.txt", "content": "one\nthree", "mode": "0644", "command": "ls; rm x"}
        file = put(desk, FILE, given)
        [preview] = [one for one in card(client, file)["previews"] if one["kind"] == "file"]
    assert [line["op"] for line in preview["lines"]] == ["same", "removed", "added"]
    assert "uninspectable" in file.risk["floor_codes"]


def test_the_x_ray_works_without_scripts(desk: Desk, client: Client) -> None:
    proposal = desk.propose(provenance=origin(order_ref=MAIL))
    assert 'class="card xray"' not in page(client, proposal)
    assert 'class="card xray"' in page(client, proposal, "?xray=1")
