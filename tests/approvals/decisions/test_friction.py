"""Forged posts: whatever is missing, early, foreign or used before, nothing is approved, and the status says what."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.http import HttpResponse
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentops import clock
from agentops.audit.models import Event
from agentops.audit.services import read as read_row
from agentops.proving import Proved
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Membership, Tenant
from approvals import services
from approvals.assessing import ladder
from approvals.assessing.ladder import SECTIONS, rung_of
from approvals.assessing.risk import Band
from approvals.decisions.friction import Evidence
from approvals.decisions.sight import SALT, look
from approvals.models import BandRule, Decision, Grant, Proposal, Viewing
from approvals.proposals.outcomes import Decided, Forbidden, Gated, Moved, Seconded, StepUpNeeded
from tests.approvals.conftest import NOW, Desk, Previews
from tests.approvals.contracts import MAIL, origin
from tests.deciding import evidence
from tools.contracts import Blast, Consequence

CARD = {"HX-Request": "true", "HX-Target": "card"}
WHY: Final = "The parcel arrived broken and the order is ours."
SOON = NOW + timedelta(minutes=5)
LATER = NOW + timedelta(minutes=10)


def banded(proposal: Proposal, band: Band) -> Proposal:
    Proposal.objects.filter(pk=proposal.pk).update(risk_band=band.value, band_rank=band.rank)
    proposal.refresh_from_db()
    return proposal


@pytest.fixture
def high(desk: Desk) -> Proposal:
    return banded(desk.propose(provenance=origin(order_ref=MAIL)), Band.HIGH)


@pytest.fixture
def critical(desk: Desk) -> Proposal:
    return banded(desk.propose(), Band.CRITICAL)


def approve(proposal: Proposal, actor: Actor, brought: Evidence, note: str = WHY, now: Any = SOON) -> services.Outcome:
    return services.approve(
        proposal_id=proposal.pk,
        actor=actor,
        version=proposal.version,
        digest=proposal.digest,
        note=note,
        evidence=brought,
        now=now,
    )


def codes(outcome: services.Outcome) -> set[str]:
    assert isinstance(outcome, Gated), outcome
    return {issue.code for issue in outcome.issues}


# --- one gate at a time ---------------------------------------------------------------------------------------------


def test_with_everything_the_band_asks_for_it_is_approved_and_the_event_says_what_was_shown(
    high: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    outcome = approve(high, actors(bob), evidence(high, actors(bob), now=SOON))
    assert isinstance(outcome, Decided)
    row = Event.objects.get(type="proposal.decided")
    told = read_row(str(row.body), bytes(row.hash))[-1].data["view"]
    assert told["dwell_ms"] == 60_000
    assert set(told["opened"]) == set(SECTIONS)
    assert len(told["attested"]) == 1
    assert Decision.objects.get().view is not None


def test_without_evidence_nothing_is_approved_in_any_band(
    desk: Desk, bob: User, actors: Callable[[User], Actor]
) -> None:
    for band in Band:
        proposal = banded(desk.propose(), band)
        outcome = services.approve(
            proposal_id=proposal.pk, actor=actors(bob), version=1, digest=proposal.digest, note=WHY, now=SOON
        )
        assert codes(outcome) == {"missing"}
    assert not Grant.objects.exists()


def test_before_the_reading_window_is_over_it_is_too_early(
    high: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    brought = evidence(high, actors(bob), now=SOON, at=SOON - timedelta(seconds=5))
    assert codes(approve(high, actors(bob), brought)) == {"too_early"}
    assert isinstance(approve(high, actors(bob), brought, now=SOON + timedelta(seconds=2)), Decided)


def test_a_card_that_nobody_opened_on_purpose_has_no_window(
    high: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    brought = evidence(high, actors(bob), now=SOON, opened=False)
    assert codes(approve(high, actors(bob), brought)) == {"not_opened"}


@pytest.mark.parametrize("section", ["arguments", "evidence"])
def test_a_section_that_has_to_be_seen_and_was_not_is_named(
    high: Proposal, bob: User, actors: Callable[[User], Actor], section: str
) -> None:
    brought = evidence(high, actors(bob), now=SOON)
    row = Viewing.objects.get()
    row.opened = {name: at for name, at in row.opened.items() if name != section}
    row.save()
    outcome = approve(high, actors(bob), brought)
    assert isinstance(outcome, Gated)
    assert [(issue.path, issue.code) for issue in outcome.issues] == [(f"/seen/{section}", "unseen")]


def test_a_wrong_value_is_told_is_on_record_and_does_not_lock_anybody_out(
    high: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    right = evidence(high, actors(bob), now=SOON)
    path, answer = next(iter(right.answers.items()))
    wrong = replace(right, answers={path: "0" if answer != "0" else "1"})
    outcome = approve(high, actors(bob), wrong)
    assert codes(outcome) == {"wrong_value"}
    assert Event.objects.filter(type="proposal.attest_missed", actor_id=str(bob.pk)).count() == 1
    assert codes(approve(high, actors(bob), replace(right, answers={}))) == {"unattested"}
    assert isinstance(approve(high, actors(bob), right), Decided)


def test_two_facts_or_a_sentence_are_reason_enough_and_one_fact_is_not(
    high: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    brought = evidence(high, actors(bob), now=SOON)
    assert codes(approve(high, actors(bob), replace(brought, facts=("order_ref",)), note="Fine.")) == {"too_short"}
    invented = replace(brought, facts=("order_ref", "order_ref", "nothing"))
    assert codes(approve(high, actors(bob), invented, note="")) == {"too_short"}
    assert isinstance(approve(high, actors(bob), brought, note=""), Decided)


def test_typing_a_value_attests_it(high: Proposal, bob: User, actors: Callable[[User], Actor]) -> None:
    brought = evidence(high, actors(bob), now=SOON)
    (path,) = brought.answers
    values = high.argument_values
    values[path.strip("/")] = "A-1094"
    outcome = services.edit_and_approve(
        proposal_id=high.pk,
        actor=actors(bob),
        version=1,
        digest=high.digest,
        arguments=values,
        note=WHY,
        evidence=replace(brought, answers={}),
        now=SOON,
    )
    assert isinstance(outcome, Decided)


def test_low_needs_the_card_and_nothing_else(desk: Desk, bob: User, actors: Callable[[User], Actor]) -> None:
    low = banded(desk.propose(), Band.LOW)
    card = look(low, actors(bob), now=SOON, opened=False)
    assert isinstance(approve(low, actors(bob), Evidence(card.token()), note=""), Decided)


def test_a_tenant_tightens_and_never_loosens(desk: Desk, bob: User, actors: Callable[[User], Actor]) -> None:
    BandRule.objects.create(band="low", rationale_chars=10, approvers=1)
    BandRule.objects.create(band="high", reading_s=1, rationale_chars=1, attestations=0, approvers=1, step_up="never")
    low = banded(desk.propose(), Band.LOW)
    bare = replace(evidence(low, actors(bob), now=SOON), facts=())
    assert codes(approve(low, actors(bob), bare, note="")) == {"too_short"}
    rung = rung_of("high")
    assert (rung.reading_s, rung.rationale_chars, rung.attestations, rung.step_up) == (6, 15, 1, "recent")


# --- who one is ------------------------------------------------------------------------------------------------------


def test_high_asks_for_a_recent_password_and_critical_for_one_since_the_card_was_opened(
    high: Proposal, desk: Desk, bob: User, actors: Callable[[User], Actor]
) -> None:
    brought = evidence(high, actors(bob), now=SOON)
    for stale in (None, SOON - timedelta(minutes=31)):
        assert approve(high, actors(bob), replace(brought, proved=Proved(stale))) == StepUpNeeded()
    critical = banded(desk.propose(), Band.CRITICAL)
    before = replace(evidence(critical, actors(bob), now=SOON), proved=Proved(SOON - timedelta(minutes=2)))
    assert approve(critical, actors(bob), before) == StepUpNeeded()
    assert isinstance(approve(high, actors(bob), brought), Decided)


def test_a_band_can_ask_for_a_second_factor_and_a_password_is_not_one(
    critical: Proposal, bob: User, sam: User, actors: Callable[[User], Actor]
) -> None:
    BandRule.objects.create(band="critical", step_up="factor", approvers=2)
    ladder.forget()
    brought = evidence(critical, actors(bob), now=SOON)
    earlier = Proved(SOON, SOON - timedelta(minutes=2))
    for proved in (Proved(SOON), earlier, earlier.moved(SOON)):
        assert approve(critical, actors(bob), replace(brought, proved=proved)) == StepUpNeeded()
    fresh = Proved(SOON - timedelta(minutes=2), SOON - timedelta(minutes=2)).moved(SOON)
    assert isinstance(approve(critical, actors(bob), replace(brought, proved=fresh)), Seconded)
    assert Proved().moved(SOON) == Proved(SOON), "nothing on record was no factor"


# --- duties and quorum -----------------------------------------------------------------------------------------------


def test_critical_needs_two_people_and_the_first_note_stays_sealed(
    critical: Proposal, bob: User, sam: User, actors: Callable[[User], Actor]
) -> None:
    secret = "Bob's secret reason, told in full."
    first = approve(critical, actors(bob), evidence(critical, actors(bob), now=SOON), note=secret)
    assert first == Seconded(critical.pk, 1, 2, SOON)
    critical.refresh_from_db()
    assert critical.status == "pending"
    assert not Grant.objects.exists()
    assert not any(secret in str(event.body) for event in Event.objects.all())
    again = approve(critical, actors(bob), evidence(critical, actors(bob), now=SOON))
    assert again == Forbidden("once_each")
    second = approve(critical, actors(sam), evidence(critical, actors(sam), now=LATER), now=LATER)
    assert isinstance(second, Decided)
    row = Event.objects.get(type="proposal.decided")
    others = read_row(str(row.body), bytes(row.hash))[-1].data["others"]
    assert [(one["by"], one["note"]) for one in others] == [("bob", secret)]
    assert Decision.objects.filter(final=True).get().user == sam


def test_an_edit_of_what_several_people_approve_voids_what_was_said_and_its_author_does_not_approve_it(
    critical: Proposal, bob: User, sam: User, actors: Callable[[User], Actor]
) -> None:
    approve(critical, actors(bob), evidence(critical, actors(bob), now=SOON))
    Proposal.objects.filter(pk=critical.pk).update(risk_band="critical", band_rank=3)
    edited = services.edit_and_approve(
        proposal_id=critical.pk,
        actor=actors(sam),
        version=1,
        digest=critical.digest,
        arguments=critical.argument_values | {"amount_minor": 9_000_000},
        note=WHY,
        evidence=evidence(Proposal.objects.get(pk=critical.pk), actors(sam), now=SOON),
        now=SOON,
    )
    assert not isinstance(edited, Decided)
    now = banded(Proposal.objects.get(pk=critical.pk), Band.CRITICAL)
    assert now.version == 2
    assert approve(now, actors(sam), evidence(now, actors(sam), now=LATER), now=LATER) == Forbidden("own_edit")
    assert approve(now, actors(bob), evidence(now, actors(bob), now=LATER), now=LATER) == Seconded(now.pk, 1, 2, LATER)


@pytest.mark.parametrize("how", ["removed", "another role", "switched off"])
def test_the_voice_of_somebody_who_may_not_decide_any_more_does_not_count(
    critical: Proposal, bob: User, sam: User, actors: Callable[[User], Actor], how: str
) -> None:
    approve(critical, actors(bob), evidence(critical, actors(bob), now=SOON))
    if how == "switched off":
        User.objects.filter(pk=bob.pk).update(is_active=False)
    elif how == "removed":
        Membership.objects.filter(user=bob).delete()
    else:
        Membership.objects.filter(user=bob).update(role="viewer")
    critical.refresh_from_db()
    said = approve(critical, actors(sam), evidence(critical, actors(sam), now=LATER), now=LATER)
    assert said == Seconded(critical.pk, 1, 2, LATER)
    assert not Grant.objects.exists()


def test_who_changed_the_rules_within_a_day_does_not_approve_under_them(
    desk: Desk, high: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    from agentops.audit.services import NewEvent, append

    subject = ("tasktype", str(desk.task_type.pk))
    append("tenant", [NewEvent("admin.changed", {}, subject, at=SOON - timedelta(hours=23))], actor=actors(bob))
    brought = evidence(high, actors(bob), now=SOON)
    assert approve(high, actors(bob), brought) == Forbidden("own_policy")
    tomorrow = SOON + timedelta(hours=2)
    Proposal.objects.update(decide_by=tomorrow + timedelta(hours=1))
    assert isinstance(approve(high, actors(bob), evidence(high, actors(bob), now=tomorrow), now=tomorrow), Decided)


# --- the target has moved --------------------------------------------------------------------------------------------


def test_a_preview_that_is_not_true_any_more_is_refreshed_and_has_to_be_looked_at_again(
    high: Proposal, previews: Previews, bob: User, actors: Callable[[User], Actor]
) -> None:
    brought = evidence(high, actors(bob), now=SOON)
    previews.answer = Consequence("Pays out to Mallory", blast=(Blast("orders", 2),))
    outcome = approve(high, actors(bob), brought)
    assert outcome == Moved(2, high.digest)
    now = Proposal.objects.get(pk=high.pk)
    assert (now.status, now.consequence["summary"]) == ("pending", "Pays out to Mallory")
    assert isinstance(approve(high, actors(bob), brought), services.Stale)


# --- forged posts, as a property -------------------------------------------------------------------------------------

FORGERIES: Final = (
    *("early", "unseen", "no token", "garbage", "signed elsewhere", "another person's", "another proposal's"),
    *("another version's", "another digest's", "another tenant's", "used before", "too old", "from the future"),
    *(
        "no attestation",
        "wrong attestation",
        "no reason",
        "not opened",
        "stale password",
        "wrong digest",
        "wrong version",
    ),
)
STATUS: Final = {"stale password": 428, "wrong digest": 409, "wrong version": 409}


def forged(kind: str, proposal: Proposal, bob: User, sam: User, moment: Any) -> tuple[Evidence, str, dict[str, str]]:
    """Return evidence that is right but for one thing, the note, and what is changed in the form."""
    me = Actor("user", str(bob.pk), "bob", user_id=bob.pk)
    changes: dict[str, Any] = {
        "early": {"at": moment - timedelta(seconds=3)},
        "another person's": {"user_id": sam.pk},
        "another proposal's": {"proposal_id": uuid4()},
        "another version's": {"version": proposal.version + 1},
        "another digest's": {"digest": "0" * 64},
        "another tenant's": {"tenant_id": proposal.tenant_id + 1},
        "too old": {"at": moment - timedelta(hours=13)},
        "from the future": {"at": moment + timedelta(hours=1)},
        "not opened": {"opened": False},
    }.get(kind, {})
    brought, note = evidence(proposal, me, now=moment, **changes), WHY
    path, answer = next(iter(brought.answers.items()), ("/amount_minor", "0"))
    match kind:
        case "unseen":
            Viewing.objects.update(opened={})
        case "no token":
            brought = replace(brought, token="")
        case "garbage":
            brought = replace(brought, token=brought.token[:-3] + "abc")
        case "signed elsewhere":
            brought = replace(brought, token=signing.dumps(signing.loads(brought.token, salt=SALT), salt="other"))
        case "used before":
            Decision.objects.create(
                proposal=proposal,
                version=proposal.version,
                verdict="approve",
                user=bob,
                digest=proposal.digest,
                at=moment,
                undone_at=moment,
                view=signing.loads(brought.token, salt=SALT)[1],
            )
            Proposal.objects.filter(pk=proposal.pk).update(votes=1)
        case "no attestation":
            brought = replace(brought, answers={})
        case "wrong attestation":
            brought = replace(brought, answers={path: str((int(answer) + 1) % 4)})
        case "no reason":
            brought, note = replace(brought, facts=()), "ok"
        case "stale password":
            brought = replace(brought, proved=Proved(moment - timedelta(hours=1)))
        case "wrong digest":
            return brought, note, {"args_digest": "f" * 64}
        case "wrong version":
            return brought, note, {"version": str(proposal.version + 7)}
        case _:
            pass
    return brought, note, {}


def send(client: Client, proposal: Proposal, decision: str, brought: Evidence, note: str, more: dict[str, str]) -> Any:
    session = client.session
    at = brought.proved.at.timestamp() if brought.proved.at else 0.0
    session["account_authentication_methods"] = [{"method": "password", "at": at}]
    session.save()
    typed = {f"arg:/{name}": str(value) for name, value in proposal.argument_values.items()}
    typed["arg:/amount_minor"] = "49.90"
    return client.post(
        f"/t/acme/proposals/{proposal.pk}/decide",
        {
            "decision": decision,
            "version": str(proposal.version),
            "args_digest": proposal.digest,
            "view_token": brought.token,
            "note": note,
            "fact": list(brought.facts) if note == WHY else [],
            **{f"attest:{path}": answer for path, answer in brought.answers.items()},
            **(typed if decision == "edit" else {}),
            **more,
        },
        headers=CARD,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(kind=st.sampled_from(FORGERIES), decision=st.sampled_from(["approve", "edit"]))
def test_a_forged_post_is_refused_with_its_status_and_changes_nothing(
    desk: Desk,
    acme: Tenant,
    bob: User,
    sam: User,
    signed_in: Callable[[User], Client],
    kind: str,
    decision: str,
) -> None:
    proposal = banded(desk.propose(provenance=origin(order_ref=MAIL)), Band.HIGH)
    Proposal.objects.filter(pk=proposal.pk).update(decide_by=clock.now() + timedelta(hours=1))
    proposal.refresh_from_db()
    Viewing.objects.all().delete()
    brought, note, more = forged(kind, proposal, bob, sam, clock.now())
    answer: HttpResponse = send(signed_in(bob), proposal, decision, brought, note, more)
    assert answer.status_code == STATUS.get(kind, 422), (kind, decision)
    proposal.refresh_from_db()
    assert (proposal.status, proposal.version) == ("pending", 1)
    assert not Grant.objects.filter(proposal=proposal).exists()
    assert not Decision.objects.filter(proposal=proposal, undone_at__isnull=True).exists()
    # And what was typed is still there.
    assert note in answer.content.decode() or kind == "stale password"


def test_every_kind_of_forgery_is_tried_once(
    desk: Desk, bob: User, sam: User, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(bob)
    for kind in FORGERIES:
        proposal = banded(desk.propose(provenance=origin(order_ref=MAIL)), Band.HIGH)
        Proposal.objects.filter(pk=proposal.pk).update(decide_by=clock.now() + timedelta(hours=1))
        proposal.refresh_from_db()
        Viewing.objects.all().delete()
        brought, note, more = forged(kind, proposal, bob, sam, clock.now())
        assert send(client, proposal, "approve", brought, note, more).status_code == STATUS.get(kind, 422), kind
        assert Proposal.objects.get(pk=proposal.pk).status == "pending", kind


def test_the_same_post_without_anything_forged_is_taken(
    desk: Desk, bob: User, sam: User, signed_in: Callable[[User], Client]
) -> None:
    proposal = banded(desk.propose(provenance=origin(order_ref=MAIL)), Band.HIGH)
    Proposal.objects.filter(pk=proposal.pk).update(decide_by=clock.now() + timedelta(hours=1))
    proposal.refresh_from_db()
    brought, note, more = forged("nothing", proposal, bob, sam, clock.now())
    assert send(signed_in(bob), proposal, "approve", brought, note, more).status_code == 200
    assert Proposal.objects.get(pk=proposal.pk).status == "approved"
