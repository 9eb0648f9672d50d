"""Tool Executor: a granted call from its permission to its recorded outcome, and calls whose outcome is unknown."""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, assert_never
from uuid import UUID

from agentops.audit.services import StreamConflict
from agentops.budgets.services import Refused as Unpaid
from agentops.budgets.services import Reserved
from agentops.engine.decide import Record, decide
from agentops.engine.events import (
    CallDeferred,
    CallDenied,
    CallFailed,
    CallReconciled,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    Event,
    ProposalUndone,
    Stamped,
)
from agentops.engine.folding import fold
from agentops.engine.state import Call as ToolCall
from agentops.engine.state import State
from agentops.engine.transitions import CallState, IllegalTransition
from agentops.guardrails.provenance import UNSCREENED
from agentops.guardrails.screening import screen_output
from agentops.runs.commit import Shortcut
from agentops.runs.points import reached
from agentops.runs.statements import Condition
from agentops.wire.canonical import digest
from agentops.worker import spending
from agentops.worker.backoff import BASE_S, backoff
from agentops.worker.calls import ask_hook, request_of, trust_of
from agentops.worker.claimed import MAX_CONFLICTS, Claimed, rfc3339
from agentops.worker.needs import Invoke, Need, Steps
from approvals.decisions import quorum, release
from approvals.gating import gate
from approvals.gating.judging import counts, output_context, used_so_far
from approvals.models import Proposal
from approvals.permits import grants
from tools import executor, health
from tools.allowlist import AllowlistState
from tools.contracts import TRANSIENT, Effect, ErrorCode, ToolContract
from tools.registry import registry


