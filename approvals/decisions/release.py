"""The release delay: an approved call does not start before its moment, and until then the approval can be taken back.

It is a real delay, not a compensation afterwards. The moment stands in the grant, which the executor refuses to consume
before it, and in the event, from which the engine knows when to try.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.engine.events import ProposalUndone
from agentops.runs.recording import record_outside
from agentops.tenancy.access import Actor, can
from agentops.tenancy.prepared import Query
from approvals.assessing.ladder import Rung
from approvals.decisions import quorum
from approvals.gating.gate import Gate
from approvals.models import Decision, Grant, Preference, Proposal, Status, Verdict
from approvals.proposals.ending import locked, run_ended
from approvals.proposals.outcomes import Forbidden
from approvals.proposals.proposing import deadlines

SENIOR: Final = "senior"


@dataclass(frozen=True, slots=True)
class Undone:
    """The approval is taken back; the proposal waits again, until `decide_by` at the latest."""

    proposal_id: UUID
    version: int
    decide_by: datetime


@dataclass(frozen=True, slots=True)
class Released:
    """There is nothing to take back any more: it has started, was rejected, expired, or its run has ended."""

    status: str
    release_at: datetime | None


def release_at(rung: Rung, actor: Actor, now: datetime) -> datetime | None:
    """Return before which moment a call approved now does not start; None where there is no delay.

    Whoever wants more time to think gets it, so that nobody has to race. One query, unless the delay is the longest.
    """
    if not rung.release_s:
        return None
    wanted = max((undo_s for (undo_s,) in _WANTED(actor.user_id or 0)), default=0)
    return now + timedelta(seconds=max(rung.release_s, wanted))


_WANTED: Final = Query(lambda user: Preference.objects.filter(user_id=user).values_list("undo_s"))


def may_take_back(proposal: Proposal, actor: Actor, now: datetime) -> bool:
    """Say whether this person could take an approval of this proposal back now. Queries only if there is one."""
    if actor.user_id is None or not can(actor, "proposal.decide"):
        return False
    if proposal.status == Status.PENDING:
        return bool(proposal.votes) and _mine(proposal, actor) is not None
    if proposal.status != Status.APPROVED or proposal.release_at is None or proposal.release_at <= now:
        return False
    return SENIOR in actor.roles or _mine(proposal, actor) is not None


def undo(*, proposal_id: UUID, actor: Actor, now: datetime | None = None) -> Undone | Released | Forbidden:
    """Take an approval back before its call could start, or one's own vote before enough people agreed.

    For whoever approved it, and for seniors. The grant goes, the proposal waits again as it was approved; what the
    deadline had left when it was approved is given back. Raises `Proposal.DoesNotExist` for an id of no proposal in the
    tenant.
    """
    moment = now or clock.now()
    if actor.kind != "user" or actor.user_id is None:
        return Forbidden("people_only")
    if not can(actor, "proposal.decide"):
        return Forbidden("role")
    with transaction.atomic():
        proposal = locked(proposal_id)
        mine = _mine(proposal, actor)
        if proposal.status == Status.PENDING and mine is not None:
            return _take_back_vote(proposal, mine, actor, moment)
        over = proposal.release_at is None or proposal.release_at <= moment or run_ended(proposal)
        if proposal.status != Status.APPROVED or over:
            return Released(proposal.status, proposal.release_at)
        if mine is None and SENIOR not in actor.roles:
            return Forbidden("not_yours")
        return _take_back(proposal, mine, actor, moment)


def reopen(proposal: Proposal, wanted: Gate, *, now: datetime) -> None:
    """Put an approved call before people again, because the policy asks for more of them, or others, than approved it.

    The approval that closed it is void; those of others before it count on, if they have the role that is asked for.
    Must run in the transaction that records the `proposal.undone` event, under the run's lock.
    """
    if not Grant.objects.filter(proposal=proposal, consumed_at__isnull=True).delete()[0]:
        raise GrantUsed
    Decision.objects.filter(proposal=proposal, final=True, undone_at__isnull=True).update(undone_at=now)
    if wanted.role:
        quorum.void_without(proposal, wanted.role, now=now)
    waited = now - proposal.decided_at if proposal.decided_at is not None else timedelta(0)
    left = proposal.decide_by + waited - now
    within = timedelta(seconds=wanted.decide_within_s) if wanted.decide_within_s is not None else left
    Proposal.objects.filter(pk=proposal.pk).update(
        status=Status.PENDING,
        decided_at=None,
        decided_by=None,
        release_at=None,
        quorum=wanted.quorum,
        needs_role=wanted.role or proposal.needs_role,
        policy_rule=wanted.rule,
        policy_version=wanted.policy_version,
        reasons=list(wanted.reasons),
        **deadlines(now, int(min(left, within).total_seconds()), proposal.task_type.execute_within_s),
    )


class GrantUsed(Exception):
    """The permission that was to be taken back has been used."""


def _mine(proposal: Proposal, actor: Actor) -> Decision | None:
    return next(iter(_GIVEN(proposal.pk, proposal.version, actor.user_id or 0)), None)


def _given(proposal: Any, version: Any, user: Any) -> "QuerySet[Decision]":
    given = Decision.objects.filter(proposal_id=proposal, version=version, user_id=user, undone_at__isnull=True)
    return given.exclude(verdict=Verdict.REJECT).order_by("pk")[:1]


_GIVEN: Final = Query(_given)


def _take_back_vote(proposal: Proposal, vote: Decision, actor: Actor, now: datetime) -> Undone:
    Decision.objects.filter(pk=vote.pk).update(undone_at=now)
    record_in_tenant_stream(
        "proposal.vote_taken_back",
        {"run": str(proposal.run_id), "call_id": proposal.call_id, "version": proposal.version},
        subject=("proposal", str(proposal.pk)),
        actor=actor,
    )
    return Undone(proposal.pk, proposal.version, proposal.decide_by)


def _take_back(proposal: Proposal, mine: Decision | None, actor: Actor, now: datetime) -> Undone | Released:
    if not Grant.objects.filter(proposal=proposal, consumed_at__isnull=True).delete()[0]:
        return Released(proposal.status, proposal.release_at)
    final = Decision.objects.filter(proposal=proposal, final=True, undone_at__isnull=True)
    final.update(undone_at=now)
    if mine is not None and not mine.final:
        Decision.objects.filter(pk=mine.pk).update(undone_at=now)
    waited = now - proposal.decided_at if proposal.decided_at is not None else timedelta(0)
    decide_by = proposal.decide_by + waited
    Proposal.objects.filter(pk=proposal.pk).update(
        status=Status.PENDING,
        decided_at=None,
        decided_by=None,
        release_at=None,
        decide_by=decide_by,
        execute_by=decide_by + timedelta(seconds=proposal.task_type.execute_within_s),
        remind_at=F("remind_at") + waited,
    )
    undone = ProposalUndone(str(proposal.pk), proposal.call_id, proposal.version, actor.name)
    record_outside(proposal.run_id, [undone], actor=actor, now=now)
    return Undone(proposal.pk, proposal.version, decide_by)
