"""Lock a proposal, and close one that no person decides: silence denies, and a run that ends takes its own along."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from agentops.engine.events import ProposalExpired, ProposalWithdrawn
from agentops.engine.transitions import CallState, RunState
from agentops.runs.recording import record_outside, state_of
from agentops.runs.statements import Change, change_of
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.prepared import Query
from approvals.models import Proposal, Status
from approvals.proposals import freezing
from approvals.proposals.locking import lock_run, lock_run_of


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
        expire_now(proposal, now)
        return True


def withdraw_proposals(run_id: UUID, *, reason: str, now: datetime) -> int:
    """Close the open proposals of a run that ends; return how many there were.

    Must run in the transaction that records the `proposal.withdrawn` events. Locks the run's stream.
    """
    lock_run(run_id)
    return Proposal.objects.filter(run_id=run_id, status=Status.PENDING).update(
        status=Status.WITHDRAWN, decided_at=now, closing_note=reason[:200]
    )


def locked(proposal_id: UUID) -> Proposal:
    """Hold everybody off a proposal's run until the transaction ends, and return it. Raises `Proposal.DoesNotExist`."""
    lock_run_of(proposal_id)
    found = _TO_DECIDE(proposal_id)
    if not found:
        raise Proposal.DoesNotExist
    return found[0]


_FOR_A_DECISION: Final = (
    *("tenant", "run", "call_id", "task_type", "tool", "contract_version", "contract_digest", "digest", "version"),
    *("arguments", "original_arguments", "risk_band", "band_rank", "status", "requested_by", "created_at"),
    *("decide_by", "execute_by", "decided_at", "decided_by", "thawed_to", "provenance", "attacked"),
    *("votes", "handled", "quorum", "policy_version", "policy_rule", "needs_role", "release_at", "consequence"),
    *("leased_by", "leased_until", "served_at"),
    *("run__tenant", "run__state", "run__task_type"),
    *("run__requested_by", "run__requested_by_token", "run__paused_at", "task_type__tenant"),
    *("task_type__execute_within_s", "task_type__allow_self_approval"),
)
"""What a decision looks at; the rest is read when it is asked for."""

_TO_DECIDE: Final = Query(
    lambda pk: Proposal.objects.select_related("task_type", "run").only(*_FOR_A_DECISION).filter(pk=pk)
)


def close(proposal: Proposal, changes: Mapping[str, object]) -> bool:
    """Change a pending proposal that is still the version at hand; under the stream's lock nobody is in between."""
    written = Proposal.objects.filter(
        pk=proposal.pk, status=Status.PENDING, version=proposal.version, digest=proposal.digest
    ).update(**changes)
    if not written:
        proposal.refresh_from_db()
        return False
    _put(proposal, changes)
    return True


def closing(proposal: Proposal, changes: Mapping[str, object]) -> Change:
    """Change the object of a pending proposal that was read under the stream's lock; return what is to be written."""
    _put(proposal, changes)
    return change_of(proposal, changes)


def _put(proposal: Proposal, changes: Mapping[str, object]) -> None:
    for name, value in changes.items():
        setattr(proposal, "decided_by_id" if name == "decided_by" else name, value)


def expire_now(proposal: Proposal, now: datetime) -> None:
    """Close a pending proposal whose time is over."""
    closed = closing(proposal, {"status": Status.EXPIRED, "decided_at": now})
    expired = ProposalExpired(str(proposal.pk), proposal.call_id)
    record_outside(proposal.run_id, [expired], actor=SYSTEM, now=now, beside=(closed,))


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
