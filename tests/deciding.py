"""A diligent person: opens the card, reads it, opens every section, picks the true values, says why, and then decides.

Everything a browser would bring back is made here as the server makes it, so tests about something else than friction
decide with one call. What the gates refuse is tested in `tests/approvals/decisions/test_friction.py`.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agentops import clock
from agentops.engine.events import CallStarted, CallUnknown, Event, RunClaimed, RunWaiting
from agentops.proving import Proved
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.prepared import Query
from approvals import services
from approvals.assessing.ladder import SECTIONS, rung_of
from approvals.decisions import friction
from approvals.decisions.friction import Evidence
from approvals.decisions.sight import Sight, look
from approvals.models import Grant, Proposal, Viewing
from approvals.services import Outcome

READING: Final = timedelta(seconds=60)
WHY: Final = "Checked against our own records of the order."


def seen_card(proposal: Proposal, actor: Actor, *, now: datetime | None = None, **changes: Any) -> Sight:
    """Return a card that this person opened a minute ago, every section of which they have opened since."""
    moment = now or clock.now()
    plain = look(proposal, actor, now=moment - READING)
    sight = Sight(**({name: getattr(plain, name) for name in Sight.__slots__} | changes))
    if actor.user_id is not None:
        Viewing.objects.create(
            id=sight.id,
            proposal=proposal,
            user_id=actor.user_id,
            version=sight.version,
            opened=dict.fromkeys(SECTIONS, moment.isoformat()),
        )
    return sight


def evidence(proposal: Proposal, actor: Actor, *, now: datetime | None = None, **changes: Any) -> Evidence:
    """Return what a diligent person brings back; `changes` are of the card (`Sight`)."""
    sight = seen_card(proposal, actor, now=now, **changes)
    asked = friction.asked(proposal, sight, rung_of(proposal.risk_band))
    return Evidence(
        token=sight.token(),
        answers={question.path: question.answer for question in asked},
        facts=tuple(proposal.argument_values)[:2],
        proved=Proved(now or clock.now()),
    )


_SHOWN: Final = Query(lambda pk: Proposal.objects.filter(pk=pk))


def _ready(
    proposal_id: UUID, actor: Actor, version: int, digest: str, note: str, now: datetime | None
) -> tuple[Evidence, str]:
    found = _SHOWN(proposal_id)
    if not found:
        raise Proposal.DoesNotExist
    proposal = found[0]
    long_enough = note or (WHY if rung_of(proposal.risk_band).approvers > 1 else "")
    return evidence(proposal, actor, now=now, version=version, digest=digest), long_enough


def approve(
    *, proposal_id: UUID, actor: Actor, version: int, digest: str, note: str = "", now: datetime | None = None
) -> Outcome:
    """Approve with everything the band asks for."""
    brought, said = _ready(proposal_id, actor, version, digest, note, now)
    return services.approve(
        proposal_id=proposal_id, actor=actor, version=version, digest=digest, note=said, evidence=brought, now=now
    )


def edit_and_approve(
    *,
    proposal_id: UUID,
    actor: Actor,
    version: int,
    digest: str,
    arguments: Any,
    note: str = "",
    now: datetime | None = None,
) -> Outcome:
    """Edit and approve with everything the band asks for."""
    brought, said = _ready(proposal_id, actor, version, digest, note, now)
    return services.edit_and_approve(
        proposal_id=proposal_id,
        actor=actor,
        version=version,
        digest=digest,
        arguments=arguments,
        note=said,
        evidence=brought,
        now=now,
    )


def posted(proposal: Proposal, actor: Actor, *, now: datetime | None = None) -> dict[str, str | list[str]]:
    """Return the fields that a diligent person's form sends along with a verdict."""
    brought = evidence(proposal, actor, now=now)
    return {
        "view_token": brought.token,
        "fact": list(brought.facts),
        **{f"attest:{path}": answer for path, answer in brought.answers.items()},
    }


WORKER_7 = Actor("worker", "w7", "Worker")


def lose_the_answer(proposal: Proposal) -> None:
    """Let worker w7 die inside the call of an approved proposal, and the tool not be able to tell what became of it."""
    call = state_of(proposal.run_id).calls[proposal.call_id]
    Grant.objects.filter(proposal=proposal).update(consumed_at=timezone.now())
    lost: list[Event] = [
        RunClaimed("w7", 1),
        CallStarted(call.call_id, call.grant_id, 1),
        CallUnknown(call.call_id, "the connection broke"),
        CallUnknown(call.call_id, "no entry under this key", asked=True),
        RunWaiting("awaiting_reconciliation"),
    ]
    with transaction.atomic():
        record_outside(proposal.run_id, lost, actor=WORKER_7, now=timezone.now())
