"""What callers get: the documents of runs, events and task types, and how they are made from the record."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.urls import reverse
from pydantic import BaseModel, Field

from agentops.audit.services import Recorded
from agentops.engine.folding import fold
from agentops.engine.state import Call, State, StepProgress
from agentops.engine.transitions import CallState, RunState
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import stamped, stream_of
from agentops.tenancy.links import tenant_url
from agentops.tenancy.models import Tenant
from approvals.models import Proposal, Status

TRAIL: Final = 500
"""Events in a result; `links.events` has the rest of a longer run."""

_ENDS: Final = frozenset({"run.succeeded", "run.failed", "run.cancelled"})


class Links(BaseModel):
    """Where the run is: path-absolute references on this server. `html` is the page for people."""

    self: str
    events: str
    cancel: str
    pause: str
    resume: str
    html: str


class RunAccepted(BaseModel):
    """The run exists and a worker was told."""

    run_id: UUID
    status: RunState
    links: Links


class ErrorInfo(BaseModel):
    """Why the run failed or was cancelled."""

    code: str
    message: str


class RunSummary(RunAccepted):
    """A run as lists show it. `paused_at`: nothing new starts since then; `stopped`: a stop of the line holds it.

    A run that failed for a cause outside of it (error code dead_letter, internal or of the model) may be queued again.
    """

    task_type: str
    title: str
    error: ErrorInfo | None
    paused_at: datetime | None
    stopped: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class CallInfo(BaseModel):
    """One tool call. `output` is what the tool returned and may hold text that outsiders wrote."""

    call_id: str
    tool: str
    version: str
    state: CallState
    arguments: Any
    output: Any
    code: str | None
    proposal_id: UUID | None


class StepInfo(BaseModel):
    """One step of the plan with its calls."""

    id: str
    outcome: str
    calls: list[CallInfo]


class UsageInfo(BaseModel):
    """What the run has used. `wall_time_s` leaves out the time people took; `*cost_micros` are millionths of USD.

    `cost_micros` is what models cost, `tool_cost_micros` what tools cost by their contracts; `reviewer_s` are seconds
    of people's attention, taken or set aside.
    """

    steps: int
    plans: int
    calls: int
    denied_calls: int
    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_micros: int
    unpriced_model_calls: int = Field(description="Model calls whose cost nobody knows; it is not in `cost_micros`.")
    tool_cost_micros: int
    reviewer_s: int
    wall_time_s: float


class ProposalInfo(BaseModel):
    """A call that waits, or waited, for a person. Only people decide, on the page at `url`."""

    id: UUID
    call_id: str
    tool: str
    status: Status
    band: str = Field(examples=["high"])
    decide_by: datetime
    url: str


class ActorInfo(BaseModel):
    """Who did it: a user, a token, a worker or the system."""

    kind: str
    id: str
    name: str


class SubjectInfo(BaseModel):
    """What it was done to."""

    kind: str
    id: str


class EventInfo(BaseModel):
    """One event of the run's audit stream; `hash` (hex) chains it to the one before."""

    seq: int
    ts: datetime
    type: str
    actor: ActorInfo
    subject: SubjectInfo | None
    data: dict[str, Any]
    hash: str


class AuditInfo(BaseModel):
    """The place of the run in the audit record; `head` is the chain hash (hex) of the last event."""

    stream: str
    first_seq: int
    last_seq: int
    head: str


class RunResult(RunSummary):
    """A run with its result, steps and audit trail, all read from its events."""

    answer: str | None
    findings: list[dict[str, Any]]
    steps: list[StepInfo]
    usage: UsageInfo
    limits: dict[str, int]
    proposals: list[ProposalInfo]
    audit: AuditInfo
    audit_trail: list[EventInfo] = Field(description=f"The first {TRAIL} events, oldest first.")


class RunPage(BaseModel):
    """Runs, newest first; `after` of the next request is `next`, which is null at the end."""

    runs: list[RunSummary]
    next: str | None


class EventPage(BaseModel):
    """Events of one run, oldest first; `after` of the next request is `next`, which is null at the end."""

    run_id: UUID
    events: list[EventInfo]
    next: int | None


class ExchangeInfo(BaseModel):
    """What was said to the models for one event. Long texts, which the event only names, are filled in and verified."""

    run_id: UUID
    seq: int
    exchange: dict[str, Any] = Field(
        description="model, url, status, request, response; earlier attempts in `earlier`."
    )


class TaskTypeInfo(BaseModel):
    """A kind of task this tenant allows. `input_schema` is JSON Schema 2020-12."""

    slug: str
    name: str
    description: str
    input_schema: dict[str, Any]


class TaskTypes(BaseModel):
    """All task types that are switched on."""

    task_types: list[TaskTypeInfo]


def run_accepted(run: Run, tenant: Tenant) -> RunAccepted:
    """Return the answer to a submission."""
    return RunAccepted(run_id=run.id, status=RunState(run.state), links=_links(run, tenant))


