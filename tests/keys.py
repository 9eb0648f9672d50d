"""The keys under which providers know the calls of a run. Only the record has them."""

from uuid import UUID

from agentops.runs.models import ToolCall
from agentops.runs.recording import state_of


def keys_of(run_id: UUID, tool: str = "") -> set[str]:
    """Return the idempotency keys of the calls of a run; of one tool only, if it is named."""
    calls = state_of(run_id).calls.values()
    return {call.idempotency_key for call in calls if tool in ("", call.tool)}


def key_of(call: ToolCall) -> str:
    """Return the idempotency key of one call."""
    return state_of(call.run_id).calls[call.call_id].idempotency_key
