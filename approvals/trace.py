"""Run a recorded trace of an agent's calls through the gate: no model, no tools, no database.

The parts are those of the worker: the engine fills in plans and carries provenance from output to argument
(`engine.decide.candidate_of`, folded events), `judging.judged` puts each call before the gate, and what a person would
be shown is composed as for a proposal. The clock, the ids and the person are fixed, so a trace has one answer.

Planning first, a call counts as planned if it is the next step of the plan that fits, with the arguments that the plan
gives it; every other call is what a replan would be: after untrusted text was read it may only repeat what was planned.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from agentops.engine.conditions import holds, steps_named_in
from agentops.engine.decide import Candidate, candidate_of
from agentops.engine.events import (
    CallDenied,
    CallFailed,
    CallGranted,
    CallProposed,
    CallSelected,
    CallStarted,
    CallSucceeded,
    Event,
    PlanMade,
    ProposalDecided,
    RunClaimed,
    RunSubmitted,
    Stamped,
    StepSkipped,
    StepVerified,
)
from agentops.engine.limits import HARD_MAXIMA
from agentops.engine.plan import InvalidPlan, Missing, Plan
from agentops.engine.state import State, apply
from agentops.wire.canonical import canonical, digest
from agentops.wire.parse import JSON, JSONObject, clean
from approvals.arguments import shown_arguments
from approvals.consequence import shown as shown_consequence
from approvals.facets import facets_of
from approvals.gate import Auto, Deny, Gate, GateVerdict, per_leaf
from approvals.judging import judged
from approvals.proposing import composed
from approvals.risk import Subject, assess
from approvals.sentence import plain
from approvals.trace_format import BadTrace, Trace, TracedCall, TraceIssue
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import ToolContract
from tools.registry import UNDESCRIBED

_CLOCK: Final = datetime(2000, 1, 1, tzinfo=UTC)
_PERSON: Final = "user:reviewer"
_LIMITS: Final = {name: HARD_MAXIMA[name] for name in ("steps", "calls_per_step", "plans", "model_calls", "repeats")}
VERDICTS: Final = ("allow", "gate", "deny")


@dataclass(frozen=True, slots=True)
class Traced:
    """What became of one call."""

    call: TracedCall
    step: str
    planned: bool
    selected: CallSelected
    contract: ToolContract | None
    verdict: GateVerdict

    @property
    def word(self) -> str:
        """Return allow, gate or deny."""
        match self.verdict:
            case Auto():
                return "allow"
            case Gate():
                return "gate"
            case _:
                return "deny"

    def to_json(self) -> JSONObject:
        """Return the verdict on the call, and what a person would have been shown."""
        verdict = self.verdict
        told: JSONObject = {
            "id": self.call.id,
            "tool": self.selected.tool,
            "step": self.step,
            "planned": self.planned,
            "verdict": self.word,
            "rule": verdict.rule,
            "reasons": [verdict.message] if isinstance(verdict, Deny) else list(verdict.reasons),
            "attacked": list(verdict.attacked) if isinstance(verdict, Gate) else [],
            "arguments": self.selected.arguments,
            "provenance": dict[str, JSON](self.selected.provenance),
            "findings": list[JSON](self.selected.findings),
        }
        if isinstance(verdict, Deny):
            issues: list[JSON] = [{"path": i.path, "code": i.code, "message": i.message} for i in verdict.issues]
            return {**told, "code": verdict.code, "issues": issues}
        if isinstance(verdict, Gate) and self.contract is not None:
            decision = "approve" if self.call.approved else "reject"
            return {**told, "decision": decision, "screen": screen(self.contract, self.selected, verdict, self.call)}
        return told


def run_trace(trace: Trace) -> JSONObject:
    """Return what the gate says of every call of a trace. Deterministic. Raises `BadTrace` for what no plan holds."""
    tracer = _Tracer(trace)
    traced = [tracer.call(index, call) for index, call in enumerate(trace.calls)]
    counts = {word: sum(one.word == word for one in traced) for word in VERDICTS}
    return {
        "version": 1,
        "id": trace.id,
        "calls": [one.to_json() for one in traced],
        "not_called": list[JSON](tracer.not_called()),
        "summary": {
            "calls": len(traced),
            **counts,
            "off_plan": sum(not one.planned for one in traced),
            "prompts": counts["gate"],
            "attacked": sum(isinstance(one.verdict, Gate) and bool(one.verdict.attacked) for one in traced),
        },
    }


class _Tracer:
    """A run that is folded from what the trace says."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.state = State()
        self.note(
            RunSubmitted(
                task_type="trace",
                input=trace.input,
                requested_by="user:operator",
                planner=trace.planner,
                planning="reactive" if trace.planning == "reactive" else "plan_first",
                limits=_LIMITS,
                tools={
                    name: {
                        "version": contract.version,
                        "digest": contract.digest,
                        "authority": list[JSON](contract.authority),
                    }
                    for name, contract in trace.tools.items()
                },
                canary=trace.canary,
            ),
            RunClaimed("trace", 1),
        )
        if trace.plan is not None:
            self.note(PlanMade(1, trace.planner, trace.plan))

    def note(self, *events: Event) -> None:
        """Fold events in."""
        self.state = _folded(self.state, events)

    def call(self, index: int, call: TracedCall) -> Traced:
        """Put the next call before the gate, and let happen what the trace says of it."""
        if self.trace.planning == "reactive":
            self.note(self.replan(index, call, len(self.state.plans) + 1, call.id, self.state))
            return self.put(index, call, self.state, planned_step=call.id)
        found = self.next_step(call)
        if found is None:
            return self.outside(index, call)
        for skipped in found.before:
            self.note(StepSkipped(skipped, "condition", "The trace does not call it."))
        return self.put(index, call, self.state, planned_step=found.step)

    def next_step(self, call: TracedCall) -> "_Place | None":
        """Return the next step of the plan that this call can be."""
        state, plan = self.state, self.state.plan
        if plan is None:
            return None
        before: list[str] = []
        for step in plan.steps[state.cursor :]:
            fits = not step.when or holds(step.when, state.names(steps_named_in(step.when)))
            wanted = candidate_of(state, plan, step, 0) if fits else None
            if isinstance(wanted, Candidate) and _is(call, wanted, step.id):
                return _Place(step.id, tuple(before))
            before.append(step.id)
        return None

    def outside(self, index: int, call: TracedCall) -> Traced:
        """Judge a call that the plan does not have, as a plan made now would be; the real plan keeps its place."""
        if call.arguments is None:
            message = "No step of the plan fits it any more, so say what it was called with."
            raise BadTrace([TraceIssue(f"/calls/{index}/arguments", "arguments_missing", message)])
        kept = self.state
        version = len(kept.plans) + 1
        branch = _folded(kept, [self.replan(index, call, version, f"off_plan_{index + 1}", kept)])
        traced = self.put(index, call, branch, planned_step=f"off_plan_{index + 1}")
        after = self.state
        calls = MappingProxyType({**kept.calls, traced.selected.call_id: after.calls[traced.selected.call_id]})
        self.state = replace(kept, calls=calls, tainted=after.tainted, denied_calls=after.denied_calls)
        return replace(traced, step="")

    def replan(self, index: int, call: TracedCall, version: int, step: str, state: State) -> PlanMade:
        raw: JSONObject = {"steps": [{"id": step, "tool": call.tool, "arguments": call.arguments or {}}]}
        made = PlanMade(version, "model:trace", raw, tainted=state.tainted)
        try:
            _folded(state, [made])
        except InvalidPlan as error:
            at = f"/calls/{index}"
            issues = [TraceIssue(at + one.path.removeprefix("/steps/0"), one.code, one.message) for one in error.issues]
            raise BadTrace(issues) from None
        return made

    def put(self, index: int, call: TracedCall, state: State, *, planned_step: str) -> Traced:
        plan = state.plan
        assert plan is not None
        step = next(one for one in plan.steps if one.id == planned_step)
        candidate = candidate_of(state, plan, step, 0)
        if isinstance(candidate, Missing):
            message = f"{candidate.ref} has no value."
            raise BadTrace([TraceIssue(f"/calls/{index}/arguments", "missing_value", message)])
        candidate = replace(candidate, why=call.why or candidate.why)
        selected, contract, verdict = judged(
            state,
            candidate,
            find=self.find,
            allow=self.trace.rules.get(call.tool, AllowlistRule(call.tool, AllowlistState.DENIED)),
            policy=self.trace.policy,
            idempotency_key=f"trace-{index + 1}",
            tenant_id=0,
        )
        happened = _happened(selected, contract, verdict, call, index)
        self.state = _folded(state, [selected, *happened])
        planned = candidate.planned and not planned_step.startswith("off_plan_")
        return Traced(call, planned_step, planned, selected, contract, verdict)

    def find(self, name: str, version: str | None) -> ToolContract | None:
        contract = self.trace.tools.get(name)
        return contract if contract is not None and version in (None, contract.version) else None

    def not_called(self) -> Iterable[str]:
        """Return the steps of the plan that no call was."""
        plan: Plan | None = self.state.plan if self.trace.planning != "reactive" else None
        return [step.id for step in plan.steps if not self.state.steps[step.id].call_ids] if plan is not None else []


