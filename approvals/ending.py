"""Lock a proposal, and close one that no person decides: silence denies, and a run that ends takes its own along."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from agentops.engine.events import ProposalExpired, ProposalWithdrawn
from agentops.engine.transitions import CallState, RunState
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import SYSTEM
from approvals import freezing
from approvals.locking import lock_run
from approvals.models import Proposal, Status


def expire(*, proposal_id: UUID, now: datetime) -> bool:
    """Close a proposal whose deadline has passed; return whether it was this call that closed it.

    Silence denies: the run goes on without the call. No deadline passes while the call is stopped or its run paused.
    """
    with transaction.atomic():
        proposal = locked(proposal_id)
        if proposal.status != Status.PENDING or not freezing.overdue(proposal, now):
            return False
        if run_ended(proposal):
            withdraw_leftover(proposal, now)
            return False
        return expire_now(proposal, now)


def withdraw_proposals(run_id: UUID, *, reason: str, now: datetime) -> int:
    """Close the open proposals of a run that ends; return how many there were.

    Must run in the transaction that records the `proposal.withdrawn` events. Locks the run's stream.
    """
    lock_run(run_id)
    return Proposal.objects.filter(run_id=run_id, status=Status.PENDING).update(
        status=Status.WITHDRAWN, decided_at=now, closing_note=reason[:200]
    )


def locked(proposal_id: UUID) -> Proposal:
    run_id = Proposal.objects.values_list("run_id", flat=True).get(pk=proposal_id)
    lock_run(run_id)
    return Proposal.objects.select_related("task_type", "run").get(pk=proposal_id)


def close(proposal: Proposal, changes: Mapping[str, object]) -> bool:
    """Change a pending proposal that is still the version at hand; under the stream's lock nobody is in between."""
    written = Proposal.objects.filter(
        pk=proposal.pk, status=Status.PENDING, version=proposal.version, digest=proposal.digest
    ).update(**changes)
    if not written:
        proposal.refresh_from_db()
        return False
    for name, value in changes.items():
        setattr(proposal, "decided_by_id" if name == "decided_by" else name, value)
    return True


def expire_now(proposal: Proposal, now: datetime) -> bool:
    if not close(proposal, {"status": Status.EXPIRED, "decided_at": now}):
        return False
    expired = ProposalExpired(str(proposal.pk), proposal.call_id)
    record_outside(proposal.run_id, [expired], actor=SYSTEM, now=now)
    return True


def run_ended(proposal: Proposal) -> bool:
    return RunState(proposal.run.state).terminal


def withdraw_leftover(proposal: Proposal, now: datetime) -> None:
    """Close a proposal that its run left behind when it ended."""
    reason = "The run had ended."
    if not close(proposal, {"status": Status.WITHDRAWN, "decided_at": now, "closing_note": reason}):
        return
    call = state_of(proposal.run_id).calls.get(proposal.call_id)
    if call is not None and call.state is CallState.PROPOSED:
        withdrawn = ProposalWithdrawn(str(proposal.pk), proposal.call_id, reason)
        record_outside(proposal.run_id, [withdrawn], actor=SYSTEM, now=now)
