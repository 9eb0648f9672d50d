"""What others call to change proposals. Each is written where its name says; every outcome is a value."""

from approvals.decisions.deciding import MAX_NOTE, approve, edit_and_approve, reject
from approvals.proposals.ending import expire, withdraw_proposals
from approvals.proposals.outcomes import Decided, Expired, Forbidden, Invalid, Lost, Outcome, Reconfirm, Stale
from approvals.proposals.proposing import MAX_EXPLANATION, draft_proposal

__all__ = [
    "MAX_EXPLANATION",
    "MAX_NOTE",
    "Decided",
    "Expired",
    "Forbidden",
    "Invalid",
    "Lost",
    "Outcome",
    "Reconfirm",
    "Stale",
    "approve",
    "draft_proposal",
    "edit_and_approve",
    "expire",
    "reject",
    "withdraw_proposals",
]
