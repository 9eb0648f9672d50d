"""Planner: what a session asks it, and what becomes of its answers."""

from collections.abc import Sequence
from dataclasses import replace

from agentops.audit.services import StreamConflict
from agentops.engine.conditions import KNOWN_FUNCTIONS
from agentops.engine.decide import MakePlan, Reply, plan_request
from agentops.engine.events import Event, PlanFailed, PlanFinished, PlanMade
from agentops.engine.fallback import WITHDRAWN
from agentops.engine.plan import InvalidPlan, parse_plan
from agentops.engine.planner import Answered, Answers, Finished, Planned, PlannerAnswer, PlannerFailed, ToolView
from agentops.engine.questions import open_one
from agentops.engine.transitions import IllegalTransition
from agentops.runs.points import reached
from agentops.wire.parse import JSONObject
from agentops.worker import answering, spending
from agentops.worker.backoff import backoff
from agentops.worker.claimed import MAX_CONFLICTS, Claimed, rfc3339
from agentops.worker.needs import Ask, Enquire, Steps
from agentops.worker.output import review_reply
from agentops.worker.planners import offered_tools, patience
from approvals.decisions.revising import ProposalChanged, Revision, revised_by_agent
from approvals.gating.judging import output_context
from approvals.models import Proposal
from approvals.permits import grants
from approvals.services import withdraw_proposals
from tools.registry import registry


class Planning(Claimed):
    """The part of a session that plans, falls back, and has people's questions answered."""

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
                    retry_at = rfc3339(self.driver.now() + wait)
                return PlanFailed(planner, failed.code, failed.message, retry_at, [], failed.usage, failed.exchange)

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

    def fall_back(self, events: Sequence[Event]) -> Steps:
        """Record that the fallback takes over; what the abandoned plan had asked for or was allowed closes with it."""
        self.note(*events)

        def close() -> list[Event]:
            now = self.driver.now()
            withdraw_proposals(self.run.id, reason=WITHDRAWN, now=now)
            grants.revoke_unused(run_id=self.run.id, now=now)
            return []

        yield from self.flush(beside=close)

    # --- questions --------------------------------------------------------------------------------------------------

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
