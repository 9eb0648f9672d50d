"""A run from its submission to its end, against the real gate, tools and database."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction

from agentops import clock
from agentops.audit.services import load as load_stream
from agentops.audit.verify import verify_tenant
from agentops.engine.events import (
    CallDenied,
    CallReconciled,
    CallStarted,
    Event,
    PlanFailed,
    PlanMade,
    RunClaimed,
    RunPaused,
    Usage,
)
from agentops.engine.planner import Planned, PlannerAnswer, PlanRequest
from agentops.engine.state import State
from agentops.engine.transitions import CallState, RunState
from agentops.runs.commit import Head, Write, commit
from agentops.runs.lease import claim, claim_due
from agentops.runs.models import Run
from agentops.runs.points import installed
from agentops.runs.recording import load, record_outside, state_of, stream_of
from agentops.runs.timeline import tell, verdict
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from agentops.worker import driver, sweeper
from agentops.worker.driver import ConnectionBroken, Crew, Driver
from agentops.worker.needs import Invoke
from agentops.worker.sweeper import settle_leftovers
from approvals.assessing import ladder
from approvals.decisions.asking import ask
from approvals.decisions.release import Undone, undo
from approvals.models import BandRule, Grant, Proposal
from approvals.proposals.outcomes import Asked
from approvals.services import Decided, reject
from approvals.stopping.intervention import Answered, NotUnknown, Paused, cancel_run, pause_run, reconcile_call
from tests.deciding import approve, edit_and_approve
from tests.shop import Clock, drive, only_proposal, open_shop, start, task_type
from tools import executor
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund, Ticket
from tools.contracts import CallContext, ErrorCode
from tools.models import AllowlistEntry
from tools.registry import registry

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def reviewer(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, shop)


def kinds(run: Run) -> list[str]:
    return [stamped.event.type for stamped in load(run.id)]


def events_of(run: Run, type_: type[Event]) -> list[Event]:
    return [stamped.event for stamped in load(run.id) if isinstance(stamped.event, type_)]


def approved(proposal: Proposal, reviewer: Actor) -> None:
    outcome = approve(proposal_id=proposal.id, actor=reviewer, version=proposal.version, digest=proposal.digest)
    assert isinstance(outcome, Decided)


def test_an_email_becomes_a_proposal_and_after_approval_exactly_one_refund(shop: Tenant, reviewer: Actor) -> None:
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    assert run.state == "awaiting_approval"
    assert not Refund.objects.exists()

    proposal = only_proposal()
    approved(proposal, reviewer)
    run = drive(run.id)

    refund = Refund.objects.get()
    assert (refund.amount_minor, refund.currency) == (12_400, "EUR")
    started = events_of(run, CallStarted)
    assert len(started) == 1
    assert Grant.objects.get(proposal=proposal).consumed_at is not None
    # the reply to the customer is the next thing a person is asked about
    assert run.state == "awaiting_approval"
    approved(only_proposal(), reviewer)
    run = drive(run.id)
    assert (run.state, run.answer) == ("succeeded", "Refunded order A-1001 and told the customer.")
    assert not verify_tenant().findings


def test_the_attacked_argument_is_the_order_the_sender_chose(shop: Tenant) -> None:
    drive(start("support-email", {"message_id": "M-0001"}).id)
    proposal = only_proposal()
    assert proposal.attacked == ["/order_ref"]
    assert proposal.risk_band in ("high", "critical")


@pytest.mark.parametrize("point", ["claimed", "folded", "before_release"])
@pytest.mark.parametrize("what", [cancel_run, pause_run])
def test_what_a_person_does_while_a_worker_takes_the_run_up_stays_in_its_row(
    shop: Tenant, reviewer: Actor, point: str, what: Callable[..., object]
) -> None:
    run = start("support-email", {"message_id": "M-0001"})
    left = [True]

    def step_in(name: str) -> None:
        if name == point and left:
            left.clear()
            what(run_id=run.pk, actor=reviewer, reason="not now")

    with installed(step_in):
        drive(run.id)
    assert not left
    run.refresh_from_db()
    assert (run.state == "cancelled", run.paused_at is not None) == (what is cancel_run, what is pause_run)
    assert (run.ended_at is not None, run.lease_owner) == (what is cancel_run, "")


def test_what_cannot_be_committed_for_one_run_is_no_trouble_of_those_beside_it(
    shop: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [start("support-email", {"message_id": "M-0001"}) for _ in range(3)]
    poison = runs[1].pk

    def broken(writes: Sequence[Write]) -> list[Head | Exception]:
        if any(write.lease.run_id == poison for write in writes):
            raise ValueError("this cannot be stored")
        return commit(writes)

    monkeypatch.setattr(driver, "commit", broken)
    crew = Crew(Driver("w1"))
    crew.take(claim_due(owner="w1", now=clock.now(), limit=10))
    while crew.busy:
        crew.round()
    found = {run.pk: run for run in Run.objects.all()}
    assert [found[run.pk].state for run in runs] == ["awaiting_approval", "queued", "awaiting_approval"]
    assert [found[run.pk].last_error.partition(" in ")[0] for run in runs] == ["", "ValueError", ""]
    assert {run.lease_owner for run in found.values()} == {""}


def test_an_effect_under_way_keeps_its_lease_when_its_worker_has_to_give_everything_up(
    shop: Tenant, reviewer: Actor
) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 5, "reason": "Late"}).id)
    approved(only_proposal(), reviewer)
    inside: Future[object] = Future()

    def slow(need: object) -> "Future[object] | None":
        return inside if isinstance(need, Invoke) else None

    crew = Crew(Driver("w1"), slow)
    crew.take(claim_due(owner="w1", now=clock.now(), limit=10))
    while crew.ready:
        crew.round()
    assert inside.set_running_or_notify_cancel()
    crew.abandon(ValueError("a bug"))
    assert not crew.busy
    found = Run.objects.get(pk=run.pk)
    assert found.lease_owner == "w1"
    assert found.lease_until is not None
    assert found.lease_until > clock.now()


@pytest.mark.parametrize("nth", range(1, 9))
@pytest.mark.parametrize("lost", [True, False])
def test_a_connection_that_breaks_in_a_commit_loses_and_doubles_nothing(
    shop: Tenant, reviewer: Actor, monkeypatch: pytest.MonkeyPatch, lost: bool, nth: int
) -> None:
    """Of two runs that are driven together; the database has taken what it was given, or it has not."""
    runs = [start("goodwill-refund", {"order_ref": f"A-100{n}", "amount_minor": 5, "reason": "Late"}) for n in (1, 2)]
    monkeypatch.setattr(driver, "MOST_TOGETHER", 1)
    calls = count(1)

    def breaks(writes: Sequence[Write]) -> list[Head | Exception]:
        broken = next(calls) == nth
        results = [] if broken and lost else commit(writes)
        if broken:
            raise OperationalError("the connection broke")
        return results

    monkeypatch.setattr(driver, "commit", breaks)

    def work() -> None:
        crew = Crew(Driver("w1"))
        crew.take(claim_due(owner="w1", now=clock.now(), limit=10))
        while crew.busy:
            with suppress(ConnectionBroken):
                crew.round()

    work()
    for proposal in Proposal.objects.all():
        approved(proposal, reviewer)
    work()
    assert next(calls) > nth, "it broke"
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    assert (Refund.objects.count(), Grant.objects.filter(consumed_at=None).count()) == (2, 0)
    assert all(kinds(run).count("run.succeeded") == 1 for run in runs)
    assert not verify_tenant().findings


def test_a_rejection_reaches_the_run_as_the_reviewers_words(shop: Tenant, reviewer: Actor) -> None:
    run = drive(start("support-email", {"message_id": "M-0001"}).id)
    proposal = only_proposal()
    reject(
        proposal_id=proposal.id,
        actor=reviewer,
        version=1,
        digest=proposal.digest,
        reason_code="not_enough_evidence",
        note="No photo of the damage",
    )
    run = drive(run.id)
    assert run.state == "succeeded"
    assert "No photo of the damage" in run.answer
    assert Ticket.objects.count() == 1
    assert not Refund.objects.exists()


def test_an_edited_amount_is_what_executes(shop: Tenant, reviewer: Actor) -> None:
    order: JSONObject = {"order_ref": "A-1002", "amount_minor": 5000, "reason": "Goodwill"}
    run = drive(start("goodwill-refund", order).id)
    proposal = only_proposal()
    outcome = edit_and_approve(
        proposal_id=proposal.id,
        actor=reviewer,
        version=1,
        digest=proposal.digest,
        arguments={**proposal.argument_values, "amount_minor": 2500},
    )
    assert isinstance(outcome, Decided)
    run = drive(run.id)
    assert run.state == "succeeded"
    assert Refund.objects.get().amount_minor == 2500


def test_a_doubled_ring_does_nothing(shop: Tenant, reviewer: Actor) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}).id)
    before = kinds(run)
    assert kinds(drive(run.id)) == before
    approved(only_proposal(), reviewer)
    for _ in range(3):
        run = drive(run.id)
    assert Refund.objects.count() == 1


def test_a_worker_that_dies_after_the_effect_does_not_repeat_it(
    shop: Tenant, reviewer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    run = drive(
        start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}, now=clock()).id, clock
    )
    proposal = only_proposal()
    approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest, now=clock())

    class Killed(BaseException):
        """Stands for SIGKILL: nothing that handles exceptions may catch it."""

    original = executor.execute

    def die_after(*args: object, **kwargs: object) -> object:
        original(*args, **kwargs)  # type: ignore[arg-type]
        raise Killed

    monkeypatch.setattr(executor, "execute", die_after)
    with pytest.raises(Killed):
        drive(run.id, clock)
    monkeypatch.undo()

    assert Refund.objects.count() == 1
    assert drive(run.id, clock, "w2").state == "running", "the dead worker's lease still holds"
    clock.forward(minutes=5)
    run = drive(run.id, clock, "w2")

    assert run.state == "succeeded"
    assert Refund.objects.count() == 1
    assert [e.verdict for e in events_of(run, CallReconciled)] == ["happened"]  # type: ignore[union-attr]


def test_a_worker_that_dies_before_the_effect_lets_the_next_one_do_it_once(
    shop: Tenant, reviewer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    run = drive(
        start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}, now=clock()).id, clock
    )
    proposal = only_proposal()
    approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest, now=clock())

    class Killed(BaseException):
        """Stands for SIGKILL."""

    def die_inside(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        consume(request)
        raise Killed

    monkeypatch.setattr(executor, "execute", die_inside)
    with pytest.raises(Killed):
        drive(run.id, clock)
    monkeypatch.undo()
    clock.forward(minutes=5)
    run = drive(run.id, clock, "w2")

    assert run.state == "succeeded"
    assert Refund.objects.count() == 1
    assert [e.verdict for e in events_of(run, CallReconciled)] == ["did_not_happen"]  # type: ignore[union-attr]


def test_cancelling_closes_open_proposals_and_nothing_executes_afterwards(shop: Tenant, reviewer: Actor) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}).id)
    proposal = only_proposal()
    cancel_run(run_id=run.id, actor=reviewer, reason="not needed")
    proposal.refresh_from_db()
    assert proposal.status == "withdrawn"
    run = drive(run.id)
    assert run.state == "cancelled"
    outcome = approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest)
    assert not isinstance(outcome, Decided)
    assert not Refund.objects.exists()


@pytest.mark.parametrize(
    ("step", "allow", "code"),
    [
        ({"tool": "customer.erase", "arguments": {}}, {}, "not_allowed"),
        ({"tool": "no.such_tool", "arguments": {}}, {"no.such_tool": AUTO}, "unknown_tool"),
        ({"tool": "create_ticket", "arguments": {"INVALID_JSON": "{"}}, {"create_ticket": AUTO}, "invalid_input"),
        (
            {"tool": "create_ticket", "arguments": {"title": "x", "priority": "none"}},
            {"create_ticket": AUTO},
            "invalid_input",
        ),
        (
            {"tool": "create_ticket", "arguments": {"title": "x" * 300, "priority": "low"}},
            {"create_ticket": AUTO},
            "invalid_input",
        ),
    ],
)
def test_what_may_not_run_is_denied_with_its_code_and_recorded(
    shop: Tenant, step: JSONObject, allow: dict[str, AllowlistState], code: str
) -> None:
    # Written straight into the database: no save would have accepted some of these.
    kind = task_type([{"id": "a", **step}], allow)
    from django.db import transaction
    from django.utils import timezone

    from agentops.engine.events import RunSubmitted
    from agentops.runs.recording import record_outside
    from agentops.runs.services import _pins
    from agentops.tenancy.access import SYSTEM

    now = timezone.now()
    run = Run.objects.create(task_type=kind, input="{}", created_at=now)
    submitted = RunSubmitted("job", {}, "user:1", "playbook:job@1", "plan_first", {}, _pins(kind))
    with transaction.atomic():
        record_outside(run.id, [submitted], actor=SYSTEM, now=now)
    run = drive(run.id)
    assert (run.state, run.failure_code) == ("failed", f"call_{code}")
    assert run.denied_calls == 1
    assert [e.code for e in events_of(run, CallDenied)] == [code]  # type: ignore[union-attr]
    assert not Ticket.objects.exists()


def test_an_allowlist_narrowed_after_the_approval_still_stops_the_call(shop: Tenant, reviewer: Actor) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}).id)
    approved(only_proposal(), reviewer)
    AllowlistEntry.objects.filter(tool="shop.issue_refund").update(state="denied")
    run = drive(run.id)
    assert (run.state, run.failure_code) == ("failed", "call_not_allowed")
    assert not Refund.objects.exists()


def test_a_run_no_worker_gets_anywhere_with_is_taken_out(shop: Tenant) -> None:
    run = start("support-email", {"message_id": "M-0001"})
    Run.objects.filter(pk=run.id).update(attempts=5)
    run = drive(run.id)
    assert (run.state, run.failure_code) == ("failed", "dead_letter")


def test_an_unknown_outcome_waits_for_a_person_and_is_never_repeated_by_itself(
    shop: Tenant, reviewer: Actor, sam: User, actor_of: Callable[[User, Tenant], Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}).id)
    approved(only_proposal(), reviewer)

    def lost(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        consume(request)
        return executor.Unknown("the connection broke")

    monkeypatch.setattr(executor, "execute", lost)
    monkeypatch.setattr(executor, "reconcile", lambda request: executor.CannotTell("no record to ask"))
    run = drive(run.id)
    assert run.state == "awaiting_reconciliation"
    assert drive(run.id).state == "awaiting_reconciliation"
    monkeypatch.undo()

    reconcile_call(
        run_id=run.id, call_id="1.refund.0", verdict="did_not_happen", actor=actor_of(sam, shop), note="bank says no"
    )
    run = drive(run.id)
    assert run.state == "succeeded"
    assert Refund.objects.count() == 1


def test_an_unexpected_error_postpones_the_run_and_in_the_end_takes_it_out(shop: Tenant) -> None:
    class Broken:
        name = "playbook:broken@1"

        def plan(self, request: PlanRequest) -> PlannerAnswer:
            raise RuntimeError("a bug")

    clock = Clock()
    run = start("support-email", {"message_id": "M-0001"}, now=clock())
    driver = Driver("w1", now=clock, planners=lambda run, state: Broken())
    for _ in range(5):
        assert driver.drive(shop, run.id)
        run.refresh_from_db()
        assert (run.state, run.lease_owner) == ("queued", "")
        assert run.not_before is not None
        assert run.not_before > clock.now - timedelta(seconds=1)
        clock.forward(minutes=6)
    driver.drive(shop, run.id)
    run.refresh_from_db()
    assert (run.state, run.failure_code) == ("failed", "dead_letter")


def test_every_takeover_is_on_record(shop: Tenant) -> None:
    clock = Clock()
    run = start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}, now=clock())
    lease = claim(run.id, owner="dead", now=clock())
    assert lease is not None
    clock.forward(minutes=5)
    drive(run.id, clock, "w2")
    claims = events_of(run, RunClaimed)
    assert [(e.worker, e.attempt) for e in claims] == [("w2", 2)]  # type: ignore[union-attr]


def test_the_limit_of_calls_holds_for_calls_of_one_step(shop: Tenant) -> None:
    calls: list[JSON] = [
        {"tool": "create_ticket", "arguments": {"title": f"t{i}", "priority": "low"}} for i in range(3)
    ]
    task_type([{"id": "a", "calls": calls}], {"create_ticket": AUTO})
    AllowlistEntry.objects.filter(tool="create_ticket", task_type__slug="job").update(max_calls=1)
    run = drive(start("job", {}).id)
    assert [e.code for e in events_of(run, CallDenied)] == ["limit_calls", "limit_calls"]  # type: ignore[union-attr]
    assert Ticket.objects.count() == 1


def test_a_read_that_is_tried_again_needs_its_permission_again(
    shop: Tenant, reviewer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    task_type([{"id": "a", "tool": "mail.read", "arguments": {"message_id": "M-0001"}}], {"mail.read": GATED})
    run = drive(start("job", {}, now=clock()).id, clock)
    proposal = only_proposal()
    approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest, now=clock())

    def busy(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        consume(request)
        return executor.Failed(ErrorCode.UNAVAILABLE, "busy")

    monkeypatch.setattr(executor, "execute", busy)
    assert drive(run.id, clock).state == "waiting_retry"
    monkeypatch.undo()
    AllowlistEntry.objects.filter(tool="mail.read", task_type__slug="job").update(state="denied")
    clock.forward(minutes=6)
    run = drive(run.id, clock)
    assert (run.state, run.failure_code) == ("failed", "call_not_allowed")


def test_an_answer_about_an_earlier_attempt_does_not_repeat_a_later_one(
    shop: Tenant, reviewer: Actor, sam: User, actor_of: Callable[[User, Tenant], Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}).id)
    approved(only_proposal(), reviewer)

    def lost(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        consume(request)
        return executor.Unknown("the connection broke")

    def say(attempt: int) -> object:
        return reconcile_call(
            run_id=run.id,
            call_id="1.refund.0",
            verdict="did_not_happen",
            actor=actor_of(sam, shop),
            note="bank says no",
            attempt=attempt,
        )

    monkeypatch.setattr(executor, "execute", lost)
    monkeypatch.setattr(executor, "reconcile", lambda request: executor.CannotTell("no record to ask"))
    drive(run.id)
    assert isinstance(say(1), Answered)
    assert drive(run.id).state == "awaiting_reconciliation"
    assert isinstance(say(1), NotUnknown)
    assert Run.objects.get(pk=run.id).state == "awaiting_reconciliation"


def test_the_lease_outlasts_a_slow_tool(shop: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    contract = registry.get("create_ticket")
    assert contract is not None
    slow = replace(contract, name="lab.slow", timeout_s=600.0)
    left: list[timedelta] = []

    def work(ctx: CallContext, arguments: JSONObject) -> JSONObject:
        until = Run.objects.get(pk=ctx.run_id).lease_until
        assert until is not None
        left.append(until - clock.now)
        return {"ticket_id": "T-1", "status": "created"}

    registry.register(slow, work)
    try:
        step: JSONObject = {"id": "a", "tool": "lab.slow", "arguments": {"title": "t", "priority": "low"}}
        task_type([step], {"lab.slow": AUTO})
        drive(start("job", {}, now=clock()).id, clock)
    finally:
        registry.remove("lab.slow", slow.version)
    assert left[0] > timedelta(minutes=10)


@pytest.mark.parametrize("done", [True, False])
def test_an_effect_under_way_when_its_run_was_cancelled_is_settled_though_its_worker_died(
    shop: Tenant, reviewer: Actor, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    clock = Clock()
    task: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}
    run = drive(start("goodwill-refund", task, now=clock()).id, clock)
    proposal = only_proposal()
    approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest, now=clock())

    class Killed(BaseException):
        """Stands for SIGKILL."""

    execute = executor.execute

    def die(request: executor.CallRequest, consume: executor.Consume) -> executor.Outcome:
        if done:
            execute(request, consume)
        else:
            consume(request)
        raise Killed

    monkeypatch.setattr(executor, "execute", die)
    with pytest.raises(Killed):
        drive(run.id, clock)
    monkeypatch.undo()
    cancel_run(run_id=run.id, actor=reviewer, now=clock())
    assert settle_leftovers(clock()) == 0, "its worker may still come back"

    clock.forward(minutes=5)
    assert settle_leftovers(clock()) == 1
    assert settle_leftovers(clock()) == 0
    assert [e.verdict for e in events_of(run, CallReconciled)] == ["happened" if done else "did_not_happen"]  # type: ignore[union-attr]
    assert Refund.objects.count() == done
    assert Grant.objects.filter(proposal=proposal, consumed_at__isnull=False).count() == done
    assert drive(run.id, clock).state == "cancelled"


def test_a_record_that_cannot_be_read_keeps_no_other_effect_from_being_settled(
    shop: Tenant, reviewer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, runs = Clock(), list[UUID]()
    for order in ("A-1002", "A-1001"):
        task: JSONObject = {"order_ref": order, "amount_minor": 100, "reason": "x"}
        run = drive(start("goodwill-refund", task, now=clock()).id, clock)
        proposal = Proposal.objects.get(run=run)
        approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest, now=clock())
        Grant.objects.filter(run=run).update(consumed_at=clock())
        call = state_of(run.pk).calls["1.refund.0"]
        with transaction.atomic():
            interrupted: list[Event] = [RunClaimed("w1", 1), CallStarted(call.call_id, call.grant_id, 1)]
            record_outside(run.pk, interrupted, actor=WORKER, now=clock())
        cancel_run(run_id=run.pk, actor=reviewer, now=clock())
        runs.append(run.pk)

    def unreadable(run_id: UUID) -> State:
        if run_id == runs[0]:
            raise ValueError("a row cannot be read")
        return state_of(run_id)

    monkeypatch.setattr(sweeper, "state_of", unreadable)
    clock.forward(minutes=5)
    assert settle_leftovers(clock()) == 1
    assert state_of(runs[1]).calls["1.refund.0"].state is CallState.GRANTED


@pytest.mark.parametrize("broken", ["settle_leftovers", "end_holds", "record_readings", "settle_lifted"])
def test_a_duty_of_the_sweeper_that_breaks_keeps_no_run_from_being_taken_up(
    shop: Tenant, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    clock, rung = Clock(), list[UUID]()

    def breaks(*_: object) -> int:
        raise RuntimeError("one row is not as it should be")

    monkeypatch.setattr(sweeper, broken, breaks)
    monkeypatch.setattr(sweeper, "ring_now", lambda tenant_id, run_id: rung.append(run_id))
    run = start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}, now=clock())
    clock.forward(minutes=5)
    assert sweeper.sweep_tenant(shop, clock()) == 1
    assert rung == [run.pk]


def refund(order: str) -> JSONObject:
    arguments: JSONObject = {"order_ref": order, "amount_minor": 100, "currency": "EUR", "reason": "x"}
    return {"tool": "shop.issue_refund", "arguments": arguments}


@pytest.fixture
def pair(shop: Tenant) -> tuple[Clock, Run, Proposal, Proposal]:
    """Return a run of which two refunds of one step wait for people, who have a day for each."""
    clock = Clock()
    task_type([{"id": "pay", "calls": [refund("A-1001"), refund("A-1003")]}], {"shop.issue_refund": GATED})
    run = drive(start("job", {}, now=clock()).id, clock)
    first, second = Proposal.objects.order_by("call_id")
    return clock, run, first, second


def yes(proposal: Proposal, reviewer: Actor, clock: Clock) -> None:
    said = approve(
        proposal_id=proposal.pk, actor=reviewer, version=proposal.version, digest=proposal.digest, now=clock()
    )
    assert isinstance(said, Decided), said


def test_what_is_approved_does_not_wait_for_what_somebody_decides_beside_it_much_later(
    pair: tuple[Clock, Run, Proposal, Proposal], reviewer: Actor
) -> None:
    clock, run, first, second = pair
    yes(first, reviewer, clock)
    assert drive(run.id, clock).state == "awaiting_approval"
    assert Refund.objects.count() == 1
    clock.forward(hours=2)
    yes(second, reviewer, clock)
    assert drive(run.id, clock).state == "succeeded"
    assert Refund.objects.count() == 2
    assert not verify_tenant().findings


@pytest.fixture
def taken_back(shop: Tenant) -> None:
    for band in ("low", "medium", "high", "critical"):
        BandRule.objects.create(band=band, release_s=60)
    ladder.forget()


def test_an_approval_that_can_be_taken_back_starts_after_that_though_others_wait_and_somebody_asks(
    pair: tuple[Clock, Run, Proposal, Proposal], taken_back: None, reviewer: Actor
) -> None:
    clock, run, first, second = pair
    yes(first, reviewer, clock)
    assert drive(run.id, clock).state == "queued", "not before it is released"
    assert verdict(RunState.QUEUED, tell(load_stream(stream_of(run.pk)))) == (
        "Approved: shop.issue_refund starts by itself as soon as that can no longer be taken back. "
        "A person still has to decide about shop.issue_refund."
    )
    asked = ask(
        proposal_id=second.pk,
        actor=reviewer,
        version=1,
        digest=second.digest,
        question="Which order is this?",
        now=clock(),
    )
    assert isinstance(asked, Asked)
    assert drive(run.id, clock).state == "waiting_retry", "answered, and the first one is not released yet"
    assert not Refund.objects.exists()
    clock.forward(seconds=61)
    assert drive(run.id, clock).state == "awaiting_approval"
    assert Refund.objects.count() == 1
    assert state_of(run.pk).wall_time < timedelta(seconds=5), "it was people's time"
    clock.forward(hours=2)
    yes(second, reviewer, clock)
    clock.forward(seconds=61)
    assert drive(run.id, clock).state == "succeeded"
    assert Refund.objects.count() == 2


def test_what_is_taken_back_leaves_what_was_approved_beside_it(
    pair: tuple[Clock, Run, Proposal, Proposal], taken_back: None, reviewer: Actor
) -> None:
    clock, run, first, second = pair
    yes(first, reviewer, clock)
    yes(second, reviewer, clock)
    assert isinstance(undo(proposal_id=first.pk, actor=reviewer, now=clock()), Undone)
    clock.forward(seconds=61)
    assert drive(run.id, clock).state == "awaiting_approval"
    assert list(Refund.objects.values_list("order__ref", flat=True)) == ["A-1003"]
    assert state_of(run.pk).calls["1.pay.0"].state is CallState.PROPOSED


def test_a_no_that_ends_the_run_does_so_at_once_though_something_approved_waits_for_its_moment(
    pair: tuple[Clock, Run, Proposal, Proposal], taken_back: None, reviewer: Actor
) -> None:
    clock, run, first, second = pair
    yes(first, reviewer, clock)
    said = reject(
        proposal_id=second.pk,
        actor=reviewer,
        version=1,
        digest=second.digest,
        reason_code="wrong_target",
        note="Stop all of this.",
        scope="run",
        now=clock(),
    )
    assert isinstance(said, Decided), said
    assert drive(run.id, clock).failure_code == "rejected"
    assert not Refund.objects.exists()


def test_what_a_model_answers_after_somebody_paused_the_run_is_on_record_with_its_usage(
    shop: Tenant, sam: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    class Slow:
        name = "model:test:slow"

        def plan(self, request: PlanRequest) -> PlannerAnswer:
            assert isinstance(pause_run(run_id=run.id, actor=actor_of(sam, shop), reason="wait"), Paused)
            steps: list[JSON] = [{"id": "look", "tool": "tickets.list", "arguments": {}}]
            return Planned({"steps": steps, "answers": [{"text": "Done."}]}, Usage(input_tokens=70, output_tokens=7))

    run = start("support-email", {"message_id": "M-0001"})
    assert Driver("w1", planners=lambda run, state: Slow()).drive(shop, run.id)
    told = [s.event for s in load(run.id)]
    [answer] = [e for e in told if isinstance(e, PlanMade | PlanFailed)]
    assert told.index(answer) > next(n for n, e in enumerate(told) if isinstance(e, RunPaused))
    assert answer.usage is not None
    assert answer.usage.input_tokens == 70
    run.refresh_from_db()
    assert (run.state, run.lease_owner) == ("running", "")
    assert run.paused_at is not None
