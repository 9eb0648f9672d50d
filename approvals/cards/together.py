"""The calls of one run that wait at the same time, and what its plan would do after them. One query and no decision.

A step of a plan may make several calls, and their arguments are known before any of them runs: whoever decides one
should see the others, and may decide them one by one on the same page. A decision is always about one call.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.urls import reverse

from agentops.engine.plan import Step
from agentops.engine.state import State
from agentops.tenancy.prepared import Query
from approvals.models import Proposal, Status

MOST: Final = 25


@dataclass(frozen=True, slots=True)
class Later:
    """A step the plan has not come to: its tools, and its condition if it has one."""

    id: str
    tools: tuple[str, ...]
    when: str


def waiting_with(proposal: Proposal) -> list[Proposal]:
    """Return every open proposal of the run in the order they were made, this one among them while it is open."""
    return _WAITING(proposal.run_id)


_WAITING: Final = Query(
    lambda run: (
        Proposal.objects.filter(run_id=run, status=Status.PENDING)
        .only("tenant", "sentence", "risk_band", "risk_score", "tainted", "step_id")
        .order_by("created_at", "id")[:MOST]
    )
)


def open_in(run_id: UUID) -> list[Proposal]:
    """Return every open proposal of a run with what its card names, in the order they were made."""
    related = ("task_type", "requested_by", "decided_by", "run", "tenant")
    found = Proposal.objects.select_related(*related).filter(run_id=run_id, status=Status.PENDING)
    return list(found.order_by("created_at", "id")[:MOST])


def others(proposal: Proposal, waiting: list[Proposal]) -> list[dict[str, Any]]:
    """Return the other calls that wait: {url, sentence_parts, band, score, tainted, step}."""
    return [
        {
            "url": reverse("proposal", args=[one.pk]),
            "sentence_parts": one.sentence,
            "band": one.risk_band,
            "score": one.risk_score,
            "tainted": one.tainted,
            "step": one.step_id,
        }
        for one in waiting
        if one.pk != proposal.pk
    ]


def later_steps(state: State) -> list[Later]:
    """Return the steps after the one that is open, as the plan has them; conditions are not evaluated."""
    if state.plan is None:
        return []
    return [_later(step) for step in state.plan.steps[state.cursor + 1 :]]


def _later(step: Step) -> Later:
    return Later(step.id, tuple(call.tool for call in step.calls), step.when)
