"""A case is run by the real engine, driver, gate and executor, and nothing of it stays."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model

from agentops.audit.models import Event, Stream
from agentops.engine.replay import Identical, replay
from agentops.regression.cases import Case
from agentops.regression.isolation import NotIsolated, isolated
from agentops.regression.models import Case as CaseRow
from agentops.regression.promoting import NotPromotable, case_of_rejection, case_of_run
from agentops.regression.recordings import stamped
from agentops.regression.reviewer import say
from agentops.regression.runner import Runner
from agentops.regression.scripts import ScriptedTools
from agentops.regression.services import promote_run
from agentops.regression.setups import copy_of, demonstration
from agentops.runs.models import Playbook, Run, TaskType
from agentops.runs.recording import load
from agentops.runs.services import save_playbook
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import NestedTenantScope, tenant_scope
from approvals.models import Decision, Grant, Proposal
from tests.approvals.threads import at_once
from tests.regression.conftest import Shop
from tests.shop import open_shop
from tools import executor
from tools.backoffice.models import Refund, SentMessage


@pytest.fixture
def runner(db: None) -> Runner:
    return Runner("goodwill-refund", demonstration)


ORDER = {"found": True, "order_ref": "A-1002", "currency": "EUR"}
CASE: dict[str, Any] = {
    "id": "paid",
    "title": "Paid",
    "input": {"order_ref": "A-1002", "amount_minor": 100, "reason": "Late"},
    "tools": [],
    "decisions": [{"tool": "shop.issue_refund", "verdict": "approve"}],
    "expect": {"state": "succeeded"},
}


def promoted(run: Run) -> Case:
    return case_of_run(load(run.id), case_id="case", title="A case")


@pytest.fixture
def trial(acme: Tenant, bob: User, actor_of: Any) -> Callable[..., Any]:
    """Promote a run of a shop and run the case outside of its scope."""

    def make(*verdicts: str, slug: str = "goodwill-refund", task: Any = None, change: Any = None) -> Any:
        with tenant_scope(acme):
            open_shop(acme)
            run = Shop(acme, actor_of(bob, acme)).run(slug, task, *verdicts)
            case = promoted(run)
            if change is not None:
                change()
            prepare = copy_of(TaskType.objects.get(slug=slug))
        return case, Runner(slug, prepare).run(case)

    return make


@pytest.mark.parametrize("verdict", ["approve", "edit", "reject", "expire"])
def test_a_promoted_run_passes_as_it_was(trial: Callable[..., Any], verdict: str) -> None:
    case, found = trial(verdict)
    assert found.problems == ()
    assert case.decisions[0].verdict == verdict
    assert found.record.about["origin"] == "regression"
    assert isinstance(replay(stamped(found.record.entries)), Identical)


def test_a_mail_that_needs_two_decisions_passes_as_it_was(trial: Callable[..., Any]) -> None:
    case, found = trial(slug="support-email", task={"message_id": "M-0001"})
    assert found.problems == ()
    assert [one.tool for one in case.decisions] == ["shop.issue_refund", "mail.send"]
    assert found.steps == case.expect.steps_at_most


MODELS: list[type[Model]] = [Event, Stream, Run, Proposal, Decision, Grant, TaskType, Playbook, Refund, SentMessage]


def test_nothing_stays(trial: Callable[..., Any], acme: Tenant) -> None:
    case, _ = trial()
    with tenant_scope(acme):
        counted = {model: model._default_manager.count() for model in MODELS}
        prepare = copy_of(TaskType.objects.get(slug="goodwill-refund"))
    people, tenants = User.objects.count(), Tenant.objects.count()
    assert Runner("goodwill-refund", prepare).run(case).passed
    assert (User.objects.count(), Tenant.objects.count()) == (people, tenants)
    with tenant_scope(acme):
        assert {model: model._default_manager.count() for model in MODELS} == counted


def test_no_real_tool_can_be_reached_while_a_case_runs(db: None, acme: Tenant) -> None:
    tools = ScriptedTools()
    with isolated(tools.executor, lambda: None) as place:
        request = executor.CallRequest(
            place.tenant.pk,
            uuid4(),
            "c",
            "shop.find_order",
            "1.0.0",
            {},
            "",
            "",
            None,  # type: ignore[arg-type]
        )
        for reach in (
            lambda: executor.execute(request, lambda _: executor.Permit("g", "")),
            lambda: executor.reconcile(request),
            lambda: executor.read_back(request, {}),
        ):
            with pytest.raises(executor.HandlersSealed):
                reach()
    with tenant_scope(acme):
        assert executor.reconcile(replace(request, tenant_id=acme.pk)).message  # type: ignore[union-attr]


def test_scripted_verdicts_are_refused_outside_of_an_isolated_tenant(shop: Shop) -> None:
    run = shop.run("goodwill-refund", None, "wait")
    proposal = Proposal.objects.get(run=run)
    place = type("Place", (), {"tenant": shop.tenant, "reviewer": shop.bob})()
    decision = Case.model_validate(CASE).decisions[0]
    with pytest.raises(NotIsolated):
        say(place, proposal, decision, now=shop.clock())
    assert Proposal.objects.get(pk=proposal.pk).status == "pending"
    assert not Grant.objects.filter(run=run).exists()


def test_a_case_does_not_run_inside_of_a_tenant(shop: Shop) -> None:
    with pytest.raises(NestedTenantScope):
        Runner("goodwill-refund", demonstration).run(Case.model_validate(CASE))


def test_a_call_without_an_answer_ends_the_trial_and_is_named(runner: Runner) -> None:
    found = runner.run(Case.model_validate(CASE))
    assert [one.code for one in found.problems] == ["no_answer"]
    assert "shop.find_order" in found.problems[0].message
    assert Tenant.objects.count() == 0


def test_an_output_that_breaks_the_contract_is_found(runner: Runner) -> None:
    bad = {**CASE, "tools": [{"tool": "shop.find_order", "output": {"found": True}}]}
    found = runner.run(Case.model_validate(bad))
    assert found.problems[0].code == "state"
    assert "output_invalid" in found.problems[0].message


def test_a_task_that_is_not_accepted_says_so(runner: Runner) -> None:
    found = runner.run(Case.model_validate({**CASE, "input": {}}))
    assert found.problems[0].code == "not_accepted"


def test_a_model_answers_from_the_case_and_its_plan_meets_the_gate(runner: Runner) -> None:
    off_list = {"steps": [{"id": "x", "tool": "customer.erase", "arguments": {"customer_ref": "C-1", "reason": "x"}}]}
    found = runner.run(
        Case.model_validate(
            {**CASE, "model": [{"plan": off_list}, {"finished": "Nothing."}], "expect": {"state": "succeeded"}}
        )
    )
    codes = [one.code for one in found.problems]
    assert codes in (["state"], ["no_model_answer"]), found.problems


SLOWER = {
    "id": "again",
    "tool": "shop.find_order",
    "arguments": {"order_ref": {"$ref": "input.order_ref"}},
    "expect": "output.refundable_minor > 1000000",
}


def test_a_playbook_that_takes_more_steps_and_fails_is_found(trial: Callable[..., Any]) -> None:
    def plant() -> None:
        kind = TaskType.objects.get(slug="goodwill-refund")
        assert kind.playbook is not None
        body = json.loads(kind.playbook.body)
        body["steps"].insert(1, SLOWER)
        saved = save_playbook(slug="goodwill-refund", body=json.dumps(body), actor=SYSTEM)
        assert isinstance(saved, Playbook), saved
        kind.playbook = saved
        kind.save()

    _, found = trial(change=plant)
    assert found.problems


def test_a_rejection_becomes_a_case_that_the_same_proposal_fails(shop: Shop) -> None:
    run = shop.run("goodwill-refund", None, "reject")
    proposal = Proposal.objects.get(run=run)
    case = case_of_rejection(load(run.id), str(proposal.pk), case_id="never", title="Never again")
    assert case.expect.never[0].tool == "shop.issue_refund"
    with pytest.raises(NotPromotable):
        case_of_rejection(load(run.id), "other", case_id="x", title="x")


def test_a_run_that_goes_on_is_not_promoted(shop: Shop) -> None:
    run = shop.run("goodwill-refund", None, "wait")
    with pytest.raises(NotPromotable):
        promoted(run)


@pytest.mark.django_db(transaction=True)
def test_two_people_who_promote_the_same_run_at_the_same_moment_make_one_case(
    acme: Tenant, bob: User, actor_of: Any
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("one writer at a time")
    with tenant_scope(acme):
        open_shop(acme)
        run = Shop(acme, actor_of(bob, acme)).run()

    def click() -> bool:
        with tenant_scope(acme):
            return promote_run(run=run, actor=SYSTEM).new

    assert sorted(at_once([click] * 4)) == [False, False, False, True]
    with tenant_scope(acme):
        assert CaseRow.objects.count() == 1
        assert Event.objects.filter(type="case.promoted").count() == 1


def test_a_record_that_does_not_fit_a_case_says_so(shop: Shop) -> None:
    run = shop.run()
    with pytest.raises(NotPromotable, match="/id"):
        case_of_run(load(run.id), case_id="Not A Slug", title="x")


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_what_is_scripted_never_reaches_the_handlers_of_the_shop(trial: Callable[..., Any], verdict: str) -> None:
    """The recorded run has refunded once, or not at all; its case refunds nothing more."""
    trial(verdict)
    with tenant_scope(Tenant.objects.get(slug="acme")):
        assert Refund.objects.count() == (verdict == "approve")
