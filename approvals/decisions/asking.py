"""Ask the agent about a proposal: the question is an event of the run, and the run's worker has it answered.

Nothing waits for the answer here, and the deadline goes on. The answer is one more event (`engine.questions`): text of
the agent's, shown as such, or a new version of the proposal, for which approvals given so far do not count.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from agentops import clock
from agentops.engine.events import ProposalAsked
from agentops.engine.questions import MAX_QUESTIONS, MAX_ROUNDS, answered, open_one
from agentops.engine.state import Call
from agentops.runs.recording import record_outside, state_of
from agentops.tenancy.access import Actor
from agentops.wire.parse import clean_text
from approvals.models import Proposal
from approvals.proposals.opening import opened_for
from approvals.proposals.outcomes import Asked, Forbidden, Invalid, Leased, TooLate
from tools.schema import Issue

MIN_QUESTION: Final = 5
MAX_QUESTION: Final = 1_000

Outcome = Asked | TooLate | Forbidden | Leased | Invalid


def ask(
    *, proposal_id: UUID, actor: Actor, version: int, digest: str, question: str, now: datetime | None = None
) -> Outcome:
    """Put a question to the agent about what was shown, and wake its run.

    One question at a time, three that are answered. Raises `Proposal.DoesNotExist` for an id of no proposal in the
    tenant.
    """
    moment, said = now or clock.now(), clean_text(question.strip())
    with transaction.atomic():
        opened = opened_for(proposal_id, actor, version, digest, moment)
        if not isinstance(opened, Proposal):
            return opened
        call = state_of(opened.run_id).calls[opened.call_id]
        if issue := _issue(call, said):
            return Invalid((Issue("/question", *issue),))
        asked = ProposalAsked(
            proposal_id=str(opened.pk),
            call_id=opened.call_id,
            version=opened.version,
            round=len(call.questions) + 1,
            by=actor.name,
            question=said,
        )
        record_outside(opened.run_id, [asked], actor=actor, now=moment)
        return Asked(opened.pk, asked.round)


def _issue(call: Call, question: str) -> tuple[str, str] | None:
    if len(question) < MIN_QUESTION:
        return "required", "Write a question."
    if len(question) > MAX_QUESTION:
        return "maxLength", f"Keep the question within {MAX_QUESTION} characters."
    if open_one(call) is not None:
        return "open", "A question is being answered. Wait for it."
    if answered(call) >= MAX_ROUNDS:
        return "rounds", f"The agent has answered {MAX_ROUNDS} questions about this. Decide it, or escalate it."
    if len(call.questions) >= MAX_QUESTIONS:
        return "rounds", f"{MAX_QUESTIONS} questions were asked about this. Decide it, or escalate it."
    return None
