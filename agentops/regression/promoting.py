"""Make a case of a recorded run: what it was asked, what tools, models and people answered, how it ended. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from agentops.engine.events import (
    CallConfirmed,
    CallFailed,
    CallProposed,
    CallReconciled,
    CallSucceeded,
    CallUnknown,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalDecided,
    ProposalExpired,
    Stamped,
)
from agentops.engine.folding import fold
from agentops.engine.state import State
from agentops.engine.transitions import CallState, RunState
from agentops.regression.cases import Case
from agentops.wire.parse import JSONObject

MAX_TITLE: Final = 200


class NotPromotable(ValueError):
    """A run cannot become a case, in a sentence that says why."""


@dataclass
class _Script:
    tools: list[dict[str, Any]] = field(default_factory=list)
    model: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)


def case_of_run(events: Sequence[Stamped], *, case_id: str, title: str) -> Case:
    """Promote a run: a run that ended well has to end the same way again, one that failed has to succeed.

    Raises NotPromotable for a run that has not ended, or whose record holds what a case cannot script.
    """
    state = fold(events)
    if not state.state.terminal:
        raise NotPromotable("The run has not ended yet.")
    expect: dict[str, Any] = {"state": "succeeded"}
    if state.state is RunState.SUCCEEDED:
        expect |= {
            "calls": [_expected(call) for call in state.calls.values()],
            "approvals": _asked(events, state),
            "answer": {"equals": state.answer},
            "steps_at_most": state.steps_used,
        }
    return _case(events, state, expect, case_id, title)


def case_of_rejection(events: Sequence[Stamped], proposal_id: str, *, case_id: str, title: str) -> Case:
    """Make a case of a call that a person has rejected: it must not be proposed again with these arguments.

    Raises NotPromotable for a run that has not ended, and for a proposal that nobody has rejected.
    """
    state = fold(events)
    call = next((one for one in state.calls.values() if one.proposal_id == proposal_id), None)
    if call is None or call.state is not CallState.REJECTED:
        raise NotPromotable("Nobody has rejected this proposal.")
    if not state.state.terminal:
        raise NotPromotable("The run has not ended yet.")
    expect = {"state": "succeeded", "never": [{"tool": call.tool, "arguments": call.arguments}]}
    return _case(events, state, expect, case_id, title)


def slug_of(*parts: str) -> str:
    """Make an id of a case out of words and the tail of an id."""
    joined = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    return joined[-80:].strip("-") or "case"


def _case(events: Sequence[Stamped], state: State, expect: dict[str, Any], case_id: str, title: str) -> Case:
    if state.submitted is None:
        raise NotPromotable("The record has no task.")
    script = _script(events, state)
    written = {
        "id": case_id,
        "title": (title.strip() or case_id)[:MAX_TITLE],
        "input": state.submitted.input,
        "tools": script.tools,
        "model": script.model,
        "decisions": script.decisions,
        "expect": expect,
    }
    try:
        return Case.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"/{part}" for part in first["loc"])
        raise NotPromotable(f"Its record does not fit a case: {where or '/'}: {first['msg']}.") from error


def _expected(call: Any) -> dict[str, Any]:
    return {"tool": call.tool, "step": call.step_id, "arguments": call.arguments, "outcome": call.state.value}


def _asked(events: Sequence[Stamped], state: State) -> list[str]:
    return [state.calls[s.event.call_id].tool for s in events if isinstance(s.event, CallProposed)]


def _script(events: Sequence[Stamped], state: State) -> _Script:
    found = _Script()
    open_unknown: dict[str, dict[str, Any]] = {}
    answers: dict[str, dict[str, Any]] = {}
    for stamped in events:
        match stamped.event:
            case PlanMade() as plan if plan.planner.startswith("model:"):
                found.model.append({"plan": plan.plan})
            case PlanFinished(answer=answer) as finished if finished.planner.startswith("model:"):
                found.model.append({"finished": answer})
            case PlanFailed() as failed if failed.planner.startswith("model:"):
                found.model.append({"failed": failed.code[:300]})
            case CallSucceeded(call_id=call_id, output=output):
                given = _answer(state, call_id) | {"output": output}
                answers[call_id] = given
                found.tools.append(given)
            case CallFailed(call_id=call_id, code=code, message=message) if code != "breaker_open":
                found.tools.append(_answer(state, call_id) | {"error": {"code": code, "message": message}})
            case CallUnknown(call_id=call_id, message=message) if call_id not in open_unknown:
                given = _answer(state, call_id) | {"unknown": message}
                open_unknown[call_id] = answers[call_id] = given
                found.tools.append(given)
            case CallReconciled(call_id=call_id, verdict=verdict, output=output):
                _settled(open_unknown.pop(call_id, None), verdict, output)
            case CallConfirmed(call_id=call_id, verdict=verdict) if verdict != "confirmed" and call_id in answers:
                answers[call_id]["read_back"] = verdict
            case ProposalDecided() as decided:
                found.decisions.append(_decision(state, decided))
            case ProposalExpired(call_id=call_id):
                found.decisions.append({"tool": state.calls[call_id].tool, "verdict": "expire"})
            case _:
                pass
    return found


def _answer(state: State, call_id: str) -> dict[str, Any]:
    call = state.calls[call_id]
    return {"tool": call.tool, "arguments": call.arguments}


def _settled(answer: dict[str, Any] | None, verdict: str, output: Any) -> None:
    if answer is None:
        return
    answer["reconciled"] = verdict if verdict in ("happened", "did_not_happen") else "cannot_tell"
    if verdict == "happened" and isinstance(output, dict):
        answer["output"] = output


def _decision(state: State, decided: ProposalDecided) -> JSONObject:
    found: JSONObject = {"tool": state.calls[decided.call_id].tool, "verdict": decided.verdict, "note": decided.note}
    if decided.verdict == "edit":
        found["arguments"] = decided.arguments
    if decided.verdict == "reject":
        found |= {"reason": decided.reason_code, "scope": decided.scope, "retry": decided.retry != "no"}
    return found
