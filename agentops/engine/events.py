"""What can happen to a run, as typed values. How they are written and read again is `engine.codec`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import ClassVar, Final, Literal

from agentops.engine.transitions import RunState
from agentops.wire.parse import JSON, JSONObject


@dataclass(frozen=True, slots=True)
class Usage:
    """What one model request used: tokens, and cost in millionths of a currency unit of the price table (USD).

    `cached_tokens` are among the input tokens. `unpriced` counts the requests whose cost nobody knows: it is not in
    `cost_micros`.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    duration_ms: int = 0
    cached_tokens: int = 0
    unpriced: int = 0

    def plus(self, more: "Usage | None") -> "Usage":
        """Return the sum of both."""
        if more is None:
            return self
        return Usage(**{f.name: getattr(self, f.name) + getattr(more, f.name) for f in fields(Usage)})


@dataclass(frozen=True, slots=True)
class RunSubmitted:
    """The task and everything about its type that the run must not see change: limits, criteria, tools, planner."""

    type: ClassVar[str] = "run.submitted"
    task_type: str
    input: JSONObject
    requested_by: str
    planner: str
    planning: Literal["plan_first", "reactive"]
    limits: dict[str, int]
    tools: dict[str, JSONObject]
    """Tool name -> {"version", "digest", "authority": [parameter, ...]} of every tool this task type may use.

    Of tools that cost money also "cost_micros", what one attempt costs.
    """
    stop_when: str = ""
    success_when: str = ""
    instructions: str = ""
    origin: str = "submitted"
    prompt: str = ""
    """`slug@version` of the template a model is told, empty without one; `prompt_digest` is its SHA-256."""
    prompt_digest: str = ""
    models: list[str] = field(default_factory=list)
    """Names of the models in the order they are tried."""
    model_parameters: JSONObject = field(default_factory=dict)
    fallback: str = ""
    """The playbook that takes over when the planner cannot go on: `playbook:<slug>@<version>`, or empty."""
    canary: str = ""
    """The mark in what its models are told; it must never turn up in what leaves. Empty without a model."""


@dataclass(frozen=True, slots=True)
class RunClaimed:
    type: ClassVar[str] = "run.claimed"
    worker: str
    attempt: int
    screened: list[JSONObject] = field(default_factory=list)
    """What guardrails found in the task's input, at the first claim: one entry a text (`guardrails.screening`)."""


@dataclass(frozen=True, slots=True)
class RunWaiting:
    """The run let its worker go; `until` is the moment of the next retry (RFC 3339) and empty while people decide."""

    type: ClassVar[str] = "run.waiting"
    state: Literal["waiting_retry", "awaiting_approval", "awaiting_reconciliation"]
    until: str = ""


@dataclass(frozen=True, slots=True)
class RunWarned:
    """The run has used most of a limit: `used` of `allowed`, in the unit of `limits.Limits`. Said once for each."""

    type: ClassVar[str] = "run.warned"
    limit: str
    used: int
    allowed: int


