"""Run a recorded trace of an agent's calls through the gate: no model, no tools, no database.

The parts are those of the worker: the engine fills in plans and carries provenance from output to argument
(`engine.decide.candidate_of`, folded events), `judging.judged` puts each call before the gate, and what a person would
be shown is composed as for a proposal. The clock, the ids and the person are fixed, so a trace has one answer.

Planning first, a call counts as planned if it is the next step of the plan that fits, with the arguments that the plan
gives it; every other call is what a replan would be: after untrusted text was read it may only repeat what was planned.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

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
from agentops.engine.folding import apply
from agentops.engine.limits import HARD_MAXIMA
from agentops.engine.plan import InvalidPlan, Missing, Plan
from agentops.engine.state import State
from agentops.guardrails.provenance import Provenance
from agentops.guardrails.screening import screen_output
from agentops.wire.canonical import canonical, digest
from agentops.wire.parse import JSON, JSONObject, clean
from approvals.assessing.risk import Risk, Subject, assess, seen_by_rules
from approvals.cards.arguments import shown_arguments
from approvals.gating.gate import Auto, Deny, Gate, GateVerdict, per_leaf
from approvals.gating.judging import judged
from approvals.gating.policy import Policy, Rule, Surroundings, in_words
from approvals.proposals.proposing import composed
from approvals.traces.trace_format import BadTrace, Trace, TracedCall, TraceIssue
from approvals.values.consequence import shown as shown_consequence
from approvals.values.facets import facets_of
from approvals.values.sentence import plain
from tools.allowlist import AllowlistRule, AllowlistState
from tools.contracts import Consequence, ToolContract
from tools.registry import UNDESCRIBED

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
    policy: Policy

    def met(self) -> list[Rule]:
        """Return the rules of the policy that made the verdict what it is, in their order."""
        named = self.verdict.policy_rules if isinstance(self.verdict, Gate) else (self.verdict.rule,)
        return [rule for rule in self.policy.rules if self.policy.name(rule) in named]

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
        met: list[JSON] = [
            {"rule": self.policy.name(one), "effect": one.effect.value, "says": in_words(one)} for one in self.met()
        ]
        told: JSONObject = {
            "id": self.call.id,
            "tool": self.selected.tool,
            "step": self.step,
            "planned": self.planned,
            "verdict": self.word,
            "rule": verdict.rule,
            "reasons": [verdict.message] if isinstance(verdict, Deny) else list[JSON](verdict.reasons),
            "attacked": list[JSON](verdict.attacked) if isinstance(verdict, Gate) else [],
            "policy": met,
            "arguments": self.selected.arguments,
            "provenance": dict[str, JSON](self.selected.provenance),
            "findings": list[JSON](self.selected.findings),
        }
        if isinstance(verdict, Deny):
            issues: list[JSON] = [{"path": i.path, "code": i.code, "message": i.message} for i in verdict.issues]
            return {**told, "code": verdict.code, "issues": issues}
        if isinstance(verdict, Gate) and self.contract is not None:
            asked: JSONObject = {
                "decision": "approve" if self.call.approved else "reject",
                "quorum": verdict.quorum,
                "role": verdict.role,
                "decide_within_s": verdict.decide_within_s,
            }
            return {**told, **asked, "screen": screen(self.contract, self.selected, verdict, self.call)}
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
        self.now = trace.around.now
        self.uses: dict[str, list[tuple[datetime, str]]] = {}
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
        self.state = _folded(self.state, events, self.now)

    def call(self, index: int, call: TracedCall) -> Traced:
        """Put the next call before the gate, and let happen what the trace says of it."""
        self.now = call.at
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
        branch = _folded(kept, [self.replan(index, call, version, f"off_plan_{index + 1}", kept)], self.now)
        traced = self.put(index, call, branch, planned_step=f"off_plan_{index + 1}")
        after = self.state
        calls = MappingProxyType({**kept.calls, traced.selected.call_id: after.calls[traced.selected.call_id]})
        self.state = replace(kept, calls=calls, tainted=after.tainted, denied_calls=after.denied_calls)
        return replace(traced, step="")

    def replan(self, index: int, call: TracedCall, version: int, step: str, state: State) -> PlanMade:
        raw: JSONObject = {"steps": [{"id": step, "tool": call.tool, "arguments": call.arguments or {}}]}
        made = PlanMade(version, "model:trace", raw, tainted=state.tainted)
        try:
            _folded(state, [made], self.now)
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
            policy=self.trace.output,
            idempotency_key=f"trace-{index + 1}",
            tenant_id=0,
            rules=lambda contract, arguments: {
                "policy": self.trace.policy,
                "surroundings": self.around(call),
                "trust": "",
            },
        )
        self.use(verdict, candidate.call_id)
        happened = _happened(selected, contract, verdict, call, index)
        self.state = _folded(state, [selected, *happened], self.now)
        planned = candidate.planned and not planned_step.startswith("off_plan_")
        return Traced(call, planned_step, planned, selected, contract, verdict, self.trace.policy)

    def around(self, call: TracedCall) -> Surroundings:
        """Return what rules see of the run, with what they have let run so far and the risk that a card would show."""
        return replace(self.trace.around, now=self.now, spent=self.spent, risk=partial(_risk_seen, call))

    def spent(self, key: str, within_s: int, call_id: str) -> int:
        since = self.now - timedelta(seconds=within_s)
        return sum(at > since and one != call_id for at, one in self.uses.get(key, ()))

    def use(self, verdict: GateVerdict, call_id: str) -> None:
        """Count what is let run by a rule with a rate: every call of a trace that may run runs at once."""
        for quota in verdict.quotas if isinstance(verdict, Auto) else ():
            self.uses.setdefault(quota.key, []).append((self.now, call_id))

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


def _folded(state: State, events: Sequence[Event], now: datetime) -> State:
    for event in events:
        state = apply(state, Stamped(state.seq + 1, now, event))
    return state


def _happened(
    selected: CallSelected, contract: ToolContract | None, verdict: GateVerdict, call: TracedCall, index: int
) -> list[Event]:
    """Return what the trace says came of a call, as events."""
    call_id, proposal = selected.call_id, f"proposal-{index + 1}"
    verified = StepVerified(selected.step_id, ok=True)
    allowed: list[Event] = []
    match verdict:
        case Deny(code=code, message=message, rule=rule):
            return [CallDenied(call_id, code, message, rule), verified]
        case Auto(rule=rule):
            allowed = [CallGranted(call_id, "trace", rule)]
        case Gate(rule=rule):
            allowed = [CallProposed(call_id, proposal, selected.digest, "", 0, rule, "")]
            said: Literal["approve", "reject"] = "approve" if call.approved else "reject"
            allowed.append(ProposalDecided(proposal, call_id, 1, said, selected.digest, _PERSON, grant_id="trace"))
            if not call.approved:
                return [*allowed, verified]
    trust = {name: str(one) for name, one in contract.output_trust.items()} if contract is not None else {}
    outcome: Event = (
        CallFailed(call_id, "internal", call.error)
        if call.error is not None
        else _succeeded(call_id, clean(call.output), trust)
    )
    return [*allowed, CallStarted(call_id, "trace", 1), outcome, verified]


def _succeeded(call_id: str, output: JSON, trust: dict[str, str]) -> CallSucceeded:
    """Return a result as the worker would record it, with what guardrails find in it."""
    return CallSucceeded(call_id, output, digest(output), 0, trust, screened=screen_output(output, trust))


def screen(contract: ToolContract, selected: CallSelected, verdict: Gate, call: TracedCall) -> JSONObject:
    """Return what a person is shown of a call: the sentence, its consequence, its risk, and every argument."""
    arguments = selected.arguments if isinstance(selected.arguments, dict) else {}
    provenance = per_leaf(arguments, _provenance(selected))
    consequence = call.consequence or UNDESCRIBED
    frozen = composed(
        tenant_id=0,
        contract=contract,
        arguments=arguments,
        provenance=provenance,
        verdict=verdict,
        consequence=shown_consequence(contract, consequence),
        risk=_risk(contract, arguments, provenance, consequence),
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


def _risk(
    contract: ToolContract, arguments: JSONObject, provenance: Mapping[str, Provenance], consequence: Consequence
) -> Risk:
    return assess(Subject(contract, arguments, provenance, consequence), facets_of(contract, arguments, consequence))


def _risk_seen(
    call: TracedCall, contract: ToolContract, arguments: JSON, provenance: Mapping[str, Provenance]
) -> JSONObject:
    values = arguments if isinstance(arguments, dict) else {}
    return seen_by_rules(_risk(contract, values, provenance, call.consequence or UNDESCRIBED))


def _argument(shown: dict[str, Any]) -> JSONObject:
    origin = shown["provenance"]
    return {
        "name": shown["name"],
        "role": shown["role"],
        "text": shown["text"],
        "origin": clean(origin) if isinstance(origin, dict) else str(origin),
    }


def _provenance(selected: CallSelected) -> dict[str, Provenance]:
    return {path: Provenance.from_json(raw) for path, raw in selected.provenance.items()}
