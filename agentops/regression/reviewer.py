"""What a scripted person says of a proposal, inside of an isolated tenant and nowhere else.

A script has seen no card, so it does not go through what stands before a person's approval; everything after that is
what it always is: the edited arguments pass the schema and the gate, the decision, its grant and its event are written
together, and the executor asks for the grant.
"""

from datetime import datetime, timedelta

from django.db import transaction

from agentops.regression.cases import ScriptedDecision
from agentops.regression.isolation import Place, assert_isolated
from approvals.decisions.clearance import Cleared
from approvals.decisions.deciding import write_approval, write_rejection
from approvals.decisions.editing import edited_by
from approvals.decisions.sight import look
from approvals.models import Proposal, RejectReason, RejectScope
from approvals.proposals.ending import expire, locked
from approvals.proposals.outcomes import Invalid


def say(place: Place, proposal: Proposal, decision: ScriptedDecision, *, now: datetime) -> str:
    """Decide a proposal as the case says; return why that is impossible, or nothing. Raises NotIsolated."""
    assert_isolated()
    if decision.verdict == "expire":
        expire(proposal_id=proposal.pk, now=max(now, proposal.decide_by + timedelta(seconds=1)))
        return ""
    with transaction.atomic():
        held = locked(proposal.pk)
        if decision.verdict == "reject":
            reason = decision.reason if decision.reason in RejectReason.values else RejectReason.OTHER.value
            scope = decision.scope if decision.scope in RejectScope.values else RejectScope.STEP.value
            write_rejection(held, place.reviewer, reason, decision.note, scope, decision.retry, now)
            return ""
        edited: dict[str, object] = {}
        if decision.arguments is not None:
            frozen = edited_by(held, place.reviewer, decision.arguments)
            if isinstance(frozen, Invalid):
                return "; ".join(f"{issue.path or '/'}: {issue.message}" for issue in frozen.issues)
            if frozen.arguments != held.arguments:
                edited = frozen.columns()
        shown = look(held, place.reviewer, now=now)
        cleared = Cleared(shown, {"scripted": True}, (), [], None)
        write_approval(held, place.reviewer, decision.note, now, edited, cleared)
    return ""
