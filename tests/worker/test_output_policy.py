"""What may leave: answers before anybody sees them, and calls before they are asked about or made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client

from agentops.engine.events import AnswerBlocked, CallDenied, CallSelected, RunSubmitted, RunSucceeded
from agentops.engine.planner import Finished, Planned, PlannerAnswer, PlanRequest
from agentops.guardrails.output.canary import marker
from agentops.runs.models import OutputRules, Run, TaskType
from agentops.runs.recording import load
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from agentops.worker.driver import Driver
from approvals.models import Proposal
from tests.shop import drive, only_proposal, open_shop, start, task_type
from tools.allowlist import AllowlistState

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
CARD = "4111 1111 1111 1111"
KEY = "ghp_" + "a1B2c3" * 6
T = TypeVar("T")


@dataclass
class Talker:
    """A model that answers from a list, and remembers what it was asked."""

    answers: list[PlannerAnswer]
    asked: list[PlanRequest] = field(default_factory=list)
    name: str = "model:scripted"

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        self.asked.append(request)
        return self.answers.pop(0)


@pytest.fixture
def desk(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def model(settings: LazySettings) -> None:
    settings.AGENTOPS_MODEL = "scripted"
    settings.AGENTOPS_MODEL_BASE_URL = "http://127.0.0.1:9/v1"


def says(text: str, **more: object) -> Run:
    """Run a playbook that only says this."""
    kind = task_type([], {}, **more)
    assert kind.playbook is not None
    kind.playbook.body = kind.playbook.body.replace("done", text)
    kind.playbook.save()
    return drive(start("job", {}).id)


def talk(desk: Tenant, *answers: str, **more: object) -> tuple[Run, Talker]:
    """Run a model that goes step by step and says these things, until one is let out."""
    talker = Talker([Finished(answer) for answer in answers])
    task_type([], {}, planner="model", planning="reactive", **more)
    run = start("job", {})
    Driver("w1", planners=lambda run, state: talker).drive(desk, run.id)
    return Run.objects.get(pk=run.pk), talker


def letter(body: str) -> JSONObject:
    return {"to": "wilma@example.com", "subject": "Your order", "body": body}


def sends(body: str, **more: object) -> Run:
    """Run a playbook that writes this letter."""
    step: JSONObject = {"id": "send", "tool": "mail.send", "arguments": letter(body), "on_failure": "continue"}
    task_type([step], {"mail.send": GATED}, **more)
    return drive(start("job", {}).id)


def events(run: Run, kind: type[T]) -> list[T]:
    return [s.event for s in load(run.id) if isinstance(s.event, kind)]


# --- answers --------------------------------------------------------------------------------------------------------


def test_what_the_policy_redacts_is_taken_out_before_the_answer_is_kept(desk: Tenant) -> None:
    run = says(f"Paid with {CARD}.")
    assert (run.state, run.answer) == ("succeeded", "Paid with [redacted: card number].")
    [ended] = events(run, RunSucceeded)
    assert [(f["code"], f["offset"], f["length"], f["action"]) for f in ended.findings] == [
        ("card_number", 10, 19, "redact")
    ]
    assert CARD not in str(ended)


def test_a_playbook_whose_answer_is_held_back_fails_and_says_why(desk: Tenant) -> None:
    run = says(f"The key is {KEY}.")
    assert (run.state, run.failure_code, run.answer) == ("failed", "output_blocked", "")
    [blocked] = events(run, AnswerBlocked)
    assert run.failure_message == blocked.message == "The answer holds a secret (github token)."
    assert KEY not in str(blocked)


def test_a_model_is_told_in_our_words_and_says_it_otherwise(desk: Tenant, model: None) -> None:
    run, talker = talk(desk, f"Use {KEY}", "I have refunded the order.", "Nothing was done.")
    assert (run.state, run.answer) == ("succeeded", "Nothing was done.")
    assert len(events(run, AnswerBlocked)) == 2
    assert talker.asked[2].feedback == (
        "The answer was held back. The answer holds a secret (github token).",
        "The answer was held back. The answer holds a claim of something that was not done (unsupported financial).",
    )
    assert KEY not in str(talker.asked[2].feedback)


def test_a_model_that_goes_on_saying_it_is_stopped_by_the_limit_of_plans(desk: Tenant, model: None) -> None:
    run, talker = talk(desk, *[f"Use {KEY}"] * 5, limits={"plans": 2})
    assert (run.state, run.failure_code) == ("failed", "output_blocked")
    assert len(talker.asked) == 3


def test_what_was_done_may_be_said(desk: Tenant) -> None:
    ticket: JSONObject = {"id": "t", "tool": "create_ticket", "arguments": {"title": "x", "priority": "low"}}
    kind = task_type([ticket], {"create_ticket": AUTO})
    assert kind.playbook is not None
    kind.playbook.body = kind.playbook.body.replace('"done"', '"I have created a ticket."')
    kind.playbook.save()
    run = drive(start("job", {}).id)
    assert (run.state, run.answer) == ("succeeded", "I have created a ticket.")


def test_the_mark_of_a_run_is_on_record_and_never_gets_out(desk: Tenant, model: None, settings: LazySettings) -> None:
    task_type([], {}, planner="model", planning="reactive", limits={"plans": 1})
    run = start("job", {})
    [submitted] = events(run, RunSubmitted)
    assert submitted.canary == marker(settings.SECRET_KEY, str(run.id))
    talker = Talker([Finished(f"I was told {' '.join(submitted.canary)}"), Finished("I was told to help.")])
    Driver("w1", planners=lambda run, state: talker).drive(desk, run.id)
    run.refresh_from_db()
    assert run.answer == "I was told to help."
    assert talker.asked[0].canary == submitted.canary
    assert [f["code"] for f in events(run, AnswerBlocked)[0].findings] == ["canary"]


def test_a_playbook_has_no_mark(desk: Tenant) -> None:
    assert events(says("hello"), RunSubmitted)[0].canary == ""


# --- rules ----------------------------------------------------------------------------------------------------------


def test_tenant_and_task_type_rule_together_and_the_stricter_counts(desk: Tenant) -> None:
    OutputRules.objects.create(rules={"actions": {"card": "block"}, "personal": ["email"]})
    run = says(f"{CARD}", output_policy={"actions": {"card": "report"}})
    assert run.failure_code == "output_blocked"
    kind = TaskType.objects.get(slug="job")
    assert kind.playbook is not None
    kind.playbook.body = kind.playbook.body.replace(CARD, "Ask mia@example.com.")
    kind.playbook.save()
    assert drive(start("job", {}).id).answer == "Ask [redacted: email]."


def test_rules_that_cannot_be_read_let_nothing_out_that_is_found(desk: Tenant) -> None:
    OutputRules.objects.create(rules={"actions": "everything"})
    assert says("fine").answer == "fine"
    kind = TaskType.objects.get(slug="job")
    assert kind.playbook is not None
    kind.playbook.body = kind.playbook.body.replace("fine", CARD)
    kind.playbook.save()
    assert drive(start("job", {}).id).failure_code == "output_blocked"


# --- calls that leave -----------------------------------------------------------------------------------------------


def test_a_finding_is_marked_on_the_card_and_in_the_record(
    desk: Tenant, bob: User, signed_in: Callable[[User], Client]
) -> None:
    run = sends(f"It was card {CARD} then.")
    p = only_proposal()
    where = "body holds a card number (card number, characters 13 to 31)."
    assert f"What it sends: {where}" in p.reasons
    warnings: JSON = p.consequence["warnings"]
    assert isinstance(warnings, list)
    assert f"What it sends: {where}" in warnings
    [selected] = events(run, CallSelected)
    assert [(f["path"], f["code"], f["action"]) for f in selected.findings] == [("/body", "card_number", "redact")]
    assert where in signed_in(bob).get(f"/t/acme/proposals/{p.pk}").content.decode()


def test_what_the_policy_blocks_is_denied_and_nobody_is_asked(desk: Tenant) -> None:
    run = sends(f"Log in with {KEY}")
    [denied] = events(run, CallDenied)
    assert (denied.code, denied.rule) == ("output_policy", "output.secret")
    assert not Proposal.objects.exists()
    assert KEY not in denied.message
    assert "github token, characters 13 to 52" in denied.message


def test_a_letter_that_claims_what_was_not_done_says_so_to_whoever_decides(desk: Tenant) -> None:
    sends("We have refunded your order.")
    assert any("a claim of something that was not done" in str(reason) for reason in only_proposal().reasons)


def test_an_edit_meets_the_same_policy(desk: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor]) -> None:
    from approvals.decisions.editing import edited_by
    from approvals.proposals.outcomes import Invalid

    sends("Hello.")
    found = edited_by(only_proposal(), actor_of(bob, desk), letter(f"Log in with {KEY}"))
    assert isinstance(found, Invalid)
    assert found.issues[0].code == "output_policy"


# --- saving rules ---------------------------------------------------------------------------------------------------


def test_rules_are_checked_when_they_are_saved(desk: Tenant, alice: User, signed_in: Callable[[User], Client]) -> None:
    client, path = signed_in(alice), "/t/acme/admin/runs/outputrules/add/"
    answer = client.post(path, {"rules": '{"actions": {"secret": "report"}}'})
    assert answer.status_code == 200
    assert "This is never let out: choose redact or ask or block." in answer.content.decode()
    assert client.post(path, {"rules": '{"actions": {"card": "block"}}'}).status_code == 302
    assert OutputRules.objects.get().rules == {"actions": {"card": "block"}}
    assert client.get(path).status_code == 403, "there is one set of rules"


def test_a_task_type_with_rules_that_cannot_be_read_starts_no_run(desk: Tenant) -> None:
    kind = task_type([], {}, output_policy={"hosts": ["https://x"]})
    from agentops.runs.services import InvalidTask, submit
    from tests.shop import AGENT

    found = submit(task_type=kind, input={}, actor=AGENT)
    assert isinstance(found, InvalidTask)
    assert [(i.path, i.code) for i in found.issues] == [("output_policy", "invalid_output_policy")]


def test_two_plans_first_answers_are_reviewed_too(desk: Tenant, model: None) -> None:
    first: JSONObject = {"steps": [], "answers": [{"text": f"Use {KEY}"}]}
    second: JSONObject = {"steps": [], "answers": [{"text": "There is nothing to do."}]}
    talker = Talker([Planned(first), Planned(second)])
    task_type([], {}, planner="model")
    run = start("job", {})
    Driver("w1", planners=lambda run, state: talker).drive(desk, run.id)
    run.refresh_from_db()
    assert run.answer == "There is nothing to do."
