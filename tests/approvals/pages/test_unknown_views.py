"""Effects nobody knows about, in the queue and on their card: found, explained, answered once."""

from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.cards import unknowns
from approvals.models import Grant, Proposal
from approvals.queue import live, selectors
from approvals.queue.filters import Filters
from tests.deciding import approve, lose_the_answer
from tests.keys import key_of
from tests.shop import drive, only_proposal, open_shop, start
from tools.backoffice.models import Refund

HTMX = {"HX-Request": "true"}


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def run(shop: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> Run:
    """Return a run whose refund may or may not have happened; worker w7 was inside it and the tool could not tell."""
    found = drive(start("support-email", {"message_id": "M-0001"}).id)
    proposal = only_proposal()
    approve(proposal_id=proposal.pk, actor=actor_of(bob, shop), version=1, digest=proposal.digest)
    lose_the_answer(proposal)
    return Run.objects.get(pk=found.pk)


@pytest.fixture
def call(run: Run) -> ToolCall:
    return ToolCall.objects.get(run=run, state="unknown")


@pytest.fixture
def senior(sam: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(sam)


@pytest.fixture
def desk(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def answered(client: Client, call: ToolCall, **said: object) -> object:
    values: dict[str, object] = {"attempt": 1, "verdict": "happened", "note": "The bank shows it.", **said}
    return client.post(f"/t/acme/unknown/{call.pk}/answer", values)


def test_it_stands_on_top_of_the_queue_and_is_counted(run: Run, call: ToolCall, senior: Client) -> None:
    page = senior.get("/t/acme/queue")
    (row,) = page.context["unknowns"]
    assert (row["id"], row["url"], row["selected"]) == (f"call-{call.pk}", f"/t/acme/unknown/{call.pk}", True)
    assert page.context["counts"]["pending"] == 1
    assert page.context["unknown"]["id"] == f"call-{call.pk}", "the most urgent thing this person can answer is open"
    text = unescape(page.content.decode())
    assert "Did it happen?" in text
    assert 'data-pending="1"' in text
    assert senior.get(f"/t/acme/queue?open=call-{call.pk}").status_code == 200


def test_the_card_holds_the_evidence(run: Run, call: ToolCall, senior: Client) -> None:
    item = senior.get(f"/t/acme/unknown/{call.pk}").context["item"]
    assert item["started"]["worker"] == "w7"
    assert [(one["who"], one["text"]) for one in item["seen"]] == [
        ("The worker", "the connection broke"),
        ("The tool's own record", "no entry under this key"),
    ]
    assert item["idempotency_key"] == key_of(call)
    assert item["approval"]["by"] == "Bob"
    arguments = {one["name"]: one for one in item["arguments"]}
    assert arguments["order_ref"]["provenance"]["label"] in ("untrusted", "mixed")
    assert arguments["amount_minor"]["text"] == "EUR 124.00"
    assert item["run_url"] == f"/t/acme/runs/{run.pk}"
    text = unescape(senior.get(f"/t/acme/unknown/{call.pk}").content.decode())
    assert "We do not know whether this happened" in text


def test_htmx_gets_the_card_alone(call: ToolCall, senior: Client) -> None:
    for path in (f"unknown/{call.pk}", f"queue?open=call-{call.pk}"):
        fragment = senior.get(f"/t/acme/{path}", headers=HTMX | {"HX-Target": "card"})
        assert b"<html" not in fragment.content
        assert f'data-id="call-{call.pk}"' in fragment.content.decode()


@pytest.mark.parametrize(
    ("verdict", "state"), [("happened", "succeeded"), ("did_not_happen", "granted"), ("gave_up", "failed")]
)
def test_each_answer_ends_the_question_and_lets_the_run_go_on(
    run: Run, call: ToolCall, senior: Client, verdict: str, state: str
) -> None:
    response = answered(senior, call, verdict=verdict)
    assert (response.status_code, response["Location"]) == (302, "/t/acme/queue")  # type: ignore[attr-defined, index]
    call.refresh_from_db()
    assert call.state == state
    assert Run.objects.get(pk=run.pk).state == "queued"
    page = senior.get("/t/acme/queue")
    assert page.context["unknowns"] == []
    item = senior.get(f"/t/acme/unknown/{call.pk}").context["item"]
    (said,) = item["answers"]
    assert (said["by"], said["note"], item["can_answer"]) == ("Sam", "The bank shows it.", False)
    drive(run.pk)
    assert Refund.objects.count() == (verdict == "did_not_happen")


def test_what_it_means_that_it_did_not_happen_depends_on_whether_its_permission_lasts(
    run: Run, call: ToolCall, senior: Client
) -> None:
    def means() -> str:
        page = senior.get(f"/t/acme/unknown/{call.pk}")
        texts = {one["value"]: one["text"] for one in page.context["item"]["verdicts"]}
        assert texts["did_not_happen"] in unescape(page.content.decode())
        return str(texts["did_not_happen"])

    assert means() == "The run may use its permission again and do it now, once."
    Grant.objects.filter(run=run).update(expires_at=timezone.now())
    assert means() == "Its permission has ended meanwhile: the call is refused, and nothing is done."
    answered(senior, call, verdict="did_not_happen")
    drive(run.id)
    assert state_of(run.pk).calls[call.call_id].code == "grant_expired"
    assert not Refund.objects.exists()


def test_with_what_happened_go_reference_and_result_and_the_receipt_shows_the_reference(
    run: Run, call: ToolCall, senior: Client
) -> None:
    answered(senior, call, reference="BANK-77", **{"out:/refund_id": "R-7", "out:/status": "refunded"})
    assert state_of(run.pk).calls[call.call_id].output == {"refund_id": "R-7", "status": "refunded"}
    proposal = Proposal.objects.get(run=run, call_id=call.call_id)
    assert senior.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["receipt"]["provider_ref"] == "R-7"


def test_a_reference_alone_is_enough(run: Run, call: ToolCall, senior: Client) -> None:
    answered(senior, call, reference="BANK-77")
    assert state_of(run.pk).calls[call.call_id].output is None
    proposal = Proposal.objects.get(run=run, call_id=call.call_id)
    assert senior.get(f"/t/acme/proposals/{proposal.pk}").context["card"]["receipt"]["provider_ref"] == "BANK-77"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"verdict": ""}, "verdict"),
        ({"verdict": "perhaps"}, "verdict"),
        ({"note": " "}, "note"),
        ({"note": "x" * 2001}, "note"),
        ({"reference": "x" * 201}, "reference"),
        ({"out:/refund_id": "R-7"}, "output/status"),
        ({"out:/refund_id": "x" * 41, "out:/status": "refunded"}, "output/refund_id"),
        ({"out:/refund_id": "R-7", "out:/status": "paid"}, "output/status"),
    ],
)
def test_an_incomplete_answer_is_not_recorded_and_not_lost(
    run: Run, call: ToolCall, senior: Client, said: dict[str, str], field: str
) -> None:
    response = answered(senior, call, **said)
    assert response.status_code == 422  # type: ignore[attr-defined]
    item = response.context["item"]  # type: ignore[attr-defined]
    assert field in item["errors"]
    assert Run.objects.get(pk=run.pk).state == "awaiting_reconciliation"
    assert item["draft"]["note"] == said.get("note", "The bank shows it.")
    typed = {f"out:{one['name'].removeprefix('out:')}": one["value"] for one in item["fields"]}
    assert all(typed[name] == value for name, value in said.items() if name.startswith("out:"))


