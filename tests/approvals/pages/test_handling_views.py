"""Escalating, giving more time, rejecting several at once, and one's own page, as pages without scripts."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops import clock
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from approvals.assessing import ladder
from approvals.decisions.release import Undone, undo
from approvals.models import Absence, BandRule, Preference, Proposal
from approvals.services import Decided
from tests.approvals.conftest import Desk, later
from tests.conftest import person
from tests.deciding import approve

CARD = {"HX-Request": "true", "HX-Target": "card"}


@pytest.fixture
def proposal(desk: Desk) -> Proposal:
    return later(desk.propose())


@pytest.fixture
def client(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def test_an_escalation_shows_on_the_card_and_on_the_list_of_escalations(proposal: Proposal, client: Client) -> None:
    empty = client.get("/t/acme/escalations").content.decode()
    assert "Nothing is escalated." in empty
    address = f"/t/acme/proposals/{proposal.pk}/escalate"
    answer = client.post(address, {"reason": "Too big <b>for me</b>"}, follow=True)
    page = answer.content.decode()
    assert "ESCALATED" in page
    assert "seniors decide it now" in page
    listed = client.get("/t/acme/escalations").content.decode()
    assert "Too big &lt;b&gt;for me&lt;/b&gt;" in listed
    assert "Bob" in listed
    again = client.post(address, {"reason": "Once more please"}, headers=CARD)
    assert again.status_code == 422


def test_a_reason_is_needed_and_what_was_typed_stays(proposal: Proposal, client: Client) -> None:
    for what, more in (("escalate", {}), ("extend", {"minutes": "60"})):
        answer = client.post(f"/t/acme/proposals/{proposal.pk}/{what}", {"reason": "hm", **more}, headers=CARD)
        assert answer.status_code == 422
        assert 'value="hm"' in answer.content.decode()
    assert client.post(f"/t/acme/proposals/{uuid7()}/escalate", {"reason": "Nothing there"}).status_code == 404
    assert client.get(f"/t/acme/proposals/{proposal.pk}/escalate").status_code == 405


def test_more_time_is_told_and_what_is_decided_gets_none(
    proposal: Proposal, client: Client, sam: User, actors: Callable[[User], Actor]
) -> None:
    address = f"/t/acme/proposals/{proposal.pk}/extend"
    fields = {"reason": "The shop opens at nine", "minutes": "240"}
    assert client.post(address, fields, headers=CARD).status_code == 200
    assert Proposal.objects.get().decide_by == proposal.decide_by + timedelta(hours=4)
    approve(proposal_id=proposal.pk, actor=actors(sam), version=1, digest=proposal.digest)
    assert client.post(address, fields, headers=CARD).status_code == 409


def test_an_admin_neither_escalates_nor_extends(
    proposal: Proposal, alice: User, signed_in: Callable[[User], Client]
) -> None:
    admin = signed_in(alice)
    for what in ("escalate", "extend", "undo", "seen", "step-up"):
        assert admin.post(f"/t/acme/proposals/{proposal.pk}/{what}", {"reason": "Because I say so"}).status_code == 403


# --- one's own page --------------------------------------------------------------------------------------------------


def test_my_page_has_my_decisions_and_takes_back_what_can_be(
    proposal: Proposal, desk: Desk, client: Client, bob: User, sam: User, actors: Callable[[User], Actor]
) -> None:
    BandRule.objects.bulk_create([BandRule(band=band, release_s=60) for band in ("low", "medium", "high")])
    ladder.forget()
    other = later(desk.propose())
    for one, who in ((proposal, bob), (other, sam)):
        approve(proposal_id=one.pk, actor=actors(who), version=1, digest=one.digest)
    page = client.get("/t/acme/me")
    assert [one["proposal"].pk for one in page.context["decisions"]] == [proposal.pk]
    assert len(page.context["undoable"]) == 1
    assert "not executed yet" in page.content.decode()
    client.post(page.context["undoable"][0]["undo_url"])
    again = client.get("/t/acme/me")
    assert again.context["undoable"] == []
    assert "waits for a decision" in again.content.decode()
    assert Proposal.objects.get(pk=proposal.pk).status == "pending"


def test_whoever_wants_more_time_to_think_gets_it_in_their_own_approvals(
    proposal: Proposal, client: Client, bob: User, actors: Callable[[User], Actor]
) -> None:
    BandRule.objects.bulk_create([BandRule(band=band, release_s=10) for band in ("low", "medium", "high")])
    ladder.forget()
    assert client.post("/t/acme/me/preferences", {"undo_s": "120", "reminders": "on"}).status_code == 302
    assert Preference.objects.get().undo_s == 120
    now = clock.now()
    outcome = approve(proposal_id=proposal.pk, actor=actors(bob), version=1, digest=proposal.digest, now=now)
    assert isinstance(outcome, Decided)
    assert outcome.release_at == now + timedelta(seconds=120)
    assert isinstance(undo(proposal_id=proposal.pk, actor=actors(bob), now=now + timedelta(seconds=119)), Undone)
    assert client.post("/t/acme/me/preferences", {"undo_s": "7"}).status_code == 422


def test_an_absence_is_mine_alone_and_ends_when_i_am_back(
    client: Client,
    acme: Tenant,
    globex: Tenant,
    bob: User,
    sam: User,
    charlie: User,
    signed_in: Callable[[User], Client],
) -> None:
    now = clock.now()
    fields = {
        "starts_at": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}",
        "ends_at": f"{now + timedelta(hours=9):%Y-%m-%dT%H:%M}",
        "delegate": str(sam.pk),
    }
    for wrong in ({"delegate": str(charlie.pk)}, {"delegate": str(bob.pk)}, {"ends_at": fields["starts_at"]}):
        assert client.post("/t/acme/me/absence", fields | wrong).status_code == 422
    assert client.post("/t/acme/me/absence", fields).status_code == 302
    with tenant_scope(acme):
        mine = Absence.objects.get()
    assert "in your place" in client.get("/t/acme/me").content.decode()
    assert signed_in(sam).post(f"/t/acme/me/absence/{mine.pk}/end").status_code == 404
    assert client.post(f"/t/acme/me/absence/{mine.pk}/end").status_code == 302
    with tenant_scope(acme):
        assert Absence.objects.get().ends_at <= clock.now()


def test_a_viewer_has_a_page_without_anything_to_decide(acme: Tenant, signed_in: Callable[[User], Client]) -> None:
    page = signed_in(person("vera", acme, "viewer")).get("/t/acme/me")
    assert page.status_code == 200
    assert page.context["away"] is None
