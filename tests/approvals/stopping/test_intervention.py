"""Pausing, resuming and trying again: who may, what it costs, and what the row says."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from agentops.audit.verify import verify_tenant
from agentops.changes import outcomes
from agentops.engine.events import CallStarted, CallUnknown, Event, ProposalWithdrawn, RunClaimed, RunFailed
from agentops.engine.planner import PlannerAnswer, PlanRequest
from agentops.runs import lease
from agentops.runs.models import Run, TaskType, ToolCall
from agentops.runs.recording import load, record_outside, state_of
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from agentops.worker import mishap
from agentops.worker.driver import Driver
from agentops.worker.sweeper import sweep_tenant
from approvals.decisions.reminders import remind_due
from approvals.models import Grant, Handling, Notification, Proposal
from approvals.permits import policies
from approvals.proposals.deadlines import expire_due
from approvals.proposals.outcomes import Forbidden
from approvals.queue.claims import Done, hold
from approvals.services import Decided, withdraw_proposals
from approvals.stopping.intervention import (
    AlreadyEnded,
    AlreadyPaused,
    Answered,
    Cancelled,
    InvalidAnswer,
    NotFound,
    NotPaused,
    NotRequeueable,
    NotUnknown,
    NotYours,
    Paused,
    ReasonNeeded,
    Requeued,
    Resumed,
    cancel_run,
    pause_run,
    reconcile_call,
    requeue_run,
    resume_run,
)
from tests.conftest import person
from tests.deciding import approve
from tests.shop import AGENT, Clock, drive, only_proposal, open_shop, start
from tools import executor
from tools.backoffice.models import Refund

HOUR = timedelta(hours=1)
GOODWILL: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def reviewer(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, shop)


@pytest.fixture
def senior(sam: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, shop)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def gated(clock: Clock, actor: Actor = AGENT) -> Run:
    return drive(start("goodwill-refund", GOODWILL, actor=actor, now=clock()).id, clock)


def approved(reviewer: Actor, clock: Clock) -> Proposal:
    proposal = only_proposal()
    outcome = approve(
        proposal_id=proposal.pk, actor=reviewer, version=proposal.version, digest=proposal.digest, now=clock()
    )
    assert isinstance(outcome, Decided)
    return proposal


def record(run: Run, *events: Event, clock: Clock) -> None:
    with transaction.atomic():
        record_outside(run.pk, events, actor=WORKER, now=clock())


# --- pausing --------------------------------------------------------------------------------------------------------


def test_a_paused_run_is_no_workers_and_no_sweepers_business(shop: Tenant, reviewer: Actor, clock: Clock) -> None:
    run = start("goodwill-refund", GOODWILL, now=clock())
    assert isinstance(pause_run(run_id=run.pk, actor=reviewer, reason="wait", now=clock()), Paused)
    clock.forward(hours=1)
    assert sweep_tenant(shop, clock()) == 0
    assert lease.claim(run.pk, owner="w1", now=clock()) is None
    assert isinstance(resume_run(run_id=run.pk, actor=reviewer, reason="now", now=clock()), Resumed)
    assert drive(run.pk, clock).state == "awaiting_approval"
    assert not verify_tenant().findings


def test_a_worker_in_the_middle_of_an_effect_records_it_and_then_lets_go(
    shop: Tenant, reviewer: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gated(clock)
    approved(reviewer, clock)
    original = executor.execute

    def paused_meanwhile(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        outcome = original(request, consume)
        assert isinstance(pause_run(run_id=run.pk, actor=reviewer, reason="stop", now=clock()), Paused)
        return outcome

    monkeypatch.setattr(executor, "execute", paused_meanwhile)
    run = drive(run.pk, clock)
    assert Refund.objects.count() == 1
    assert ToolCall.objects.get(run=run, tool="shop.issue_refund").state == "succeeded"
    assert (run.state, run.lease_owner, run.paused_at is not None) == ("running", "", True)
    monkeypatch.undo()
    resume_run(run_id=run.pk, actor=reviewer, reason="go", now=clock())
    assert drive(run.pk, clock).state == "succeeded"
    assert Refund.objects.count() == 1


def test_a_run_that_is_paused_and_resumed_behind_its_workers_back_goes_on(
    shop: Tenant, reviewer: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gated(clock)
    approved(reviewer, clock)
    original = executor.execute

    def held_meanwhile(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        outcome = original(request, consume)
        pause_run(run_id=run.pk, actor=reviewer, reason="stop", now=clock())
        resume_run(run_id=run.pk, actor=reviewer, reason="no, go", now=clock())
        return outcome

    monkeypatch.setattr(executor, "execute", held_meanwhile)
    run = drive(run.pk, clock)
    monkeypatch.undo()
    if run.state == "queued":
        run = drive(run.pk, clock)
    assert run.state == "succeeded"
    assert state_of(run.pk).wall_time < timedelta(seconds=5)


def test_the_deadlines_of_a_paused_run_stand_still(shop: Tenant, reviewer: Actor, clock: Clock) -> None:
    TaskType.objects.update(decide_within_s=60)
    run = gated(clock)
    before, began = only_proposal(), clock()
    pause_run(run_id=run.pk, actor=reviewer, reason="wait", now=began)
    clock.forward(hours=3)
    assert expire_due(clock(), 10) == 0
    ended = clock()
    resume_run(run_id=run.pk, actor=reviewer, reason="go", now=ended)
    assert only_proposal().decide_by - before.decide_by == ended - began
    clock.forward(minutes=2)
    assert expire_due(clock(), 10) == 1


def test_a_permission_given_before_a_pause_outlives_it(shop: Tenant, reviewer: Actor, clock: Clock) -> None:
    TaskType.objects.update(execute_within_s=60)
    run = gated(clock)
    approved(reviewer, clock)
    pause_run(run_id=run.pk, actor=reviewer, reason="wait", now=clock())
    clock.forward(days=1)
    resume_run(run_id=run.pk, actor=reviewer, reason="go", now=clock())
    assert drive(run.pk, clock).state == "succeeded"


def test_pausing_again_resuming_again_and_pausing_the_dead_say_what_is_so(
    shop: Tenant, reviewer: Actor, clock: Clock
) -> None:
    run = gated(clock)
    assert isinstance(resume_run(run_id=run.pk, actor=reviewer, reason="x"), NotPaused)
    pause_run(run_id=run.pk, actor=reviewer, reason="wait")
    assert pause_run(run_id=run.pk, actor=reviewer, reason="wait") == AlreadyPaused(f"user:{reviewer.id}")
    assert isinstance(cancel_run(run_id=run.pk, actor=reviewer), Cancelled), "a paused run can be cancelled"
    run.refresh_from_db()
    assert (run.state, run.paused_at) == ("cancelled", None)
    assert pause_run(run_id=run.pk, actor=reviewer, reason="x") == AlreadyEnded("cancelled")
    assert resume_run(run_id=run.pk, actor=reviewer, reason="x") == AlreadyEnded("cancelled")
    assert isinstance(pause_run(run_id=UUID(int=1), actor=reviewer, reason="x"), NotFound)


@pytest.mark.parametrize("reason", ["", " \n", "x" * 501])
def test_holding_and_letting_go_need_a_reason(shop: Tenant, reviewer: Actor, clock: Clock, reason: str) -> None:
    run = gated(clock)
    for step_in in (pause_run, resume_run, requeue_run):
        assert isinstance(step_in(run_id=run.pk, actor=reviewer, reason=reason), ReasonNeeded)
    assert [s.event.type for s in load(run.pk)][-1] == "run.waiting"


def test_a_program_steps_only_into_its_own_runs_and_resumes_only_its_own_pauses(
    shop: Tenant, reviewer: Actor, clock: Clock
) -> None:
    mine, theirs = gated(clock, AGENT), gated(clock, reviewer)
    assert isinstance(pause_run(run_id=theirs.pk, actor=AGENT, reason="x"), NotYours)
    assert isinstance(cancel_run(run_id=theirs.pk, actor=AGENT), NotYours)
    assert isinstance(pause_run(run_id=mine.pk, actor=AGENT, reason="x"), Paused)
    assert isinstance(resume_run(run_id=mine.pk, actor=AGENT, reason="x"), Resumed)
    pause_run(run_id=mine.pk, actor=reviewer, reason="a person says so")
    assert isinstance(resume_run(run_id=mine.pk, actor=AGENT, reason="x"), NotYours)
    assert isinstance(resume_run(run_id=mine.pk, actor=reviewer, reason="x"), Resumed)


# --- dead letters ---------------------------------------------------------------------------------------------------


class Broken:
    """A planner with a bug whose message holds a secret."""

    name = "playbook:broken@1"

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        raise RuntimeError("the key is hunter2")


def dead(shop: Tenant, clock: Clock) -> Run:
    run = start("goodwill-refund", GOODWILL, now=clock())
    driver = Driver("w1", now=clock, planners=lambda run, state: Broken())
    for _ in range(lease.MAX_ATTEMPTS + 1):
        driver.drive(shop, run.pk)
        clock.forward(minutes=6)
    return Run.objects.get(pk=run.pk)


def test_a_dead_letter_says_what_the_last_error_was_where_and_on_which_worker(shop: Tenant, clock: Clock) -> None:
    run = dead(shop, clock)
    assert (run.state, run.failure_code) == ("failed", "dead_letter")
    assert "5 workers took the run up and none recorded a step." in run.failure_message
    assert "RuntimeError in tests/approvals/stopping/test_intervention.py" in run.failure_message
    assert "(plan), on worker w1" in run.failure_message
    assert "hunter2" not in run.failure_message + run.last_error, "a message may hold a secret"


def test_a_dead_letter_of_workers_that_fell_silent_names_the_last_one(shop: Tenant, clock: Clock) -> None:
    run = start("goodwill-refund", GOODWILL, now=clock())
    for number in range(lease.MAX_ATTEMPTS):
        assert lease.claim(run.pk, owner=f"w{number}", now=clock()) is not None
        clock.forward(minutes=6)
    run = drive(run.pk, clock, "w9")
    assert run.failure_code == "dead_letter"
    assert "The last one, w4, stopped without a word" in run.failure_message


def test_an_error_is_told_by_its_kind_and_place_in_one_short_line() -> None:
    with pytest.raises(RuntimeError) as caught:
        Broken().plan(None)  # type: ignore[arg-type]
    told = mishap.told(caught.value, worker="host:1:2" * 40, now=Clock().now)
    assert len(told) <= 300
    assert "\n" not in told
    assert mishap.told(ValueError("x"), worker="w", now=Clock().now).startswith("ValueError in an unknown place")


def test_a_dead_letter_is_queued_again_with_fresh_attempts_and_runs_to_its_end(
    shop: Tenant, senior: Actor, clock: Clock
) -> None:
    run = dead(shop, clock)
    assert isinstance(requeue_run(run_id=run.pk, actor=senior, reason="fixed", now=clock()), Requeued)
    run.refresh_from_db()
    assert (run.state, run.failure_code, run.failure_message, run.ended_at) == ("queued", "", "", None)
    assert (run.attempts, run.not_before is not None) == (0, True)
    assert drive(run.pk, clock).state == "awaiting_approval"
    assert not verify_tenant().findings


def test_what_another_try_does_not_change_is_not_tried_again(shop: Tenant, senior: Actor, clock: Clock) -> None:
    run = gated(clock)
    assert requeue_run(run_id=run.pk, actor=senior, reason="x") == NotRequeueable("awaiting_approval", "")
    cancel_run(run_id=run.pk, actor=senior)
    assert requeue_run(run_id=run.pk, actor=senior, reason="x") == NotRequeueable("cancelled", "cancelled")
    assert isinstance(requeue_run(run_id=UUID(int=1), actor=senior, reason="x"), NotFound)


def test_a_call_that_was_withdrawn_with_the_failed_run_is_asked_again_with_a_new_deadline(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock
) -> None:
    run = gated(clock)
    old = only_proposal()
    withdraw_proposals(run.pk, reason="The run ended.", now=clock())
    record(run, ProposalWithdrawn(str(old.pk), old.call_id, "The run ended."), RunFailed("internal", "x"), clock=clock)
    clock.forward(days=3)
    assert requeue_run(run_id=run.pk, actor=senior, reason="fixed", now=clock()) == Requeued(run.pk, 1)
    new = only_proposal()
    assert (new.pk != old.pk, new.digest, new.arguments) == (True, old.digest, old.arguments)
    assert new.decide_by > clock.now
    run = drive(run.pk, clock)
    assert run.state == "awaiting_approval"
    approved(reviewer, clock)
    assert drive(run.pk, clock).state == "succeeded"
    assert Refund.objects.count() == 1


def asked_again(run: Run, actor: Actor, clock: Clock) -> Proposal:
    """End a run that waits for a person as a failed one does, try it again a little later, and return what waits."""
    old = only_proposal()
    withdraw_proposals(run.pk, reason="The run ended.", now=clock())
    record(run, ProposalWithdrawn(str(old.pk), old.call_id, "The run ended."), RunFailed("internal", "x"), clock=clock)
    clock.forward(minutes=1)
    assert requeue_run(run_id=run.pk, actor=actor, reason="fixed", now=clock()) == Requeued(run.pk, 1)
    return only_proposal()


def test_what_is_asked_again_is_put_off_by_nobody_and_its_reminders_begin_anew(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock
) -> None:
    TaskType.objects.update(decide_within_s=3600)
    run = gated(clock)
    clock.forward(minutes=31)
    assert remind_due(clock(), 10) == 1
    until = clock() + timedelta(minutes=20)
    assert isinstance(
        hold(proposal_id=only_proposal().pk, actor=reviewer, until=until, reason="Later", now=clock()), Done
    )
    clock.forward(minutes=18)
    assert remind_due(clock(), 10) == 1

    new = asked_again(run, senior, clock)
    assert (new.decide_by, new.remind_at, new.reminded) == (new.created_at + HOUR, new.created_at + HOUR / 2, 0)
    assert (new.held_by, new.held_until, new.held_note) == (None, None, "")
    clock.forward(minutes=29)
    assert remind_due(clock(), 10) == 0
    clock.forward(minutes=2)
    assert remind_due(clock(), 10) == 1
    assert Notification.objects.filter(proposal=new).exists()


def test_what_is_asked_again_has_no_more_time_than_the_policy_gives_it(
    shop: Tenant, senior: Actor, alice: User, actor_of: Callable[[User, Tenant], Actor], clock: Clock
) -> None:
    text = (
        "policy: 1\nrules:\n  - {id: soon, when: call.tool == 'shop.issue_refund', effect: gate, decide_within: 1h}\n"
    )
    ada, adam = actor_of(alice, shop), actor_of(person("adam", shop, "admin"), shop)
    proposed = policies.propose(text=text, effective_at=None, note="As the board decided.", actor=ada, now=clock())
    assert isinstance(proposed, outcomes.Proposed)
    policies.decide(version_id=proposed.change_id, verdict="approve", note="", actor=adam, now=clock())
    run = gated(clock)
    assert only_proposal().decide_by - only_proposal().created_at == HOUR
    new = asked_again(run, senior, clock)
    assert (new.decide_by, new.execute_by > new.decide_by) == (new.created_at + HOUR, True)


def test_nobody_approves_their_own_edit_after_it_is_asked_again(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock
) -> None:
    run = gated(clock)
    old = only_proposal()
    Handling.objects.create(
        proposal=old, kind=Handling.Kind.EDIT, user_id=reviewer.user_id, version=old.version, at=clock()
    )
    Proposal.objects.update(quorum=2, handled=1)
    new = asked_again(run, senior, clock)
    said = approve(proposal_id=new.pk, actor=reviewer, version=new.version, digest=new.digest, now=clock())
    assert said == Forbidden("own_edit")


def test_an_unknown_effect_of_a_dead_letter_is_settled_before_anything_else(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gated(clock)
    approved(reviewer, clock)
    call = state_of(run.pk).calls["1.refund.0"]
    record(
        run,
        RunClaimed("w1", 1),
        CallStarted(call.call_id, call.grant_id, 1),
        CallUnknown(call.call_id, "The run ended while this was under way.", asked=True),
        RunFailed("dead_letter", "x"),
        clock=clock,
    )
    Grant.objects.filter(run=run, call_id=call.call_id).update(consumed_at=clock())
    requeue_run(run_id=run.pk, actor=senior, reason="fixed", now=clock())
    monkeypatch.setattr(executor, "reconcile", lambda request: executor.CannotTell("no record to ask"))
    assert drive(run.pk, clock).state == "awaiting_reconciliation"
    assert not Refund.objects.exists()
    monkeypatch.undo()
    reconcile_call(
        run_id=run.pk, call_id=call.call_id, verdict="did_not_happen", actor=senior, note="seen", now=clock()
    )
    assert drive(run.pk, clock).state == "succeeded"
    assert Refund.objects.count() == 1


# --- effects nobody knows about ---------------------------------------------------------------------------------------


@pytest.fixture
def unknown(shop: Tenant, reviewer: Actor, clock: Clock) -> Run:
    """Return a run whose refund may or may not have happened, and whose tool could not tell."""
    run = gated(clock)
    approved(reviewer, clock)
    call = state_of(run.pk).calls["1.refund.0"]
    Grant.objects.filter(run=run, call_id=call.call_id).update(consumed_at=clock())
    record(
        run,
        RunClaimed("w1", 1),
        CallStarted(call.call_id, call.grant_id, 1),
        CallUnknown(call.call_id, "no record", asked=True),
        clock=clock,
    )
    return Run.objects.get(pk=run.pk)


RESULT: JSONObject = {"refund_id": "R-7", "status": "refunded"}


def test_what_happened_is_recorded_with_its_reference_and_its_result(unknown: Run, senior: Actor) -> None:
    outcome = reconcile_call(
        run_id=unknown.pk,
        call_id="1.refund.0",
        verdict="happened",
        actor=senior,
        note="The bank shows it.",
        reference=" R-7 ",
        output=RESULT,
    )
    assert outcome == Answered("happened")
    call = state_of(unknown.pk).calls["1.refund.0"]
    assert call.output == RESULT
    assert call.trust, "the contract says what of it may be trusted, whoever typed it"
    recorded = load(unknown.pk)[-1].event
    assert getattr(recorded, "reference", "") == "R-7"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"note": " "}, "note"),
        ({"note": "x" * 2001}, "note"),
        ({"reference": "x" * 201}, "reference"),
        ({"verdict": "gave_up", "reference": "R-7"}, "verdict"),
        ({"verdict": "did_not_happen", "output": {"a": 1}}, "verdict"),
        ({"output": {"nonsense": 1}}, "output"),
        ({"output": [1]}, "output"),
    ],
)
def test_an_answer_that_does_not_fit_records_nothing(
    unknown: Run, senior: Actor, said: dict[str, object], field: str
) -> None:
    answer: dict[str, object] = {"verdict": "happened", "note": "seen", **said}
    outcome = reconcile_call(run_id=unknown.pk, call_id="1.refund.0", actor=senior, **answer)  # type: ignore[arg-type]
    assert isinstance(outcome, InvalidAnswer)
    assert outcome.issues[0][0].split("/")[0] == field
    assert state_of(unknown.pk).calls["1.refund.0"].state.value == "unknown"


def test_giving_up_ends_the_call_as_failed_and_nothing_is_repeated(unknown: Run, senior: Actor, clock: Clock) -> None:
    answered = reconcile_call(
        run_id=unknown.pk, call_id="1.refund.0", verdict="gave_up", actor=senior, note="bank is closed"
    )
    assert answered == Answered("gave_up")
    row = ToolCall.objects.get(run=unknown, call_id="1.refund.0")
    assert (row.state, row.code) == ("failed", "outcome_unknown")
    drive(unknown.pk, clock)
    assert not Refund.objects.exists()


def test_an_effect_of_a_cancelled_run_that_did_not_happen_leaves_no_permission_behind(
    unknown: Run, senior: Actor, clock: Clock
) -> None:
    cancel_run(run_id=unknown.pk, actor=senior, now=clock())
    reconcile_call(
        run_id=unknown.pk, call_id="1.refund.0", verdict="did_not_happen", actor=senior, note="seen", now=clock()
    )
    assert not Grant.objects.filter(run=unknown, consumed_at=None, expires_at__gt=clock()).exists()
    again = reconcile_call(run_id=unknown.pk, call_id="1.refund.0", verdict="happened", actor=senior, note="no")
    assert isinstance(again, NotUnknown)


def test_an_effect_under_way_in_a_paused_run_whose_worker_died_is_asked_about_by_the_sweeper(
    shop: Tenant, reviewer: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gated(clock)
    approved(reviewer, clock)

    class Killed(BaseException):
        """Stands for SIGKILL."""

    def die_inside(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        consume(request)
        raise Killed

    monkeypatch.setattr(executor, "execute", die_inside)
    with pytest.raises(Killed):
        drive(run.pk, clock)
    monkeypatch.undo()
    pause_run(run_id=run.pk, actor=reviewer, reason="wait", now=clock())
    clock.forward(minutes=5)
    sweep_tenant(shop, clock())
    assert ToolCall.objects.get(run=run, tool="shop.issue_refund").state == "granted", "the tool has no record of it"
    assert not Refund.objects.exists(), "nothing new starts"
    resume_run(run_id=run.pk, actor=reviewer, reason="go", now=clock())
    assert drive(run.pk, clock).state == "succeeded"
    assert Refund.objects.count() == 1
