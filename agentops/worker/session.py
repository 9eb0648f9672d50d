"""One claim of one run, as a generator: it decides, and hands out what it needs done.

A session never touches the database of its own run, a tool or a model. It yields what it needs, and whoever drives it
sends back what came of that: `Commit` (the events so far, in one transaction with those of other runs), `Ask` (a plan),
`Enquire` (an answer to a person's question) and `Invoke` (a tool, under a permit). Events are buffered while nothing
but reads happened, and committed with their step. Before an effect that is not a read the buffer is committed with the
intent and the grant's consumption, and its outcome is committed right after it.
"""

import logging
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never
from uuid import UUID

from agentops.audit.services import StreamConflict
from agentops.budgets.services import Refused as Unpaid
from agentops.budgets.services import Reserved
from agentops.engine.conditions import KNOWN_FUNCTIONS
from agentops.engine.decide import (
    Candidate,
    Confirm,
    Execute,
    Fail,
    FallBack,
    Finalize,
    MakePlan,
    Nothing,
    Reconcile,
    Record,
    Reply,
    Select,
    Wait,
    decide,
    plan_request,
)
from agentops.engine.events import (
    AnswerBlocked,
    CallAdopted,
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
    ProposalUndone,
    ProposalWithdrawn,
    RunClaimed,
    RunFailed,
    RunSucceeded,
    RunWaiting,
    Stamped,
    StepVerified,
)
from agentops.engine.fallback import WITHDRAWN
from agentops.engine.plan import InvalidPlan, parse_plan
from agentops.engine.planner import (
    Answered,
    AnswerRequest,
    Answers,
    Finished,
    Planned,
    Planner,
    PlannerAnswer,
    PlannerFailed,
    PlanRequest,
    ToolView,
)
from agentops.engine.questions import open_one
from agentops.engine.state import Call as ToolCall
from agentops.engine.state import State, apply, fold
from agentops.engine.transitions import CallState, IllegalTransition, RunState
from agentops.guardrails.output.policy import OutputPolicy
from agentops.guardrails.provenance import UNSCREENED
from agentops.guardrails.screening import screen_input, screen_output
from agentops.halts.covering import Stop
from agentops.runs import lease as leases
from agentops.runs.commit import RUN_COLUMNS, Head, Shortcut, Write
from agentops.runs.endings import concerned, events_of_end
from agentops.runs.models import Run
from agentops.runs.points import reached
from agentops.runs.recording import Lease, load_many, projection
from agentops.runs.statements import Condition, table_of
from agentops.tenancy.access import WORKER, Actor
from agentops.wire.canonical import digest
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSON, JSONObject
from agentops.worker import answering, mishap, spending
from agentops.worker.backoff import BASE_S, backoff
from agentops.worker.calls import ask_hook, idempotency_key, read_back, request_of, trust_of
from agentops.worker.output import review_answer, review_reply
from agentops.worker.planners import offered_tools, patience
from agentops.worker.snapshot import Snapshot
from agentops.worker.stopping import paused_by, stop_for
from approvals import gate, grants, policies, quorum, release, trust
from approvals.attention import review_seconds
from approvals.judging import TenantRules, counts, judged, output_context, used_so_far
from approvals.models import Proposal
from approvals.revising import ProposalChanged, Revision, revised_by_agent
from approvals.services import draft_proposal, withdraw_proposals
from tools import executor, health
from tools.allowlist import AllowlistState
from tools.contracts import TRANSIENT, Effect, ErrorCode, ToolContract
from tools.registry import registry

if TYPE_CHECKING:
    from agentops.worker.driver import Driver

logger = logging.getLogger(__name__)

MAX_COMMANDS: Final = 20_000
"""A backstop far above what the limits of a run allow."""

MAX_CONFLICTS: Final = 100
"""How often an outcome is offered again while others append to the same run; far more than people can."""


