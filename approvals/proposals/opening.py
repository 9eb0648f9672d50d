"""Lock a proposal for one person's verdict on what that person saw, or say why there is none to give."""

from datetime import datetime
from uuid import UUID

from agentops.tenancy.access import SYSTEM, Actor, can
from agentops.tenancy.people import called, with_id
from approvals.models import Proposal, Status
from approvals.proposals import freezing
from approvals.proposals.ending import expire_now, locked, run_ended, withdraw_leftover
from approvals.proposals.outcomes import Expired, Forbidden, Leased, Lost, Stale, TooLate


def opened_for(
    proposal_id: UUID, actor: Actor, version: int, digest: str, now: datetime
) -> Proposal | TooLate | Forbidden | Leased:
    """Lock a proposal for a decision by this actor on what this actor saw, or say why there is none to make.

    What somebody else has for the moment is theirs alone, whichever way a decision comes.
    """
    if actor.kind != "user" or actor.user_id is None:
        return Forbidden("people_only")
    if not can(actor, "proposal.decide"):
        return Forbidden("role")
    proposal = locked(proposal_id)
    if proposal.status == Status.PENDING and run_ended(proposal):
        withdraw_leftover(proposal, now)
    elif proposal.status == Status.PENDING and proposal.decide_by <= now and freezing.overdue(proposal, now):
        expire_now(proposal, now)
    if proposal.status != Status.PENDING:
        return too_late(proposal)
    if (leased := leased_by_another(proposal, actor, now)) is not None:
        return leased
    if (proposal.version, proposal.digest) != (version, digest):
        return Stale(proposal.version, proposal.digest)
    return proposal


def too_late(proposal: Proposal) -> TooLate:
    if proposal.status == Status.PENDING:
        return Stale(proposal.version, proposal.digest)
    if proposal.status == Status.EXPIRED:
        return Expired(proposal.decide_by)
    decision = proposal.decisions.select_related("user").filter(final=True, undone_at__isnull=True).first()
    if decision is None:
        return Lost(SYSTEM.name, Status.WITHDRAWN.value, proposal.decided_at or proposal.decide_by)
    return Lost(called(decision.user), decision.verdict, decision.at)


def leased_by_another(proposal: Proposal, actor: Actor, now: datetime) -> Leased | None:
    """Return who else has a pending proposal at the moment. One query when somebody does."""
    if proposal.status != Status.PENDING or proposal.leased_until is None or proposal.leased_until <= now:
        return None
    if proposal.leased_by_id is None or proposal.leased_by_id == actor.user_id:
        return None
    return Leased(with_id(proposal.leased_by_id), proposal.leased_until)


def person_of(actor: Actor) -> int:
    """Return the id of the person who decides; `opened_for` lets nobody else through."""
    if actor.user_id is None:
        raise ValueError("only people decide")
    return actor.user_id
