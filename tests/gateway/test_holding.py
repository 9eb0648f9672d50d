"""Pausing and resuming over the API: a program holds what it asked for itself, and never undoes what a person did."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from agentops.engine.events import RunFailed
from agentops.halts import covering
from agentops.halts.models import Scope
from agentops.runs.models import Run
from agentops.runs.recording import record_outside
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.stopping.halting import Target, stop
from approvals.stopping.intervention import pause_run, requeue_run
from tests.gateway.conftest import JOB, Program, program
from tests.shop import drive

Problem = Callable[..., dict[str, Any]]
WHY = {"reason": "Wrong order."}


@pytest.fixture
def bob_(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, shop)


def submitted(agent: Program) -> str:
    return str(agent.submit(JOB).json()["links"]["self"])


def test_a_run_is_paused_and_resumed(shop: Tenant, agent: Program) -> None:
    run = submitted(agent)
    paused = agent.post(f"{run}/pause", WHY).json()
    assert paused["paused_at"] is not None
    assert (paused["status"], paused["stopped"]) == ("queued", False)
    assert paused["audit_trail"][-1]["data"]["reason"] == "Wrong order."
    with tenant_scope(shop):
        assert drive(paused["run_id"]).state == "queued"
    assert agent.post(f"{run}/pause", WHY).json()["paused_at"] == paused["paused_at"], "again changes nothing"
    resumed = agent.post(f"{run}/resume", WHY).json()
    assert resumed["paused_at"] is None
    assert agent.post(f"{run}/resume", WHY).status_code == 200
    with tenant_scope(shop):
        assert drive(paused["run_id"]).state == "succeeded"
    [listed] = agent.get("/api/v1/runs").json()["runs"]
    assert (listed["paused_at"], listed["stopped"]) == (None, False)


def test_what_a_person_paused_a_program_does_not_resume(
    shop: Tenant, agent: Program, bob_: Actor, problem: Problem
) -> None:
    run = submitted(agent)
    with tenant_scope(shop):
        pause_run(run_id=Run.objects.get().pk, actor=bob_, reason="let me look")
    problem(agent.post(f"{run}/resume", WHY), 403, "not_yours")
    assert agent.get(run).json()["paused_at"] is not None


def test_a_program_does_not_step_into_what_another_asked_for(shop: Tenant, agent: Program, problem: Problem) -> None:
    run, other = submitted(agent), program(shop)
    problem(other.post(f"{run}/pause", WHY), 403, "not_yours")
    problem(other.post(f"{run}/cancel"), 403, "not_yours")
    assert agent.get(run).json()["status"] == "queued"


def test_what_the_line_holds_waits_for_people(
    shop: Tenant, agent: Program, sam: User, actor_of: Callable[[User, Tenant], Actor], problem: Problem
) -> None:
    run = submitted(agent)
    with tenant_scope(shop):
        stop(target=Target(Scope.TENANT, "", "all"), reason="fire", actor=actor_of(sam, shop))
        covering.forget()
        drive(Run.objects.get().pk)
    held = agent.get(run).json()
    assert (held["stopped"], held["paused_at"] is not None) == (True, True)
    problem(agent.post(f"{run}/resume", WHY), 409, "run_stopped")


def test_an_ended_run_is_neither_paused_nor_resumed(shop: Tenant, agent: Program, problem: Problem) -> None:
    run = submitted(agent)
    agent.post(f"{run}/cancel")
    for step_in in ("pause", "resume"):
        assert problem(agent.post(f"{run}/{step_in}", WHY), 409, "run_ended")["run_status"] == "cancelled"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": " "}, {"reason": "x" * 501}, {"reason": 1}])
@pytest.mark.parametrize("step_in", ["pause", "resume"])
def test_a_reason_is_needed(agent: Program, problem: Problem, step_in: str, body: dict[str, object]) -> None:
    problem(agent.post(f"{submitted(agent)}/{step_in}", body), 422, "invalid_request")


def test_a_run_that_was_queued_again_has_no_end_and_no_error(shop: Tenant, agent: Program, bob_: Actor) -> None:
    run = submitted(agent)
    with tenant_scope(shop):
        run_id = Run.objects.get().pk
        with transaction.atomic():
            record_outside(run_id, [RunFailed("dead_letter", "5 workers")], actor=WORKER, now=timezone.now())
        failed = agent.get(run).json()
        assert (failed["status"], failed["error"]["code"]) == ("failed", "dead_letter")
        assert failed["ended_at"] is not None
        requeue_run(run_id=run_id, actor=bob_, reason="fixed")
    again = agent.get(run).json()
    assert (again["status"], again["error"], again["ended_at"]) == ("queued", None, None)
    with tenant_scope(shop):
        drive(run_id)
    ended = agent.get(run).json()
    assert ended["status"] == "succeeded"
    assert ended["ended_at"] > failed["ended_at"]
