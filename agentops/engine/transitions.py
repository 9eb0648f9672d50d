"""Every state a run and a call can be in, and the one table of how they may change."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """The node of the loop a run is at."""

    PLAN = "plan"
    SELECT = "select"
    EXECUTE = "execute"
    VERIFY = "verify"
    FINALIZE = "finalize"


class RunState(StrEnum):
    """The life of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_RETRY = "waiting_retry"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_RECONCILIATION = "awaiting_reconciliation"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)

    @property
    def claimable(self) -> bool:
        """Whether a worker may take the run up: it has work, or its previous worker may have died."""
        return self in (RunState.QUEUED, RunState.RUNNING, RunState.WAITING_RETRY)


class CallState(StrEnum):
    """The life of one tool call."""

    SELECTED = "selected"
    DENIED = "denied"
    PROPOSED = "proposed"
    GRANTED = "granted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    EXECUTING = "executing"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def terminal(self) -> bool:
        return self is CallState.WITHDRAWN or not CALL_TRANSITIONS[self]


class IllegalTransition(ValueError):
    """An event asked for a change that the table does not have; nothing was changed."""


_R = RunState
_ENDS = frozenset({_R.SUCCEEDED, _R.FAILED, _R.CANCELLED})
_WAITS = frozenset({_R.WAITING_RETRY, _R.AWAITING_APPROVAL, _R.AWAITING_RECONCILIATION})

RUN_TRANSITIONS: Final[Mapping[RunState, frozenset[RunState]]] = {
    # Back to people when a decision is taken back before its call could start.
    _R.QUEUED: frozenset({_R.RUNNING, _R.AWAITING_APPROVAL, _R.CANCELLED, _R.FAILED}),
    _R.RUNNING: _WAITS | _ENDS | {_R.QUEUED},
    _R.WAITING_RETRY: frozenset({_R.QUEUED, _R.RUNNING, _R.AWAITING_APPROVAL, _R.CANCELLED, _R.FAILED}),
    _R.AWAITING_APPROVAL: frozenset({_R.QUEUED, _R.CANCELLED, _R.FAILED}),
    _R.AWAITING_RECONCILIATION: frozenset({_R.QUEUED, _R.CANCELLED, _R.FAILED}),
    _R.SUCCEEDED: frozenset(),
    # By `run.requeued` alone, and only for the codes of REQUEUEABLE.
    _R.FAILED: frozenset({_R.QUEUED}),
    _R.CANCELLED: frozenset(),
}

REQUEUEABLE: Final = frozenset(
    {
        *("dead_letter", "internal"),
        *("model_unavailable", "model_timeout", "model_rate_limited", "model_quota"),
        *("model_auth", "model_not_found", "model_not_configured", "model_bad_answer"),
    }
)
"""Failures whose cause lies outside of the run: once an engineer has removed it, the same run can go on.

Not here: limits (the run keeps those it was submitted with, so it would end at once again), denied or failed calls,
criteria that do not hold. Those are the truth about the run, and another try is another run.
"""

_C = CallState

CALL_TRANSITIONS: Final[Mapping[CallState, frozenset[CallState]]] = {
    _C.SELECTED: frozenset({_C.DENIED, _C.GRANTED, _C.PROPOSED}),
    _C.PROPOSED: frozenset({_C.GRANTED, _C.REJECTED, _C.EXPIRED, _C.WITHDRAWN}),
    _C.GRANTED: frozenset(
        {
            *(_C.EXECUTING, _C.SUCCEEDED, _C.FAILED, _C.RETRYING, _C.UNKNOWN, _C.DENIED, _C.EXPIRED, _C.WITHDRAWN),
            # A decision that is taken back before its release.
            _C.PROPOSED,
        }
    ),
    _C.EXECUTING: frozenset({_C.EXECUTING, _C.SUCCEEDED, _C.FAILED, _C.UNKNOWN, _C.RETRYING, _C.GRANTED}),
    _C.RETRYING: frozenset({_C.EXECUTING, _C.SUCCEEDED, _C.FAILED, _C.RETRYING, _C.DENIED, _C.WITHDRAWN, _C.UNKNOWN}),
    # Started again only by what may be repeated under its own key.
    _C.UNKNOWN: frozenset({_C.EXECUTING, _C.SUCCEEDED, _C.FAILED, _C.GRANTED}),
    _C.DENIED: frozenset(),
    _C.REJECTED: frozenset(),
    _C.EXPIRED: frozenset(),
    # A requeued run asks again what was withdrawn because it had failed.
    _C.WITHDRAWN: frozenset({_C.PROPOSED}),
    _C.SUCCEEDED: frozenset(),
    _C.FAILED: frozenset(),
}


def change_run(old: RunState, new: RunState) -> RunState:
    """Return `new` if the table allows the change; raise IllegalTransition otherwise."""
    if new not in RUN_TRANSITIONS[old]:
        raise IllegalTransition(f"run: {old} -> {new}")
    return new


def change_call(old: CallState, new: CallState) -> CallState:
    """Return `new` if the table allows the change; raise IllegalTransition otherwise."""
    if new not in CALL_TRANSITIONS[old]:
        raise IllegalTransition(f"call: {old} -> {new}")
    return new
