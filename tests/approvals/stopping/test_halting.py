"""Stopping the line and lifting the stop: what waits, what goes on, and what happens to deadlines meanwhile."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agentops.audit.models import Event as EventRow
from agentops.audit.services import TENANT_STREAM, load
from agentops.audit.verify import verify_tenant
from agentops.engine.events import CallStarted, PlanMade, RunClaimed, RunPaused, RunResumed
from agentops.halts import covering
from agentops.halts.models import Halt, Scope
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import load as load_run
from agentops.runs.recording import state_of
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Membership, Tenant
from agentops.wire.parse import JSONObject
from agentops.worker.sweeper import sweep, sweep_tenant
from approvals.decisions.reminders import remind_due
from approvals.models import Grant, Proposal
from approvals.proposals.deadlines import expire_due
from approvals.queue.selectors import COUNTED, Count
from approvals.services import Decided, Expired, expire
from approvals.stopping import halting
from approvals.stopping.halting import (
    AlreadyLifted,
    AlreadyStopped,
    Forbidden,
    Invalid,
    Lifted,
    NotFound,
    Stopped,
    Target,
    find_target,
    lift,
    preview,
    settle_lifted,
    stop,
    targets,
)
from approvals.stopping.intervention import Paused, Resumed, cancel_run, pause_run, resume_run
from tests.conftest import person
from tests.deciding import approve
from tests.shop import AGENT, Clock, drive, only_proposal, open_shop, start, task_type
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund, Ticket

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
EVERYTHING = Target(Scope.TENANT, "", "Everything")
REFUNDS = Target(Scope.TOOL, "shop.issue_refund", "shop.issue_refund")
GOODWILL: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def senior(sam: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, shop)


@pytest.fixture
def reviewer(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, shop)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def stopped(target: Target, actor: Actor, now: datetime | None = None) -> int:
    outcome = stop(target=target, reason="It sends to everybody", actor=actor, now=now)
    assert isinstance(outcome, Stopped)
    covering.forget()
    return outcome.halt_id


def lifted(halt_id: int, actor: Actor, now: datetime | None = None) -> None:
    assert isinstance(lift(halt_id=halt_id, reason="Fixed", actor=actor, now=now), Lifted)
    covering.forget()
    while settle_lifted(now or timezone.now()):
        pass


def gated(clock: Clock, *, actor: Actor = AGENT) -> Run:
    """Return a run that waits for somebody to approve its refund."""
    return drive(start("goodwill-refund", GOODWILL, actor=actor, now=clock()).id, clock)


def approved(proposal: Proposal, reviewer: Actor, now: datetime) -> object:
    return approve(proposal_id=proposal.pk, actor=reviewer, version=proposal.version, digest=proposal.digest, now=now)


def kinds(run_id: UUID) -> list[str]:
    return [stamped.event.type for stamped in load_run(run_id)]


def target_of(scope: Scope, run: Run) -> Target:
    value = {
        Scope.TENANT: "",
        Scope.AGENT: run.agent,
        Scope.TASK_TYPE: str(run.task_type_id),
        Scope.TOOL: "shop.issue_refund",
        Scope.RUN: str(run.pk),
    }[scope]
    return Target(scope, value, "it")


# --- what a stop holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", list(Scope))
def test_an_approved_effect_waits_and_happens_once_after_the_stop(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock, scope: Scope
) -> None:
    run = gated(clock)
    halt = stopped(target_of(scope, run), senior, clock())
    assert isinstance(approved(only_proposal(), reviewer, clock()), Decided), "people go on deciding"

    run = drive(run.id, clock)
    assert (run.halt_id, run.lease_owner) == (halt, ""), "it has left its worker"
    assert not Refund.objects.exists()
    assert Grant.objects.get(call_id="1.refund.0", run=run).consumed_at is None
    assert drive(run.id, clock).halt_id == halt, "ringing again changes nothing"

    lifted(halt, senior, clock())
    run = Run.objects.get(pk=run.pk)
    assert (run.state, run.paused_at, run.halt_id) == ("queued", None, None)
    assert drive(run.id, clock).state == "succeeded"
    assert Refund.objects.count() == 1
    assert not verify_tenant().findings


def test_nothing_is_planned_or_read_while_the_tenant_is_stopped(shop: Tenant, senior: Actor, clock: Clock) -> None:
    halt = stopped(EVERYTHING, senior, clock())
    run = drive(start("support-email", {"message_id": "M-0001"}, now=clock()).id, clock)
    assert kinds(run.id) == ["run.submitted", RunPaused.type], "not even taken up"
    lifted(halt, senior, clock())
    assert drive(run.id, clock).state == "awaiting_approval"


def test_a_stop_of_a_tool_holds_a_run_only_when_it_is_about_to_call_that_tool(
    shop: Tenant, senior: Actor, clock: Clock
) -> None:
    ticket: JSONObject = {"title": "t", "priority": "low"}
    steps: list[JSONObject] = [
        {"id": "look", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}},
        {"id": "file", "tool": "create_ticket", "arguments": ticket},
    ]
    task_type(steps, {"shop.find_order": AUTO, "create_ticket": AUTO})
    halt = stopped(Target(Scope.TOOL, "create_ticket", "create_ticket"), senior, clock())
    run = drive(start("job", {}, now=clock()).id, clock)
    assert state_of(run.id).steps["look"].outcome == "succeeded"
    assert run.halt_id == halt
    assert not Ticket.objects.exists()
    lifted(halt, senior, clock())
    assert drive(run.id, clock).state == "succeeded"
    assert Ticket.objects.count() == 1


def test_a_worker_whose_snapshot_is_old_is_refused_where_the_grant_is_consumed(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gated(clock)
    approved(only_proposal(), reviewer, clock())
    stopped(REFUNDS, senior, clock())
    monkeypatch.setattr("agentops.worker.stopping.covering", lambda work: None)
    run = drive(run.id, clock)
    assert run.halt_id is not None
    assert not Refund.objects.exists()
    assert CallStarted.type not in kinds(run.id)
    assert Grant.objects.get(run=run, tool="shop.issue_refund").consumed_at is None


def test_another_agents_run_goes_on(shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock) -> None:
    stopped(Target(Scope.AGENT, "token:7", "token agent"), senior, clock())
    mine, other = gated(clock), gated(clock, actor=senior)
    assert (mine.state, mine.halt_id is not None) == ("queued", True)
    assert (other.state, other.halt_id) == ("awaiting_approval", None)


def test_a_stopped_run_costs_the_sweeper_nothing(shop: Tenant, senior: Actor, clock: Clock) -> None:
    stopped(EVERYTHING, senior, clock())
    for _ in range(3):
        drive(start("goodwill-refund", GOODWILL, now=clock()).id, clock)
    clock.forward(hours=1)
    assert sweep_tenant(shop, clock()) == 0


# --- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", list(Scope))
def test_no_deadline_passes_while_stopped_and_what_was_left_is_given_back(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock, scope: Scope
) -> None:
    TaskType.objects.update(decide_within_s=3600)
    run = gated(clock)
    clock.forward(minutes=50)
    began = clock()
    halt = stopped(target_of(scope, run), senior, began)
    before = only_proposal()
    clock.forward(hours=5)
    assert expire_due(clock(), 10) == 0
    assert not expire(proposal_id=before.pk, now=clock())
    ended = clock()
    lifted(halt, senior, ended)

    after = only_proposal()
    assert after.decide_by - before.decide_by == ended - began
    assert after.execute_by - before.execute_by == ended - began
    clock.forward(minutes=9)
    assert expire_due(clock(), 10) == 0, "ten minutes were left"
    clock.forward(minutes=2)
    assert expire_due(clock(), 10) == 1


@pytest.mark.parametrize("cause", ["stop", "pause"])
def test_people_are_reminded_after_half_of_the_time_that_was_theirs_and_not_of_that_of_a_stop(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock, cause: str
) -> None:
    TaskType.objects.update(decide_within_s=3600)
    run = gated(clock)
    clock.forward(minutes=10)
    halt = stopped(EVERYTHING, senior, clock()) if cause == "stop" else 0
    if not halt:
        assert isinstance(pause_run(run_id=run.pk, actor=senior, reason="Wait", now=clock()), Paused)
    clock.forward(hours=5)
    assert remind_due(clock(), 10) == 0
    if halt:
        lifted(halt, senior, clock())
    else:
        assert isinstance(resume_run(run_id=run.pk, actor=senior, reason="Go on", now=clock()), Resumed)

    clock.forward(minutes=19)
    assert remind_due(clock(), 10) == 0, "29 of 60 minutes"
    clock.forward(minutes=2)
    assert remind_due(clock(), 10) == 1, "31 of 60 minutes"
    clock.forward(minutes=16)
    assert remind_due(clock(), 10) == 0, "47 of 60 minutes"
    assert only_proposal().needs_role == ""
    clock.forward(minutes=2)
    assert remind_due(clock(), 10) == 1, "49 of 60 minutes"
    assert only_proposal().needs_role == "senior"


def test_what_a_stop_holds_keeps_nobody_else_from_being_reminded(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock
) -> None:
    TaskType.objects.update(decide_within_s=3600)
    held = gated(clock)
    clock.forward(seconds=1)
    other = gated(clock)
    stopped(target_of(Scope.RUN, held), senior, clock())
    clock.forward(minutes=31)
    assert remind_due(clock(), 1) == 1
    assert list(Proposal.objects.filter(reminded=1).values_list("run_id", flat=True)) == [other.pk]


def test_a_late_click_during_a_stop_is_not_too_late(shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock) -> None:
    TaskType.objects.update(decide_within_s=60)
    gated(clock)
    stopped(EVERYTHING, senior, clock())
    clock.forward(hours=5)
    assert isinstance(approved(only_proposal(), reviewer, clock()), Decided)


def test_what_was_overdue_before_the_stop_stays_overdue(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock
) -> None:
    TaskType.objects.update(decide_within_s=60)
    gated(clock)
    proposal = only_proposal()
    clock.forward(minutes=5)
    stopped(EVERYTHING, senior, clock())
    assert isinstance(approved(proposal, reviewer, clock()), Expired)


def test_a_permission_lasts_as_long_after_the_stop_as_it_would_have_without(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock
) -> None:
    TaskType.objects.update(execute_within_s=600)
    run = gated(clock)
    approved(only_proposal(), reviewer, clock())
    before = Grant.objects.get(run=run, tool="shop.issue_refund")
    began = clock()
    halt = stopped(REFUNDS, senior, began)
    drive(run.id, clock)
    clock.forward(days=2)
    ended = clock()
    lifted(halt, senior, ended)
    after = Grant.objects.get(pk=before.pk)
    assert after.expires_at - before.expires_at >= ended - began
    assert after.expires_at - before.expires_at < ended - began + timedelta(seconds=2)
    assert drive(run.id, clock).state == "succeeded"
    assert Refund.objects.count() == 1


def test_a_worker_that_is_faster_than_the_batch_still_finds_its_permission(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop is lifted, its deadlines are not moved yet, and a run that the stop never met goes on."""
    TaskType.objects.update(execute_within_s=600)
    run = gated(clock)
    approved(only_proposal(), reviewer, clock())
    halt = stopped(EVERYTHING, senior, clock())
    clock.forward(days=2)
    monkeypatch.setattr(halting, "settle_lifted", lambda *_: 0)
    assert isinstance(lift(halt_id=halt, reason="Fixed", actor=senior, now=clock()), Lifted)
    covering.forget()
    assert Halt.objects.get().settled_at is None
    assert drive(run.id, clock).state == "succeeded"
    assert Refund.objects.count() == 1