class Executing(Claimed):
    """The part of a session that runs granted calls: never without its grant, never twice."""

    def execute(self, call: ToolCall) -> Generator[Need, Any, bool]:
        """Run one granted call; False when a stop of the line holds it back and the run has let this worker go."""
        if (yield from self.halted(call.tool)):
            return False
        contract = registry.get(call.tool, call.version)
        if contract is None or self.contract_changed(call, contract):
            message = f"The contract of {call.tool} is not the one this run started with."
            yield from self.refuse(call, grants.CONTRACT_CHANGED, message)
            return True
        admission = self.admit(call, contract)
        if isinstance(admission, health.Refused):
            yield from self.defer(call, admission)
            return True
        attempt = call.attempts + 1
        held = spending.before_call(
            run=self.run,
            call=call,
            contract=contract,
            attempt=attempt,
            fence=self.lease.fence,
            now=self.driver.now(),
            actor=self.actor,
        )
        if isinstance(held, Unpaid):
            self.forgo(call, admission)
            rule = f"budget.{held.budget_id}"
            yield from self.refuse(call, str(ErrorCode.BUDGET_EXCEEDED), held.message, rule)
            return True
        try:
            permit = yield from self.permit(call, contract, attempt)
            reached("before_effect")
            outcome = yield Invoke(self.in_time(call), permit)
            reached("after_effect")
        except (grants.LineStopped, grants.NotReleased, _AsksMore, executor.PermitRefused) as why:
            self.never_asked(call, admission, held)
            return (yield from self.held_up(call, why))
        except Exception:
            self.forgo(call, admission)
            spending.not_made(held, call, now=self.driver.now())
            raise
        if isinstance(outcome, executor.Failed) and not outcome.reached:
            self.never_asked(call, admission, held)
            yield from self.unreached(call, contract, outcome, attempt)
            return True
        try:
            yield from self.keep(self.outcome(call, contract, outcome, attempt))
        except Exception:
            self.ended(call, contract, admission, outcome, held)
            raise
        self.ended(call, contract, admission, outcome, held)
        return True

    def held_up(
        self,
        call: ToolCall,
        why: "grants.LineStopped | grants.NotReleased | _AsksMore | executor.PermitRefused",
    ) -> Generator[Need, Any, bool]:
        """Record why a call could not start; False when a stop of the line holds it back, as `execute` says."""
        match why:
            case grants.LineStopped():
                yield from self.stopped(why.stop)
                return False
            case grants.NotReleased():
                self.note(CallDeferred(call.call_id, why.code, why.message, rfc3339(why.until)))
            case _AsksMore():
                yield from self.reopen(call, why)
            case executor.PermitRefused():
                yield from self.refuse(call, why.code, why.message)
            case _:
                assert_never(why)
        return True

    def unreached(self, call: ToolCall, contract: ToolContract, failure: executor.Failed, attempt: int) -> Steps:
        """Record that the handler of a call that was permitted was not reached."""
        if self.state.calls[call.call_id].state is not CallState.EXECUTING:
            yield from self.keep(self.outcome(call, contract, failure, attempt))
        elif call.state is CallState.GRANTED:
            yield from self.unstarted(call, failure)
        else:
            yield from self.keep(self.outcome(call, contract, _as_before(call, failure), attempt))

    def contract_changed(self, call: ToolCall, contract: ToolContract) -> bool:
        """Say whether arguments that passed one contract would be judged by another one now."""
        pin = self.pin(call.tool)
        return pin is None or (pin["version"], pin["digest"]) != (contract.version, contract.digest)

    def in_time(self, call: ToolCall) -> executor.CallRequest:
        """Return the request of a call. Its effect does not start once another worker may have taken the run over."""
        request = request_of(self.run, call, self.driver.now())
        if self.state.calls[call.call_id].state is not CallState.EXECUTING:
            return request
        return replace(request, deadline=min(request.deadline, self.lease.until))

    def keep(self, event: Event) -> Steps:
        """Record an outcome whatever else happened to the run meanwhile; reads are committed with their step."""
        self.note(event)
        if self.state.calls[_call_id(event)].effect == Effect.READ:
            return
        reached("before_outcome")
        for _ in range(MAX_CONFLICTS):
            follows = decide(self.state)
            if isinstance(follows, Record):
                self.note(*follows.events)
            try:
                yield from self.flush()
            except StreamConflict:
                self.reload()
                with suppress(IllegalTransition):  # a person has said meanwhile what became of it
                    self.note(event)
                    continue
            reached("after_outcome")
            return

    def outcome(self, call: ToolCall, contract: ToolContract, outcome: executor.Outcome, attempt: int) -> Event:
        match outcome:
            case executor.Succeeded(output=output, duration_ms=duration):
                trust = trust_of(contract)
                screened = screen_output(output, trust, self.snapshot.screening)
                return CallSucceeded(call.call_id, output, digest(output), duration, trust, attempt, screened)
            case executor.Failed(code=code, message=message, retry_after=retry_after) if _may_have_happened(call):
                told = f"It was interrupted and may have happened; repeating it failed with {code}: {message}"
                retry_at = ""
                if code in TRANSIENT and attempt < self.state.limits.attempts:
                    retry_at = rfc3339(self.driver.now() + backoff(attempt, retry_after, self.driver.rng))
                return CallUnknown(call.call_id, told[:2000], retry_at=retry_at)
            case executor.Failed(code=code, message=message, duration_ms=duration, retry_after=retry_after):
                may_repeat = call.effect != Effect.UNSAFE_WRITE and code in TRANSIENT
                retry_at = ""
                if may_repeat and attempt < self.state.limits.attempts:
                    retry_at = rfc3339(self.driver.now() + backoff(attempt, retry_after, self.driver.rng))
                return CallFailed(call.call_id, str(code), message[:2000], duration, retry_at, attempt)
            case executor.Unknown(message=message):
                retry_at = ""
                if call.effect == Effect.IDEMPOTENT_WRITE and attempt < self.state.limits.attempts:
                    retry_at = rfc3339(self.driver.now() + backoff(attempt, None, self.driver.rng))
                return CallUnknown(call.call_id, message[:2000], retry_at=retry_at)

    def refuse(self, call: ToolCall, code: str, message: str, rule: str = "grant") -> Steps:
        """Record that a call may not run any more; one that was interrupted may have run already, so that is asked."""
        if call.state in (CallState.EXECUTING, CallState.UNKNOWN):
            told = f"It was interrupted, and repeating it is refused ({code}): {message}"
            self.note(CallUnknown(call.call_id, told))
        else:
            self.note(CallDenied(call.call_id, code, message, rule))
        yield from self.flush()

    # --- permission -------------------------------------------------------------------------------------------------

    def permit(self, call: ToolCall, contract: ToolContract, attempt: int) -> Generator[Need, Any, executor.Permit]:
        """Return the permission to run a call; of anything but a policy's read, its use is on record before it runs.

        What policy lets be read needs no row that is used up: the event is its grant. Raises PermitRefused.
        """
        lets_it = self.judge_again(call, contract)
        if contract.effect is Effect.READ and not call.proposal_id:
            rule = self.snapshot.rule(self.run.task_type_id, call.tool)
            admitted = rule.admits(contract.version) and rule.violated(call.arguments) is None
            trusted = lets_it.rule.startswith("trust.") and rule.state is AllowlistState.GATED
            if not admitted or not (rule.state is AllowlistState.AUTO or trusted):
                raise executor.PermitRefused(
                    grants.NOT_ALLOWED, f"The allowlist no longer lets {call.tool} run this way."
                )
            return executor.Permit(call.grant_id, call.digest)
        reached("before_intent")
        request = request_of(self.run, call, self.driver.now())
        again = call.state in (CallState.EXECUTING, CallState.RETRYING, CallState.UNKNOWN)
        self.note(CallStarted(call.call_id, call.grant_id, attempt))

        policy = (
            None
            if call.proposal_id or isinstance(lets_it, gate.Gate)
            else grants.PolicyGrant(
                UUID(call.grant_id), self.execute_within, lets_it.rule, lets_it.policy_version, lets_it.quotas
            )
        )

        def consume() -> None:
            grants.consume(request, policy=policy, again=again, run=self.run, now=self.driver.now())

        rule = self.snapshot.rule(self.run.task_type_id, call.tool)
        usual: Condition | None = None
        if policy is None and not again:
            usual = grants.usual(call.grant_id, request, rule, run=self.run, now=self.driver.now())
        try:
            yield from self.flush(
                busy=timedelta(seconds=contract.timeout_s),
                inside=consume,
                shortcut=Shortcut(condition=usual) if usual is not None else None,
            )
        except executor.PermitRefused:
            self.state, self.buffer = self.recorded_with(self.buffer[:-1])
            raise
        reached("after_intent")
        return executor.Permit(call.grant_id, call.digest)

    @property
    def execute_within(self) -> timedelta:
        return timedelta(seconds=self.run.task_type.execute_within_s)

    def recorded_with(self, events: Sequence[Stamped]) -> tuple[State, list[Stamped]]:
        """Return the state and the buffer with these events only after what is recorded."""
        return fold(events, self.recorded), list(events)

    def judge_again(self, call: ToolCall, contract: ToolContract) -> gate.Auto | gate.Gate:
        """Return what lets a granted call run now: the rules may have become stricter since.

        Raises PermitRefused, and _AsksMore where fewer people have approved than the policy asks for by now.
        """
        allow, rules = self.snapshot.rule(self.run.task_type_id, call.tool), self.rules_for(contract, call.arguments)
        # As when it was selected: those that were selected later are judged by this one, not this one by them.
        earlier = used_so_far(self.state, call.tool, before=call.call_id) if counts(allow, rules) else 0
        verdict = gate.recheck(
            gate.Candidate(
                contract=contract,
                pinned=gate.Pin(contract.version, contract.digest),
                arguments=call.arguments,
                provenance=call.provenance,
                planned=call.planned,
                allow=allow,
                calls_so_far=earlier,
                call_id=call.call_id,
                output=output_context(self.state, self.output_policy, registry.get) if contract.egress else gate.USUAL,
                unscreened=UNSCREENED in self.state.suspicion,
                **rules,
            ),
            by_person=bool(call.proposal_id),
        )
        if isinstance(verdict, gate.Deny):
            raise executor.PermitRefused(verdict.code, verdict.message)
        if isinstance(verdict, gate.Gate):
            proposal = Proposal.objects.select_related("task_type").get(pk=call.proposal_id)
            if not quorum.enough(proposal, people=verdict.quorum, role=verdict.role):
                if call.attempts:
                    message = f"{verdict.reasons[0]} Too few have approved it to try it again."
                    raise executor.PermitRefused(str(ErrorCode.POLICY_BLOCKED), message)
                raise _AsksMore(proposal, verdict)
        return verdict

    def reopen(self, call: ToolCall, more: "_AsksMore") -> Steps:
        """Put an approved call before people again: the policy asks for more of them now, or for others."""
        proposal, wanted = more.proposal, more.wanted
        self.note(ProposalUndone(call.proposal_id, call.call_id, proposal.version, f"policy:{wanted.policy_version}"))

        def put_back() -> list[Event]:
            release.reopen(proposal, wanted, now=self.driver.now())
            return []

        yield from self.flush(beside=put_back)

    # --- calls that could not start ---------------------------------------------------------------------------------

    def defer(self, call: ToolCall, refusal: health.Refused) -> Steps:
        """Let a call wait without having started; after as many waits as it may have attempts, end it."""
        if call.deferrals < self.state.limits.attempts:
            # Those who wait for a tool to recover do not come back all at once; turns of a rate limit are apart anyway.
            apart = self.driver.rng.uniform(0, BASE_S) if refusal.code is ErrorCode.BREAKER_OPEN else 0.0
            until = rfc3339(refusal.retry_at + timedelta(seconds=apart))
            self.note(CallDeferred(call.call_id, str(refusal.code), refusal.message, until))
        elif call.state in (CallState.EXECUTING, CallState.UNKNOWN):
            yield from self.refuse(call, str(refusal.code), refusal.message)
        else:
            self.note(CallFailed(call.call_id, str(refusal.code), refusal.message, attempt=call.attempts))

    def unstarted(self, call: ToolCall, failure: executor.Failed) -> Steps:
        """Give a permission back that was used for nothing: the handler was not reached. What may pass is awaited."""
        self.note(CallReconciled(call.call_id, "did_not_happen", "worker", note=failure.message))
        for _ in range(MAX_CONFLICTS):
            with suppress(IllegalTransition):  # a paused run waits anyway, one that has ended does nothing more
                self.note(self.next_try(self.state.calls[call.call_id], failure))
            try:
                yield from self.flush(beside=self.rearms(call.call_id))
            except StreamConflict:
                self.reload()
                with suppress(IllegalTransition):  # somebody has said meanwhile what became of it
                    self.note(CallReconciled(call.call_id, "did_not_happen", "worker", note=failure.message))
                    continue
            return

    def next_try(self, call: ToolCall, failure: executor.Failed) -> CallDeferred | CallFailed:
        """Return when a call that could not start tries again, or that it does not any more."""
        if failure.code in TRANSIENT and call.deferrals < self.state.limits.attempts:
            until = self.driver.now() + backoff(call.deferrals + 1, failure.retry_after, self.driver.rng)
            return CallDeferred(call.call_id, str(failure.code), failure.message, rfc3339(until))
        return CallFailed(call.call_id, str(failure.code), failure.message, attempt=call.attempts)

    def rearms(self, call_id: str) -> Callable[[], list[Event]]:
        """Return what makes the used permission of a call usable again, inside of a commit."""

        def make_usable() -> list[Event]:
            grants.rearm(run_id=self.run.id, call_id=call_id)
            return []

        return make_usable

    def reconcile(self, call: ToolCall) -> Steps:
        """Record what the contract's hook says of an effect whose outcome was never recorded."""
        request = request_of(self.run, call, self.driver.now())
        event = ask_hook(call, request, self.driver.tools, self.snapshot.screening)
        self.note(event)
        rearm = isinstance(event, CallReconciled) and event.verdict == "did_not_happen"
        yield from self.flush(beside=self.rearms(call.call_id) if rearm else None)

    # --- breaker and budgets ----------------------------------------------------------------------------------------

    def admit(self, call: ToolCall, contract: ToolContract) -> health.Admission:
        """Ask whether the tool may be called now: not while it keeps failing, nor above its rate limit."""
        rate = self.snapshot.rule(self.run.task_type_id, call.tool).rate_per_minute
        if self.snapshot.is_well(call.tool) and (contract.rate_per_minute if rate is None else rate) is None:
            return health.Admitted(clean=True)
        return health.admit(
            call.tool,
            contract,
            now=self.driver.now(),
            rate_per_minute=rate,
            promised=call.retry_at if call.deferred == ErrorCode.RATE_LIMITED else None,
            run_id=self.run.id,
            actor=self.actor,
        )

    def forgo(self, call: ToolCall, admission: health.Admitted) -> None:
        """Tell the tool's breaker that the tool was never asked."""
        health.forgo(call.tool, admission, now=self.driver.now())

    def never_asked(self, call: ToolCall, admission: health.Admitted, held: Reserved | None) -> None:
        """Tell the tool's breaker that the tool was never asked, and give back what was set aside for asking it.

        Before anything is recorded: what is given back is nobody's to settle if recording fails.
        """
        self.forgo(call, admission)
        spending.give_back(held, now=self.driver.now())

    def report(
        self, call: ToolCall, contract: ToolContract, admission: health.Admitted, outcome: executor.Outcome
    ) -> None:
        """Tell the tool's breaker how the call ended."""
        code: ErrorCode | None = None
        match outcome:
            case executor.Succeeded():
                if admission.clean:
                    return
            case executor.Failed():
                code = outcome.code
            case executor.Unknown():
                code = ErrorCode.OUTCOME_UNKNOWN
            case _:
                assert_never(outcome)
        now = self.driver.now()
        self.snapshot.expire()
        health.report(call.tool, contract, admission, outcome_code=code, now=now, run_id=self.run.id, actor=self.actor)

    def ended(
        self,
        call: ToolCall,
        contract: ToolContract,
        admission: health.Admitted,
        outcome: executor.Outcome,
        held: Reserved | None,
    ) -> None:
        """Tell the tool's breaker and the budgets how a call that was made ended."""
        self.report(call, contract, admission, outcome)
        if not isinstance(outcome, executor.Unknown):
            spending.after_call(held, contract, now=self.driver.now())


class _AsksMore(Exception):
    """More people have to approve a call now, or others, than have."""

    def __init__(self, proposal: Proposal, wanted: gate.Gate) -> None:
        super().__init__(wanted.rule)
        self.proposal = proposal
        self.wanted = wanted


def _may_have_happened(call: ToolCall) -> bool:
    """Whether an earlier attempt at a write may have had its effect: a repeat that fails speaks for itself only."""
    return call.effect != Effect.READ and call.state in (CallState.EXECUTING, CallState.UNKNOWN)


def _as_before(call: ToolCall, failure: executor.Failed) -> executor.Outcome:
    """Say what is known of a call that was tried before and could not be repeated: no more than before."""
    if call.state is CallState.RETRYING:
        return failure
    return executor.Unknown(f"It was interrupted, and repeating it did not start: {failure.message}")


def _call_id(event: Event) -> str:
    if isinstance(event, CallSucceeded | CallFailed | CallUnknown):
        return event.call_id
    raise TypeError(f"{event.type} is not an outcome")
