"""What a run is at a moment: frozen values, whose mappings are copied on change and never mutated."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agentops.engine.events import AnswerBlocked, PlanFailed, PlanFinished, RunFellBack, RunSubmitted, Usage
from agentops.engine.limits import Limits
from agentops.engine.plan import Missing, Plan, Ref
from agentops.engine.transitions import CallState, Phase, RunState
from agentops.guardrails.provenance import CONSTANT, Integrity, Provenance, SourceKind, join, provenance
from agentops.guardrails.sanitise import Removed
from agentops.wire.canonical import digest
from agentops.wire.parse import JSON, JSONObject

if TYPE_CHECKING:
    from dataclasses import replace  # so that names and types of fields are checked
else:
    from agentops.engine.copies import replace


@dataclass(frozen=True, slots=True)
class Question:
    """One question and, once it is closed, its answer or the reason why there is none.

    `outcome` is open, answered, unanswered, or dropped when the proposal was closed first. `version` is that of the
    proposal it was asked about, `answered_by` the planner, `changed` the JSON Patch of what the answer changed, and
    `tries` how many workers have taken it up.
    """

    round: int
    version: int
    by: str
    text: str
    asked_at: datetime | None
    outcome: str = "open"
    answer: str = ""
    answered_by: str = ""
    answered_at: datetime | None = None
    tainted: bool = False
    code: str = ""
    changed: tuple[JSONObject, ...] = field(default=(), hash=False)
    refused: str = ""
    tries: int = 0


@dataclass(frozen=True)
class Call:
    """One tool call as far as the events tell."""

    call_id: str
    step_id: str
    tool: str
    version: str
    effect: str
    state: CallState
    arguments: JSON
    digest: str
    idempotency_key: str
    provenance: Mapping[str, Provenance]
    planned: bool = True
    output: JSON = None
    trust: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    note: str = ""
    grant_id: str = ""
    proposal_id: str = ""
    attempts: int = 0
    retry_at: datetime | None = None
    deferrals: int = 0
    deferred: str = ""
    """Why the call waits until `retry_at` although it might start: breaker_open, rate_limited, or empty."""
    hook_asked: bool = False
    cost_micros: int = 0
    """What its attempts cost by the contract, in millionths of a US dollar."""
    reviewer_s: int = 0
    """Seconds of a person's attention: set aside while the call is before a person, spent once somebody decided."""
    keys: tuple[str, ...] = ()
    """`repeat_key` of the call as it was selected, and as it was edited if it was."""
    confirmed: str = ""
    """What reading the effect back has shown: confirmed, contradicted, cannot_tell, or empty."""
    edited: tuple[str, ...] = ()
    """JSON pointers of the arguments that a reviewer has changed."""
    screened: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """JSON pointer into the output -> the families that guardrails flagged there, or UNSCREENED."""
    removed: Mapping[str, tuple[Removed, ...]] = field(default_factory=dict)
    """What no model is shown of the output (`guardrails.sanitise.removed_of`)."""
    carried: Provenance | None = None
    """Provenance of what the output only hands back: that of the arguments of the call it names in `written_by`."""
    plan: int = 0
    """The version of the plan that it was selected for."""
    questions: tuple[Question, ...] = ()
    """What people have asked the agent about its proposal, oldest first; at most the last one is open."""
    scope: str = ""
    """How far the rejection of it reaches (`engine.refusals`), empty where it was not rejected."""
    barred: bool = False
    """Whether the reviewer who rejected it said that the agent may not try it again."""

    @property
    def unsure(self) -> bool:
        """Whether nobody knows what became of it and it is not repeated: something or somebody has to say."""
        return self.state is CallState.UNKNOWN and self.retry_at is None

    @property
    def untrusted(self) -> bool:
        """Whether any leaf of the arguments is untrusted."""
        return any(p.untrusted for p in self.provenance.values())


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a step is: its calls in order and, once it is over, its outcome."""

    id: str
    call_ids: tuple[str, ...] = ()
    outcome: str = "pending"
    message: str = ""

    @property
    def over(self) -> bool:
        return self.outcome != "pending"


@dataclass(frozen=True)
class State:
    """A run, folded. `clock` is the time of the last event: the engine has no other."""

    seq: int = 0
    state: RunState = RunState.QUEUED
    phase: Phase = Phase.PLAN
    clock: datetime | None = None
    submitted: RunSubmitted | None = None
    limits: Limits = field(default_factory=Limits)
    plans: tuple[Plan, ...] = ()
    cursor: int = 0
    """Index into the current plan of the step the run is at."""
    steps: Mapping[str, StepProgress] = field(default_factory=lambda: MappingProxyType({}))
    calls: Mapping[str, Call] = field(default_factory=lambda: MappingProxyType({}))
    repeats: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """`repeat_key` of a call -> how often it was selected."""
    tainted: bool = False
    """Whether untrusted text has entered the run."""
    input_screened: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """As `Call.screened`, of the task's input."""
    suspicion: tuple[str, ...] = ()
    """Everything that guardrails flagged anywhere in the run, or could not look at; sorted."""
    finished: PlanFinished | None = None
    plan_failures: int = 0
    plan_retry_at: datetime | None = None
    last_plan_failure: PlanFailed | None = None
    feedback: tuple[str, ...] = ()
    steps_used: int = 0
    calls_used: int = 0
    denied_calls: int = 0
    usage: Usage = field(default_factory=Usage)
    """What models used."""
    tool_cost_micros: int = 0
    """What attempts at tool calls cost by their contracts."""
    reviewer_s: int = 0
    """Seconds of attention that were spent or are set aside."""
    warned: frozenset[str] = frozenset()
    """Limits about which `run.warned` is on record."""
    started_at: datetime | None = None
    waiting_since: datetime | None = None
    human_wait: timedelta = timedelta(0)
    failure_code: str = ""
    failure_message: str = ""
    answer: str = ""
    paused_at: datetime | None = None
    """Since when nothing new starts, whoever wanted that; None while the run may go on."""
    paused_by: str = ""
    """The person or program whose own pause it is; empty when only a stop of the line holds the run."""
    paused_by_halt: str = ""
    ended_at: datetime | None = None
    """When the run failed; a run that is tried again has waited since then."""

    @property
    def paused(self) -> bool:
        return self.paused_at is not None

    replan: bool = False
    """Whether the current plan, or the answer, was abandoned and the planner is to be asked next."""
    loops: int = 0
    unmet: int = 0
    """How often the success criterion did not hold at the end."""
    held_back: AnswerBlocked | None = None
    """The answer that the output policy held back last, until there is another plan or answer."""
    answers_blocked: int = 0
    fell_back: RunFellBack | None = None
    earlier: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """`repeat_key` -> call of the plan that the fallback took over from."""
    calls_before: int = 0
    barred: tuple[str, ...] = ()
    """Calls of which a reviewer has said that they may not be tried again."""

    @property
    def planner(self) -> str:
        """Who makes the plans now."""
        if self.fell_back is not None:
            return self.fell_back.to_planner
        return self.submitted.planner if self.submitted is not None else ""

    @property
    def plan(self) -> Plan | None:
        return self.plans[-1] if self.plans else None

    @property
    def cost_micros(self) -> int:
        """What models and tools cost, in millionths of a US dollar."""
        return self.usage.cost_micros + self.tool_cost_micros

    @property
    def tokens(self) -> int:
        """Tokens of models, in and out."""
        return self.usage.input_tokens + self.usage.output_tokens

    @property
    def wall_time(self) -> timedelta:
        """Time since the first claim without the time people took, and without pauses."""
        if self.started_at is None or self.clock is None:
            return timedelta(0)
        idle_since = self.waiting_since or self.paused_at
        waiting = self.clock - idle_since if idle_since else timedelta(0)
        return self.clock - self.started_at - self.human_wait - waiting

    def open_calls(self, *states: CallState) -> tuple[Call, ...]:
        """Calls of the current step in one of `states`; all other calls have ended."""
        step = self.current_step
        if step is None:
            return ()
        return tuple(self.calls[c] for c in step.call_ids if self.calls[c].state in states)

    @property
    def current_step(self) -> StepProgress | None:
        plan = self.plan
        if plan is None or self.cursor >= len(plan.steps):
            return None
        return self.steps[plan.steps[self.cursor].id]

    def lookup(self, ref: Ref) -> tuple[JSON, Provenance] | Missing:
        """Find what a reference names and where that came from."""
        if self.submitted is None:
            return Missing(ref)
        if ref.base == "input":
            found = _dig(self.submitted.input, ref.path)
            pointer = "".join(f"/{key}" for key in ref.path)
            source = provenance(SourceKind.OPERATOR, self.submitted.requested_by, f"/input{pointer}")
            if self.input_screened:
                source = replace(source, suspicion=suspicion_at(self.input_screened, pointer))
            return Missing(ref) if found is _NOTHING else (found, source)
        step_id = ref.step_id
        step = self.steps.get(step_id) if step_id is not None else None
        part = ref.base.rsplit(".", 1)[1]
        if step is None or (part != "outcome" and not step.call_ids):
            return Missing(ref)
        if part == "outcome":
            return step.outcome, CONSTANT
        call = self.calls[step.call_ids[0]]
        if part == "code":
            return call.code, CONSTANT
        if part == "note":
            if call.state is CallState.REJECTED or (call.state is CallState.SUCCEEDED and call.attempts <= 1):
                return call.note, provenance(SourceKind.REVIEWER, call.proposal_id or call.call_id)
            # Everything else that stands there was said by a tool, in words it may have taken from anywhere.
            return call.note, provenance(SourceKind.TOOL, f"{call.tool}:{call.call_id}", untrusted=True)
        if step.outcome != "succeeded":
            return Missing(ref)
        if len(step.call_ids) > 1:
            return self._lookup_many(step, ref)
        found = _dig(call.output, ref.path)
        return Missing(ref) if found is _NOTHING else (found, output_provenance(call, ref.path))

    def _lookup_many(self, step: StepProgress, ref: Ref) -> tuple[JSON, Provenance] | Missing:
        """A step of several calls has a list of outputs: `steps.x.output.1.total`."""
        if not ref.path:
            calls = [self.calls[c] for c in step.call_ids]
            return [c.output for c in calls], join(output_provenance(c, ()) for c in calls)
        index, rest = ref.path[0], ref.path[1:]
        if not index.isdecimal() or int(index) >= len(step.call_ids):
            return Missing(ref)
        call = self.calls[step.call_ids[int(index)]]
        found = _dig(call.output, rest)
        return Missing(ref) if found is _NOTHING else (found, output_provenance(call, rest))

    def names(self, step_ids: Iterable[str]) -> JSONObject:
        """What a condition sees of the run, limited to the steps it names."""
        shown: JSONObject = {}
        for step_id in step_ids:
            step = self.steps.get(step_id)
            if step is None:
                continue
            first = self.calls[step.call_ids[0]] if step.call_ids else None
            member: JSONObject = {"outcome": step.outcome, "code": "", "note": ""}
            if first is not None:
                member |= {"code": first.code, "note": first.note}
                if step.outcome == "succeeded":
                    outputs = [self.calls[c].output for c in step.call_ids]
                    member["output"] = outputs[0] if len(outputs) == 1 else outputs
            shown[step_id] = member
        return {"input": self.submitted.input if self.submitted else {}, "steps": shown, "done": self.done}

    @property
    def done(self) -> JSONObject:
        """What conditions see as `done`: tool -> what succeeded before the fallback took over, oldest first."""
        found: dict[str, list[JSON]] = {}
        for call_id in dict.fromkeys(self.earlier.values()):
            call = self.calls[call_id]
            if call.state is CallState.SUCCEEDED:
                found.setdefault(call.tool, []).append({"arguments": call.arguments, "output": call.output})
        return dict(found)