def test_stops_that_overlap_count_once(shop: Tenant, senior: Actor, clock: Clock) -> None:
    """0-30 the tool, 10-40 everything, and 15-20 the run between them: forty minutes in all, not seventy-five."""
    run = gated(clock)
    before = only_proposal()
    zero = clock()

    def at(minutes: int) -> datetime:
        return zero + timedelta(minutes=minutes)

    tool = stopped(REFUNDS, senior, at(0))
    everything = stopped(EVERYTHING, senior, at(10))
    single = stopped(Target(Scope.RUN, str(run.pk), "run"), senior, at(15))
    lifted(single, senior, at(20))
    lifted(tool, senior, at(30))
    lifted(everything, senior, at(40))
    assert only_proposal().decide_by - before.decide_by == timedelta(minutes=40)


def test_a_pause_within_a_stop_counts_once_as_well(shop: Tenant, senior: Actor, clock: Clock) -> None:
    run = gated(clock)
    before, zero = only_proposal(), clock()

    def at(minutes: int) -> datetime:
        return zero + timedelta(minutes=minutes)

    halt = stopped(EVERYTHING, senior, at(0))
    pause_run(run_id=run.pk, actor=senior, reason="look", now=at(10))
    lifted(halt, senior, at(20))
    assert expire_due(zero + timedelta(days=9), 10) == 0, "still paused"
    resume_run(run_id=run.pk, actor=senior, reason="fine", now=at(50))
    assert only_proposal().decide_by - before.decide_by == timedelta(minutes=50)


