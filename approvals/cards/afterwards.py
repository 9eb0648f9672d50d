"""What became of a call that somebody decided, in the words that every page uses. Pure."""

from collections.abc import Mapping
from typing import Final

from agentops.engine.transitions import CallState

WORDS: Final[Mapping[CallState, str]] = {
    CallState.SELECTED: "waits for a decision",
    CallState.PROPOSED: "waits for a decision",
    CallState.DENIED: "not executed, denied by a rule",
    CallState.GRANTED: "not executed yet",
    CallState.REJECTED: "not executed",
    CallState.EXPIRED: "not executed, nobody answered",
    CallState.WITHDRAWN: "not executed, withdrawn",
    CallState.EXECUTING: "is being executed",
    CallState.RETRYING: "failed, is tried again",
    CallState.SUCCEEDED: "executed",
    CallState.FAILED: "failed",
    CallState.UNKNOWN: "nobody knows whether it happened",
}


def afterwards(state: str, code: str = "") -> str:
    """Return what became of a call in this state; of a failed one with the code it failed with."""
    words = WORDS[CallState(state)]
    return f"{words}: {code}" if code and state == CallState.FAILED else words
