"""Rights: every default is no."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from agentops.tenancy.access import ACTIONS, SYSTEM, TOKEN_SCOPES, WORKER, Actor, can, require
from agentops.tenancy.models import Role

MATRIX = {
    "operator": "queue.view proposal.view proposal.decide run.view run.submit run.cancel run.pause audit.view "
    "memory.view regression.view metrics.view",
    "senior": "queue.view proposal.view proposal.decide call.reconcile line.stop run.view run.submit run.cancel "
    "run.pause audit.view memory.view memory.curate queue.share regression.view metrics.view alarm.handle",
    "admin": "queue.view proposal.view call.reconcile line.stop run.view run.submit run.cancel run.pause run.requeue "
    "audit.view audit.export memory.view memory.curate queue.share admin.manage token.manage regression.view "
    "regression.manage run.export run.import metrics.view alarm.handle",
    "auditor": "queue.view proposal.view run.view audit.view audit.export memory.view regression.view run.export "
    "metrics.view",
    "engineer": "queue.view proposal.view run.view run.submit run.cancel run.pause run.requeue audit.view memory.view "
    "regression.view regression.manage run.export run.import metrics.view alarm.handle",
    "viewer": "queue.view proposal.view run.view memory.view regression.view metrics.view",
}


def person(*roles: str) -> Actor:
    return Actor("user", "1", "somebody", frozenset(roles), 1)


@pytest.mark.parametrize("role", Role.values)
def test_each_role_may_do_what_the_table_says_and_nothing_else(role: str) -> None:
    assert {action for action in ACTIONS if can(person(role), action)} == set(MATRIX[role].split())


def test_roles_add_up_and_no_role_is_no_right() -> None:
    assert can(person("viewer", "operator"), "proposal.decide")
    assert not any(can(person(*roles), action) for roles in [(), ("owner",)] for action in ACTIONS)
    assert not can(person(*Role.values), "database.drop")


def test_agents_never_decide() -> None:
    everything = Actor("token", "1", "robot", frozenset(ACTIONS))
    for actor in (WORKER, SYSTEM, everything, Actor.token(1, "robot", ACTIONS)):
        assert not can(actor, "proposal.decide")
        assert not can(actor, "call.reconcile")
        assert not can(actor, "memory.curate")
        assert not can(actor, "line.stop")
        assert not can(actor, "alarm.handle")


def test_a_token_may_do_its_scopes_only() -> None:
    robot = Actor.token(1, "robot", ["run.submit", "admin.manage"])
    assert {action for action in ACTIONS if can(robot, action)} == {"run.submit"}
    assert "admin.manage" not in TOKEN_SCOPES
    assert "token.manage" not in TOKEN_SCOPES


@require("run.submit")
def submit(request: Any) -> str:
    return "done"


@require("run.submit")
async def submit_async(request: Any) -> str:
    return "done"


def answer(view: Any, request: Any) -> Any:
    return asyncio.run(view(request)) if asyncio.iscoroutinefunction(view) else view(request)


@pytest.mark.parametrize("view", [submit, submit_async])
def test_a_guarded_view_opens_for_the_right_and_for_nobody_else(view: Any) -> None:
    assert answer(view, SimpleNamespace(actor=person("operator"))) == "done"
    for request in (SimpleNamespace(actor=person("viewer")), SimpleNamespace(), SimpleNamespace(actor=None)):
        with pytest.raises(PermissionDenied):
            answer(view, request)


def test_guarding_with_an_unknown_right_is_a_mistake_found_at_import() -> None:
    with pytest.raises(ValueError, match="Unknown action"):
        require("run.sumbit")
