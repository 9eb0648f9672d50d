"""Who gets in, how far, and how often."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from agentops.gateway.urls import urlpatterns
from agentops.tenancy.access import SYSTEM, TOKEN_SCOPES
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import revoke_token
from tests.gateway.conftest import JOB, Program, program
from tests.shop import drive

Problem = Callable[..., dict[str, Any]]

NOBODY = UUID(int=0)
ROUTES = [
    ("POST", "/api/v1/agent/run", "run.submit"),
    ("GET", "/api/v1/runs", "run.view"),
    ("GET", f"/api/v1/runs/{NOBODY}", "run.view"),
    ("GET", f"/api/v1/runs/{NOBODY}/events", "run.view"),
    ("GET", f"/api/v1/runs/{NOBODY}/events/1/exchange", "run.view"),
    ("POST", f"/api/v1/runs/{NOBODY}/cancel", "run.cancel"),
    ("POST", f"/api/v1/runs/{NOBODY}/pause", "run.pause"),
    ("POST", f"/api/v1/runs/{NOBODY}/resume", "run.pause"),
    ("GET", "/api/v1/task-types", "run.submit"),
]


def test_every_route_is_in_the_table_and_every_scope_opens_one() -> None:
    templates = {re.sub(r"<[^>]+>", "*", str(one.pattern)) for one in urlpatterns if one.name != "api-unknown"}
    tried = {re.sub(rf"{NOBODY}|(?<=events/)1", "*", path.removeprefix("/api/v1/")) for _, path, _ in ROUTES}
    assert tried == templates
    assert {scope for _, _, scope in ROUTES} == TOKEN_SCOPES


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_the_document_names_the_scope_of_every_route(method: str, path: str, scope: str) -> None:
    generator: Any = SchemaGenerator
    place = path.replace(str(NOBODY), "{run_id}").replace("events/1/", "events/{seq}/")
    security = generator().get_schema(request=None, public=True)["paths"][place][method.lower()]["security"]
    assert {"serviceToken": [scope]} in security
    assert len(security) == (2 if place.endswith("task-types") else 1)


def call(method: str, path: str, authorization: str | None) -> Any:
    headers = {} if authorization is None else {"authorization": authorization}
    return Client().generic(method, path, b"{}", content_type="application/json", headers=headers)


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_nobody_gets_in_without_a_token(db: None, problem: Problem, method: str, path: str, scope: str) -> None:
    response = call(method, path, None)
    problem(response, 401, "unauthenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_signed_in_person_is_no_program(
    shop: Tenant, bob: User, signed_in: Callable[[User], Client], problem: Problem
) -> None:
    problem(signed_in(bob).get("/api/v1/runs"), 401, "unauthenticated")


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer x", "bearer aod_acme_aaaaaaaaaaaa_" + "a" * 52, "Bearer aod_none_x_y", "Bearer \xff"],
)
def test_a_token_that_never_was_is_refused(shop: Tenant, problem: Problem, authorization: str) -> None:
    response = call("GET", "/api/v1/runs", authorization)
    problem(response, 401, "invalid_token")
    assert 'error="invalid_token"' in response["WWW-Authenticate"]


def test_another_scheme_is_no_token(shop: Tenant, problem: Problem) -> None:
    problem(call("GET", "/api/v1/runs", "Basic YTpi"), 401, "unauthenticated")


def test_a_revoked_or_expired_token_is_refused_like_an_unknown_one(
    shop: Tenant, agent: Program, problem: Problem
) -> None:
    other = program(shop)
    assert other.get("/api/v1/runs").status_code == 200
    revoke_token(tenant=shop, token_id=other.row.pk, actor=SYSTEM)
    revoked = problem(other.get("/api/v1/runs"), 401, "invalid_token")
    with time_machine.travel(timezone.now() + timedelta(days=91), tick=False):
        expired = problem(agent.get("/api/v1/runs"), 401, "invalid_token")
    assert {**revoked, "request_id": ""} == {**expired, "request_id": ""}


def test_a_token_with_another_tenants_name_is_refused(agent: Program, globex: Tenant, problem: Problem) -> None:
    forged = agent.token.replace("aod_acme_", "aod_globex_")
    problem(call("GET", "/api/v1/runs", f"Bearer {forged}"), 401, "invalid_token")


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_token_needs_the_scope_of_the_route(
    shop: Tenant, problem: Problem, method: str, path: str, scope: str
) -> None:
    # Submitting and looking both show which kinds of task there are.
    both = {"run.submit", "run.view"} if path == "/api/v1/task-types" else {scope}
    without = program(shop, *(TOKEN_SCOPES - both))
    response = call(method, path, f"Bearer {without.token}")
    problem(response, 403, "insufficient_scope")
    assert f'scope="{scope}' in response["WWW-Authenticate"]
    within = program(shop, scope)
    assert call(method, path, f"Bearer {within.token}").status_code != 403


@pytest.mark.parametrize("path", [path for method, path, _ in ROUTES if method == "GET"])
def test_looking_at_the_head_alone_needs_the_scope_too(shop: Tenant, path: str) -> None:
    without = program(shop, "run.cancel")
    assert call("HEAD", path, f"Bearer {without.token}").status_code == 403


def test_no_scope_lets_a_token_decide(shop: Tenant, agent: Program, problem: Problem) -> None:
    assert "proposal.decide" not in TOKEN_SCOPES
    run_id = UUID(agent.submit().json()["run_id"])
    with tenant_scope(shop):
        drive(run_id)
    [proposal] = agent.get(f"/api/v1/runs/{run_id}").json()["proposals"]
    problem(agent.post(f"/api/v1/proposals/{proposal['id']}/decide"), 404, "not_found")
    page = Client().post(proposal["url"] + "/decide", headers={"authorization": f"Bearer {agent.token}"})
    assert (page.status_code, page["Location"].partition("?")[0]) == (302, "/sign-in")


@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel")])
def test_a_foreign_run_is_as_absent_as_an_unknown_one(
    agent: Program, stranger: Program, problem: Problem, method: str, rest: str
) -> None:
    own = agent.submit(JOB).json()["run_id"]

    def asked(run_id: object) -> dict[str, Any]:
        path = f"/api/v1/runs/{run_id}{rest}"
        document = problem(call(method, path, f"Bearer {stranger.token}"), 404, "not_found")
        return {**document, "request_id": "", "instance": document["instance"].replace(str(run_id), "")}

    assert asked(own) == asked(uuid4())
    assert agent.get(f"/api/v1/runs/{own}").json()["status"] == "queued"


def test_a_list_has_only_runs_of_the_tenant(agent: Program, stranger: Program) -> None:
    agent.submit(JOB)
    assert len(agent.get("/api/v1/runs").json()["runs"]) == 1
    assert stranger.get("/api/v1/runs").json() == {"runs": [], "next": None}
    assert stranger.get("/api/v1/task-types").json() == {"task_types": []}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_wrong_method_is_named_with_the_right_ones(agent: Program, problem: Problem, method: str) -> None:
    response = call(method, "/api/v1/agent/run", f"Bearer {agent.token}")
    problem(response, 405, "method_not_allowed")
    assert response["Allow"] == "POST"


@pytest.mark.parametrize("path", ["", "nothing", "runs/", "runs/7", f"runs/{NOBODY}/decide", "agent/run/"])
def test_an_unknown_address_is_a_problem_too(agent: Program, problem: Problem, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        problem(call(method, f"/api/v1/{path}", f"Bearer {agent.token}"), 404, "not_found")


def test_the_accept_header_does_not_change_the_answer(agent: Program) -> None:
    response = agent.get("/api/v1/runs?limit=1", accept="text/html")
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


def test_requests_that_a_token_may_not_make_are_counted_too(shop: Tenant, problem: Problem, settings: Any) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": {"submit": "2/min", "read": "2/min"}}
    narrow = program(shop, "run.cancel")
    assert [narrow.get("/api/v1/runs").status_code for _ in range(3)] == [403, 403, 429]
    assert [narrow.submit(JOB).status_code for _ in range(3)] == [403, 403, 429]


def test_too_many_requests_are_told_to_wait(shop: Tenant, agent: Program, problem: Problem, settings: Any) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": {"submit": "2/min", "read": "1/min"}}
    assert [agent.submit(JOB).status_code for _ in range(2)] == [202, 202]
    response = agent.submit(JOB)
    problem(response, 429, "throttled")
    assert 1 <= int(response["Retry-After"]) <= 61
    assert agent.get("/api/v1/runs").status_code == 200
    assert program(shop).submit(JOB).status_code == 202
