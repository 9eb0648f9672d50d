"""A critical task goes on with its playbook: no effect, no question and no permission of the abandoned plan is left."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User

from agentops.audit.services import load as load_stream
from agentops.audit.verify import verify_tenant
from agentops.engine.events import CallAdopted, CallSelected, Event, PlanMade, RunFellBack
from agentops.engine.planner import Planned, PlannerAnswer, PlannerFailed
from agentops.runs.models import Playbook, Run, TaskType
from agentops.runs.recording import load
from agentops.runs.timeline import tell
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject
from agentops.worker.driver import Driver
from agentops.worker.planners import planner_for
from approvals.models import Grant, Proposal
from approvals.services import Decided, Lost, reject
from tests.deciding import approve
from tests.engine.recording import Scripted
from tests.shop import Clock, only_proposal, open_shop, start, task_type
from tools import health
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund, Ticket

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
ALLOW = {"shop.find_order": AUTO, "create_ticket": AUTO, "shop.issue_refund": GATED, "mail.read": AUTO}
LOOK: JSONObject = {"id": "order", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}
REFUND: JSONObject = {
    "id": "refund",
    "tool": "shop.issue_refund",
    "arguments": {
        "order_ref": "A-1001",
        "amount_minor": 100,
        "currency": {"$ref": "steps.order.output.currency"},
        "reason": "Late",
    },
}
TICKET: JSONObject = {"id": "note", "tool": "create_ticket", "arguments": {"title": "By the book", "priority": "low"}}
INVALID = PlannerFailed("plan_invalid", "That is no plan.")


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def reviewer(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, shop)


def critical(steps: list[JSONObject], fallback: list[JSONObject], **more: object) -> TaskType:
    answers: list[JSON] = [{"text": "by the book"}]
    body = canonical({"steps": list[JSON](fallback), "answers": answers})
    spare = Playbook.objects.create(slug="spare", version=3, body=body)
    return task_type(steps, ALLOW, critical=True, fallback=spare, **more)


def events_of(run: Run, *types: type[Event]) -> list[Event]:
    return [stamped.event for stamped in load(run.id) if isinstance(stamped.event, types)]


def drive(run: Run, clock: Clock, answers: list[PlannerAnswer] | None = None) -> Run:
    """Let a worker drive; a model that is asked answers from the list."""
    model = Scripted(answers or [])
    driver = Driver(
        "w1",
        now=clock,
        planners=lambda run, state: model if state.planner.startswith("model:") else planner_for(run, state),
    )
    driver.drive(run.tenant_id, run.id)
    return Run.objects.get(pk=run.pk)


def approved(run: Run, reviewer: Actor, clock: Clock) -> Proposal:
    p = only_proposal()
    outcome = approve(proposal_id=p.id, actor=reviewer, version=p.version, digest=p.digest, now=clock())
    assert isinstance(outcome, Decided)
    return p


def test_a_tool_that_is_down_hands_the_run_to_the_playbook(shop: Tenant) -> None:
    clock = Clock()
    critical([LOOK, REFUND], [TICKET])
    run = start("job", {}, now=clock())
    health.hold("shop.find_order", actor=SYSTEM, now=clock())
    run = drive(run, clock)
    assert (run.state, run.answer) == ("succeeded", "by the book")
    assert events_of(run, RunFellBack) == [RunFellBack("breaker_open", "playbook:job@1", "playbook:spare@3")]
    assert Ticket.objects.get().title == "By the book"
    assert not Grant.objects.filter(tool="shop.find_order", consumed_at__isnull=False).exists()
    assert not verify_tenant().findings


def test_a_permission_for_what_the_playbook_does_not_do_ends_with_the_plan(shop: Tenant, reviewer: Actor) -> None:
    """Approved, and then the tool was down: the refund is not made later, whatever the breaker does."""
    clock = Clock()
    critical([LOOK, REFUND], [LOOK, TICKET])
    run = drive(start("job", {}, now=clock()), clock)
    proposal = approved(run, reviewer, clock)
    health.hold("shop.issue_refund", actor=SYSTEM, now=clock())
    run = drive(run, clock)
    assert run.state == "succeeded"
    grant = Grant.objects.get(proposal=proposal)
    assert (grant.consumed_at, grant.expires_at <= clock()) == (None, True)
    assert not Refund.objects.exists()
    assert [(e.call_id, e.step_id) for e in events_of(run, CallAdopted)] == [("1.order.0", "order")]  # type: ignore[union-attr]
    assert run.calls_used == 3


def test_a_question_of_the_abandoned_plan_is_closed_and_a_late_answer_is_told_so(shop: Tenant, reviewer: Actor) -> None:
    clock = Clock()
    refund = {"tool": REFUND["tool"], "arguments": {**REFUND["arguments"], "currency": "EUR"}}  # type: ignore[dict-item]
    look = {name: LOOK[name] for name in ("tool", "arguments")}
    critical([{"id": "both", "calls": [refund, look]}], [TICKET])
    run = start("job", {}, now=clock())
    health.hold("shop.find_order", actor=SYSTEM, now=clock())
    run = drive(run, clock)
    assert run.state == "succeeded"
    p = Proposal.objects.get()
    assert (p.status, p.closing_note) == ("withdrawn", "The fallback playbook took over.")
    late = approve(proposal_id=p.id, actor=reviewer, version=p.version, digest=p.digest, now=clock())
    assert isinstance(late, Lost)


def test_a_refund_that_was_paid_is_not_asked_for_or_paid_again(
    shop: Tenant, reviewer: Actor, settings: LazySettings
) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    clock = Clock()
    critical([], [LOOK, REFUND, TICKET], planner="model")
    planned = Planned({"steps": [LOOK, REFUND | {"expect": "output.status == 'pending'"}]})
    run = drive(start("job", {}, now=clock()), clock, [planned])
    approved(run, reviewer, clock)
    run = drive(run, clock, [INVALID, INVALID, INVALID])

    assert (run.state, run.answer) == ("succeeded", "by the book")
    assert Refund.objects.count() == 1
    assert Proposal.objects.count() == 1
    assert [e.reason_code for e in events_of(run, RunFellBack)] == ["plan_invalid"]  # type: ignore[union-attr]
    adopted = [(e.step_id, e.call_id) for e in events_of(run, CallAdopted)]  # type: ignore[union-attr]
    assert adopted == [("order", "1.order.0"), ("refund", "1.refund.0")]
    assert [e.tainted for e in events_of(run, PlanMade)] == [False, False]  # type: ignore[union-attr]
    told = tell(load_stream(f"run:{run.id}"), str)
    assert not told.broken
    words = [entry.text for group in told.groups for entry in group.events]
    assert "Playbook spare version 3 takes over from the model scripted, plan_invalid" in words
    assert "shop.issue_refund was done before with these arguments; its result is used again" in words
    assert [group.title for group in told.groups].count("shop.issue_refund") == 2
    assert not verify_tenant().findings


def test_what_a_person_rejected_stays_rejected(shop: Tenant, reviewer: Actor, settings: LazySettings) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    clock = Clock()
    note: JSON = {"$text": ["Not paid: ", {"$ref": "steps.refund.note"}]}
    ticket = TICKET | {"arguments": {"title": note, "priority": "low"}, "when": "steps.refund.outcome == 'rejected'"}
    critical([], [LOOK, REFUND, ticket], planner="model")
    run = drive(start("job", {}, now=clock()), clock, [Planned({"steps": [LOOK, REFUND]})])
    p = only_proposal()
    reject(
        proposal_id=p.id,
        actor=reviewer,
        version=1,
        digest=p.digest,
        reason_code="not_enough_evidence",
        note="No photo",
        now=clock(),
    )
    run = drive(run, clock, [INVALID, INVALID, INVALID])
    assert run.state == "succeeded"
    assert Proposal.objects.count() == 1
    assert "No photo" in Ticket.objects.get().title


def test_a_sensitive_call_of_the_playbook_goes_to_a_person(
    shop: Tenant, reviewer: Actor, settings: LazySettings
) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    clock = Clock()
    critical([], [LOOK, REFUND], planner="model")
    run = drive(start("job", {}, now=clock()), clock, [INVALID, INVALID, INVALID])
    assert run.state == "awaiting_approval"
    p = only_proposal()
    assert not p.attacked, "what an admin wrote is a constant"
    approved(run, reviewer, clock)
    assert drive(run, clock).state == "succeeded"
    assert Refund.objects.count() == 1


@pytest.mark.parametrize("retryable", [True, False])
def test_a_model_that_is_out_hands_over_after_its_retries(
    shop: Tenant, settings: LazySettings, retryable: bool
) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    clock = Clock()
    critical([], [TICKET], planner="model")
    run = start("job", {}, now=clock())
    out = PlannerFailed("model_unavailable", "No answer.", retryable=retryable)
    for _ in range(3):
        run = drive(run, clock, [out])
        if run.state != "waiting_retry":
            break
        clock.forward(minutes=2)
    assert run.state == "succeeded"
    assert [e.reason_code for e in events_of(run, RunFellBack)] == ["model_unavailable"]  # type: ignore[union-attr]


def test_a_model_that_is_not_configured_hands_over_at_once(shop: Tenant, settings: LazySettings) -> None:
    settings.AGENTOPS_MODEL = ""
    clock = Clock()
    critical([], [TICKET], planner="model")
    run = start("job", {}, now=clock())
    Driver("w1", now=clock).drive(shop, run.id)
    run.refresh_from_db()
    assert run.state == "succeeded"
    assert [e.reason_code for e in events_of(run, RunFellBack)] == ["model_not_configured"]  # type: ignore[union-attr]


def test_what_untrusted_text_touched_stays_marked_when_the_playbook_takes_it_over(
    shop: Tenant, settings: LazySettings
) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    clock = Clock()
    read: JSONObject = {"id": "mail", "tool": "mail.read", "arguments": {"message_id": "M-0001"}}
    title: JSON = {"$ref": "steps.mail.output.subject"}
    note = TICKET | {"arguments": {"title": title, "priority": "low"}}
    critical([], [read, note], planner="model")
    planned = Planned({"steps": [read | {"expect": "output.truncated"}]})
    run = drive(start("job", {}, now=clock()), clock, [planned, INVALID, INVALID, INVALID])
    assert run.state == "succeeded"
    selected = events_of(run, CallSelected)
    assert [e.call_id for e in selected] == ["1.mail.0", "2.note.0"]  # type: ignore[union-attr]
    assert selected[1].provenance["/title"]["integrity"] == "untrusted"  # type: ignore[union-attr]
    assert selected[1].provenance["/priority"]["integrity"] == "trusted"  # type: ignore[union-attr]
    assert selected[1].planned  # type: ignore[union-attr]


def test_a_task_type_that_is_not_critical_waits(shop: Tenant) -> None:
    clock = Clock()
    kind = critical([LOOK], [TICKET])
    TaskType.objects.filter(pk=kind.pk).update(critical=False)
    run = start("job", {}, now=clock())
    health.hold("shop.find_order", actor=SYSTEM, now=clock())
    assert drive(run, clock).state == "waiting_retry"
    clock.now += timedelta(days=1)


def test_a_fallback_that_is_gone_fails_the_run_with_a_reason(shop: Tenant, settings: LazySettings) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    clock = Clock()
    critical([], [TICKET], planner="model")
    run = start("job", {}, now=clock())
    Playbook.objects.filter(slug="spare").update(slug="renamed")
    run = drive(run, clock, [INVALID, INVALID, INVALID])
    assert (run.state, run.failure_code) == ("failed", "playbook_missing")
