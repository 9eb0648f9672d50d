"""What a write said it did is looked at before the next step: confirmed, contradicted, or nobody can tell."""

from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User

from agentops.audit.services import load as load_stream
from agentops.engine.events import CallConfirmed, CriteriaUnmet, Event, PlanMade
from agentops.engine.planner import Planned, PlannerAnswer, PlanRequest
from agentops.runs.models import Run
from agentops.runs.recording import load
from agentops.runs.timeline import tell
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from agentops.worker.driver import Driver
from tests.deciding import approve
from tests.engine.recording import Scripted
from tests.shop import Clock, drive, only_proposal, open_shop, start, task_type
from tools.allowlist import AllowlistState
from tools.backoffice.models import Customer, Refund, RoleGrant, SentMessage
from tools.builtin import access, customers, mail, shop
from tools.contracts import CallContext, ToolContract
from tools.registry import Handler, registry

GOODWILL: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "Late"}
GATED, AUTO = AllowlistState.GATED, AllowlistState.AUTO


@pytest.fixture
def desk(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def reviewer(bob: User, desk: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, desk)


def confirmed(run: Run) -> list[tuple[str, str, str]]:
    return [(e.call_id, e.verdict, e.message) for s in load(run.id) if isinstance(e := s.event, CallConfirmed)]


def approved(run: Run, reviewer: Actor) -> Run:
    p = only_proposal()
    approve(proposal_id=p.id, actor=reviewer, version=p.version, digest=p.digest)
    return drive(run.id)


def lying(contract: ToolContract, handler: Handler, **hooks: object) -> Callable[[], None]:
    """Replace a tool's handler; the function that is returned puts things right again."""
    registry.remove(contract.name, contract.version)
    registry.register(contract, handler, **hooks)  # type: ignore[arg-type]

    def restore() -> None:
        registry.remove(contract.name, contract.version)
        registry.register(
            shop.ISSUE_REFUND,
            shop.issue_refund,
            describe=shop.describe_refund,
            reconcile=shop.reconcile_refund,
            read_back=shop.read_refund_back,
        )

    return restore


@pytest.fixture
def refund_that_lies() -> object:
    """A refund that says it was made, and was not."""
    restore = lying(
        shop.ISSUE_REFUND,
        lambda ctx, arguments: {"refund_id": "R-0000000000", "status": "refunded"},
        reconcile=shop.reconcile_refund,
        read_back=shop.read_refund_back,
    )
    yield
    restore()


def test_a_refund_is_read_back_before_the_next_step(desk: Tenant, reviewer: Actor) -> None:
    run = approved(drive(start("goodwill-refund", GOODWILL).id), reviewer)
    assert run.state == "succeeded"
    assert confirmed(run) == [("1.refund.0", "confirmed", "")]
    words = [entry.text for group in tell(load_stream(f"run:{run.id}"), str).groups for entry in group.events]
    assert "Read back: the effect of shop.issue_refund is there" in words
    types = [s.event.type for s in load(run.id)]
    at = types.index("call.confirmed")
    assert types[at - 1 : at + 2] == ["call.succeeded", "call.confirmed", "step.verified"]


def test_a_refund_that_is_not_there_leaves_its_step_unverified(
    desk: Tenant, reviewer: Actor, refund_that_lies: object
) -> None:
    task: JSONObject = {
        "id": "refund",
        "tool": "shop.issue_refund",
        "arguments": {"order_ref": "A-1001", "amount_minor": 100, "currency": "EUR", "reason": "Late"},
    }
    task_type([task], {"shop.issue_refund": GATED})
    run = approved(drive(start("job", {}).id), reviewer)
    assert confirmed(run) == [("1.refund.0", "contradicted", "There is no such refund on record.")]
    assert (run.state, run.failure_code) == ("failed", "verification_failed")
    assert "reading it back says otherwise" in run.failure_message
    assert not Refund.objects.exists()


def test_a_model_is_told_that_its_call_was_contradicted_and_not_in_the_tools_words(
    desk: Tenant, reviewer: Actor, refund_that_lies: object, settings: LazySettings
) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    asked: list[PlanRequest] = []

    class Watched(Scripted):
        def plan(self, request: PlanRequest) -> PlannerAnswer:
            asked.append(request)
            return super().plan(request)

    refund: JSONObject = {
        "id": "refund",
        "tool": "shop.issue_refund",
        "arguments": {"order_ref": "A-1001", "amount_minor": 100, "currency": "EUR", "reason": "Late"},
    }
    ticket: JSONObject = {"id": "note", "tool": "create_ticket", "arguments": {"title": "Look", "priority": "low"}}
    planner = Watched([Planned({"steps": [refund]}), Planned({"steps": [ticket]})])
    task_type([], {"shop.issue_refund": GATED, "create_ticket": AUTO}, planner="model")
    run = start("job", {})
    worker = Driver("w1", planners=lambda run, state: planner)
    worker.drive(desk, run.id)
    p = only_proposal()
    approve(proposal_id=p.id, actor=reviewer, version=p.version, digest=p.digest)
    worker.drive(desk, run.id)
    run.refresh_from_db()
    assert run.state == "succeeded"
    said = "shop.issue_refund said that it had succeeded; reading it back says otherwise"
    assert asked[1].feedback == (f"Step refund did not pass its check: {said}",)
    assert "no such refund" not in str(asked[1].feedback)


def test_a_hook_that_breaks_cannot_tell_and_the_step_stands(desk: Tenant, reviewer: Actor) -> None:
    def broken(ctx: CallContext, arguments: JSONObject, output: JSONObject) -> object:
        raise RuntimeError("a bug")

    restore = lying(shop.ISSUE_REFUND, shop.issue_refund, reconcile=shop.reconcile_refund, read_back=broken)
    try:
        run = approved(drive(start("goodwill-refund", GOODWILL).id), reviewer)
    finally:
        restore()
    assert run.state == "succeeded"
    assert confirmed(run) == [("1.refund.0", "cannot_tell", "Reading it back failed (RuntimeError).")]


def test_a_success_criterion_is_told_to_the_model_with_its_plans_left(desk: Tenant, settings: LazySettings) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"
    first: JSONObject = {"id": "a", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}
    second: JSONObject = {"id": "note", "tool": "create_ticket", "arguments": {"title": "Look", "priority": "low"}}
    planner = Scripted([Planned({"steps": [first]}), Planned({"steps": [second]})])
    allow = {"shop.find_order": AUTO, "create_ticket": AUTO}
    task_type([], allow, planner="model", success_when="steps.note.outcome == 'succeeded'")
    run = start("job", {})
    Driver("w1", planners=lambda run, state: planner).drive(desk, run.id)
    run.refresh_from_db()
    assert run.state == "succeeded"
    told: list[Event] = [s.event for s in load(run.id) if isinstance(s.event, CriteriaUnmet | PlanMade)]
    assert [event.type for event in told] == ["plan.made", "criteria.unmet", "plan.made"]


# --- the hooks of the built-in tools --------------------------------------------------------------------------------


@pytest.fixture
def ctx(desk: Tenant) -> CallContext:
    from uuid import uuid4

    from django.utils import timezone

    return CallContext(desk.pk, uuid4(), "1.a.0", "key-1", timezone.now().replace(year=2050))


def test_a_sent_letter_is_known_by_its_key_and_only_if_it_is_the_one_that_was_asked_for(ctx: CallContext) -> None:
    asked: JSONObject = {"to": "wilma@example.com", "subject": "Your tent", "body": "It is on its way."}
    assert type(mail.read_sent_back(ctx, asked, {"message_id": "<x>"})).__name__ == "Contradicted"
    output = mail.send(ctx, asked)
    assert type(mail.read_sent_back(ctx, asked, output)).__name__ == "Confirmed"
    assert type(mail.read_sent_back(ctx, {**asked, "to": "eve@example.com"}, output)).__name__ == "Contradicted"
    SentMessage.objects.update(to="", subject="", body="")
    assert type(mail.read_sent_back(ctx, asked, output)).__name__ == "CannotTell"


def test_a_refund_of_another_amount_is_not_the_one_that_was_asked_for(ctx: CallContext) -> None:
    asked: JSONObject = {"order_ref": "A-1001", "amount_minor": 100, "currency": "EUR", "reason": "Late"}
    output = shop.issue_refund(ctx, asked)
    assert type(shop.read_refund_back(ctx, asked, output)).__name__ == "Confirmed"
    for wrong in ({"amount_minor": 200}, {"order_ref": "A-1002"}, {"currency": "USD"}):
        assert type(shop.read_refund_back(ctx, {**asked, **wrong}, output)).__name__ == "Contradicted"


def test_a_role_is_read_back_from_those_the_account_holds(ctx: CallContext) -> None:
    asked: JSONObject = {"system": "billing", "account": "a@x.example", "role": "reader", "reason": "New"}
    assert type(access.read_back(ctx, asked, {})).__name__ == "Contradicted"
    RoleGrant.objects.create(
        system="billing", account="A@x.example", role="reader", reason="New", idempotency_key=ctx.idempotency_key
    )
    assert type(access.read_back(ctx, asked, {})).__name__ == "Confirmed"


def test_an_erased_customer_has_nothing_personal_left(ctx: CallContext) -> None:
    asked: JSONObject = {"customer_ref": "C-1001", "reason": "Asked for"}
    assert type(customers.read_back(ctx, asked, {})).__name__ == "Contradicted"
    output = customers.erase(ctx, asked)
    assert type(customers.read_back(ctx, asked, output)).__name__ == "Confirmed"
    Customer.objects.update(address="Elm Street 1")
    assert type(customers.read_back(ctx, asked, output)).__name__ == "Contradicted"


def test_an_effect_that_the_hook_settled_after_a_crash_is_not_read_back_once_more(
    desk: Tenant, reviewer: Actor
) -> None:
    from tests.engine.recording import Killed

    clock = Clock()
    run = drive(start("goodwill-refund", GOODWILL, now=clock()).id, clock)
    p = only_proposal()
    approve(proposal_id=p.id, actor=reviewer, version=p.version, digest=p.digest, now=clock())

    def dies(ctx: CallContext, arguments: JSONObject) -> JSONObject:
        shop.issue_refund(ctx, arguments)
        raise Killed

    restore = lying(shop.ISSUE_REFUND, dies, reconcile=shop.reconcile_refund, read_back=shop.read_refund_back)
    try:
        with pytest.raises(Killed):
            drive(run.id, clock)
        clock.forward(minutes=5)
        run = drive(run.id, clock, "w2")
    finally:
        restore()
    assert run.state == "succeeded"
    assert confirmed(run) == []