def test_the_second_answer_is_told_that_it_is_known_and_keeps_its_words(call: ToolCall, senior: Client) -> None:
    answered(senior, call)
    second = answered(senior, call, verdict="did_not_happen", note="No trace of it.")
    assert second.status_code == 409  # type: ignore[attr-defined]
    assert not Refund.objects.exists()


def test_an_answer_about_an_earlier_attempt_is_refused(call: ToolCall, senior: Client) -> None:
    assert answered(senior, call, attempt=7).status_code == 409  # type: ignore[attr-defined]
    assert ToolCall.objects.get(pk=call.pk).state == "unknown"


def test_operators_see_it_and_cannot_answer(call: ToolCall, desk: Client) -> None:
    page = desk.get("/t/acme/queue")
    assert len(page.context["unknowns"]) == 1
    assert page.context["unknown"] is None, "they open what they can decide"
    item = desk.get(f"/t/acme/unknown/{call.pk}").context["item"]
    assert not item["can_answer"]
    assert answered(desk, call).status_code == 403  # type: ignore[attr-defined]


def test_a_call_that_was_never_unknown_has_no_such_page(run: Run, senior: Client) -> None:
    other = ToolCall.objects.exclude(state="unknown").filter(run=run)[0]
    assert senior.get(f"/t/acme/unknown/{other.pk}").status_code == 404
    assert senior.get("/t/acme/unknown/999999999").status_code == 404
    assert senior.get("/t/acme/queue?open=call-999999999").status_code == 404
    assert senior.get("/t/acme/queue?open=call-x").status_code == 400


def test_a_question_the_tool_has_not_been_asked_yet_is_not_put_before_people(run: Run, call: ToolCall) -> None:
    ToolCall.objects.filter(pk=call.pk).update(hook_asked=False)
    assert unknowns.waiting(Filters()) == []
    assert selectors.overview([], now=timezone.now()).calls == 0


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 1),
        ("tool:shop.issue_refund", 1),
        ("tool:mail.send", 0),
        ("task:support-email", 1),
        ("task:other", 0),
        ("band:low", 0),
        ("taint:yes", 0),
        ("status:expired", 0),
    ],
)
def test_the_filters_of_the_queue_hold_here_too(call: ToolCall, desk: Client, query: str, count: int) -> None:
    assert len(desk.get("/t/acme/queue", {"q": query}).context["unknowns"]) == count


def test_what_later_steps_need_is_marked(run: Run, call: ToolCall, senior: Client) -> None:
    needed = set(unknowns.needed_later(state_of(run.pk), "refund"))
    fields = {one["name"]: one["needed"] for one in senior.get(f"/t/acme/unknown/{call.pk}").context["item"]["fields"]}
    assert fields == {f"out:/{name}": name in needed or "" in needed for name in ("refund_id", "status")}


def test_open_pages_hear_of_it(run: Run, call: ToolCall, senior: Client) -> None:
    before = live.newest()
    answered(senior, call)
    assert "unknown" in {one.name for one in live.signals_after(before)}
    assert {one.name for one in live.signals_after(0)} >= {"unknown", "proposal", "run"}
