"""A person's answer: who may give it, what it writes, and what happens to the one who comes second."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from agentops.audit.models import Event
from agentops.audit.services import load
from agentops.engine.events import RunCancelled
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import state_of, stream_of
from agentops.tenancy.access import SYSTEM, WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.models import Decision, Grant, Proposal, RejectReason, Verdict
from approvals.services import Decided, Expired, Forbidden, Invalid, Lost, Outcome, Stale, reject, withdraw_proposals
from tests.approvals.conftest import NOW, Desk, make_desk
from tests.approvals.contracts import MAIL, arguments, origin
from tests.deciding import approve, edit_and_approve
from tools.models import AllowlistEntry, AllowlistState

Actors = Callable[[User], Actor]
SOON = NOW + timedelta(minutes=5)


def yes(proposal: Proposal, actor: Actor, **changes: object) -> Outcome:
    seen = {"version": proposal.version, "digest": proposal.digest, "now": SOON}
    return approve(proposal_id=proposal.pk, actor=actor, **(seen | changes))  # type: ignore[arg-type]


def no(proposal: Proposal, actor: Actor, reason: str = "duplicate", note: str = "", **changes: object) -> Outcome:
    seen = {"version": proposal.version, "digest": proposal.digest, "now": SOON}
    return reject(proposal_id=proposal.pk, actor=actor, reason_code=reason, note=note, **(seen | changes))  # type: ignore[arg-type]


# --- approve --------------------------------------------------------------------------------------------------------


def test_an_approval_writes_the_decision_a_grant_and_the_event_and_the_run_has_work_again(
    desk: Desk, bob: User, actors: Actors
) -> None:
    proposal = desk.propose()
    outcome = yes(proposal, actors(bob), note="  Checked the photo.  ")
    grant = Grant.objects.get()
    assert outcome == Decided(proposal, proposal.pk, Verdict.APPROVE, 1, proposal.digest, SOON, grant.pk)
    assert (grant.digest, grant.call_id, grant.source, grant.consumed_at) == (
        proposal.digest,
        proposal.call_id,
        "proposal",
        None,
    )
    assert grant.expires_at == SOON + timedelta(minutes=10)
    decision = Decision.objects.get()
    assert (decision.verdict, decision.user, decision.version, decision.digest, decision.note, decision.patch) == (
        "approve",
        bob,
        1,
        proposal.digest,
        "Checked the photo.",
        [],
    )
    proposal.refresh_from_db()
    assert (proposal.status, proposal.decided_by, proposal.decided_at) == ("approved", bob, SOON)
    call = ToolCall.objects.get(call_id=proposal.call_id)
    assert call.state == "granted"
    assert Run.objects.get(pk=proposal.run_id).state == "queued"


def test_the_event_of_a_decision_is_found_by_its_proposal_and_names_the_person(
    desk: Desk, bob: User, actors: Actors
) -> None:
    proposal = desk.propose()
    yes(proposal, actors(bob))
    event = Event.objects.get(type="proposal.decided")
    assert (event.subject_kind, event.subject_id, event.tool) == ("proposal", str(proposal.pk), "lab.refund")
    recorded = load(stream_of(proposal.run_id))[-1]
    assert recorded.actor["name"] == "bob"
    assert (recorded.data["verdict"], recorded.data["by"]) == ("approve", "bob")
    assert recorded.data["digest"] == proposal.digest


def test_a_run_with_two_open_proposals_goes_on_with_what_is_approved(desk: Desk, bob: User, actors: Actors) -> None:
    first = desk.propose(wait=False)
    desk.propose(run=first.run, order_ref="A-2000")
    yes(first, actors(bob))
    assert Run.objects.get().state == "queued"


def test_a_run_with_two_open_proposals_has_nothing_to_do_after_a_no(desk: Desk, bob: User, actors: Actors) -> None:
    first = desk.propose(wait=False)
    second = desk.propose(run=first.run, order_ref="A-2000")
    no(first, actors(bob))
    assert Run.objects.get().state == "awaiting_approval"
    no(second, actors(bob))
    assert Run.objects.get().state == "queued"


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ({"state": AllowlistState.DENIED}, "not_allowed"),
        ({"min_version": "9.0.0"}, "contract_changed"),
        ({"argument_constraints": '{"small":"args.amount_minor <= 1"}'}, "constraint_violated"),
    ],
)
def test_what_the_allowlist_refuses_by_now_is_not_approved_in_vain(
    desk: Desk, bob: User, actors: Actors, now: dict[str, object], code: str
) -> None:
    proposal = desk.propose()
    AllowlistEntry.objects.filter(tool=proposal.tool).update(**now)
    said = yes(proposal, actors(bob))
    assert isinstance(said, Invalid)
    assert [issue.code for issue in said.issues] == [code]
    assert not Grant.objects.exists()
    assert isinstance(no(proposal, actors(bob)), Decided)


# --- who ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", [WORKER, SYSTEM, Actor.token(1, "shop", ["run.submit", "proposal.decide"])])
def test_agents_and_programs_never_decide(desk: Desk, actor: Actor) -> None:
    proposal = desk.propose()
    assert yes(proposal, actor) == Forbidden("people_only")
    assert no(proposal, actor) == Forbidden("people_only")
    proposal.refresh_from_db()
    assert proposal.status == "pending"


def test_only_roles_that_decide_may_decide(desk: Desk, ann: User, alice: User, sam: User, actors: Actors) -> None:
    proposal = desk.propose()
    assert yes(proposal, actors(ann)) == Forbidden("role")
    assert yes(proposal, actors(alice)) == Forbidden("role"), "admins set the rules and do not decide under them"
    assert isinstance(yes(proposal, actors(sam)), Decided)


def test_a_person_of_another_tenant_has_no_role_here(charlie: User, desk: Desk, actors: Actors) -> None:
    assert yes(desk.propose(), actors(charlie)) == Forbidden("role")


def test_the_requester_may_reject_but_not_approve_or_edit(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose(requested_by=bob)
    assert yes(proposal, actors(bob)) == Forbidden("self_approval")
    edited = edit_and_approve(
        proposal_id=proposal.pk,
        actor=actors(bob),
        version=1,
        digest=proposal.digest,
        arguments=arguments(amount_minor=1),
        now=SOON,
    )
    assert edited == Forbidden("self_approval")
    assert isinstance(no(proposal, actors(bob)), Decided)


def test_a_task_type_can_allow_self_approval(desk: Desk, bob: User, actors: Actors) -> None:
    desk.task_type.allow_self_approval = True
    desk.task_type.save()
    assert isinstance(yes(desk.propose(requested_by=bob), actors(bob)), Decided)


def test_a_proposal_of_another_tenant_does_not_exist(
    acme: Tenant, globex: Tenant, charlie: User, tools: None, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    with tenant_scope(acme):
        proposal = make_desk(acme).propose()
    with tenant_scope(globex), pytest.raises(Proposal.DoesNotExist):
        yes(proposal, actor_of(charlie, globex))


# --- reject ---------------------------------------------------------------------------------------------------------


def test_a_rejection_is_final_and_the_agent_is_told_reason_and_note(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    outcome = no(proposal, actors(bob), "wrong_amount", "Only the mug was broken.")
    assert outcome == Decided(proposal, proposal.pk, Verdict.REJECT, 1, proposal.digest, SOON)
    proposal.refresh_from_db()
    assert (proposal.status, Grant.objects.count()) == ("rejected", 0)
    call = state_of(proposal.run_id).calls[proposal.call_id]
    assert (call.state, call.note) == ("rejected", "wrong_amount: Only the mug was broken.")
    assert Run.objects.get(pk=proposal.run_id).state == "queued"


@pytest.mark.parametrize("reason", RejectReason.values)
def test_some_reasons_need_a_note(desk: Desk, bob: User, actors: Actors, reason: str) -> None:
    outcome = no(desk.propose(), actors(bob), reason, "  ")
    if reason in ("other", "suspected_injection"):
        assert isinstance(outcome, Invalid)
        assert [issue.path for issue in outcome.issues] == ["/note"]
    else:
        assert isinstance(outcome, Decided)


def test_rejecting_something_high_needs_a_note(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose(provenance=origin(order_ref=MAIL))
    assert isinstance(no(proposal, actors(bob)), Invalid)
    assert isinstance(no(proposal, actors(bob), note="The mail is not from the customer."), Decided)


@pytest.mark.parametrize("reason", ["", "because", "approve"])
def test_an_unknown_reason_is_invalid_and_nothing_changes(desk: Desk, bob: User, actors: Actors, reason: str) -> None:
    proposal = desk.propose()
    outcome = no(proposal, actors(bob), reason)
    assert isinstance(outcome, Invalid)
    assert [issue.path for issue in outcome.issues] == ["/reason_code"]
    proposal.refresh_from_db()
    assert proposal.status == "pending"


def test_a_note_that_is_too_long_is_invalid(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    assert isinstance(no(proposal, actors(bob), note="x" * 2001), Invalid)
    assert isinstance(yes(proposal, actors(bob), note="x" * 2001), Invalid)


def test_a_note_with_characters_a_database_refuses_is_kept(desk: Desk, bob: User, actors: Actors) -> None:
    assert isinstance(no(desk.propose(), actors(bob), note="bad \x00 byte"), Decided)
    assert "\x00" not in Decision.objects.get().note


# --- second, stale, late --------------------------------------------------------------------------------------------


def test_a_second_decision_loses_and_says_who_won(desk: Desk, bob: User, sam: User, actors: Actors) -> None:
    proposal = desk.propose()
    no(proposal, actors(sam), "wrong_target")
    lost = Lost("Sam", "reject", SOON)
    assert yes(proposal, actors(bob)) == lost
    assert no(proposal, actors(bob)) == lost
    assert Decision.objects.count() == 1
    assert Grant.objects.count() == 0


@pytest.mark.parametrize("changes", [{"version": 2}, {"version": 0}, {"digest": "0" * 64}, {"digest": ""}])
def test_what_was_not_seen_cannot_be_decided(desk: Desk, bob: User, actors: Actors, changes: dict[str, object]) -> None:
    proposal = desk.propose()
    stale = Stale(1, proposal.digest)
    assert yes(proposal, actors(bob), **changes) == stale
    assert no(proposal, actors(bob), "duplicate", "", **changes) == stale
    assert Decision.objects.count() == 0


def test_a_decision_after_the_deadline_finds_it_expired_and_the_run_goes_on(
    desk: Desk, bob: User, actors: Actors
) -> None:
    proposal = desk.propose()
    outcome = yes(proposal, actors(bob), now=proposal.decide_by)
    assert outcome == Expired(proposal.decide_by)
    proposal.refresh_from_db()
    assert (proposal.status, proposal.decided_by, Grant.objects.count()) == ("expired", None, 0)
    assert load(stream_of(proposal.run_id))[-1].type == "proposal.expired"
    assert Run.objects.get(pk=proposal.run_id).state == "queued"
    assert no(proposal, actors(bob)) == Expired(proposal.decide_by)


def test_a_decision_on_what_a_cancelled_run_withdrew_is_lost(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    assert withdraw_proposals(proposal.run_id, reason="The run was cancelled.", now=SOON) == 1
    assert yes(proposal, actors(bob)) == Lost("System", "withdrawn", SOON)
    proposal.refresh_from_db()
    assert proposal.closing_note == "The run was cancelled."


def test_a_proposal_that_its_run_left_behind_is_withdrawn_on_the_spot(desk: Desk, bob: User, actors: Actors) -> None:
    proposal = desk.propose()
    desk.record(proposal.run, RunCancelled("user:1"), now=NOW)
    assert yes(proposal, actors(bob)) == Lost("System", "withdrawn", SOON)
    assert load(stream_of(proposal.run_id))[-1].type == "proposal.withdrawn"
    assert Grant.objects.count() == 0
