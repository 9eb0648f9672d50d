"""Two people decide the same proposal at the same moment: one wins, the other is told who (PostgreSQL)."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from agentops.audit.models import Event
from agentops.audit.verify import verify_tenant
from agentops.engine.events import ProposalWithdrawn, RunCancelled
from agentops.runs.models import Run
from agentops.runs.recording import record_outside
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.models import Decision, Grant, Proposal
from approvals.services import Decided, Lost, Outcome, Reconfirm, Stale, expire, reject, withdraw_proposals
from tests.approvals.conftest import NOW, Desk, seen
from tests.approvals.contracts import arguments
from tests.approvals.threads import at_once
from tests.deciding import approve, edit_and_approve

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
    pytest.mark.django_db(transaction=True),
]

ROUNDS = 200
SOON = NOW + timedelta(minutes=5)
CHEAP = arguments(amount_minor=2500)


def answer(kind: str, tenant: Tenant, proposal: Proposal, actor: Actor) -> Callable[[], Outcome]:
    """Return one person's answer to what they see on their screen."""
    shown = seen(proposal, actor, SOON)

    def decide() -> Outcome:
        with tenant_scope(tenant):
            match kind:
                case "approve":
                    return approve(**shown)
                case "edit":
                    return edit_and_approve(arguments=CHEAP, **shown)
                case _:
                    return reject(reason_code="duplicate", **shown)

    return decide


def test_of_two_people_one_wins_and_the_other_is_told_who(
    desk: Desk, bob: User, sam: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    people = [actor_of(bob, desk.tenant), actor_of(sam, desk.tenant)]
    pairs = list(product(["approve", "edit", "reject"], repeat=2))
    winners: Counter[str] = Counter()
    for number in range(ROUNDS):
        proposal, kinds = desk.propose(), pairs[number % len(pairs)]
        outcomes = at_once(
            [answer(kind, desk.tenant, proposal, person) for kind, person in zip(kinds, people, strict=True)]
        )
        first = next(i for i, outcome in enumerate(outcomes) if isinstance(outcome, Decided))
        won, lost = outcomes[first], outcomes[1 - first]
        assert isinstance(won, Decided)
        assert won.verdict == kinds[first]
        assert lost == Lost(people[first].name.title(), kinds[first], SOON)
        decision = Decision.objects.select_related("user").get(proposal=proposal)
        assert (decision.user.get_username(), decision.verdict) == (people[first].name, kinds[first])
        assert Grant.objects.filter(proposal=proposal).count() == (kinds[first] != "reject")
        assert Event.objects.filter(type="proposal.decided", run_id=proposal.run_id).count() == 1
        assert Run.objects.get(pk=proposal.run_id).state == "queued"
        winners[people[first].name] += 1
    assert winners.total() == ROUNDS
    assert verify_tenant().findings == ()


def test_a_decision_and_the_deadline_at_the_same_moment(
    desk: Desk, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    person = actor_of(bob, desk.tenant)
    for _ in range(20):
        proposal = desk.propose()

        def late(proposal: Proposal = proposal) -> bool:
            with tenant_scope(desk.tenant):
                return expire(proposal_id=proposal.pk, now=proposal.decide_by)

        both: list[Callable[[], Outcome | bool]] = [answer("approve", desk.tenant, proposal, person), late]
        outcome, expired = at_once(both)
        assert isinstance(outcome, Decided) == (not expired)
        assert Grant.objects.filter(proposal=proposal).count() == (not expired)


def test_a_decision_and_a_cancellation_at_the_same_moment_do_not_lock_each_other_out(
    desk: Desk, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    person = actor_of(bob, desk.tenant)
    for _ in range(20):
        proposal = desk.propose()

        def end(proposal: Proposal = proposal) -> int:
            with tenant_scope(desk.tenant), transaction.atomic():
                closed = withdraw_proposals(proposal.run_id, reason="The run ended.", now=SOON)
                ended = ProposalWithdrawn(str(proposal.pk), proposal.call_id, "The run ended.")
                record_outside(proposal.run_id, [ended] * closed + [RunCancelled("user:1")], actor=SYSTEM, now=SOON)
                return closed

        both: list[Callable[[], Outcome | int]] = [answer("approve", desk.tenant, proposal, person), end]
        outcome, closed = at_once(both)
        assert outcome == Lost("System", "withdrawn", SOON) if closed else isinstance(outcome, Decided)
        proposal.refresh_from_db()
        assert proposal.status == ("withdrawn" if closed else "approved")


def test_two_edits_that_raise_the_band_leave_one_for_the_next_look(
    desk: Desk, bob: User, sam: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    proposal = desk.propose()

    def edit(user: User, minor: int) -> Callable[[], Outcome]:
        actor = actor_of(user, desk.tenant)

        def decide() -> Outcome:
            with tenant_scope(desk.tenant):
                return edit_and_approve(arguments=arguments(amount_minor=minor), **seen(proposal, actor, SOON))

        return decide

    outcomes = at_once([edit(bob, 60_000), edit(sam, 70_000)])
    kept = next(outcome for outcome in outcomes if isinstance(outcome, Reconfirm))
    assert [outcome for outcome in outcomes if outcome != kept] == [Stale(2, kept.digest)]
    proposal.refresh_from_db()
    assert (proposal.version, proposal.digest) == (2, kept.digest)