def run_summary(run: Run, tenant: Tenant) -> RunSummary:
    """Return a run from its row alone; `task_type` must be joined."""
    return RunSummary(
        run_id=run.id,
        status=RunState(run.state),
        links=_links(run, tenant),
        task_type=run.task_type.slug,
        title=run.title,
        error=_error(run.failure_code, run.failure_message),
        paused_at=run.paused_at,
        stopped=run.halt_id is not None,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def run_result(run: Run, tenant: Tenant, recorded: Sequence[Recorded], proposals: Sequence[Proposal]) -> RunResult:
    """Return a run from its recorded events, so that status, steps and trail are of the same moment."""
    state = fold(stamped(one) for one in recorded)
    # A run that failed may have been queued again: only the last end counts, and only if nothing came after it.
    ending = next((one for one in reversed(recorded) if one.type in _ENDS), None) if state.state.terminal else None
    return RunResult(
        run_id=run.id,
        status=state.state,
        links=_links(run, tenant),
        task_type=run.task_type.slug,
        title=run.title,
        error=_error(state.failure_code, state.failure_message),
        paused_at=state.paused_at,
        stopped=bool(state.paused_by_halt),
        created_at=run.created_at,
        started_at=state.started_at,
        ended_at=ending.at if ending else None,
        answer=state.answer if state.state is RunState.SUCCEEDED else None,
        findings=list(ending.data.get("findings", ())) if ending else [],
        steps=[_step(state, step) for step in state.steps.values()],
        usage=_usage(state),
        limits=state.limits.to_json(),
        proposals=[_proposal(proposal, tenant) for proposal in proposals],
        audit=AuditInfo(
            stream=stream_of(run.id),
            first_seq=recorded[0].seq,
            last_seq=recorded[-1].seq,
            head=recorded[-1].hash.hex(),
        ),
        audit_trail=[event_info(one) for one in recorded[:TRAIL]],
    )


def event_info(recorded: Recorded) -> EventInfo:
    """Return one event as it was recorded."""
    return EventInfo(
        seq=recorded.seq,
        ts=recorded.at,
        type=recorded.type,
        actor=ActorInfo(kind=recorded.actor["kind"], id=recorded.actor["id"], name=recorded.actor["name"]),
        subject=SubjectInfo(kind=recorded.subject[0], id=recorded.subject[1]) if recorded.subject else None,
        data=recorded.data,
        hash=recorded.hash.hex(),
    )


def task_type_info(task_type: TaskType) -> TaskTypeInfo:
    """Return what a caller needs to know to submit a task."""
    return TaskTypeInfo(
        slug=task_type.slug,
        name=task_type.name,
        description=task_type.description,
        input_schema=task_type.input_schema,
    )


def _links(run: Run, tenant: Tenant) -> Links:
    return Links(
        self=reverse("api-run", args=[run.id]),
        events=reverse("api-run-events", args=[run.id]),
        cancel=reverse("api-run-cancel", args=[run.id]),
        pause=reverse("api-run-pause", args=[run.id]),
        resume=reverse("api-run-resume", args=[run.id]),
        html=tenant_url(tenant.slug, "run", run.id),
    )


def _error(code: str, message: str) -> ErrorInfo | None:
    return ErrorInfo(code=code, message=message) if code else None


def _step(state: State, step: StepProgress) -> StepInfo:
    return StepInfo(id=step.id, outcome=step.outcome, calls=[_call(state.calls[one]) for one in step.call_ids])


def _call(call: Call) -> CallInfo:
    return CallInfo(
        call_id=call.call_id,
        tool=call.tool,
        version=call.version,
        state=call.state,
        arguments=call.arguments,
        output=call.output,
        code=call.code or None,
        proposal_id=UUID(call.proposal_id) if call.proposal_id else None,
    )


def _usage(state: State) -> UsageInfo:
    return UsageInfo(
        steps=state.steps_used,
        plans=len(state.plans),
        calls=state.calls_used,
        denied_calls=state.denied_calls,
        model_calls=state.usage.requests,
        input_tokens=state.usage.input_tokens,
        output_tokens=state.usage.output_tokens,
        cost_micros=state.usage.cost_micros,
        unpriced_model_calls=state.usage.unpriced,
        tool_cost_micros=state.tool_cost_micros,
        reviewer_s=state.reviewer_s,
        wall_time_s=round(state.wall_time.total_seconds(), 3),
    )


def _proposal(proposal: Proposal, tenant: Tenant) -> ProposalInfo:
    return ProposalInfo(
        id=proposal.id,
        call_id=proposal.call_id,
        tool=proposal.tool,
        status=Status(proposal.status),
        band=proposal.risk_band,
        decide_by=proposal.decide_by,
        url=tenant_url(tenant.slug, "proposal", proposal.id),
    )
