"""The spans of one run, made from its record. Pure.

Nothing is carried from process to process: the trace is the run's id, and every span's id follows from the run and
from what it stands for. So web and worker give one tree, whoever exports it, and exporting twice gives the same spans.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from agentops.engine.events import (
    CallFailed,
    CallProposed,
    CallSelected,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalDecided,
    ProposalExpired,
    ProposalWithdrawn,
    RunCancelled,
    RunClaimed,
    RunFailed,
    RunSubmitted,
    RunSucceeded,
    RunWaiting,
    Stamped,
)
from agentops.metrics import conventions as names
from agentops.wire.canonical import canonical

Value = str | int

ROOT: Final = "run"
WEB: Final = "web"


@dataclass(frozen=True, slots=True)
class Span:
    """One span. `key` names it within its run and `parent` the span it belongs to, empty for the root."""

    key: str
    parent: str
    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, Value]
    error: str = ""


@dataclass(slots=True)
class _Tree:
    """The spans so far, and what is under way."""

    run_id: UUID
    content: bool
    spans: list[Span] = field(default_factory=list)
    task: RunSubmitted | None = None
    began: datetime | None = None
    drive: tuple[str, datetime, str] | None = None
    calls: dict[str, CallSelected] = field(default_factory=dict)
    started: dict[str, datetime] = field(default_factory=dict)
    proposed: dict[str, tuple[CallProposed, datetime]] = field(default_factory=dict)

    def add(
        self,
        key: str,
        name: str,
        start: datetime,
        end: datetime,
        attributes: Mapping[str, Value],
        *,
        error: str = "",
        parent: str | None = None,
    ) -> None:
        above = parent if parent is not None else self.drive[0] if self.drive is not None else ROOT
        self.spans.append(Span(key, above, name, min(start, end), end, attributes, error))

    def leave(self, at: datetime) -> None:
        """The worker lets the run go."""
        if self.drive is not None:
            key, since, worker = self.drive
            self.add(key, "drive", since, at, {names.PROCESS: worker}, parent=ROOT)
            self.drive = None

    def plan(self, seq: int, at: datetime, event: PlanMade | PlanFinished | PlanFailed) -> None:
        usage, error = event.usage, event.code if isinstance(event, PlanFailed) else ""
        if usage is None or not usage.requests:
            self.add(f"plan.{seq}", f"{names.PLAN} {event.planner}", at, at, {names.OPERATION: names.PLAN}, error=error)
            return
        first = next(iter(self.task.models), "") if self.task is not None else ""
        model = str((event.exchange or {}).get("model") or first)
        provider, _, short = model.rpartition(":")
        attributes: dict[str, Value] = {
            names.OPERATION: names.CHAT,
            names.REQUEST_MODEL: short,
            names.PROVIDER: provider or "unknown",
            names.INPUT_TOKENS: usage.input_tokens,
            names.OUTPUT_TOKENS: usage.output_tokens,
        }
        took = timedelta(milliseconds=usage.duration_ms)
        self.add(f"plan.{seq}", f"{names.CHAT} {short}".strip(), at - took, at, attributes, error=error)

    def call(self, seq: int, at: datetime, event: CallSucceeded | CallFailed | CallUnknown) -> None:
        call = self.calls[event.call_id]
        took = timedelta(milliseconds=event.duration_ms) if not isinstance(event, CallUnknown) else timedelta(0)
        error = "" if isinstance(event, CallSucceeded) else "outcome_unknown"
        if isinstance(event, CallFailed):
            error = event.code
        attributes: dict[str, Value] = {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: call.tool,
            names.TOOL_TYPE: "function",
            names.TOOL_CALL: call.call_id,
        }
        if self.content:
            attributes[names.TOOL_ARGUMENTS] = canonical(call.arguments)
            if isinstance(event, CallSucceeded):
                attributes[names.TOOL_RESULT] = canonical(event.output)
        start = self.started.pop(event.call_id, at - took)
        self.add(f"call.{seq}", f"{names.EXECUTE_TOOL} {call.tool}", start, at, attributes, error=error)

    def approval(self, proposal_id: str, at: datetime, verdict: str) -> None:
        found = self.proposed.pop(proposal_id, None)
        if found is None:
            return
        proposed, since = found
        attributes: dict[str, Value] = {
            names.PROCESS: WEB,
            names.PROPOSAL: proposal_id,
            names.APPROVAL_VERDICT: verdict,
            names.APPROVAL_BAND: proposed.band,
            names.APPROVAL_RULE: proposed.rule,
        }
        tool = self.calls[proposed.call_id].tool
        self.add(f"approval.{proposal_id}.{at.isoformat()}", f"approval {tool}", since, at, attributes, parent=ROOT)


def spans_of(run_id: UUID, tenant: str, events: Sequence[Stamped], *, content: bool = False) -> list[Span]:
    """Return the spans of a run that has ended, the root first; none for one that has not.

    `content`: arguments and outputs of tools are attributes as well. Nothing else of what was said or read ever is.
    """
    tree = _Tree(run_id, content)
    end: Stamped | None = None
    for one in events:
        at, event = one.at, one.event
        match event:
            case RunSubmitted():
                tree.task, tree.began = event, at
                tree.add("submit", "submit", at, at, {names.PROCESS: WEB, names.ORIGIN: event.origin}, parent=ROOT)
            case RunClaimed():
                tree.leave(at)
                tree.drive = (f"drive.{one.seq}", at, event.worker)
            case RunWaiting():
                tree.leave(at)
            case PlanMade() | PlanFinished() | PlanFailed():
                tree.plan(one.seq, at, event)
            case CallSelected():
                tree.calls[event.call_id] = event
            case CallStarted():
                tree.started[event.call_id] = at
            case CallSucceeded() | CallFailed() | CallUnknown():
                tree.call(one.seq, at, event)
            case CallProposed():
                tree.proposed[event.proposal_id] = (event, at)
            case ProposalDecided():
                tree.approval(event.proposal_id, at, event.verdict)
            case ProposalExpired() | ProposalWithdrawn():
                tree.approval(event.proposal_id, at, event.type.partition(".")[2])
            case RunSucceeded() | RunFailed() | RunCancelled():
                tree.leave(at)
                end = one
            case _:
                pass
    if end is None or tree.task is None or tree.began is None:
        return []
    outcome = end.event.type.partition(".")[2]
    root: dict[str, Value] = {
        names.OPERATION: names.INVOKE_AGENT,
        names.AGENT_NAME: tree.task.task_type,
        names.CONVERSATION: str(run_id),
        names.TENANT: tenant,
        names.ORIGIN: tree.task.origin,
        names.OUTCOME: outcome,
    }
    error = end.event.code if isinstance(end.event, RunFailed) else ""
    name = f"{names.INVOKE_AGENT} {tree.task.task_type}"
    return [Span(ROOT, "", name, tree.began, max(end.at, tree.began), root, error), *tree.spans]


def trace_id(run_id: UUID) -> int:
    """Return the 128 bits of a run's trace."""
    return run_id.int


def span_id(run_id: UUID, key: str) -> int:
    """Return the 64 bits of one span, never zero."""
    return int.from_bytes(hashlib.sha256(f"{run_id}\n{key}".encode()).digest()[:8], "big") or 1
