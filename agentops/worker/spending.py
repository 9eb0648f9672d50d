"""Where a run's spending meets the budgets: set aside before a request or a call, settled when it is known what it was.

The driver calls `before_*` right before it spends and `after_*` right after. What a dead worker left behind is settled
by `sweep`, from the events of its run: what never started is given back, what nobody can say anything about counts in
full. For a tenant without budgets every function here costs nothing but looking into a dictionary.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Final, Protocol, runtime_checkable
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from agentops.budgets import services as budgets
from agentops.budgets import snapshot
from agentops.budgets.measures import Measure
from agentops.budgets.models import Reservation, ReservationState
from agentops.budgets.services import Amounts, Refused, Reserved
from agentops.engine.events import (
    CallFailed,
    CallReconciled,
    CallStarted,
    CallSucceeded,
    CallUnknown,
    PlanFailed,
    PlanFinished,
    PlanMade,
    ProposalAnswered,
    ProposalDecided,
    ProposalExpired,
    ProposalUnanswered,
    ProposalWithdrawn,
    Stamped,
    Usage,
)
from agentops.engine.planner import Answered, AnswerRequest, Planner, PlannerAnswer, PlannerFailed, PlanRequest
from agentops.engine.spend import model_limit_reached, review_refused
from agentops.engine.state import Call, State
from agentops.engine.transitions import CallState, RunState
from agentops.providers.prices import Estimate as PriceEstimate
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import load
from agentops.tenancy.access import WORKER, Actor
from agentops.wire.canonical import canonical
from approvals.assessing.attention import review_seconds
from tools.contracts import Effect, ToolContract

logger = logging.getLogger(__name__)

MAX_OUTPUT_TOKENS: Final = 16_384
"""Output of one request to a planner that does not say itself how much it may write."""

INSTRUCTION_BYTES: Final = 16_384
"""What a planner says besides the request it is given; with escapes, of which the request itself may need as many."""

UNKNOWN_INPUT_MICROS: Final = 150
UNKNOWN_OUTPUT_MICROS: Final = 600
"""Millionths of a US dollar per token of a model without a known price: the dearest that is sold."""

BATCH: Final = 200

LONGEST_TRIAL: Final = timedelta(hours=6)
"""After this time a trial of a live regression suite is over, whatever became of it."""
_serial = count(1)


@runtime_checkable
class Estimates(Protocol):
    """A planner that knows the most that asking its models can use: tokens, and money where every price is known."""

    def estimate(self, request: PlanRequest | AnswerRequest, *, at: datetime) -> PriceEstimate: ...


# --- model requests --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unaffordable:
    """The request is not made: `code` is limit_tokens, limit_cost or budget_exceeded."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Held:
    """What is set aside for one request: the reservation, and how much of it is money."""

    id: int
    cost_micros: int


def before_plan(
    *,
    run: Run,
    state: State,
    planner: Planner,
    request: PlanRequest,
    fence: int,
    now: datetime,
    actor: Actor = WORKER,
) -> Held | Unaffordable | None:
    """Set aside the most that asking a model for a plan can use; None when there is nothing to set aside.

    Everything must be recorded up to `state`: its number names the request, and so does the claim (`fence`). Refuses
    by the run's own limits first.
    """
    return _before_request(
        run=run,
        state=state,
        planner=planner,
        request=request,
        purpose=f"plan:{request.version}",
        fence=fence,
        now=now,
        actor=actor,
    )


def before_answer(
    *,
    run: Run,
    state: State,
    planner: Planner,
    request: AnswerRequest,
    purpose: str,
    fence: int,
    now: datetime,
    actor: Actor = WORKER,
) -> Held | Unaffordable | None:
    """Set aside the most that having a question answered can use, likewise. `purpose` names the question."""
    return _before_request(
        run=run,
        state=state,
        planner=planner,
        request=request,
        purpose=purpose,
        fence=fence,
        now=now,
        actor=actor,
    )


