"""Two admins publish a policy: nobody alone by any way, versions stay as they are, and each counts from its moment."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from agentops.audit.models import Event
from agentops.changes import outcomes
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from approvals.models import PolicyVersion, Proposal, ScopedTrust
from approvals.permits import policies, trust
from tests.approvals.conftest import NOW, Desk
from tests.conftest import person
from tests.deciding import approve

WHY = "The board has decided so."
TEXT = "policy: 1\nrules:\n  - {id: night, when: time.hour < 6, effect: deny}\n"
OTHER = "policy: 1\nrules:\n  - {id: many, when: call.earlier > 3, effect: gate, quorum: 2}\n"


@pytest.fixture
def ada(alice: User, actors: Callable[[User], Actor]) -> Actor:
    return actors(alice)


@pytest.fixture
def adam(acme: Tenant, actors: Callable[[User], Actor]) -> Actor:
    return actors(person("adam", acme, "admin"))


def proposed(actor: Actor, text: str = TEXT, effective_at: Any = None) -> PolicyVersion:
    outcome = policies.propose(text=text, effective_at=effective_at, note=WHY, actor=actor)
    assert isinstance(outcome, outcomes.Proposed), outcome
    return PolicyVersion.objects.get(pk=outcome.change_id)


def decide(row: PolicyVersion, verdict: str, actor: Actor, note: str = "") -> outcomes.Outcome:
    return policies.decide(version_id=row.pk, verdict=verdict, note=note, actor=actor)


def test_nobody_publishes_what_they_proposed_and_the_database_refuses_it_too(
    scoped: Tenant, ada: Actor, adam: Actor, bob: User, actors: Callable[[User], Actor]
) -> None:
    row = proposed(ada)
    assert decide(row, "approve", ada) == outcomes.Forbidden("own")
    for changes in ({"decided_by": ada.user_id}, {"decided_by": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            PolicyVersion.objects.filter(pk=row.pk).update(status="active", decided_at=timezone.now(), **changes)
    for actor in (actors(bob), SYSTEM):
        assert decide(row, "approve", actor) == outcomes.Forbidden("role")
        assert policies.propose(text=OTHER, effective_at=None, note=WHY, actor=actor) == outcomes.Forbidden("role")
    assert policies.in_force().version == 0
    assert decide(row, "approve", adam) == outcomes.Settled(row.pk, 1, "active")
    assert [rule.id for rule in policies.in_force().rules] == ["night"]
    told = Event.objects.filter(type__startswith="policy.").order_by("pk").values_list("type", flat=True)
    assert list(told) == ["policy.proposed", "policy.approved"]


def test_a_version_counts_from_its_moment_and_a_later_one_takes_its_place(
    scoped: Tenant, ada: Actor, adam: Actor
) -> None:
    now = timezone.now()
    decide(proposed(ada, effective_at=now + timedelta(days=2)), "approve", adam)
    assert policies.in_force().version == 0
    assert policies.in_force(now + timedelta(days=3)).version == 1
    decide(proposed(adam, OTHER, effective_at=now - timedelta(days=9)), "approve", ada)
    assert policies.in_force(now - timedelta(days=1)).version == 0, "never before it was published"
    assert [policies.in_force(now + timedelta(days=days)).version for days in (1, 3)] == [2, 2]


def test_one_version_waits_at_a_time_and_problems_are_named(scoped: Tenant, ada: Actor, adam: Actor) -> None:
    proposed(ada)
    assert policies.propose(text=OTHER, effective_at=None, note=WHY, actor=adam) == outcomes.Waiting("Alice", 1)
    bad = policies.propose(text="policy: 1\nrules: [{id: x}]\n", effective_at=None, note=WHY, actor=adam)
    assert isinstance(bad, outcomes.Invalid)
    assert "line 2, column 9: effect is missing" in bad.problems["text"]
    short = policies.propose(text=OTHER, effective_at=None, note="so", actor=adam)
    assert isinstance(short, outcomes.Invalid)
    assert "note" in short.problems


def test_the_page_checks_proposes_and_publishes(
    scoped: Tenant, alice: User, adam: Actor, ada: Actor, signed_in: Callable[[User], Client]
) -> None:
    hers, his = signed_in(alice), signed_in(User.objects.get(username="adam"))
    wrong = hers.post("/t/acme/policy/propose", {"text": TEXT.replace("<", "<<"), "do": "check"})
    assert wrong.status_code == 422
    assert b"line 3, column 23: when: line 1, column 12" in wrong.content
    assert b"time.hour &lt;&lt; 6" in wrong.content, "what was typed is kept"
    checked = hers.post("/t/acme/policy/propose", {"text": TEXT, "do": "check"})
    assert b"When time.hour &lt; 6: the call is denied." in checked.content
    assert not PolicyVersion.objects.exists()
    assert hers.post("/t/acme/policy/propose", {"text": TEXT, "note": WHY, "do": "propose"}).status_code == 302
    row = PolicyVersion.objects.get()
    address = f"/t/acme/policy/{row.pk}/decide"
    # Whatever one admin posts, it is not published.
    for client, fields in (
        (hers, {"verdict": "approve"}),
        (hers, {"verdict": "active"}),
        (his, {"verdict": "withdraw"}),
    ):
        assert client.post(address, fields).status_code == 403
    assert policies.in_force().version == 0
    assert b"waits for another admin" in his.get("/t/acme/policy").content
    assert his.post(address, {"verdict": "refuse"}).status_code == 422
    assert his.post(address, {"verdict": "approve"}).status_code == 302
    assert his.post(address, {"verdict": "approve"}).status_code == 409
    assert his.post(f"/t/acme/policy/{uuid7()}/decide", {"verdict": "approve"}).status_code == 404
    decide(proposed(ada, OTHER), "approve", adam)
    page = hers.get("/t/acme/policy?against=1").content.decode()
    assert "Version 2 is in force" in page
    assert "From that version to the one in force" in page


def test_others_read_the_policy_and_change_nothing(
    scoped: Tenant, bob: User, ada: Actor, signed_in: Callable[[User], Client]
) -> None:
    row, client = proposed(ada), signed_in(bob)
    assert b"Publish it" not in client.get("/t/acme/policy").content
    assert client.post("/t/acme/policy/propose", {"text": OTHER, "do": "propose"}).status_code == 403
    assert client.post(f"/t/acme/policy/{row.pk}/decide", {"verdict": "approve"}).status_code == 403


# --- the pages of scoped trust --------------------------------------------------------------------------------------


def test_a_sensitive_call_is_refused_on_the_page_with_its_reason(
    desk: Desk, sam: User, actors: Callable[[User], Actor], signed_in: Callable[[User], Client]
) -> None:
    proposal = desk.propose()
    approve(proposal_id=proposal.pk, actor=actors(sam), version=1, digest=proposal.digest, now=NOW)
    client, address = signed_in(sam), f"/t/acme/proposals/{proposal.pk}/trust"
    page = client.get(address)
    assert b"A sensitive call always goes to a person" in page.content
    assert b"A-1093" in page.content
    assert client.post(address, {"scope": "4"}).status_code == 422
    assert not ScopedTrust.objects.exists()


def test_a_trust_is_listed_and_revoked(
    desk: Desk, sam: User, bob: User, actors: Callable[[User], Actor], signed_in: Callable[[User], Client]
) -> None:
    now = timezone.now()
    proposal = desk.propose()
    Proposal.objects.filter(pk=proposal.pk).update(status="approved", decided_by=sam, decided_at=now)
    row = ScopedTrust.objects.create(
        proposal=proposal,
        task_type=desk.task_type,
        tool="lab.note",
        contract_digest="d",
        authority='{"order_ref":"A-<b>1"}',
        given_by=sam,
        given_at=now,
        ends_at=now + timedelta(hours=4),
    )
    client = signed_in(bob)
    page = client.get("/t/acme/trusts").content
    assert b"A-&lt;b&gt;1" in page
    assert len(trust.in_force(now)) == 1
    assert client.post(f"/t/acme/trusts/{row.pk}/revoke").status_code == 302
    assert trust.in_force(now) == ()
    assert trust.in_force(now + timedelta(hours=5)) == ()
    assert b"Revoked" in client.get("/t/acme/trusts").content
    assert client.post(f"/t/acme/trusts/{uuid7()}/revoke").status_code == 404
