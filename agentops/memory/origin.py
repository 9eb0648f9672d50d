"""Where a proposed statement comes from, read from the recorded events of the run that proposes it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from agentops.engine.events import CallSelected, Event, ProposalAnswered, ProposalDecided, Stamped
from agentops.engine.folding import fold
from agentops.engine.state import State
from agentops.engine.transitions import CallState
from agentops.guardrails.provenance import Integrity, Provenance, SourceKind, join
from agentops.runs.recording import load
from agentops.wire.parse import JSON

STATEMENT: Final = "/statement"
RECALL: Final = "memory.recall"
_Holding = CallSelected | ProposalDecided | ProposalAnswered
UNVOUCHED: Final = Provenance((), Integrity.UNTRUSTED)
"""Of a statement that nobody said anything about."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who wrote a statement and where: planner, the seq of the event that holds it as it ran, and its provenance.

    `recalled` are the ids of the facts it may have been made from.
    """

    author: str
    seq: int
    provenance: Provenance
    recalled: frozenset[int]


def origin_of(run_id: UUID, call_id: str) -> Origin | None:
    """Return the origin of the statement of a recorded call, None when the run has no such call. One query.

    Reads and folds all events of the run.
    """
    return origin_in(load(run_id), call_id)


def arguments_of(run_id: UUID, call_id: str) -> Provenance | None:
    """Return where all arguments of a call that is under way come from, joined; None for any other call.

    Reads and folds all events of the run.
    """
    return arguments_in(load(run_id), call_id)


def arguments_in(events: list[Stamped], call_id: str) -> Provenance | None:
    """Return the same of a call among these events. What was changed still descends from what stood there before."""
    call = fold(events).calls.get(call_id)
    if call is None or call.state is not CallState.EXECUTING:
        return None
    written = [list(_all_of(one.event)) or [UNVOUCHED] for one in events if _holds_arguments(one, call_id)]
    return join(part for parts in written for part in parts)


def _all_of(event: Event) -> Iterator[Provenance]:
    known = event.provenance if isinstance(event, _Holding) else {}
    return (Provenance.from_json(raw) for raw in known.values())


def origin_in(events: list[Stamped], call_id: str) -> Origin | None:
    """Return the origin of the statement of a call among these events. Pure."""
    state = fold(events)
    written = [stamped for stamped in events if _holds_arguments(stamped, call_id)]
    if not written or state.submitted is None:
        return None
    came_from = join(_provenance(stamped.event) for stamped in written)
    return Origin(
        author=_planner(state),
        seq=written[-1].seq,
        provenance=came_from,
        recalled=frozenset(_recalled(state, came_from)),
    )


def _provenance(event: Event) -> Provenance:
    """Return what covers the statement in an event that holds it; what nothing covers is untrusted.

    A statement that a reviewer has changed, or the agent when it was asked, still descends from what stood there
    before, so all these events count.
    """
    known = event.provenance if isinstance(event, _Holding) else {}
    found = [Provenance.from_json(known[path]) for path in (STATEMENT, "") if path in known]
    return join(found) if found else UNVOUCHED


def _planner(state: State) -> str:
    plan = state.plan
    return plan.planner if plan is not None else ""


def _holds_arguments(stamped: Stamped, call_id: str) -> bool:
    """Whether the call's arguments stand in this event: its selection, or a reviewer's or the agent's change of it."""
    match stamped.event:
        case CallSelected(call_id=found) | ProposalDecided(call_id=found, verdict="edit"):
            return found == call_id
        case ProposalAnswered(call_id=found, digest=digest) if digest:
            return found == call_id
        case _:
            return False


def _recalled(state: State, came_from: Provenance) -> Iterator[int]:
    """Yield the facts a statement may descend from.

    A value filled in from a recall names the call it came from. What a model wrote names no call, so everything the
    run had recalled counts.
    """
    named = {source.ref for source in came_from.sources if source.kind is SourceKind.TOOL}
    by_model = any(source.kind is SourceKind.MODEL for source in came_from.sources)
    for call in state.calls.values():
        recalled = call.tool == RECALL and call.state is CallState.SUCCEEDED
        if recalled and (by_model or f"{call.tool}:{call.call_id}" in named):
            yield from _ids(call.output)


def _ids(output: JSON) -> Iterable[int]:
    facts = output.get("facts") if isinstance(output, dict) else None
    for fact in facts if isinstance(facts, list) else ():
        if isinstance(fact, dict) and isinstance(fact_id := fact.get("fact_id"), int):
            yield fact_id
