"""What is counted, read off the record of one run: the run itself, its tool calls, its proposals. Pure.

A unit exists once it has ended: a run with its end, a call with its outcome after the tool's own retries, a proposal
with a person's decision, its expiry or its withdrawal. What comes later (an undone approval, a run that is tried again,
an effect that is settled) changes the unit of the earlier moment.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from agentops.engine.events import (
    CallDenied,
    CallFailed,
    CallProposed,
    CallReconciled,
    CallSelected,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    PlanMade,
    ProposalDecided,
    ProposalExpired,
    ProposalUndone,
    ProposalWithdrawn,
    RunCancelled,
    RunFailed,
    RunSucceeded,
    Stamped,
)
from agentops.engine.state import Call, State, repeat_key
from agentops.engine.transitions import CallState, RunState
from agentops.guardrails.provenance import Provenance
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON

AGENT_CODES: Final = frozenset({"invalid_input", "not_found", "conflict", "permission_denied"})
POLICY_CODES: Final = frozenset({"policy_blocked", "budget_exceeded"})
NOT_COUNTED: Final = frozenset({"regression", "replay", "fork"})
"""Origins of runs that no metric counts."""

READING_CAP: Final = timedelta(minutes=10)
_WORD: Final = re.compile(r"\w+")
_WORDS_PER_MS: Final = 250 / 60_000
_ARGUMENT_MS: Final = 800


@dataclass(frozen=True, slots=True)
class RunUnit:
    """A run that has ended. Money in millionths of a US dollar, times in milliseconds.

    `counted` is false for a run that its requester took back before its first side effect. `checked`: its task type
    has an outcome check. `steps` are planner steps, of which `repeats` more did the same call with the same arguments
    again. `human_ms` is the time in which a proposal of it was open, within its own time; `latency_ms` includes it.
    """

    at: datetime
    outcome: str
    counted: bool
    checked: bool
    code: str
    steps: int
    repeats: int
    latency_ms: int
    human_ms: int
    model_micros: int
    tool_micros: int
    tokens: int
    model_calls: int
    unpriced: int
    reviewer_s: int

    @property
    def completed(self) -> bool:
        return self.outcome == "succeeded"


@dataclass(frozen=True, slots=True)
class CallUnit:
    """A tool call that was attempted and has ended. `outcome` is ok, agent, tool or policy: who caused the error.

    `effect`: it changed something. `auto`: no person was asked. `orphan`: an effect without any permission on record.
    """

    at: datetime
    tool: str
    outcome: str
    effect: bool
    auto: bool
    orphan: bool


@dataclass(frozen=True, slots=True)
class ProposalUnit:
    """A proposal that was decided (`verdict` approve, edit or reject) or closed without a person (expired, withdrawn).

    `undone`: whoever decided took it back. `reading_ms` is how long the card of the decision was looked at, at most ten
    minutes, None where it was not measured; `expected_ms` what reading its arguments takes.
    """

    at: datetime
    proposal_id: str
    verdict: str
    undone: bool
    band: str
    rule: str
    tool: str
    wait_ms: int
    reading_ms: int | None
    expected_ms: int
    tainted: bool

    @property
    def decided(self) -> bool:
        """Whether a person decided it."""
        return self.verdict in ("approve", "edit", "reject")

    @property
    def overridden(self) -> bool:
        """Whether the person did not let it through as it was. No contract marks arguments as cosmetic: edits count."""
        return self.verdict in ("edit", "reject") or self.undone


@dataclass(frozen=True, slots=True)
class Units:
    """Everything one run has contributed so far. `variants` are (kind, value) of what it was made with, `contracts`
    (tool, version) of the tools it may use.
    """

    task_type: str
    run: RunUnit | None
    calls: tuple[CallUnit, ...]
    proposals: tuple[ProposalUnit, ...]
    variants: tuple[tuple[str, str], ...]
    contracts: tuple[tuple[str, str], ...]
    submitted_at: datetime
    stratum: str
    """What was known of the task before anything was done: its origin and the size of its input, by factors of two."""


@dataclass(slots=True)
class _Proposal:
    """A proposal while its events are read."""

    proposed: CallProposed
    at: datetime
    closed: str = ""
    closed_at: datetime | None = None
    decision: ProposalDecided | None = None
    decided_at: datetime | None = None
    undone: bool = False


@dataclass(slots=True)
class Reading:
    """Reads the events of one run, in order; `units` says at any moment what it has contributed until there."""

    calls: dict[str, CallSelected] = field(default_factory=dict)
    ended: dict[str, datetime] = field(default_factory=dict)
    proposals: dict[str, _Proposal] = field(default_factory=dict)
    groups: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    plans: int = 0
    first: datetime | None = None
    end: datetime | None = None
    cancelled_by: str = ""
    effects_started: bool = False
    open_since: dict[str, datetime] = field(default_factory=dict)
    open_spans: list[tuple[datetime, datetime]] = field(default_factory=list)

    def take(self, stamped: Stamped) -> None:
        """Read the next event."""
        at, event = stamped.at, stamped.event
        self.first = self.first or at
        match event:
            case PlanMade():
                self.plans += 1
            case CallSelected():
                self.calls[event.call_id] = event
                key = repeat_key(event.tool, event.arguments)
                self.groups.setdefault((self.plans, event.step_id), set()).add(key)
            case CallStarted():
                self.effects_started |= self.calls[event.call_id].effect != "read"
            case CallSucceeded() | CallDenied() | CallReconciled():
                self.ended[event.call_id] = at
            case CallFailed(retry_at="") | CallUnknown(retry_at=""):
                self.ended[event.call_id] = at
            case CallProposed():
                self.proposals[event.proposal_id] = _Proposal(event, at)
                self.open_since[event.proposal_id] = at
            case ProposalDecided():
                one = self.proposals[event.proposal_id]
                one.decision, one.decided_at = event, at
                self._close(event.proposal_id, at)
            case ProposalUndone():
                one = self.proposals[event.proposal_id]
                one.undone |= one.decision is not None and one.decision.by == event.by
                self.open_since[event.proposal_id] = at
            case ProposalExpired() | ProposalWithdrawn():
                one = self.proposals[event.proposal_id]
                one.closed = "expired" if isinstance(event, ProposalExpired) else "withdrawn"
                one.closed_at = at
                self._close(event.proposal_id, at)
            case RunSucceeded() | RunFailed():
                self.end, self.cancelled_by = at, ""
            case RunCancelled():
                self.end, self.cancelled_by = at, event.by
            case _:
                pass

    def units(self, state: State) -> Units | None:
        """Return what the run has contributed; `state` is the fold of the same events. None if nothing counts it."""
        task = state.submitted
        if task is None or self.first is None or task.origin in NOT_COUNTED:
            return None
        variants = {("planner", task.planner)} if task.planner else set()
        variants |= {("prompt", task.prompt)} if task.prompt else set()
        variants |= {("model", task.models[0])} if task.models else set()
        size = len(canonical(task.input).encode()).bit_length()
        return Units(
            task_type=task.task_type,
            run=self._run(state) if state.state.terminal and self.end is not None else None,
            calls=tuple(self._calls(state)),
            proposals=tuple(self._proposals(state)),
            variants=tuple(sorted(variants)),
            contracts=tuple(sorted((name, str(pin.get("version", ""))) for name, pin in task.tools.items())),
            submitted_at=self.first,
            stratum=f"{task.origin}/{size}",
        )

    def _close(self, proposal_id: str, at: datetime) -> None:
        since = self.open_since.pop(proposal_id, None)
        if since is not None:
            self.open_spans.append((since, at))

    def _run(self, state: State) -> RunUnit:
        assert self.end is not None
        assert state.submitted is not None
        began = state.started_at or self.end
        steps, repeats = _steps(self.groups.values())
        withdrawn = bool(self.cancelled_by) and self.cancelled_by == state.submitted.requested_by
        spans = [*self.open_spans, *((since, self.end) for since in self.open_since.values())]
        return RunUnit(
            at=self.end,
            outcome={RunState.SUCCEEDED: "succeeded", RunState.FAILED: "failed"}.get(state.state, "cancelled"),
            counted=not (withdrawn and not self.effects_started),
            checked=bool(state.submitted.success_when),
            code=state.failure_code,
            steps=steps,
            repeats=repeats,
            latency_ms=_ms(self.end - began),
            human_ms=_covered(spans, began, self.end),
            model_micros=state.usage.cost_micros,
            tool_micros=state.tool_cost_micros,
            tokens=state.tokens,
            model_calls=state.usage.requests,
            unpriced=state.usage.unpriced,
            reviewer_s=state.reviewer_s,
        )

    def _calls(self, state: State) -> Iterable[CallUnit]:
        for call_id, at in self.ended.items():
            call = state.calls[call_id]
            outcome = _outcome(call)
            if outcome is None:
                continue
            effect = call.effect != "read" and call.state is CallState.SUCCEEDED
            yield CallUnit(
                at=at,
                tool=call.tool,
                outcome=outcome,
                effect=effect,
                auto=effect and not call.proposal_id,
                orphan=effect and not call.grant_id,
            )

    def _proposals(self, state: State) -> Iterable[ProposalUnit]:
        for proposal_id, one in self.proposals.items():
            at = one.decided_at or one.closed_at
            if at is None:
                continue
            call = self.calls[one.proposed.call_id]
            decision = one.decision
            dwell = decision.view.get("dwell_ms") if decision is not None else None
            yield ProposalUnit(
                at=at,
                proposal_id=proposal_id,
                verdict=decision.verdict if decision is not None else one.closed,
                undone=one.undone,
                band=one.proposed.band,
                rule=one.proposed.rule,
                tool=call.tool,
                wait_ms=_ms(at - one.at),
                reading_ms=min(dwell, _ms(READING_CAP)) if isinstance(dwell, int) else None,
                expected_ms=expected_reading(call.arguments),
                tainted=_tainted(state, call),
            )


def read_units(events: Sequence[Stamped], state: State) -> Units | None:
    """Return what a run with these events, which fold to this state, has contributed."""
    reading = Reading()
    for one in events:
        reading.take(one)
    return reading.units(state)


def expected_reading(arguments: JSON) -> int:
    """Return the milliseconds that reading these arguments takes, at 250 words a minute and 0.8 s an argument."""
    words = len(_WORD.findall(canonical(arguments)))
    return ceil(words / _WORDS_PER_MS) + _ARGUMENT_MS * (len(arguments) if isinstance(arguments, dict) else 1)


def _outcome(call: Call) -> str | None:
    """Say how a call ended; None if it has not, or was never sent because a person said no."""
    match call.state:
        case CallState.SUCCEEDED:
            return "tool" if call.confirmed == "contradicted" else "ok"
        case CallState.UNKNOWN:
            return "tool"
        case CallState.FAILED | CallState.DENIED:
            return "agent" if call.code in AGENT_CODES else "policy" if call.code in POLICY_CODES else "tool"
        case _:
            return None


def _steps(groups: Iterable[set[str]]) -> tuple[int, int]:
    """Return how many steps did something new, and how many only did again what a step before had done."""
    seen: set[str] = set()
    steps = repeats = 0
    for keys in groups:
        if keys <= seen:
            repeats += 1
        else:
            steps += 1
        seen |= keys
    return steps, repeats


def _tainted(state: State, call: CallSelected) -> bool:
    """Whether an argument that decides where the effect lands comes from untrusted text."""
    pin: Mapping[str, JSON] = state.submitted.tools.get(call.tool, {}) if state.submitted is not None else {}
    authority = pin.get("authority")
    names = set(authority) if isinstance(authority, list) else set()
    return any(
        Provenance.from_json(one).untrusted
        for path, one in call.provenance.items()
        if path.lstrip("/").split("/")[0] in names
    )


def _covered(spans: Sequence[tuple[datetime, datetime]], begin: datetime, end: datetime) -> int:
    """Return the milliseconds between two moments that lie in any of the spans."""
    total, reached = timedelta(0), begin
    for since, until in sorted(spans):
        since, until = max(since, reached), min(until, end)
        if until > since:
            total += until - since
            reached = until
    return _ms(total)


def _ms(span: timedelta) -> int:
    return max(0, round(span.total_seconds() * 1000))
