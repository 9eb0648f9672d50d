"""From a reference that somebody outside knows to who decided it, under which rule, and what ran."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from agentops.audit.models import EventTerm
from agentops.audit.selectors import together
from agentops.audit.terms import DIGEST, term
from agentops.engine.transitions import CallState
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import state_of
from agentops.wire.parse import JSON
from approvals.models import Decision, Grant, Proposal
from tools.contracts import action_digest

MOST: Final = 10
LONGEST: Final = 200
Call = tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class Traced:
    """One call that a reference leads to.

    `arguments` are those of the record, `approved` and `executed` digests (hex, empty where there is none); `executed`
    is computed again from the record. `decisions` come with their people, oldest first.
    """

    run: Run
    call_id: str
    tool: str
    version: str
    state: str
    code: str
    arguments: JSON
    output: JSON
    grant: Grant | None
    proposal: Proposal | None
    decisions: tuple[Decision, ...]
    approved: str
    executed: str

    @property
    def match(self) -> bool:
        """Whether what ran is what was approved."""
        return bool(self.executed) and self.executed == self.approved


def trace(text: str) -> list[Traced]:
    """Return the calls that an id, a digest or a reference of the open tenant scope stands for, 10 at most.

    Known are ids of runs, proposals and permissions, digests (12 digits or more), idempotency keys, what calls that
    change something name (an order) and what tools gave back for them. A run stands for such calls of it.
    """
    asked = text.strip()[:LONGEST]
    if not asked:
        return []
    found: dict[Call, None] = {}
    for call in (*_by_id(asked), *_by_term(asked)):
        found.setdefault(call)
    return _traced(list(found)[:MOST])


def _by_id(asked: str) -> Iterable[Call]:
    try:
        key = UUID(asked.removeprefix("run:"))
    except ValueError:
        return
    yield from Proposal.objects.filter(pk=key).values_list("run_id", "call_id")
    yield from Grant.objects.filter(pk=key).values_list("run_id", "call_id")
    changing = ~Q(effect__in=["", "read"])
    yield from ToolCall.objects.filter(changing, run_id=key).order_by("pk").values_list("run_id", "call_id")[:MOST]


def _by_term(asked: str) -> Iterable[Call]:
    wanted = [term("ref", asked)]
    digits = asked.removeprefix("sha256:").lower()
    if len(digits) >= DIGEST and not set(digits) - set("0123456789abcdef"):
        wanted.append(term("digest", digits))
    terms = EventTerm.objects.filter(term__in=wanted).order_by("-event_id").select_related("event")
    for one in terms[: 2 * MOST]:
        for event in together(one.event):
            call_id = event.data.get("call_id")
            if event.run_id is not None and isinstance(call_id, str):
                yield event.run_id, call_id


def _traced(calls: list[Call]) -> list[Traced]:
    runs = Run.objects.select_related("task_type").in_bulk({run for run, _ in calls})
    grants = {(one.run_id, one.call_id): one for one in Grant.objects.filter(run_id__in=runs)}
    proposals: dict[Call, Proposal] = {}
    for row in Proposal.objects.filter(run_id__in=runs).order_by("created_at"):
        proposals[row.run_id, row.call_id] = row
    mine = [proposals[call].pk for call in calls if call in proposals]
    decisions: dict[Any, list[Decision]] = {}
    for decision in Decision.objects.filter(proposal_id__in=mine).select_related("user").order_by("at"):
        decisions.setdefault(decision.proposal_id, []).append(decision)
    states = {run_id: state_of(run_id) for run_id in runs}
    found: list[Traced] = []
    for run_id, call_id in calls:
        run, call = runs.get(run_id), states[run_id].calls.get(call_id) if run_id in states else None
        if run is None or call is None:
            continue
        proposal, grant = proposals.get((run_id, call_id)), grants.get((run_id, call_id))
        executed = ""
        if call.state is CallState.SUCCEEDED:
            executed = action_digest(
                tenant_id=run.tenant_id, tool=call.tool, version=call.version, arguments=call.arguments
            )
        found.append(
            Traced(
                run=run,
                call_id=call_id,
                tool=call.tool,
                version=call.version,
                state=call.state.value,
                code=call.code,
                arguments=call.arguments,
                output=call.output,
                grant=grant,
                proposal=proposal,
                decisions=tuple(decisions.get(proposal.pk, ())) if proposal is not None else (),
                approved=grant.digest if grant is not None else "",
                executed=executed,
            )
        )
    return found
