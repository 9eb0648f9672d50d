"""A person's question on its way to the run's planner, and what comes back on its way into the record."""

from agentops.engine.decide import plan_request
from agentops.engine.events import ProposalAnswered, ProposalUnanswered
from agentops.engine.planner import Answered, AnswerRequest, Answers, Planner, PlannerFailed
from agentops.engine.state import Call, State
from agentops.guardrails.provenance import Provenance
from agentops.wire.parse import clean_text
from agentops.worker.model_answer import MAX_ANSWER
from agentops.worker.plan_answer import PlanReader
from agentops.worker.planners import NoPlanner
from approvals.decisions.revising import Revision
from approvals.models import Proposal


def answerer_of(planner: Planner) -> Answers | PlannerFailed:
    """Return what answers for a planner: a model itself, for a playbook its plan; or why nothing can."""
    if isinstance(planner, NoPlanner) and planner.name.startswith("model:"):
        return PlannerFailed(planner.code, planner.message)
    if not planner.name.startswith("model:"):
        return PlanReader(planner.name)
    if isinstance(planner, Answers):
        return planner
    return PlannerFailed("model_not_configured", "The planner of this run does not answer questions.")


def request_of_question(state: State, run_id: str, call: Call, proposal: Proposal) -> AnswerRequest:
    """Return the open question about a call with everything its planner may know. `proposal` is read by now."""
    plan = state.plan
    assert plan is not None
    step = plan.steps[state.cursor]
    index = int(call.call_id.rpartition(".")[2])
    return AnswerRequest(
        about=plan_request(state, run_id, ()),
        step=step,
        call=step.calls[index],
        version=call.version,
        arguments=proposal.argument_values,
        provenance={path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()},
        said=tuple((one.text, one.answer) for one in call.questions[:-1] if one.outcome == "answered"),
        question=call.questions[-1].text,
    )


def told(
    call: Call,
    round_: int,
    planner: str,
    answer: Answered | PlannerFailed,
    proposal: Proposal,
    *,
    tainted: bool,
    revision: Revision | None = None,
) -> ProposalAnswered | ProposalUnanswered:
    """Return the event of an answer, with the version that it makes if it changes the arguments."""
    if isinstance(answer, PlannerFailed):
        return unanswered(call, round_, planner, answer)
    return ProposalAnswered(
        proposal_id=call.proposal_id,
        call_id=call.call_id,
        version=proposal.version if revision is None else revision.version,
        round=round_,
        planner=answer.planner or planner,
        answer=clean_text(answer.text)[:MAX_ANSWER],
        tainted=tainted,
        digest="" if revision is None else revision.frozen.digest,
        arguments=None if revision is None else revision.arguments,
        provenance={} if revision is None else revision.provenance,
        patch=[] if revision is None else revision.patch,
        refused=answer.refused,
        usage=answer.usage,
        exchange=answer.exchange,
    )


def unanswered(call: Call, round_: int, planner: str, failed: PlannerFailed) -> ProposalUnanswered:
    """Return the event of a question that nobody answered."""
    return ProposalUnanswered(
        proposal_id=call.proposal_id,
        call_id=call.call_id,
        round=round_,
        planner=failed.planner or planner,
        code=failed.code,
        message=failed.message,
        usage=failed.usage,
        exchange=failed.exchange,
    )
