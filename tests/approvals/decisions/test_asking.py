"""Asking the agent from the card: who may, what is refused, what the page shows of an answer. Hostile text is inert."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from agentops.engine.events import ProposalAnswered, ProposalAsked, ProposalUnanswered, RunClaimed
from agentops.runs.recording import load, state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.decisions.asking import MAX_QUESTION, ask
from approvals.models import Proposal
from approvals.proposals.outcomes import Asked, Decided, Expired, Forbidden, Invalid, Leased, Lost, Stale
from approvals.queue import claims
from approvals.services import reject
from tests.approvals.conftest import NOW, Desk, seen
from tests.approvals.threads import at_once
from tests.deciding import approve

SOON = NOW + timedelta(minutes=5)
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script> \u202egnp.exe'


@pytest.fixture
def proposal(desk: Desk) -> Proposal:
    return desk.propose()


@pytest.fixture
def senior(sam: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(sam)


@pytest.fixture
def operator(bob: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(bob)


def answer(desk: Desk, proposal: Proposal, text: str = "So.", round_: int = 1, **more: object) -> None:
    event = ProposalAnswered(str(proposal.pk), proposal.call_id, 1, round_, "model:gpt", text, False)
    desk.record(proposal.run, RunClaimed("w1", 1), replace(event, **more), now=SOON)  # type: ignore[arg-type]


def test_a_question_is_an_event_of_the_run_and_wakes_it(desk: Desk, proposal: Proposal, operator: Actor) -> None:
    told = ask(question="  Why this?  ", **seen(proposal, operator, SOON))
    assert told == Asked(proposal.pk, 1)
    event = load(proposal.run_id)[-1].event
    assert event == ProposalAsked(str(proposal.pk), proposal.call_id, 1, 1, operator.name, "Why this?")
    proposal.run.refresh_from_db()
    assert (proposal.run.state, proposal.run.not_before) == ("queued", SOON)
    assert Proposal.objects.get(pk=proposal.pk).decide_by == proposal.decide_by


@pytest.mark.parametrize("question", ["", "   ", "Why?", "x" * (MAX_QUESTION + 1)])
def test_a_question_has_a_length(desk: Desk, proposal: Proposal, operator: Actor, question: str) -> None:
    told = ask(question=question, **seen(proposal, operator, SOON))
    assert isinstance(told, Invalid)
    assert [issue.path for issue in told.issues] == ["/question"]


def test_only_who_may_decide_asks_and_only_about_what_they_saw(
    desk: Desk, proposal: Proposal, operator: Actor, senior: Actor
) -> None:
    program = Actor.token(7, "agent", ("run.submit",))
    viewer = Actor("user", "99", "vic", frozenset({"viewer"}), 99)
    said = {"question": "Why this?"}
    assert ask(**seen(proposal, program, SOON), **said) == Forbidden("people_only")
    assert ask(**seen(proposal, viewer, SOON), **said) == Forbidden("role")
    stale = seen(proposal, operator, SOON) | {"digest": "0" * 64}
    assert ask(**stale, **said) == Stale(1, proposal.digest)
    late = seen(proposal, operator, proposal.decide_by + timedelta(seconds=1))
    assert ask(**late, **said) == Expired(proposal.decide_by)
    with pytest.raises(Proposal.DoesNotExist):
        ask(**(seen(proposal, operator) | {"proposal_id": proposal.run_id}), **said)


def test_what_somebody_else_has_is_neither_asked_about_nor_decided(
    desk: Desk, proposal: Proposal, operator: Actor, senior: Actor
) -> None:
    claims.claim(proposal_id=proposal.pk, actor=senior, now=SOON)
    leased = Leased("Sam", SOON + claims.LEASE)
    shown = seen(proposal, operator, SOON)
    assert ask(question="Why this?", **shown) == leased
    assert approve(**shown) == leased
    assert reject(reason_code="duplicate", **shown) == leased
    over = seen(proposal, operator, SOON + claims.LEASE)
    assert isinstance(reject(reason_code="duplicate", **over), Decided)


# --- the card ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(bob: User) -> Client:
    client = Client()
    client.force_login(bob)
    return client


def posted(proposal: Proposal, **more: str) -> dict[str, str]:
    return {"version": str(proposal.version), "args_digest": proposal.digest, "question": "Why this?"} | more


def fresh(desk: Desk) -> Proposal:
    """Return a proposal whose deadline lies ahead of the real clock."""
    found = desk.propose()
    Proposal.objects.filter(pk=found.pk).update(decide_by=found.decide_by + timedelta(days=9_000))
    found.refresh_from_db()
    return found


def test_a_question_without_scripts_leads_back_to_the_card_that_says_it_waits(desk: Desk, client: Client) -> None:
    proposal = fresh(desk)
    url = f"/t/acme/proposals/{proposal.pk}"
    assert f'action="{url}/ask"' in client.get(f"{url}?open=ask").content.decode()
    response = client.post(f"{url}/ask", posted(proposal))
    assert (response.status_code, response["Location"]) == (302, url)
    page = client.get(url).content.decode()
    assert "WAITING" in page
    assert 'data-refresh="card"' in page
    assert f'action="{url}/ask"' not in page


def test_an_answer_is_shown_inertly_as_the_agents_words(desk: Desk, client: Client, operator: Actor) -> None:
    proposal = fresh(desk)
    ask(question=f"Is it {HOSTILE}?", **seen(proposal, operator, SOON))
    answer(desk, proposal, HOSTILE, tainted=True, refused=HOSTILE)
    page = client.get(f"/t/acme/proposals/{proposal.pk}").content.decode()
    assert "<img" not in page
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "Written by the model gpt, not checked" in page
    assert 'class="foreign agent"' in page
    assert "2 more answers at most" in page


def test_a_changed_version_says_what_changed_and_that_approvals_do_not_count(
    desk: Desk, client: Client, operator: Actor
) -> None:
    proposal = fresh(desk)
    ask(question="Is it right?", **seen(proposal, operator, SOON))
    patch = [{"op": "replace", "path": "/amount_minor", "value": 50}]
    given = {**proposal.argument_values, "amount_minor": 50}
    answer(desk, proposal, "Half.", version=2, digest="e" * 64, arguments=given, patch=patch)
    page = client.get(f"/t/acme/proposals/{proposal.pk}").content.decode()
    assert "approvals given before do not count any more" in page
    assert "<dt>/amount_minor</dt>" in page
    call = state_of(proposal.run_id).calls[proposal.call_id]
    assert (call.digest, call.arguments) == ("e" * 64, given)


def test_statuses_say_why_nothing_was_asked_and_the_question_is_kept(
    desk: Desk, client: Client, operator: Actor, senior: Actor
) -> None:
    proposal = fresh(desk)
    url = f"/t/acme/proposals/{proposal.pk}/ask"
    kept = client.post(url, posted(proposal, args_digest="0" * 64, question="Is this kept?"))
    assert kept.status_code == 409
    assert "Is this kept?" in kept.content.decode()
    assert client.post(url, posted(proposal, question="")).status_code == 422
    assert client.post(url, posted(proposal, version="x")).status_code == 422
    assert client.get(url).status_code == 405
    claims.claim(proposal_id=proposal.pk, actor=senior)
    assert client.post(url, posted(proposal)).status_code == 423
    claims.release(proposal_id=proposal.pk, actor=senior)
    assert client.post(url, posted(proposal), headers={"HX-Request": "true"}).status_code == 200
    again = client.post(url, posted(proposal))
    assert again.status_code == 422
    assert "A question is being answered" in again.content.decode()
    assert client.post(url.replace(str(proposal.pk), str(proposal.run_id)), posted(proposal)).status_code == 404


def test_somebody_of_another_tenant_finds_nothing_to_ask_about(charlie: User, desk: Desk, proposal: Proposal) -> None:
    client = Client()
    client.force_login(charlie)
    assert client.post(f"/t/acme/proposals/{proposal.pk}/ask", posted(proposal)).status_code == 404


def test_when_nobody_answers_the_card_says_so_and_another_question_can_be_asked(
    desk: Desk, client: Client, operator: Actor
) -> None:
    proposal = fresh(desk)
    ask(question="Is it right?", **seen(proposal, operator, SOON))
    gone = ProposalUnanswered(str(proposal.pk), proposal.call_id, 1, "model:gpt", "model_timeout", HOSTILE)
    desk.record(proposal.run, RunClaimed("w1", 1), gone, now=SOON)
    page = client.get(f"/t/acme/proposals/{proposal.pk}").content.decode()
    assert "No answer (model timeout)" in page
    assert "<img" not in page
    assert "3 more answers at most" in page


# --- at the same moment -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_of_a_question_and_a_decision_at_the_same_moment_the_later_finds_what_the_earlier_did(
    desk: Desk, bob: User, sam: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    one, other = actor_of(bob, desk.tenant), actor_of(sam, desk.tenant)

    def within(act: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with tenant_scope(desk.tenant):
                return act()

        return run

    for _ in range(20):
        proposal = desk.propose()
        mine, theirs = seen(proposal, one, SOON), seen(proposal, other, SOON)
        asked, decided = at_once(
            [
                within(lambda shown=mine: ask(question="Why this?", **shown)),  # type: ignore[misc]
                within(lambda shown=theirs: reject(reason_code="duplicate", **shown)),  # type: ignore[misc]
            ]
        )
        assert isinstance(decided, Decided)
        outcomes = [q.outcome for q in state_of(proposal.run_id).calls[proposal.call_id].questions]
        assert (outcomes, type(asked)) in ((["dropped"], Asked), ([], Lost))
        again = desk.propose()
        both = at_once(
            [
                within(lambda shown=shown: ask(question="Why this?", **shown))  # type: ignore[misc]
                for shown in (seen(again, one, SOON), seen(again, other, SOON))
            ]
        )
        assert sorted(type(told).__name__ for told in both) == ["Asked", "Invalid"]
