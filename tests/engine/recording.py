"""Records the runs of `fixtures/v1`: `python -m tests.engine.recording [NAME ...]` writes those that are missing.

What is there already is never written again: it stands for records that are out in the world. Every run is a real one,
driven against the gate, the tools and a database; only its random ids are replaced by numbered ones.
"""

import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args
from unittest import mock

from django.db import transaction
from django.test.utils import setup_databases, teardown_databases

import tests.conftest  # noqa: F401 - prepares the environment and Django
from agentops.engine.codec import EVENT_VERSION, encode
from agentops.engine.events import EVENT_TYPES, Event, Stamped, Usage
from agentops.engine.planner import (
    Answered,
    AnswerRequest,
    Finished,
    Planned,
    Planner,
    PlannerAnswer,
    PlannerFailed,
    PlanRequest,
)
from agentops.runs.models import Run
from agentops.runs.recording import load
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import create_tenant
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, as_object
from agentops.worker.driver import Driver
from agentops.worker.planners import planner_for
from agentops.worker.sweeper import settle_leftovers
from approvals.assessing import ladder
from approvals.assessing.risk import Band
from approvals.decisions.asking import ask
from approvals.decisions.release import undo
from approvals.models import BandRule, Proposal
from approvals.proposals.outcomes import Asked
from approvals.services import expire, reject
from approvals.stopping import halting
from approvals.stopping.intervention import cancel_run, pause_run, reconcile_call, requeue_run, resume_run
from tests.deciding import approve, edit_and_approve
from tests.shop import Clock, open_shop, start, task_type
from tools import executor, health
from tools.allowlist import AllowlistState
from tools.contracts import ErrorCode
from tools.models import AllowlistEntry

FIXTURES: Final = Path(__file__).parent / "fixtures" / "v1"
GOODWILL: Final[JSONObject] = {"order_ref": "A-1002", "amount_minor": 100, "reason": "Late"}
USAGE: Final = Usage(1, 900, 120, 4_100, 850)
EXCHANGE: Final[JSONObject] = {"request": {"messages": 2}, "answer": {"finish_reason": "tool_calls"}}
AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED


class Killed(BaseException):
    """Stands for SIGKILL."""


@dataclass
class Scripted:
    """A planner that answers from a list, and then that it is done."""

    answers: list[PlannerAnswer]
    name: str = "model:scripted"
    replies: list[Answered | PlannerFailed] = field(default_factory=list)
    """What it says to people's questions."""

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        return self.answers.pop(0) if self.answers else Finished("Done.", USAGE, EXCHANGE)

    def answer(self, request: AnswerRequest) -> Answered | PlannerFailed:
        return self.replies.pop(0)


@dataclass
class Desk:
    """A shop with a clock, people who decide, and one worker."""

    tenant: Tenant
    people: dict[str, Actor]
    clock: Clock = field(default_factory=lambda: Clock(datetime(2036, 11, 24, 9, tzinfo=UTC)))
    rng: random.Random = field(default_factory=lambda: random.Random(3))

    def start(self, slug: str, task: JSONObject) -> Run:
        return start(slug, task, now=self.clock())

    def drive(self, run: Run, planner: Planner | None = None, owner: str = "w1") -> Run:
        driver = Driver(owner, now=self.clock, rng=self.rng)
        if planner is not None:
            driver = replace(
                driver,
                planners=lambda run, state: planner if state.fell_back is None else planner_for(run, state),
            )
        driver.drive(run.tenant_id, run.id)
        return Run.objects.get(pk=run.pk)

    def later(self, run: Run, planner: Planner | None = None, owner: str = "w1") -> Run:
        """Drive again when the run is due."""
        run.refresh_from_db()
        moments = [m for m in (run.not_before, run.lease_until) if m is not None]
        self.clock.now = max([self.clock.now, *moments])
        self.clock.forward(seconds=1)
        return self.drive(run, planner, owner)

    def pending(self, run: Run) -> Proposal:
        return Proposal.objects.get(run=run, status="pending")

    def approve(self, run: Run, note: str = "") -> None:
        p = self.pending(run)
        approve(
            proposal_id=p.id, actor=self.people["bob"], version=p.version, digest=p.digest, note=note, now=self.clock()
        )

    def ask(self, run: Run, question: str) -> None:
        p = self.pending(run)
        bob = self.people["bob"]
        told = ask(proposal_id=p.id, actor=bob, version=p.version, digest=p.digest, question=question, now=self.clock())
        assert isinstance(told, Asked)

    def reject(self, run: Run, scope: str, *, retry: bool) -> None:
        p = self.pending(run)
        reject(
            proposal_id=p.id,
            actor=self.people["bob"],
            version=p.version,
            digest=p.digest,
            reason_code="wrong_amount",
            note="Less than that",
            scope=scope,
            retry=retry,
            now=self.clock(),
        )

    def modelled(self, allow: dict[str, AllowlistState], planner: Scripted, **more: object) -> Run:
        """Start a task that this planner plans."""
        with _model("scripted"):
            task_type([], allow, planner="model", **more)
            return self.start("job", {})


