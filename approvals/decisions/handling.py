"""What people do about an open proposal without deciding it: escalate it to seniors, and give it more time.

Each is a row that stays, a change of the proposal and an event, in one transaction under the run's lock. Whoever was
told that somebody else acts is never told a lie: an escalation keeps the deadline, and only an extension moves it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.tenancy.access import SYSTEM, Actor, can
from agentops.tenancy.models import Role
from agentops.wire.parse import JSONObject, clean_text
from approvals.decisions.editing import as_it_stands
from approvals.gating.gate import Gate
from approvals.models import Handling, Proposal, Status
from approvals.permits import policies
from approvals.proposals import freezing
from approvals.proposals.ending import locked, run_ended
from approvals.proposals.proposing import Frozen

MAX_REASON: Final = 300
MIN_REASON: Final = 5
MOST_EXTENSIONS: Final = 2
LONGEST_EXTENSION: Final = timedelta(hours=24)
EXTENSIONS_MIN: Final[tuple[tuple[int, str], ...]] = ((60, "1 hour"), (240, "4 hours"), (1440, "24 hours"))


@dataclass(frozen=True, slots=True)
class Handled:
    """It is recorded; `decide_by` is the deadline now."""

    proposal_id: UUID
    decide_by: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """There is nothing to be done about it any more."""

    status: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed: what is wrong with `field`."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class MayNot:
    """This actor does not decide proposals, or not this one."""

    rule: str


Outcome = Handled | Closed | Refused | MayNot


def escalate(*, proposal_id: UUID, actor: Actor, reason: str, now: datetime | None = None) -> Outcome:
    """Hand a proposal to the seniors: from now on only they decide it.

    Raises `Proposal.DoesNotExist` for an id of no proposal in the tenant.
    """
    if wrong := _wrong(actor, reason):
        return wrong
    moment = now or clock.now()
    with transaction.atomic():
        proposal = locked(proposal_id)
        if closed := _closed(proposal, moment):
            return closed
        if proposal.needs_role:
            return Refused("", "It has been escalated already.")
        raise_to_seniors(proposal, actor, clean_text(reason.strip()), moment)
        return Handled(proposal.pk, proposal.decide_by)


def raise_to_seniors(proposal: Proposal, actor: Actor, reason: str, now: datetime) -> None:
    """Let only seniors decide a pending proposal; must run under its lock."""
    Proposal.objects.filter(pk=proposal.pk).update(needs_role=Role.SENIOR)
    record(proposal, actor, Handling.Kind.ESCALATE, now, reason=reason)


def extend(*, proposal_id: UUID, actor: Actor, minutes: int, reason: str, now: datetime | None = None) -> Outcome:
    """Give people more time to decide, at most twice and at most a day at once. Raises like `escalate`."""
    if wrong := _wrong(actor, reason):
        return wrong
    if minutes not in dict(EXTENSIONS_MIN):
        return Refused("minutes", "Choose how much more time it gets.")
    moment = now or clock.now()
    with transaction.atomic():
        proposal = locked(proposal_id)
        if closed := _closed(proposal, moment):
            return closed
        if _ends_by_policy(proposal, moment):
            return Refused("minutes", "A rule of the policy says until when this is decided, and nobody extends that.")
        before = Handling.objects.filter(proposal=proposal, kind=Handling.Kind.EXTEND).count()
        if before >= MOST_EXTENSIONS:
            return Refused("minutes", f"It has been extended {MOST_EXTENSIONS} times; decide it, or escalate it.")
        more = timedelta(minutes=minutes)
        until = proposal.decide_by + more
        Proposal.objects.filter(pk=proposal.pk).update(
            decide_by=until, execute_by=proposal.execute_by + more, remind_at=moment + (until - moment) / 2
        )
        record(proposal, actor, Handling.Kind.EXTEND, moment, reason=clean_text(reason.strip()), until=until)
        return Handled(proposal.pk, until)


def _ends_by_policy(proposal: Proposal, now: datetime) -> bool:
    """Say whether a rule of the policy limits the time to decide this. One query where there are no rules."""
    if not policies.in_force(now).rules:
        return False
    found = as_it_stands(proposal, now=now)
    return isinstance(found, Frozen) and isinstance(found.verdict, Gate) and found.verdict.decide_within_s is not None


def record(
    proposal: Proposal,
    actor: Actor,
    kind: Handling.Kind,
    now: datetime,
    *,
    reason: str = "",
    until: datetime | None = None,
) -> None:
    """Write down what was done, and the event of it. Must run inside `atomic`."""
    Handling.objects.create(
        proposal=proposal,
        kind=kind,
        user_id=actor.user_id,
        version=proposal.version,
        at=now,
        reason=reason,
        until=until,
    )
    Proposal.objects.filter(pk=proposal.pk).update(handled=F("handled") + 1)
    data: JSONObject = {"run": str(proposal.run_id), "call_id": proposal.call_id, "version": proposal.version}
    if reason:
        data["reason"] = reason
    if until is not None:
        data["until"] = until.isoformat()
    named = {Handling.Kind.ESCALATE: "escalated", Handling.Kind.EXTEND: "extended", Handling.Kind.REMIND: "reminded"}
    record_in_tenant_stream(f"proposal.{named[kind]}", data, subject=("proposal", str(proposal.pk)), actor=actor)


def _wrong(actor: Actor, reason: str) -> Refused | MayNot | None:
    if actor.kind != "user" or not can(actor, "proposal.decide"):
        return MayNot("people_only" if actor.kind != "user" else "role")
    if not MIN_REASON <= len(reason.strip()) <= MAX_REASON:
        return Refused("reason", f"Say why, in {MIN_REASON} to {MAX_REASON} characters.")
    return None


def _closed(proposal: Proposal, now: datetime) -> Closed | None:
    if proposal.status != Status.PENDING:
        return Closed(proposal.status)
    if run_ended(proposal):
        return Closed(Status.WITHDRAWN)
    if proposal.decide_by <= now and freezing.overdue(proposal, now):
        return Closed(Status.EXPIRED)
    return None


SYSTEM_REASON: Final = "Most of its time has passed and nobody has decided."


def escalate_by_itself(proposal_id: UUID, now: datetime) -> bool:
    """Hand a proposal that nobody decides to the seniors; return whether it was this call that did."""
    with transaction.atomic():
        proposal = locked(proposal_id)
        if proposal.needs_role or _closed(proposal, now):
            return False
        raise_to_seniors(proposal, SYSTEM, SYSTEM_REASON, now)
        return True
