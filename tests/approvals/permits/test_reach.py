"""A rejection says how far it reaches and whether the agent may try again: kept, recorded, shown, the same in bulk."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client

from agentops.engine.events import ProposalDecided
from agentops.runs.recording import load, state_of
from agentops.tenancy.access import Actor
from approvals.decisions import bulk
from approvals.models import Decision, Proposal, RejectScope
from approvals.proposals.outcomes import Decided, Invalid, Leased
from approvals.queue import claims
from approvals.services import reject
from tests.approvals.conftest import NOW, Desk, seen

SOON = NOW + timedelta(minutes=5)


@pytest.fixture
def proposal(desk: Desk) -> Proposal:
    found = desk.propose()
    Proposal.objects.filter(pk=found.pk).update(decide_by=found.decide_by + timedelta(days=9_000))
    found.refresh_from_db()
    return found


@pytest.fixture
def operator(bob: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(bob)


@pytest.fixture
def senior(sam: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(sam)


@pytest.fixture
def client(bob: User) -> Client:
    client = Client()
    client.force_login(bob)
    return client


def last(proposal: Proposal) -> ProposalDecided:
    event = load(proposal.run_id)[-1].event
    assert isinstance(event, ProposalDecided)
    return event


@pytest.mark.parametrize("scope", RejectScope.values)
@pytest.mark.parametrize("retry", [True, False])
def test_the_reach_is_kept_with_the_decision_and_in_the_event(
    desk: Desk, proposal: Proposal, operator: Actor, scope: str, retry: bool
) -> None:
    told = reject(reason_code="duplicate", scope=scope, retry=retry, **seen(proposal, operator, SOON))
    assert isinstance(told, Decided)
    row = Decision.objects.get()
    assert (row.scope, row.retry) == (scope, retry)
    assert (last(proposal).scope, last(proposal).retry) == (scope, "yes" if retry else "no")
    call = state_of(proposal.run_id).calls[proposal.call_id]
    assert (call.scope, call.barred) == (scope, not retry)


def test_without_a_word_about_it_a_rejection_reaches_its_step_and_the_agent_may_try_again(
    desk: Desk, proposal: Proposal, client: Client
) -> None:
    posted = {"version": "1", "args_digest": proposal.digest, "decision": "reject", "reason_code": "duplicate"}
    assert client.post(f"/t/acme/proposals/{proposal.pk}/decide", posted).status_code == 302
    assert (last(proposal).scope, last(proposal).retry) == ("step", "yes")


def test_an_unknown_reach_is_refused_and_what_was_typed_is_kept(desk: Desk, proposal: Proposal, client: Client) -> None:
    posted = {"version": "1", "args_digest": proposal.digest, "decision": "reject", "reason_code": "duplicate"}
    url = f"/t/acme/proposals/{proposal.pk}/decide"
    wrong = client.post(url, posted | {"scope": "world", "note": "Twice already", "retry": "no"})
    assert wrong.status_code == 422
    page = wrong.content.decode()
    assert "Choose how far it reaches." in page
    assert "Twice already" in page
    assert '<option value="no" selected>' in page
    assert client.post(url, posted | {"retry": "perhaps"}).status_code == 422
    assert not Decision.objects.exists()


def test_history_and_receipt_say_how_far_it_reaches(desk: Desk, proposal: Proposal, client: Client) -> None:
    posted = {"version": "1", "args_digest": proposal.digest, "decision": "reject", "reason_code": "wrong_amount"}
    url = f"/t/acme/proposals/{proposal.pk}"
    assert (
        client.post(f"{url}/decide", posted | {"scope": "run", "retry": "no", "note": "<b>No</b>"}).status_code == 302
    )
    page = client.get(url).content.decode()
    assert "rejected by Bob, wrong amount: &lt;b&gt;No&lt;/b&gt; (the run ends; the agent may not try it again)" in page
    assert "Nothing was executed" in page
    assert "The run: it ends here" in page
    assert "The agent may not use this tool again in this run" in page
    assert "<b>No" not in page


def test_only_a_rejection_has_a_reach(desk: Desk, proposal: Proposal, operator: Actor) -> None:
    reject(reason_code="duplicate", **seen(proposal, operator, SOON))
    for wrong in ({"verdict": "approve", "reason_code": ""}, {"scope": "all"}, {"retry": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Decision.objects.update(**wrong)


def test_rejecting_several_passes_over_what_somebody_else_has(
    desk: Desk, proposal: Proposal, client: Client, operator: Actor, senior: Actor
) -> None:
    other = desk.propose(amount_minor=200)
    claims.claim(proposal_id=proposal.pk, actor=senior, now=NOW)
    Proposal.objects.update(decide_by=proposal.decide_by)
    Proposal.objects.filter(pk=proposal.pk).update(leased_until=proposal.decide_by)
    chosen = [bulk.Chosen(one.pk, one.version, one.digest) for one in (proposal, other)]
    told = bulk.reject_many(chosen=chosen, actor=operator, reason_code="duplicate", note="", scope="run", retry=False)
    assert [type(outcome) for _, outcome in told] == [Leased, Decided]
    assert (last(other).scope, last(other).retry) == ("run", "no")
    proposal.refresh_from_db()
    assert proposal.status == "pending"
    page = client.post(
        "/t/acme/queue/reject",
        {"chosen": f"{proposal.pk}:1:{proposal.digest}", "reason_code": "duplicate", "scope": "call", "retry": "no"},
    )
    assert page.status_code == 200
    assert "Sam has this until" in page.content.decode()
    wrong = bulk.reject_many(chosen=chosen[1:], actor=operator, reason_code="duplicate", note="", scope="world")
    assert not isinstance(wrong[0][1], Invalid)  # it is decided already, whatever else is wrong