@contextmanager
def _model(name: str) -> Iterator[None]:
    from django.conf import settings

    before = settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL
    settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = name, "http://127.0.0.1:9/v1"
    try:
        yield
    finally:
        settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = before


Scenario = Callable[[Desk], Run]
SCENARIOS: dict[str, Scenario] = {}


def scenario(make: Scenario) -> Scenario:
    SCENARIOS[make.__name__] = make
    return make


def look(step_id: str, n: str = "A-1001", **more: JSON) -> JSONObject:
    return {"id": step_id, "tool": "shop.find_order", "arguments": {"order_ref": n}, **more}


def ticket(step_id: str, title: str = "Look into it", **more: JSON) -> JSONObject:
    return {
        "id": step_id,
        "tool": "create_ticket",
        "arguments": {"title": title, "priority": "low"},
        **more,
    }


@scenario
def mail_answered(desk: Desk) -> Run:
    """Everything is approved: a refund, then the letter about it."""
    run = desk.drive(desk.start("support-email", {"message_id": "M-0001"}))
    desk.approve(run, "Wilma is right")
    run = desk.drive(run)
    desk.approve(run)
    return desk.drive(run)


@scenario
def refund_rejected(desk: Desk) -> Run:
    run = desk.drive(desk.start("support-email", {"message_id": "M-0001"}))
    p = desk.pending(run)
    reject(
        proposal_id=p.id,
        actor=desk.people["bob"],
        version=1,
        digest=p.digest,
        reason_code="not_enough_evidence",
        note="No photo of the damage",
        now=desk.clock(),
    )
    return desk.drive(run)


@scenario
def approval_taken_back(desk: Desk) -> Run:
    """Somebody thinks better of it before the call could start, and approves it again later."""
    BandRule.objects.bulk_create([BandRule(band=band.value, release_s=30) for band in Band])
    ladder.forget()
    run = desk.drive(desk.start("goodwill-refund", {**GOODWILL, "amount_minor": 5000}))
    proposal = desk.pending(run)
    desk.approve(run)
    desk.clock.forward(seconds=5)
    desk.drive(run)
    undo(proposal_id=proposal.pk, actor=desk.people["bob"], now=desk.clock())
    desk.clock.forward(seconds=60)
    desk.drive(run)
    desk.approve(run)
    ended = desk.later(run)
    ladder.forget()
    return ended


@scenario
def refund_edited(desk: Desk) -> Run:
    run = desk.drive(desk.start("goodwill-refund", {**GOODWILL, "amount_minor": 5000}))
    p = desk.pending(run)
    changed = {**p.argument_values, "amount_minor": 2500}
    edit_and_approve(
        proposal_id=p.id, actor=desk.people["bob"], version=1, digest=p.digest, arguments=changed, now=desk.clock()
    )
    return desk.drive(run)


@scenario
def nobody_answered(desk: Desk) -> Run:
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    p = desk.pending(run)
    desk.clock.now = p.decide_by
    expire(proposal_id=p.id, now=desk.clock())
    return desk.drive(run)


@scenario
def cancelled_while_it_waits(desk: Desk) -> Run:
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    cancel_run(run_id=run.id, actor=desk.people["sam"], reason="Paid in cash", now=desk.clock())
    return run