@dataclass(frozen=True, slots=True)
class _Place:
    step: str
    before: tuple[str, ...]


def _is(call: TracedCall, wanted: Candidate, step: str) -> bool:
    if call.tool != wanted.tool or (call.step and call.step != step):
        return False
    return call.arguments is None or canonical(clean(call.arguments)) == canonical(clean(wanted.arguments))


def _folded(state: State, events: Sequence[Event]) -> State:
    for event in events:
        state = apply(state, Stamped(state.seq + 1, _CLOCK, event))
    return state


def _happened(
    selected: CallSelected, contract: ToolContract | None, verdict: GateVerdict, call: TracedCall, index: int
) -> list[Event]:
    """Return what the trace says came of a call, as events."""
    call_id, proposal = selected.call_id, f"proposal-{index + 1}"
    verified = StepVerified(selected.step_id, ok=True)
    match verdict:
        case Deny(code=code, message=message, rule=rule):
            return [CallDenied(call_id, code, message, rule), verified]
        case Auto(rule=rule):
            allowed: list[Event] = [CallGranted(call_id, "trace", rule)]
        case Gate(rule=rule):
            allowed = [CallProposed(call_id, proposal, selected.digest, "", 0, rule, "")]
            said = "approve" if call.approved else "reject"
            allowed.append(ProposalDecided(proposal, call_id, 1, said, selected.digest, _PERSON, grant_id="trace"))
            if not call.approved:
                return [*allowed, verified]
    trust = {name: str(one) for name, one in contract.output_trust.items()} if contract is not None else {}
    outcome: Event = (
        CallFailed(call_id, "internal", call.error)
        if call.error is not None
        else CallSucceeded(call_id, clean(call.output), digest(clean(call.output)), 0, trust)
    )
    return [*allowed, CallStarted(call_id, "trace", 1), outcome, verified]


