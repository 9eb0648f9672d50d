"""What the human side adds to what events are found by: whose proposal it is, what a call names, what came back."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from agentops.audit.services import Recorded
from agentops.audit.terms import term
from agentops.runs.models import ToolCall
from agentops.wire.parse import JSON
from approvals.models import Grant, Proposal
from approvals.values.leaves import leaves
from tools.contracts import Effect

MOST_REFERENCES: Final = 10
_SHORTEST: Final = 4
_LONGEST: Final = 100
_ENDED: Final = ("call.succeeded", "call.unknown", "call.reconciled")
Call = tuple[UUID, str]


def describe(events: Sequence[Recorded]) -> list[list[str]]:
    """Return for each event the terms it has because of proposals, calls and grants. At most three queries."""
    proposals = _proposals(events)
    writes = _writes(events)
    covered = _covered(writes)
    return [[*_of_proposal(event, proposals), *_named(event), *_of_call(event, writes, covered)] for event in events]


def _proposals(events: Sequence[Recorded]) -> dict[str, dict[str, Any]]:
    ids = {one for event in events if (one := _uuid(event.data.get("proposal_id"))) is not None}
    if not ids:
        return {}
    fields = ("id", "risk_band", "policy_rule", "task_type__slug", "tainted", "requested_by_id")
    return {str(row["id"]): row for row in Proposal.objects.filter(pk__in=ids).values(*fields)}


def _of_proposal(event: Recorded, proposals: dict[str, dict[str, Any]]) -> Iterator[str]:
    row = proposals.get(str(event.data.get("proposal_id")))
    if row is None:
        return
    yield term("band", row["risk_band"])
    yield term("policy", row["policy_rule"])
    yield term("task", row["task_type__slug"])
    yield term("taint", "yes" if row["tainted"] else "no")
    mine = row["requested_by_id"] is not None and str(row["requested_by_id"]) == event.actor.get("id")
    if mine and event.type == "proposal.decided" and event.actor.get("kind") == "user":
        yield "is:self"


def _writes(events: Sequence[Recorded]) -> set[Call]:
    """Return which of the calls that ended, or may have, change something."""
    calls = {call for event in events if event.type in _ENDED and (call := _call(event)) is not None}
    if not calls:
        return set()
    rows = ToolCall.objects.filter(run_id__in={run for run, _ in calls}).exclude(effect=Effect.READ.value)
    return calls & set(rows.values_list("run_id", "call_id"))


def _covered(writes: set[Call]) -> set[Call]:
    """Return those for which a permission was used up."""
    if not writes:
        return set()
    used = Grant.objects.filter(run_id__in={run for run, _ in writes}, consumed_at__isnull=False)
    return writes & set(used.values_list("run_id", "call_id"))


def _named(event: Recorded) -> Iterator[str]:
    """Yield what a call that changes something names, such as an order, as planned and as a person changed it."""
    chosen = event.type == "call.selected" and event.data.get("effect") != Effect.READ.value
    if chosen or event.type == "proposal.decided":
        for text in list(_texts(event.data.get("arguments")))[:MOST_REFERENCES]:
            yield term("ref", text)


def _of_call(event: Recorded, writes: set[Call], covered: set[Call]) -> Iterator[str]:
    call = _call(event) if event.type in _ENDED else None
    if call is None or call not in writes:
        return
    found = event.data.get("output") if event.type == "call.succeeded" else event.data.get("reference")
    for text in list(_texts(found))[:MOST_REFERENCES]:
        yield term("ref", text)
    happened = event.type == "call.succeeded" or event.data.get("verdict") == "happened"
    if happened and call not in covered:
        yield "is:orphan"


def _texts(value: JSON) -> Iterator[str]:
    """Yield the leaves that could be the name somebody else gave to what was done: short, one word, with a digit."""
    for _, leaf in leaves(value):
        if isinstance(leaf, str):
            short = _SHORTEST <= len(leaf) <= _LONGEST and not any(c.isspace() for c in leaf)
            if short and any(c.isdigit() for c in leaf):
                yield leaf


def _call(event: Recorded) -> Call | None:
    call_id = event.data.get("call_id")
    return (event.run_id, call_id) if event.run_id is not None and isinstance(call_id, str) else None


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
