"""Take a person's answer to a proposal: approve, edit and approve, or reject.

What has to be there before an approval counts is asked of `clearance.clear`, and nowhere else.

A decision, its grant and its event are written in one transaction that holds the lock of the run's stream, so of two
people who decide at the same moment one wins and the other is told who it was. Whoever else locks both a run's stream
and its proposals takes the stream first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from django.db import transaction

from agentops import clock
from agentops.engine.events import ProposalDecided
from agentops.runs.recording import record_outside
from agentops.runs.statements import Writing, table_of
from agentops.tenancy.access import Actor
from agentops.wire.parse import JSON, clean_text
from approvals.assessing.ladder import rung_of
from approvals.assessing.risk import Band
from approvals.decisions import duties
from approvals.decisions.clearance import Cleared, clear
from approvals.decisions.editing import changed_leaves, edited_by, revise
from approvals.decisions.friction import NOTHING, Evidence
from approvals.models import Decision, Proposal, RejectReason, RejectScope, Status, Verdict
from approvals.permits.grants import grant_for
from approvals.proposals.ending import closing
from approvals.proposals.opening import opened_for, person_of
from approvals.proposals.outcomes import Decided, Forbidden, Invalid, Outcome
from approvals.values.patch import diff
from tools.schema import Issue

MAX_NOTE: Final = 2000
_NOTE_REASONS: Final = frozenset({RejectReason.OTHER, RejectReason.SUSPECTED_INJECTION})


def approve(
    *,
    proposal_id: UUID,
    actor: Actor,
    version: int,
    digest: str,
    note: str = "",
    evidence: Evidence = NOTHING,
    now: datetime | None = None,
) -> Outcome:
    """Approve exactly what was shown: the version and digest of the proposal, with evidence that it was looked at.

    Writes the decision, a single-use grant and the event, and wakes the run. What a person has edited before is
    recorded as an edit. Raises `Proposal.DoesNotExist` for an id of no proposal in the tenant.
    """
    moment = now or clock.now()
    with transaction.atomic():
        opened = opened_for(proposal_id, actor, version, digest, moment)
        if not isinstance(opened, Proposal):
            return opened
        if len(note) > MAX_NOTE:
            return Invalid((_too_long(),))
        cleared = clear(opened, actor, note, evidence, now=moment)
        if not isinstance(cleared, Cleared):
            return cleared
        return write_approval(opened, actor, note, moment, {}, cleared)


def edit_and_approve(
    *,
    proposal_id: UUID,
    actor: Actor,
    version: int,
    digest: str,
    arguments: JSON,
    note: str = "",
    evidence: Evidence = NOTHING,
    now: datetime | None = None,
) -> Outcome:
    """Approve a call with other arguments than the agent proposed.

    The new arguments pass the schema, the gate and the risk assessment again. Changed leaves count as typed by the
    person, and typing a value attests it. When the band rises, or several people have to approve, nothing is approved
    yet: the edited version is kept and has to be approved as shown (`Reconfirm`). Raises `Proposal.DoesNotExist` like
    `approve`.
    """
    moment = now or clock.now()
    with transaction.atomic():
        opened = opened_for(proposal_id, actor, version, digest, moment)
        if not isinstance(opened, Proposal):
            return opened
        if len(note) > MAX_NOTE:
            return Invalid((_too_long(),))
        edited = edited_by(opened, actor, arguments)
        if isinstance(edited, Invalid):
            return edited
        same = edited.arguments == opened.arguments
        typed = () if same else changed_leaves(opened, edited)
        cleared = clear(opened, actor, note, evidence, now=moment, typed=typed, edits=not same)
        if not isinstance(cleared, Cleared):
            return cleared
        if same:
            return write_approval(opened, actor, note, moment, {}, cleared)
        needed = max(rung_of(edited.risk.band.value).approvers, edited.quorum)
        others = bool(edited.role) and edited.role not in actor.roles
        if edited.risk.band.rank > opened.band_rank or needed > 1 or others:
            return revise(opened, actor, edited, now=moment)
        return write_approval(opened, actor, note, moment, edited.columns(), cleared)


def reject(
    *,
    proposal_id: UUID,
    actor: Actor,
    version: int,
    digest: str,
    reason_code: str,
    note: str = "",
    scope: str = RejectScope.STEP,
    retry: bool = True,
    now: datetime | None = None,
) -> Outcome:
    """Refuse a call. The agent is told the reason and the note, as quoted data, and whether it may try again.

    `scope` says how far that reaches: this call, its step, or the whole run (`engine.refusals`).

    A note is required for `other`, `suspected_injection` and from High upwards. Requesters may reject their own.
    Raises `Proposal.DoesNotExist` like `approve`.
    """
    moment = now or clock.now()
    with transaction.atomic():
        opened = opened_for(proposal_id, actor, version, digest, moment)
        if not isinstance(opened, Proposal):
            return opened
        if duties.lacks_role(opened, actor):
            return Forbidden(duties.NEEDS_ROLE)
        if issues := tuple(_reject_issues(opened, reason_code, note, scope)):
            return Invalid(issues)
        return write_rejection(opened, actor, reason_code, clean_text(note.strip()), scope, retry, moment)


def write_approval(
    proposal: Proposal, actor: Actor, note: str, now: datetime, edited: Mapping[str, object], cleared: Cleared
) -> Decided:
    """Write a verdict that was cleared: decision, grant and event. Must run inside `atomic`, under the run's lock."""
    release_at = cleared.release_at
    execute_by = (release_at or now) + timedelta(seconds=proposal.task_type.execute_within_s)
    changes = {
        "status": Status.APPROVED,
        "decided_at": now,
        "decided_by": person_of(actor),
        "execute_by": execute_by,
        "release_at": release_at,
        "votes": proposal.votes + 1,
    }
    next_version = {"version": proposal.version + 1} if edited else {}
    closed = closing(proposal, {**edited, **next_version, **changes})
    grant = grant_for(proposal, now=now)
    changed = diff(proposal.original_values, proposal.argument_values)
    verdict = Verdict.EDIT if changed else Verdict.APPROVE
    decision = _row(proposal, actor, verdict, clean_text(note.strip()), now)
    decision.patch, decision.view = changed, cleared.sight.id
    decided = replace(
        _event(decision, proposal, actor),
        grant_id=str(grant.pk),
        arguments=proposal.argument_values if changed else None,
        provenance=proposal.provenance if changed else {},
        patch=changed,
        release_at=release_at.isoformat() if release_at is not None else "",
        view=cleared.view,
        others=cleared.others,
    )
    return _recorded(decision, decided, proposal, actor, (closed, table_of([grant])), grant.pk, release_at)