def repeat_key(tool: str, arguments: JSON) -> str:
    """Name the call whose repetition is counted: same tool, same arguments."""
    return digest({"tool": tool, "arguments": arguments})


_NOTHING: Final = object()


def _dig(value: JSON, path: tuple[str, ...]) -> JSON:
    found: object = value
    for key in path:
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return _NOTHING  # type: ignore[return-value]  # a private marker, compared by identity
    return found  # type: ignore[return-value]  # a member of JSON is JSON


def output_provenance(call: Call, path: tuple[str, ...]) -> Provenance:
    """Say where a member of a call's output comes from.

    The contract's `output_trust` decides per top-level field: `untrusted` text is an attacker's to choose, `trusted`
    is the tool's own record or a closed output type, `inherit` is as trusted as the call's arguments, and `carried` as
    trusted as those of the earlier call that left it here. The sources of the arguments stay in every case, so that
    influence can be traced through a trusted record.
    """
    own = tuple(_own(call, field_, path) for field_ in ([path[0]] if path else _fields(call.output)))
    return join(own)


def suspicion_at(screened: Mapping[str, tuple[str, ...]], pointer: str) -> tuple[str, ...]:
    """Return what was flagged at a pointer, below it or above it; sorted."""
    found = {
        code
        for path, codes in screened.items()
        if f"{path}/".startswith(f"{pointer}/") or f"{pointer}/".startswith(f"{path}/")
        for code in codes
    }
    return tuple(sorted(found))


def _fields(output: JSON) -> list[str]:
    return list(output) if isinstance(output, dict) and output else [""]


def _own(call: Call, top: str, path: tuple[str, ...]) -> Provenance:
    trust = call.trust.get(top, call.trust.get("", "untrusted"))
    pointer = "".join(f"/{key}" for key in (path or ((top,) if top else ())))
    arguments = join(call.provenance.values())
    source = provenance(SourceKind.TOOL, f"{call.tool}:{call.call_id}", pointer, untrusted=trust == "untrusted")
    if call.screened:
        source = replace(source, suspicion=suspicion_at(call.screened, pointer))
    joined = join((source, arguments))
    if trust == "carried":
        return join((joined, call.carried or Provenance((), Integrity.UNTRUSTED)))
    if trust == "trusted":
        return replace(joined, integrity=source.integrity)
    return joined
