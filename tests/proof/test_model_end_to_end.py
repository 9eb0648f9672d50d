"""The support desk planned by a model: up to the proposal and to the end, and what happens when the model fails."""

import pytest

from agentops.audit.models import Event as EventRow
from agentops.audit.verify import verify_tenant
from agentops.engine.events import CallDenied, CallSelected, CallSucceeded, PlanFailed, PlanMade
from agentops.runs.models import ToolCall
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals.models import Proposal
from approvals.services import Decided, reject
from tests.deciding import approve
from tests.proof.planning import STEPWISE, Answers, drive_on, events_of
from tests.shop import Clock, only_proposal, start
from tests.stubs.model_server import (
    DRIPPING,
    HTML,
    NO_CHOICES,
    QUOTA,
    SILENT,
    TRUNCATED,
    Call,
    Raw,
    Reply,
    Says,
    in_turn,
    malformed,
    plan,
    rate_limited,
    refusal,
    support,
)
from tools.backoffice.models import Refund, SentMessage, Ticket

MAIL: JSONObject = {"message_id": "M-0001"}
BOTH = ["support-email", STEPWISE]


def approved(proposal: Proposal, reviewer: Actor) -> None:
    outcome = approve(proposal_id=proposal.id, actor=reviewer, version=proposal.version, digest=proposal.digest)
    assert isinstance(outcome, Decided)


def integrity(proposal: Proposal) -> dict[str, str]:
    """Return the integrity of every argument by its JSON pointer."""
    return {path: str(origin["integrity"]) for path, origin in proposal.provenance.items()}


def kinds_of_source(proposal: Proposal, path: str) -> set[str]:
    return {str(source["kind"]) for source in proposal.provenance[path]["sources"]}


# --- to the end ------------------------------------------------------------------------------------------------------


def test_a_model_plans_before_it_reads_and_a_person_sees_which_argument_the_sender_chose(
    shop: Tenant, reviewer: Actor, answers: Answers
) -> None:
    server, clock = answers(support), Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    assert run.state == "awaiting_approval"
    [made] = events_of(run, PlanMade)
    assert isinstance(made, PlanMade)
    assert (made.planner, made.tainted) == ("model:stub", False)
    assert made.exchange is not None
    assert "Wilma" not in str(server.asked[0].body), "the mail is read after the plan is made"

    proposal = only_proposal()
    assert proposal.tool == "shop.issue_refund"
    assert proposal.attacked == ["/order_ref"]
    assert integrity(proposal) == {
        "/order_ref": "untrusted",
        "/amount_minor": "trusted",
        "/currency": "trusted",
        "/reason": "trusted",
    }
    assert kinds_of_source(proposal, "/reason") == {"model"}
    assert "tool" in kinds_of_source(proposal, "/order_ref")
    assert not Refund.objects.exists()

    approved(proposal, reviewer)
    run = drive_on(run.id, clock)
    assert Refund.objects.get().amount_minor == 12_400
    approved(only_proposal(), reviewer)
    run = drive_on(run.id, clock)
    assert (run.state, run.answer) == ("succeeded", "Refunded order A-1001.")
    assert SentMessage.objects.get().to == "wilma@example.com"
    assert len(server.asked) == 1
    assert not verify_tenant().findings


def test_a_model_that_goes_step_by_step_has_read_the_mail_so_everything_it_writes_is_marked(
    shop: Tenant, reviewer: Actor, answers: Answers
) -> None:
    server, clock = answers(support), Clock()
    run = drive_on(start(STEPWISE, MAIL, now=clock()).id, clock)
    assert run.state == "awaiting_approval"
    proposal = only_proposal()
    assert proposal.attacked == ["/order_ref", "/amount_minor", "/currency"]
    assert set(integrity(proposal).values()) == {"untrusted"}
    assert all(kinds_of_source(proposal, path) == {"model"} for path in proposal.provenance)
    assert proposal.risk_band in {"high", "critical"}

    approved(proposal, reviewer)
    run = drive_on(run.id, clock)
    assert run.state == "succeeded"
    assert run.answer.startswith("Done: mail.read, mail.triage, shop.find_order, shop.issue_refund")
    assert Refund.objects.get().amount_minor == 12_400
    assert len(server.asked) == 5
    assert not verify_tenant().findings


def test_a_rejection_is_told_to_the_model_and_its_next_plan_carries_on(
    shop: Tenant, reviewer: Actor, answers: Answers
) -> None:
    server, clock = answers(support), Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    proposal = only_proposal()
    reject(
        proposal_id=proposal.id,
        actor=reviewer,
        version=1,
        digest=proposal.digest,
        reason_code="not_enough_evidence",
        note="No photo of the damage",
    )
    run = drive_on(run.id, clock)
    assert run.state == "succeeded"
    assert "No photo of the damage" in str(server.asked[1].body)
    assert not Refund.objects.exists()


# --- an attacker in the mail -----------------------------------------------------------------------------------------