def _before_request(
    *,
    run: Run,
    state: State,
    planner: Planner,
    request: PlanRequest | AnswerRequest,
    purpose: str,
    fence: int,
    now: datetime,
    actor: Actor,
) -> Held | Unaffordable | None:
    if not planner.name.startswith("model:"):
        return None
    limited = state.limits.tokens or state.limits.cost_micros
    if not limited and not budgets.counted(run.task_type_id, MODEL_MEASURES):
        return None
    tokens, cost = _most(planner, request, now)
    if (reached := model_limit_reached(state, tokens, cost)) is not None:
        return Unaffordable(*reached)
    held = budgets.reserve(
        run_id=run.id,
        task_type_id=run.task_type_id,
        kind="plan",
        purpose=f"{purpose}@{state.seq}/{fence}",
        amounts={Measure.MODEL_CALLS: 1, Measure.TOKENS: tokens, Measure.COST: cost},
        fence=fence,
        now=now,
        actor=actor,
    )
    if isinstance(held, Refused):
        return Unaffordable("budget_exceeded", held.message)
    return Held(held.id, cost) if held is not None else None


MODEL_MEASURES: Final = frozenset({Measure.MODEL_CALLS, Measure.TOKENS, Measure.COST})


def after_plan(held: Held | None, answer: PlannerAnswer | Answered, *, now: datetime) -> None:
    """Settle what a request used. One that timed out may have been worked on, so all that was set aside counts."""
    if held is None:
        return
    usage = answer.usage
    if isinstance(answer, PlannerFailed) and answer.code == "model_timeout" and not (usage and usage.output_tokens):
        budgets.settle(held.id, {}, now=now, assumed=True)
    elif usage is not None:
        budgets.settle(held.id, _used(usage, held.cost_micros), now=now)
    elif isinstance(answer, PlannerFailed):
        budgets.release(held.id, now=now)  # it was never sent
    else:
        budgets.settle(held.id, {}, now=now, assumed=True)


def _used(usage: Usage, held_micros: int) -> Amounts:
    """What is settled: of requests whose price nobody knows, as much money as was set aside for all of them."""
    return {
        Measure.MODEL_CALLS: usage.requests,
        Measure.TOKENS: usage.input_tokens + usage.output_tokens,
        Measure.COST: max(usage.cost_micros, held_micros) if usage.unpriced else usage.cost_micros,
    }


def _most(planner: Planner, request: PlanRequest | AnswerRequest, now: datetime) -> tuple[int, int]:
    """Return the most a request can use: (tokens, millionths of a US dollar); too much rather than too little."""
    if isinstance(planner, Estimates):
        estimate = planner.estimate(request, at=now)
        dearest = estimate.tokens * UNKNOWN_OUTPUT_MICROS
        return estimate.tokens, dearest if estimate.micros is None else estimate.micros
    about = request.about if isinstance(request, AnswerRequest) else request
    shown = [
        about.instructions,
        canonical(about.input),
        *(canonical([dict(t.input_schema), dict(t.output_schema), t.description]) for t in about.tools),
        *(canonical([c.arguments, c.output, c.note]) for c in about.calls),
        *about.feedback,
    ]
    if isinstance(request, AnswerRequest):
        shown += [canonical(request.arguments), request.question, *(text for pair in request.said for text in pair)]
    return unknown_price(2 * sum(len(text.encode()) for text in shown) + INSTRUCTION_BYTES, MAX_OUTPUT_TOKENS)


def unknown_price(input_bytes: int, max_output_tokens: int) -> tuple[int, int]:
    """Say the most a request to a model of unknown price can use: no token is shorter than a byte."""
    cost = input_bytes * UNKNOWN_INPUT_MICROS + max_output_tokens * UNKNOWN_OUTPUT_MICROS
    return input_bytes + max_output_tokens, cost


# --- tool calls ------------------------------------------------------------------------------------------------------