@dataclass(frozen=True, slots=True)
class RunSucceeded:
    type: ClassVar[str] = "run.succeeded"
    answer: str
    findings: list[JSONObject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunFailed:
    type: ClassVar[str] = "run.failed"
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RunCancelled:
    type: ClassVar[str] = "run.cancelled"
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunPaused:
    """Nothing new starts until it is resumed. `halt` is the id of the stop that caused it; empty for a person's own."""

    type: ClassVar[str] = "run.paused"
    by: str
    reason: str = ""
    halt: str = ""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """One cause of the pause is gone: the stop `halt`, or, when that is empty, the person's own."""

    type: ClassVar[str] = "run.resumed"
    by: str
    reason: str = ""
    halt: str = ""


@dataclass(frozen=True, slots=True)
class RunRequeued:
    """A failed run is tried again from where it is; everything done stays done."""

    type: ClassVar[str] = "run.requeued"
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunFellBack:
    """The fallback playbook took over, once and for the rest of the run. `reason_code` is what the run would have
    failed with, or breaker_open."""

    type: ClassVar[str] = "run.fell_back"
    reason_code: str
    from_planner: str
    to_planner: str


@dataclass(frozen=True, slots=True)
class LoopDetected:
    """The run was about to go round in circles; its planner is told and asked for another plan."""

    type: ClassVar[str] = "loop.detected"
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CriteriaUnmet:
    """Everything planned is done and the task type's success criterion does not hold; the planner is told."""

    type: ClassVar[str] = "criteria.unmet"
    criterion: str


@dataclass(frozen=True, slots=True)
class AnswerBlocked:
    """The output policy held the answer back. `message` is in our words; `findings` say where and never what."""

    type: ClassVar[str] = "answer.blocked"
    message: str
    findings: list[JSONObject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlanMade:
    """A usable plan. `tainted`: the planner had seen untrusted text when it made it."""

    type: ClassVar[str] = "plan.made"
    version: int
    planner: str
    plan: JSONObject
    tainted: bool = False
    usage: Usage | None = None
    exchange: JSONObject | None = None
    """The raw request and answer of a model, or None for a playbook."""


@dataclass(frozen=True, slots=True)
class PlanFinished:
    """A reactive planner said that it is done; `answer` is its text."""

    type: ClassVar[str] = "plan.finished"
    planner: str
    answer: str
    tainted: bool = False
    usage: Usage | None = None
    exchange: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class PlanFailed:
    """No usable plan: `code` is plan_invalid or a model failure; `retry_at` (RFC 3339) if waiting may help."""

    type: ClassVar[str] = "plan.failed"
    planner: str
    code: str
    message: str
    retry_at: str = ""
    issues: list[JSONObject] = field(default_factory=list)
    usage: Usage | None = None
    exchange: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class StepSkipped:
    type: ClassVar[str] = "step.skipped"
    step_id: str
    reason: Literal["condition", "missing_value"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StepVerified:
    """All calls of a step have ended and its `expect` was checked."""

    type: ClassVar[str] = "step.verified"
    step_id: str
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class CallSelected:
    """The tool selector resolved a planned call's arguments. `provenance`: JSON pointer of a leaf -> provenance."""

    type: ClassVar[str] = "call.selected"
    call_id: str
    step_id: str
    tool: str
    version: str
    effect: str
    arguments: JSON
    digest: str
    idempotency_key: str
    provenance: dict[str, JSONObject]
    planned: bool = True
    findings: list[JSONObject] = field(default_factory=list)
    """What the output policy found in the arguments that leave: {"path", "kind", "code", "offset", "length", ...}."""


@dataclass(frozen=True, slots=True)
class CallDenied:
    """The gate refused the call; nobody was asked and nothing ran."""

    type: ClassVar[str] = "call.denied"
    call_id: str
    code: str
    message: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class CallGranted:
    """Policy let the call run without a person."""

    type: ClassVar[str] = "call.granted"
    call_id: str
    grant_id: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class CallProposed:
    """The call waits for a person."""

    type: ClassVar[str] = "call.proposed"
    call_id: str
    proposal_id: str
    digest: str
    band: str
    score: int
    rule: str
    decide_by: str
    reviewer_s: int | None = None
    """Seconds of a person's attention that are set aside for the decision."""


@dataclass(frozen=True, slots=True)
class ProposalDecided:
    """A person's verdict. On approve and edit `grant_id` is set; on edit the new arguments, digest, provenance too."""

    type: ClassVar[str] = "proposal.decided"
    proposal_id: str
    call_id: str
    version: int
    verdict: Literal["approve", "edit", "reject"]
    digest: str
    by: str
    reason_code: str = ""
    note: str = ""
    grant_id: str = ""
    arguments: JSON = None
    provenance: dict[str, JSONObject] = field(default_factory=dict)
    patch: list[JSONObject] = field(default_factory=list)
    """JSON Patch (RFC 6902) from what the agent proposed to what was approved."""
    reviewer_s: int | None = None
    """Seconds of attention it took; None where nobody measured them, and then what was set aside counts."""
    release_at: str = ""
    """Before this moment (RFC 3339) the call does not start, and the decision can be taken back."""
    view: JSONObject = field(default_factory=dict)
    """What the person was shown: when, for how long, which sections they opened, which values they confirmed."""
    others: list[JSONObject] = field(default_factory=list)
    """Who else approved this version before, where several people have to: {"by", "at", "note"} each."""
    scope: str = ""
    """How far a rejection reaches: call, step or run (`engine.refusals`). Records of earlier programs have none."""
    retry: str = ""
    """Whether the agent may try again in another way, after a rejection: yes or no."""


@dataclass(frozen=True, slots=True)
class ProposalAsked:
    """A person asked the agent about a call that waits for people. `round` counts the questions of the proposal."""

    type: ClassVar[str] = "proposal.asked"
    proposal_id: str
    call_id: str
    version: int
    round: int
    by: str
    question: str


@dataclass(frozen=True, slots=True)
class ProposalAnswered:
    """What the agent said, in its own words. With `digest` it wants other arguments: they are put before people anew.

    `version` is that of the proposal from now on. `tainted`: untrusted text was in the question to the model.
    """

    type: ClassVar[str] = "proposal.answered"
    proposal_id: str
    call_id: str
    version: int
    round: int
    planner: str
    answer: str
    tainted: bool
    digest: str = ""
    arguments: JSON = None
    provenance: dict[str, JSONObject] = field(default_factory=dict)
    patch: list[JSONObject] = field(default_factory=list)
    """JSON Patch (RFC 6902) from the arguments that were asked about to the new ones."""
    refused: str = ""
    """Why the arguments that the agent wants instead were not taken; empty where it wants none."""
    usage: Usage | None = None
    exchange: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class ProposalUnanswered:
    """Nobody answered a question, and nobody will; the proposal is as it was and waits on."""

    type: ClassVar[str] = "proposal.unanswered"
    proposal_id: str
    call_id: str
    round: int
    planner: str
    code: str
    message: str
    usage: Usage | None = None
    exchange: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class ProposalUndone:
    """An approval was taken back before its call could start; the proposal waits for a person again."""

    type: ClassVar[str] = "proposal.undone"
    proposal_id: str
    call_id: str
    version: int
    by: str
    """Who did, or `policy:` and its version where that asks for more people now, or for others."""


@dataclass(frozen=True, slots=True)
class ProposalExpired:
    """Nobody answered in time; silence denies."""

    type: ClassVar[str] = "proposal.expired"
    proposal_id: str
    call_id: str


@dataclass(frozen=True, slots=True)
class ProposalWithdrawn:
    type: ClassVar[str] = "proposal.withdrawn"
    proposal_id: str
    call_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CallDeferred:
    """The call may not start before `until` (RFC 3339): its tool keeps failing, or has a rate limit.

    Nothing was tried and no permission was used. `code` is breaker_open or rate_limited.
    """

    type: ClassVar[str] = "call.deferred"
    call_id: str
    code: str
    message: str
    until: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The intent, committed together with the grant's consumption before an effect that is not safe to repeat."""

    type: ClassVar[str] = "call.started"
    call_id: str
    grant_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class CallSucceeded:
    """The tool's validated output. `trust`: top-level output field ("" = the rest) -> its `Trust`."""

    type: ClassVar[str] = "call.succeeded"
    call_id: str
    output: JSON
    digest: str
    duration_ms: int
    trust: dict[str, str]
    attempt: int = 1
    screened: list[JSONObject] = field(default_factory=list)
    """What guardrails found in the output: an entry for each text (`guardrails.screening`)."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The tool refused or failed without an effect; `retry_at` (RFC 3339) is set if it will be tried again."""

    type: ClassVar[str] = "call.failed"
    call_id: str
    code: str
    message: str
    duration_ms: int = 0
    retry_at: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class CallUnknown:
    """Whether the effect happened is not known; nothing is repeated until somebody or something says.

    What is the same effect however often it is asked for is repeated under its own key instead, at `retry_at`.
    """

    type: ClassVar[str] = "call.unknown"
    call_id: str
    message: str
    asked: bool = False
    """The contract's reconcile hook was asked and could not tell, so a person must."""
    retry_at: str = ""


@dataclass(frozen=True, slots=True)
class CallConfirmed:
    """What reading the effect of a successful write back has shown. `message` is the tool's, empty if confirmed."""

    type: ClassVar[str] = "call.confirmed"
    call_id: str
    verdict: Literal["confirmed", "contradicted", "cannot_tell"]
    message: str = ""


@dataclass(frozen=True, slots=True)
class CallAdopted:
    """A step of the fallback playbook takes over a call that was made before; nothing is asked or executed again."""

    type: ClassVar[str] = "call.adopted"
    call_id: str
    """The earlier call."""
    step_id: str


@dataclass(frozen=True, slots=True)
class CallWithdrawn:
    """A call that was permitted, or was to be tried again, will not start: its plan was abandoned."""

    type: ClassVar[str] = "call.withdrawn"
    call_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CallReconciled:
    """What became of an unknown effect. `did_not_happen` lets the same grant be used again."""

    type: ClassVar[str] = "call.reconciled"
    call_id: str
    verdict: Literal["happened", "did_not_happen", "gave_up"]
    by: str
    output: JSON = None
    digest: str = ""
    trust: dict[str, str] = field(default_factory=dict)
    note: str = ""
    reference: str = ""
    """The number under which somebody else's system has the effect, as a person found it there."""
    screened: list[JSONObject] = field(default_factory=list)
    """What guardrails found in the output: an entry for each text (`guardrails.screening`)."""


@dataclass(frozen=True, slots=True)
class SessionDropped:
    """The run ended and its session notes were deleted. Of each: name, kind, bytes, digest, untrusted; no content."""

    type: ClassVar[str] = "session.dropped"
    notes: list[JSONObject]


Event = (
    RunSubmitted
    | RunClaimed
    | RunWaiting
    | RunWarned
    | RunSucceeded
    | RunFailed
    | RunCancelled
    | RunPaused
    | RunResumed
    | RunRequeued
    | PlanMade
    | PlanFinished
    | PlanFailed
    | StepSkipped
    | StepVerified
    | CallSelected
    | CallDenied
    | CallGranted
    | CallProposed
    | ProposalDecided
    | ProposalUndone
    | ProposalExpired
    | ProposalWithdrawn
    | CallDeferred
    | CallStarted
    | CallSucceeded
    | CallFailed
    | CallUnknown
    | CallReconciled
    | RunFellBack
    | LoopDetected
    | CriteriaUnmet
    | AnswerBlocked
    | CallConfirmed
    | CallAdopted
    | CallWithdrawn
    | SessionDropped
    | ProposalAsked
    | ProposalAnswered
    | ProposalUnanswered
)

EVENT_TYPES: Final[Mapping[str, type[Event]]] = {cls.type: cls for cls in Event.__args__}
WAITS: Final[Mapping[str, RunState]] = {
    s.value: s for s in (RunState.WAITING_RETRY, RunState.AWAITING_APPROVAL, RunState.AWAITING_RECONCILIATION)
}


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with its place in the run's stream and the time it was recorded (aware, UTC)."""

    seq: int
    at: datetime
    event: Event
