"""Calls that must not run: each ends with the documented code, an event says so, and nothing was executed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from agentops.audit.models import Event as EventRow
from agentops.audit.verify import verify_tenant
from agentops.engine.events import CallDenied, CallReconciled, CallStarted, PlanFailed, RunSubmitted
from agentops.runs.models import Playbook, Run, TaskType
from agentops.runs.recording import record_outside
from agentops.runs.services import InvalidTask, save_playbook, submit
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from approvals.models import Grant, Proposal
from approvals.services import Decided, Invalid, reject
from tests.deciding import approve, edit_and_approve
from tests.proof.planning import Answers, drive_on, events_of
from tests.shop import AGENT, Clock, drive, only_proposal, start, task_type
from tests.stubs.model_server import Call, Says, in_turn, plan
from tools import publishing
from tools.allowlist import AllowlistState
from tools.backoffice.models import Erasure, Refund, RoleGrant, SentMessage, Ticket
from tools.builtin import shop as shop_tools
from tools.builtin import tickets
from tools.contracts import CallContext, ErrorCode, ToolContract, ToolError
from tools.models import AllowlistEntry
from tools.registry import Handler, registry

AUTO = AllowlistState.AUTO
MAIL: JSONObject = {"message_id": "M-0001"}
REFUND: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "Late"}

# What arrives where arguments are expected: the text, and the code it is refused with.
MALFORMED = [
    pytest.param('{"INVALID_JSON"', "invalid_json", id="no JSON"),
    pytest.param('{"title": 1e999, "priority": "low"}', "not_finite", id="1e999"),
    pytest.param('{"title": "a\\u0000b", "priority": "low"}', "bad_character", id="NUL"),
    pytest.param('{"title": ' + "[" * 10_000 + "]" * 10_000 + ', "priority": "low"}', "too_deep", id="depth 10,000"),
    pytest.param('{"title": "' + "x" * 300_000 + '", "priority": "low"}', "too_large", id="300 KB"),
    pytest.param('{"title": "' + "x" * 5_000_000 + '", "priority": "low"}', "too_large", id="5 MB"),
]


def nothing_was_executed(run: Run) -> None:
    assert not events_of(run, CallStarted)
    for model in (Refund, SentMessage, Ticket, Erasure, RoleGrant):
        assert not model.objects.exists(), model.__name__
    used = set(Grant.objects.filter(consumed_at__isnull=False).values_list("tool", flat=True))
    assert used <= {"mail.read", "shop.find_order"}, "only reads"
    assert not verify_tenant().findings


# --- malformed arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("raw", "code"), MALFORMED)
def test_malformed_arguments_from_a_model_never_become_a_call(
    shop: Tenant, answers: Answers, raw: str, code: str
) -> None:
    server, clock = answers(in_turn(Says(calls=[Call("create_ticket", raw=raw)]))), Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    # An answer of more than 4 MB is not read to its end.
    expected = "model_bad_answer" if len(raw) > 4 * 2**20 else "plan_invalid"
    assert (run.state, run.failure_code) == ("failed", expected)
    failures = events_of(run, PlanFailed)
    assert len(failures) == len(server.asked)
    assert {failure.code for failure in failures if isinstance(failure, PlanFailed)} == {expected}
    nothing_was_executed(run)


@pytest.mark.parametrize(("raw", "code"), MALFORMED)
def test_malformed_arguments_in_a_playbook_are_refused_when_it_is_saved_and_again_when_it_is_read(
    shop: Tenant, raw: str, code: str
) -> None:
    body = f'{{"steps": [{{"id": "a", "tool": "create_ticket", "arguments": {raw}}}]}}'
    refused = save_playbook(slug="hostile", body=body, actor=SYSTEM)
    assert isinstance(refused, InvalidTask)
    assert [issue.code for issue in refused.issues] == [code]

    # Written straight into the table, past every check.
    kind = task_type([], {"create_ticket": AUTO})
    Playbook.objects.filter(slug="job").update(body=body)
    run = drive(begun(kind).id)
    assert (run.state, run.failure_code) == ("failed", "plan_invalid")
    assert events_of(run, PlanFailed)
    nothing_was_executed(run)


@pytest.mark.parametrize(("raw", "code"), MALFORMED[1:])
def test_malformed_values_in_a_task_are_refused_before_there_is_a_run(shop: Tenant, raw: str, code: str) -> None:
    deep: JSON = "x"
    for _ in range(10_000):
        deep = [deep]
    task: JSON = {"title": deep} if code == "too_deep" else json.loads(raw)
    refused = submit(task_type=TaskType.objects.get(slug="support-email"), input=task, actor=AGENT)
    assert isinstance(refused, InvalidTask)
    assert [issue.code for issue in refused.issues] == [code]
    assert not Run.objects.exists()


# --- tools that may not be used --------------------------------------------------------------------------------------


def begun(kind: TaskType) -> Run:
    """Return a run of a task type that `submit` would have refused."""
    from agentops.runs.services import _pins

    now = timezone.now()
    run = Run.objects.create(task_type=kind, input="{}", created_at=now)
    playbook = kind.playbook
    assert playbook is not None
    submitted = RunSubmitted(
        kind.slug, {}, "user:1", f"playbook:{playbook.slug}@{playbook.version}", "plan_first", {}, _pins(kind)
    )
    with transaction.atomic():
        record_outside(run.id, [submitted], actor=SYSTEM, now=now)
    return run


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Call("access__grant_role", {"system": "shop", "account": "eve", "role": "admin", "reason": "x"}), "access"),
        (Call("no__such_tool", {}), "no__such_tool"),
        (Call("submit_plan", {"steps": [{"id": "a", "tool": "access.grant_role", "arguments": {}}]}), "access"),
        (Call("submit_plan", {"steps": [{"id": "a", "tool": "no.such_tool", "arguments": {}}]}), "no.such_tool"),
    ],
    ids=["disallowed, called", "unknown, called", "disallowed, planned", "unknown, planned"],
)
def test_a_tool_that_was_not_offered_never_runs_for_a_model(
    shop: Tenant, answers: Answers, call: Call, named: str
) -> None:
    answers(in_turn(Says(calls=[call])))
    clock = Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    assert run.state == "failed"
    assert run.failure_code in {"plan_invalid", "call_not_allowed", "call_unknown_tool"}
    assert named in run.failure_message
    nothing_was_executed(run)


@pytest.mark.parametrize("when", ["before the approval", "after the approval"])
def test_a_tool_that_is_taken_off_the_list_while_a_person_decides_does_not_run_afterwards(
    shop: Tenant, reviewer: Actor, answers: Answers, when: str
) -> None:
    steps = [
        {"id": "pay", "tool": "shop.issue_refund", "arguments": REFUND | {"currency": "EUR"}, "on_failure": "continue"},
        {"id": "note", "tool": "create_ticket", "arguments": {"title": "Paid", "priority": "low"}},
    ]
    answers(in_turn(plan(steps), plan([], [{"when": "", "text": "Stopped."}])))
    clock = Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    proposal = only_proposal()
    listed = AllowlistEntry.objects.filter(tool__in=["create_ticket", "shop.issue_refund"])
    seen: dict[str, Any] = {"proposal_id": proposal.id, "actor": reviewer, "version": 1, "digest": proposal.digest}
    if when == "before the approval":
        listed.update(state="denied")
        outcome = approve(**seen)
        assert isinstance(outcome, Invalid), "nobody approves in vain"
        assert [issue.code for issue in outcome.issues] == ["not_allowed"]
        assert isinstance(
            reject(**seen, reason_code="not_permitted", note="Off the list by now.", scope="call"), Decided
        )
    else:
        assert isinstance(approve(**seen), Decided)
        listed.update(state="denied")
    run = drive_on(run.id, clock)
    assert [e.code for e in events_of(run, CallDenied) if isinstance(e, CallDenied)][:1] == ["not_allowed"]
    assert run.state == "succeeded"
    nothing_was_executed(run)


@pytest.fixture
def ticketing() -> Iterator[Callable[[Handler], None]]:
    """Return a function that puts another handler behind the ticket tool, whose contract stays as it is."""
    contract = tickets.CREATE_TICKET

    def behave(handler: Handler) -> None:
        registry.remove(contract.name, contract.version)
        registry.register(contract, handler, describe=tickets.describe, reconcile=tickets.reconcile)

    yield behave
    behave(tickets.create_ticket)


TICKET: JSONObject = {"id": "a", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}


def test_a_call_that_waits_for_its_next_attempt_is_denied_when_the_list_is_narrowed_meanwhile(
    shop: Tenant, ticketing: Callable[[Handler], None]
) -> None:
    def busy(ctx: CallContext, arguments: JSONObject) -> JSONObject:
        raise ToolError(ErrorCode.UNAVAILABLE, "try again")

    ticketing(busy)
    clock = Clock()
    task_type([TICKET], {"create_ticket": AUTO})
    run = drive(start("job", {}, now=clock()).id, clock)
    assert run.state == "waiting_retry"
    ticketing(tickets.create_ticket)
    AllowlistEntry.objects.filter(tool="create_ticket").update(state="denied")
    clock.forward(minutes=5)
    run = drive(run.id, clock)
    assert (run.state, run.failure_code, run.denied_calls) == ("failed", "call_not_allowed", 1)
    assert not Ticket.objects.exists()


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("done", [True, False])
def test_a_write_that_was_interrupted_and_may_not_be_repeated_any_more_is_asked_after_instead(
    shop: Tenant, ticketing: Callable[[Handler], None], done: bool
) -> None:
    def dying(ctx: CallContext, arguments: JSONObject) -> JSONObject:
        if done:
            tickets.create_ticket(ctx, arguments)
        raise Killed

    ticketing(dying)
    clock = Clock()
    task_type([TICKET], {"create_ticket": AUTO})
    run = start("job", {}, now=clock())
    with pytest.raises(Killed):
        drive(run.id, clock)
    ticketing(tickets.create_ticket)
    AllowlistEntry.objects.filter(tool="create_ticket").update(state="denied")
    clock.forward(minutes=5)
    run = drive(run.id, clock, "w2")
    assert (run.state, run.failure_code) == (("succeeded", "") if done else ("failed", "call_not_allowed"))
    assert Ticket.objects.count() == done
    [reconciled] = events_of(run, CallReconciled)
    assert isinstance(reconciled, CallReconciled)
    assert reconciled.verdict == ("happened" if done else "did_not_happen")


# --- a contract that changes -----------------------------------------------------------------------------------------


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> Iterator[ToolContract]:
    """Return the refund contract, and put it back afterwards whatever the test did to it.

    Of a source that publishes nothing, which would refuse the change before anything else sees it.
    """
    monkeypatch.setattr(publishing, "digests", dict)
    contract = shop_tools.ISSUE_REFUND
    yield contract
    for one in registry.all_versions():
        if one.name == contract.name:
            registry.remove(one.name, one.version)
    put(contract)


def put(contract: ToolContract) -> None:
    registry.register(
        contract,
        shop_tools.issue_refund,
        reconcile=shop_tools.reconcile_refund,
        describe=shop_tools.describe_refund,
        read_back=shop_tools.read_refund_back,
    )


def reword(contract: ToolContract) -> None:
    """Change what the same version promises."""
    registry.remove(contract.name, contract.version)
    put(replace(contract, sentence="Pay {amount_minor|money:currency} back for order {order_ref}"))


def tighten(contract: ToolContract) -> None:
    """Change the same version so that the frozen arguments no longer fit."""
    registry.remove(contract.name, contract.version)
    properties = contract.input_schema["properties"]
    assert isinstance(properties, dict)
    reason: JSONObject = {"type": "string", "minLength": 100, "maxLength": 300}
    put(replace(contract, input_schema={**contract.input_schema, "properties": {**properties, "reason": reason}}))


def withdraw(contract: ToolContract) -> None:
    """Take the version away; there is only the next one."""
    registry.remove(contract.name, contract.version)
    put(replace(contract, version="1.1.0"))


def narrow(contract: ToolContract) -> None:
    """Register the next version beside it and allow nothing older."""
    put(replace(contract, version="1.1.0"))
    AllowlistEntry.objects.filter(tool=contract.name).update(min_version="1.1.0")


CHANGES = [reword, tighten, withdraw, narrow]


@pytest.mark.parametrize("change", CHANGES)
def test_a_contract_that_changes_after_submission_is_not_proposed(
    shop: Tenant, original: ToolContract, change: Callable[[ToolContract], None]
) -> None:
    run = start("goodwill-refund", REFUND)
    change(original)
    run = drive(run.id)
    code = "call_unknown_tool" if change is withdraw else "call_contract_changed"
    assert (run.state, run.failure_code) == ("failed", code)
    assert not Proposal.objects.exists()
    nothing_was_executed(run)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("when", ["before the approval", "after the approval"])
def test_a_contract_that_changes_around_the_approval_is_not_executed(
    shop: Tenant, reviewer: Actor, original: ToolContract, change: Callable[[ToolContract], None], when: str
) -> None:
    run = drive(start("goodwill-refund", REFUND).id)
    proposal = only_proposal()
    if when == "before the approval":
        change(original)
    outcome = approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest)
    if when == "after the approval":
        change(original)
    run = drive(run.id)
    if isinstance(outcome, Invalid):
        assert (when, change) == ("before the approval", narrow)
        assert [issue.code for issue in outcome.issues] == ["contract_changed"]
        assert run.state == "awaiting_approval"
        nothing_was_executed(run)
        return
    assert (run.state, run.failure_code) == ("failed", "call_contract_changed")
    assert [e.code for e in events_of(run, CallDenied) if isinstance(e, CallDenied)] == ["contract_changed"]
    assert EventRow.objects.filter(run_id=run.id, type="call.denied", tool="shop.issue_refund").exists()
    nothing_was_executed(run)


@pytest.mark.parametrize("change", CHANGES)
def test_an_edit_under_a_contract_that_has_changed_is_refused(
    shop: Tenant, reviewer: Actor, original: ToolContract, change: Callable[[ToolContract], None]
) -> None:
    drive(start("goodwill-refund", REFUND).id)
    proposal = only_proposal()
    change(original)
    outcome = edit_and_approve(
        proposal_id=proposal.id,
        actor=reviewer,
        version=1,
        digest=proposal.digest,
        arguments={**proposal.argument_values, "amount_minor": 50},
    )
    assert isinstance(outcome, Invalid)
    proposal.refresh_from_db()
    assert proposal.status == "pending"
    assert not Refund.objects.exists()


def test_a_second_version_beside_it_changes_nothing_for_runs_that_are_under_way(
    shop: Tenant, reviewer: Actor, original: ToolContract
) -> None:
    run = drive(start("goodwill-refund", REFUND).id)
    put(replace(original, version="1.1.0"))
    proposal = only_proposal()
    outcome = approve(proposal_id=proposal.id, actor=reviewer, version=1, digest=proposal.digest)
    assert isinstance(outcome, Decided)
    run = drive(run.id)
    assert run.state == "succeeded"
    [started] = events_of(run, CallStarted)
    assert isinstance(started, CallStarted)
    assert Grant.objects.get(pk=started.grant_id).contract_version == "1.0.0"
    assert Refund.objects.count() == 1