# --- what a session needs done ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit this; send the new head back, or throw what hindered it."""

    write: Write


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the planner; send its answer back."""

    planner: Planner
    request: PlanRequest

    def later(self) -> "Coroutine[Any, Any, PlannerAnswer] | None":
        """Return the asking as a coroutine, for a planner that may take long."""
        asking: Callable[..., Any] | None = getattr(self.planner, "aplan", None)
        return asking(self.request) if asking is not None else None


@dataclass(frozen=True, slots=True)
class Enquire:
    """Have the planner answer a person's question; send what it says back."""

    answerer: Answers
    request: AnswerRequest

    def later(self) -> "Coroutine[Any, Any, Answered | PlannerFailed] | None":
        """Return the asking as a coroutine, for a planner that may take long."""
        asking: Callable[..., Any] | None = getattr(self.answerer, "aanswer", None)
        return asking(self.request) if asking is not None else None


@dataclass(frozen=True, slots=True)
class Invoke:
    """Run the tool under this permit; send the outcome back."""

    request: executor.CallRequest
    permit: executor.Permit


Need = Commit | Ask | Enquire | Invoke
Judged = tuple[CallSelected, ToolContract | None, gate.GateVerdict]
Steps = Generator[Need, Any, None]


@dataclass
class Session:
    """The state of a claimed run as recorded, and what has happened since but is not committed yet."""

    driver: "Driver"
    snapshot: Snapshot
    run: Run
    lease: Lease
    head: Head
    recorded: State
    state: State = field(init=False)
    buffer: list[Stamped] = field(init=False, default_factory=list)
    announced: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.state = self.recorded

    @property
    def actor(self) -> Actor:
        return replace(WORKER, id=self.driver.owner)

    def steps(self) -> Steps:
        """Take the run as far as it goes without a person."""
        if self.over():
            yield from self.let_go()
            return
        if (yield from self.halted()):
            return
        self.claim()
        reached("folded")
        if self.run.attempts > leases.MAX_ATTEMPTS:
            message = mishap.dead_letter(
                attempts=self.run.attempts - 1, last_error=self.run.last_error, last_owner=self.run.last_owner
            )
            yield from self.end(RunFailed("dead_letter", message))
            return
        for _ in range(MAX_COMMANDS):
            try:
                if (yield from self.halted()) or not (yield from self.step()):
                    return
            except StreamConflict:
                # Somebody decided, cancelled or expired something meanwhile; what was buffered were only reads.
                self.reload()
                if self.over():
                    yield from self.let_go()
                    return
                self.claim()
        yield from self.end(RunFailed("internal", "The run did not come to a stop."))

    def over(self) -> bool:
        """Whether there is nothing to drive."""
        return self.recorded.submitted is None or not self.recorded.state.claimable or self.recorded.paused

    def halted(self, tool: str = "") -> Generator[Need, Any, bool]:
        """Whether a stop covers the run, or a call of `tool`; the run is paused by it then and lets its worker go."""
        stop = stop_for(self.run, tool)
        if stop is not None and not self.state.paused:
            yield from self.stopped(stop)
        return stop is not None

    def stopped(self, stop: Stop) -> Steps:
        """Record that the run is paused by a stop, and let it go."""
        self.note(paused_by(stop))
        try:
            yield from self.flush(release=True)
        except StreamConflict:
            # Somebody did something to the run meanwhile. It is stopped all the same: the next worker records that.
            self.reload()
            yield from self.let_go()

    # --- recording --------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the run again, because somebody else has written to it."""
        stream_id, last, events = load_many([self.run.id])[self.run.id]
        self.recorded = self.state = fold(events)
        self.head = Head(stream_id, self.recorded.seq, last)
        # Paused and resumed meanwhile: it needs to be taken up again.
        self.announced = self.announced and self.recorded.state is not RunState.QUEUED
        self.run.refresh_from_db(fields=list(RUN_COLUMNS))
        self.buffer.clear()

    def claim(self) -> None:
        """Say who works on the run, once: after a conflict the claim may be on record already."""
        if not self.announced:
            screened: list[JSONObject] = []
            if self.recorded.started_at is None and self.recorded.submitted is not None:
                screened = screen_input(self.recorded.submitted.input, self.snapshot.screening)
            self.note(RunClaimed(self.driver.owner, self.run.attempts, screened))

    def note(self, *events: Event) -> None:
        """Buffer events; they are applied at once and committed with the next `flush`."""
        for event in events:
            stamped = Stamped(self.state.seq + 1, self.driver.now(), event)
            self.state = apply(self.state, stamped)
            self.buffer.append(stamped)

    def flush(
        self,
        *,
        release: bool = False,
        busy: timedelta = timedelta(0),
        inside: Callable[[], None] | None = None,
        beside: Callable[[], Sequence[Event]] | None = None,
        shortcut: Shortcut | None = None,
    ) -> Steps:
        """Commit the buffer and the run's projection, together with what `inside` and `beside` do (`commit.Write`).

        `busy` is how long the worker may be inside a handler next; the lease outlasts that.
        """
        if release:
            reached("before_release")
        columns = self.columns(release=release, busy=busy)
        recorded = (self.lease, self.head, tuple(self.buffer), self.state, self.actor, columns)
        write = Write(*recorded, inside=inside, beside=beside, shortcut=shortcut)
        self.head = yield Commit(write)
        for name, value in columns.items():
            setattr(self.run, name, value)
        if columns["lease_until"] is not None:
            self.lease = replace(self.lease, until=columns["lease_until"])
        self.recorded = self.state
        self.announced = True
        self.buffer = []
        if release:
            reached("after_release")

    def columns(self, *, release: bool, busy: timedelta) -> dict[str, Any]:
        """Return the row of the run as it will be."""
        now = self.driver.now()
        columns = {name: getattr(self.run, name) for name in RUN_COLUMNS}
        columns |= projection(self.recorded, self.state, self.buffer)
        if any(not isinstance(s.event, RunClaimed) for s in self.buffer):
            columns["attempts"] = 0
        if release:
            return columns | {"lease_owner": "", "lease_until": None}
        # A lease that still holds long enough is left alone: every renewal is a row written anew.
        needed = now + max(leases.LEASE / 2, busy + leases.MARGIN)
        if self.lease.until < needed:
            columns["lease_until"] = now + max(leases.LEASE, busy + leases.MARGIN)
        else:
            columns["lease_until"] = self.lease.until
        return columns

    def let_go(self) -> Steps:
        """Give the lease back."""
        yield from self.flush(release=True)

    def end(self, event: RunSucceeded | RunFailed) -> Steps:
        """End the run; proposals that are still open close with it. The sweeper asks about effects under way."""
        proposed = False
        for call in self.state.calls.values():
            if call.state is CallState.PROPOSED:
                proposed = True
                self.note(ProposalWithdrawn(call.proposal_id, call.call_id, "The run ended."))
            elif call.state is CallState.EXECUTING:
                self.note(CallUnknown(call.call_id, "The run ended while this was under way."))
        self.note(event)

        before, after = self.recorded, self.state

        def close() -> list[Event]:
            if proposed:
                withdraw_proposals(self.run.id, reason="The run ended.", now=self.driver.now())
            return events_of_end(self.run.id, before, after)

        more = proposed or concerned(after)
        yield from self.flush(release=True, beside=close if more else None)

    def fall_back(self, events: Sequence[Event]) -> Steps:
        """Record that the fallback takes over; what the abandoned plan had asked for or was allowed closes with it."""
        self.note(*events)

        def close() -> list[Event]:
            now = self.driver.now()
            withdraw_proposals(self.run.id, reason=WITHDRAWN, now=now)
            grants.revoke_unused(run_id=self.run.id, now=now)
            return []

        yield from self.flush(beside=close)

    # --- commands ---------------------------------------------------------------------------------------------------

    def step(self) -> Generator[Need, Any, bool]:
        """Perform the next command; False when the run has let this worker go."""
        command = decide(self.state)
        match command:
            case MakePlan():
                yield from self.make_plan(command)
            case Record(events=events):
                self.note(*events)
            case Select(candidates=candidates):
                return (yield from self.select(candidates))
            case Execute(call_id=call_id):
                return (yield from self.execute(self.state.calls[call_id]))
            case Reconcile(call_id=call_id):
                yield from self.reconcile(self.state.calls[call_id])
            case Confirm(call_id=call_id):
                call = self.state.calls[call_id]
                self.note(read_back(call, request_of(self.run, call, self.driver.now()), self.driver.tools))
            case Reply():
                yield from self.reply(command)
            case FallBack(events=events):
                yield from self.fall_back(events)
            case Wait(state=state, until=until):
                self.note(_waiting(state, until))
                yield from self.let_go()
                return False
            case Finalize(answer=answer, untrusted=untrusted):
                context = output_context(self.state, self.output_policy, registry.get)
                reviewed = review_answer(answer, context, untrusted=untrusted)
                if isinstance(reviewed, AnswerBlocked):
                    self.note(reviewed)
                    return True
                yield from self.end(reviewed)
                return False
            case Fail(code=code, message=message):
                yield from self.end(RunFailed(code, message))
                return False
            case Nothing():
                yield from self.let_go()
                return False
            case _:
                assert_never(command)
        return True

    def make_plan(self, command: MakePlan) -> Steps:
        planner = self.snapshot.planner(self.state.planner, lambda: self.driver.planners(self.run, self.state))
        by_model = planner.name.startswith("model:")
        views: tuple[ToolView, ...] = ()
        if by_model:
            views = offered_tools(self.run, self.state)
            # A model may take its time: hold nothing back meanwhile, and keep the lease for as long.
            yield from self.flush(busy=patience(planner))
        request = plan_request(self.state, str(self.run.id), views)
        held = spending.before_plan(
            run=self.run,
            state=self.state,
            planner=planner,
            request=request,
            fence=self.lease.fence,
            now=self.driver.now(),
            actor=self.actor,
        )
        if isinstance(held, spending.Unaffordable):
            self.note(PlanFailed(planner.name, held.code, held.message))
            return
        answer = yield Ask(planner, request)
        spending.after_plan(held, answer, now=self.driver.now())
        event = self.planned(command.version, answer.planner or planner.name, answer)
        self.note(event)
        reached("plan_made")
        if by_model:
            yield from self.keep_answer(event)

    def keep_answer(self, event: Event) -> Steps:
        """Record what a model has answered, and what that has cost, although somebody paused the run meanwhile."""
        for _ in range(MAX_CONFLICTS):
            try:
                yield from self.flush()
            except StreamConflict:
                self.reload()
                try:
                    self.note(event)
                except IllegalTransition:
                    return  # the run is over, or planned otherwise: nobody has a use for the answer
                continue
            return

    def reply(self, command: Reply) -> Steps:
        """Have a person's question answered and record that, in the run's own planner's name."""
        planner = self.snapshot.planner(self.state.planner, lambda: self.driver.planners(self.run, self.state))
        by_model = planner.name.startswith("model:")
        answerer = answering.answerer_of(planner)
        call = self.state.calls[command.call_id]
        if not isinstance(answerer, Answers):
            self.note(answering.unanswered(call, command.round, planner.name, answerer))
            return
        if by_model:
            yield from self.flush(busy=patience(planner))
        proposal = Proposal.objects.get(pk=call.proposal_id)
        request = answering.request_of_question(self.state, str(self.run.id), call, proposal)
        held = spending.before_answer(
            run=self.run,
            state=self.state,
            planner=planner,
            request=request,
            purpose=f"answer:{command.call_id}:{command.round}",
            fence=self.lease.fence,
            now=self.driver.now(),
            actor=self.actor,
        )
        if isinstance(held, spending.Unaffordable):
            failed = PlannerFailed(held.code, held.message)
            self.note(answering.unanswered(call, command.round, planner.name, failed))
            return
        answer = yield Enquire(answerer, request)
        spending.after_plan(held, answer, now=self.driver.now())
        reached("question_answered")
        if not by_model or isinstance(answer, PlannerFailed):
            event = answering.told(call, command.round, planner.name, answer, proposal, tainted=False)
            self.note(event)
            if by_model:
                yield from self.keep_answer(event)
            return
        yield from self.keep_reply(command, planner.name, answer, proposal)

    def keep_reply(self, command: Reply, planner: str, answer: Answered, proposal: Proposal) -> Steps:
        """Record what a model has answered, and make a new version of the proposal if it wants other arguments."""
        tainted = self.state.tainted
        context = output_context(self.state, self.output_policy, registry.get)
        answer = replace(answer, text=review_reply(answer.text, context, untrusted=tainted))
        for _ in range(MAX_CONFLICTS):
            call = self.state.calls[command.call_id]
            told, revision = answer, None
            if answer.changes is not None:
                wanted: Revision | str = "It was decided before the answer came."
                if open_one(call) is not None:
                    wanted = revised_by_agent(
                        proposal,
                        answer.changes,
                        planner=answer.planner or planner,
                        question=command.round,
                        tainted=tainted,
                        now=self.driver.now(),
                    )
                if isinstance(wanted, Revision):
                    revision = wanted
                else:
                    told = replace(answer, refused=wanted)
            event = answering.told(call, command.round, planner, told, proposal, tainted=tainted, revision=revision)
            try:
                self.note(event)
            except IllegalTransition:
                return  # the run is over, or somebody else has the question answered
            try:
                yield from self.flush(inside=revision.keep if revision is not None else None)
            except StreamConflict:
                self.reload()
            except ProposalChanged:
                # A person has edited it meanwhile: what the agent wants is compared with that.
                self.state, self.buffer = self.recorded, []
            else:
                return
            proposal = Proposal.objects.get(pk=call.proposal_id)

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
                        functions=KNOWN_FUNCTIONS,
                    )
                except InvalidPlan as error:
                    issues = [issue.to_json() for issue in error.issues]
                    return PlanFailed(planner, "plan_invalid", str(error)[:2000], "", issues, usage, exchange)
                plan: JSONObject = raw if isinstance(raw, dict) else {}
                tainted = self.state.tainted and planner.startswith("model:")
                return PlanMade(version, planner, plan, tainted, usage, exchange)
            case Finished(answer=text, usage=usage, exchange=exchange):
                return PlanFinished(planner, text, self.state.tainted, usage, exchange)
            case PlannerFailed() as failed:
                retry_at = ""
                if failed.retryable:
                    wait = backoff(self.state.plan_failures, failed.retry_after, self.driver.rng)
                    retry_at = _rfc3339(self.driver.now() + wait)
                return PlanFailed(planner, failed.code, failed.message, retry_at, [], failed.usage, failed.exchange)

    @property
    def output_policy(self) -> OutputPolicy:
        return self.snapshot.output_policy(self.run.task_type)

    def pin(self, tool: str) -> JSONObject | None:
        return self.state.submitted.tools.get(tool) if self.state.submitted else None

    def select(self, candidates: Sequence[Candidate]) -> Generator[Need, Any, bool]:
        """Put calls before the gate: what policy allows or denies is noted, what needs a person becomes a proposal.

        Return False when the run now waits for people and has let this worker go.
        """
        judged: dict[str, Judged] = {}
        chosen: dict[str, int] = {}
        for candidate in candidates:
            if candidate.adopts:
                continue
            one = self.judge(candidate, chosen.get(candidate.tool, 0))
            if candidate.barred:
                one = (*one[:2], gate.Deny(str(ErrorCode.PERMISSION_DENIED), candidate.barred, "reviewer.no_retry"))
            chosen[candidate.tool] = chosen.get(candidate.tool, 0) + (not isinstance(one[2], gate.Deny))
            judged[candidate.call_id] = one
        if self.must_settle([(contract, verdict) for _, contract, verdict in judged.values()]):
            yield from self.flush()
        state, buffer = self.state, list(self.buffer)
        unreviewed: dict[str, _Unreviewed] = {}
        while True:
            drafts = self.put(candidates, judged, unreviewed)
            if not drafts:
                return True
            command = decide(self.state)
            waits = isinstance(command, Wait)
            if isinstance(command, Wait):
                self.note(_waiting(command.state, command.until))
            try:
                yield from self.flush(
                    inside=partial(self.book_reviews, drafts),
                    beside=partial(_save, [draft for draft, _ in drafts]),
                    shortcut=self.unbooked(drafts),
                    release=waits,
                )
            except _Unreviewed as refusal:
                # People's attention is limited as well: put the calls again, without asking about this one.
                unreviewed[refusal.call_id] = refusal
                self.state, self.buffer = state, list(buffer)
                continue
            return not waits

    def put(
        self,
        candidates: Sequence[Candidate],
        judged: "Mapping[str, Judged]",
        unreviewed: "Mapping[str, _Unreviewed]",
    ) -> list[tuple[Proposal, State]]:
        """Note what the gate said of each call; return the proposals to be saved with that, and the states before."""
        drafts: list[tuple[Proposal, State]] = []
        for candidate in candidates:
            if candidate.adopts:
                self.note(CallAdopted(candidate.adopts, candidate.step_id))
                continue
            selected, contract, verdict = judged[candidate.call_id]
            self.note(selected)
            refusal = unreviewed.get(selected.call_id)
            match verdict:
                case gate.Deny(code=code, message=message, rule=rule):
                    self.note(CallDenied(selected.call_id, code, message, rule))
                case gate.Auto(rule=rule) if contract is not None:
                    self.note(CallGranted(selected.call_id, str(uuid7()), rule))
                case gate.Gate() if refusal is not None:
                    code = str(ErrorCode.BUDGET_EXCEEDED)
                    self.note(CallDenied(selected.call_id, code, refusal.message, refusal.rule))
                case gate.Gate() if contract is not None:
                    draft, event = self.propose(selected, contract, verdict, candidate)
                    drafts.append((draft, self.state))
                    self.note(event)
                case _:
                    message = "The gate gave no usable verdict."
                    self.note(CallDenied(selected.call_id, "internal", message, "fail_closed"))
        return drafts

    def book_reviews(self, drafts: Sequence[tuple[Proposal, State]]) -> None:
        """Set people's attention aside for proposals that are about to be saved. Raises _Unreviewed."""
        for draft, state in drafts:
            refused = spending.before_review(
                run=self.run,
                state=state,
                call_id=draft.call_id,
                band=draft.risk_band,
                now=self.driver.now(),
                actor=self.actor,
            )
            if refused is not None:
                raise _Unreviewed(draft.call_id, *refused)

    def unbooked(self, drafts: Sequence[tuple[Proposal, State]]) -> Shortcut | None:
        """Return the rows of proposals for which nobody's attention is counted; None where it is."""
        if any(spending.counts_review(run=self.run, state=state, band=draft.risk_band) for draft, state in drafts):
            return None
        return Shortcut(table_of([draft for draft, _ in drafts]))

    def must_settle(self, judged: Sequence[tuple[ToolContract | None, gate.GateVerdict]]) -> bool:
        """Whether the step before has to be committed now, because nothing else commits it before a tool is called.

        A proposal is committed together with the step before it, and so is the intent of a write.
        """
        if not any(isinstance(stamped.event, StepVerified) for stamped in self.buffer):
            return False
        gated = any(isinstance(verdict, gate.Gate) for _, verdict in judged)
        reads = any(isinstance(v, gate.Auto) and c is not None and c.effect is Effect.READ for c, v in judged)
        return reads and not gated

    def judge(self, candidate: Candidate, beside: int) -> Judged:
        """Ask the gate; `beside` counts the calls of the same tool that the same step makes before this one."""
        selected, contract, verdict = judged(
            self.state,
            candidate,
            find=registry.get,
            allow=self.snapshot.rule(self.run.task_type_id, candidate.tool),
            policy=self.output_policy,
            idempotency_key=idempotency_key(self.run, candidate.call_id),
            tenant_id=self.run.tenant_id,
            beside=beside,
            bars=registry.barred,
            rules=self.rules_for,
        )
        if isinstance(verdict, gate.Gate) and contract is not None:
            # Nobody is asked about what could not be paid for anyway; what can be is asked again when it executes.
            unpaid = spending.refuses_call(run=self.run, contract=contract, now=self.driver.now())
            if unpaid is not None:
                verdict = gate.Deny(str(ErrorCode.BUDGET_EXCEEDED), unpaid.message, f"budget.{unpaid.budget_id}")
        return selected, contract, verdict

    def rules_for(self, contract: ToolContract | None, arguments: JSON) -> TenantRules:
        """Return the part of a candidate that policy and scoped trusts have to say, as the snapshot knows them."""
        policy, now = self.snapshot.policy(), self.driver.now()
        return {
            "policy": policy,
            "surroundings": policies.surroundings(self.run, self.snapshot.place(), now) if policy.rules else None,
            "trust": trust.covering(
                self.snapshot.trusts(),
                task_type_id=self.run.task_type_id,
                run_id=self.run.id,
                contract=contract,
                arguments=arguments,
                now=now,
            ),
        }

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

    def propose(
        self, selected: CallSelected, contract: ToolContract, verdict: gate.Gate, candidate: Candidate
    ) -> tuple[Proposal, CallProposed]:
        """Freeze a call for a person: the row to be saved, and the event that says so."""
        proposal = draft_proposal(
            run=self.run,
            call_id=selected.call_id,
            step_id=selected.step_id,
            contract=contract,
            arguments=selected.arguments,
            provenance=candidate.provenance,
            gate=verdict,
            explanation=candidate.why,
            now=self.driver.now(),
            known=self.snapshot.known(),
        )
        event = CallProposed(
            call_id=selected.call_id,
            proposal_id=str(proposal.id),
            digest=proposal.digest,
            band=proposal.risk_band,
            score=proposal.risk_score,
            rule=verdict.rule,
            decide_by=_rfc3339(proposal.decide_by),
            reviewer_s=review_seconds(proposal.risk_band),
        )
        return proposal, event

    # --- execution --------------------------------------------------------------------------------------------------

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
        except grants.LineStopped as refusal:
            self.forgo(call, admission)
            spending.after_call(held, contract, reached=False, unknown=False, now=self.driver.now())
            yield from self.stopped(refusal.stop)
            return False
        except grants.NotReleased as refusal:
            self.forgo(call, admission)
            spending.after_call(held, contract, reached=False, unknown=False, now=self.driver.now())
            self.note(CallDeferred(call.call_id, refusal.code, refusal.message, _rfc3339(refusal.until)))
            return True
        except _AsksMore as more:
            self.forgo(call, admission)
            spending.after_call(held, contract, reached=False, unknown=False, now=self.driver.now())
            yield from self.reopen(call, more)
            return True
        except executor.PermitRefused as refusal:
            self.forgo(call, admission)
            yield from self.refuse(call, refusal.code, refusal.message)
            spending.after_call(held, contract, reached=False, unknown=False, now=self.driver.now())
            return True
        except Exception:
            self.forgo(call, admission)
            spending.not_made(held, call, now=self.driver.now())
            raise
        started = self.state.calls[call.call_id].state is CallState.EXECUTING
        if isinstance(outcome, executor.Failed) and not outcome.reached and started:
            self.forgo(call, admission)
            if call.state is CallState.GRANTED:
                yield from self.unstarted(call, outcome)
            else:
                yield from self.keep(self.outcome(call, contract, _as_before(call, outcome), attempt))
            spending.after_call(held, contract, reached=False, unknown=False, now=self.driver.now())
            return True
        try:
            yield from self.keep(self.outcome(call, contract, outcome, attempt))
        except Exception:
            self.ended(call, contract, admission, outcome, held)
            raise
        self.ended(call, contract, admission, outcome, held)
        return True

    def in_time(self, call: ToolCall) -> executor.CallRequest:
        """Return the request of a call. Its effect does not start once another worker may have taken the run over."""
        request = request_of(self.run, call, self.driver.now())
        if self.state.calls[call.call_id].state is not CallState.EXECUTING:
            return request
        return replace(request, deadline=min(request.deadline, self.lease.until))

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
        unknown = isinstance(outcome, executor.Unknown)
        spending.after_call(held, contract, reached=True, unknown=unknown, now=self.driver.now())

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

    def defer(self, call: ToolCall, refusal: health.Refused) -> Steps:
        """Let a call wait without having started; after as many waits as it may have attempts, end it."""
        if call.deferrals < self.state.limits.attempts:
            # Those who wait for a tool to recover do not come back all at once; turns of a rate limit are apart anyway.
            apart = self.driver.rng.uniform(0, BASE_S) if refusal.code is ErrorCode.BREAKER_OPEN else 0.0
            until = _rfc3339(refusal.retry_at + timedelta(seconds=apart))
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
            return CallDeferred(call.call_id, str(failure.code), failure.message, _rfc3339(until))
        return CallFailed(call.call_id, str(failure.code), failure.message, attempt=call.attempts)

    def rearms(self, call_id: str) -> Callable[[], list[Event]]:
        """Return what makes the used permission of a call usable again, inside of a commit."""

        def make_usable() -> list[Event]:
            grants.rearm(run_id=self.run.id, call_id=call_id)
            return []

        return make_usable

    def forgo(self, call: ToolCall, admission: health.Admitted) -> None:
        """Tell the tool's breaker that the tool was never asked."""
        health.forgo(call.tool, admission, now=self.driver.now())

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

    def contract_changed(self, call: ToolCall, contract: ToolContract) -> bool:
        """Say whether arguments that passed one contract would be judged by another one now."""
        pin = self.pin(call.tool)
        return pin is None or (pin["version"], pin["digest"]) != (contract.version, contract.digest)

    def refuse(self, call: ToolCall, code: str, message: str, rule: str = "grant") -> Steps:
        """Record that a call may not run any more; one that was interrupted may have run already, so that is asked."""
        if call.state in (CallState.EXECUTING, CallState.UNKNOWN):
            told = f"It was interrupted, and repeating it is refused ({code}): {message}"
            self.note(CallUnknown(call.call_id, told))
        else:
            self.note(CallDenied(call.call_id, code, message, rule))
        yield from self.flush()

    def outcome(self, call: ToolCall, contract: ToolContract, outcome: executor.Outcome, attempt: int) -> Event:
        match outcome:
            case executor.Succeeded(output=output, duration_ms=duration):
                trust = trust_of(contract)
                screened = screen_output(output, trust, self.snapshot.screening)
                return CallSucceeded(call.call_id, output, digest(output), duration, trust, attempt, screened)
            case executor.Failed(code=code, message=message, duration_ms=duration, retry_after=retry_after):
                may_repeat = call.effect != Effect.UNSAFE_WRITE and code in TRANSIENT
                retry_at = ""
                if may_repeat and attempt < self.state.limits.attempts:
                    retry_at = _rfc3339(self.driver.now() + backoff(attempt, retry_after, self.driver.rng))
                return CallFailed(call.call_id, str(code), message[:2000], duration, retry_at, attempt)
            case executor.Unknown(message=message):
                retry_at = ""
                if call.effect == Effect.IDEMPOTENT_WRITE and attempt < self.state.limits.attempts:
                    retry_at = _rfc3339(self.driver.now() + backoff(attempt, None, self.driver.rng))
                return CallUnknown(call.call_id, message[:2000], retry_at=retry_at)

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

    def reconcile(self, call: ToolCall) -> Steps:
        """Record what the contract's hook says of an effect whose outcome was never recorded."""
        request = request_of(self.run, call, self.driver.now())
        event = ask_hook(call, request, self.driver.tools, self.snapshot.screening)
        self.note(event)
        rearm = isinstance(event, CallReconciled) and event.verdict == "did_not_happen"
        yield from self.flush(beside=self.rearms(call.call_id) if rearm else None)


class _AsksMore(Exception):
    """More people have to approve a call now, or others, than have."""

    def __init__(self, proposal: Proposal, wanted: gate.Gate) -> None:
        super().__init__(wanted.rule)
        self.proposal = proposal
        self.wanted = wanted


class _Unreviewed(Exception):
    """Nobody is asked about a call, because the attention it would take is used up."""

    def __init__(self, call_id: str, message: str, rule: str) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.message = message
        self.rule = rule


def _as_before(call: ToolCall, failure: executor.Failed) -> executor.Outcome:
    """Say what is known of a call that was tried before and could not be repeated: no more than before."""
    if call.state is CallState.RETRYING:
        return failure
    return executor.Unknown(f"It was interrupted, and repeating it did not start: {failure.message}")


def _save(drafts: Sequence[Proposal]) -> list[Event]:
    Proposal.objects.bulk_create(drafts)
    return []


def _call_id(event: Event) -> str:
    if isinstance(event, CallSucceeded | CallFailed | CallUnknown):
        return event.call_id
    raise TypeError(f"{event.type} is not an outcome")


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
