"""What people have asked the agent about a proposal, for its card."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agentops.engine.questions import MAX_QUESTIONS, MAX_ROUNDS
from agentops.engine.state import Question, State
from agentops.runs.timeline import planner_words
from agentops.tenancy.people import by_account
from agentops.wire.parse import JSON
from approvals.models import Proposal, Status
from approvals.values import rendering

MOST_CHANGES: Final = 20


def questions_of(proposal: Proposal, state: State) -> list[dict[str, Any]]:
    """Return the questions, oldest first. One query for who asked, none without questions.

    {round, by, text, asked_at, outcome, answer, answered_by, by_plan, label, code, refused, changes [{path, text}]}:
    `outcome` is open, answered, unanswered or dropped, `label` the chip of the answer.
    """
    asked = _asked(proposal, state)
    names = by_account(one.by for one in asked)
    return [_shown(one, names.get(one.by, one.by)) for one in asked]


def asking(proposal: Proposal, state: State) -> dict[str, Any]:
    """Return whether another question can be asked: {open, may, left}; `left` are the answers there can still be."""
    asked = _asked(proposal, state)
    is_open = bool(asked) and asked[-1].outcome == "open"
    left = MAX_ROUNDS - sum(one.outcome == "answered" for one in asked)
    may = proposal.status == Status.PENDING and not is_open and left > 0 and len(asked) < MAX_QUESTIONS
    return {"open": is_open, "may": may, "left": left}


def _asked(proposal: Proposal, state: State) -> tuple[Question, ...]:
    call = state.calls.get(proposal.call_id)
    return call.questions if call is not None and call.proposal_id == str(proposal.pk) else ()


def _shown(one: Question, by: str) -> dict[str, Any]:
    by_plan = not one.answered_by.startswith("model:")
    return {
        "round": one.round,
        "by": by,
        "text": one.text,
        "asked_at": one.asked_at,
        "outcome": one.outcome,
        "answer": one.answer,
        "answered_by": planner_words(one.answered_by),
        "by_plan": by_plan,
        "label": "untrusted" if one.tainted else "system" if by_plan else "agent",
        "code": one.code.replace("_", " "),
        "refused": one.refused,
        "changes": changes_of(one.changed),
    }


def changes_of(patch: Iterable[Mapping[str, JSON]]) -> list[dict[str, str]]:
    """Return what a JSON Patch (RFC 6902) changes, as a path and a text for each."""
    changes = []
    for one in patch:
        value = "taken out" if one.get("op") == "remove" else rendering.leaf(one.get("value"))
        changes.append({"path": str(one.get("path", "")), "text": value})
    return changes[:MOST_CHANGES]
