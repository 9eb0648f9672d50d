"""The one interpreter of the engine's commands: claim, fold, decide, perform, record, until the run waits or ends.

Events are buffered while nothing but reads happened and committed together, one transaction per step. Before an
effect that is not a read the buffer is committed with the intent and the grant's consumption, and its outcome is
committed right after it. Nothing here waits for a person: the run lets its worker go and its row remains.
"""

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID

from django.db import transaction

from agentops import clock
from agentops.audit.services import StreamConflict
from agentops.engine.decide import (
    Candidate,
    Execute,
    Fail,
    Finalize,
    MakePlan,
    Nothing,
    Reconcile,
    Record,
    Select,
    Wait,
    decide,
    plan_request,
)
from agentops.engine.events import (
    CallDeferred,
    CallDenied,
    CallFailed,
    CallGranted,
    CallProposed,
    CallReconciled,
    CallSelected,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    Event,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalWithdrawn,
    RunClaimed,
    RunFailed,
    RunSucceeded,
    RunWaiting,
    Stamped,
    StepSkipped,
)
from agentops.engine.plan import InvalidPlan, parse_plan
from agentops.engine.planner import Finished, Planned, Planner, PlannerAnswer, PlannerFailed, ToolView
from agentops.engine.state import Call, State, apply, fold
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.runs import lease as leases
from agentops.runs.models import Run
from agentops.runs.points import reached
from agentops.runs.recording import Lease, LeaseLost, load, record
from agentops.runs.services import allowed_contracts
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.canonical import digest
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSONObject, clean
from agentops.worker.backoff import BASE_S, backoff
from agentops.worker.calls import InlineGrant, ask_hook, idempotency_key, request_of, trust_of
from agentops.worker.output import review_answer
from agentops.worker.planners import planner_for
from approvals import gate, grants
from approvals.services import create_proposal, withdraw_proposals
from tools import executor, health
from tools.allowlist import AllowlistRule
from tools.allowlist import lookup as allowlist_rule
from tools.contracts import (
    TRANSIENT,
    Effect,
    ErrorCode,
    ToolContract,
    action_digest,
)
from tools.registry import registry

logger = logging.getLogger(__name__)

MAX_COMMANDS: Final = 20_000
"""A backstop far above what the limits of a run allow."""

MAX_CONFLICTS: Final = 100
"""How often an outcome is offered again while others append to the same run; far more than people can."""


@dataclass
class Driver:
    """Drives the runs of one worker. The clock, the planners and the dice are arguments, so that tests choose them."""

    owner: str
    now: Callable[[], datetime] = clock.now
    planners: Callable[[Run, State], Planner] = planner_for
    rng: random.Random = field(default_factory=random.Random)

    def drive(self, tenant: Tenant | int, run_id: UUID) -> bool:
        """Take a run as far as it goes without a person; False if it was not this worker's to take."""
        with tenant_scope(tenant):
            claimed = leases.claim(run_id, owner=self.owner, now=self.now())
            if claimed is None:
                return False
            run, lease = claimed
            reached("claimed")
            session = _Session(self, run, lease)
            try:
                session.go()
            except LeaseLost:
                logger.warning("run %s was taken over by another worker", run_id)
            except Exception:
                logger.exception("run %s stopped unexpectedly; it will be taken up again", run_id)
                leases.postpone(lease, self.now() + backoff(run.attempts, None, self.rng))
            return True