def before_call(
    *, run: Run, call: Call, contract: ToolContract, attempt: int, fence: int, now: datetime, actor: Actor = WORKER
) -> Reserved | Refused | None:
    """Set aside what one attempt at a call costs, outside of any transaction and before its intent is committed.

    An attempt that has an intent is named by its number alone: whoever commits that intent uses the same reservation,
    also after a crash in between. A read leaves no intent, so each time it is really made it is named anew.
    """
    intent = call.effect != Effect.READ
    return budgets.reserve(
        run_id=run.id,
        task_type_id=run.task_type_id,
        kind="call",
        purpose=f"call:{call.call_id}#{attempt}" + ("" if intent else f"/{fence}.{next(_serial)}"),
        call_id=call.call_id,
        amounts=call_amounts(contract),
        fence=0 if intent else fence,
        intent_follows=intent,
        now=now,
        actor=actor,
    )


def after_call(held: Reserved | None, contract: ToolContract, *, now: datetime) -> None:
    """Settle an attempt that reached its tool, whatever it answered.

    One of which nobody knows whether it happened stays set aside until somebody does (`sweep`).
    """
    if held is not None:
        budgets.settle(held.id, call_amounts(contract), now=now)


def give_back(held: Reserved | None, *, now: datetime) -> None:
    """Give back what was set aside for an attempt that did not reach its tool."""
    if held is not None:
        budgets.release(held.id, now=now)


def not_made(held: Reserved | None, call: Call, *, now: datetime) -> None:
    """Give back what was set aside for a read that was not made after all, because recording something failed first.

    An attempt with an intent keeps what it has: whether the intent was committed is not known here, and if it was not,
    the next one uses the same reservation.
    """
    if call.effect == Effect.READ:
        give_back(held, now=now)


def call_amounts(contract: ToolContract) -> Amounts:
    """Return what one attempt at a call of a tool spends, by its contract."""
    return {Measure.TOOL_CALLS: 1, Measure.COST: contract.cost_micros}


def refuses_call(*, run: Run, contract: ToolContract, now: datetime) -> Refused | None:
    """Say whether a call could not be paid for right now, so that nobody is asked about it in vain."""
    return budgets.would_refuse(task_type_id=run.task_type_id, amounts=call_amounts(contract), now=now)


# --- people's attention ----------------------------------------------------------------------------------------------


def before_review(
    *, run: Run, state: State, call_id: str, band: str, now: datetime, actor: Actor = WORKER
) -> tuple[str, str] | None:
    """Set aside the attention that a proposal of a band will take; say why nobody is asked, as (message, rule).

    Runs in the transaction that makes the proposal; `sweep` settles it when the proposal is closed.
    """
    seconds = review_seconds(band)
    if message := review_refused(state, seconds):
        return message, "limit.reviewer_s"
    held = budgets.reserve(
        run_id=run.id,
        task_type_id=run.task_type_id,
        kind="review",
        purpose=f"review:{call_id}",
        call_id=call_id,
        amounts={Measure.REVIEWER: seconds},
        now=now,
        actor=actor,
    )
    return (held.message, f"budget.{held.budget_id}") if isinstance(held, Refused) else None


def counts_review(*, run: Run, state: State, band: str) -> bool:
    """Say whether `before_review` would have anything to do or to refuse."""
    return bool(review_refused(state, review_seconds(band))) or budgets.counted(run.task_type_id, {Measure.REVIEWER})


# --- what dead workers left ------------------------------------------------------------------------------------------


def sweep(now: datetime) -> int:
    """Settle or give back what was set aside and is not under way any more; say limits that nobody has said.

    Works on the open tenant scope: reservations of runs that nobody works on, and of proposals that are closed.
    Returns how many ended; one whose record cannot be read is logged, and stays. One query for a tenant without
    budgets, one more for one that has some.
    """
    nobody = Q(run__lease_until__isnull=True) | Q(run__lease_until__lt=now)
    over = Q(run__state__in=[state.value for state in RunState if state.terminal])
    calls = ToolCall.objects.filter(run_id=OuterRef("run_id"), call_id=OuterRef("call_id"))
    waiting, executing, unknown = (
        Exists(calls.filter(state=state.value))
        for state in (CallState.PROPOSED, CallState.EXECUTING, CallState.UNKNOWN)
    )
    left = Reservation.objects.filter(
        (Q(kind="plan") & nobody)
        | (Q(kind="call") & nobody & ~Q(executing) & (over | ~Q(unknown)))
        | (Q(kind="review") & ~Q(waiting))
        | Q(kind="trial", created_at__lt=now - LONGEST_TRIAL),
        state=ReservationState.OPEN,
    )
    rows = list(left.select_related("run").order_by("run_id", "pk")[:BATCH])
    ended = 0
    histories: dict[UUID, Sequence[Stamped]] = {}
    for row in rows:
        try:
            ended += _end(row, histories, now)
        except Exception:
            logger.exception("nobody can tell what became of %s of run %s", row.purpose, row.run_id)
    if snapshot.everything():
        budgets.announce(now)
    return ended


