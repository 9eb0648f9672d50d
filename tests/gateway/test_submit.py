"""Submitting a task: accepted with an address, or refused with a code and a place."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from agentops.audit.models import Stream
from agentops.budgets.measures import Measure
from agentops.runs.models import Origin, Run, TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.services import Decided
from tests.budgets.lab import budget
from tests.deciding import approve
from tests.gateway.conftest import JOB, MAIL, Program, program
from tests.shop import drive, only_proposal

Problem = Callable[..., dict[str, Any]]


def runs(tenant: Tenant) -> list[Run]:
    with tenant_scope(tenant):
        return list(Run.objects.all())


def test_a_task_is_accepted_with_the_address_of_its_run(shop: Tenant, agent: Program) -> None:
    response = agent.submit({**MAIL, "title": "Torn tent"})
    [run] = runs(shop)
    assert response.status_code == 202
    assert response["Location"] == f"/api/v1/runs/{run.id}"
    assert response["Cache-Control"] == "private, no-store"
    assert response.json() == {
        "run_id": str(run.id),
        "status": "queued",
        "links": {
            "self": f"/api/v1/runs/{run.id}",
            "events": f"/api/v1/runs/{run.id}/events",
            "cancel": f"/api/v1/runs/{run.id}/cancel",
            "pause": f"/api/v1/runs/{run.id}/pause",
            "resume": f"/api/v1/runs/{run.id}/resume",
            "html": f"/t/acme/runs/{run.id}",
        },
    }
    assert (run.title, run.origin, run.requested_by_token) == ("Torn tent", Origin.API, str(agent.row.pk))


def test_the_result_tells_what_was_done_who_allowed_it_and_where_the_record_is(
    shop: Tenant, agent: Program, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    run_id = UUID(agent.submit().json()["run_id"])
    with tenant_scope(shop):
        drive(run_id)
    waiting = agent.get(f"/api/v1/runs/{run_id}").json()
    assert waiting["status"] == "awaiting_approval"
    assert waiting["ended_at"] is None
    assert waiting["answer"] is None
    [proposal] = waiting["proposals"]
    assert (proposal["tool"], proposal["status"]) == ("shop.issue_refund", "pending")
    assert proposal["url"] == f"/t/acme/proposals/{proposal['id']}"

    with tenant_scope(shop):
        for _ in range(2):
            asked = only_proposal()
            reviewer = actor_of(bob, shop)
            done = approve(proposal_id=asked.id, actor=reviewer, version=asked.version, digest=asked.digest)
            assert isinstance(done, Decided)
            drive(run_id)
        stream = Stream.objects.get(name=f"run:{run_id}")
    result = agent.get(f"/api/v1/runs/{run_id}").json()

    assert (result["status"], result["error"]) == ("succeeded", None)
    assert result["answer"] == "Refunded order A-1001 and told the customer."
    calls = {call["tool"]: call for step in result["steps"] for call in step["calls"]}
    refund = calls["shop.issue_refund"]
    assert refund["state"] == "succeeded"
    assert refund["arguments"]["amount_minor"] == 12_400
    assert refund["proposal_id"] == proposal["id"]
    assert calls["mail.read"]["proposal_id"] is None
    assert {one["status"] for one in result["proposals"]} == {"approved"}
    assert result["usage"]["calls"] == len(calls)
    assert result["limits"]["steps"] >= result["usage"]["steps"]
    assert result["audit"] == {
        "stream": f"run:{run_id}",
        "first_seq": 1,
        "last_seq": stream.seq,
        "head": bytes(stream.head).hex(),
    }
    trail = result["audit_trail"]
    assert [event["seq"] for event in trail] == list(range(1, stream.seq + 1))
    assert trail[0]["type"] == "run.submitted"
    assert trail[0]["actor"] == {"kind": "token", "id": str(agent.row.pk), "name": "ci"}
    assert trail[-1]["type"] == "run.succeeded"
    assert trail[-1]["ts"] == result["ended_at"]
    decided = [event for event in trail if event["type"] == "proposal.decided"]
    assert [event["actor"]["name"] for event in decided] == ["bob", "bob"]
    assert trail[-1]["hash"] == result["audit"]["head"]


def test_a_failed_run_says_why(shop: Tenant, agent: Program) -> None:
    with tenant_scope(shop):
        TaskType.objects.filter(slug="job").update(success_when="steps.order.output.found == false")
    run_id = UUID(agent.submit(JOB).json()["run_id"])
    with tenant_scope(shop):
        drive(run_id)
    result = agent.get(f"/api/v1/runs/{run_id}").json()
    assert (result["status"], result["answer"]) == ("failed", None)
    assert result["error"]["code"]
    assert result["error"]["message"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"input": {}}, "/task_type", "missing"),
        ({"task_type": "job"}, "/input", "missing"),
        ({"task_type": 3, "input": {}}, "/task_type", "string_type"),
        ({"task_type": "job", "input": []}, "/input", "dict_type"),
        ({"task_type": "job", "input": {}, "title": "x" * 201}, "/title", "string_too_long"),
        ({"task_type": "job", "input": {}, "urgent/now": True}, "/urgent~1now", "extra_forbidden"),
        ([], "", "model_type"),
    ],
)
def test_a_body_of_the_wrong_form_is_refused_with_the_place(
    shop: Tenant, agent: Program, problem: Problem, body: object, pointer: str, code: str
) -> None:
    document = problem(agent.submit(body), 422, "invalid_request")
    assert [(fault["pointer"], fault["code"]) for fault in document["errors"]] == [(pointer, code)]
    assert not runs(shop)


def test_a_task_that_does_not_fit_its_type_is_refused_with_every_place(
    shop: Tenant, agent: Program, problem: Problem
) -> None:
    body = {"task_type": "support-email", "input": {"message_id": 7, "colour": "red"}}
    document = problem(agent.submit(body), 422, "invalid_task")
    assert {fault["pointer"] for fault in document["errors"]} >= {"/input/message_id"}
    assert len(document["errors"]) == 2
    assert not runs(shop)


def test_an_unknown_task_type_is_named_as_such(agent: Program, problem: Problem) -> None:
    document = problem(agent.submit({"task_type": "nothing", "input": {}}), 422, "unknown_task_type")
    assert document["errors"][0]["pointer"] == "/task_type"


def test_another_tenants_task_type_is_unknown(shop: Tenant, stranger: Program, problem: Problem) -> None:
    problem(stranger.submit(MAIL), 422, "unknown_task_type")


@pytest.mark.parametrize("change", [{"enabled": False}, {"playbook": None}])
def test_a_task_type_that_cannot_run_is_not_the_callers_fault(
    shop: Tenant, agent: Program, problem: Problem, change: dict[str, object]
) -> None:
    with tenant_scope(shop):
        TaskType.objects.filter(slug="job").update(**change)
    document = problem(agent.submit(JOB), 422, "task_type_unusable")
    assert document["errors"][0]["pointer"] == "/task_type"
    assert not runs(shop)


def test_a_run_that_no_budget_covers_is_refused_with_the_budget_and_when_it_renews(
    shop: Tenant, agent: Program, problem: Problem
) -> None:
    with tenant_scope(shop):
        budget(Measure.RUNS, 1)
    assert agent.submit(JOB, idempotency_key="first").status_code == 202
    refused = agent.submit(JOB, idempotency_key="second")
    document = problem(refused, 429, "budget_exceeded")
    assert "“All runs: 1 runs a day”" in document["detail"]
    assert "It renews at " in document["detail"]
    assert 0 < int(refused["Retry-After"]) <= 24 * 60 * 60
    assert len(runs(shop)) == 1
    assert agent.submit(JOB, idempotency_key="first").status_code == 202, "asking again is not a second run"


def test_waiting_for_a_run_that_ended_gives_its_result(shop: Tenant, agent: Program) -> None:
    accepted = agent.submit(JOB, idempotency_key="once")
    with tenant_scope(shop):
        drive(UUID(accepted.json()["run_id"]))
    response = agent.submit(JOB, query="?wait=30", idempotency_key="once")
    assert response.status_code == 200
    assert response["Idempotent-Replayed"] == "true"
    assert response["Content-Location"] == accepted["Location"]
    assert response.json() == agent.get(accepted["Location"]).json()
    assert response.json()["status"] == "succeeded"


def test_who_finds_no_seat_to_wait_is_answered_at_once(shop: Tenant, agent: Program, settings: Any) -> None:
    settings.API_MAX_WAITERS = 0
    response = agent.submit(JOB, query="?wait=30")
    assert (response.status_code, response["Retry-After"]) == (202, "1")
    assert len(runs(shop)) == 1


@pytest.mark.parametrize("wait", ["-1", "31", "1.5", "", "soon", "1e1", "%00"])
def test_a_wait_out_of_bounds_is_refused(shop: Tenant, agent: Program, problem: Problem, wait: str) -> None:
    document = problem(agent.submit(JOB, query=f"?wait={wait}"), 400, "invalid_parameter")
    assert [fault["parameter"] for fault in document["errors"]] == ["wait"]
    assert not runs(shop)


def test_an_unknown_parameter_is_refused(agent: Program, problem: Problem) -> None:
    document = problem(agent.submit(JOB, query="?await=3"), 400, "invalid_parameter")
    assert document["errors"][0]["parameter"] == "await"


def test_waiting_needs_the_right_to_see_the_result(shop: Tenant, problem: Problem) -> None:
    submitter = program(shop, "run.submit")
    response = submitter.submit(JOB, query="?wait=1")
    problem(response, 403, "insufficient_scope")
    assert 'scope="run.view"' in response["WWW-Authenticate"]
    assert not runs(shop)
    assert submitter.submit(JOB).status_code == 202
