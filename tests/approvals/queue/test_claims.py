"""Whose a proposal is: served, claimed, given back, assigned, taken over, put off; each with its event."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from agentops.audit.models import Event
from agentops.audit.services import load
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.ids import uuid7
from approvals.models import Proposal, Skip
from approvals.queue import claims
from approvals.queue.claims import Closed, Done, MayNot, Nothing, Refused, Taken, Unfinished
from approvals.queue.filters import Filters, parse
from tests.approvals.conftest import NOW, Desk
from tests.approvals.threads import at_once
from tests.conftest import person
from tests.deciding import posted

LATER = NOW + timedelta(minutes=3)


@pytest.fixture
def ed(acme: Tenant) -> User:
    """Return a second operator of acme."""
    return person("ed", acme, "operator")


@pytest.fixture
def who(bob: User, ed: User, alice: User, actors: Callable[[User], Actor]) -> dict[str, Actor]:
    return {"bob": actors(bob), "ed": actors(ed), "alice": actors(alice)}


def told() -> list[str]:
    """Return the types of what was recorded about proposals outside of their runs, oldest first."""
    return [one.type for one in load("tenant") if one.type.startswith("proposal.")]


def last() -> dict[str, Any]:
    return load("tenant")[-1].data


def fresh(proposal: Proposal) -> Proposal:
    return Proposal.objects.get(pk=proposal.pk)


# --- claiming ---------------------------------------------------------------------------------------------------------


def test_a_claim_makes_it_ones_own_and_is_recorded(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    assert claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=NOW) == Done(proposal.pk, NOW + claims.LEASE)
    row = fresh(proposal)
    assert (row.assigned_to_id, row.leased_by_id) == (who["bob"].user_id, who["bob"].user_id)
    assert told() == ["proposal.claimed"]
    [event] = Event.objects.filter(type="proposal.claimed")
    assert (event.subject_kind, event.subject_id, event.actor_id) == ("proposal", str(proposal.pk), who["bob"].id)


def test_what_somebody_has_is_taken_over_with_a_reason(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=NOW)
    until = NOW + claims.LEASE
    assert claims.claim(proposal_id=proposal.pk, actor=who["ed"], now=NOW) == Taken("Bob", until)
    assert claims.claim(proposal_id=proposal.pk, actor=who["ed"], reason="hm", now=NOW) == Refused(
        "reason", "Say why in a few words."
    )
    assert isinstance(claims.claim(proposal_id=proposal.pk, actor=who["ed"], reason="x" * 301, now=NOW), Refused)
    assert told() == ["proposal.claimed"]
    taken = claims.claim(proposal_id=proposal.pk, actor=who["ed"], reason="bob went home", now=NOW)
    assert taken == Done(proposal.pk, until)
    assert last() == {"from": "bob", "reason": "bob went home", "until": until.isoformat()}
    assert told() == ["proposal.claimed", "proposal.taken_over"]


def test_an_assignment_outlives_the_lease_and_still_needs_a_reason(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=NOW)
    assert claims.claim(proposal_id=proposal.pk, actor=who["ed"], now=LATER) == Taken("Bob", None)
    assert isinstance(claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=LATER), Done)


def test_giving_back_frees_it_and_only_ones_own_can_be_given_back(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=NOW)
    assert isinstance(claims.release(proposal_id=proposal.pk, actor=who["ed"]), Refused)
    assert claims.release(proposal_id=proposal.pk, actor=who["bob"]) == Done(proposal.pk)
    assert isinstance(claims.release(proposal_id=proposal.pk, actor=who["bob"]), Refused)
    assert isinstance(claims.claim(proposal_id=proposal.pk, actor=who["ed"], now=NOW), Done)


def test_a_lease_is_renewed_without_an_event_until_somebody_else_has_it(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=NOW)
    assert claims.renew(proposal_id=proposal.pk, actor=who["bob"], now=LATER) == Done(proposal.pk, LATER + claims.LEASE)
    assert claims.renew(proposal_id=proposal.pk, actor=who["ed"], now=LATER) == Taken("Bob", LATER + claims.LEASE)
    claims.claim(proposal_id=proposal.pk, actor=who["ed"], reason="agreed on the phone", now=LATER)
    assert isinstance(claims.renew(proposal_id=proposal.pk, actor=who["bob"], now=LATER), Taken)
    assert told() == ["proposal.claimed", "proposal.taken_over"]


def test_people_who_do_not_decide_take_nothing(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    for actor in (who["alice"], SYSTEM, Actor.token(1, "robot", {"queue.view"})):
        assert isinstance(claims.claim(proposal_id=proposal.pk, actor=actor), MayNot)
        assert isinstance(claims.hold(proposal_id=proposal.pk, actor=actor, until=LATER, reason="because"), MayNot)
        assert isinstance(claims.serve_next(actor=actor, filters=Filters()), MayNot)
    assert told() == []


def test_what_is_closed_is_nobodys(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    Proposal.objects.filter(pk=proposal.pk).update(status="expired", decided_at=NOW)
    bob = who["bob"]
    until = NOW + timedelta(minutes=5)
    assert {
        claims.claim(proposal_id=proposal.pk, actor=bob),
        claims.release(proposal_id=proposal.pk, actor=bob),
        claims.renew(proposal_id=proposal.pk, actor=bob),
        claims.assign(proposal_id=proposal.pk, actor=bob, to="ed"),
        claims.hold(proposal_id=proposal.pk, actor=bob, until=until, reason="because", now=NOW),
        claims.resume(proposal_id=proposal.pk, actor=bob),
    } == {Closed("expired")}


# --- assigning --------------------------------------------------------------------------------------------------------


def test_assigning_names_somebody_who_decides_here(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    for nobody in ("alice", "nobody", ""):
        assert isinstance(claims.assign(proposal_id=proposal.pk, actor=who["bob"], to=nobody), Refused)
    assert claims.assign(proposal_id=proposal.pk, actor=who["bob"], to="ed") == Done(proposal.pk)
    assert fresh(proposal).assigned_to_id == who["ed"].user_id
    assert last() == {"to": "ed"}


def test_taking_it_from_somebody_for_somebody_else_needs_a_reason_and_ends_the_lease(
    desk: Desk, who: dict[str, Actor], sam: User
) -> None:
    proposal = desk.propose()
    claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=NOW)
    assert isinstance(claims.assign(proposal_id=proposal.pk, actor=who["ed"], to="sam", now=NOW), Taken)
    assert isinstance(claims.assign(proposal_id=proposal.pk, actor=who["ed"], to="sam", now=LATER), Taken)
    done = claims.assign(proposal_id=proposal.pk, actor=who["ed"], to="sam", reason="bob is ill", now=NOW)
    assert done == Done(proposal.pk)
    row = fresh(proposal)
    assert (row.assigned_to_id, row.leased_by_id, row.leased_until) == (sam.pk, None, None)
    assert last() == {"to": "sam", "from": "bob", "reason": "bob is ill"}


# --- holding ----------------------------------------------------------------------------------------------------------


def test_a_hold_has_a_reason_and_ends_before_the_deadline(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()  # to be decided within an hour

    def put_off(minutes: int, reason: str = "waiting for the bank") -> object:
        until = NOW + timedelta(minutes=minutes)
        return claims.hold(proposal_id=proposal.pk, actor=who["bob"], until=until, reason=reason, now=NOW)

    refused = [put_off(0), put_off(-5), put_off(60), put_off(25 * 60), put_off(5, ""), put_off(5, "x")]
    assert all(isinstance(one, Refused) for one in refused)
    assert told() == []
    assert put_off(30) == Done(proposal.pk, NOW + timedelta(minutes=30))
    assert last() == {"until": (NOW + timedelta(minutes=30)).isoformat(), "reason": "waiting for the bank"}
    assert fresh(proposal).held_note == "waiting for the bank"


def test_a_hold_is_ended_by_a_person_or_by_itself_and_pages_hear_of_both(desk: Desk, who: dict[str, Actor]) -> None:
    first, second = desk.propose(), desk.propose()
    until = NOW + timedelta(minutes=10)
    for one in (first, second):
        claims.hold(proposal_id=one.pk, actor=who["bob"], until=until, reason="waiting", now=NOW)
    assert claims.resume(proposal_id=first.pk, actor=who["ed"]) == Done(first.pk)
    assert isinstance(claims.resume(proposal_id=first.pk, actor=who["ed"]), Refused)
    assert claims.end_holds(NOW + timedelta(minutes=9), 10) == 0
    assert claims.end_holds(until, 10) == 1
    assert claims.end_holds(until, 10) == 0
    assert fresh(second).held_until is None
    assert told() == ["proposal.held", "proposal.held", "proposal.resumed", "proposal.resumed"]
    assert last() == {"by_itself": True}


def test_what_somebody_else_looks_at_is_not_put_off(desk: Desk, who: dict[str, Actor]) -> None:
    proposal = desk.propose()
    claims.claim(proposal_id=proposal.pk, actor=who["bob"], now=NOW)
    until = NOW + timedelta(minutes=10)
    outcome = claims.hold(proposal_id=proposal.pk, actor=who["ed"], until=until, reason="because", now=NOW)
    assert isinstance(outcome, Taken)


# --- serving ----------------------------------------------------------------------------------------------------------


def three(desk: Desk) -> list[Proposal]:
    """Return three proposals in the order of the queue."""
    found = [desk.propose() for _ in range(3)]
    for age, one in enumerate(reversed(found)):
        Proposal.objects.filter(pk=one.pk).update(created_at=NOW - timedelta(minutes=age))
    return found


def serve(actor: Actor, line: str = "", **more: Any) -> claims.Serving:
    return claims.serve_next(actor=actor, filters=parse(line, actor.user_id), **{"now": NOW, **more})


def test_the_most_urgent_is_served_and_two_people_are_served_two(desk: Desk, who: dict[str, Actor]) -> None:
    first, second, _ = three(desk)
    assert serve(who["bob"]) == Done(first.pk, NOW + claims.LEASE)
    assert serve(who["ed"]) == Done(second.pk, NOW + claims.LEASE)
    assert told() == ["proposal.served", "proposal.served"]


def test_passed_over_is_what_is_not_for_this_person_now(desk: Desk, who: dict[str, Actor], bob: User) -> None:
    held, assigned, claimed = three(desk)
    own = desk.propose(requested_by=bob)
    until = NOW + timedelta(minutes=10)
    claims.hold(proposal_id=held.pk, actor=who["ed"], until=until, reason="waiting", now=NOW)
    claims.assign(proposal_id=assigned.pk, actor=who["ed"], to="ed", now=NOW)
    claims.claim(proposal_id=claimed.pk, actor=who["ed"], now=NOW)
    assert serve(who["bob"]) == Nothing()
    assert serve(who["bob"], "held:yes") == Done(held.pk, NOW + claims.LEASE)
    assert serve(who["ed"], "assigned:nobody") == Done(own.pk, NOW + claims.LEASE)
    Proposal.objects.filter(pk=own.pk).update(requested_by=None)


def test_filters_hold_for_serving(desk: Desk, who: dict[str, Actor]) -> None:
    three(desk)
    assert serve(who["bob"], "tool:mail.send") == Nothing()


def test_giving_back_what_was_served_needs_a_reason_and_it_does_not_come_again(
    desk: Desk, who: dict[str, Actor]
) -> None:
    first, second, third = three(desk)
    bob = who["bob"]
    serve(bob)
    assert serve(bob) == Unfinished(first.pk)
    assert serve(bob, skip_reason="because") == Refused("skip_reason", "Choose a reason.")
    assert serve(bob, skip_reason="other", note="hm") == Refused("note", "Say why in a few words.")
    assert serve(bob, skip_reason="not_mine") == Done(second.pk, NOW + claims.LEASE)
    assert Skip.objects.get().reason == "not_mine"
    assert serve(bob, skip_reason="waiting") == Done(third.pk, NOW + claims.LEASE)
    assert serve(bob, skip_reason="other", note="I know the customer") == Nothing()
    assert serve(who["ed"]) == Done(first.pk, NOW + claims.LEASE)
    assert told().count("proposal.skipped") == 3


def test_a_lease_that_has_run_out_is_no_reason_to_explain_oneself(desk: Desk, who: dict[str, Actor]) -> None:
    first, *_ = three(desk)
    serve(who["bob"])
    assert serve(who["ed"], now=LATER) == Done(first.pk, LATER + claims.LEASE)
    assert isinstance(serve(who["bob"], now=LATER), Done)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_many_who_ask_at_once_are_served_as_many_different_ones(desk: Desk, acme: Tenant) -> None:
    for _ in range(12):
        desk.propose()
    people = [Actor.user(person(f"op{i}", acme, "operator"), ("operator",)) for i in range(6)]

    def ask(actor: Actor) -> Callable[[], UUID]:
        def run() -> UUID:
            with tenant_scope(acme):
                served = serve(actor)
            assert isinstance(served, Done)
            return served.proposal_id

        return run

    assert len(set(at_once([ask(one) for one in people]))) == 6
    assert told() == ["proposal.served"] * 6


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_of_two_who_claim_at_once_one_has_it(desk: Desk, acme: Tenant) -> None:
    people = [Actor.user(person(f"op{i}", acme, "operator"), ("operator",)) for i in range(2)]
    for _ in range(20):
        proposal = desk.propose()

        def claim(actor: Actor, pk: UUID = proposal.pk) -> Callable[[], claims.Outcome]:
            def run() -> claims.Outcome:
                with tenant_scope(acme):
                    return claims.claim(proposal_id=pk, actor=actor, now=NOW)

            return run

        kinds = sorted(type(one).__name__ for one in at_once([claim(one) for one in people]))
        assert kinds == ["Done", "Taken"]


# --- the pages --------------------------------------------------------------------------------------------------------


@pytest.fixture
def browsers(bob: User, ed: User, signed_in: Callable[[User], Client]) -> tuple[Client, Client]:
    return signed_in(bob), signed_in(ed)


@pytest.fixture
def waiting(desk: Desk) -> Proposal:
    """Return a proposal that waits now, with an hour to go."""
    proposal = desk.propose()
    now = timezone.now()
    Proposal.objects.filter(pk=proposal.pk).update(created_at=now, decide_by=now + timedelta(hours=1))
    return fresh(proposal)


def verdict(proposal: Proposal, actor: Actor) -> dict[str, object]:
    said = {"version": proposal.version, "args_digest": proposal.digest, "decision": "approve"}
    return {**said, **posted(proposal, actor)}


def test_nobody_decides_what_somebody_else_has(
    waiting: Proposal, browsers: tuple[Client, Client], who: dict[str, Actor]
) -> None:
    bobs, eds = browsers
    address = f"/t/acme/proposals/{waiting.pk}"
    assert bobs.post(f"{address}/claim").status_code == 302
    refused = eds.post(f"{address}/decide", {**verdict(waiting, who["ed"]), "note": "my draft"})
    assert refused.status_code == 423
    assert "Bob has this until" in refused.content.decode()
    assert "my draft" in refused.content.decode()
    assert fresh(waiting).status == "pending"
    assert eds.post(f"{address}/claim", {"reason": "bob asked me to"}).status_code == 302
    assert bobs.post(f"{address}/decide", verdict(waiting, who["bob"])).status_code == 423
    assert eds.post(f"{address}/decide", verdict(waiting, who["ed"])).status_code == 302
    assert fresh(waiting).status == "approved"


@pytest.mark.parametrize(
    ("path", "posted", "status", "said"),
    [
        ("claim", {}, 423, "Bob has this until"),
        ("claim", {"reason": "x"}, 422, "Say why in a few words."),
        ("release", {}, 422, "not yours"),
        ("assign", {"to": "mallory"}, 422, "Choose somebody who decides"),
        ("assign", {}, 422, "Choose somebody."),
        ("assign", {"to": "ed"}, 423, "Bob has this until"),
        ("hold", {"minutes": "5", "reason": "waiting for bank"}, 423, "Bob has this until"),
        ("hold", {"minutes": "never", "reason": "waiting for bank"}, 422, "Say for how long."),
        ("hold", {"minutes": "99999", "reason": "waiting for bank"}, 422, "Nothing was changed."),
        ("resume", {}, 422, "was not put off"),
    ],
)
def test_what_cannot_be_done_says_why_and_keeps_what_was_typed(
    waiting: Proposal,
    browsers: tuple[Client, Client],
    path: str,
    posted: dict[str, str],
    status: int,
    said: str,
) -> None:
    bobs, eds = browsers
    bobs.post(f"/t/acme/proposals/{waiting.pk}/claim")
    answer = eds.post(
        f"/t/acme/proposals/{waiting.pk}/{path}", posted, headers={"HX-Request": "true", "HX-Target": "card"}
    )
    text = answer.content.decode()
    assert answer.status_code == status
    assert said in text
    assert "<html" not in text
    if path != "resume" and "reason" in posted:
        assert f'value="{posted["reason"]}"' in text


def test_hostile_reasons_are_text(waiting: Proposal, browsers: tuple[Client, Client]) -> None:
    bobs, _ = browsers
    bobs.post(f"/t/acme/proposals/{waiting.pk}/hold", {"minutes": "5", "reason": "<img src=x onerror=alert(1)>\u202e"})
    text = bobs.get(f"/t/acme/proposals/{waiting.pk}").content.decode()
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
    assert "\u202e" not in text


def test_a_lease_is_kept_by_its_page(waiting: Proposal, browsers: tuple[Client, Client]) -> None:
    bobs, eds = browsers
    address = f"/t/acme/proposals/{waiting.pk}"
    bobs.post(f"{address}/claim")
    assert "data-renew" in bobs.get(address).content.decode()
    assert "data-renew" not in eds.get(address).content.decode()
    assert "until" in bobs.post(f"{address}/renew").json()
    lost = eds.post(f"{address}/renew")
    assert (lost.status_code, lost.json()) == (409, {"code": "taken", "by": "Bob"})


def test_next_opens_what_is_served_and_asks_why_when_it_is_left(
    waiting: Proposal, desk: Desk, browsers: tuple[Client, Client]
) -> None:
    bobs, _ = browsers
    assert bobs.post("/t/acme/queue/next", {"q": ""})["Location"] == f"/t/acme/queue?open={waiting.pk}"
    left = bobs.post("/t/acme/queue/next", {"q": ""})
    assert left.status_code == 422
    assert 'id="skip"' in left.content.decode()
    answer = bobs.post("/t/acme/queue/next", {"q": "", "skip_reason": "conflict"}, follow=True)
    assert "Nothing waits that is yours to decide." in answer.content.decode()
    fragment = bobs.post("/t/acme/queue/next", {"q": "bnd:x"}, headers={"HX-Request": "true"})
    assert (fragment.status_code, b'id="card"' in fragment.content) == (400, True)


def test_whoever_was_served_is_served_the_next_after_deciding(
    waiting: Proposal, desk: Desk, browsers: tuple[Client, Client], bob: User, who: dict[str, Actor]
) -> None:
    bobs, _ = browsers
    now = timezone.now()
    other = desk.propose()
    Proposal.objects.filter(pk=other.pk).update(created_at=now, decide_by=now + timedelta(hours=2))
    bobs.post("/t/acme/queue/next", {"q": ""})
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/t/acme/queue"}
    decided = bobs.post(f"/t/acme/proposals/{waiting.pk}/decide", verdict(waiting, who["bob"]), headers=headers)
    assert decided.status_code == 200
    assert decided.context["card"]["p"]["id"] == other.pk
    assert fresh(other).leased_by_id == bob.pk


def test_rows_say_who_has_it_and_what_became_of_it(
    waiting: Proposal, browsers: tuple[Client, Client], who: dict[str, Actor]
) -> None:
    bobs, eds = browsers
    bobs.post(f"/t/acme/proposals/{waiting.pk}/claim")
    rows = f"/t/acme/queue/rows?ids={waiting.pk},{uuid7()}"
    assert "has it" in eds.get(rows).content.decode()
    assert ">yours<" in bobs.get(rows).content.decode()
    bobs.post(f"/t/acme/proposals/{waiting.pk}/decide", verdict(waiting, who["bob"]))
    text = eds.get(rows).content.decode()
    assert 'class="row gone"' in text
    assert "approved by <bdi>Bob</bdi>" in text
    assert text.count("<li") == 1
    assert eds.get("/t/acme/queue/rows?ids=1").status_code == 400
    many = ",".join(str(uuid7()) for _ in range(101))
    assert eds.get(f"/t/acme/queue/rows?ids={many}").status_code == 400