def _end(row: Reservation, histories: dict[UUID, Sequence[Stamped]], now: datetime) -> bool:
    if row.run is None or row.run_id is None:
        # The process of the trial died, and its own record with it: nobody knows what it has spent.
        return budgets.settle(row.pk, {}, now=now, assumed=True)
    if row.run_id not in histories:
        histories[row.run_id] = load(row.run_id)
    history = histories[row.run_id]
    match row.kind:
        case "plan":
            return _end_plan(row, history, now)
        case "review":
            return _end_review(row, history, now)
        case _:
            return _end_call(row, history, RunState(row.run.state), now)


def _end_plan(row: Reservation, history: Sequence[Stamped], now: datetime) -> bool:
    """The answer to a request is the next event after those it was made from; without one it may have been spent."""
    asked_at = int(row.purpose.partition("@")[2].partition("/")[0])
    answer = next((s.event for s in history if s.seq == asked_at + 1), None)
    heard = PlanMade | PlanFinished | PlanFailed | ProposalAnswered | ProposalUnanswered
    if isinstance(answer, heard) and answer.usage is not None:
        held = sum(int(line["reserved"]) for line in row.lines.values() if line["measure"] == Measure.COST)
        return budgets.settle(row.pk, _used(answer.usage, held), now=now)
    return budgets.settle(row.pk, {}, now=now, assumed=True)


def _end_call(row: Reservation, history: Sequence[Stamped], run: RunState, now: datetime) -> bool:
    """An attempt without a recorded intent never started; one that is known not to have happened spent nothing."""
    if row.fence:
        # A read whose result may have been lost with its worker: it was made, or it was about to be.
        return budgets.settle(row.pk, {}, now=now, assumed=True)
    attempt = int(row.purpose.rpartition("#")[2])
    about = [s.event for s in history if getattr(s.event, "call_id", "") == row.call_id]
    start = next((i for i, e in enumerate(about) if isinstance(e, CallStarted) and e.attempt == attempt), None)
    if start is None:
        return budgets.release(row.pk, now=now)
    full = {Measure(line["measure"]): int(line["reserved"]) for line in row.lines.values()}
    for event in about[start + 1 :]:
        match event:
            case CallReconciled(verdict="did_not_happen"):
                return budgets.release(row.pk, now=now)
            case CallSucceeded() | CallFailed() | CallReconciled() | CallStarted():
                return budgets.settle(row.pk, full, now=now)
            case CallUnknown():
                continue
            case _:
                continue
    return run.terminal and budgets.settle(row.pk, {}, now=now, assumed=True)


def _end_review(row: Reservation, history: Sequence[Stamped], now: datetime) -> bool:
    """What was set aside for a decision counts unless somebody measured it; a question nobody answered took nothing.

    A question may have been withdrawn and asked again, so the last end of it is what counts.
    """
    for stamped in reversed(history):
        match stamped.event:
            case ProposalDecided(call_id=row.call_id, reviewer_s=seconds):
                if seconds is None:
                    return budgets.settle(row.pk, {}, now=now, assumed=True)
                return budgets.settle(row.pk, {Measure.REVIEWER: seconds}, now=now)
            case ProposalExpired(call_id=row.call_id) | ProposalWithdrawn(call_id=row.call_id):
                return budgets.release(row.pk, now=now)
            case _:
                continue
    return budgets.release(row.pk, now=now)