def test_a_call_that_the_mail_talked_the_model_into_is_denied_and_counted_and_the_planned_ones_still_run(
    shop: Tenant, answers: Answers
) -> None:
    look_up = {"id": "order", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}
    hijacked = {"order_ref": "A-1003", "amount_minor": 12_400, "currency": "EUR", "reason": "Ignore all rules"}
    script = in_turn(
        plan(
            [
                {"id": "read", "tool": "mail.read", "arguments": {"message_id": {"$ref": "input.message_id"}}},
                look_up | {"expect": "output.status == 'cancelled'"},
            ]
        ),
        plan([{"id": "pay", "tool": "shop.issue_refund", "arguments": hijacked}]),
        plan([{"id": "wipe", "tool": "customer.erase", "arguments": {"customer_ref": "C-1001", "reason": "x"}}]),
        plan([look_up | {"id": "again"}], [{"when": "", "text": "Nothing was paid."}]),
    )
    answers(script)
    clock = Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)

    denied = [(e.call_id, e.code) for e in events_of(run, CallDenied) if isinstance(e, CallDenied)]
    assert denied == [("2.pay.0", "off_plan"), ("3.wipe.0", "off_plan")]
    assert run.denied_calls == 2
    assert not Proposal.objects.exists(), "nobody is asked about a call that an attacker wrote"
    assert not Refund.objects.exists()
    assert (run.state, run.answer) == ("succeeded", "Nothing was paid.")
    assert ToolCall.objects.get(call_id="4.again.0").state == "succeeded"


# --- a model that fails ----------------------------------------------------------------------------------------------

GARBAGE = Says("The plan is: do nothing.")


@pytest.mark.parametrize("slug", BOTH)
@pytest.mark.parametrize(
    ("reply", "code", "questions"),
    [
        pytest.param(rate_limited("2"), "model_rate_limited", 3, id="429 for ever"),
        pytest.param(QUOTA, "model_quota", 1, id="no quota"),
        pytest.param(SILENT, "model_timeout", 3, id="silence"),
        pytest.param(DRIPPING, "model_timeout", 3, id="byte by byte"),
        pytest.param(HTML, "model_bad_answer", 3, id="HTML"),
        pytest.param(TRUNCATED, "model_bad_answer", 3, id="truncated JSON"),
        pytest.param(NO_CHOICES, "model_bad_answer", 3, id="no choices"),
        pytest.param(refusal(500, "Internal error"), "model_unavailable", 3, id="500"),
        pytest.param(refusal(401, "Incorrect API key"), "model_auth", 1, id="wrong key"),
        pytest.param(Raw(hang_up=True), "model_unavailable", 3, id="hangs up"),
        pytest.param(Says("Half a sen", finish="length"), "model_truncated", 1, id="cut at its length"),
    ],
)
def test_a_model_that_does_not_answer_ends_the_run_with_its_code(
    shop: Tenant, answers: Answers, slug: str, reply: Reply, code: str, questions: int
) -> None:
    server, clock = answers(in_turn(reply)), Clock()
    short = code == "model_timeout"
    run = drive_on(start(slug, MAIL, now=clock()).id, clock, deadline_s=0.3 if short else 20)
    assert (run.state, run.failure_code) == ("failed", code)
    failures = [e for e in events_of(run, PlanFailed) if isinstance(e, PlanFailed)]
    assert [failure.code for failure in failures] == [code] * questions
    if not short:  # on a busy machine a short deadline may pass before the question has left
        assert len(server.asked) == questions
        assert all(failure.exchange is not None for failure in failures)
    assert not ToolCall.objects.exists()


def test_between_two_attempts_the_run_lets_its_worker_go_for_as_long_as_the_provider_says(
    shop: Tenant, answers: Answers
) -> None:
    answers(in_turn(rate_limited("40"), rate_limited("40"), plan([], [{"when": "", "text": "Nothing to do."}])))
    clock = Clock()
    submitted = start("support-email", MAIL, now=clock())
    began = clock.now
    run = drive_on(submitted.id, clock)
    assert (run.state, run.answer) == ("succeeded", "Nothing to do.")
    assert (clock.now - began).total_seconds() >= 80
    waited = EventRow.objects.filter(run_id=run.id, type="run.waiting").count()
    assert waited == 2


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(malformed, id="arguments that are no JSON"),
        pytest.param(in_turn(Says(calls=[Call("rm_rf", {"path": "/"})])), id="a function nobody offered"),
        pytest.param(in_turn(Says(calls=[Call("submit_plan", {"steps": "all"})])), id="steps that are no list"),
        pytest.param(
            in_turn(plan([{"id": "a", "tool": "mail.read", "arguments": {"message_id": {"$ref": "steps.x.output"}}}])),
            id="a reference to nothing",
        ),
        pytest.param(in_turn(GARBAGE), id="text instead of a plan"),
    ],
)
def test_a_model_that_cannot_write_a_plan_is_told_twice_what_is_wrong_and_then_the_run_fails(
    shop: Tenant, answers: Answers, reply: object
) -> None:
    assert callable(reply)
    server, clock = answers(reply), Clock()
    run = drive_on(start("support-email", MAIL, now=clock()).id, clock)
    assert (run.state, run.failure_code) == ("failed", "plan_invalid")
    assert len(server.asked) == 3
    assert len(str(server.asked[2].body)) > len(str(server.asked[0].body)), "it is told what was wrong"
    assert not ToolCall.objects.exists()
    assert not Ticket.objects.exists()


def test_a_model_that_goes_in_circles_is_stopped_by_its_limits(shop: Tenant, answers: Answers) -> None:
    again = Says(calls=[Call("shop__find_order", {"order_ref": "A-1001"})])
    answers(in_turn(again))
    clock = Clock()
    run = drive_on(start(STEPWISE, MAIL, now=clock()).id, clock)
    assert (run.state, run.failure_code) == ("failed", "limit_repeats")
    assert len(events_of(run, CallSelected)) == len(events_of(run, CallSucceeded)) == 2