def test_a_cancelled_runs_permission_is_not_brought_back_to_life(
    shop: Tenant, senior: Actor, reviewer: Actor, clock: Clock
) -> None:
    run = gated(clock)
    approved(only_proposal(), reviewer, clock())
    halt = stopped(EVERYTHING, senior, clock())
    cancel_run(run_id=run.pk, actor=senior, now=clock())
    clock.forward(hours=1)
    lifted(halt, senior, clock())
    assert not Grant.objects.filter(run=run, consumed_at=None, expires_at__gt=clock()).exists()
    run.refresh_from_db()
    assert (run.state, run.paused_at, run.halt_id) == ("cancelled", None, None)


# --- lifting --------------------------------------------------------------------------------------------------------


def test_lifting_sets_every_run_going_in_batches_and_any_crash_in_between_is_made_up_for(
    shop: Tenant, senior: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = stopped(EVERYTHING, senior, clock())
    runs = [drive(start("goodwill-refund", GOODWILL, now=clock()).id, clock) for _ in range(5)]
    with monkeypatch.context() as patch:
        patch.setattr(halting, "settle_lifted", lambda *_: 0)  # the web process dies right after the commit
        lift(halt_id=halt, reason="Fixed", actor=senior, now=clock())
    assert Run.objects.filter(halt_id=halt).count() == 5
    settle_lifted(clock(), 2)
    assert Run.objects.filter(halt_id=halt).count() == 3
    assert Halt.objects.get().settled_at is None
    settle_lifted(clock(), 2)
    settle_lifted(clock(), 2)
    row = Halt.objects.get()
    assert (row.resumed, row.settled_at is not None) == (5, True)
    assert {Run.objects.get(pk=run.pk).state for run in runs} == {"queued"}
    (told,) = [one for one in load(TENANT_STREAM) if one.type == "halt.settled"]
    assert told.data["runs_resumed"] == 5
    assert settle_lifted(clock()) == 0


def test_the_sweeper_sets_going_what_a_lifted_stop_held(
    shop: Tenant, senior: Actor, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = stopped(EVERYTHING, senior, clock())
    run = drive(start("goodwill-refund", GOODWILL, now=clock()).id, clock)
    monkeypatch.setattr(halting, "settle_lifted", lambda *_: 0)
    lift(halt_id=halt, reason="Fixed", actor=senior, now=clock())
    sweep(clock())
    assert Run.objects.get(pk=run.pk).paused_at is None


def test_a_run_that_another_stop_covers_stays_and_is_held_by_that_one(
    shop: Tenant, senior: Actor, clock: Clock
) -> None:
    first = stopped(EVERYTHING, senior, clock())
    run = drive(start("goodwill-refund", GOODWILL, now=clock()).id, clock)
    second = stopped(Target(Scope.TASK_TYPE, str(run.task_type_id), "Refunds"), senior, clock())
    lifted(first, senior, clock())
    assert Run.objects.get(pk=run.pk).halt_id == second
    assert Halt.objects.get(pk=first).resumed == 0
    lifted(second, senior, clock())
    assert Run.objects.get(pk=run.pk).paused_at is None


def test_a_run_that_somebody_paused_as_well_waits_for_that_person(shop: Tenant, senior: Actor, clock: Clock) -> None:
    halt = stopped(EVERYTHING, senior, clock())
    run = drive(start("goodwill-refund", GOODWILL, now=clock()).id, clock)
    pause_run(run_id=run.pk, actor=senior, reason="this one too", now=clock())
    lifted(halt, senior, clock())
    run.refresh_from_db()
    assert (run.paused_at is not None, run.halt_id) == (True, None)
    resume_run(run_id=run.pk, actor=senior, reason="fine", now=clock())
    assert drive(run.pk, clock).state == "awaiting_approval"
    assert [k for k in kinds(run.pk) if k in (RunPaused.type, RunResumed.type)] == [
        *(RunPaused.type, RunPaused.type, RunResumed.type, RunResumed.type),
    ]


# --- who, why, and what is said ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["operator", "engineer", "auditor", "viewer"])
def test_only_seniors_and_admins_stop_the_line(
    shop: Tenant, role: str, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    actor = actor_of(person("somebody", shop, role), shop)
    assert isinstance(stop(target=EVERYTHING, reason="x", actor=actor), Forbidden)
    assert isinstance(stop(target=EVERYTHING, reason="x", actor=WORKER), Forbidden)
    assert isinstance(stop(target=EVERYTHING, reason="x", actor=AGENT), Forbidden)
    assert not Halt.objects.exists()


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_stopping_and_lifting_need_a_reason(shop: Tenant, senior: Actor, reason: str) -> None:
    assert isinstance(stop(target=EVERYTHING, reason=reason, actor=senior), Invalid)
    halt = stopped(EVERYTHING, senior)
    assert isinstance(lift(halt_id=halt, reason=reason, actor=senior), Invalid)
    assert Halt.objects.get().lifted_at is None


def test_the_same_thing_is_stopped_once_and_lifted_once(shop: Tenant, senior: Actor) -> None:
    halt = stopped(EVERYTHING, senior)
    again = stop(target=EVERYTHING, reason="me too", actor=senior)
    assert isinstance(again, AlreadyStopped)
    assert (again.halt_id, again.by) == (halt, "Sam")
    lifted(halt, senior)
    assert isinstance(lift(halt_id=halt, reason="me too", actor=senior), AlreadyLifted)
    assert isinstance(lift(halt_id=10**9, reason="x", actor=senior), NotFound)
    assert stopped(EVERYTHING, senior) != halt, "it can be stopped again"


def test_every_stop_and_lift_is_on_record_with_its_reason(shop: Tenant, senior: Actor) -> None:
    halt = stopped(REFUNDS, senior)
    lifted(halt, senior)
    told = [one for one in load(TENANT_STREAM) if one.type.startswith("halt.")]
    assert [one.type for one in told] == ["halt.started", "halt.lifted", "halt.settled"]
    assert told[0].data["reason"] == "It sends to everybody"
    assert told[1].data["reason"] == "Fixed"
    assert {one.subject for one in told} == {("halt", str(halt))}
    assert told[0].actor["name"] == "sam"
    assert EventRow.objects.filter(subject_kind="halt").count() == 3


def test_the_preview_counts_what_would_be_held(shop: Tenant, senior: Actor, clock: Clock) -> None:
    gated(clock)
    start("goodwill-refund", GOODWILL, actor=senior)
    kind = TaskType.objects.get(slug="goodwill-refund")
    none, one, two = Count(0, False), Count(1, False), Count(2, False)
    assert dict(preview(EVERYTHING).runs) == {"queued": one, "awaiting_approval": one}
    assert preview(REFUNDS).proposals == one
    assert preview(REFUNDS).in_all == two
    agent = preview(Target(Scope.AGENT, "token:7", "x"))
    assert (agent.in_all, agent.proposals, agent.under_way) == (one, one, none)
    assert preview(Target(Scope.TASK_TYPE, str(kind.pk), "x")).in_all == two
    assert preview(Target(Scope.TOOL, "mail.send", "x")).proposals == none


def test_the_preview_counts_up_to_a_thousand_in_one_query(
    shop: Tenant,
    senior: Actor,
    clock: Clock,
    django_assert_num_queries: Callable[[int], AbstractContextManager[object]],
) -> None:
    run = start("goodwill-refund", GOODWILL, actor=senior)
    ours = [field for field in Run._meta.concrete_fields if not field.primary_key and not field.generated]
    like_it = {field.attname: getattr(run, field.attname) for field in ours}
    Run.objects.bulk_create([Run(**like_it) for _ in range(COUNTED + 1)])
    with django_assert_num_queries(1):
        found = preview(EVERYTHING)
    assert found.in_all == Count(COUNTED, True)
    assert str(found.in_all) == "1,000+"


def test_what_can_be_stopped_is_offered_and_nothing_else_is_taken(shop: Tenant) -> None:
    offered = {one.value for one in targets()}
    assert {"tenant:", "tool:shop.issue_refund"} <= offered
    assert all(find_target(value) is not None for value in offered)
    run = start("goodwill-refund", GOODWILL)
    assert find_target(f"run:{run.pk}") is not None
    for value in ("", "tool:no.such", "run:x", f"run:{UUID(int=5)}", "planet:earth", "agent:token:999", "task_type:1x"):
        assert find_target(value) is None, value


def test_people_who_can_be_stopped_are_listed_without_reading_runs_and_one_who_has_left_is_still_found(
    shop: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    run = start("goodwill-refund", GOODWILL, actor=actor_of(bob, shop))
    value = f"agent:user:{bob.pk}"
    with CaptureQueriesContext(connection) as asked:
        offered = {one.value for one in targets()}
    assert value in offered
    assert not any(Run._meta.db_table in query["sql"] for query in asked)

    Membership.objects.filter(user=bob).delete()
    assert value not in {one.value for one in targets()}
    found = find_target(value)
    assert found is not None
    assert (found.scope, found.target, found.label) == ("agent", run.agent, f"tasks of {bob.username}")
    for nobody in ("agent:user:0", f"agent:user:{'9' * 30}", "agent:user:x", "agent:user:²"):
        assert find_target(nobody) is None


def test_a_run_that_is_driven_while_lifted_twice_is_resumed_once(shop: Tenant, senior: Actor, clock: Clock) -> None:
    halt = stopped(EVERYTHING, senior, clock())
    run = drive(start("goodwill-refund", GOODWILL, now=clock()).id, clock)
    lifted(halt, senior, clock())
    settle_lifted(clock())
    assert kinds(run.pk).count(RunResumed.type) == 1
    drive(run.pk, clock)
    assert {RunClaimed.type, PlanMade.type} <= set(kinds(run.pk))
