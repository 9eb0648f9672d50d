"""The release delay: nothing executes before its moment, and until then the approval can be taken back."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from agentops import clock
from agentops.audit.models import Event
from agentops.engine.transitions import CallState, RunState
from agentops.runs import lease
from agentops.runs.models import Run
from agentops.runs.recording import state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.worker.driver import Driver
from approvals import services
from approvals.assessing import ladder
from approvals.assessing.risk import Band
from approvals.decisions.release import Released, Undone, undo
from approvals.models import BandRule, Decision, Grant, Proposal
from approvals.permits.grants import NOT_RELEASED, NotReleased, consume
from approvals.proposals.outcomes import Decided, Forbidden
from approvals.stopping.intervention import cancel_run
from tests.approvals.conftest import NOW, Desk, seen
from tests.approvals.threads import at_once
from tests.conftest import person
from tests.deciding import approve
from tests.shop import Clock, drive, only_proposal, open_shop, start
from tools.backoffice.models import Refund

SOON = NOW + timedelta(minutes=5)
DELAY = timedelta(seconds=30)


@pytest.fixture
def slow(scoped: Tenant) -> None:
    """Give every band a delay of half a minute."""
    BandRule.objects.bulk_create([BandRule(band=band.value, release_s=30) for band in Band])
    ladder.forget()


@pytest.fixture
def approved(desk: Desk, slow: None, bob: User, actors: Callable[[User], Actor]) -> Proposal:
    proposal = desk.propose()
    outcome = approve(**seen(proposal, actors(bob), SOON))
    assert isinstance(outcome, Decided)
    assert outcome.release_at == SOON + DELAY
    proposal.refresh_from_db()
    return proposal


def test_until_its_moment_no_worker_is_offered_the_run_and_the_grant_cannot_be_used(
    desk: Desk, approved: Proposal
) -> None:
    run, grant = Run.objects.get(pk=approved.run_id), Grant.objects.get()
    assert (run.state, run.not_before, run.rung_at) == ("queued", SOON + DELAY, None)
    early = SOON + DELAY - timedelta(milliseconds=1)
    assert lease.claim_due(owner="w", now=early, limit=5) == []
    assert not lease.any_due(early)
    with pytest.raises(NotReleased) as refused:
        consume(desk.request(grant), now=early)
    assert (refused.value.code, refused.value.until) == (NOT_RELEASED, SOON + DELAY)
    assert Grant.objects.get().consumed_at is None
    assert lease.any_due(SOON + DELAY)
    assert consume(desk.request(grant), now=SOON + DELAY).digest == grant.digest


def test_taking_back_leaves_it_as_it_was_with_the_time_it_had_left(
    approved: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    had_left = approved.decide_by - SOON
    later = SOON + timedelta(seconds=20)
    outcome = undo(proposal_id=approved.pk, actor=actors(bob), now=later)
    assert outcome == Undone(approved.pk, 1, later + had_left)
    approved.refresh_from_db()
    assert (approved.status, approved.decided_by, approved.release_at) == ("pending", None, None)
    assert not Grant.objects.exists()
    assert Decision.objects.get().undone_at == later
    state = state_of(approved.run_id)
    assert state.state is RunState.AWAITING_APPROVAL
    assert state.calls[approved.call_id].state is CallState.PROPOSED
    assert Run.objects.get(pk=approved.run_id).state == "awaiting_approval"
    assert not lease.any_due(SOON + timedelta(hours=1))
    assert Event.objects.filter(type="proposal.undone", actor_id=str(bob.pk)).count() == 1


def test_what_was_taken_back_can_be_approved_or_rejected_again(
    approved: Proposal, bob: User, sam: User, actors: Callable[[User], Actor]
) -> None:
    undo(proposal_id=approved.pk, actor=actors(bob), now=SOON + timedelta(seconds=5))
    approved.refresh_from_db()
    again = approve(**seen(approved, actors(bob), SOON + timedelta(seconds=10)))
    assert isinstance(again, Decided)
    undo(proposal_id=approved.pk, actor=actors(sam), now=SOON + timedelta(seconds=15))
    approved.refresh_from_db()
    rejected = services.reject(
        reason_code="duplicate", note="No.", **seen(approved, actors(sam), SOON + timedelta(seconds=16))
    )
    assert isinstance(rejected, Decided)
    assert not Grant.objects.exists()


def test_after_its_moment_there_is_nothing_to_take_back(
    approved: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    late = undo(proposal_id=approved.pk, actor=actors(bob), now=SOON + DELAY)
    assert late == Released("approved", SOON + DELAY)
    assert Grant.objects.count() == 1


def test_only_whoever_approved_it_or_a_senior_takes_it_back(
    approved: Proposal, acme: Tenant, sam: User, alice: User, actors: Callable[[User], Actor]
) -> None:
    soon = SOON + timedelta(seconds=1)
    dana = person("dana", acme, "operator")
    assert undo(proposal_id=approved.pk, actor=actors(dana), now=soon) == Forbidden("not_yours")
    assert undo(proposal_id=approved.pk, actor=actors(alice), now=soon) == Forbidden("role")
    token = Actor.token(1, "agent", ["proposal.decide"])
    assert undo(proposal_id=approved.pk, actor=token, now=soon) == Forbidden("people_only")
    assert isinstance(undo(proposal_id=approved.pk, actor=actors(sam), now=soon), Undone)


def test_a_run_that_was_cancelled_within_the_delay_is_not_brought_back(
    approved: Proposal, bob: User, actors: Callable[[User], Actor]
) -> None:
    cancel_run(run_id=approved.run_id, actor=actors(bob), reason="Not needed")
    outcome = undo(proposal_id=approved.pk, actor=actors(bob), now=SOON + timedelta(seconds=5))
    assert isinstance(outcome, Released)


def test_a_tenant_may_do_without_a_delay_in_a_band(desk: Desk, bob: User, actors: Callable[[User], Actor]) -> None:
    outcome = approve(**seen(desk.propose(), actors(bob), SOON))
    assert isinstance(outcome, Decided)
    assert outcome.release_at is None
    assert lease.any_due(SOON)


def test_a_worker_waits_for_the_moment_and_executes_once(
    scoped: Tenant, slow: None, sam: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    open_shop(scoped)
    now = Clock(clock.now())
    run = drive(start("support-email", {"message_id": "M-0001"}, now=now()).id, now)
    proposal = only_proposal()
    reviewer = actor_of(sam, scoped)
    approve(proposal_id=proposal.pk, actor=reviewer, version=1, digest=proposal.digest, now=now())
    now.forward(seconds=29)
    assert Driver("w9", now=now).drive(scoped, run.pk) is False
    assert not Refund.objects.exists()
    now.forward(seconds=2)
    drive(run.pk, now)
    assert Refund.objects.count() == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_taking_back_and_executing_at_the_same_moment_leaves_one_of_them(
    desk: Desk, slow: None, bob: User, actors: Callable[[User], Actor]
) -> None:
    for _ in range(20):
        proposal = desk.propose()
        approve(**seen(proposal, actors(bob), SOON))
        grant = Grant.objects.get(proposal=proposal)
        request = desk.request(grant)

        def execute(request: object = request) -> bool:
            from django.db import transaction

            from tools.executor import PermitRefused

            with tenant_scope(desk.tenant), transaction.atomic():
                try:
                    consume(request, now=SOON + DELAY)  # type: ignore[arg-type]  # a CallRequest
                except PermitRefused:
                    return False
            return True

        def back(proposal: Proposal = proposal) -> bool:
            # A person whose clock is a little behind the worker's.
            with tenant_scope(desk.tenant):
                moment = SOON + DELAY - timedelta(seconds=1)
                return isinstance(undo(proposal_id=proposal.pk, actor=actors(bob), now=moment), Undone)

        both: list[Callable[[], bool]] = [execute, back]
        executed, taken_back = at_once(both)
        assert executed != taken_back


# --- in the browser --------------------------------------------------------------------------------------------------


def test_the_card_offers_to_take_back_and_does_it_without_scripts(
    approved: Proposal, bob: User, signed_in: Callable[[User], Client]
) -> None:
    Proposal.objects.filter(pk=approved.pk).update(release_at=clock.now() + timedelta(minutes=1))
    desk = signed_in(bob)
    page = desk.get(f"/t/acme/proposals/{approved.pk}").content.decode()
    assert f'action="/t/acme/proposals/{approved.pk}/undo"' in page
    answer = desk.post(f"/t/acme/proposals/{approved.pk}/undo", follow=True)
    assert "Taken back." in answer.content.decode()
    late = desk.post(f"/t/acme/proposals/{approved.pk}/undo", headers={"HX-Request": "true"})
    assert late.status_code == 409
    assert "nothing to take back" in late.content.decode()
