"""What proves that what ran is what was approved. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from agentops.audit.services import Recorded
from agentops.engine.events import CallReconciled, CallSucceeded
from agentops.engine.transitions import CallState
from agentops.runs.timeline import Told
from agentops.wire.parse import JSON
from approvals.models import Decision, Proposal, Status
from approvals.values import rendering
from tools.contracts import action_digest


def receipt_of(
    proposal: Proposal, decision: Decision | None, told: Told, recorded: Sequence[Recorded]
) -> dict[str, Any] | None:
    """Return what proves that what ran is what was approved, once it was approved.

    The executed digest is computed again from the arguments in the run's record, not copied from anywhere. `predicted`
    is what the reviewer was told would happen, `actual` the paths of what the tool has answered (`rendering.paths`).
    Of a rejection it says that nothing ran, why, and how far the no reaches: {rejected {digest, reason, note, reach,
    again, at}}.
    """
    if proposal.status == Status.REJECTED and decision is not None:
        return {"rejected": _rejected(decision)}
    if proposal.status != Status.APPROVED or decision is None:
        return None
    receipt: dict[str, Any] = {
        "approved_digest": decision.digest,
        "executed_digest": "",
        "match": False,
        "outcome": "",
        "provider_ref": "",
        "executed_at": None,
        "predicted": str(proposal.consequence.get("summary", "")),
        "actual": None,
    }
    call = told.state.calls.get(proposal.call_id)
    if call is None or call.state in (CallState.PROPOSED, CallState.GRANTED):
        return receipt
    receipt["outcome"] = call.state.value if not call.code else f"{call.state.value}: {call.code}"
    if call.state is CallState.SUCCEEDED:
        executed = action_digest(
            tenant_id=proposal.tenant_id, tool=call.tool, version=call.version, arguments=call.arguments
        )
        receipt |= {
            "executed_digest": executed,
            "match": executed == decision.digest,
            "provider_ref": _reference(call.output) or _found_reference(proposal, recorded),
            "executed_at": _ended_at(proposal, told),
            "actual": rendering.paths(call.output),
        }
    return receipt


def _rejected(decision: Decision) -> dict[str, Any]:
    again = {True: "The agent may try in another way", False: "The agent may not use this tool again in this run"}
    return {
        "digest": decision.digest,
        "reason": decision.get_reason_code_display(),
        "note": decision.note,
        "reach": decision.get_scope_display(),
        "again": again.get(decision.retry, "") if decision.retry is not None else "",
        "at": decision.at,
    }


def _reference(output: JSON) -> str:
    """Return the id the tool gave to what it did: the first text field named so."""
    if isinstance(output, Mapping):
        for name, value in output.items():
            if name.endswith(("_id", "_ref", "reference")) and isinstance(value, str) and value:
                return value
    return ""


def _found_reference(proposal: Proposal, recorded: Sequence[Recorded]) -> str:
    """Return the reference under which a person found the effect in the other system."""
    found = (one for one in reversed(recorded) if one.type == CallReconciled.type)
    mine = (one for one in found if one.data.get("call_id") == proposal.call_id)
    return next((str(one.data.get("reference") or "") for one in mine), "")


def _ended_at(proposal: Proposal, told: Told) -> Any:
    ended = [
        entry.at
        for group in told.groups
        for entry in group.events
        if entry.call_id == proposal.call_id and entry.kind in (CallSucceeded.type, CallReconciled.type)
    ]
    return ended[-1] if ended else None