@dataclass
class _Session:
    """One claim of one run: the state as recorded, and what has happened since but is not committed yet."""

    driver: Driver
    run: Run
    lease: Lease
    recorded: State = field(init=False)
    state: State = field(init=False)
    buffer: list[Stamped] = field(init=False, default_factory=list)
    inline: list[InlineGrant] = field(init=False, default_factory=list)
    announced: bool = field(init=False, default=False)
    rules: dict[str, AllowlistRule] = field(init=False, default_factory=dict)
    """The allowlist as it was last looked up, for rate limits only: what may run is looked up each time."""

    @property
    def actor(self) -> Actor:
        return replace(WORKER, id=self.driver.owner)

    def go(self) -> None:
        self.reload()
        if self.over():
            return
        if self.run.attempts > leases.MAX_ATTEMPTS:
            self.claim()
            message = f"{self.run.attempts - 1} workers took the run up and none recorded a step."
            self.end(RunFailed("dead_letter", message))
            return
        self.claim()
        for _ in range(MAX_COMMANDS):
            try:
                if not self.step():
                    return
            except StreamConflict:
                # Somebody decided, cancelled or expired something meanwhile; what was buffered were only reads.
                self.reload()
                if self.over():
                    return
                self.claim()
        self.end(RunFailed("internal", "The run did not come to a stop."))

    def over(self) -> bool:
        """Whether there is nothing to drive; the lease is given back then."""
        nothing = self.recorded.submitted is None or self.recorded.state.terminal
        if nothing:
            leases.release(self.lease)
        return nothing

    # --- recording --------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        self.recorded = self.state = fold(load(self.run.id))
        self.buffer.clear()
        self.inline.clear()
        reached("folded")

    def claim(self) -> None:
        """Say who works on the run, once: after a conflict the claim may be on record already."""
        if not self.announced:
            self.note(RunClaimed(self.driver.owner, self.run.attempts))

    def note(self, *events: Event) -> None:
        """Buffer events; they are applied at once and committed with the next `flush`."""
        for event in events:
            stamped = Stamped(self.state.seq + 1, self.driver.now(), event)
            self.state = apply(self.state, stamped)
            self.buffer.append(stamped)

    def flush(self, *, release: bool = False, busy: timedelta = timedelta(0)) -> None:
        """Commit the buffer, the policy grants of reads in it, and the run's projection in one transaction.

        `busy` is how long the worker may be inside a handler next; the lease outlasts that.
        """
        renewed = replace(self.lease, until=self.driver.now() + max(leases.LEASE, busy + leases.MARGIN))
        if release:
            reached("before_release")
        with transaction.atomic():
            for grant in self.inline:
                grant.write(self.run.id)
            reached("in_transaction")
            self.recorded, self.lease = record(
                self.recorded, self.buffer, lease=renewed, actor=self.actor, release=release
            )
            reached("in_transaction")
        if release:
            reached("after_release")
        self.state = self.recorded
        self.announced = True
        self.buffer = []
        self.inline = []

    def end(self, event: RunSucceeded | RunFailed) -> None:
        """End the run; proposals that are still open close with it."""
        with transaction.atomic():
            for call in self.state.calls.values():
                if call.state is CallState.PROPOSED:
                    self.note(ProposalWithdrawn(call.proposal_id, call.call_id, "The run ended."))
                elif call.state is CallState.EXECUTING:
                    self.note(CallUnknown(call.call_id, "The run ended while this was under way.", asked=True))
            withdraw_proposals(self.run.id, reason="The run ended.", now=self.driver.now())
            self.note(event)
            self.flush(release=True)

    # --- commands ---------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Perform the next command; False when the run has let this worker go."""
        command = decide(self.state)
        match command:
            case MakePlan():
                self.make_plan(command)
            case Record(events=events):
                self.note(*events)
                if not any(isinstance(event, StepSkipped) for event in events):
                    self.flush()
            case Select(candidates=candidates):
                self.select(candidates)
            case Execute(call_id=call_id):
                self.execute(self.state.calls[call_id])
            case Reconcile(call_id=call_id):
                self.reconcile(self.state.calls[call_id])
            case Wait(state=state, until=until):
                self.note(_waiting(state, until))
                self.flush(release=True)
                return False
            case Finalize(answer=answer, untrusted=untrusted):
                self.end(review_answer(answer, untrusted=untrusted))
                return False
            case Fail(code=code, message=message):
                self.end(RunFailed(code, message))
                return False
            case Nothing():
                if self.buffer:
                    self.flush()
                leases.release(self.lease)
                return False
            case _:
                assert_never(command)
        return True

    def make_plan(self, command: MakePlan) -> None:
        planner = self.driver.planners(self.run, self.state)
        contracts = allowed_contracts(self.run.task_type_id)
        views = tuple(_view(contract) for contract in contracts if self.pin(contract.name) is not None)
        if planner.name.startswith("model:"):
            self.flush()  # a model may take its time: hold nothing back meanwhile
        answer = planner.plan(plan_request(self.state, str(self.run.id), views))
        self.note(self.planned(command.version, planner.name, answer))
        reached("plan_made")
        if planner.name.startswith("model:"):
            self.flush()

    def planned(self, version: int, planner: str, answer: PlannerAnswer) -> Event:
        match answer:
            case Planned(plan=raw, usage=usage, exchange=exchange):
                try:
                    parse_plan(
                        raw,
                        version=version,
                        planner=planner,
                        calls_per_step=self.state.limits.calls_per_step,
                        known_steps=frozenset(self.state.steps),
                    )
                except InvalidPlan as error:
                    issues = [issue.to_json() for issue in error.issues]
                    return PlanFailed(planner, "plan_invalid", str(error)[:2000], "", issues, usage, exchange)
                plan: JSONObject = raw if isinstance(raw, dict) else {}
                return PlanMade(version, planner, plan, self.state.tainted, usage, exchange)
            case Finished(answer=text, usage=usage, exchange=exchange):
                return PlanFinished(planner, text, self.state.tainted, usage, exchange)
            case PlannerFailed() as failed:
                retry_at = ""
                if failed.retryable:
                    wait = backoff(self.state.plan_failures, failed.retry_after, self.driver.rng)
                    retry_at = _rfc3339(self.driver.now() + wait)
                return PlanFailed(planner, failed.code, failed.message, retry_at, [], failed.usage, failed.exchange)

    def pin(self, tool: str) -> JSONObject | None:
        return self.state.submitted.tools.get(tool) if self.state.submitted else None

    def select(self, candidates: Sequence[Candidate]) -> None:
        """Put calls before the gate: what policy allows or denies is noted, what needs a person becomes a proposal."""
        judged: list[tuple[CallSelected, ToolContract | None, gate.GateVerdict]] = []
        for candidate in candidates:
            beside = sum(s.tool == candidate.tool and not isinstance(v, gate.Deny) for s, _, v in judged)
            judged.append(self.judge(candidate, beside))
        if not any(isinstance(verdict, gate.Gate) for _, _, verdict in judged):
            for selected, contract, verdict in judged:
                self.note(selected)
                self.settle(selected, contract, verdict)
            return
        with transaction.atomic():
            for (selected, contract, verdict), candidate in zip(judged, candidates, strict=True):
                self.note(selected)
                if isinstance(verdict, gate.Gate) and contract is not None:
                    self.note(self.propose(selected, contract, verdict, candidate))
                else:
                    self.settle(selected, contract, verdict)
            self.flush()

    def judge(
        self, candidate: Candidate, beside: int = 0
    ) -> tuple[CallSelected, ToolContract | None, gate.GateVerdict]:
        """Ask the gate; `beside` counts the calls of the same tool that the same step makes before this one."""
        pin = self.pin(candidate.tool)
        contract = registry.get(candidate.tool, str(pin["version"])) if pin else registry.get(candidate.tool)
        version = str(pin["version"]) if pin else contract.version if contract else ""
        arguments = clean(candidate.arguments)
        calls = self.state.calls.values()
        same_tool = sum(1 for c in calls if c.tool == candidate.tool and c.state is not CallState.DENIED)
        allow = self.rules[candidate.tool] = allowlist_rule(self.run.task_type_id, candidate.tool)
        verdict = gate.classify(
            gate.Candidate(
                contract=contract,
                pinned=gate.Pin(version, str(pin["digest"])) if pin else None,
                arguments=arguments,
                provenance=candidate.provenance,
                planned=candidate.planned,
                allow=allow,
                calls_so_far=same_tool + beside,
            )
        )
        selected = CallSelected(
            call_id=candidate.call_id,
            step_id=candidate.step_id,
            tool=candidate.tool,
            version=version,
            effect=str(contract.effect) if contract else "",
            arguments=arguments,
            digest=action_digest(
                tenant_id=self.run.tenant_id, tool=candidate.tool, version=version, arguments=arguments
            ),
            idempotency_key=idempotency_key(self.run, candidate.call_id),
            provenance={path: p.to_json() for path, p in candidate.provenance.items()},
            planned=candidate.planned,
        )
        return selected, contract, verdict

    def settle(self, selected: CallSelected, contract: ToolContract | None, verdict: gate.GateVerdict) -> None:
        match verdict:
            case gate.Deny(code=code, message=message, rule=rule):
                self.note(CallDenied(selected.call_id, code, message, rule))
            case gate.Auto(rule=rule) if contract is not None:
                now = self.driver.now()
                grant = InlineGrant(uuid7(), selected, now, now + self.execute_within)
                self.inline.append(grant)
                self.note(CallGranted(selected.call_id, str(grant.id), rule))
            case _:
                self.note(CallDenied(selected.call_id, "internal", "The gate gave no usable verdict.", "fail_closed"))

    @property
    def execute_within(self) -> timedelta:
        return timedelta(seconds=self.run.task_type.execute_within_s)

    def propose(
        self, selected: CallSelected, contract: ToolContract, verdict: gate.Gate, candidate: Candidate
    ) -> CallProposed:
        proposal = create_proposal(
            run=self.run,
            call_id=selected.call_id,
            step_id=selected.step_id,
            contract=contract,
            arguments=selected.arguments,
            provenance=candidate.provenance,
            gate=verdict,
            explanation=candidate.why,
            now=self.driver.now(),
        )
        return CallProposed(
            call_id=selected.call_id,
            proposal_id=str(proposal.id),
            digest=proposal.digest,
            band=proposal.risk_band,
            score=proposal.risk_score,
            rule=verdict.rule,
            decide_by=_rfc3339(proposal.decide_by),
        )

    # --- execution --------------------------------------------------------------------------------------------------

    def execute(self, call: Call) -> None:
        contract = registry.get(call.tool, call.version)
        if contract is None or self.contract_changed(call, contract):
            message = f"The contract of {call.tool} is not the one this run started with."
            self.refuse(call, executor.PermitRefused(grants.CONTRACT_CHANGED, message))
            return
        admission = self.admit(call, contract)
        if isinstance(admission, health.Refused):
            self.defer(call, admission)
            return
        attempt = call.attempts + 1
        try:
            outcome, refusal, reached = self.attempt(call, attempt)
        except Exception:
            health.forgo(call.tool, admission, now=self.driver.now())
            raise
        try:
            if refusal is not None:
                self.refuse(call, refusal)
            else:
                self.keep(self.outcome(call, outcome, attempt))
        finally:
            self.report(call, contract, admission, outcome if reached else None)

    def attempt(self, call: Call, attempt: int) -> tuple[executor.Outcome, executor.PermitRefused | None, bool]:
        """Run a call; return what became of it, why it was not permitted if so, and whether it got a permit."""
        permits: list[executor.Permit] = []
        refused: list[executor.PermitRefused] = []
        request = self.request(call)
        own = self.inline_grant(call) if call.effect == Effect.READ else None
        if own is None and self.buffer:
            self.flush()

        def consume(wanted: executor.CallRequest) -> executor.Permit:
            try:
                if own is not None:
                    own.consumed_at = self.driver.now()
                    permits.append(executor.Permit(str(own.id), wanted.digest))
                else:
                    permits.append(self.start(call, wanted, attempt))
            except executor.PermitRefused as refusal:
                refused.append(refusal)
                raise
            reached("before_effect")
            return permits[0]

        outcome = executor.execute(request, consume)
        reached("after_effect")
        return outcome, refused[0] if refused else None, bool(permits)

    def admit(self, call: Call, contract: ToolContract) -> health.Admission:
        """Ask whether the tool may be called now: not while it keeps failing, nor above its rate limit."""
        if call.tool not in self.rules:
            self.rules[call.tool] = allowlist_rule(self.run.task_type_id, call.tool)
        return health.admit(
            call.tool,
            contract,
            now=self.driver.now(),
            rate_per_minute=self.rules[call.tool].rate_per_minute,
            promised=call.retry_at if call.deferred == ErrorCode.RATE_LIMITED else None,
            run_id=self.run.id,
            actor=self.actor,
        )

    def defer(self, call: Call, refusal: health.Refused) -> None:
        """Let a call wait without having started; after as many waits as it may have attempts, end it."""
        if call.deferrals < self.state.limits.attempts:
            # Those who wait for a tool to recover do not come back all at once; turns of a rate limit are apart anyway.
            apart = self.driver.rng.uniform(0, BASE_S) if refusal.code is ErrorCode.BREAKER_OPEN else 0.0
            until = _rfc3339(refusal.retry_at + timedelta(seconds=apart))
            self.note(CallDeferred(call.call_id, str(refusal.code), refusal.message, until))
        elif call.state is CallState.EXECUTING:
            self.refuse(call, executor.PermitRefused(str(refusal.code), refusal.message))
        else:
            self.note(CallFailed(call.call_id, str(refusal.code), refusal.message, attempt=call.attempts))

    def report(
        self, call: Call, contract: ToolContract, admission: health.Admitted, outcome: executor.Outcome | None
    ) -> None:
        """Tell the tool's breaker how the call ended; None: the tool was never asked."""
        now = self.driver.now()
        match outcome:
            case None:
                health.forgo(call.tool, admission, now=now)
                return
            case executor.Succeeded():
                code = None
            case executor.Failed():
                code = outcome.code
            case executor.Unknown():
                code = ErrorCode.OUTCOME_UNKNOWN
            case _:
                assert_never(outcome)
        health.report(call.tool, contract, admission, outcome_code=code, now=now, run_id=self.run.id, actor=self.actor)

    def contract_changed(self, call: Call, contract: ToolContract) -> bool:
        """Say whether arguments that passed one contract would be judged by another one now."""
        pin = self.pin(call.tool)
        return pin is None or (pin["version"], pin["digest"]) != (contract.version, contract.digest)

    def refuse(self, call: Call, refusal: executor.PermitRefused) -> None:
        """Record that a call may not run any more; one that was interrupted may have run already, so that is asked."""
        if call.state is CallState.EXECUTING:
            message = f"It was interrupted, and repeating it is refused ({refusal.code}): {refusal.message}"
            self.note(CallUnknown(call.call_id, message))
        else:
            self.note(CallDenied(call.call_id, refusal.code, refusal.message, "grant"))
        self.flush()

    def start(self, call: Call, request: executor.CallRequest, attempt: int) -> executor.Permit:
        """Commit the intent and the consumption of the grant together."""
        reached("before_intent")
        try:
            with transaction.atomic():
                if call.state in (CallState.EXECUTING, CallState.RETRYING):
                    # Only calls that may be repeated come here again: the same grant serves the same action.
                    grants.rearm(run_id=self.run.id, call_id=call.call_id)
                permit = grants.consume(request, now=self.driver.now())
                self.note(CallStarted(call.call_id, str(permit.grant_id), attempt))
                self.flush(busy=request.deadline - self.driver.now())
        except BaseException:
            self.state, self.buffer = self.recorded, []
            raise
        reached("after_intent")
        return permit

    def inline_grant(self, call: Call) -> InlineGrant | None:
        return next((grant for grant in self.inline if grant.selected.call_id == call.call_id), None)

    def request(self, call: Call) -> executor.CallRequest:
        return request_of(self.run, call, self.driver.now())

    def outcome(self, call: Call, outcome: executor.Outcome, attempt: int) -> Event:
        match outcome:
            case executor.Succeeded(output=output, duration_ms=duration):
                contract = registry.get(call.tool, call.version)
                return CallSucceeded(call.call_id, output, digest(output), duration, trust_of(contract), attempt)
            case executor.Failed(code=code, message=message, duration_ms=duration, retry_after=retry_after):
                may_repeat = call.effect != Effect.UNSAFE_WRITE and code in TRANSIENT
                retry_at = ""
                if may_repeat and attempt < self.state.limits.attempts:
                    retry_at = _rfc3339(self.driver.now() + backoff(attempt, retry_after, self.driver.rng))
                return CallFailed(call.call_id, str(code), message[:2000], duration, retry_at, attempt)
            case executor.Unknown(message=message):
                return CallUnknown(call.call_id, message[:2000])

    def keep(self, event: Event) -> None:
        """Record an outcome whatever else happened to the run meanwhile; reads are committed with their step."""
        self.note(event)
        if self.state.calls[_call_id(event)].effect == Effect.READ:
            return
        reached("before_outcome")
        for _ in range(MAX_CONFLICTS):
            try:
                self.flush()
                reached("after_outcome")
            except StreamConflict:
                self.reload()
                with suppress(IllegalTransition):  # a person has said meanwhile what became of it
                    self.note(event)
                    continue
            return

    def reconcile(self, call: Call) -> None:
        """Record what the contract's hook says of an effect whose outcome was never recorded."""
        event = ask_hook(call, self.request(call))
        with transaction.atomic():
            if isinstance(event, CallReconciled) and event.verdict == "did_not_happen":
                grants.rearm(run_id=self.run.id, call_id=call.call_id)
            self.note(event)
            self.flush()


def _call_id(event: Event) -> str:
    if isinstance(event, CallSucceeded | CallFailed | CallUnknown):
        return event.call_id
    raise TypeError(f"{event.type} is not an outcome")


def _view(contract: ToolContract) -> ToolView:
    return ToolView(
        contract.name, contract.version, contract.description, contract.input_schema, contract.output_schema
    )


def _waiting(state: RunState, until: datetime | None) -> RunWaiting:
    match state:
        case RunState.WAITING_RETRY:
            return RunWaiting("waiting_retry", _rfc3339(until) if until else "")
        case RunState.AWAITING_RECONCILIATION:
            return RunWaiting("awaiting_reconciliation")
        case _:
            return RunWaiting("awaiting_approval")


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