@scenario
def denied_after_the_approval(desk: Desk) -> Run:
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    desk.approve(run)
    AllowlistEntry.objects.filter(tool="shop.issue_refund").update(state="denied")
    return desk.drive(run)


def _dies(desk: Desk, *, done: bool) -> Run:
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    desk.approve(run)
    execute = executor.execute

    def die(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        if request.tool != "shop.issue_refund":
            return execute(request, consume)
        if done:
            execute(request, consume)
        else:
            consume(request)
        raise Killed

    with mock.patch.object(executor, "execute", die), suppress(Killed):
        desk.drive(run)
    return desk.later(run, owner="w2")


@scenario
def killed_after_the_effect(desk: Desk) -> Run:
    return _dies(desk, done=True)


@scenario
def killed_before_the_effect(desk: Desk) -> Run:
    return _dies(desk, done=False)


@scenario
def nobody_can_tell(desk: Desk) -> Run:
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    desk.approve(run)
    execute = executor.execute

    def lost(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        if request.tool != "shop.issue_refund":
            return execute(request, consume)
        consume(request)
        return executor.Unknown("The connection broke.")

    with (
        mock.patch.object(executor, "execute", lost),
        mock.patch.object(executor, "reconcile", return_value=executor.CannotTell("There is no record to ask.")),
    ):
        run = desk.drive(run)
    reconcile_call(
        run_id=run.id,
        call_id="1.refund.0",
        verdict="gave_up",
        actor=desk.people["sam"],
        note="The bank does not know either",
        now=desk.clock(),
    )
    return desk.drive(run)


def _failing(times: int, code: ErrorCode) -> Callable[..., executor.Outcome]:
    execute, left = executor.execute, [times]

    def fail(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        if left[0] <= 0:
            return execute(request, consume)
        left[0] -= 1
        consume(request)
        return executor.Failed(code, "The shop does not answer.", 12)

    return fail


@scenario
def read_tried_three_times(desk: Desk) -> Run:
    task_type(
        [look("order"), ticket("note", when="steps.order.output.found")],
        {"shop.find_order": AUTO, "create_ticket": AUTO},
    )
    run = desk.start("job", {})
    with mock.patch.object(executor, "execute", _failing(2, ErrorCode.UNAVAILABLE)):
        for _ in range(3):
            run = desk.later(run)
    return run


@scenario
def write_that_failed(desk: Desk) -> Run:
    task_type([look("order"), ticket("note")], {"shop.find_order": AUTO, "create_ticket": AUTO})
    run = desk.start("job", {})
    with mock.patch.object(executor, "execute", _failing(1, ErrorCode.CONFLICT)):
        return desk.drive(run)


@scenario
def kept_away_from_a_tool(desk: Desk) -> Run:
    task_type([look("order")], {"shop.find_order": AUTO}, limits={"attempts": 2})
    run = desk.start("job", {})
    health.hold("shop.find_order", actor=SYSTEM, now=desk.clock())
    for _ in range(3):
        run = desk.later(run)
    return run


@scenario
def skipped_and_missing(desk: Desk) -> Run:
    """A condition that does not hold, a value that is not there, two calls in one step, and an answer made of both."""
    two: JSONObject = {
        "id": "both",
        "calls": [{"tool": "shop.find_order", "arguments": {"order_ref": ref}} for ref in ("A-1001", "A-1003")],
    }
    steps = [
        two,
        ticket("never", when="steps.both.output[0].found == false"),
        ticket("nothing", title={"$ref": "steps.never.output.ticket_id"}),  # type: ignore[arg-type]
        ticket("note", title={"$text": ["Order ", {"$ref": "steps.both.output.1.order_ref"}]}),  # type: ignore[arg-type]
    ]
    task_type(steps, {"shop.find_order": AUTO, "create_ticket": AUTO}, success_when="steps.note.outcome == 'succeeded'")
    return desk.drive(desk.start("job", {}))


@scenario
def check_that_did_not_hold(desk: Desk) -> Run:
    task_type([look("order", "A-9999", expect="output.found")], {"shop.find_order": AUTO})
    return desk.drive(desk.start("job", {}))


@scenario
def same_call_too_often(desk: Desk) -> Run:
    task_type([look(f"s{i}") for i in range(3)], {"shop.find_order": AUTO})
    return desk.drive(desk.start("job", {}))


@scenario
def criteria_not_met(desk: Desk) -> Run:
    task_type([look("order")], {"shop.find_order": AUTO}, success_when="steps.order.output.refunded_minor > 0")
    return desk.drive(desk.start("job", {}))


@scenario
def stopped_early(desk: Desk) -> Run:
    task_type(
        [look("order"), look("more", "A-1002")], {"shop.find_order": AUTO}, stop_when="steps.order.output.found == true"
    )
    return desk.drive(desk.start("job", {}))


@scenario
def taken_out(desk: Desk) -> Run:
    run = desk.start("goodwill-refund", GOODWILL)
    Run.objects.filter(pk=run.pk).update(attempts=5)
    return desk.drive(run)


@scenario
def model_replans(desk: Desk) -> Run:
    """The first answer is no plan, the model is busy, the plan's check does not hold, the next plan does."""
    wrong: JSONObject = {"steps": [look("Order!")]}
    first: JSONObject = {"steps": [look("order", "A-9999", expect="output.found"), ticket("note")]}
    second: JSONObject = {"steps": [look("again", "A-1001"), ticket("note2")], "answers": [{"text": "Noted."}]}
    planner = Scripted(
        [
            Planned(wrong, USAGE, EXCHANGE),
            PlannerFailed("model_rate_limited", "Too many requests.", retryable=True, retry_after=2.0),
            Planned(first, USAGE, EXCHANGE),
            Planned(second, USAGE, EXCHANGE),
        ]
    )
    run = desk.modelled({"shop.find_order": AUTO, "create_ticket": AUTO}, planner)
    run = desk.drive(run, planner)
    return desk.later(run, planner)


@scenario
def model_goes_step_by_step(desk: Desk) -> Run:
    steps: Sequence[JSONObject] = [
        {"id": "read", "tool": "mail.read", "arguments": {"message_id": "M-0001"}},
        look("order"),
        ticket("note"),
    ]
    planner = Scripted([Planned({"steps": [step]}, USAGE, EXCHANGE) for step in steps])
    run = desk.modelled(
        {"mail.read": AUTO, "shop.find_order": AUTO, "create_ticket": AUTO}, planner, planning="reactive"
    )
    return desk.drive(run, planner)


@scenario
def model_without_a_plan(desk: Desk) -> Run:
    planner = Scripted([PlannerFailed("plan_invalid", f"That is no plan ({i}).", usage=USAGE) for i in range(3)])
    return desk.drive(desk.modelled({"shop.find_order": AUTO}, planner), planner)


# --- what came later ------------------------------------------------------------------------------------------------


def critical(desk: Desk, fallback: Sequence[JSONObject], allow: dict[str, AllowlistState], **more: object) -> Run:
    """Start a critical task that a model plans and a playbook can finish."""
    from agentops.runs.models import Playbook

    body = canonical({"steps": list[JSON](fallback), "answers": [{"text": "By the book."}]})
    spare = Playbook.objects.create(slug="spare", version=1, body=body)
    return desk.modelled(allow, Scripted([]), critical=True, fallback=spare, **more)


def refund(step_id: str, **more: JSON) -> JSONObject:
    arguments: JSONObject = {"order_ref": "A-1001", "amount_minor": 100, "currency": "EUR", "reason": "Late"}
    return {"id": step_id, "tool": "shop.issue_refund", "arguments": arguments, **more}


@scenario
def fell_back_after_a_refund(desk: Desk) -> Run:
    """The model's refund was paid and read back; then it had no plan; the playbook takes the refund over."""
    allow = {"shop.find_order": AUTO, "shop.issue_refund": GATED, "create_ticket": AUTO}
    run = critical(desk, [look("order"), refund("pay"), ticket("note")], allow)
    planned: JSONObject = {"steps": [look("order"), refund("refund", expect="output.status == 'pending'")]}
    run = desk.drive(run, Scripted([Planned(planned, USAGE, EXCHANGE)]))
    desk.approve(run)
    invalid = [PlannerFailed("plan_invalid", "That is no plan.", usage=USAGE) for _ in range(3)]
    run = desk.drive(run, Scripted(list[PlannerAnswer](invalid)))
    return desk.drive(run)


@scenario
def fell_back_from_a_tool_that_is_down(desk: Desk) -> Run:
    """Approved, and then the tool is down: the permission ends, and so does a question that was still open."""
    allow = {"shop.find_order": AUTO, "shop.issue_refund": GATED, "create_ticket": AUTO, "mail.read": AUTO}
    run = critical(desk, [look("order"), ticket("note")], allow)
    both: JSONObject = {
        "id": "both",
        "calls": [
            {name: refund("x")[name] for name in ("tool", "arguments")},
            {"tool": "mail.read", "arguments": {"message_id": "M-0001"}},
        ],
    }
    health.hold("mail.read", actor=SYSTEM, now=desk.clock())
    run = desk.drive(run, Scripted([Planned({"steps": [look("order"), both]}, USAGE, EXCHANGE)]))
    return desk.drive(run)


@scenario
def told_of_a_loop_and_of_the_criterion(desk: Desk) -> Run:
    steps = [look(f"s{i}") for i in range(3)]
    planner = Scripted([Planned({"steps": [step]}, USAGE, EXCHANGE) for step in steps])
    planner.answers += [Finished("I am done.", USAGE, EXCHANGE), Planned({"steps": [ticket("note")]}, USAGE, EXCHANGE)]
    allow = {"shop.find_order": AUTO, "create_ticket": AUTO}
    run = desk.modelled(allow, planner, planning="reactive", success_when="steps.note.outcome == 'succeeded'")
    return desk.drive(run, planner)


@scenario
def paused_and_stopped(desk: Desk) -> Run:
    """A person holds the run while it waits, the line is stopped before it goes on, and both let it go again."""
    sam = desk.people["sam"]
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    pause_run(run_id=run.id, actor=sam, reason="Let me call them first", now=desk.clock())
    desk.clock.forward(minutes=3)
    resume_run(run_id=run.id, actor=sam, reason="They want it", now=desk.clock())
    desk.approve(run)
    target = halting.find_target("tool:shop.issue_refund")
    assert target is not None
    stopped = halting.stop(target=target, reason="The provider is being moved", actor=sam, now=desk.clock())
    assert isinstance(stopped, halting.Stopped)
    run = desk.drive(run)
    desk.clock.forward(minutes=5)
    halting.lift(halt_id=stopped.halt_id, reason="It has moved", actor=sam, now=desk.clock())
    halting.settle_lifted(desk.clock())
    return desk.drive(run)


@scenario
def paused_while_nobody_knew(desk: Desk) -> Run:
    """Its worker dies inside an effect, the run is paused, and the sweeper finds out what became of the effect."""
    sam = desk.people["sam"]
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    desk.approve(run)
    execute = executor.execute

    def die(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        outcome = execute(request, consume)
        if request.tool == "shop.issue_refund":
            raise Killed
        return outcome

    with mock.patch.object(executor, "execute", die), suppress(Killed):
        desk.drive(run)
    pause_run(run_id=run.id, actor=sam, reason="Something is wrong", now=desk.clock())
    desk.clock.forward(minutes=5)
    settle_leftovers(desk.clock())
    resume_run(run_id=run.id, actor=sam, reason="It was the power", now=desk.clock())
    return desk.drive(run, owner="w2")


@scenario
def queued_again(desk: Desk) -> Run:
    """Taken out while a question was open; it is asked again once the cause is gone."""
    order, pay = ({name: step[name] for name in ("tool", "arguments")} for step in (look("x"), refund("y")))
    task_type([{"id": "both", "calls": [order, pay]}], {"shop.find_order": AUTO, "shop.issue_refund": GATED})
    run = desk.start("job", {})
    with mock.patch.object(executor, "execute", side_effect=Killed), suppress(Killed):
        desk.drive(run)
    Run.objects.filter(pk=run.pk).update(attempts=5)
    run = desk.later(run)
    requeue_run(run_id=run.id, actor=desk.people["sam"], reason="The disk was full", now=desk.clock())
    run = desk.drive(run)
    desk.approve(run)
    return desk.drive(run)


@scenario
def warned_of_its_limits(desk: Desk) -> Run:
    """Most of its steps are used up, and it goes on."""
    task_type([look(f"s{i}", f"A-100{i}") for i in range(5)], {"shop.find_order": AUTO}, limits={"steps": 6})
    return desk.drive(desk.start("job", {}))


@scenario
def warned_of_its_tokens(desk: Desk) -> Run:
    planner = Scripted([Planned({"steps": [look("order")]}, USAGE, EXCHANGE)])
    allow = {"shop.find_order": AUTO}
    run = desk.modelled(allow, planner, planning="reactive", limits={"tokens": 100_000, "soft_percent": 1})
    return desk.drive(run, planner)


@scenario
def notes_that_ended_with_it(desk: Desk) -> Run:
    """It noted something for itself, and nothing of that is left when it has ended."""
    steps: list[JSONObject] = [
        {"id": "note", "tool": "session.note", "arguments": {"name": "count", "value": 3}},
        {"id": "ask", "tool": "session.recall", "arguments": {"name": "count"}},
    ]
    task_type(steps, {"session.note": AUTO, "session.recall": AUTO})
    return desk.drive(desk.start("job", {}))


@scenario
def asked_what_a_playbook_planned(desk: Desk) -> Run:
    """Somebody asks why; the answer is read off the plan; it is approved."""
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    desk.ask(run, "Where is the amount from?")
    run = desk.drive(run)
    desk.approve(run)
    return desk.drive(run)


PAID: Final = {"shop.find_order": AUTO, "shop.issue_refund": GATED}


@scenario
def asked_and_changed_its_mind(desk: Desk) -> Run:
    """A model is asked three times: it cannot answer, then it can, then it wants another amount, which is approved."""
    planner = Scripted([Planned({"steps": [look("order"), refund("pay")]}, USAGE, EXCHANGE)])
    planner.replies = [
        PlannerFailed("model_timeout", "The model did not answer within 60 s.", usage=USAGE),
        Answered("The order came late.", None, "", USAGE, EXCHANGE),
        Answered("Half of it is enough.", {"amount_minor": 50}, "", USAGE, EXCHANGE),
    ]
    run = desk.drive(desk.modelled(PAID, planner), planner)
    for question in ("Why this?", "Why, please?", "So much?"):
        desk.ask(run, question)
        run = desk.drive(run, planner)
    desk.approve(run)
    return desk.drive(run, planner)


@scenario
def answer_that_was_held_back(desk: Desk) -> Run:
    """The first answer holds a key and goes to nobody; of the second the number of a card is taken out."""
    planner = Scripted([Planned({"steps": [look("order")]}, USAGE, EXCHANGE)])
    planner.answers += [Finished("Use AKIAABCDEFGHIJKLMNOP for it.", USAGE, EXCHANGE)]
    planner.answers += [Finished("Found it, paid with 4111 1111 1111 1111.", USAGE, EXCHANGE)]
    run = desk.modelled({"shop.find_order": AUTO}, planner, planning="reactive")
    return desk.drive(run, planner)


@scenario
def rejected_and_may_not_try_again(desk: Desk) -> Run:
    """The model plans again and wants the same tool once more, which is denied."""
    again = {**refund("again"), "arguments": {**as_object(refund("x")["arguments"]), "amount_minor": 60}}
    planner = Scripted([Planned({"steps": [one]}, USAGE, EXCHANGE) for one in (refund("pay"), again, look("order"))])
    run = desk.drive(desk.modelled(PAID, planner), planner)
    desk.reject(run, "step", retry=False)
    return desk.drive(run, planner)


@scenario
def rejected_one_call_only(desk: Desk) -> Run:
    """The rest of the model's plan goes on as it was made."""
    planner = Scripted([Planned({"steps": [refund("pay"), look("order")]}, USAGE, EXCHANGE)])
    run = desk.drive(desk.modelled(PAID, planner), planner)
    desk.reject(run, "call", retry=True)
    return desk.drive(run, planner)


@scenario
def rejected_with_the_run(desk: Desk) -> Run:
    run = desk.drive(desk.start("goodwill-refund", GOODWILL))
    desk.reject(run, "run", retry=False)
    return desk.drive(run)


@scenario
def answer_of_a_playbook_that_was_held_back(desk: Desk) -> Run:
    """A playbook cannot say it otherwise, so its run fails."""
    kind = task_type([look("order")], {"shop.find_order": AUTO})
    assert kind.playbook is not None
    kind.playbook.body = kind.playbook.body.replace('"done"', '"I have refunded the order."')
    kind.playbook.save()
    return desk.drive(desk.start("job", {}))


# --- writing --------------------------------------------------------------------------------------------------------

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def lines(events: Sequence[Stamped]) -> str:
    """Write a run as one canonical JSON object per event, with numbered instead of random ids."""
    written = "".join(
        canonical(
            {
                "seq": s.seq,
                "at": s.at.isoformat(timespec="microseconds"),
                "type": s.event.type,
                "version": EVENT_VERSION,
                "data": encode(s.event),
            }
        )
        + "\n"
        for s in events
    )
    numbers: dict[str, str] = {}
    return _UUID.sub(
        lambda found: numbers.setdefault(found[0], f"00000000-0000-7000-8000-{len(numbers) + 1:012d}"), written
    )


@contextmanager
def opened() -> Iterator[Desk]:
    """Open a shop that is gone again afterwards."""
    from tests.conftest import person

    whole = transaction.atomic()
    whole._from_testcase = True  # type: ignore[attr-defined]  # as Django's TestCase: effects commit inside it
    with whole:
        tenant = create_tenant(slug="acme", name="Acme", environment="test", actor=SYSTEM)
        people = {
            "bob": Actor.user(person("bob", tenant, "operator"), ("operator",)),
            "sam": Actor.user(person("sam", tenant, "senior"), ("senior",)),
        }
        with tenant_scope(tenant):
            open_shop(tenant)
            yield Desk(tenant, people)
        transaction.set_rollback(True)


def every_event_type() -> Iterator[Event]:
    """Yield one event of each type, with a value in every member."""
    values: dict[object, Any] = {
        str: "text",
        int: 7,
        bool: True,
        JSON: {"found": True, "lines": [1, 2.5, None, "\u00e9\u2028"]},
        JSONObject: {"key": [1, {"deep": False}]},
        dict[str, int]: {"steps": 8},
        dict[str, str]: {"": "untrusted", "found": "trusted"},
        dict[str, JSONObject]: {"/order_ref": {"integrity": "trusted", "readers": None, "sources": []}},
        list[JSONObject]: [{"path": "/steps", "code": "limit_steps"}],
        Usage | None: USAGE,
        JSONObject | None: EXCHANGE,
    }
    for cls in EVENT_TYPES.values():
        members: dict[str, Any] = {
            f.name: values[f.type] if f.type in values else get_args(f.type)[0] for f in fields(cls)
        }
        yield cls(**members)


def write_types() -> None:
    """Add one line for every event type that has none yet."""
    path = FIXTURES / "every_event_type.txt"
    known = path.read_text() if path.exists() else ""
    seen = {json.loads(line)["type"] for line in known.split("\n") if line}
    new = [event for event in every_event_type() if event.type not in seen]
    at = datetime(2036, 11, 24, 9, 0, 0, 1, tzinfo=UTC)
    path.write_text(known + lines([Stamped(len(seen) + i, at, event) for i, event in enumerate(new, start=1)]))


def write_told() -> None:
    """Add what every run that is not in it yet came to."""
    from tests.engine.test_fixtures import events_of, told

    path = FIXTURES / "told.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for run in sorted(FIXTURES.glob("*.jsonl")):
        if run.stem not in known:
            known[run.stem] = told([stamped for _, stamped in events_of(run.name)])
    path.write_text(json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def main(names: Sequence[str]) -> None:
    """Write the runs that are asked for, or all of them, unless they are there already."""
    old = setup_databases(verbosity=0, interactive=False)
    try:
        for name in names or SCENARIOS:
            path = FIXTURES / f"{name}.jsonl"
            if path.exists():
                continue
            with opened() as desk:
                run = SCENARIOS[name](desk)
                path.write_text(lines(load(run.id)))
                sys.stdout.write(f"{path.name}: {Run.objects.get(pk=run.pk).state}\n")
    finally:
        teardown_databases(old, verbosity=0)
    write_types()
    write_told()


if __name__ == "__main__":
    main(sys.argv[1:])