def screen(contract: ToolContract, selected: CallSelected, verdict: Gate, call: TracedCall) -> JSONObject:
    """Return what a person is shown of a call: the sentence, its consequence, its risk, and every argument."""
    arguments = selected.arguments if isinstance(selected.arguments, dict) else {}
    provenance = per_leaf(arguments, _provenance(selected))
    consequence = call.consequence or UNDESCRIBED
    subject = Subject(contract, arguments, provenance, consequence)
    frozen = composed(
        tenant_id=0,
        contract=contract,
        arguments=arguments,
        provenance=provenance,
        verdict=verdict,
        consequence=shown_consequence(contract, consequence),
        risk=assess(subject, facets_of(contract, arguments, consequence)),
    )
    shown: list[JSON] = [_argument(one) for one in shown_arguments(contract, arguments, provenance, {})]
    return {
        "sentence": plain(frozen.sentence),  # type: ignore[arg-type]  # parts as they are frozen
        "consequence": frozen.consequence,
        "risk": frozen.risk.to_json(),
        "why": " ".join(verdict.reasons),
        "arguments": shown,
        "agent_says": call.why,
    }


def _argument(shown: dict[str, Any]) -> JSONObject:
    origin = shown["provenance"]
    return {
        "name": shown["name"],
        "role": shown["role"],
        "text": shown["text"],
        "origin": clean(origin) if isinstance(origin, dict) else str(origin),
    }


def _provenance(selected: CallSelected) -> "dict[str, Any]":
    from agentops.guardrails.provenance import Provenance

    return {path: Provenance.from_json(raw) for path, raw in selected.provenance.items()}