def write_rejection(
    proposal: Proposal, actor: Actor, reason_code: str, note: str, scope: str, retry: bool, now: datetime
) -> Decided:
    """Write a refusal that was looked through. Must run inside `atomic`, under the run's lock."""
    closed = closing(proposal, {"status": Status.REJECTED, "decided_at": now, "decided_by": person_of(actor)})
    decision = _row(proposal, actor, Verdict.REJECT, note, now)
    decision.reason_code, decision.scope, decision.retry = reason_code, scope, retry
    decided = replace(
        _event(decision, proposal, actor), reason_code=reason_code, scope=scope, retry="yes" if retry else "no"
    )
    return _recorded(decision, decided, proposal, actor, (closed,))


def _row(proposal: Proposal, actor: Actor, verdict: Verdict, note: str, now: datetime) -> Decision:
    """Return what every verdict has in common, as its row."""
    return Decision(
        proposal=proposal,
        version=proposal.version,
        verdict=verdict,
        user_id=person_of(actor),
        note=note,
        digest=proposal.digest,
        at=now,
    )


def _event(decision: Decision, proposal: Proposal, actor: Actor) -> ProposalDecided:
    """Return the same as its event."""
    verdicts: Mapping[str, Literal["approve", "edit", "reject"]] = {
        Verdict.APPROVE: "approve",
        Verdict.EDIT: "edit",
        Verdict.REJECT: "reject",
    }
    return ProposalDecided(
        proposal_id=str(proposal.pk),
        call_id=proposal.call_id,
        version=proposal.version,
        verdict=verdicts[decision.verdict],
        digest=proposal.digest,
        by=actor.name,
        note=decision.note,
    )


def _recorded(
    decision: Decision,
    decided: ProposalDecided,
    proposal: Proposal,
    actor: Actor,
    beside: Sequence[Writing],
    grant_id: UUID | None = None,
    release_at: datetime | None = None,
) -> Decided:
    """Write the row and the event with what goes with them."""
    with_row = (*beside, table_of([decision]))
    record_outside(proposal.run_id, [decided], actor=actor, now=decision.at, beside=with_row)
    verdict = Verdict(decision.verdict)
    said = (proposal.pk, verdict, proposal.version, proposal.digest, decision.at)
    return Decided(proposal, *said, grant_id, release_at)


def needs_note(reason_code: str, band_rank: int) -> bool:
    """Say whether a rejection for this reason, of a call of this risk, has to be explained in a note."""
    return reason_code in _NOTE_REASONS or band_rank >= Band.HIGH.rank


def _reject_issues(proposal: Proposal, reason_code: str, note: str, scope: str) -> list[Issue]:
    issues: list[Issue] = []
    if scope not in RejectScope.values:
        issues.append(Issue("/scope", "enum", "Choose how far it reaches."))
    if reason_code not in RejectReason.values:
        issues.append(Issue("/reason_code", "enum", "Choose a reason."))
    if needs_note(reason_code, proposal.band_rank) and not note.strip():
        issues.append(Issue("/note", "required", "Say in a note why: this reason or this risk needs one."))
    if len(note) > MAX_NOTE:
        issues.append(_too_long())
    return issues


def _too_long() -> Issue:
    return Issue("/note", "maxLength", f"Keep the note within {MAX_NOTE} characters.")
